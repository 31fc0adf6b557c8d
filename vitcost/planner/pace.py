"""How fast one card computes: a micro-batch's forward and backward pass, and the update."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from vitcost.engine.cost import Cost
from vitcost.engine.model import Config
from vitcost.engine.workload import workload
from vitcost.errors import NotCovered
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import Calibration, sheet_of
from vitcost.hardware.roofline import Anchor, check_half, predict
from vitcost.hardware.work import setup_of
from vitcost.scenario import Scenario
from vitcost.text import ClipConfig

__all__ = ["Micro", "Pace", "pace_of", "step_cost"]

# the update reads weight, gradient and two moments and writes three of them: memory alone
_UPDATE_PASSES = 7


class Micro(NamedTuple):
    """A micro-batch on one card that has the whole model, in seconds."""

    passes: float  # forward and backward, with what is computed again
    update: float  # the optimizer, once a step
    bound: str  # compute | memory | overhead
    below: float  # how much shorter and longer it may be, as shares
    above: float
    basis: str  # calibrated | anchored | of_its_kind | spec_sheet | given
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """A card's speed on a model: predicted, or given as an efficiency."""

    config: Config
    scenario: Scenario
    card: Card
    efficiency: float | None
    anchors: tuple[Anchor, ...]
    calibrations: tuple[Calibration, ...]
    peak: float  # FLOP/s of the sheet, dense, in the scenario's precision

    def micro(self, batch: int, checkpointing: str) -> Micro:
        """The time of a micro-batch, with what checkpointing computes again."""
        scenario = replace(self.scenario, batch=batch, checkpointing=checkpointing)
        if self.efficiency is not None:
            cost = step_cost(self.config, scenario)
            executed = cost.executed_flops + cost.executed_backward_flops
            update = _update_seconds(cost, self.card)
            return Micro(
                executed / (self.peak * self.efficiency), update, "compute", 0.0, 0.0, "given", ()
            )
        time = predict(
            self.config, scenario, self.card, anchors=self.anchors, calibrations=self.calibrations
        )
        update = sum(part.seconds for part in time.parts if part.name == "optimizer")
        below = 1 - time.low_seconds / time.seconds
        above = time.high_seconds / time.seconds - 1
        passes = time.seconds - update
        return Micro(passes, update, time.bound, below, above, time.basis, time.notes)

    def with_checkpointing(self, checkpointing: str) -> Scenario:
        return replace(self.scenario, checkpointing=checkpointing)


def pace_of(
    config: Config,
    scenario: Scenario,
    card: Card,
    *,
    efficiency: float | None,
    anchors: Sequence[Anchor],
    calibrations: Sequence[Calibration],
) -> Pace:
    """The speed of a card on a model; raises ``NotCovered`` where it needs to be told."""
    if isinstance(config, ClipConfig):
        raise NotCovered(
            "plan takes one tower, MODEL:vision or MODEL:text; "
            "a pair shares its loss among all ranks"
        )
    check_half(card, scenario)
    peak = sheet_of(card, setup_of(scenario)).flops_per_second
    return Pace(config, scenario, card, efficiency, tuple(anchors), tuple(calibrations), peak)


@lru_cache(maxsize=1024)
def step_cost(config: Config, scenario: Scenario) -> Cost:
    """The cost of a training step on one card."""
    return workload(config, replace(scenario, mode="train")).rows().cost


def _update_seconds(cost: Cost, card: Card) -> float:
    """Seven passes over the parameters in fp32, as Adam makes them."""
    if card.bandwidth is None:
        return 0.0
    return _UPDATE_PASSES * 4 * cost.trainable / card.bandwidth
