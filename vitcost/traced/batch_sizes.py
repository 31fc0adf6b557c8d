"""Sizes as polynomials in the batch, from the sizes at a few batches: ``a + b·batch``, or of degree
2 if a loss compares every image with every other."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Polynomial", "plus", "through", "value"]

# coefficients, the constant first
Polynomial: TypeAlias = tuple[int, ...]


def through(batches: Sequence[int], sizes: Sequence[int]) -> Polynomial | None:
    """The polynomial of lowest degree through the points (``batches``, ``sizes``). None if its
    coefficients are not integers, or if no point is left to confirm its degree: three points
    confirm a line, four a square.

    Newton's divided differences. A single point gives a constant; two points give a line, which is
    not confirmed.

    >>> through([2, 3, 4, 5], [14, 29, 50, 77]), through([2, 3, 4], [7, 10, 13]), through([2], [8])
    ((2, 0, 3), (1, 3), (8,))
    >>> through([2, 3], [20, 26]), through([2, 3, 4], [14, 29, 50])
    ((8, 6), None)
    """
    # imported only to make polynomials: a stored trace has them already
    from fractions import Fraction

    column = [Fraction(size) for size in sizes]
    leading = [column[0]]
    for order in range(1, len(batches)):
        column = [
            (column[i + 1] - column[i]) / (batches[i + order] - batches[i])
            for i in range(len(column) - 1)
        ]
        leading.append(column[0])
    total: list[Fraction] = [Fraction(0)]
    factor: list[Fraction] = [Fraction(1)]
    for order, difference in enumerate(leading):
        total = _sum(total, [difference * c for c in factor])
        factor = _times(factor, batches[order])
    while len(total) > 1 and not total[-1]:
        total.pop()
    confirmed = len(batches) < 3 or len(total) < len(batches)
    if not confirmed or any(c.denominator != 1 for c in total):
        return None
    return tuple(int(c) for c in total)


def _sum(a: "list[Fraction]", b: "list[Fraction]") -> "list[Fraction]":
    return [x + y for x, y in zip_longest(a, b, fillvalue=a[0] * 0)]


def _times(factor: "list[Fraction]", root: int) -> "list[Fraction]":
    """``factor · (batch - root)``."""
    return _sum([factor[0] * 0, *factor], [-root * c for c in factor])


def value(polynomial: Polynomial, batch: int) -> int:
    """The value of a polynomial at a batch.

    >>> value((2, 0, 3), 10)
    302
    """
    total = 0
    for coefficient in reversed(polynomial):
        total = total * batch + coefficient
    return total


def plus(a: Polynomial, b: Polynomial, times: int = 1) -> Polynomial:
    """``a + times · b``.

    >>> plus((1, 2), (1, 2, 3), -1)
    (0, 0, -3)
    """
    if len(a) < len(b):
        a = (*a, *(0,) * (len(b) - len(a)))
    return tuple(x + times * (b[i] if i < len(b) else 0) for i, x in enumerate(a))
