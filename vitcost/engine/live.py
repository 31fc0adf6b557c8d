"""Liveness: which bytes are alive at every moment of a forward pass or of a training step.

A *trace* is a list of events in order: a storage is allocated (*born*), it is freed (it *dies*),
and at a *look* the sum of live bytes is read. A structure has one trace; sizes come in when the
trace is read, so that it serves integers, arrays and symbols. In a run of equal layers the live
bytes are linear in the index of the layer, so that the trace has three layers for a run: the first,
one for all between (a *loop*), and the last. ``forward_trace`` and ``step_trace`` write traces.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from vitcost.config.records import Record
from vitcost.engine.ops import Size, Sizes, Tensor, largest, numel
from vitcost.engine.tree import Count

__all__ = [
    "PARTS",
    "Change",
    "Event",
    "Live",
    "Loop",
    "Peak",
    "Place",
    "at_end",
    "every_look",
    "length",
    "look_at",
    "peak",
]


class Live(Record):
    """Bytes alive at one moment, without tensors that outlive the step (weights, states)."""

    saved: Size = 0  # kept by autograd for the backward pass
    gradients: Size = 0  # of parameters
    temporary: Size = 0  # everything else

    @property
    def total(self) -> Size:
        return self.saved + self.gradients + self.temporary


PARTS = Live._fields


class Place(NamedTuple):
    """A look at the live bytes: its phase and the module that runs. ``{}`` in a path is the index
    of a layer: the sum of the counts ``before``."""

    phase: str  # forward | backward | recomputation
    path: str
    before: tuple[Count, ...] = ()

    def name(self, sizes: Sizes, ahead: Size = 0) -> str:
        return f"{self.phase} of {self.at(sizes, ahead)}"

    def at(self, sizes: Sizes, ahead: Size = 0) -> str:
        """The path, with the index of the layer in it."""
        index = ahead
        for count in self.before:
            index = index + count.of(sizes)
        return self.path.format(index)


class Change(NamedTuple):
    """A storage is born (+1) or dies (-1). ``times``: the loops that it was born in and that are
    over: the same storage of each of their layers goes with it."""

    part: int
    sign: int
    tensor: Tensor
    times: tuple[Count, ...]


class Loop(Record):
    """The events of one layer, which happen ``times`` over: from the first layer of a run to the
    last, or ``backwards``."""

    times: Count
    backwards: bool
    stride: int  # the step of the layer index from one turn to the next
    body: "tuple[Event, ...]"


Event: TypeAlias = "Change | Place | Loop"


def length(events: Iterable[Event]) -> int:
    """How many events a reader of a trace visits: the events of a loop count once."""
    return sum(1 + (length(each.body) if isinstance(each, Loop) else 0) for each in events)


class Peak(Record):
    """The most bytes alive at once: their place, their parts, and the number of their look."""

    peak_bytes: Size
    place: str
    live: Live
    look: int
    left: Live  # the tensors alive at the end


def peak(trace: Sequence[Event], sizes: Sizes, copies: int = 1) -> Peak:
    """The largest look of a trace; sizes that are arrays or symbols have no single place of it.
    ``copies``: how many copies of each parameter's gradient are alive."""
    live: list[Size] = [0, 0, 0]
    top, number, highest = 0, 0, None
    for i, look in enumerate(_looks(trace, sizes, live, {})):
        saved, gradients, temporary = look[2]
        total = saved + copies * gradients + temporary
        if not (isinstance(total, int) and isinstance(top, int)):
            top = largest(top, total)
        elif total > top:
            top, number, highest = total, i, look
    if highest is None:
        return Peak(top, "", Live(), number, Live(*live))
    place, ahead, (saved, gradients, temporary) = highest
    alive = Live(saved, copies * gradients, temporary)
    return Peak(top, place.name(sizes, ahead), alive, number, Live(*live))


def look_at(trace: Sequence[Event], sizes: Sizes, number: int) -> Live:
    """Bytes alive at one look of a trace, on sizes of any kind: on symbols they are the polynomial
    of a peak."""
    for i, (_, _, alive) in enumerate(_looks(trace, sizes, [0, 0, 0], {})):
        if i == number:
            return Live(*alive)
    raise IndexError(f"the trace has no look {number}")


def every_look(trace: Sequence[Event], sizes: Sizes) -> Iterator[tuple[Place, str, Live]]:
    """Each look in each layer of a run, in order, on integers: its place, the place's path with the
    index of the layer, and the bytes alive."""
    for place, ahead, alive in _looks(trace, sizes, [0, 0, 0], {}, every=True):
        yield place, place.at(sizes, ahead), Live(*alive)


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
    known: dict[object, Size],
    every: bool = False,
) -> Iterator[tuple[Place, Size, tuple[Size, ...]]]:
    """Every look of a trace: its place, how many layers it lies behind the layer of that place, and
    the bytes alive by part. ``live`` has the bytes of the moment and goes on with the trace;
    ``known`` has the bytes of shapes. A run of layers has its first and its last looks, or those of
    ``every`` layer."""
    for event in trace:
        if isinstance(event, Change):
            live[event.part] = live[event.part] + _amount(event, sizes, known)
        elif isinstance(event, Place):
            yield event, 0, tuple(live)
        else:
            yield from _layers(event, sizes, live, known, every)


def _amount(change: Change, sizes: Sizes, known: dict[object, Size]) -> Size:
    """The bytes that are born, or that die as a negative number."""
    tensor = change.tensor
    shape = (tensor.itemsize, tensor.axes)
    size = known.get(shape)
    if size is None:
        size = known[shape] = tensor.itemsize * numel(tensor.axes, sizes)
    return change.sign * size * prod(count.of(sizes) for count in change.times)


def _layers(
    loop: Loop, sizes: Sizes, live: list[Size], known: dict[object, Size], every: bool
) -> Iterator[tuple[Place, Size, tuple[Size, ...]]]:
    """The looks of a loop. Its first turn is read event by event; in each further turn every look
    has more bytes by the same amounts, which are the growth over the first turn."""
    before = tuple(live)
    first = list(_looks(loop.body, sizes, live, known, every))
    growth = [now - then for now, then in zip(live, before, strict=True)]
    further = loop.times.of(sizes) - 1
    # a loop backwards begins in the last layer of the run
    start = loop.stride * further if loop.backwards else 0
    # a run of two layers has none between its ends: a loop of no turns
    for place, ahead, alive in first if not every or further >= 0 else ():
        yield place, ahead + start, alive
    for turn in range(1, further + 1) if every else (further,):
        layers = loop.stride * (further - turn if loop.backwards else turn)
        more_saved, more_gradients, more_temporary = (turn * more for more in growth)
        for place, ahead, (saved, gradients, temporary) in first:
            grown = saved + more_saved, gradients + more_gradients, temporary + more_temporary
            yield place, ahead + layers, grown
    live[:] = [now + further * more for now, more in zip(live, growth, strict=True)]
