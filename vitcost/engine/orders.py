"""Finds the tensors whose memory order is not the order of their axes.

An image is stored channel by channel, and so is the map that a convolution makes of it: tokens that
are cut from such a map are *turned*, all values of a channel side by side. A norm of each pixel
writes pixel by pixel: after it the map itself is turned, and stays so through convolutions and
pointwise kernels, and the tokens that are cut from it are in order.
"""

from collections.abc import Collection

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Node, ops_of

__all__ = ["TURNED", "is_spaced", "is_turned", "spreads", "turned"]

# the role of a turned gradient
TURNED = "turned"


def turned(tree: Node) -> frozenset[Tensor]:
    """The tensors of a lowered tree that are turned.

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
    """Whether an op writes a turned tensor, given the turned tensors ``before`` it. A kernel that
    keeps an order takes it from its first operand that has an image axis."""
    layout = KINDS[op.kind].layout
    read = False
    if before and layout in ("view", "keeps", "turns"):
        read = next((t for t in op.reads if t.axes[:1] == ("b",)), None) in before
    # a view lies between a map and its pixels
    return read != (op.kind == "channels last") if layout == "view" else read


def is_spaced(op: Op) -> bool:
    """Whether the rows that an op gives of a batch are not contiguous: it takes some tokens of each
    image, or repeats the same tokens for all images. A matrix product cannot read them as rows."""
    return op.kind in ("slice", "expand") and op.write.axes[:1] == ("b",)


def spreads(op: Op) -> bool:
    """Whether the weight of a convolution has several channels and several pixels, so that their
    memory order makes a difference."""
    channels, *pixels = op.over
    return channels != 1 and any(side != 1 for side in pixels)
