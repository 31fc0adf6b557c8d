"""The committed baseline: the costs of each budget's model, in all quantities and by layer."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.costs.quantities import FLOATS, QUANTITIES, values
from vitcost.costs.quantity import NO_TERMS, Amount, Terms
from vitcost.costs.report_types import Layer, Report
from vitcost.errors import ConfigError
from vitcost.outside.reading import BASELINE, NoSuchFile, read_json
from vitcost.outside.writing import whole
from vitcost.planner.changes import NUMBERS, Changed, Numbers, changes

__all__ = ["FILE", "Baseline", "Recorded", "beside", "grown", "read", "recorded", "write"]

FILE = "vitcost-baseline.json"
SCHEMA = "vitcost.baseline/1"


class Recorded(NamedTuple):
    """A budget's model as it was recorded: quantities that had a figure, and layers by path.

    For a model with formulas the layers are the top-level ones, with equal layers summed; for a
    traced model they are all modules, each without the modules inside it.
    """

    quantities: Mapping[str, Amount]
    layers: Mapping[str, Mapping[str, int]]


Baseline = Mapping[str, Recorded]


def recorded(report: Report, terms: Terms = NO_TERMS) -> Recorded:
    """The numbers of a report, and of its costs, that a baseline keeps.

    >>> from vitcost import report
    >>> entry = recorded(report("vit_base_patch16_224"))
    >>> entry.quantities["params"], entry.layers["head"]["params"]
    (86567656, 769000)
    """
    numbers = values(report, terms=terms)
    figures = {name: value for name, value in numbers.items() if value is not None}
    traced = report.basis == "traced"
    return Recorded(figures, _own(report.layers) if traced else _layers(report))


def grown(report: Report, before: Recorded, quantity: str) -> list[Changed]:
    """The layers whose share of a quantity grew, the largest growth first.

    >>> from vitcost import report
    >>> before = recorded(report("vit_base_patch16_224"))
    >>> (head,) = grown(report("vit_base_patch16_224", num_classes=1001), before, "params")
    >>> head.layer, head.more
    ('head', 769)
    """
    labels = dict(map(_label, report.layers))
    changed = changes(before.layers, recorded(report).layers, QUANTITIES[quantity].layers)
    more = sorted((each for each in changed if each.more > 0), key=lambda each: -each.more)
    return [
        each._replace(layer=labels.get(each.layer, each.layer) or "model and loss") for each in more
    ]


def _layers(report: Report) -> Numbers:
    return {
        layer.path: {number: layer.repeat * getattr(layer, number) for number in NUMBERS}
        for layer in report.layers
    }


def _own(layers: Iterable[Layer], times: int = 1) -> Numbers:
    """The numbers of each module without the modules inside it; equal modules are summed."""
    alone: dict[str, dict[str, int]] = {}
    for layer in layers:
        count = times * layer.repeat
        inside = [(child.repeat, child) for child in layer.children]
        rest = {
            number: count
            * (getattr(layer, number) - sum(n * getattr(child, number) for n, child in inside))
            for number in NUMBERS
        }
        if any(rest.values()):
            alone[layer.path] = rest
        alone.update({path: dict(more) for path, more in _own(layer.children, count).items()})
    return alone


def _label(layer: Layer) -> tuple[str, str]:
    """The path of a layer as a reader sees it; a run of equal layers has its first and last
    index."""
    last = layer.paths[1].rpartition(".")[2]
    return layer.path, layer.path if layer.paths[1] == layer.path else f"{layer.path}–{last}"


def beside(config: str) -> str:
    """The path of the baseline that belongs to a file of budgets.

    >>> beside("pyproject.toml")
    'vitcost-baseline.json'
    """
    return str(Path(config).with_name(FILE))


def read(path: str) -> Baseline | None:
    """The baseline in a file; None if the file does not exist yet.

    Raises ``ConfigError`` for a file that is not a baseline.

    >>> read("no-such-file.json") is None
    True
    """
    try:
        data = read_json(path, BASELINE)
    except NoSuchFile:
        return None
    if data.get("schema") != SCHEMA:
        raise _broken(path, f"its schema is not {SCHEMA}")
    try:
        return {name: _entry(each) for name, each in data["budgets"].items()}
    except KeyError as error:
        raise _broken(path, f"{error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise _broken(path, str(error)) from None


def _broken(path: str, reason: str) -> ConfigError:
    return ConfigError(f"{path}: no baseline: {reason}; `vitcost budget --update` writes one")


def write(path: str, baseline: Baseline) -> None:
    """Writes a baseline; equal baselines give equal bytes. Raises ``ConfigError`` where the file
    cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/{FILE}", {"model": Recorded({"params": 86_567_656}, {})})
    ...     read(f"{folder}/{FILE}")["model"].quantities
    {'params': 86567656}
    """
    data = {"schema": SCHEMA, "budgets": {name: each._asdict() for name, each in baseline.items()}}
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    with whole(path) as file:
        file.write_text(text, encoding="utf-8", newline="\n")


def _entry(data: Any) -> Recorded:
    quantities = {name: _number(name, value) for name, value in data["quantities"].items()}
    layers = {
        path: {number: _whole(numbers[number]) for number in NUMBERS}
        for path, numbers in data["layers"].items()
    }
    return Recorded(quantities, layers)


def _number(quantity: str, value: Any) -> Amount:
    """Reads a number: seconds, and quantities computed from seconds, are floats; all others are
    integers."""
    inexact = quantity in QUANTITIES and QUANTITIES[quantity].unit in FLOATS
    return value if inexact and type(value) is float else _whole(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
