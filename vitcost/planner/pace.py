"""How fast one card computes: the forward and backward pass of a micro-batch, and the update."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.engine.cost import Cost
from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered
from vitcost.hardware.basis import check_half
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import sheet_of
from vitcost.hardware.predicted import Time
from vitcost.hardware.work_classes import setup_of

__all__ = ["Micro", "Pace", "pace_of", "step_cost"]

# an update reads weight, gradient and two moments, and writes all but the gradient: memory traffic
# alone
_UPDATE_PASSES = 7


class Micro(NamedTuple):
    """The seconds of a micro-batch on one card that holds the whole model."""

    passes: float  # forward and backward passes, including recomputation
    update: float  # the optimizer's update, once per step
    bound: str  # compute | memory | overhead
    below: float  # how much shorter and longer the time may be, as shares of it
    above: float
    basis: str  # calibrated | anchored | of_its_kind | spec_sheet | given
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """A card's speed on a model: predicted, or given as an efficiency.

    ``run`` is a step with the fewest samples on the card; ``time`` predicts the time of another
    scenario.
    """

    run: Workload
    card: Card
    efficiency: float | None
    time: Callable[[Scenario], Time]
    peak: float  # FLOP/s of the data sheet, dense, in the scenario's precision

    @property
    def scenario(self) -> Scenario:
        """The scenario of a step of the fewest samples."""
        return self.run.scenario

    def micro(self, batch: int, checkpointing: str) -> Micro:
        """The time of a micro-batch, including the recomputation of checkpointing."""
        if self.efficiency is not None:
            cost = step_cost(self.run, batch, checkpointing)
            executed = cost.executed_flops + cost.executed_backward_flops
            update = _update_seconds(cost, self.card)
            return Micro(
                executed / (self.peak * self.efficiency), update, "compute", 0.0, 0.0, "given", ()
            )
        time = self.time(replace(self.scenario, batch=batch, checkpointing=checkpointing))
        update = sum(part.seconds for part in time.parts if part.name == "optimizer")
        below = 1 - time.low_seconds / time.seconds
        above = time.high_seconds / time.seconds - 1
        passes = time.seconds - update
        return Micro(passes, update, time.bound, below, above, time.basis, time.notes)


def pace_of(
    run: Workload, card: Card, efficiency: float | None, time: Callable[[Scenario], Time]
) -> Pace:
    """The speed of a card on a model; ``efficiency`` is its FLOP/s divided by the sheet's peak;
    None: ``time`` predicts the speed. Raises ``NotCovered`` if only an ``efficiency`` could give
    it, and for a pair of towers.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.hardware.specs import card
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(mode="train", precision="amp-bf16")
    >>> run = workload(resolve("vit_base_patch16_224").config, scenario)
    >>> pace = pace_of(run, card("h100-sxm"), 0.4, None)
    >>> micro, cost = pace.micro(64, "none"), step_cost(run, 64)
    >>> micro.passes == (cost.executed_flops + cost.executed_backward_flops) / (989e12 * 0.4)
    True
    """
    if run.shares_loss:
        raise NotCovered(
            "plan takes one tower, MODEL:vision or MODEL:text; "
            "a pair shares its loss among all ranks"
        )
    check_half(card, run.scenario)
    peak = sheet_of(card, setup_of(run.scenario)).flops_per_second
    return Pace(run, card, efficiency, time, peak)


@lru_cache(maxsize=256)
def step_cost(run: Workload, batch: int, checkpointing: str = "none") -> Cost:
    """The cost of a training step on one card at another batch, including recomputation.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario())
    >>> step_cost(base, 64).flops == 64 * 35_127_656_448
    True
    """
    scenario = replace(run.scenario, mode="train", batch=batch, checkpointing=checkpointing)
    return run.under(scenario).rows().cost


def _update_seconds(cost: Cost, card: Card) -> float:
    """Seconds for seven passes over the parameters in fp32, the memory traffic of Adam."""
    if card.bandwidth is None:
        return 0.0
    return _UPDATE_PASSES * 4 * cost.trainable / card.bandwidth
