"""Buffers of the modules of a tree: tables, indexes, statistics."""

from vitcost.engine.ops import Size, Sizes, numel
from vitcost.engine.tree import Node

__all__ = ["buffer_bytes"]


def buffer_bytes(node: Node, sizes: Sizes, itemsize: int) -> Size:
    """Bytes of all buffers of a declared tree; a buffer without a type of its own has the model's
    ``itemsize``.

    >>> from vitcost.engine.model import build, sizes_of, structure_of
    >>> from vitcost.zoo import resolve
    >>> beit = resolve("beit_base_patch16_224").config
    >>> buffer_bytes(build(structure_of(beit)), sizes_of(beit), 4)
    3762528
    >>> 12 * (8 * 197**2 + 4 * 768)
    3762528
    """
    total: Size = 0
    for tensor in node.buffers:
        total = total + (tensor.itemsize or itemsize) * numel(tensor.axes, sizes)
    for item in node.body:
        if isinstance(item, Node):
            total = total + item.times(sizes) * buffer_bytes(item, sizes, itemsize)
    return total
