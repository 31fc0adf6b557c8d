"""One side of a difference: a model's quantities, layers, fields and flags."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vitcost.costs.quantities import values
from vitcost.costs.quantity import NO_TERMS, Amount, Terms
from vitcost.costs.report_types import Report
from vitcost.planner.budgets.baseline import Recorded, recorded
from vitcost.planner.changes import Numbers
from vitcost.planner.compared import layer_numbers

__all__ = ["Side", "of_baseline", "of_json", "of_recorded"]

# keys of a report that identify the code or repeat numbers, so they are not compared
_NO_FACTS = ("hash", "attention_kernel", "torch")


class Side(NamedTuple):
    """The costs of a model before or now; ``facts`` are the fields of its config and its flags."""

    quantities: Mapping[str, Amount | None]
    layers: Numbers
    facts: Mapping[str, str]
    peak_is: str | None = None  # whether train_memory is exact or bounded
    towers: int = 1


def of_json(data: Mapping[str, Any], terms: Terms = NO_TERMS) -> Side:
    """The side that a report's JSON describes; ``terms`` are the terms of its costs.

    >>> from vitcost import report
    >>> side = of_json(report("vit_base_patch16_224", batch=8).to_dict())
    >>> side.quantities["params"], side.facts["batch"], side.facts["img_size"]
    (86567656, '8', '224×224')
    """
    model = data["model"]
    facts = {"basis": model["basis"], **model["config"], **data["scenario"]}
    spelled = {name: _spelled(value) for name, value in facts.items() if name not in _NO_FACTS}
    return Side(
        values(data, terms=terms),
        layer_numbers(data),
        spelled,
        data["memory"]["training"]["peak_is"],
        2 if "vision" in model["config"] else 1,
    )


def of_baseline(entry: Recorded) -> Side:
    """The side that an entry of a baseline describes; it has no fields.

    >>> of_baseline(Recorded({"params": 86_567_656}, {})).facts
    {}
    """
    return Side(entry.quantities, entry.layers, {})


def of_recorded(report: Report, terms: Terms = NO_TERMS) -> Side:
    """The side of a report in the form of a baseline, so that its layers can be compared with one.

    >>> from vitcost import report
    >>> of_recorded(report("vit_base_patch16_224")).layers["head"]["params"]
    769000
    """
    side = of_json(report.to_dict(), terms)
    return side._replace(layers=recorded(report).layers, facts={})


def _spelled(value: Any) -> str:
    """The value of a field as a person reads it."""
    if isinstance(value, list | tuple):
        separator = "×" if value and all(isinstance(each, int) for each in value) else ", "
        return separator.join(map(_spelled, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_spelled(each)}" for name, each in value.items())
    return "none" if value in (None, "") else str(value)
