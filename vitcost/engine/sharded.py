"""A fully sharded step: the tensors that ``fully_shard`` gathers, frees and reduces around every
module.

Each block of the model and the model itself are a *unit*: on entering one its weights are gathered,
and on leaving it they are freed. Storages of a unit are tensors like any other, of axes
``N`` (ranks) and the unit's own, which ``unit_sizes`` sizes::

    unit's local rows            Σ ⌈d₀/N⌉ · numel/d₀ over its parameters, in one flat vector
    buffer of an all-gather      N · local, and the weights that it is copied to, as large again
    input of a reduce-scatter    N · local of those that have a gradient
    its output                   local: the gradients that stay

The forward pass keeps the buffer of a unit until the next one has gathered its own; the backward
pass frees it at once, and gathers ahead for the unit that comes next. Gradients of a unit are
copied to the buffer that is reduced from, which lives until the next unit has gradients. A unit
whose inputs need no gradient waits until everything else is over, as the model itself does.
Source: torch 2.13, torch/distributed/fsdp/_fully_shard: _fsdp_state.py, _fsdp_param_group.py,
_fsdp_collectives.py.
"""

from collections.abc import Iterable, Iterator, Sequence

from vitcost.config.records import Record
from vitcost.engine import runs
from vitcost.engine.backward import Backward
from vitcost.engine.forward_trace import Forward, Ledger
from vitcost.engine.gradients import Layout
from vitcost.engine.live import Place
from vitcost.engine.ops import Op, Size, Sizes, Tensor, ceil_div, numel
from vitcost.engine.parameters import wholes
from vitcost.engine.tree import APART, REGION, Count, Node, nodes_of, ops_of

__all__ = [
    "ROOT",
    "ShardedBackward",
    "ShardedForward",
    "Sharding",
    "Shards",
    "unit_sizes",
    "wrapped",
]

# the root: the unit of the model itself
ROOT = "root"


class Sharding(Record):
    """How weights are sharded.

    ``frees``: whether a unit's gathered weights are freed after its forward (stage 3,
    ``reshard_after_forward``). Bytes per element: ``weight`` of gathered weights, ``shard`` of the
    shard that a rank keeps, ``reduced`` of gradients while they are summed. ``adds``: whether a
    rank has gradients already, to which the new ones are added.
    """

    frees: bool
    weight: int
    shard: int
    reduced: int
    adds: bool = False


def wrapped(tree: Node) -> Node:
    """The tree with its units named: the layers of every run, and the model around them. A hybrid's
    backbone belongs to the model's unit."""
    numbers = iter(range(10**6))
    return _wrapped(tree, numbers)._replace(unit=ROOT)


def _wrapped(node: Node, numbers: Iterator[int]) -> Node:
    if node.type in APART:
        return node
    if node.run is not None and node.type != REGION:
        return node._replace(unit=f"unit {next(numbers)}")
    return node.each(lambda item: _wrapped(item, numbers))


def unit_sizes(tree: Node, sizes: Sizes, ranks: Size) -> Sizes:
    """The sizes of the axes of the units' storages: the ranks, and for each unit the number of all
    its elements on a rank, and of those that train."""
    units = Sizes(N=ranks)
    for unit in (node for node in nodes_of(tree) if node.unit):
        everything: Size = 0
        trained: Size = 0
        for parameter, trains, layers in {each[0]: each for each in _parameters(unit)}.values():
            # a scalar, which fully_shard refuses, has no rows
            row_axes = parameter.axes[1:]
            rows = ceil_div(sizes[parameter.axes[0]], ranks) if parameter.axes else 1
            local = numel(row_axes, sizes) * rows
            for count in layers:
                local = local * count.of(sizes)
            everything = everything + local
            trained = trained + trains * local
        units[unit.unit], units[_trained(unit)] = everything, trained
    return units


def _trained(unit: Node) -> str:
    return f"{unit.unit}, trained"


def _parameters(
    unit: Node, layers: tuple[Count, ...] = ()
) -> Iterator[tuple[Tensor, bool, tuple[Count, ...]]]:
    """The parameters of a unit in its own order (a module's parameters after those of its
    children), whether each trains, and the runs of layers around it: the layers of a backbone
    belong to the unit around them."""
    here: list[Op] = []
    for item in unit.body:
        if isinstance(item, Op):
            here.append(item)
        elif item.type == "Parameter":
            here += ops_of(item)
        elif not item.unit:
            yield from _parameters(item, layers if item.run is None else (*layers, item.run.layers))
    for each, op in wholes(unit, here):
        yield each, op.trains, layers


class Shards(Ledger):
    """A ledger with the storages of all units; the forward and the backward pass share it."""

    def __init__(self, how: Sharding) -> None:
        super().__init__()
        self.how = how
        # keyed by a unit's output: gathered weights, and buffers that are not copied out yet
        self.weights: dict[Tensor, Tensor] = {}
        self.fetched: dict[Tensor, Tensor] = {}
        # units in the order in which their forwards ended
        self.order: list[Node] = []
        # the buffer of the last gather in the forward pass, and of the last reduction in the
        # backward pass
        self.gathering: list[Tensor] = []
        self.reducing: list[Tensor] = []

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """A buffer that one unit leaves to the next exists once, not once a layer."""
        left = (*self.gathering, *self.fetched.values(), *self.reducing)
        super().hand_over((*tensors, *left))

    def enter(self, unit: Node, place: Place) -> None:
        """Before the forward of a unit: its weights are gathered."""
        place = _during("gather", place)
        self._gather(unit, place)
        # wait_for_unshard holds the buffer of the previous unit until it returns
        buffer = self._copy_out(unit, place)
        self._let_go(self.gathering)
        self.gathering.append(buffer)

    def leave(self, unit: Node) -> None:
        """After the forward of a unit: its weights are freed, if stage 3 frees them."""
        if self.how.frees:
            self._free(unit)
        self.order.append(unit)
        if unit.unit == ROOT:
            self._let_go(self.gathering)

    def enter_backward(self, unit: Node, place: Place) -> None:
        """Before the backward of a unit: its weights are gathered again, and then those of the unit
        that comes next."""
        place = _during("gather", place)
        if unit.output not in self.weights:
            if unit.output not in self.fetched:
                self._gather(unit, place)
            self.drop(self._copy_out(unit, place))
        before = [other.output for other in self.order].index(unit.output) - 1
        if before >= 0 and self.order[before].output not in self.weights:
            self._gather(self.order[before], place)

    def enter_again(self, unit: Node, place: Place) -> None:
        """Before a unit inside a region runs again: as in the forward, unless it is the unit whose
        backward runs."""
        place = _during("gather", place)
        if unit.output not in self.weights:
            if unit.output not in self.fetched:
                self._gather(unit, place)
            self.gathering.append(self._copy_out(unit, place))

    def leave_again(self, unit: Node) -> None:
        """The weights of a unit that ran again stay gathered for its backward."""
        self._let_go(self.gathering)

    def leave_backward(self, unit: Node, gradients: dict[Tensor, Tensor], place: Place) -> None:
        """After the backward of a unit: its weights are freed, and its gradients are summed over
        the ranks."""
        self.reshard(unit)
        if not gradients:
            return
        self.copy_in(unit, place)
        # foreach_reduce holds the last gradient until it returns
        last = [p for p, *_ in _parameters(unit) if p in gradients][-1]
        for parameter, gradient in gradients.items():
            if parameter is not last:
                self.drop(gradient)
        self.reduce(unit, place)
        self.drop(gradients[last])

    def reshard(self, unit: Node) -> None:
        """Frees the weights of a unit, and the reduction buffer of the unit before it."""
        self._free(unit)
        self._let_go(self.reducing)

    def copy_in(self, unit: Node, place: Place) -> None:
        """Copies the gradients of a unit to the buffer that a reduce-scatter reads."""
        whole = self._made("reduced from", ("N", _trained(unit)), self.how.reduced)
        self.look(_during("reduction", place))
        self.reducing.append(whole)

    def reduce(self, unit: Node, place: Place) -> None:
        """Sums the gradients over the ranks; each rank keeps its shard of the sums."""
        place = _during("reduction", place)
        how, trained = self.how, _trained(unit)
        part = "temporary" if how.adds else "gradients"
        shards = self._made("gradients", (trained,), how.reduced, part)
        self.look(place)
        if how.reduced != how.shard:
            summed, shards = shards, self._made("gradients", (trained,), how.shard, part)
            self.look(place)
            self.drop(summed)
        if how.adds:
            self.drop(shards)

    def finish(self, unit: Node) -> None:
        """After the backward pass: frees weights that were gathered ahead and never used."""
        if unit.output in self.fetched:
            self.drop(self.fetched.pop(unit.output))
        if unit.unit == ROOT:
            self._let_go(self.reducing)

    def _gather(self, unit: Node, place: Place) -> None:
        """An all-gather into a buffer; shards are cast first where gathered weights have another
        type."""
        how = self.how
        casts = []
        if how.weight != how.shard:
            casts.append(self._made("cast shards", (unit.unit,), how.weight))
            self.look(place)
        self.fetched[unit.output] = self._made("gathered", ("N", unit.unit), how.weight)
        self.look(place)
        self._let_go(casts)

    def _copy_out(self, unit: Node, place: Place) -> Tensor:
        """Copies the weights out of the buffer of a gather, and returns that buffer."""
        weights = self._made("weights", ("N", unit.unit), self.how.weight)
        self.weights[unit.output] = weights
        self.look(place)
        return self.fetched.pop(unit.output)

    def _free(self, unit: Node) -> None:
        if unit.output in self.weights:
            self.drop(self.weights.pop(unit.output))

    def _let_go(self, tensors: list[Tensor]) -> None:
        while tensors:
            self.drop(tensors.pop())

    def _made(
        self, name: str, axes: tuple[str, ...], itemsize: int, part: str = "temporary"
    ) -> Tensor:
        tensor = Tensor(name, axes, "", None, itemsize)
        self.born(tensor, part)
        return tensor


def _during(phase: str, place: Place) -> Place:
    return place._replace(phase=phase, path=place.path or "the model")


def _input_needs(unit: Node) -> bool:
    """Whether an input of a unit needs a gradient; the backward of such a unit ends with it."""
    return any(
        needs
        for op in ops_of(unit)
        for t, needs in zip(op.reads, op.needs, strict=False)
        if t in unit.inputs
    )


class ShardedForward(Forward):
    """A forward pass that gathers the weights of every unit before it runs."""

    ledger: Shards
    # the unit that is being entered, and how many casts of its arguments come before its weights
    # are gathered
    entering: "tuple[Node, Place] | None" = None
    casts = 0

    def node(self, node: Node, place: Place, released: Sequence[Tensor] = ()) -> list[Tensor]:
        if not node.unit:
            return super().node(node, place, released)
        self.entering, self.casts = (node, place), len(runs.argument_casts(node))
        self._enter()
        results = super().node(node, place, released)
        self.ledger.leave(node)
        return results

    def op(self, op: Op, place: Place) -> list[Tensor]:
        written = super().op(op, place)
        self.casts -= 1
        self._enter()
        return written

    def _enter(self) -> None:
        if self.entering is not None and not self.casts:
            self.ledger.enter(*self.entering)
            self.entering = None


class _Again(Forward):
    """The second forward of a checkpointed region; the weights of its last unit are gathered
    already."""

    ledger: Shards

    def node(self, node: Node, place: Place, released: Sequence[Tensor] = ()) -> list[Tensor]:
        if node.unit:
            self.ledger.enter_again(node, place)
        results = super().node(node, place, released)
        if node.unit:
            self.ledger.leave_again(node)
        return results


class ShardedBackward(Backward):
    """A backward pass that gathers weights, and reduces gradients, unit by unit."""

    ledger: Shards

    def __init__(self, ledger: Shards, layout: Layout, in_place: bool) -> None:
        super().__init__(ledger, layout, in_place)
        # gradients of the unit that runs, by parameter; and of the units that wait for the end
        self.gradients: dict[Tensor, Tensor] = {}
        # the unit whose backward runs, until its gradients are reduced
        self.open: tuple[Node, Place] | None = None
        self.waiting: dict[Tensor, tuple[dict[Tensor, Tensor], Place]] = {}

    def node(self, node: Node, place: Place) -> None:
        if not node.unit:
            super().node(node, place)
            return
        if not any(t in self.pending for t in (node.output, *node.also)):
            return
        self.ledger.enter_backward(node, place)
        around, self.gradients, self.open = self.gradients, {}, (node, place)
        super().node(node, place)
        self.end()
        if node.unit == ROOT:
            self.finish(node, self.gradients, place)
        self.gradients = around

    def op(self, op: Op) -> None:
        # the model itself slices a layer's part of a table before it calls the layer
        if op.kind == "select" and self.open and any(op is each for each in self.open[0].body):
            self.end()
        super().op(op)

    def end(self) -> None:
        """Reduces the gradients of the unit that runs, or leaves them until the backward of the
        root ends."""
        if self.open is None or self.open[0].unit == ROOT:
            return
        (unit, place), self.open = self.open, None
        if _input_needs(unit):
            self.ledger.leave_backward(unit, self.gradients, place)
        else:
            self.waiting[unit.output] = self.gradients, place

    def finish(self, root: Node, gradients: dict[Tensor, Tensor], place: Place) -> None:
        """Ends the root, then the units that the backward pass did not end, in the order of the
        forward."""
        self.ledger.leave_backward(root, gradients, place)
        for unit in self.ledger.order:
            if unit.output in self.waiting:
                self.ledger.leave_backward(unit, *self.waiting.pop(unit.output))
            elif unit.output in self.ledger.weights:
                self.ledger.leave_backward(unit, {}, place)
            self.ledger.finish(unit)

    def again(self) -> Forward:
        return _Again(self.ledger, training=True, again=True, in_place=self.in_place)

    def settle(self, parameter: Tensor, value: Tensor) -> Tensor:
        """Collects a gradient of the unit until it is reduced."""
        kept = self.gradients[parameter] = super().settle(parameter, value)
        return kept
