"""The kernels that a step launches: the engine's lowered tree as a flat list.

A run of equal layers starts anew at the first product of a layer: ``lead rest lead rest …`` is
listed as ``lead``, repeated ``rest lead``, then ``rest``, so that ops which a compiler fuses across
two layers stand together.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Sizes, Tensor, bytes_of
from vitcost.engine.tree import Copy, Count, Node, joined

__all__ = ["Launches", "Step", "flatten", "like", "moved", "step_of", "times"]


class Step(NamedTuple):
    """A kernel: its op, the tensors that it reads and writes, and how often a step launches it."""

    op: Op
    path: str
    counts: tuple[Count, ...] = ()
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    strided: bool = False  # whether an operand is read in another order than it has in memory
    backward: bool = False
    again: bool = False  # an op of a checkpointed region that runs again in the backward pass

    @property
    def product(self) -> bool:
        """Whether it runs on the matrix units: a compiler fuses no kernels across it."""
        return KINDS[self.op.kind].work in ("linear", "conv", "product", "attention")

    @property
    def view(self) -> bool:
        return KINDS[self.op.kind].view != ""


class Launches(tuple[Step, ...]):
    """The kernels of a forward pass. Two lists are compared by identity, so that a pass over one
    list runs once."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def step_of(op: Op, path: str, counts: tuple[Count, ...] = ()) -> Step:
    """An op as one kernel; a view reads and writes nothing."""
    if KINDS[op.kind].view:
        return Step(op, path, counts)
    return Step(op, path, counts, _reads(op), (op.write, *op.extra))


def _reads(op: Op) -> tuple[Tensor, ...]:
    return (*op.reads, *(t for t in (op.weight, op.bias) if t is not None))


def times(step: Step, sizes: Sizes) -> int:
    """How often a step launches a kernel: the product of the lengths of the runs of layers around
    it."""
    return prod(count.of(sizes) for count in step.counts)


def moved(step: Step, sizes: Sizes) -> int:
    """The bytes that one launch reads and writes."""
    return sum(bytes_of(tensor, sizes) for tensor in (*step.reads, *step.writes))


def like(x: Tensor, itemsize: int = 0, role: str = "activation") -> Tensor:
    """Another tensor of the same shape."""
    return Tensor(x.name, x.axes, role, itemsize=itemsize or x.itemsize)


def flatten(node: Node, path: str = "", counts: tuple[Count, ...] = ()) -> Iterator[Step]:
    """The ops of a tree in the order they run. Views are among them, since later passes
    read them."""
    for item in node.body:
        if isinstance(item, Op):
            yield step_of(item, path, counts)
        elif item.run is None:
            yield from flatten(item, joined(path, item.name), counts)
        else:
            yield from _turned(item, path, counts)


def _turned(layer: Node, path: str, counts: tuple[Count, ...]) -> Iterator[Step]:
    """A run of equal layers, split at the first product of a layer, see above."""
    assert layer.run is not None
    one, rest = layer.run.split()
    steps = list(flatten(layer, path))
    lead = next((i for i, step in enumerate(steps) if step.product), 0)
    yield from _repeat(steps[:lead], counts, one.layers)
    if rest is not None:
        # the next layer reads what this one wrote
        swap = {layer.inputs[0]: layer.output}
        shared = {t.storage for step in steps[lead:] for t in _reads(step.op)}
        following = _copied(steps[:lead], shared, swap)
        yield from _repeat(steps[lead:] + following, counts, rest.layers)
        steps[lead:] = _copied(steps[lead:], {layer.output}, {})
    yield from _repeat(steps[lead:], counts, one.layers)


def _repeat(steps: Iterable[Step], counts: tuple[Count, ...], layers: Count) -> Iterator[Step]:
    for step in steps:
        yield step._replace(counts=(*counts, layers, *step.counts))


def _copied(steps: list[Step], kept: set[Tensor], known: dict[Tensor, Tensor]) -> list[Step]:
    """The same kernels on new tensors; tensors in ``kept`` stay, and those in ``known`` are
    replaced."""
    written = {t for step in steps for t in (step.op.write, *step.op.extra)}
    copy = Copy({t: t for t in written if t in kept or t.storage in kept} | known)
    return [step_of(copy.op(step.op), step.path, step.counts) for step in steps]
