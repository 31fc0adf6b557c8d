"""The looks of a pass that can be its peak: at some batch each is the highest of all."""

from collections.abc import Mapping, Sequence

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
    found: int | None = None
    for other, its in best.items():
        d = plus(other, total, -1)
        if len(trimmed(d)) > 2:
            raise Refused("a peak that is a square of the batch")
        start, slope = d[0], d[1] if len(d) > 1 else 0
        if its is look or slope <= 0:
            continue
        # the least batch with start + slope · batch > 0, or ≥ 0 of an earlier look
        more = 0 if its.number < look.number else 1
        at = -((start - more) // slope)
        if at > batch and (found is None or at < found):
            found = at
    return found
