"""Liveness: which bytes are alive at every moment of a forward pass or of a training step.

A *trace* is a list of events in order: a storage is allocated (*born*), it is freed (it *dies*),
and at a *look* the sum of live bytes is read. All models of a structure share one trace: sizes are
put in when it is read, and may be integers, arrays or symbols. In a run of equal layers the live
bytes are linear in the index of the layer, so the trace lists three layers of a run: the first, one
that stands for all between (a *loop*), and the last. ``forward_trace`` and ``step_trace`` write
traces.
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
    """Bytes alive at one moment. Tensors that outlive the step, such as weights and optimizer
    states, are not counted."""

    saved: Size = 0  # saved by autograd for backward
    gradients: Size = 0  # gradients of parameters
    temporary: Size = 0  # all other tensors

    @property
    def total(self) -> Size:
        return self.saved + self.gradients + self.temporary


PARTS = Live._fields


class Place(NamedTuple):
    """A moment at which the live bytes are counted: the phase of the step, and the path of the
    module that runs. ``{}`` in a path stands for the index of a layer, the sum of ``before``: the
    numbers of layers in the runs before it."""

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
    """A storage is born (+1) or dies (-1). ``times``: the finished loops in which it was allocated;
    the change counts for the same storage in each layer of these loops."""

    part: int
    sign: int
    tensor: Tensor
    times: tuple[Count, ...]


class Loop(Record):
    """The events of one layer, repeated ``times`` over: for the layers of a run from first to last,
    or ``backwards``."""

    times: Count
    backwards: bool
    stride: int  # by how much the layer index grows from one repetition to the next
    body: "tuple[Event, ...]"


Event: TypeAlias = "Change | Place | Loop"


def length(events: Iterable[Event]) -> int:
    """How many events a reader of a trace visits: the events of a loop count once."""
    return sum(1 + (length(each.body) if isinstance(each, Loop) else 0) for each in events)


class Peak(Record):
    """The moment with the most bytes alive: its place, its bytes by part, and its number among the
    looks."""

    peak_bytes: Size
    place: str
    live: Live
    look: int
    left: Live  # the tensors alive at the end


def peak(trace: Sequence[Event], sizes: Sizes, copies: int = 1) -> Peak:
    """The look with the most bytes in a trace. Arrays and symbols of sizes have no single place of
    the peak. ``copies``: how many copies of each parameter's gradient are alive."""
    live: list[Size] = [0, 0, 0]
    top, highest = 0, None
    for number, (place, ahead, alive) in enumerate(_looks(trace, sizes, live, {})):
        saved, gradients, temporary = alive
        total = saved + copies * gradients + temporary
        if not (isinstance(total, int) and isinstance(top, int)):
            top = largest(top, total)
        elif total > top:
            top, highest = total, (number, place, ahead, (saved, copies * gradients, temporary))
    if highest is None:
        return Peak(top, "", Live(), 0, Live(*live))
    number, place, ahead, at_peak = highest
    return Peak(top, place.name(sizes, ahead), Live(*at_peak), number, Live(*live))


def look_at(trace: Sequence[Event], sizes: Sizes, number: int) -> Live:
    """Bytes alive at one look of a trace, for sizes of any kind; symbols give the polynomial of the
    peak."""
    for i, (_, _, alive) in enumerate(_looks(trace, sizes, [0, 0, 0], {})):
        if i == number:
            return Live(*alive)
    raise IndexError(f"the trace has no look {number}")


def every_look(trace: Sequence[Event], sizes: Sizes) -> Iterator[tuple[Place, str, Live]]:
    """Each look, repeated for each layer of a run, in order, for integer sizes: its place, the path
    with the layer's index, and the bytes alive."""
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
    """Every look of a trace: its place, by how many layers it lies after the layer of that place,
    and the bytes alive by part. ``live`` holds the current bytes and is updated along the trace;
    ``known`` caches the bytes of each shape. Of a run only the first and the last layer are
    yielded, or ``every`` layer."""
    for event in trace:
        if isinstance(event, Change):
            live[event.part] = live[event.part] + _amount(event, sizes, known)
        elif isinstance(event, Place):
            yield event, 0, tuple(live)
        else:
            yield from _layers(event, sizes, live, known, every)


def _amount(change: Change, sizes: Sizes, known: dict[object, Size]) -> Size:
    """The bytes that a change allocates; negative if it frees them."""
    tensor = change.tensor
    shape = (tensor.itemsize, tensor.axes)
    size = known.get(shape)
    if size is None:
        size = known[shape] = tensor.itemsize * numel(tensor.axes, sizes)
    return change.sign * size * prod(count.of(sizes) for count in change.times)


def _layers(
    loop: Loop, sizes: Sizes, live: list[Size], known: dict[object, Size], every: bool
) -> Iterator[tuple[Place, Size, tuple[Size, ...]]]:
    """The looks of a loop. Its first repetition is read event by event. Live bytes grow by the same
    amounts in each repetition, so the looks of the others follow from the first and that growth."""
    before = tuple(live)
    first = list(_looks(loop.body, sizes, live, known, every))
    growth = [now - then for now, then in zip(live, before, strict=True)]
    further = loop.times.of(sizes) - 1
    # a loop that runs backwards begins in the last layer of the run
    start = loop.stride * further if loop.backwards else 0
    # a run of two layers has no layer between its ends: its loop repeats zero times
    for place, ahead, alive in first if not every or further >= 0 else ():
        yield place, ahead + start, alive
    for turn in range(1, further + 1) if every else (further,):
        layers = loop.stride * (further - turn if loop.backwards else turn)
        more_saved, more_gradients, more_temporary = (turn * more for more in growth)
        for place, ahead, (saved, gradients, temporary) in first:
            grown = saved + more_saved, gradients + more_gradients, temporary + more_temporary
            yield place, ahead + layers, grown
    live[:] = [now + further * more for now, more in zip(live, growth, strict=True)]
