"""Every parameter of a tree with its shape, in the order in which optimizers and sharding visit
them."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count, groupby
from math import prod

from vitcost.config.records import Record
from vitcost.engine.ops import Op, Size, Sizes, Tensor, numel, own
from vitcost.engine.tree import Count, Node

__all__ = ["Parameter", "one_by_one", "parameters", "wholes"]


class Parameter(Record):
    """A parameter. Inside a run it stands for one parameter in each layer."""

    tensor: Tensor
    kind: str  # the kind of its op
    top: str  # the top-level module that it is in, with the index of a layer left out
    layers: tuple[Count, ...]  # the lengths of the runs of layers around it
    trains: bool
    runs: tuple[int, ...] = ()  # which runs of equal layers these are, numbered within the model

    def numel(self, sizes: Sizes) -> Size:
        return numel(self.tensor.axes, sizes)

    def repeat(self, sizes: Sizes) -> Size:
        """How many copies of it the model has: one in each of its layers."""
        return prod(layers.of(sizes) for layers in self.layers)


def _place(parent: Node, child: Node) -> tuple[bool, int]:
    """The sort key of a child in its parent: parameters, which are nodes of their own, come before
    modules."""
    later = parent.registered
    return child.type != "Parameter", later.index(child.name) + 1 if child.name in later else 0


def parameters(tree: Node) -> Iterator[Parameter]:
    """The parameters of a tree in the order of ``model.parameters()``: the parameters of a module
    itself come before those of its children."""
    # several ops may each read a part of one parameter
    each_of = {(each.tensor, each.runs): each for each in _below(tree, "", (), (), count(1))}
    yield from each_of.values()


def _below(
    node: Node, top: str, layers: tuple[Count, ...], runs: tuple[int, ...], numbers: Iterator[int]
) -> Iterator[Parameter]:
    ops = [item for item in node.body if isinstance(item, Op)]
    for each, op in wholes(node, ops):
        yield Parameter(each, op.kind, top, layers, op.trains, runs)
    children = [item for item in node.body if isinstance(item, Node)]
    for child in sorted(children, key=partial(_place, node)):
        inside = layers, runs
        if child.run is not None:
            inside = (*layers, child.run.layers), (*runs, next(numbers))
        yield from _below(child, top or child.name, *inside, numbers)


def wholes(node: Node, ops: Iterable[Op]) -> Iterator[tuple[Tensor, Op]]:
    """The whole parameters of a module's ops, even if an op reads only a copy or a part."""
    casts = {op.write: op.reads[0] for op in node.body if isinstance(op, Op) and op.kind == "cast"}
    for op in ops:
        for each in own(op):
            yield casts.get(each, each).storage, op


def one_by_one(
    parameters: Iterable[Parameter], sizes: Sizes | None = None, depth: int = 0
) -> Iterator[Parameter]:
    """Parameters in an optimizer's order. A run of equal layers is listed twice, so that the last
    parameter of one layer also stands before the first of the next; or, if ``sizes`` are given,
    once for each layer."""
    for run, group in groupby(parameters, key=lambda parameter: parameter.runs[depth : depth + 1]):
        if not run:
            yield from group
            continue
        layer = list(group)
        layers = layer[0].layers[depth]
        again = 1 if layers == Count(1) else 2
        for _ in range(again if sizes is None else layers.of(sizes)):
            yield from one_by_one(layer, sizes, depth + 1)
