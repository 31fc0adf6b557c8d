"""Errors: a message names the given value, the allowed ones and the nearest guess."""

from collections.abc import Iterable, Mapping
from reprlib import Repr
from types import MappingProxyType

__all__ = [
    "ConfigError",
    "MissingExtra",
    "NotCovered",
    "UnknownName",
    "VitcostError",
    "nearest",
    "shown",
]


# for a longer name no near name is searched
_MOST_LETTERS = 200


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python prints at most 4300 digits of an integer
        return f"{x:,}" if -(10**40) < x < 10**40 else f"an integer of {x.bit_length():,} bits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring = 2, 2, 4, 80


def shown(value: object) -> str:
    """A value as a message shows it: short, however large the value is, and even if its repr
    raises.

    >>> shown("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    >>> shown(10**5000)
    'an integer of 16,610 bits'
    """
    try:
        return _SHORT.repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException:
        # the repr of a user's object may raise anything, even an exit of the process
        return f"<{type(value).__name__}>"


class VitcostError(Exception):
    """The base of every error that a user can cause; the command line prints it and exits 2."""


class ConfigError(VitcostError):
    """A field, a flag or a file has a value that is not allowed."""


class UnknownName(VitcostError):
    """A model, card, quantity or field that is not known; the message gives the nearest names.

    ``means``: the names that aliases stand for; ``near``: the text to which names are compared, if
    it is not the given one.
    """

    def __init__(
        self,
        what: str,
        given: str,
        known: Iterable[str],
        hint: str = "",
        means: Mapping[str, str] = MappingProxyType({}),
        near: str = "",
    ) -> None:
        names = nearest(near or given, known)
        guesses = [f"{name} ({means[name]})" if name in means else name for name in names]
        message = f"unknown {what} {shown(given)}"
        if guesses:
            message += f"; did you mean {', '.join(guesses)}?"
        if hint:
            message += f" {hint}" if guesses else f"; {hint}"
        super().__init__(message)


class NotCovered(VitcostError):
    """The question is well formed, but no formula answers it exactly."""


class MissingExtra(VitcostError):
    """An optional dependency is needed but not installed; ``extra`` is the extra that
    installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        install = f"'vitcost[{extra}]'" if extra else package
        super().__init__(
            f"{purpose} needs {package}, which is not installed: pip install {install}"
        )


def nearest(given: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that begin with the given one, or look most like it, best first.

    >>> nearest("vit_bse_patch16_224", ["vit_base_patch16_224", "gpt2"])
    ['vit_base_patch16_224']
    >>> nearest("vit_huge", ["vit_tiny", "vit_huge_patch14_384", "vit_huge_patch14_224"])
    ['vit_huge_patch14_384', 'vit_huge_patch14_224']
    """
    if len(given) > _MOST_LETTERS:
        return []
    # imported only for mistakes, as difflib would cost every other start 5 ms
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    begun = [name for name in by_lower if given and name.startswith(given.lower())]
    keys = sorted(begun, key=len)[:most]
    keys = keys or get_close_matches(given.lower(), by_lower, n=most, cutoff=0.6)
    if given and not keys:
        # the user may have misspelled the beginning of a longer name
        starts = {name[: len(given)]: name for name in reversed(by_lower)}
        keys = [starts[key] for key in get_close_matches(given.lower(), starts, most, cutoff=0.7)]
    return [by_lower[key] for key in keys]
