"""The measurements of tests/data, read once for all tests that look at them."""

from functools import cache
from pathlib import Path

from vitcost.hardware.measurements import Measurement, Row, covered, read

DATA = Path(__file__).parent / "data"


@cache
def measured_rows() -> list[Row]:
    """The rows of timm's published benchmark files that have a timing."""
    return read(DATA / "throughput.csv")


@cache
def measurements() -> list[Measurement]:
    """The same with their work."""
    return covered(measured_rows())[0]


def of(measured: list[Measurement], file: str) -> list[Measurement]:
    """Those of one file of autocast inference on a card."""
    return [m for m in measured if m.row.file == f"benchmark-infer-amp-{file}.csv"]


def write(path: Path, text: str) -> Path:
    """A file of this text."""
    path.write_text(text)
    return path
