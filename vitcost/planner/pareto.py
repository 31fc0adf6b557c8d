"""Pareto fronts over two quantities: the points that no other point beats."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from vitcost.costs.quantities import QUANTITIES, known
from vitcost.costs.quantity import Amount
from vitcost.errors import ConfigError, shown

__all__ = ["front", "oriented", "pair_of", "said"]


def pair_of(pareto: Sequence[str] | None) -> tuple[str, str] | None:
    """The two quantities of a Pareto front, from their names. Raises ``ConfigError`` for another
    number of them, ``UnknownName`` for one that is none.

    >>> pair_of(["params", "flops"]), pair_of(None)
    (('params', 'flops'), None)
    >>> pair_of(["params"])
    Traceback (most recent call last):
    vitcost.errors.ConfigError: a Pareto front is over two quantities, got ['params']
    """
    if pareto is None:
        return None
    names = () if isinstance(pareto, str) else known(pareto)
    if len(names) != 2:
        raise ConfigError(f"a Pareto front is over two quantities, got {shown(pareto)}")
    return names[0], names[1]


def said(pair: Sequence[str]) -> str:
    """The two quantities of a front in words, and whether less or more of each is better.

    >>> said(("params", "flops")), said(("macs", "images_per_second"))
    ('least params and flops', 'least macs and most images_per_second')
    """
    words = ["most" if QUANTITIES[name].more else "least" for name in pair]
    if words[0] == words[1]:
        return f"{words[0]} {' and '.join(pair)}"
    return " and ".join(f"{word} {name}" for word, name in zip(words, pair, strict=True))


def oriented(
    pair: Sequence[str], points: "Iterable[tuple[Amount | None, Amount | None]]"
) -> "Iterator[tuple[Amount | None, Amount | None]]":
    """Points of two quantities with less better in both: a rate, of which more is better, is
    negated.

    >>> list(oriented(("params", "images_per_second"), [(5, 2.0), (6, None)]))
    [(5, -2.0), (6, None)]
    """
    more = [QUANTITIES[name].more for name in pair]
    for point in points:
        x, y = (
            -value if turned and value is not None else value
            for value, turned in zip(point, more, strict=True)
        )
        yield x, y


def front(points: "Iterable[tuple[Amount | None, Amount | None]]") -> frozenset[int]:
    """The points that no other point beats, by less in one quantity and no more in the other.

    >>> sorted(front([(1, 9), (2, 5), (3, 5), (9, 1), (None, 0)]))
    [0, 1, 3]
    """
    known = ((x, y, i) for i, (x, y) in enumerate(points) if x is not None and y is not None)
    best: list[int] = []
    lowest: Amount | None = None
    for _, same in groupby(sorted(known), key=lambda point: point[0]):
        column = list(same)
        least = column[0][1]
        if lowest is None or least < lowest:
            lowest = least
            best += [i for _, y, i in column if y == least]
    return frozenset(best)
