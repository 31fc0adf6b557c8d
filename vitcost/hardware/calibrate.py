"""From measurements to constants, with an error from measurements that were not fitted.

Models are told apart by width: constants are fitted on every other width and judged on the rest,
and the other way round. The band of a prediction is what nine in ten of those errors lie within.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitcost.errors import ConfigError
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import MOST_LAUNCHING, SMALLEST_BATCH, Calibration, form_of
from vitcost.hardware.fit import fit
from vitcost.hardware.measurements import Measurement
from vitcost.hardware.work import Setup
from vitcost.reading import CALIBRATION, read_toml

__all__ = [
    "calibrate",
    "fitted",
    "held_out",
    "load_calibrations",
    "percentile",
    "predicted",
    "table",
    "to_toml",
]

# a band is no narrower than the one, and as wide as the other where too little was measured to say;
# few widths overstate what all of them together are off, and on cards 15 % cover that
NARROWEST = 0.10
WIDEST = {"cuda": 0.15, "cpu": 0.40}
# as many measurements as a step has kinds of work
_FEWEST = 3


def fitted(measurements: Sequence[Measurement]) -> tuple[float, ...]:
    """The constants that fit measurements of one card and setup best."""
    setups = {(m.card.name, m.row.setup) for m in measurements}
    if len(setups) != 1:
        raise ConfigError(f"one card, software and mode at a time, got {len(setups)}")
    shares = [m.shares() for m in measurements]
    form = form_of(measurements[0].row.setup)
    return fit([parts for parts, _ in shares], [left for _, left in shares], form)


def predicted(measurement: Measurement, constants: Sequence[float]) -> float:
    """Seconds of a measured step, by the constants."""
    parts, left = measurement.shares()
    share = sum(c * part for c, part in zip(constants, parts, strict=True)) + 1 - left
    return share * measurement.seconds


def held_out(measurements: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Predicted seconds, each by a fit on widths other than the model's own: those of the even
    widths in order of size, and those of the odd. Empty where there is one width alone."""
    widths = sorted({m.width for m in measurements})
    if len(widths) < 2:
        return [], []
    even = set(widths[::2])
    halves: tuple[list[float], list[float]] = [], []
    for half, on_even in zip(halves, (True, False), strict=True):
        own = [m for m in measurements if (m.width in even) == on_even]
        constants = fitted([m for m in measurements if (m.width in even) != on_even])
        half += [predicted(m, constants) for m in own]
    return halves


def errors(measurements: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """The relative errors of ``held_out``, by half."""
    even = set(sorted({m.width for m in measurements})[::2])
    own = ([m for m in measurements if (m.width in even) == side] for side in (True, False))
    first, second = (
        [abs(seconds / m.seconds - 1) for m, seconds in zip(ms, half, strict=False)]
        for ms, half in zip(own, held_out(measurements), strict=True)
    )
    return first, second


def calibrate(measurements: Iterable[Measurement], source: str = "") -> list[Calibration]:
    """The constants of every card and setup among the measurements.

    Plain models are fitted; where a file has none, all of them. Steps that are mostly launches are
    left out.
    """
    groups: dict[tuple[str, Setup], list[Measurement]] = {}
    for m in measurements:
        groups.setdefault((m.card.name, m.row.setup), []).append(m)
    return [
        _calibration(gpu, setup, [m for m in group if m.kind == "plain"] or group, source)
        for (gpu, setup), group in groups.items()
    ]


def _calibration(
    gpu: str, setup: Setup, measurements: list[Measurement], source: str
) -> Calibration:
    cpu = setup.platform == "cpu"
    measurements = measurements if cpu else _running(measurements)
    if len(measurements) < _FEWEST:
        raise ConfigError(
            f"{len(measurements)} measurements of {gpu} are too few to fit constants, which takes "
            f"{_FEWEST}; use one as an anchor: MODEL=IMAGES_PER_SECOND"
        )
    constants = fitted(measurements)
    own = [abs(predicted(m, constants) / m.seconds - 1) for m in measurements]
    halves = [half for half in errors(measurements) if half]
    held = round(mean([mean(half) for half in halves]), 4) if halves else None
    others = [error for half in halves for error in half]
    widest = WIDEST[setup.platform]
    band = percentile(others, 0.9) if len(others) >= 10 else widest
    return Calibration(
        gpu,
        setup,
        tuple(round(value, 4) for value in constants),
        len(measurements),
        round(mean(own), 4),
        held,
        round(min(max(band, NARROWEST), widest), 2),
        source,
        SMALLEST_BATCH if cpu else min(SMALLEST_BATCH, *(m.row.batch for m in measurements)),
    )


def _running(measurements: list[Measurement]) -> list[Measurement]:
    """Those that tell of kernels: of the others most is launches, which no constant stands for.
    All of them, where too few are left."""
    found = [m for m in measurements if 1 - m.shares()[1] <= MOST_LAUNCHING]
    return measurements if len(found) < _FEWEST else found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of all lie at or below, between neighbours in proportion.

    >>> percentile([1, 2, 3, 4, 5], 0.9)
    4.6
    """
    if not values:
        return 0.0
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def table(calibrations: Iterable[Calibration]) -> str:
    """The rows of ``calibrations.py``, for when the list of kernels or the data has changed."""

    def order(row: Calibration) -> tuple[Any, ...]:
        setup = row.setup
        cpu = setup.platform == "cpu"
        return cpu, setup.training, row.gpu, setup.compiled, setup.layout, setup.torch

    lines: list[str] = []
    for row in sorted(calibrations, key=order):
        precision, training, compiled, layout, platform, torch = row.setup
        run = f'"{precision}", {training}, {compiled}, "{layout}", "{platform}", {torch}'
        errors = f"{row.rows}, {row.error}, {row.held_out}, {row.band}"
        lines += [
            "    (",
            f'        "{row.gpu}", ({run}),',
            f"        {row.constants}, ({errors}),",
        ]
        lines.append("    ),")
    return "\n".join(lines) + "\n"


def to_toml(calibrations: Iterable[Calibration], cards: Iterable[Card] = ()) -> str:
    """The constants as a TOML file that later predictions read, with cards of the user's own."""
    lines = [line for card in cards for line in _card_lines(card)]
    for row in calibrations:
        names = form_of(row.setup).names
        values = ", ".join(
            f"{name} = {value}" for name, value in zip(names, row.constants, strict=True)
        )
        lines += [
            "[[calibration]]",
            f"gpu = {json.dumps(row.gpu)}",
            f'mode = "{row.setup.mode}"',
            f'precision = "{row.setup.precision}"',
            f'layout = "{row.setup.layout}"',
            f"compiled = {str(row.setup.compiled).lower()}",
            f'platform = "{row.setup.platform}"',
            f'torch = "{row.setup.torch[0]}.{row.setup.torch[1]}"',
            f"constants = {{ {values} }}",
            f"rows = {row.rows}",
            f"error = {row.error}",
            *([] if row.held_out is None else [f"held_out = {row.held_out}"]),
            f"band = {row.band}",
            f"source = {json.dumps(row.source)}",
            f"least_batch = {row.least_batch}",
            "",
        ]
    return "\n".join(lines)


def _card_lines(card: Card) -> list[str]:
    """A card in the words that ``load_cards`` reads."""
    peaks = {f"{kind}_tflops": peak for kind, peak in card.peaks._asdict().items()}
    rest = card._asdict()
    for key in ("name", "peaks", "source"):
        del rest[key]
    figures = {key: value for key, value in {**rest, **peaks}.items() if value not in (None, "")}
    return [
        f"[gpu.{json.dumps(card.name)}]",
        *(f"{key} = {json.dumps(value)}" for key, value in figures.items()),
        "",
    ]


def load_calibrations(path: "str | Path") -> list[Calibration]:
    """The constants of a file that ``to_toml`` wrote."""
    tables = read_toml(path, CALIBRATION).get("calibration", [])
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{path} has no [[calibration]]")
    try:
        return [_loaded(table) for table in tables]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: a [[calibration]] that cannot be read: {error!r}") from None


def _loaded(table: Mapping[str, Any]) -> Calibration:
    major, minor = str(table["torch"]).split(".")
    setup = Setup(
        str(table["precision"]),
        table["mode"] == "train",
        bool(table["compiled"]),
        str(table["layout"]),
        str(table["platform"]),
        (int(major), int(minor)),
    )
    constants = tuple(float(table["constants"][name]) for name in form_of(setup).names)
    return Calibration(
        str(table["gpu"]),
        setup,
        constants,
        int(table["rows"]),
        float(table["error"]),
        float(table["held_out"]) if "held_out" in table else None,
        float(table["band"]),
        str(table["source"]),
        int(table.get("least_batch", SMALLEST_BATCH)),
    )
