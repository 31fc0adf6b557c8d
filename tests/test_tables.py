"""Every row of every table, field by field: a wrong one is told by its row and its field."""

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from inspect import signature
from typing import Any

import pytest

import vitcost
from vitcost.config.fields import checked
from vitcost.config.optimizers import OPTIMIZERS, Optimizer
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import FIELDS, RATIOS, ViTConfig
from vitcost.costs.quantities import EXPLAINED, FLOATS, QUANTITIES
from vitcost.costs.quantity import Quantity, Terms
from vitcost.errors import VitcostError
from vitcost.formulas.terms import RULES
from vitcost.hardware.cards import CARDS, SOURCES, Card
from vitcost.planner.changes import NUMBERS
from vitcost.render import FORMATS
from vitcost.zoo import timm


def wrong(name: str, row: object, holds: Mapping[str, bool]) -> list[str]:
    """The fields of a row that do not hold."""
    return [f"{name}: {field} is {getattr(row, field)!r}" for field in holds if not holds[field]]


def is_figure(value: object) -> bool:
    """A number of a sheet, or none where no source states it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and value > 0)  # type: ignore[operator]


@pytest.mark.parametrize("name", CARDS)
def test_a_card(name: str) -> None:
    card = CARDS[name]
    assert wrong(
        name,
        card,
        {
            "name": name == name.lower().strip(),
            "vendor": card.vendor != "",
            "peaks": all(map(is_figure, card.peaks)) and any(card.peaks),
            "memory_gb": is_figure(card.memory_gb),
            "bandwidth_gbps": is_figure(card.bandwidth_gbps),
            "link_gbps": is_figure(card.link_gbps),
            "power_w": is_figure(card.power_w),
            "year": card.year is None or 2000 < card.year < 2100,
            "source": card.source != "" and set(card.source.split()) <= set(SOURCES),
            "usable_bytes": is_figure(card.usable_bytes),
            "like": card.like == "",
            "architecture": card.architecture == ""
            or card.architecture.startswith("gfx")
            or card.capability is not None,
        },
    ) == []  # fmt: skip
    assert set(Card._fields) == {
        "name", "vendor", "peaks", "memory_gb", "bandwidth_gbps", "link_gbps", "power_w", "year",
        "source", "usable_bytes", "like", "architecture",
    }  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer(name: str) -> None:
    row = OPTIMIZERS[name]
    steps = ("", "foreach", "loop", "fused", "compiled", "in place")
    holds = {
        "moments": 0 <= row.moments <= 3,
        # a counter is one number of 32 bits
        "step_bytes": row.step_bytes in (0, 4),
        "step": row.step in steps,
        "passes": row.passes >= 3 + 2 * row.moments,
        "real": row.real.partition(".optim.")[0] in ("torch", "timm", "bitsandbytes", "torchao"),
        "options": isinstance(row.options, Mapping),
        "source": row.source != "",
        # a loop has storages
        "walk": all(change.local for change in row.walk((2, 3), 4)),
        "kept": row.kept is None or row.moments == row.step_bytes == 0,
        "tables": row.tables >= 0,
        "cut": (row.cut > 0) <= (row.tables > 0),
        # codes of moments, of a byte each at most, are read and written
        "moved": 0 <= row.moved <= 4 and (row.moved > 0) <= (row.kept is not None),
        "products": row.products is None or row.products((2, 3)) > 0,
        "rest": row.rest in ("", *OPTIMIZERS),
        "beside": row.beside >= 0 and (row.beside > 0) <= (row.step == "foreach"),
        "platforms": set(row.platforms) <= {"cuda", "cpu"} and "cuda" in row.platforms,
    }
    assert set(holds) == set(Optimizer._fields)
    assert wrong(name, row, holds) == []


FLAGS = {field.name for field in fields(Scenario)}


@pytest.mark.parametrize("name", {**QUANTITIES, **dict.fromkeys(EXPLAINED)})
def test_a_quantity(name: str) -> None:
    row, formula = QUANTITIES.get(name), EXPLAINED.get(name)
    if row is not None:
        of_time = row.of_time
        mode = (of_time and of_time.mode) or "train"
        report = vitcost.report("vit_tiny_patch16_224", gpu="t4", mode=mode)
        try:
            value = row.read(report, Terms({"t4": 0.35}, 10**6))
        except (KeyError, TypeError):
            value = None
        holds = {
            "path": isinstance(value, int | float),
            "unit": row.unit in ("count", "si", "bytes", *FLOATS),
            "layers": set(row.layers) <= set(NUMBERS),
            # a time is a fit of measured constants, and no formula
            "formula": (formula is None) == (row.unit in FLOATS),
            "of_time": (of_time is None) == (row.unit not in FLOATS)
            and {*(of_time.needs if of_time else ())} <= {"price", "samples"},
            "more": row.more == (row.unit == "rate"),
        }
        assert set(holds) == set(Quantity._fields)
        assert wrong(name, row, holds) == []
    if formula is not None:
        asked = {
            "rule": formula.rule in RULES,
            "unit": formula.unit != "",
            "reference": formula.reference != "",
            "flags": set(formula.flags) <= FLAGS,
        }
        assert wrong(name, formula, asked) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_format(name: str) -> None:
    render = import_module(FORMATS[name]).render
    assert list(signature(render).parameters) == ["result", "color", "width"], f"{name}: render"


ROWS = {name: row for family in timm.FAMILIES for name, row in timm.table(family).rows.items()}


@pytest.mark.parametrize("name", ROWS)
def test_a_model(name: str) -> None:
    faults = []
    for field, value in ROWS[name].fields.items():
        if field not in (*FIELDS, *RATIOS):
            faults.append(f"{name}: {field} is no field of a config")
        elif field in FIELDS:
            faults += fault(name, field, value)
    assert faults == []


def fault(name: str, field: str, value: Any) -> list[str]:
    """The message of a config about the value of one field, under the row that has it."""
    try:
        if value != ViTConfig.__dataclass_fields__[field].default:
            checked(field, *FIELDS[field], value)
    except VitcostError as error:
        return [f"{name}: {error}"]
    return []
