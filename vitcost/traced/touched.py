"""The storages that each call of a pass touches, in a file's form: how many allocations ago each
began."""

from collections.abc import Sequence

from vitcost.traced.trace import BORN, LOOK, Operator, Pass, decoded

__all__ = ["packed_touched", "unpacked_touched"]


def packed_touched(run: Pass) -> list[int]:
    """For each tensor, how many storages were allocated since its own; 0: it outlives the run.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).inference
    >>> packed_touched(run)  # bias, input and weight are the caller's
    [0, 0, 0, 1]
    """
    distances = []
    for born, storages in zip(_born(run.events), run.touched, strict=True):
        distances += [0 if storage < 0 else born - storage for storage in storages]
    return distances


def _born(events: Sequence[int]) -> list[int]:
    """How many storages were allocated before each look."""
    born, counts = 0, []
    for event in events:
        if event == LOOK:
            counts.append(born)
        else:
            born += decoded(event)[0] == BORN
    return counts


def unpacked_touched(
    places: Sequence[int], events: Sequence[int], operators: Sequence[Operator]
) -> tuple[tuple[int, ...], ...]:
    """The numbers of the storages of each call's tensors. ``places`` says how many allocations back
    in ``events`` each one was made; 0: it outlives the run. Raises ``ValueError`` for a storage
    that does not exist.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> run = trace(head, inputs_of(head, "768"), (2, 3, 4)).inference
    >>> unpacked_touched([0, 0, 0, 1], run.events, run.operators) == run.touched
    True
    """
    at, touched = 0, []
    for born, operator in zip(_born(events), operators, strict=True):
        end = at + len(operator.reads) + len(operator.writes)
        touched.append(tuple([born - back if back else -1 for back in places[at:end]]))
        at = end
    if at != len(places) or any(storage < -1 for each in touched for storage in each):
        raise ValueError("a tensor of a storage that is not there")
    return tuple(touched)
