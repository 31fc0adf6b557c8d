"""Live bytes at every look of a traced pass, in the engine's own events.

A pass has thousands of looks, but few can be the peak at any batch: for most, one other look holds
more at every batch. ``upper`` returns these few, in order, so that ``engine.live.peak`` answers a
batch in microseconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple

from vitcost.engine.live import PARTS, Change, Event, Place
from vitcost.engine.ops import Tensor
from vitcost.traced.batch_sizes import Polynomial, plus
from vitcost.traced.trace import BORN, DIES, GRADIENT, LOOK, SAVED, Pass, decoded

__all__ = ["Held", "Look", "all_events", "changes", "held_at", "saved_at_end", "tensors", "upper"]

_SAVED, _GRADIENTS, _TEMPORARY = (PARTS.index(p) for p in ("saved", "gradients", "temporary"))
_PART = {SAVED: _SAVED, GRADIENT: _GRADIENTS}


class Look(NamedTuple):
    """Live bytes by part after one call, as polynomials in the batch; ``number`` counts the
    calls."""

    number: int
    parts: tuple[Polynomial, Polynomial, Polynomial]

    @property
    def total(self) -> Polynomial:
        """All parts together: ``saved + gradients + temporary``."""
        saved, gradients, temporary = self.parts
        return plus(plus(saved, gradients), temporary)


def looks(run: Pass) -> Iterator[Look]:
    """Every look of a pass; the end of the pass is the last one."""
    live: list[Polynomial] = [(0,), (0,), (0,)]
    part_of: dict[int, int] = {}
    number = 0
    for event in run.events:
        kind, storage = decoded(event)
        if kind == LOOK:
            yield Look(number, (live[0], live[1], live[2]))
            number += 1
            continue
        size = run.sizes[storage]
        if kind != BORN:
            before = part_of.pop(storage)
            live[before] = plus(live[before], size, -1)
        if kind != DIES:
            part = _PART.get(kind, _TEMPORARY)
            part_of[storage] = part
            live[part] = plus(live[part], size)
    yield Look(number, (live[0], live[1], live[2]))


class Held(NamedTuple):
    """A storage that is alive at a look: its part of memory; the module that saved it, or the
    module that made it; the operator that made it."""

    part: str
    path: str
    operator: str
    size: Polynomial


def held_at(run: Pass, look: int | None) -> list[Held]:
    """The storages that are alive at a look of ``upper``, in the order in which they were
    allocated; None is the end of the pass.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).inference
    >>> held_at(run, 0)
    [Held(part='temporary', path='', operator='addmm', size=(0, 4000))]
    """
    kept = [] if look is None else _kept(run)
    number = None if look is None else kept[look].number
    saved_by = dict(run.saved_by)
    born: dict[int, int] = {}
    part_of: dict[int, int] = {}
    now = 0
    for event in run.events:
        kind, storage = decoded(event)
        if kind == LOOK:
            if now == number:
                break
            now += 1
        elif kind == DIES:
            del born[storage], part_of[storage]
        else:
            born.setdefault(storage, now)
            part_of[storage] = _PART.get(kind, _TEMPORARY)
    held = []
    for storage, call in born.items():
        operator, path = run.calls[min(call, len(run.calls) - 1)]
        part = PARTS[part_of[storage]]
        where = saved_by[storage] if part == "saved" else path
        held.append(Held(part, run.paths[where], run.operators[operator].name, run.sizes[storage]))
    return held


@lru_cache(maxsize=64)
def _kept(run: Pass) -> tuple[Look, ...]:
    """The looks that can be a peak at some batch from 1 on; the end of the pass is appended."""
    every = list(looks(run))
    return (*_upper(every[:-1]), every[-1])


@lru_cache(maxsize=64)
def upper(run: Pass) -> tuple[Event, ...]:
    """The looks that can be a peak at some batch from 1 on, as the changes from each look to the
    next.

    >>> from torch import nn
    >>> from vitcost.engine.live import peak
    >>> from vitcost.engine.ops import Sizes
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).inference
    >>> peak(upper(run), Sizes(b=64)).peak_bytes == 64 * 1000 * 4
    True
    """
    kept = _kept(run)
    places = [place(run, look.number) for look in kept[:-1]]
    return tuple(changes((look.parts for look in kept), places))


def changes(looks: Iterable[tuple[Polynomial, ...]], places: Sequence[Place]) -> Iterator[Event]:
    """The changes of each part of memory from each look to the next, followed by the place of that
    look. The last look is the end of the pass, and has no place.

    >>> looks = [((0,), (0,), (0, 4)), ((0,), (0,), (0,))]
    >>> [getattr(each, "tensor", None) for each in changes(looks, [Place("forward", "head")])]
    [bytes[4 b], None, bytes[-4 b]]
    """
    before: tuple[Polynomial, ...] = ((0,), (0,), (0,))
    for parts, place in zip_longest(looks, places):
        for part, (was, now) in enumerate(zip(before, parts, strict=True)):
            yield from (Change(part, 1, t, ()) for t in tensors(plus(now, was, -1)))
        before = parts
        if place is not None:
            yield place


def all_events(run: Pass) -> tuple[Event, ...]:
    """Every event of a pass, one storage at a time.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).inference
    >>> born, place = all_events(run)
    >>> born.tensor, place.path  # 1000 numbers of 4 bytes an image
    (bytes[4000 b], 'addmm')
    """
    by_size: dict[Polynomial, tuple[Tensor, ...]] = {}
    part_of: dict[int, int] = {}
    events: list[Event] = []
    number = 0
    for event in run.events:
        kind, storage = decoded(event)
        if kind == LOOK:
            events.append(place(run, number))
            number += 1
            continue
        size = run.sizes[storage]
        pieces = by_size.setdefault(size, tensors(size))
        if kind != BORN:
            part = part_of.pop(storage)
            events += (Change(part, -1, t, ()) for t in pieces)
        if kind != DIES:
            part_of[storage] = _PART.get(kind, _TEMPORARY)
            events += (Change(part_of[storage], 1, t, ()) for t in pieces)
    return tuple(events)


def tensors(size: Polynomial) -> tuple[Tensor, ...]:
    """Bytes as tensors over the batch: one for each power of it.

    >>> tensors((4, 0, 8))
    (bytes[4], bytes[8 b b])
    """
    return tuple(
        Tensor("bytes", (coefficient, *("b",) * power), itemsize=1)
        for power, coefficient in enumerate(size)
        if coefficient
    )


def place(run: Pass, number: int) -> Place:
    """The place of a look: the module that runs, or the operator if no module runs."""
    operator, path = run.calls[number]
    called = run.operators[operator]
    return Place(called.phase, run.paths[path] or called.name)


def saved_at_end(run: Pass) -> dict[int, int]:
    """The storages that autograd holds when the backward pass begins, each with the path of the
    module that saved it.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).step
    >>> [(run.sizes[storage], run.paths[path]) for storage, path in saved_at_end(run).items()]
    [((0, 4000), 'loss'), ((4,), 'loss')]
    """
    held: dict[int, int] = {}
    saved_by = dict(run.saved_by)
    number = 0
    for event in run.events:
        kind, storage = decoded(event)
        if kind == LOOK:
            if run.operators[run.calls[number][0]].phase != "forward":
                break
            number += 1
        elif kind == SAVED:
            held[storage] = saved_by[storage]
        elif kind == DIES:
            held.pop(storage, None)
    return held


def _upper(every: Iterable[Look]) -> list[Look]:
    """The looks that can be a peak: no other look holds more at every batch. From the steepest on,
    a look must start higher than all steeper ones. Of equal looks the first is kept."""
    best: dict[Polynomial, Look] = {}
    for look in every:
        best.setdefault(plus(look.total, (0, 0, 0)), look)
    kept: list[tuple[Polynomial, Look]] = []
    square = any(total[2] for total in best)
    top = -1
    for total, look in sorted(best.items(), key=_steepest, reverse=True):
        # a steeper line that is above another at batch 1 is above it at every batch
        if square:
            below = any(_above(other, total) for other, _ in kept)
        else:
            below = total[0] + total[1] <= top
            top = max(top, total[0] + total[1])
        if not below:
            kept.append((total, look))
    return sorted((look for _, look in kept), key=lambda look: look.number)


def _steepest(item: tuple[Polynomial, Look]) -> tuple[tuple[int, ...], int]:
    total, look = item
    return tuple(reversed(total)), -look.number


def _above(one: Polynomial, other: Polynomial) -> bool:
    """Whether ``one`` is at least ``other`` at every batch from 1 on: as a polynomial in batch - 1,
    the difference has no negative coefficient. The condition is sufficient, not necessary."""
    d = [a - b for a, b in zip(one, other, strict=True)]
    shifted = (d[0] + d[1] + d[2], d[1] + 2 * d[2], d[2]) if len(d) == 3 else tuple(d)
    return all(c >= 0 for c in shifted)
