"""A traced step whose loss a ``GradScaler`` multiplies: the product and its backward are inserted
into the trace of the unscaled step.

``scaler.scale(loss)`` is called on the loss when the forward pass is over. The product, and the
gradient with which ``backward()`` begins, live until it returns; the nodes of the loss receive that
gradient times the scale.
"""

from collections.abc import Iterator
from functools import lru_cache

from vitcost.traced.trace import BORN, DIES, ITEMSIZE, LOOK, Array, Operator, Pass, coded, decoded

__all__ = ["scaled"]

_SCALE = Array("float32", ())


@lru_cache(maxsize=16)
def scaled(step: Pass) -> Pass:
    """The same step with a loss that a ``GradScaler`` has scaled: one product more, and its
    gradient. Source: torch 2.13, torch/amp/grad_scaler.py.

    >>> from torch import nn
    >>> from vitcost.traced.alive import looks
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> step = trace(head, inputs_of(head, "768"), (2, 3, 4)).step
    >>> before, after = ([look.total for look in looks(run)] for run in (step, scaled(step)))
    >>> len(after) - len(before), after[-2][0] - before[-2][0]  # the scaled loss
    (2, 4)
    """
    first = next(i for i, (o, _) in enumerate(step.calls) if step.operators[o].phase == "backward")
    ones, path = step.calls[first]
    (loss,) = step.operators[ones].writes
    seed = step.touched[first][-1]
    # torch computes a scalar loss of half precision times the scale in float32
    kind = loss.dtype if loss.shape or ITEMSIZE[loss.dtype] >= ITEMSIZE["float32"] else "float32"
    wide, size = Array(kind, loss.shape), (ITEMSIZE[kind],)
    product, gradient, narrow = range(len(step.sizes), len(step.sizes) + 3)
    operators = [
        Operator("mul", "forward", (loss, _SCALE), (wide,), *_NO_FLOPS),
        Operator("mul", "backward", (wide, _SCALE), (wide,), *_NO_FLOPS),
        Operator("_to_copy", "backward", (wide,), (loss,), *_NO_FLOPS),
    ]
    forward, backward, cast = range(len(step.operators), len(step.operators) + 3)
    last = max(i for i, storages in enumerate(step.touched) if seed in storages)
    casts = kind != loss.dtype
    taken = narrow if casts else gradient
    # the calls inserted after the first one, each with the storages that it touches
    more: list[tuple[int, tuple[int, ...]]] = [(backward, (seed, -1, gradient))]
    more += [(cast, (gradient, narrow))] * casts
    touched = [tuple(taken if s == seed else s for s in storages) for storages in step.touched]
    touched[first] = step.touched[first]
    calls = [*step.calls[:first], (forward, path), step.calls[first]]
    calls += [(operator, path) for operator, _ in more]
    return step._replace(
        operators=(*step.operators, *operators),
        calls=(*calls, *step.calls[first + 1 :]),
        sizes=tuple(
            size if storage == seed else each
            for storage, each in enumerate((*step.sizes, size, size, (ITEMSIZE[loss.dtype],)))
        ),
        events=tuple(_events(step, first, last, seed, product, gradient, taken)),
        touched=(
            *touched[:first],
            (-1, -1, product),
            touched[first],
            *(storages for _, storages in more),
            *touched[first + 1 :],
        ),
    )


_NO_FLOPS = ((0,), (0,), (0,))


def _events(
    step: Pass, first: int, last: int, seed: int, product: int, gradient: int, taken: int
) -> Iterator[int]:
    """The events with three insertions: the product before the first call of the backward pass, its
    gradient after that call, and the free of that gradient after the last call that reads it."""
    number = 0
    for event in step.events:
        if decoded(event) == (BORN, seed):
            continue
        if event == LOOK and number == first:
            # by then the forward pass has freed all that it frees
            yield from (coded(BORN, product), LOOK, coded(BORN, seed))
        yield event
        if event != LOOK:
            continue
        if number == first:
            yield coded(BORN, gradient)
            yield LOOK
            if taken != gradient:
                yield coded(BORN, taken)
                yield LOOK
                yield coded(DIES, gradient)
        if number == last:
            yield coded(DIES, taken)
        number += 1
    yield coded(DIES, product)
