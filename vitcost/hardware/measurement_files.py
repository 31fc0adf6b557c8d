"""Answers from files of measurements: the user's own constants, and the errors of predictions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vitcost.config.fields import as_python, several
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.hardware import calibrate as fits
from vitcost.hardware.calibrate import load_calibrations, to_toml
from vitcost.hardware.cards import CARDS, CPUS, Card
from vitcost.hardware.constants import Calibration, form_of
from vitcost.hardware.measured_rows import Row, read
from vitcost.hardware.measurements import Uncovered, covered
from vitcost.hardware.score import Score, score, score_held_out
from vitcost.hardware.specs import own_cards
from vitcost.outside.arguments import flag, listed, path, some, takes
from vitcost.render.result import Result

__all__ = ["Calibrated", "calibrate", "calibration_row", "check_throughput"]


@dataclass(frozen=True, slots=True)
class Calibrated(Result):
    """Constants from the user's measurements, with their errors."""

    calibrations: tuple[Calibration, ...]
    cards: tuple[Card, ...]  # the user's own cards, which are not in the catalogue
    not_covered: tuple[Uncovered, ...]

    def to_toml(self) -> str:
        """The file that ``calibration=`` and ``--calibration`` read."""
        return to_toml(self.calibrations, self.cards)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.calibration/1``."""
        missed = [{"model": each.row.model, "reason": each.reason} for each in self.not_covered]
        rows = list(self.rows())
        return {"schema": "vitcost.calibration/1", "rows": rows, "not_covered": missed}

    def rows(self) -> Iterator[dict[str, Any]]:
        """A flat row for each card, software and mode: ``pandas.DataFrame(found.rows())``."""
        for row in self.calibrations:
            yield {"gpu": row.gpu, **calibration_row(row)}


@takes(files=some, gpu_file=listed)
def calibrate(
    files: "str | Iterable[str]", *, gpu_file: "str | Iterable[str]" = (), **given: Any
) -> Calibrated:
    r"""Constants from files of measurements: timm's benchmark format, or a simple CSV.

    Every second width is held out in turn, which gives the error and the band. ``given`` has the
    facts that are neither in the columns nor in the file's name: ``gpu``, ``mode``, ``precision``,
    ``layout``, ``compile``, ``software``, ``optimizer``. Raises ``ConfigError`` for a file that
    cannot be read and for too few measurements, ``UnknownName`` for a column or a value that is not
    known, ``NotCovered`` if no row is covered.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> text = (
    ...     "model,infer_samples_per_sec,infer_batch_size\n"
    ...     "vit_tiny_patch16_224,17666.09,1024\n"
    ...     "vit_base_patch32_224,10112.91,1024\n"
    ...     "vit_base_patch16_224,2787.15,1024\n"
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv")
    ...     _ = file.write_text(text)
    ...     (row,) = calibrate(file).calibrations
    >>> row.gpu, row.setup.torch, row.rows
    ('rtx4090', (2, 4), 3)
    """
    users_cards = own_cards(gpu_file)
    rows = _read(files, given)
    measured, others = covered(rows, users_cards)
    if not measured:
        raise NotCovered(f"no row can be fitted: {others[0].row.model}: {others[0].reason}")
    calibrations = fits.calibrate(measured, ", ".join(dict.fromkeys(row.file for row in rows)))
    cards = {m.card.name: m.card for m in measured}
    foreign = tuple(c for n, c in cards.items() if {**CARDS, **CPUS}.get(n) != c)
    return Calibrated(tuple(calibrations), foreign, tuple(others))


@takes(files=some, held_out=flag, gpu_file=listed, calibration=listed)
def check_throughput(
    files: "str | Iterable[str]",
    *,
    held_out: bool = False,
    gpu_file: "str | Iterable[str]" = (),
    calibration: "str | Iterable[str]" = (),
    **given: Any,
) -> Score:
    r"""The errors of predictions on files of measurements, in the columns that ``calibrate`` reads.

    ``held_out`` judges the form of the prediction: constants fitted to the file's other widths
    replace the shipped ones. Raises ``NotCovered`` if no row is covered, else ``ConfigError`` and
    ``UnknownName`` as ``calibrate`` does.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> text = (
    ...     "model,infer_samples_per_sec,infer_batch_size\n"
    ...     "vit_base_patch16_224,2787.15,1024\n"
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv")
    ...     _ = file.write_text(text)
    ...     (scored,) = check_throughput(file).files
    >>> scored.covered, scored.mape < 0.05
    (1, True)
    """
    users_cards = own_cards(gpu_file)
    rows = _read(files, given)
    if held_out:
        scored = score_held_out(rows, users_cards=users_cards)
    else:
        paths = several("calibration", calibration, str)
        mine = [row for path in paths for row in load_calibrations(path)]
        scored = score(rows, users_cards=users_cards, calibrations=mine)
    if not any(file.covered for file in scored.files):
        missed = next((row for file in scored.files for row in file.not_covered), None)
        one = "constants are fitted to other widths of a card, and there are none"
        why = one if missed is None else f"{missed.model}: {missed.reason}"
        raise NotCovered(f"no row is covered: {why}")
    return scored


def calibration_row(row: Calibration) -> dict[str, Any]:
    """The setup, constants and errors of a calibration, as JSON has them.

    >>> from vitcost.hardware.calibrations import CALIBRATIONS
    >>> row = calibration_row(CALIBRATIONS[0])
    >>> row["software"], row["gemm"], row["rows"]
    ('1.13', 0.925, 32)
    """
    setup = row.setup
    return {
        "mode": setup.mode,
        "precision": setup.precision,
        "layout": setup.layout,
        "compile": setup.compiled,
        "fused_attention": setup.attention == "fused",
        "software": setup.engine or ".".join(map(str, setup.torch)),
        "basis": row.basis,
        **dict(zip(form_of(setup).names, row.constants, strict=True)),
        "rows": row.rows,
        "error": row.error,
        "held_out": row.held_out,
        "band": row.band,
        "source": row.source,
    }


def _read(files: "str | Iterable[str]", columns: dict[str, Any]) -> list[Row]:
    flags = {key: _said(key, value) for key, value in columns.items()}
    flags = {key: value for key, value in flags.items() if value}
    if "software" in flags:
        flags["torch"] = flags.pop("software")
    return [row for each in files for row in read(path("a file", each), **flags)]


def _said(name: str, value: Any) -> str:
    """An argument about a file, spelled as a cell of the file would have it."""
    value = as_python(value)
    plain = isinstance(value, str | float | None) or (isinstance(value, int) and abs(value) < 2**63)
    if not plain:
        raise ConfigError(f"{name} must be text, got {shown(value)}")
    return "" if value is None else str(value)
