"""The parts of a model's cost: each top-level module belongs to one."""

from collections.abc import Callable, Iterable

from vitcost.engine.cost import Cost, Row
from vitcost.engine.ops import Size

__all__ = ["by_part", "part_of"]

# modules that are counted in a part with another name
_PARTS = {
    "cls_token": "tokens",
    "dist_token": "tokens",
    "reg_token": "tokens",
    "mask_token": "tokens",
    "head_dist": "head",
    "rel_pos_bias": "shared_rel_pos",
}


def part_of(path: str) -> str:
    """The part that a top-level module belongs to.

    >>> part_of("cls_token"), part_of("blocks.0"), part_of("norm")
    ('tokens', 'blocks', 'norm')
    """
    top = path.partition(".")[0]
    return _PARTS.get(top, top)


def by_part(rows: Iterable[Row], quantity: Callable[[Cost], Size]) -> dict[str, Size]:
    """A quantity summed by part, in the order of the forward; the parts add up to the total."""
    parts: dict[str, Size] = {}
    for row in rows:
        part = part_of(row.path)
        parts[part] = parts.get(part, 0) + row.repeat * quantity(row.cost)
    return parts
