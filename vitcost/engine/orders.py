"""The tensors that lie in another order than their axes say.

An image lies channel by channel, and so does the map that a convolution makes of it: tokens that
are cut from such a map are *turned*, all values of a channel side by side. A norm of each pixel
writes pixel by pixel: then the map is turned, and stays so through convolutions and pointwise
kernels, and the tokens that are cut from it are in order.
"""

from collections.abc import Collection

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Node, ops_of

__all__ = ["TURNED", "is_spaced", "is_turned", "spreads", "turned"]

# the role of a gradient that lies so
TURNED = "turned"


def turned(tree: Node) -> frozenset[Tensor]:
    """The turned tensors of a lowered tree.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import structure_of
    >>> from vitcost.zoo import resolve
    >>> plain = resolve("vit_base_patch16_224", class_token=False, global_pool="max").config
    >>> tree = lower(structure_of(plain, 2, training=True), Mode())
    >>> sorted({t.axes for t in turned(tree)})
    [('b', 'n', 'h'), ('b', 's', 'h')]
    """
    before: set[Tensor] = set()
    for op in ops_of(tree):
        if is_turned(op, before):
            before.add(op.write)
    return frozenset(before)


def is_turned(op: Op, before: Collection[Tensor]) -> bool:
    """Whether an op writes so, by the tensors before it that lie so: a kernel that keeps an order
    has that of the first tensor that it reads of every image."""
    layout = KINDS[op.kind].layout
    read = False
    if before and layout in ("view", "keeps", "turns"):
        read = next((t for t in op.reads if t.axes[:1] == ("b",)), None) in before
    # a view lies between a map and its pixels
    return read != (op.kind == "channels last") if layout == "view" else read


def is_spaced(op: Op) -> bool:
    """Whether an op gives a part of the tokens of each image, between which the others lie, or the
    same tokens for all images: no rows of a matrix, if images are several."""
    return op.kind in ("slice", "expand") and op.write.axes[:1] == ("b",)


def spreads(op: Op) -> bool:
    """Whether the weight of a convolution has both several channels and several pixels, so that
    their order makes a difference."""
    channels, *pixels = op.over
    return channels != 1 and any(side != 1 for side in pixels)
