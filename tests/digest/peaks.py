"""The looks of a pass that can be its peak: at some batch each is the highest of all."""

from collections.abc import Mapping, Sequence
from math import isqrt

from vitcost.traced.alive import Look
from vitcost.traced.batch_sizes import Polynomial, plus, value

__all__ = ["Refused", "trimmed", "winners"]


class Refused(Exception):
    """A trace that a digest cannot keep exactly, and what of it."""


def trimmed(size: Polynomial) -> Polynomial:
    """A size without powers of the batch that it has none of."""
    while len(size) > 1 and not size[-1]:
        size = size[:-1]
    return size


def winners(every: Sequence[Look], least: int) -> list[Look]:
    """The looks that are the highest at some batch from ``least`` on, the first of equal ones, and
    the end of the pass."""
    best: dict[Polynomial, Look] = {}
    for look in every[:-1]:
        best.setdefault(trimmed(look.total), look)
    kept: dict[int, Look] = {}
    batch: int | None = least
    while batch is not None and best:
        at = batch
        top = max(best.items(), key=lambda item: (value(item[0], at), -item[1].number))
        kept[top[1].number] = top[1]
        batch = _overtaken(top, best, batch)
    return [*(kept[number] for number in sorted(kept)), every[-1]]


def _overtaken(
    top: tuple[Polynomial, Look], best: Mapping[Polynomial, Look], batch: int
) -> int | None:
    """The next batch at which another look is higher, or as high and earlier."""
    total, look = top
    found: list[int] = []
    for other, its in best.items():
        if its is look:
            continue
        # of equal looks the earlier one is the peak
        more = 0 if its.number < look.number else 1
        at = _reached(trimmed(plus(other, total, -1)), more, batch)
        found += [] if at is None else [at]
    return min(found, default=None)


def _reached(size: Polynomial, least: int, after: int) -> int | None:
    """The first batch after this one at which a size is so large; None: at no batch."""
    if value(size, after + 1) >= least:
        return after + 1
    c, b, a = (*size, 0, 0)[:3]
    if len(size) > 3:
        raise Refused("a peak that is a cube of the batch")
    if not a:
        return -((c - least) // b) if b > 0 else None
    inside = b * b - 4 * a * (c - least)
    if inside < 0:
        return None
    # a parabola that opens upward is so large after its later root, one that opens downward
    # between its roots
    root = isqrt(inside)
    near = (root - b) // (2 * a) if a > 0 else (b - root - 1) // (-2 * a)
    tried = (at for at in range(max(after + 1, near - 1), near + 4) if value(size, at) >= least)
    return next(tried, None)
