"""Runs of equal layers written out for a walk: the first, one for all between, and the last."""

from collections.abc import Iterator

from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Count, Node, Run

__all__ = ["unroll"]


def unroll(node: Node, last: bool = True) -> Node:
    """The same tree, every run of layers as three items, each with tensors of its own.

    Without ``last`` the last layer is one of those between: in eval no backward begins in it.
    """
    if not any(isinstance(item, Node) for item in node.body):
        return node
    body: list[Op | Node] = []
    for item in node.body:
        if isinstance(item, Op):
            body.append(item)
        elif item.run is None:
            body.append(unroll(item, last))
        else:
            body += _layers(unroll(item, last), last)
    return node._replace(body=tuple(body))


def _layers(layer: Node, last: bool) -> Iterator[Node]:
    assert layer.run is not None
    results = (layer.output, *layer.also)
    # the results of a layer are what the next one is given first
    given = passed = layer.inputs[: len(results)]
    parts = _parts(layer.run, last)
    for run in parts:
        # ops after the run read the results of its last layer
        known = {t: t for result in results for t in result.bases if run is parts[-1]}
        for mine, x in zip(given, passed, strict=True):
            # the first layer may read a view, whose storage autograd keeps
            known |= dict.fromkeys(mine.bases, x.storage) | {mine: x}
        made = _Copy(known).node(layer)
        passed = (made.output, *made.also)
        yield made._replace(run=run)


def _parts(run: Run, apart: bool) -> list[Run]:
    """The first layer, those between, and the last if it stands apart."""
    one, (axis, less) = Count(1), run.layers
    left = axis - less if isinstance(axis, int) else None
    first = Run(one, run.before)
    if left == 1:
        return [first]
    if not apart:
        return [
            first,
            Run(Count(axis, less + 1) if left is None else Count(left - 1), (*run.before, one)),
        ]
    between = Count(axis, less + 2) if left is None else Count(left - 2)
    middle = Run(between, (*run.before, one))
    last = Run(one, (*run.before, one, between))
    return [first, last] if left == 2 else [first, middle, last]


class _Copy:
    """Copies a node, with new tensors for all that it writes."""

    def __init__(self, known: dict[Tensor, Tensor]) -> None:
        self.known = known

    def node(self, node: Node) -> Node:
        body = [self.op(item) if isinstance(item, Op) else self.node(item) for item in node.body]
        return node._replace(
            body=tuple(body),
            inputs=self.all(node.inputs),
            output=self.read(node.output),
            held=self.all(node.held) if node.held else (),
            also=self.all(node.also) if node.also else (),
        )

    def op(self, op: Op) -> Op:
        reads = self.all(op.reads)
        return op._replace(
            reads=reads,
            write=self.write(op.write),
            extra=tuple(map(self.write, op.extra)) if op.extra else (),
            weight=None if op.weight is None else self.read(op.weight),
            bias=None if op.bias is None else self.read(op.bias),
            holds=self.all(op.holds) if op.holds else (),
            saves=self.all(op.saves) if op.saves else (),
            keeps=self.all(op.keeps) if op.keeps else (),
        )

    def write(self, tensor: Tensor) -> Tensor:
        if tensor not in self.known:
            base = None if tensor.base is None else self.read(tensor.base)
            copy = Tensor(tensor.name, tensor.axes, tensor.role, base, tensor.itemsize)
            self.known[tensor] = copy
        return self.known[tensor]

    def read(self, tensor: Tensor) -> Tensor:
        return self.known.get(tensor, tensor)

    def all(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(map(self.known.get, tensors, tensors))
