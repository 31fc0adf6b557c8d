"""Every parameter of a tree with its shape: what optimizers and sharding go through one by one."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from vitcost.engine.ops import Op, Size, Sizes, Tensor, numel, own
from vitcost.engine.tree import Count, Node

__all__ = ["Parameter", "parameters"]


class Parameter(NamedTuple):
    """A parameter, or its like in a run of equal layers."""

    tensor: Tensor
    kind: str  # of the op that it belongs to
    top: str  # the top-level module that it is in, with the index of a layer left out
    layers: tuple[Count, ...]  # it is there once in each of so many layers
    trains: bool

    def numel(self, sizes: Sizes) -> Size:
        return numel(self.tensor.axes, sizes)

    def repeat(self, sizes: Sizes) -> Size:
        """How many there are of it."""
        times: Size = 1
        for count in self.layers:
            times = times * count.of(sizes)
        return times


# how timm registers those that a forward reads in another order
_REGISTERED = {"cls_token": 1, "reg_token": 2, "pos_embed": 3, "dist_token": 4}


def _place(parent: Node, child: Node) -> tuple[bool, int]:
    """A parameter that is no layer's is a node of its own in the tree."""
    if (parent.type, child.name) == ("DiffAttention", "sub_norm"):
        return True, 1
    return child.type != "Parameter", _REGISTERED.get(child.name, 0)


def parameters(tree: Node, top: str = "", layers: tuple[Count, ...] = ()) -> Iterator[Parameter]:
    """The parameters of a tree in the order of ``model.parameters()``: those that sit on a module
    come before those of its children."""
    casts = {op.write: op.reads[0] for op in tree.body if isinstance(op, Op) and op.kind == "cast"}
    for op in tree.body:
        if isinstance(op, Op):
            for each in own(op):
                yield Parameter(casts.get(each, each), op.kind, top, layers, op.trains)
    children = [item for item in tree.body if isinstance(item, Node)]
    for child in sorted(children, key=partial(_place, tree)):
        inside = layers if child.run is None else (*layers, child.run.layers)
        yield from parameters(child, top or child.name, inside)
