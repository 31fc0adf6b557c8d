"""All models of one structure: their quantities as formulas in sizes, and their times."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.costs.memory import step
from vitcost.costs.report import report_on
from vitcost.engine.workload import workload
from vitcost.errors import VitcostError
from vitcost.hardware.cards import Card
from vitcost.hardware.columns import Clock
from vitcost.planner.grid import reason
from vitcost.planner.report_formulas import Plan, formulas
from vitcost.planner.timing import Cards
from vitcost.zoo import Resolved

__all__ = ["DESCRIBED", "Structure", "structure"]

# describing a structure takes as long as this many reports
DESCRIBED = 12


class Structure(NamedTuple):
    """The formulas of all models of a structure; ``clock`` gives their time on a card, if one is
    named."""

    plan: Plan
    clock: Clock | None
    peak_is: str | None


def structure(
    model: Resolved,
    scenario: Scenario,
    names: Iterable[str],
    constants: Mapping[str, int],
    cards: Cards | None = None,
    card: Card | None = None,
) -> Structure | str | None:
    """The description of a model's structure; or the reason why there is none; or None if each
    model gets a report. ``constants`` are sizes that all its models share.

    >>> from vitcost.zoo import resolve
    >>> base = structure(resolve("vit_base_patch16_224"), Scenario(), ["params"], {})
    >>> sizes = workload(resolve("vit_base_patch16_224", depth=24).config, Scenario()).sizes
    >>> base.plan.values({str(axis): sizes[axis] for axis in sizes})
    {'params': 171622120}
    """
    names = tuple(names)
    try:
        plan = Plan(formulas(model, scenario, names), constants)
        clock = None
        if cards is not None and card is not None:
            clock = cards.clock(model.config, scenario, card)
            if clock is None:
                return None
    except VitcostError as error:
        with suppress(VitcostError):
            # numbers may be accepted where symbols were refused; without a card each model then
            # gets a report
            report_on(model, workload(model.config, scenario))
            if card is None:
                return None
        return reason(error)
    peak_is = None
    if "train_memory" in names:
        peak_is = step(workload(model.config, replace(scenario, mode="train"))).peak_is
    return Structure(plan, clock, peak_is)
