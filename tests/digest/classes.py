"""The bytes that a class more adds to a trace: the calls that depend on the number of classes are
those of one linear layer and of its loss, as ``vitcost.traced.classifier`` writes them down."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from vitcost.hardware.calls import Call, Piece, calls, fused, is_product
from vitcost.traced.alive import Look, looks
from vitcost.traced.batch_sizes import Polynomial
from vitcost.traced.classifier import run as classifier
from vitcost.traced.digest import Head
from vitcost.traced.trace import ITEMSIZE, Pass, Trace

__all__ = ["by_class", "layer_of"]

CLASSES = 1000


def layer_of(
    parameters: Sequence[tuple[tuple[int, ...], bool, bool, str]], trace: Trace
) -> Head | None:
    """The linear layer that scores the classes; None where other parameters have as many rows."""
    own = [each for each in parameters if CLASSES in each[0]]
    if not own or trace.step is None:
        return None
    (shape, linear, reached, top), *rest = own
    if len(shape) != 2 or shape[1] == CLASSES or not (linear and reached):
        return None
    if rest not in ([], [((CLASSES,), True, True, top)]):
        return None
    return Head(top, shape[1], bool(rest), CLASSES, CLASSES, "fp32", training=False)


@lru_cache(maxsize=8)
def by_class(run: Pass, head: Head | None) -> list[Look]:
    """The bytes of every look that a class more adds; none where some call depends on the classes
    in another way than the layer and its loss do."""
    if head is None or not _is_of(run, head):
        return []
    of_storage: list[Polynomial] = [(0,)] * len(run.sizes)
    for (number, _), touched in zip(run.calls, run.touched, strict=True):
        operator = run.operators[number]
        written = touched[len(operator.reads) :]
        for array, storage in zip(operator.writes, written, strict=True):
            if (CLASSES,) not in array.shape or storage < 0:
                continue
            size = run.sizes[storage]
            whole = 1
            for side in array.shape:
                whole *= side[-1]
            if size[-1] != whole * ITEMSIZE[array.dtype] or any(c % CLASSES for c in size):
                return []
            of_storage[storage] = tuple(c // CLASSES for c in size)
    return list(looks(run._replace(sizes=tuple(of_storage))))


def _is_of(run: Pass, head: Head) -> bool:
    """Whether the calls with a side of as many classes are those of the layer and its loss, and a
    compiler puts them into kernels of no class."""
    batch = min(2, len(run.batch_bytes))
    known = classifier(head, CLASSES, batch)
    return _described(run, batch) == _described(known, batch) and _plain(run, batch)


def _described(run: Pass, batch: int) -> Counter[object]:
    return Counter(
        (call.name, call.phase, _shapes(call.reads), _shapes(call.writes), call.flops)
        for call in calls(run, batch)
        if _has_classes(call)
    )


def _shapes(pieces: Sequence[Piece]) -> tuple[object, ...]:
    return tuple((piece.shape, piece.itemsize) for piece in pieces)


def _has_classes(call: Call) -> bool:
    return any(CLASSES in piece.shape for piece in (*call.reads, *call.writes))


def _plain(run: Pass, batch: int) -> bool:
    return all(
        is_product(kernel.name) or kernel.name == "fused" or not _has_classes(kernel)
        for kernel in fused(calls(run, batch))
    )
