"""Answers checks for NaN and infinity: a trace assumes that every number is finite, as in a run
that goes well.

``if not torch.isfinite(x).all(): x = x.clamp(...)`` reads a value, and fake tensors have none. For
finite numbers ``isfinite``, ``isinf`` and ``isnan`` have a known answer, which is passed on through
operators that combine such answers.
"""

from collections.abc import Callable, Mapping
from math import isinf
from typing import Any

from torch import Tensor

__all__ = ["NOTE", "answer", "remember"]

NOTE = (
    "every number is taken as finite and as one that checks allow: what guards against others "
    "does not run"
)

# an attribute of a fake boolean tensor: the value of all its elements, until a write
_EACH = "_vitcost_each"


def answer(tensor: Any) -> bool | None:
    """The boolean value of every element of a tensor, if finite numbers give all elements the same;
    None: unknown.

    >>> import torch
    >>> numbers = torch.empty(3)
    >>> flags = numbers == numbers
    >>> remember("eq", (numbers, numbers), flags)
    >>> answer(flags), answer(numbers)
    (True, None)
    """
    known: tuple[bool, int] | None = getattr(tensor, _EACH, None)
    return known[0] if known is not None and known[1] == tensor._version else None


def remember(name: str, args: tuple[Any, ...], output: Any) -> None:
    """Notes the value of an operator's result, if it is the same for all finite numbers.

    >>> import torch
    >>> infinite = torch.empty(3, dtype=torch.bool)
    >>> remember("isinf", (torch.empty(3),), infinite)
    >>> answer(infinite)
    False
    """
    rule = _RULES.get(name)
    if rule is None or not isinstance(output, Tensor) or output.is_inference():
        # a tensor of inference mode has no version counter
        return
    known = rule if isinstance(rule, bool) else rule(args)
    if known is not None:
        setattr(output, _EACH, (known, output._version))


def _equal(args: tuple[Any, ...]) -> bool | None:
    """The answer of ``x == y`` if y is x itself (a search for NaN) or infinity."""
    if args[0] is args[1]:
        # x == x is true: the search for NaN finds none
        return True
    return False if isinstance(args[1], float) and isinf(args[1]) else None


def _unequal(args: tuple[Any, ...]) -> bool | None:
    known = _equal(args)
    return None if known is None else not known


def _both(args: tuple[Any, ...]) -> bool | None:
    known = [answer(each) for each in args[:2]]
    return None if None in known else all(known)


def _either(args: tuple[Any, ...]) -> bool | None:
    known = [answer(each) for each in args[:2]]
    return None if None in known else any(known)


def _none(args: tuple[Any, ...]) -> bool | None:
    known = answer(args[0])
    return None if known is None else not known


def _same(args: tuple[Any, ...]) -> bool | None:
    return answer(args[0])


# the answer of an operator, or the rule that finds it
_RULES: Mapping[str, bool | Callable[[tuple[Any, ...]], bool | None]] = {
    "eq": _equal,
    "ne": _unequal,
    # torch._check and torch.distributions call this, and raise if it returns false
    "_is_all_true": True,
    "isnan": False,
    "isinf": False,
    "mul": _both,
    "bitwise_and": _both,
    "logical_and": _both,
    "bitwise_or": _either,
    "logical_or": _either,
    "bitwise_not": _none,
    "logical_not": _none,
    "all": _same,
    "any": _same,
    "detach": _same,
    "view": _same,
    "_to_copy": _same,
}
