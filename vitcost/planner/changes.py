"""How the layers of two models differ, number by number."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = ["NUMBERS", "Changed", "Numbers", "changes"]

# the columns of a layer that quantities are compared in, and their units
NUMBERS = {"params": "count", "flops": "si", "pointwise": "si", "saved_bytes": "bytes"}

Numbers = Mapping[str, Mapping[str, int]]  # by layer, then by column


class Changed(NamedTuple):
    """A number of a layer, or of a run of equal layers, before and now; None: there was none."""

    layer: str
    number: str
    unit: str
    was: int | None
    now: int | None

    @property
    def more(self) -> int:
        """``now - was``; a number that was not there is 0."""
        return (self.now or 0) - (self.was or 0)


def changes(was: Numbers, now: Numbers, columns: Iterable[str] = NUMBERS) -> Iterator[Changed]:
    """Every number of a layer that changed, in the order of the layers.

    >>> list(changes({"head": {"params": 5}}, {"head": {"params": 7}}, ["params"]))
    [Changed(layer='head', number='params', unit='count', was=5, now=7)]
    """
    none: Mapping[str, int] = {}
    for layer in dict.fromkeys((*now, *was)):
        for column in columns:
            before = was.get(layer, none).get(column)
            after = now.get(layer, none).get(column)
            if (before or 0) != (after or 0):
                yield Changed(layer, column, NUMBERS[column], before, after)
