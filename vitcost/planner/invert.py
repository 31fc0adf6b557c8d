"""From bytes back to sizes: the largest batch, image or depth that needs no more."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple

__all__ = ["largest_convex", "largest_monotone"]

# how far from the first of the integers the first line is taken
_NEAR = 1024


class _Line(NamedTuple):
    """The line through a convex function at x - 1 and x, which is nowhere above the function on
    integers."""

    x: int
    value: int
    slope: int

    def reaches(self, limit: int) -> int:
        """The largest integer at which the line is within a limit."""
        return self.x + (limit - self.value) // self.slope


def largest_convex(of: Callable[[int], int], limits: Iterable[int], first: int) -> dict[int, int]:
    """For each limit the largest x ≥ ``first`` whose ``of(x)`` is within it; ``first - 1``: none.

    ``of`` must rise by at least 1 a step and be convex on the integers from ``first`` on, such as
    the largest of several lines. Where the line through two neighbours leaves a limit, so does
    ``of``; the lines that were found for one limit serve the others, so that each limit takes one
    evaluation and each line two. A first line is near ``first``.

    >>> largest_convex(lambda x: max(10 + x, 3 * x), [11, 12, 40, 2], 1)
    {40: 13, 12: 2, 11: 1, 2: 0}
    """
    largest: dict[int, int] = {}
    # not from the far end: of a square each line from there halves the distance alone
    lines = [_line(of, first + _NEAR)]
    for limit in sorted(set(limits), reverse=True):
        x = _reached(lines, limit, first)
        while (value := of(x)) > limit and x > first:
            lines.append(_line(of, x))
            x = _reached(lines, limit, first)
        largest[limit] = x if value <= limit else first - 1
    return largest


def _line(of: Callable[[int], int], x: int) -> _Line:
    value = of(x)
    return _Line(x, value, value - of(x - 1))


def _reached(lines: Iterable[_Line], limit: int, first: int) -> int:
    return max(min(line.reaches(limit) for line in lines), first)


def largest_monotone(of: Callable[[int], int], limit: int, last: int) -> int:
    """The largest x of 1 … ``last`` whose ``of(x)`` is within a limit; 0: none.

    ``of`` must not fall. Takes two evaluations for each doubling of the answer.

    >>> largest_monotone(lambda x: x * x, 50, 1000), largest_monotone(lambda x: 9, 1, 5)
    (7, 0)
    """
    low, high = 0, 1
    while high <= last and of(high) <= limit:
        low, high = high, 2 * high
    return low + bisect_right(range(low + 1, min(high, last + 1)), limit, key=of)
