"""Terms of a model by module path, for models whose top-level modules are not the parts that pages
know."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from vitcost.engine.cost import Cost, Row
from vitcost.engine.ops import Size
from vitcost.formulas.symbols import value

__all__ = ["by_module"]

# a module is split into its children if it has more than this share of the whole, and while there
# are fewer rows than this
_SHARE, _MOST_ROWS = 4, 16

Quantity = Callable[[Cost], Size]


class _Part(NamedTuple):
    """A summand: a child of a row, or the work of a module outside of its children."""

    name: str
    amount: Size
    row: Row | None


def by_module(root: Row, of: Quantity, numbers: Mapping[str, Size]) -> dict[str, Size]:
    """Summands of a cost in the order of the forward: modules, the large ones split into children,
    and runs of equal modules. ``numbers`` replace the letters to see which modules are large.

    >>> layer = Row("blocks.0", "blocks.1", "Block", 2, (), Cost(flops=5), ())
    >>> root = Row("", "", "Net", 1, (), Cost(flops=11), (layer,))
    >>> by_module(root, lambda cost: cost.flops, {})
    {'blocks.0 to blocks.1': 10, 'model': 1}
    """
    whole = value(of(root.cost), numbers)
    parts = [*_opened(root, of, "model")]
    while len(parts) < _MOST_ROWS:
        large = [p for p in parts if p.row is not None and p.row.children and p.row.repeat == 1]
        large = [p for p in large if _SHARE * value(p.amount, numbers) > whole]
        if not large:
            break
        top = max(large, key=lambda p: value(p.amount, numbers))
        assert top.row is not None
        at = parts.index(top)
        parts[at : at + 1] = _opened(top.row, of, f"{top.name} itself")
    amounts: dict[str, Size] = {}
    for part in parts:
        amounts[part.name] = amounts.get(part.name, 0) + part.amount
    return amounts


def _opened(row: Row, of: Quantity, rest: str) -> Iterator[_Part]:
    """The children of a row, and the row's own work."""
    rest_amount = of(row.cost)
    for child in row.children:
        amount = child.repeat * of(child.cost)
        rest_amount = rest_amount - amount
        name = child.path if child.path == child.last else f"{child.path} to {child.last}"
        yield _Part(name, amount, child)
    yield _Part(rest, rest_amount, None)
