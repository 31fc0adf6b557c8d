"""From measurements to constants, with an error from measurements that were not fitted.

Measurements are split by the width of the model: constants are fitted on every second width and
judged on the others, then the other way round. Nine in ten of these errors lie within the band of a
prediction.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from vitcost.errors import ConfigError, shown
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import (
    HOST_SECONDS,
    MOST_LAUNCHING,
    SMALLEST_BATCH,
    Calibration,
    form_of,
    host_of,
    host_seconds,
)
from vitcost.hardware.least_squares import fit, halves_of
from vitcost.hardware.measurements import Measurement, by_card
from vitcost.hardware.scale import scaled
from vitcost.hardware.work_classes import Setup
from vitcost.outside.reading import CALIBRATION, read_toml

__all__ = [
    "calibrate",
    "fitted",
    "held_out",
    "host_of_rows",
    "load_calibrations",
    "percentile",
    "predicted",
    "to_toml",
]

# a band is at least NARROWEST wide, and WIDEST if too little was measured to tell; errors on a few
# held-out widths are larger than those of a fit on all widths, and on cards 15 % cover them
NARROWEST = 0.10
WIDEST = {"cuda": 0.15, "cpu": 0.40}
# a fit needs at least one measurement for each kind of work
_FEWEST = 3


def fitted(measurements: Sequence[Measurement]) -> tuple[float, ...]:
    """The constants that fit the measurements of one card and setup best: the least squares of
    ``fit`` over the ``terms`` of each step.

    Measurements that the host bounds are left out if enough others remain. Raises ``ConfigError``
    for several cards, versions of software or modes.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> row = Row("timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15, setup_of(how), how)
    >>> timed = measurement(row)
    >>> abs(predicted(timed, fitted([timed])) / timed.seconds - 1) < 0.01
    True
    """
    setups = {(m.card.name, m.row.setup) for m in measurements}
    if len(setups) != 1:
        raise ConfigError(f"one card, software and mode at a time, got {len(setups)}")
    shares = [m.shares() for m in _running(measurements)]
    form = form_of(measurements[0].row.setup)
    return fit([parts for parts, _ in shares], [left for _, left in shares], form)


def predicted(
    measurement: Measurement, constants: Sequence[float], host: float | None = None
) -> float:
    """Seconds of a measured step: ``max(Σ constant · term + fixed, host · launches)``, with
    ``constants`` in the order of ``terms`` and ``host`` seconds a launch.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> row = Row("timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15, setup_of(how), how)
    >>> timed = measurement(row)
    >>> predicted(timed, (1.0, 1.2, 1.0, 0.0, 0.0), host=0.01) == 0.01 * timed.work.launches
    True
    """
    parts, left = measurement.shares()
    share = sum(c * part for c, part in zip(constants, parts, strict=True)) + 1 - left
    waiting = host_seconds(measurement.work, measurement.row.setup, host)
    return max(share * measurement.seconds, waiting)


def host_of_rows(measurements: Sequence[Measurement]) -> float | None:
    """The most seconds that the host of a file takes for a launch, if that is less than hosts
    usually take: the host is no slower than any step that it launched.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1, precision="amp-fp16")
    >>> row = Row("mine", "vit_base_patch16_224", "rtx4090", 224, 1, 500.0, setup_of(how), how)
    >>> timed = measurement(row)
    >>> host_of_rows([timed]) == round(1 / 500 / timed.work.launches, 7)
    True
    """
    setup = measurements[0].row.setup
    if setup.platform == "cpu":
        return None
    least = min(m.launch_seconds for m in measurements)
    return round(least, 7) if least < HOST_SECONDS[host_of(setup)] else None


def held_out(measurements: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Predicted seconds, each by a fit on widths other than the model's own. Widths are sorted, and
    split into those at even and at odd places; a fit on one half predicts the other. Empty if all
    models have one width.

    Raises ``ConfigError`` as ``fitted`` does.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> rates = {"vit_tiny_patch16_224": 17666.09, "vit_base_patch16_224": 2787.15}
    >>> rows = [Row("f", m, "rtx4090", 224, 1024, r, setup_of(how), how) for m, r in rates.items()]
    >>> even, odd = held_out([measurement(row) for row in rows])
    >>> abs(even[0] * 17666.09 / 1024 - 1) < 0.10, abs(odd[0] * 2787.15 / 1024 - 1) < 0.10
    (True, True)
    """
    first, second = halves_of(measurements)
    if not second:
        return [], []
    return _held_out(first, second), _held_out(second, first)


def _held_out(half: Sequence[Measurement], others: Sequence[Measurement]) -> list[float]:
    constants, host = fitted(others), host_of_rows(others)
    return [predicted(m, constants, host) for m in half]


def errors(measurements: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """The relative errors of ``held_out``, by half."""
    first, second = (
        [abs(seconds / m.seconds - 1) for m, seconds in zip(half, predictions, strict=False)]
        for half, predictions in zip(halves_of(measurements), held_out(measurements), strict=True)
    )
    return first, second


def calibrate(measurements: Iterable[Measurement], source: str = "") -> list[Calibration]:
    """The constants of every card and setup among the measurements; ``source`` is their author.

    Plain models are fitted; if a file has none, all models are. Steps that the host bounds are left
    out. Published timings give one factor for each card and software. Raises ``ConfigError`` for
    fewer measurements of a card than a fit needs.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> rates = {"vit_tiny_patch16_224": 17666.09, "vit_base_patch32_224": 10112.91,
    ...          "vit_base_patch16_224": 2787.15}
    >>> rows = [Row("f", m, "rtx4090", 224, 1024, r, setup_of(how), how) for m, r in rates.items()]
    >>> (row,) = calibrate(measurement(row) for row in rows)
    >>> row.gpu, row.rows, row.error < 0.05
    ('rtx4090', 3, True)
    """
    every = list(measurements)
    printed = [m for m in every if m.row.source]
    if printed:
        return scaled(printed)
    groups: dict[tuple[str, Setup], list[Measurement]] = {}
    for m in every:
        groups.setdefault((m.card.name, m.row.setup), []).append(m)
    return [
        _calibration(gpu, setup, [m for m in group if m.kind == "plain"] or group, source)
        for (gpu, setup), group in groups.items()
    ]


def _calibration(gpu: str, setup: Setup, every: Sequence[Measurement], source: str) -> Calibration:
    cpu = setup.platform == "cpu"
    host, measurements = host_of_rows(every), _running(every)
    if len(measurements) < _FEWEST:
        raise ConfigError(
            f"{len(measurements)} measurements of {gpu} are too few to fit constants, which takes "
            f"{_FEWEST}; use one as an anchor: MODEL=IMAGES_PER_SECOND"
        )
    constants = fitted(measurements)
    fit_errors = [abs(predicted(m, constants) / m.seconds - 1) for m in measurements]
    halves = [half for half in errors(measurements) if half]
    held = round(mean([mean(half) for half in halves]), 4) if halves else None
    others = [error for half in halves for error in half]
    widest = WIDEST[setup.platform]
    # fewer than ten errors give no percentile: the band covers the largest error, and is at least
    # as wide as usual
    band = percentile(others, 0.9) if len(others) >= 10 else max([widest, *others])
    if not all(m.row.scenario.software for m in measurements):
        source += f"; torch not stated, taken as {'.'.join(map(str, setup.torch))}"
    return Calibration(
        gpu,
        setup,
        tuple(round(value, 4) for value in constants),
        len(measurements),
        round(mean(fit_errors), 4),
        held,
        # the page prints the held-out error next to the band, so the band is at least as wide
        max(round(band, 2), NARROWEST, ceil(100 * (held or 0.0)) / 100),
        source,
        SMALLEST_BATCH if cpu else min(SMALLEST_BATCH, *(m.row.batch for m in measurements)),
        host_seconds=host,
    )


def _running(measurements: Sequence[Measurement]) -> Sequence[Measurement]:
    """The measurements that the card bounds, not the host; all of them if too few would be left."""
    if measurements[0].row.setup.platform == "cpu":
        return measurements
    # the constant term is the time of launches on the card: a step in which it is large says little
    # about the other constants
    card_bound = [m for m in by_card(measurements) if 1 - m.shares()[1] <= MOST_LAUNCHING]
    return measurements if len(card_bound) < _FEWEST else card_bound


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value such that a ``share`` of n values are no larger: in sorted order the value at place
    ``share · (n - 1)``, interpolated between two neighbours.

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


def to_toml(calibrations: Iterable[Calibration], cards: Iterable[Card] = ()) -> str:
    """The constants as a TOML file that later predictions read, together with the user's own cards.

    >>> from vitcost.hardware.calibrations import CALIBRATIONS
    >>> to_toml(CALIBRATIONS[:1]).splitlines()[:3]
    ['[[calibration]]', 'gpu = "rtx3090"', 'mode = "infer"']
    """
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
            *_spelled(row.setup, ("precision", "layout", "compiled", "platform")),
            f'torch = "{row.setup.torch[0]}.{row.setup.torch[1]}"',
            f'attention = "{row.setup.attention}"',
            *([f'engine = "{row.setup.engine}"'] if row.setup.engine else []),
            f"constants = {{ {values} }}",
            *_spelled(row, ("rows", "error", "held_out", "band", "source", "least_batch", "basis")),
            *_spelled(row, ("factor", "host_seconds")),
            *([] if row.since is None else [f'since = "{row.since[0]}.{row.since[1]}"']),
            "",
        ]
    return "\n".join(lines)


def _spelled(record: Calibration | Setup, names: Iterable[str]) -> Iterator[str]:
    """The lines of some figures of a record, without figures that are None."""
    for name in names:
        value = getattr(record, name)
        if value is not None:
            yield f"{name} = {json.dumps(value)}"


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
    """The constants of a file that ``to_toml`` wrote.

    Raises ``ConfigError`` for a file that cannot be read, or that has no constants.

    >>> from tempfile import TemporaryDirectory
    >>> from vitcost.hardware.calibrations import CALIBRATIONS
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "mine.toml")
    ...     _ = file.write_text(to_toml(CALIBRATIONS[:1]))
    ...     load_calibrations(file)[0].constants == CALIBRATIONS[0].constants
    True
    """
    tables = read_toml(path, CALIBRATION).get("calibration", [])
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"{path} has no [[calibration]]")
    try:
        return [_loaded(table) for table in tables]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{path}: a [[calibration]] that cannot be read: {reason}") from None


def _loaded(table: Mapping[str, Any]) -> Calibration:
    torch = _version(table["torch"])
    attention = "eager" if torch < (2, 0) else "fused"
    setup = Setup(
        _text(table, "precision"),
        table["mode"] == "train",
        bool(table["compiled"]),
        _text(table, "layout"),
        _text(table, "platform"),
        torch,
        _text({"attention": attention, **table}, "attention"),
        _text({"engine": "", **table}, "engine"),
    )
    constants = tuple(_number(table["constants"], name) for name in form_of(setup).names)
    if not any(constants):
        raise ValueError("constants are all 0")
    basis = _text({"basis": _FITTED[0], **table}, "basis")
    if basis not in _FITTED:
        raise ValueError(f"basis {basis} is none of {', '.join(_FITTED)}")
    return Calibration(
        _text(table, "gpu"),
        setup,
        constants,
        int(_number(table, "rows")),
        _number(table, "error"),
        _number(table, "held_out") if "held_out" in table else None,
        _number(table, "band", below=1),
        _text(table, "source"),
        int(_number({"least_batch": SMALLEST_BATCH, **table}, "least_batch")),
        basis,
        _number(table, "factor") if "factor" in table else None,
        _number(table, "host_seconds") if "host_seconds" in table else None,
        _version(table["since"]) if "since" in table else None,
    )


# the bases of constants that were fitted to measurements
_FITTED = ("calibrated", "anchored")
# the largest number that a file may contain: milliseconds, shares, counts of measurements
_MOST = 1e15


def _text(table: Mapping[str, Any], key: str) -> str:
    if not isinstance(table[key], str):
        raise TypeError(f"{key} must be text, got {shown(table[key])}")
    return str(table[key])


def _number(table: Mapping[str, Any], key: str, below: float = _MOST) -> float:
    value = table[key]
    if type(value) not in (int, float) or not 0 <= value < below:
        raise TypeError(f"{key} must be a number from 0 to below {below:g}, got {shown(value)}")
    return float(value)


def _version(text: object) -> tuple[int, int]:
    major, minor = str(text).split(".")
    return int(major), int(minor)
