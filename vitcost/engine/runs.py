"""Runs of equal layers: counted, split, and regrouped."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from vitcost.engine.ops import Axis, Op, Sizes, Tensor
from vitcost.engine.tree import APART, Copy, Count, Node, Run, nodes_of
from vitcost.errors import NotCovered

__all__ = [
    "argument_casts", "cast_inputs", "chained", "cut_at", "has_runs", "run_axes", "set_depths",
]  # fmt: skip


def has_runs(node: Node) -> bool:
    """Whether a node contains runs of equal layers."""
    return any(isinstance(item, Node) and item.run is not None for item in node.body)


def run_axes(node: Node) -> tuple[Axis, ...]:
    """The axes that count the layers of runs."""
    runs = (each.run for each in nodes_of(node) if each.run is not None)
    return tuple(dict.fromkeys(run.layers.axis for run in runs))


def set_depths(node: Node, layers: Mapping[Axis, int]) -> Node:
    """The tree in which numbers replace the axes that count layers."""

    def number(count: Count) -> Count:
        return Count(layers[count.axis] - count.less) if count.axis in layers else count

    run = node.run
    if run is not None:
        run = Run(number(run.layers), tuple(number(count) for count in run.before))
    return node.each(lambda item: set_depths(item, layers))._replace(run=run)


def cut_at(container: Node, ahead: int) -> Iterator[tuple[Node, Count, bool]]:
    """The layers of a container: the node, how many layers it stands for, and whether they are
    among the first ``ahead`` ones. A run across that boundary is yielded in two parts."""
    for node in container.body:
        assert isinstance(node, Node)
        layers = node.times(Sizes())
        before = min(max(ahead, 0), layers)
        ahead -= before
        for n, is_ahead in ((before, True), (layers - before, False)):
            if n:
                yield node, Count(n), is_ahead


def chained(container: Node, pieces: Iterable[tuple[Node, Count]]) -> Iterator[Node]:
    """The layers of a container in new pieces, each of a given length and with tensors of
    its own."""
    pieces = list(pieces)
    x, before = container.inputs[0], tuple[Count, ...]()
    for i, (node, layers) in enumerate(pieces):
        known = {node.inputs[0]: x}
        if i == len(pieces) - 1:
            known.update(zip(node.output.bases, container.output.bases, strict=True))
        piece = Copy(known).node(node)._replace(run=Run(layers, before))
        yield piece
        x, before = piece.output, (*before, layers)


def cast_inputs(tree: Node, itemsize: int) -> Node:
    """The tree with float inputs of ``itemsize`` bytes, cast to its own type: fully_shard casts the
    arguments of a unit whose weights have another type, and the call holds the copies. Buffers keep
    their type.

    Raises ``NotCovered`` where a bias is put together from parameters and a buffer.
    """
    floats = [x for x in tree.inputs if x.role == "input"]
    floats += (t for node in _nodes(tree) for t in node.buffers if not t.itemsize)
    known = {t: Tensor(t.name, t.axes, t.role, itemsize=itemsize) for t in floats}
    return _cast_first(_units(Copy(known).node(tree)))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    floats = [t for t in node.buffers if not t.itemsize]
    for item in node.body:
        if isinstance(item, Node):
            yield from _nodes(item)
        elif floats and item.kind == "cat" and item.reads[0].role == "param":
            raise NotCovered(
                f"{node.name} under a policy of fully_shard: its forward joins biases with a "
                "buffer, which stays in float32, and torch adds no such bias to a product in half "
                "precision"
            )


def _units(node: Node) -> Node:
    """Puts casts in front of each layer of a run; the layers of a hybrid's backbone are not
    units."""
    if node.type in APART:
        return node
    if node.run is not None:
        return _cast_first(node)
    return node.each(_units)


def _cast_first(node: Node) -> Node:
    """The same unit, which first casts its arguments from 4-byte floats."""
    # the type of a weight is the type of the unit
    like = Tensor("weight", (), "param")
    floats = [x for x in node.inputs if x.storage.itemsize == 4 and x.role != "index"]
    if not floats:
        return node
    copies = {x: Tensor(x.name, x.axes) for x in floats}
    casts = tuple(Op("cast", (x, like), copy) for x, copy in copies.items())
    # the parent reads the unit's outputs, which therefore stay the same tensors
    outputs = {t: t for result in (node.output, *node.also) for t in result.bases}
    renamed = Copy(outputs | copies).node(node)
    held = (*renamed.held, *copies.values())
    return renamed._replace(body=(*casts, *renamed.body), inputs=node.inputs, held=held)


def argument_casts(node: Node) -> list[Op]:
    """The casts of a unit's arguments, which begin its body."""

    def is_cast(item: Op | Node) -> bool:
        if not isinstance(item, Op) or item.kind != "cast":
            return False
        return item.write in node.held and item.reads[0] in node.inputs

    return [item for item in takewhile(is_cast, node.body) if isinstance(item, Op)]
