"""The page of constants fitted to a user's measurements."""

from vitcost.hardware.constants import Calibration, form_of
from vitcost.hardware.measurement_files import Calibrated
from vitcost.page import Column, Page, Row, Table

__all__ = ["calibration_page"]

_COLUMNS = (
    Column("gpu"),
    Column("mode"),
    Column("software"),
    Column("constants"),
    Column("basis", optional=True),
    Column("rows", "count"),
    Column("error", "ratio"),
    Column("held out", "ratio"),
    Column("band", "ratio"),
)
_NOTES = (
    "constants: the time of each kind of work over the time that the sheet promises.",
    "error: mean, on what was fitted. held out: mean, each half of the widths by constants of the "
    "other half; of printed timings each source by the others, or each half of one. band: "
    "half-width around a prediction.",
    "rows leave out steps that the host bounds, or of which launches are a fifth.",
)


def calibration_page(calibrated: Calibrated) -> Page:
    """One row for each card, software and mode."""
    table = Table("", _COLUMNS, tuple(map(_row, calibrated.calibrations)))
    alone = ("–: all rows have one width, so that none could be held out",)
    notes = _NOTES + (alone if any(c.held_out is None for c in calibrated.calibrations) else ())
    count = len(calibrated.not_covered)
    names = ", ".join(sorted({each.row.model for each in calibrated.not_covered}))
    missed = (f"{count:,} rows are not covered: {names}",) if count else ()
    return Page("Calibrated", tables=(table,), notes=(*notes, *missed))


def _row(c: Calibration) -> Row:
    setup = c.setup
    mode = f"{setup.mode}, {setup.precision}, {setup.layout}"
    torch = f"torch {setup.torch[0]}.{setup.torch[1]}" + ", compiled" * setup.compiled
    software = setup.engine or f"{torch}, {setup.attention} attention"
    names = form_of(setup).names
    values = ", ".join(f"{name} {value:g}" for name, value in zip(names, c.constants, strict=True))
    return Row((c.gpu, mode, software, values, c.basis, c.rows, c.error, c.held_out, c.band))
