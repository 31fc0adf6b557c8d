"""How good the predictions are: compared with measurements, file by file, and with a time
proportional to FLOPs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vitcost.errors import VitcostError
from vitcost.hardware.calibrate import fitted, held_out, host_of_rows, mean, percentile, predicted
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.least_squares import halves_of
from vitcost.hardware.measured_rows import Row
from vitcost.hardware.measurements import Measurement, Uncovered, covered
from vitcost.hardware.roofline import predict
from vitcost.render.result import Result

__all__ = ["FileScore", "Guess", "Missed", "Score", "score", "score_held_out"]

# FLOPs, or speeds, that differ by a smaller factor count as equal
_EQUAL = 1.05


class Guess(NamedTuple):
    """A measured row, its prediction and its band."""

    measurement: Measurement
    seconds: float
    band: tuple[float, float] | None = None  # lower and upper end in seconds
    basis: str = "held out"

    @property
    def ratio(self) -> float:
        """Predicted time divided by measured time."""
        return self.seconds / self.measurement.seconds

    @property
    def error(self) -> float:
        """``|predicted / measured - 1|``."""
        return abs(self.ratio - 1)

    @property
    def reason(self) -> str:
        """A likely reason why this row is hard to predict."""
        m = self.measurement
        columns, left = m.shares()
        if self.basis in ("of_its_kind", "spec_sheet"):
            return "nothing was measured on this card in such a mode"
        if m.row.setup.platform == "cpu" and m.kind == "plain":
            return "a processor, timed one image at a time"
        if 1 - left > 0.10:
            return "small: launches, which were measured roughly"
        if m.kind != "plain":
            return "a family that was not fitted"
        if m.work.strided_bytes:
            return "channel-major tokens, whose copies vary by card"
        if len(columns) > 3 and columns[1] > 0.3:
            return "long sequences: the attention kernel"
        return "no part of it stands out"


class Missed(NamedTuple):
    """A model that cannot be predicted, the number of its rows, and the reason."""

    model: str
    rows: int
    reason: str


class FileScore(NamedTuple):
    """The errors of one file, relative to the measured times."""

    file: str
    rows: int
    covered: int
    mape: float
    median: float
    p90: float
    max: float
    flops_mape: float
    pairs: int
    pairs_right: int
    in_band: int | None
    bases: Mapping[str, int]
    not_covered: tuple[Missed, ...]
    by_kind: Mapping[str, float]
    worst: tuple[Guess, ...]

    def to_dict(self) -> dict[str, Any]:
        """A row of ``check --throughput --json``."""
        row = self._asdict()
        row["bases"], row["by_kind"] = dict(self.bases), dict(self.by_kind)
        row["not_covered"] = [missed._asdict() for missed in self.not_covered]
        row["worst"] = [
            {
                "model": guess.measurement.row.model,
                "img_size": guess.measurement.row.img_size,
                "batch": guess.measurement.row.batch,
                "measured_seconds": guess.measurement.seconds,
                "predicted_seconds": guess.seconds,
                "basis": guess.basis,
                "reason": guess.reason,
            }
            for guess in self.worst
        ]
        return row


@dataclass(frozen=True, slots=True)
class Score(Result):
    """The errors of all files."""

    files: tuple[FileScore, ...]

    @property
    def mean_mape(self) -> float:
        """The mean over the files that have a covered row."""
        return mean([file.mape for file in self.files if file.covered])

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``check --throughput --json``."""
        return {
            "schema": "vitcost.throughput/1",
            "files": [file.to_dict() for file in self.files],
            "mean_mape": self.mean_mape,
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each file: ``pandas.DataFrame(check_throughput(...).rows())``."""
        for file in self.files:
            row = file._asdict()
            for key in ("bases", "by_kind", "not_covered", "worst"):
                del row[key]
            yield row


def score(
    rows: Iterable[Row],
    *,
    users_cards: Mapping[str, Card] | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Score:
    """Every row compared with its prediction by ``predict``, file by file: ``mape`` is the mean of
    ``|predicted / measured - 1|``.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> row = Row("timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15, setup_of(how), how)
    >>> (file,) = score([row]).files
    >>> file.covered, file.mape < 0.05
    (1, True)
    """
    files: list[FileScore] = []
    for name, group in _by_file(rows).items():
        measured, others = covered(group, users_cards, traced=True)
        guesses: list[Guess] = []
        for m in measured:
            try:
                time = predict(m.config, m.row.scenario, m.card, calibrations=calibrations)
            except VitcostError as error:
                others.append(Uncovered(m.row, str(error)))
                continue
            band = time.low_seconds, time.high_seconds
            guesses.append(Guess(m, time.seconds, band, time.basis))
        files.append(_file(name, guesses, others))
    return Score(tuple(files))


def score_held_out(rows: Iterable[Row], *, users_cards: Mapping[str, Card] | None = None) -> Score:
    """Every row compared with a fit on the file's other widths; rows of other families with a fit
    on all plain models. The widths are split into two halves; an error is the mean over both.
    Raises ``ConfigError`` as ``fitted`` does.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> rates = {"vit_tiny_patch16_224": 17666.09, "vit_base_patch16_224": 2787.15}
    >>> rows = [Row("f", m, "rtx4090", 224, 1024, r, setup_of(how), how) for m, r in rates.items()]
    >>> (file,) = score_held_out(rows).files
    >>> file.covered, file.mape < 0.10
    (2, True)
    """
    files: list[FileScore] = []
    for name, group in _by_file(rows).items():
        measured, others = covered(group, users_cards)
        plain = [m for m in measured if m.kind == "plain"]
        halves = [
            [Guess(m, seconds) for m, seconds in zip(half, predictions, strict=False)]
            for half, predictions in zip(halves_of(plain), held_out(plain), strict=True)
        ]
        other_families: list[Guess] = []
        if plain:
            constants = fitted(plain)
            host = host_of_rows(plain)
            other_families = [
                Guess(m, predicted(m, constants, host)) for m in measured if m.kind != "plain"
            ]
        files.append(_file(name, [*halves[0], *halves[1]], others, halves, other_families))
    return Score(tuple(files))


def _by_file(rows: Iterable[Row]) -> dict[str, list[Row]]:
    files: dict[str, list[Row]] = {}
    for row in rows:
        files.setdefault(row.file, []).append(row)
    return files


def _file(
    name: str,
    guesses: Sequence[Guess],
    others: Sequence[Uncovered],
    halves: Sequence[Sequence[Guess]] = (),
    other_families: Sequence[Guess] = (),
) -> FileScore:
    errors = [guess.error for guess in guesses]
    parts = [[guess.error for guess in half] for half in halves if half] or [errors]
    pairs, right = _ordered(guesses)
    kinds: dict[str, list[float]] = {}
    for guess in (*guesses, *other_families):
        kinds.setdefault(guess.measurement.kind, []).append(guess.error)
    banded = [(guess.measurement.seconds, guess.band) for guess in guesses if guess.band]
    return FileScore(
        file=name,
        rows=len(guesses) + len(other_families) + len(others),
        covered=len(guesses) + len(other_families),
        mape=mean([mean(part) for part in parts]),
        median=mean([percentile(part, 0.5) for part in parts]),
        p90=mean([percentile(part, 0.9) for part in parts]),
        max=max(errors, default=0.0),
        flops_mape=_by_flops(guesses),
        pairs=pairs,
        pairs_right=right,
        in_band=sum(low <= took <= high for took, (low, high) in banded) if banded else None,
        bases=Counter(guess.basis for guess in guesses),
        not_covered=tuple(_missed(others)),
        by_kind={kind: mean(values) for kind, values in kinds.items()},
        worst=tuple(sorted(guesses, key=lambda guess: -guess.error)[:5]),
    )


def _missed(others: Iterable[Uncovered]) -> Iterator[Missed]:
    counts = Counter((each.row.model, each.reason) for each in others)
    for (model, reason), rows in sorted(counts.items()):
        yield Missed(model, rows, reason)


def _by_flops(guesses: Sequence[Guess]) -> float:
    """The errors of a time proportional to FLOPs, with the factor that fits the median model."""
    factors = [g.measurement.seconds / g.measurement.work.flops for g in guesses]
    middle = percentile(factors, 0.5)
    return mean([abs(middle / factor - 1) for factor in factors])


def _ordered(guesses: Sequence[Guess]) -> tuple[int, int]:
    """The number of pairs of models with equal FLOPs per image but different speed, and how many of
    them are ordered correctly."""
    points = [
        (
            g.measurement.work.flops / g.measurement.row.batch,
            g.measurement.seconds / g.measurement.row.batch,
            g.seconds / g.measurement.row.batch,
        )
        for g in guesses
    ]
    pairs = right = 0
    for i, (flops, measured, guessed) in enumerate(points):
        for other_flops, other_measured, other_guessed in points[:i]:
            equal = max(flops, other_flops) <= _EQUAL * min(flops, other_flops)
            apart = max(measured, other_measured) > _EQUAL * min(measured, other_measured)
            if equal and apart:
                pairs += 1
                right += (measured > other_measured) == (guessed > other_guessed)
    return pairs, right
