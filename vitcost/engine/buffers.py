"""Buffers of the modules of a tree: tables, indexes, statistics."""

from vitcost.engine.ops import Size, Sizes, numel
from vitcost.engine.tree import Node

__all__ = ["TABLES", "buffer_bytes", "has_tables"]

TABLES = (
    "a policy leaves tables in fp32, which torch computes with beside tensors in half precision"
)

# bytes of an index
_INDEX = 8


def buffer_bytes(node: Node, sizes: Sizes, itemsize: int) -> Size:
    """Bytes of all buffers of a declared tree, those in the type of the model of so many bytes.

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
            times = item.run.layers.of(sizes) if item.run is not None else 1
            total = total + times * buffer_bytes(item, sizes, itemsize)
    return total


def has_tables(node: Node) -> bool:
    """Whether any buffer of a declared tree is no index: a table of numbers, or a statistic.

    >>> from vitcost.engine.model import build, structure_of
    >>> from vitcost.zoo import resolve
    >>> names = ("vit_base_patch16_224", "vit_base_patch16_rpn_224", "eva02_tiny_patch14_224")
    >>> [has_tables(build(structure_of(resolve(name).config))) for name in names]
    [False, False, True]
    """
    here = any(tensor.itemsize != _INDEX for tensor in node.buffers)
    return here or any(has_tables(item) for item in node.body if isinstance(item, Node))
