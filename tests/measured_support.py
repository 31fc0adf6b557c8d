"""The measurements of tests/data, read once for all tests that look at them."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from vitcost.hardware.constants import Calibration
from vitcost.hardware.measured_rows import Row, read
from vitcost.hardware.measurements import Measurement, covered

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


def fitted_table(calibrations: Iterable[Calibration]) -> str:
    """The rows of ``calibrations.py``, for when the list of kernels or the data has changed."""

    def order(row: Calibration) -> tuple[Any, ...]:
        setup = row.setup
        cpu = setup.platform == "cpu"
        return cpu, setup.training, row.gpu, setup.compiled, setup.layout, setup.torch

    lines: list[str] = []
    for row in sorted(calibrations, key=order):
        precision, training, compiled, layout, platform, torch, *_ = row.setup
        run = f'"{precision}", {training}, {compiled}, "{layout}", "{platform}", {torch}'
        errors = f"{row.rows}, {row.error}, {row.held_out}, {row.band}"
        lines += [
            "    (",
            f'        "{row.gpu}", ({run}),',
            f"        {row.constants}, ({errors}), {row.host_seconds},",
        ]
        lines.append("    ),")
    return "\n".join(lines) + "\n"


def printed_table(calibrations: Iterable[Calibration]) -> str:
    """The rows of ``printed.py``, for when the list of kernels or the data has changed."""
    lines: list[str] = []
    for c in sorted(calibrations, key=lambda c: (c.gpu, c.setup)):
        lines += [
            "    (",
            f'        "{c.gpu}",',
            f"        {tuple(c.setup)},",
            f"        {c.constants}, ({c.rows}, {c.error}, {c.held_out}, {c.band}),",
            f'        "{c.source}", {c.least_batch}, "{c.basis}", {c.factor}, {c.since},',
            "    ),",
        ]
    return "\n".join(lines).replace("'", '"') + "\n"
