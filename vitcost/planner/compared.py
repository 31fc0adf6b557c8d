"""A row of a comparison: a model under one scenario, its quantities, its time, its layers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vitcost.costs.quantity import Amount
from vitcost.hardware.cards import Card
from vitcost.hardware.columns import Times
from vitcost.planner.changes import NUMBERS, Changed, Numbers

__all__ = [
    "Compared",
    "Why",
    "label",
    "layer_numbers",
    "plain",
    "relative",
    "slowest",
    "spelled",
]


class Compared(NamedTuple):
    """One of the models, under one scenario.

    ``layers`` has the costs of all layers of one name together: ``blocks.*.attn`` stands for the
    attention of every block.
    """

    model: str
    varied: Mapping[str, Any]
    quantities: Mapping[str, Amount | None]
    layers: Numbers
    time: Times | None = None  # None: no card is named
    towers: int = 1
    peak_is: str | None = None  # whether its training peak is exact or bounded
    file: str = ""  # the file from which a finished report was read
    origin: str = ""  # the libraries and versions that made a digest's trace


class Why(NamedTuple):
    """The layers of a model whose costs differ from those of the first model."""

    model: str
    against: str
    changed: tuple[Changed, ...]


def relative(numbers: Iterable[Amount | None], more: bool = False) -> list[float | None]:
    """Each of the ``numbers`` relative to the best: ``number / best``; the best is the least, or
    the most if more is better.

    >>> relative([4, 2, None]), relative([4, 2, None], more=True)
    ([2.0, 1.0, None], [1.0, 0.5, None])
    """
    numbers = list(numbers)
    known = [number for number in numbers if number is not None]
    best = (max if more else min)(known) if known else None
    return [number / best if number is not None and best else None for number in numbers]


def slowest(times: Sequence[Mapping[str, Any]]) -> Times | None:
    """The longest of the times in a report's JSON; None if it has no time.

    >>> from vitcost import report
    >>> slowest(report("vit_base_patch16_224", gpu=["l4", "t4"]).to_dict()["time"]).gpu
    't4'
    """
    if not times:
        return None
    longest = max(times, key=lambda time: float(time["seconds"]))
    return Times(*(longest[name] for name in Times._fields))


def label(each: Compared) -> str:
    """A model's name, with the values of the fields that vary.

    >>> label(Compared("vit_base_patch16_224", {"img_size": (384, 384)}, {}, {}))
    'vit_base_patch16_224 (img_size 384x384)'
    """
    varied = ", ".join(f"{name} {spelled(value)}" for name, value in each.varied.items())
    return f"{each.model} ({varied})" if varied else each.model


def spelled(value: Any) -> str:
    """The value of a field as a page shows it.

    >>> spelled((224, 192)), spelled("bf16")
    ('224x192', 'bf16')
    """
    if isinstance(value, Card):
        return value.name
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def plain(value: Any) -> Any:
    """The value of a field in JSON.

    >>> plain((224, 192)), plain("bf16")
    ([224, 192], 'bf16')
    """
    if isinstance(value, Card):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def layer_numbers(data: Mapping[str, Any]) -> Numbers:
    """The costs of a report's layers by name: all layers with one name are summed, and each is
    nested in its parent.

    >>> from vitcost import report
    >>> numbers = layer_numbers(report("vit_base_patch16_224").to_dict())
    >>> numbers["blocks.*.attn"]["params"] == 12 * (4 * 768**2 + 4 * 768)
    True
    """
    numbers: dict[str, dict[str, int]] = {}
    for layer in data["layers"]:
        _add(layer, 1, numbers)
    return numbers


def _add(layer: Mapping[str, Any], times: int, by_name: dict[str, dict[str, int]]) -> None:
    times = times * layer["repeat"]
    names = ("*" if name.isdigit() else name for name in layer["path"].split("."))
    numbers = by_name.setdefault(".".join(names), dict.fromkeys(NUMBERS, 0))
    for column in NUMBERS:
        numbers[column] += times * (layer[column] or 0)
    for child in layer["children"]:
        _add(child, times, by_name)
