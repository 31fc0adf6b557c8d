"""The committed baseline: what each budget's model cost, in all quantities and by layer."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.budgets.quantities import QUANTITIES
from vitcost.errors import ConfigError
from vitcost.report import Report

__all__ = ["FILE", "Baseline", "Grown", "Recorded", "beside", "grown", "read", "recorded", "write"]

FILE = "vitcost-baseline.json"
SCHEMA = "vitcost.baseline/1"

_NUMBERS = {"params": "count", "flops": "si", "pointwise": "si", "saved_bytes": "bytes"}


class Recorded(NamedTuple):
    """One budget's model as it was: quantities that had a figure, and top-level layers by path,
    equal layers summed."""

    quantities: Mapping[str, int]
    layers: Mapping[str, Mapping[str, int]]


class Grown(NamedTuple):
    """A number of a layer, or of a run of equal ones, that is larger than it was; None: new."""

    layer: str
    number: str
    unit: str
    was: int | None
    now: int


Baseline = Mapping[str, Recorded]


def recorded(report: Report) -> Recorded:
    """What the baseline keeps of a report."""
    values = {name: quantity.read(report) for name, quantity in QUANTITIES.items()}
    layers = {
        layer.path: {number: layer.repeat * getattr(layer, number) for number in _NUMBERS}
        for layer in report.layers
    }
    return Recorded({name: v for name, v in values.items() if v is not None}, layers)


def grown(report: Report, before: Recorded, quantity: str) -> Iterator[Grown]:
    """The layers that a quantity grew with, the largest growth first."""
    found = []
    for layer in report.layers:
        old = before.layers.get(layer.path)
        last = layer.paths[1].rpartition(".")[2]
        name = layer.path if layer.paths[1] == layer.path else f"{layer.path}–{last}"
        for number in QUANTITIES[quantity].layers:
            was = None if old is None else old[number]
            now = layer.repeat * getattr(layer, number)
            if now > (was or 0):
                label, unit = name or "model and loss", _NUMBERS[number]
                found.append(Grown(label, number, unit, was, now))
    yield from sorted(found, key=lambda each: (each.was or 0) - each.now)


def beside(config: str) -> str:
    """Where the baseline of a file of budgets is kept."""
    return str(Path(config).with_name(FILE))


def read(path: str) -> Baseline | None:
    """The baseline of a file; None where there is none yet."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return {name: _entry(each) for name, each in data["budgets"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: no baseline: {error}; `vitcost budget --update` writes one"
        ) from None


def write(path: str, baseline: Baseline) -> None:
    """Writes beside the file and moves over it; the same baseline gives the same bytes."""
    data = {"schema": SCHEMA, "budgets": {name: each._asdict() for name, each in baseline.items()}}
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    file = Path(path).resolve()
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(file)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path!r}: {error}") from None


def _entry(data: Any) -> Recorded:
    quantities = {name: _whole(value) for name, value in data["quantities"].items()}
    layers = {
        path: {number: _whole(numbers[number]) for number in _NUMBERS}
        for path, numbers in data["layers"].items()
    }
    return Recorded(quantities, layers)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
