"""The trace of a forward pass, as Python runs it: allocations and frees of storages, in order.

References to a storage are counted. A tensor is born at the op that writes it, and belongs to the
forward that called the op. It dies after the last op or module of that forward that reads it, since
the caller's frame holds the arguments of a module while it runs. A tensor saved for backward lives
until its backward node has run; autocast's copies of weights live until the autocast context is
left.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from vitcost.engine.kinds import KINDS
from vitcost.engine.live import PARTS, Change, Event, Loop, Place
from vitcost.engine.ops import Op, Sizes, Tensor
from vitcost.engine.tree import REGION, Count, Node, joined
from vitcost.engine.unroll import unroll

__all__ = ["Forward", "Ledger", "forward_trace", "inside", "named"]


_ONE = Count(1)


class Ledger:
    """Counts the references to each storage, and writes the trace."""

    def __init__(self) -> None:
        self.trace: list[Event] = []
        self.holders: dict[Tensor, int] = {}
        self._parts: dict[Tensor, int] = {}
        # the loops inside which each storage was allocated, and the loops that are open now,
        # outermost first
        self._loops: dict[Tensor, tuple[Count, ...]] = {}
        self._open: tuple[Count, ...] = ()

    def born(self, tensor: Tensor, part: str = "temporary") -> None:
        """Allocates a storage with one reference; a tensor that the process caches gets a second
        one that is never dropped."""
        self.holders[tensor] = 2 if tensor.role == "cached" else 1
        self._parts[tensor] = PARTS.index(part)
        self._loops[tensor] = self._open
        self._change(tensor, 1)

    def hold(self, tensor: Tensor) -> None:
        """One reference more to the storage of a tensor; parameters and inputs are not counted."""
        if tensor.storage in self.holders:
            self.holders[tensor.storage] += 1

    def drop(self, tensor: Tensor) -> None:
        """Drops one reference to the storage of a tensor; without references the storage is
        freed."""
        storage = tensor.storage
        if storage not in self.holders:
            return
        self.holders[storage] -= 1
        if not self.holders[storage]:
            del self.holders[storage]
            self._change(storage, -1)

    def keep(self, tensor: Tensor) -> None:
        """Autograd holds the storage of a tensor."""
        self.hold(tensor)
        self.move(tensor, "saved")

    def move(self, tensor: Tensor, part: str) -> None:
        """Accounts for the storage of a tensor as another part of memory."""
        storage = tensor.storage
        if storage in self.holders and self._parts[storage] != PARTS.index(part):
            self._change(storage, -1)
            self._parts[storage] = PARTS.index(part)
            self._change(storage, 1)

    def hand_over(self, tensors: Iterable[Tensor]) -> None:
        """A tensor that each layer passes to the next exists once, not once a layer."""
        for tensor in tensors:
            born_in = self._loops[tensor.storage]
            self._loops[tensor.storage] = born_in[: len(self._open)]

    def part(self, tensor: Tensor) -> str:
        return PARTS[self._parts[tensor.storage]]

    def look(self, place: Place) -> None:
        self.trace.append(place)

    @contextmanager
    def layers(self, node: Node, backwards: bool = False) -> Iterator[None]:
        """Events that are recorded inside become the body of a loop over a run of layers; a single
        layer is no loop."""
        count = _ONE if node.run is None else node.run.layers
        if count == _ONE:
            yield
            return
        outside, self.trace, self._open = self.trace, [], (*self._open, count)
        yield
        body, self.trace, self._open = tuple(self.trace), outside, self._open[:-1]
        self.trace.append(Loop(count, backwards, _stride(node), body))

    def _change(self, storage: Tensor, sign: int) -> None:
        times = self._loops[storage][len(self._open) :]
        self.trace.append(Change(self._parts[storage], sign, storage, times))


class Forward:
    """Walks an unrolled tree as Python runs it. ``in_place``: whether kernels may overwrite a
    tensor that they read, as torch does unless a dispatch mode watches."""

    def __init__(
        self, ledger: Ledger, training: bool, again: bool = False, in_place: bool = True
    ) -> None:
        self.ledger, self.training, self.again, self.in_place = ledger, training, again, in_place
        # autocast's copies of weights, which its cache holds until the context is left
        self.cached: list[Tensor] = []

    def node(self, node: Node, place: Place, released: Sequence[Tensor] = ()) -> list[Tensor]:
        """Runs one forward; the tensors that it returns stay alive and belong to the caller.

        ``released`` are arguments whose last reference the caller passes on: this forward frees
        them.
        """
        if not node.body and not released:
            # an Identity, or a dropout in eval
            return []
        end = len(node.body) - 1
        # a forward of one op has no later op that could read its tensors
        last = {} if end == 0 and isinstance(node.body[0], Op) else _last_reads(node)
        results = {t.storage for t in (node.output, *node.also)}
        owned = list(released)
        for i, item in enumerate(node.body):
            if isinstance(item, Op):
                owned += self.op(item, place)
                if i < end:
                    owned = self._clean(owned, last, i, results)
                continue
            # a list of layers that this forward walks through (`x = layer(x)`) gets the last
            # reference to its input; a module is called with one that this frame keeps
            passed_on = [t for t in owned if last.get(t, i) == i] if item.walked else []
            owned = [t for t in owned if t not in passed_on] if passed_on else owned
            if item.run is None:
                owned += self.node(item, inside(place, item), passed_on)
                owned = self._clean(owned, last, i, results)
                continue
            with self.ledger.layers(item):
                owned += self.node(item, inside(place, item), passed_on)
                owned = self._clean(owned, last, i, results)
            self.ledger.hand_over(owned)
        return self._clean(owned, {}, len(node.body), results)

    def op(self, op: Op, place: Place) -> list[Tensor]:
        """Runs one op and returns the storage that it wrote, if any."""
        if self.again and op.again in ("", "stops"):
            # recomputation begins behind the casts of a region's arguments, and ends where
            # autograd packs the last tensor, before the op runs
            self.keep(op)
            return []
        if op.write.base is not None:
            self.keep(op)
            return []
        if self.in_place and KINDS[op.kind].overwrites:
            self.ledger.drop(op.reads[0])
        mask_alone = self.again and op.again == "draws"
        written: tuple[Tensor, ...] = (op.write,)
        if op.extra:
            written = op.extra if mask_alone else tuple(dict.fromkeys((op.write, *op.extra)))
        for tensor in written:
            self.ledger.born(tensor)
        self.ledger.look(named(place, op))
        self.keep(op)
        if op.write.role == "cast" and self._caches(op):
            self.ledger.hold(op.write)
            self.cached.append(op.write)
        for tensor in op.extra:
            self.ledger.drop(tensor)
        return [] if mask_alone else [op.write]

    def keep(self, op: Op) -> None:
        """A checkpointed region keeps nothing but its inputs until it runs again."""
        if self.again == bool(op.again):
            for tensor in op.keeps:
                self.ledger.keep(tensor)

    def leave_autocast(self) -> None:
        for tensor in self.cached:
            self.ledger.drop(tensor)

    def _caches(self, op: Op) -> bool:
        """autocast caches the copies of leaves that need a gradient, which a part of a parameter is
        not in training; a model in eval has them."""
        return not self.training or (op.reads[0].base is None and all(op.needs))

    def _clean(
        self, owned: list[Tensor], last: dict[Tensor, int], i: int, results: set[Tensor]
    ) -> list[Tensor]:
        """Drops the tensors of this forward that no item after the i-th reads; returns the tensors
        that are left."""
        left = [t for t in owned if t in results or last.get(t, i) > i]
        if len(left) < len(owned):
            for tensor in owned:
                if tensor not in left:
                    self.ledger.drop(tensor)
        return left


def forward_trace(tree: Node, in_place: bool = True) -> tuple[Event, ...]:
    """The trace of a forward pass in eval."""
    ledger = Ledger()
    Forward(ledger, training=False, in_place=in_place).node(
        unroll(tree, last=False), Place("forward", "")
    )
    return tuple(ledger.trace)


def inside(place: Place, node: Node) -> Place:
    """The place of a child module."""
    if not node.called:
        return place
    phase, path, before = place
    if node.run is None:
        return Place(phase, joined(path, node.name), before)
    # torch has no module for a checkpointed region, so the region adds no name to the path of its
    # layers
    name = "" if node.type == REGION else "{}"
    return Place(phase, joined(path, name), (*before, *node.run.before))


def named(place: Place, op: Op) -> Place:
    """The root module has no path: the place is named after the op."""
    return place if place.path else place._replace(path=op.write.name)


def _stride(node: Node) -> int:
    """How many layers one pass through a loop stands for: several if a checkpointed group has
    several."""
    return node.layers(Sizes()) if node.type == REGION else 1


def _last_reads(node: Node) -> dict[Tensor, int]:
    """For each storage, the index of the last item of a body that reads it; locals that the forward
    holds live to its end."""
    last: dict[Tensor, int] = {}
    for i, item in enumerate(node.body):
        for tensor in item.inputs if isinstance(item, Node) else _arguments(item):
            last[tensor.storage] = i
    last.update((tensor.storage, len(node.body)) for tensor in node.held)
    return last


def _arguments(op: Op) -> tuple[Tensor, ...]:
    if op.weight is None:
        return (*op.reads, *op.holds)
    weights = (op.weight,) if op.bias is None else (op.weight, op.bias)
    return (*op.reads, *weights, *op.holds)
