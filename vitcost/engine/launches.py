"""The kernels that a step launches: the engine's lowered tree as a flat list.

A run of equal layers is turned by its first product: ``lead rest lead rest …`` is read as ``lead``,
``rest lead`` over and over, ``rest``, so that what a compiler fuses across two layers stands
together.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Sizes, Tensor, bytes_of
from vitcost.engine.tree import Count, Node, joined

__all__ = ["Launches", "Step", "flatten", "like", "moved", "step_of", "times"]


class Step(NamedTuple):
    """A kernel: its op, the tensors that it reads and writes, and how often a step launches it."""

    op: Op
    path: str
    counts: tuple[Count, ...] = ()
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    strided: bool = False  # reads an operand across its memory order
    backward: bool = False
    again: bool = False  # a checkpointed op that runs again in the backward pass

    @property
    def product(self) -> bool:
        """Whether it runs on the matrix units; a compiler fuses nothing across it."""
        return KINDS[self.op.kind].work in ("linear", "conv", "product", "attention")

    @property
    def view(self) -> bool:
        return KINDS[self.op.kind].view != ""


class Launches(tuple[Step, ...]):
    """The kernels of a forward pass; compared by identity, so that passes over them run once."""

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
    """How often a step is launched: the product of its runs' lengths."""
    return prod(count.of(sizes) for count in step.counts)


def moved(step: Step, sizes: Sizes) -> int:
    """The bytes that one launch reads and writes."""
    return sum(bytes_of(tensor, sizes) for tensor in (*step.reads, *step.writes))


def like(x: Tensor, itemsize: int = 0, role: str = "activation") -> Tensor:
    """Another tensor of the same shape."""
    return Tensor(x.name, x.axes, role, itemsize=itemsize or x.itemsize)


def flatten(node: Node, path: str = "", counts: tuple[Count, ...] = ()) -> Iterator[Step]:
    """The ops of a tree in the order they run, views among them: the passes read those too."""
    for item in node.body:
        if isinstance(item, Op):
            yield step_of(item, path, counts)
        elif item.run is None:
            yield from flatten(item, joined(path, item.name), counts)
        else:
            yield from _turned(item, path, counts)


def _turned(layer: Node, path: str, counts: tuple[Count, ...]) -> Iterator[Step]:
    """A run of equal layers, turned by its first product."""
    assert layer.run is not None
    one, rest = layer.run.split()
    steps = list(flatten(layer, path))
    lead = next((i for i, step in enumerate(steps) if step.product), 0)
    yield from _repeat(steps[:lead], counts, one.layers)
    if rest is not None:
        # the next layer reads what this one wrote
        swap = {layer.inputs[0]: layer.output}
        shared = {t.storage for step in steps[lead:] for t in _reads(step.op)}
        following = _renamed(steps[:lead], {**_fresh(steps[:lead], shared), **swap})
        yield from _repeat(steps[lead:] + following, counts, rest.layers)
        steps = _renamed(steps, _fresh(steps[lead:], {layer.output}))
    yield from _repeat(steps[lead:], counts, one.layers)


def _repeat(steps: Iterable[Step], counts: tuple[Count, ...], layers: Count) -> Iterator[Step]:
    for step in steps:
        yield step._replace(counts=(*counts, layers, *step.counts))


def _fresh(steps: list[Step], shared: set[Tensor]) -> dict[Tensor, Tensor]:
    """New tensors for the results of a layer that no other layer shares."""
    names: dict[Tensor, Tensor] = {}
    for step in steps:
        for t in (step.op.write, *step.op.extra):
            if t not in shared and t.storage not in shared:
                base = None if t.base is None else names.get(t.base, t.base)
                names[t] = Tensor(t.name, t.axes, t.role, base, t.itemsize)
    return names


def _renamed(steps: list[Step], names: dict[Tensor, Tensor]) -> list[Step]:
    return [step_of(_with_names(step.op, names), step.path, step.counts) for step in steps]


def _with_names(op: Op, names: dict[Tensor, Tensor]) -> Op:
    weight, bias = (None if t is None else names.get(t, t) for t in (op.weight, op.bias))
    return op._replace(
        reads=tuple(names.get(t, t) for t in op.reads),
        write=names.get(op.write, op.write),
        weight=weight,
        bias=bias,
        extra=tuple(names.get(t, t) for t in op.extra),
        keeps=tuple(names.get(t, t) for t in op.keeps),
    )
