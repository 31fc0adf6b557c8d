"""Checks arguments as Python passes them, each by its kind, before a function uses them."""

import os
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import islice
from typing import Any, ParamSpec, TypeAlias, TypeVar

from vitcost.config.fields import as_python, integer
from vitcost.errors import ConfigError, VitcostError, shown
from vitcost.outside.users_code import reason_of

__all__ = [
    "TOO_LARGE",
    "Check",
    "between",
    "called",
    "flag",
    "listed",
    "optional",
    "path",
    "some",
    "takes",
    "text",
]

Check: TypeAlias = Callable[[str, Any], Any]
_P = ParamSpec("_P")
_R = TypeVar("_R")

TOO_LARGE = "a number of this model is larger than a float holds: give it smaller sizes"

# the most items in a list that is one argument
_MOST = 10_000


def takes(**checks: Check) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Makes a function check its arguments; an argument that is not given is not checked.

    >>> @takes(name=text, deep=flag)
    ... def f(name: str, deep: bool = False) -> str:
    ...     return name
    >>> f("a"), f(name=3)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: name must be text, got 3
    """

    def wrapped(function: Callable[_P, _R]) -> Callable[_P, _R]:
        code = getattr(function, "__wrapped__", function).__code__
        places = code.co_varnames[: code.co_argcount]

        def checked(name: str, value: Any) -> Any:
            return checks[name](name, value) if name in checks else value

        @wraps(function)
        def call(*args: Any, **given: Any) -> _R:
            args = (*map(checked, places, args), *args[len(places) :])
            keywords = {name: checked(name, value) for name, value in given.items()}
            try:
                return function(*args, **keywords)
            except OverflowError:
                raise ConfigError(TOO_LARGE) from None

        return call

    return wrapped


def text(name: str, value: Any) -> str:
    """A text, unchanged; else ``ConfigError``.

    >>> text("model", "vit_base_patch16_224"), text("model", 3)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: model must be text, got 3
    """
    plain = as_python(value)
    if not isinstance(plain, str):
        raise ConfigError(f"{name} must be text, got {shown(value)}")
    return plain


def path(name: str, value: Any) -> str:
    """A path as text, from a text or from pathlib.

    >>> from pathlib import PurePosixPath
    >>> path("output", PurePosixPath("out/report.json"))
    'out/report.json'
    """
    try:
        return text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)
    except ConfigError:
        raise
    except Exception:
        raise ConfigError(f"{name} must be a path, got {shown(value)}") from None


def flag(name: str, value: Any) -> bool:
    """True or False, unchanged; ``ConfigError`` for anything else, including numbers.

    >>> flag("why", True), flag("why", 1)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: why must be true or false, got 1
    """
    plain = as_python(value)
    if not isinstance(plain, bool):
        raise ConfigError(f"{name} must be true or false, got {shown(value)}")
    return plain


def between(low: int, high: int) -> Check:
    """A check for an integer within a range.

    >>> between(1, 8)("nodes", 4), between(1, 8)("nodes", 9)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: nodes must be between 1 and 8, got 9
    """
    return lambda name, value: integer(name, value, low, high)


def optional(check: Check) -> Check:
    """A check that allows None beside the values of another check.

    >>> optional(text)("gpu", None), optional(text)("gpu", "l4")
    (None, 'l4')
    """
    return lambda name, value: None if value is None else check(name, value)


def called(name: str, value: Any) -> Callable[..., None]:
    """A function of the user's that receives reports; an error that it raises becomes ours.

    >>> called("progress", print)(3, 10)
    3 10
    >>> called("progress", 3)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: progress must be a function, got 3
    """
    if not callable(value):
        raise ConfigError(f"{name} must be a function, got {shown(value)}")

    def tell(*given: Any) -> None:
        try:
            value(*given)
        except VitcostError:
            raise
        except Exception as error:
            raise ConfigError(f"{name}: {reason_of(error)}") from error

    return tell


def listed(name: str, value: Any) -> list[Any]:
    """One item, or an iterable of items, as a list; None and an empty text give an empty list.

    >>> listed("gpu", "l4"), listed("gpu", ("l4", "t4")), listed("gpu", None)
    (['l4'], ['l4', 't4'], [])
    """
    value = as_python(value)
    if value is None or (isinstance(value, str) and not value):
        return []
    # a row of a table is one item, not several
    one = isinstance(value, str | bytes) or hasattr(type(value), "_fields")
    if one or not isinstance(value, Iterable):
        return [value]
    try:
        values = [as_python(each) for each in islice(value, _MOST + 1)]
    except Exception:
        raise ConfigError(f"{name} cannot be listed: {shown(value)}") from None
    if len(values) > _MOST:
        raise ConfigError(f"{name} has more than {_MOST:,} values: {shown(value)}")
    return values


def some(name: str, value: Any) -> list[Any]:
    """One item or several, at least one.

    >>> some("files", "a.csv"), some("files", [])
    Traceback (most recent call last):
    vitcost.errors.ConfigError: files must be one or several, got []
    """
    values = listed(name, value)
    if not values:
        raise ConfigError(f"{name} must be one or several, got {shown(value)}")
    return values
