"""Liveness: which bytes are alive at every moment of a forward pass or of a training step.

A *trace* is what happens, in order: a storage is born, it dies, somebody looks at the sum. It is
made once a structure; sizes come in when it is read, so that one trace serves integers, arrays and
symbols. In a run of equal layers the live bytes are linear in the index of the layer: the trace
has the first layer, one that stands for all between, and the last.

The references to a storage are counted. A tensor is born at the op that writes it, and belongs to
the forward that called the op; it dies after the last op or module of that forward that reads it,
since a caller's frame holds its arguments while a module runs. A saved tensor lives until its
backward has run, and autocast's copies of weights until the context is left.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from vitcost.engine.ops import Op, Size, Sizes, Tensor, largest, numel
from vitcost.engine.regions import REGION
from vitcost.engine.tree import Count, Node
from vitcost.engine.unroll import unroll

__all__ = [
    "PARTS",
    "Event",
    "Forward",
    "Ledger",
    "Live",
    "Peak",
    "Place",
    "at_end",
    "every_look",
    "forward_peak",
    "inside",
    "length",
    "look_at",
    "named",
    "peak",
]


class Live(NamedTuple):
    """Bytes alive at one moment, apart from what outlives the step."""

    saved: Size = 0  # kept by autograd for the backward pass
    gradients: Size = 0  # of parameters
    temporary: Size = 0  # everything else

    @property
    def total(self) -> Size:
        return self.saved + self.gradients + self.temporary


PARTS = Live._fields


class Place(NamedTuple):
    """A look at the sum: where it is taken. ``{}`` in a path is the index of a layer."""

    phase: str  # forward | backward | recomputation
    path: str
    before: tuple[Count, ...] = ()

    def name(self, sizes: Sizes, ahead: Size = 0) -> str:
        return f"{self.phase} of {self.at(sizes, ahead)}"

    def at(self, sizes: Sizes, ahead: Size = 0) -> str:
        """The path, with the index of the layer in it."""
        return self.path.format(sum(count.of(sizes) for count in self.before) + ahead)


class Change(NamedTuple):
    """A storage is born (+1) or dies (-1); so do its like in other layers, where told."""

    part: int
    sign: int
    tensor: Tensor
    times: tuple[Count, ...]


class Loop(NamedTuple):
    """Events that happen as often as there are equal layers, from the first or from the last."""

    times: Count
    backwards: bool
    stride: int  # by how much the index of a layer changes
    body: "tuple[Event, ...]"


Event: TypeAlias = "Change | Place | Loop"


def length(events: Iterable[Event]) -> int:
    """How many events are read one by one: the events of a loop are, its repetitions are not."""
    return sum(1 + (length(each.body) if isinstance(each, Loop) else 0) for each in events)


class Peak(NamedTuple):
    """The most bytes alive at once, where, what they are, and which look of the trace saw them."""

    peak_bytes: Size
    place: str
    live: Live
    look: int
    left: Live  # the tensors alive at the end


class Ledger:
    """Counts who holds each storage, and writes the trace."""

    def __init__(self) -> None:
        self.trace: list[Event] = []
        self.holders: dict[Tensor, int] = {}
        self._parts: dict[Tensor, int] = {}
        # the loops that each storage was born in, and those that are open now, outermost first
        self._loops: dict[Tensor, tuple[Count, ...]] = {}
        self._open: tuple[Count, ...] = ()

    def born(self, tensor: Tensor, part: str = "temporary") -> None:
        """A new storage, held once, or for good."""
        # a cache of the process outlives the pass
        self.holders[tensor] = 2 if tensor.role == "cached" else 1
        self._parts[tensor] = PARTS.index(part)
        self._loops[tensor] = self._open
        self._change(tensor, 1)

    def hold(self, tensor: Tensor) -> None:
        """Holds the storage of a tensor once more; parameters and inputs are not counted."""
        if tensor.storage in self.holders:
            self.holders[tensor.storage] += 1

    def drop(self, tensor: Tensor) -> None:
        """Holds the storage of a tensor once less."""
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
        """The tensor that one layer hands to the next exists once, however many layers there
        are."""
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
        count = node.run.layers if node.run is not None else Count(1)
        if count == Count(1):
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
    """Walks an unrolled tree as Python runs it."""

    def __init__(self, ledger: Ledger, training: bool, again: bool = False) -> None:
        self.ledger, self.training, self.again = ledger, training, again
        # autocast's copies of weights, which its cache holds until the context is left
        self.cached: list[Tensor] = []

    def node(self, node: Node, place: Place, given: Sequence[Tensor] = ()) -> list[Tensor]:
        """Runs one forward; the tensors that it returns stay alive and belong to the caller. Its
        arguments may belong to it too."""
        last = _last_reads(node)
        results = {t.storage for t in (node.output, *node.also)}
        arguments = list(given)
        for i, item in enumerate(node.body):
            if isinstance(item, Op):
                arguments += self.op(item, place)
                arguments = self._clean(arguments, last, i, results)
                continue
            handed = [t for t in arguments if last.get(t, i) == i] if item.walked else []
            arguments = [t for t in arguments if t not in handed] if handed else arguments
            if item.run is None:
                arguments += self.node(item, inside(place, item), handed)
                arguments = self._clean(arguments, last, i, results)
                continue
            with self.ledger.layers(item):
                arguments += self.node(item, inside(place, item), handed)
                arguments = self._clean(arguments, last, i, results)
            self.ledger.hand_over(arguments)
        return self._clean(arguments, {}, len(node.body), results)

    def op(self, op: Op, place: Place) -> list[Tensor]:
        """Runs one op and returns the storage that it wrote, if any."""
        if self.again and op.again == "stops":
            # recomputation ends where autograd packs the last tensor, before the op runs
            self.keep(op)
            return []
        if op.write.base is not None:
            self.keep(op)
            return []
        mask_alone = self.again and op.again == "draws"
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
        """autocast caches the copies of leaves that need a gradient; a model in eval has them."""
        return not self.training or all(op.needs)

    def _clean(
        self, arguments: list[Tensor], last: dict[Tensor, int], i: int, results: set[Tensor]
    ) -> list[Tensor]:
        """Drops what this forward holds and reads no more."""
        left = []
        for tensor in arguments:
            if tensor in results or last.get(tensor, i) > i:
                left.append(tensor)
            else:
                self.ledger.drop(tensor)
        return left


def forward_peak(tree: Node, sizes: Sizes) -> Peak:
    """The peak of a forward pass in eval over its own activations: no parameters, no inputs."""
    return peak(forward_trace(tree), sizes)


def forward_trace(tree: Node) -> tuple[Event, ...]:
    """Everything that a forward pass in eval allocates and frees."""
    ledger = Ledger()
    Forward(ledger, training=False).node(unroll(tree), Place("forward", ""))
    return tuple(ledger.trace)


def inside(place: Place, node: Node) -> Place:
    """The place of a child module."""
    if node.run is None:
        return place._replace(path=_join(place.path, node.name))
    # a checkpointed region around layers is no module: they count on from where it is
    name = "" if node.type == REGION else "{}"
    return place._replace(path=_join(place.path, name), before=(*place.before, *node.run.before))


def named(place: Place, op: Op) -> Place:
    """The root module has no path: the place is named after the op."""
    return place if place.path else place._replace(path=op.write.name)


def peak(trace: Sequence[Event], sizes: Sizes, copies: int = 1) -> Peak:
    """Reads a trace for its largest look; of arrays and symbols there is no single place. The
    gradient of each parameter is there in so many ``copies``."""
    live: list[Size] = [0, 0, 0]
    top, best, where, number = 0, Live(), "", 0
    for i, (place, ahead, seen) in enumerate(_looks(trace, sizes, live, {})):
        total = seen[0] + copies * seen[1] + seen[2]
        if not (isinstance(total, int) and isinstance(top, int)):
            top = largest(top, total)
        elif total > top:
            top, best, number = total, Live(seen[0], copies * seen[1], seen[2]), i
            where = place.name(sizes, ahead)
    return Peak(top, where, best, number, Live(*live))


def look_at(trace: Sequence[Event], sizes: Sizes, number: int) -> Live:
    """Bytes alive at one look of a trace, in sizes of any kind: on symbols the polynomial of a
    peak."""
    for i, (_, _, seen) in enumerate(_looks(trace, sizes, [0, 0, 0], {})):
        if i == number:
            return Live(*seen)
    raise IndexError(f"the trace has no look {number}")


def every_look(trace: Sequence[Event], sizes: Sizes) -> Iterator[tuple[Place, str, Live]]:
    """Each look in each layer of a run, in order, on integers: its place, the place's path with the
    index of the layer, and what is alive."""
    for place, ahead, seen in _looks(trace, sizes, [0, 0, 0], {}, every=True):
        yield place, place.at(sizes, ahead), Live(*seen)


def at_end(trace: Sequence[Event], sizes: Sizes) -> Live:
    """Bytes alive after the last event."""
    live: list[Size] = [0, 0, 0]
    for _ in _looks(trace, sizes, live, {}):
        pass
    return Live(*live)


def _looks(
    trace: Sequence[Event],
    sizes: Sizes,
    live: list[Size],
    known: "dict[object, Size]",
    every: bool = False,
) -> Iterator[tuple[Place, Size, tuple[Size, ...]]]:
    """Every look, how many layers it lies ahead of its place, and what is alive: in the first and
    the last layer of a run, or in ``every`` one of them."""
    for event in trace:
        if isinstance(event, Change):
            tensor = event.tensor
            shape = (tensor.itemsize, tensor.axes)
            if shape not in known:
                known[shape] = tensor.itemsize * numel(tensor.axes, sizes)
            amount = event.sign * known[shape]
            for count in event.times:
                amount = amount * count.of(sizes)
            live[event.part] = live[event.part] + amount
        elif isinstance(event, Place):
            yield event, 0, tuple(live)
        else:
            before = tuple(live)
            first = list(_looks(event.body, sizes, live, known, every))
            more = event.times.of(sizes) - 1
            grown = [now - then for now, then in zip(live, before, strict=True)]
            far = event.stride * more if event.backwards else 0
            # a run of two layers has none between its ends
            for place, ahead, seen in first if not every or more >= 0 else ():
                yield place, ahead + far, seen
            for turn in range(1, more + 1) if every else (more,):
                layers = event.stride * (more - turn if event.backwards else turn)
                further = [turn * plus for plus in grown]
                for place, ahead, seen in first:
                    shifted = (was + plus for was, plus in zip(seen, further, strict=True))
                    yield place, ahead + layers, tuple(shifted)
            live[:] = [now + more * plus for now, plus in zip(live, grown, strict=True)]


def _stride(node: Node) -> int:
    """How many layers one of a run is: several in a checkpointed group."""
    if node.type != REGION:
        return 1
    runs = (item.run for item in node.body if isinstance(item, Node))
    return sum(run.layers.of(Sizes()) for run in runs if run is not None)


def _last_reads(node: Node) -> dict[Tensor, int]:
    """For each storage, the last item of a body that reads it; held locals live to the end."""
    last: dict[Tensor, int] = {}
    for i, item in enumerate(node.body):
        for tensor in _arguments(item):
            last[tensor.storage] = i
    last.update((tensor.storage, len(node.body)) for tensor in node.held)
    return last


def _arguments(item: Op | Node) -> tuple[Tensor, ...]:
    if isinstance(item, Node):
        return item.inputs
    weights = (t for t in (item.weight, item.bias) if t is not None)
    return (*item.reads, *weights, *item.holds)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
