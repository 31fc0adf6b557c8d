"""Memory over a training step: the bytes in memory at every moment of it, the peak among them.

The moments are the looks in the workload's events, one after each operator, and after them the step
of the optimizer; so models with formulas and traced models answer alike.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from vitcost.costs import memory, memory_types
from vitcost.engine import live
from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered

__all__ = ["OPTIMIZER", "Moment", "moments"]

OPTIMIZER = "optimizer step"


class Moment(NamedTuple):
    """The bytes in memory after one operator of a step, with its pass and its module."""

    phase: str  # forward | recomputation | backward | gather | reduction | optimizer step
    path: str
    parts: memory_types.PeakParts

    @property
    def total_bytes(self) -> int:
        """The sum of all parts."""
        return sum(self.parts)

    @property
    def place(self) -> str:
        """The pass and the module, as ``peak_at`` in a report has them."""
        return f"{self.phase} of {self.path}" if self.path else self.phase


def moments(run: Workload, step: memory_types.Training | None = None) -> tuple[Moment, ...]:
    """Every moment of a steady training step, in order; the largest is ``memory.step``'s peak.
    ``step`` is the workload's step, if the caller has it already.

    Raises ``NotCovered`` if the exact peak of the step is not known, ``ConfigError`` as
    ``memory.step`` does.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> most = max(moments(base), key=lambda moment: moment.total_bytes)
    >>> most.place, most.total_bytes == memory.step(base).peak_bytes
    ('backward of blocks.11.mlp.fc2', True)
    """
    run = run.under(replace(run.scenario, mode="train"))
    step = step or memory.step(run)
    if step.peak_is != "exact":
        raise NotCovered(step.missing or "the memory of this model over a step")
    return tuple(_moments(step, run))


def _moments(step: memory_types.Training, run: Workload) -> Iterator[Moment]:
    around = memory.lasting(step, run)
    for place, path, alive in live.every_look(run.whole_step(), run.sizes):
        yield Moment(place.phase, path, around.plus(alive))
    if run.scenario.optimizer_in_backward and not run.scenario.ema:
        return
    left = live.at_end(run.whole_step(), run.sizes)
    yield Moment(OPTIMIZER, "", around.plus(memory.optimizing(left, run, None)))
