"""Steps that compare one after the other: the differences, and the parts that each of them leaves
out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeAlias, TypeVar

from vitcost.check.against_torch import Compared, told
from vitcost.check.differences import Difference, ModelCheck
from vitcost.errors import NotCovered

__all__ = ["Found", "LeftOut", "stepwise"]


class LeftOut(NamedTuple):
    """A part that is not compared, and the reason."""

    reason: str


Found: TypeAlias = Compared | LeftOut
_Of = TypeVar("_Of")


def stepwise(
    name: str,
    steps: Mapping[str, Callable[[_Of], Iterator[Found]]],
    of: _Of,
    on_step: Callable[[str], None],
    *,
    against: str,
    command: str = "check",
    left_out: tuple[str, ...] = (),
) -> ModelCheck:
    """Runs every step and returns the differences. A step that is not covered is listed with its
    reason; raises ``NotCovered`` where no step is covered."""
    start, counts = perf_counter(), Counter[str]()
    differences, reasons = [], []
    for label, run in steps.items():
        on_step(f"{name}: {label}")
        try:
            for one in told(label, partial(run, of)):
                if isinstance(one, LeftOut):
                    reasons.append(f"{label}: {one.reason}")
                    continue
                counts[one.quantity] += 1
                if one.expected != one.actual:
                    differences.append(Difference(*one))
        except NotCovered as reason:
            reasons.append(f"{label}: not covered: {reason}")
    if not counts:
        raise NotCovered(f"{command} compares nothing of {name}: {'; '.join(reasons)}")
    seconds, why = perf_counter() - start, (*left_out, *reasons)
    return ModelCheck(name, dict(counts), tuple(differences), seconds, against, why)
