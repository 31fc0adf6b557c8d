"""Passes of a digest as columns that say by how much they differ from those of another pass."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vitcost.traced.batch_sizes import Polynomial
from vitcost.traced.digest import expected

__all__ = ["Taken", "encoded"]


class Taken(NamedTuple):
    """A pass by columns of polynomials, each number under what it is of."""

    one: bool
    skeleton: dict[str, Any]
    columns: dict[str, dict[object, Polynomial]]


def encoded(passes: Sequence[Taken]) -> Iterator[dict[str, Any]]:
    for number, own in enumerate(passes):
        columns = {name: _column(own, name, passes[:number]) for name in own.columns}
        yield {"one": int(own.one), **own.skeleton, "columns": columns}


def _column(own: Taken, name: str, before: Sequence[Taken]) -> list[Any]:
    """The shortest way to say a column."""
    column = own.columns[name]
    ways = [_said(column, {}, -1, 1, own.one)]
    for other, taken in enumerate(before):
        if (taken.one and not own.one) or name not in taken.columns:
            continue
        for divisor in (1, 2):
            said = _said(column, taken.columns[name], other, divisor, own.one)
            ways += [said] if said is not None else []
    return min((way for way in ways if way is not None), key=lambda way: len(str(way)))


def _said(
    column: Mapping[object, Polynomial],
    others: Mapping[object, Polynomial],
    number: int,
    divisor: int,
    one: bool,
) -> list[Any] | None:
    pairs = [(size, expected(others.get(key, ()), one)) for key, size in column.items()]
    powers = max(max(len(size), len(other)) for size, other in pairs) if pairs else 1
    by_power = []
    for power in range(powers):
        differences = [
            divisor * (size[power] if power < len(size) else 0)
            - (other[power] if power < len(other) else 0)
            for size, other in pairs
        ]
        by_power.append(differences if any(differences) else 0)
    while by_power and by_power[-1] == 0:
        by_power.pop()
    return [number, divisor, *by_power]
