"""The constants of the cards, software and modes that timm's benchmark files measured.

Fitted to the plain models of huggingface/pytorch-image-models@aa4b5850 ``results/`` (Apache-2.0) by
``vitcost.hardware.calibrate``; ``fitted_table`` of ``tests/measured_support.py`` writes the rows.
After the constants a row has the number of fitted measurements, the mean relative error on these
and on held-out widths, and the half-width of the band.
"""

from typing import TypeAlias

from vitcost.hardware.cards import CARDS, CPUS, Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.printed import PRINTED
from vitcost.hardware.work_classes import Setup

__all__ = ["CALIBRATIONS", "KNOWN", "shipped"]

_SOURCE = "timm benchmark files @aa4b5850"

# fmt: off
# gpu, (precision, training, compiled, layout, platform, torch),
# (gemm, attention, memory, conv, strided) or on a CPU (gemm, memory, layer),
# (rows, error, held out, band), the most seconds that the host takes for a launch, if that is less
# than usual
_Row: TypeAlias = (
    "tuple[str, tuple[str, bool, bool, str, str, tuple[int, int]], tuple[float, ...], "
    "tuple[int, float, float, float], float | None]"
)
_ROWS: tuple[_Row, ...] = (
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (1, 13)),
        (0.925, 1.3455, 1.1501, 0.0086, 0.0056), (32, 0.0057, 0.0079, 0.1), None,
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 1)),
        (0.9131, 1.3128, 0.9381, 0.4543, 0.005), (48, 0.0158, 0.021, 0.1), None,
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.8695, 1.007, 1.0274, 7.6612, 0.0), (68, 0.0226, 0.0342, 0.1), None,
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (1, 13)),
        (0.923, 1.3456, 1.141, 0.3046, 0.0), (32, 0.0043, 0.0058, 0.1), None,
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 1)),
        (0.9053, 1.3547, 0.9293, 0.0, 0.0), (49, 0.0149, 0.0324, 0.1), None,
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (0.867, 1.0012, 1.0243, 6.9978, 0.0), (68, 0.024, 0.0391, 0.1), None,
    ),
    (
        "rtx4090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.9867, 1.0052, 0.8865, 1.646, 0.0), (68, 0.0144, 0.0189, 0.1), None,
    ),
    (
        "rtx4090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (1.0017, 1.0534, 0.829, 0.0, 0.0), (68, 0.0177, 0.0272, 0.1), 2.02e-05,
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 4)),
        (0.9645, 0.9687, 0.7099, 1.8486, 0.0), (67, 0.0103, 0.0186, 0.1), 2.74e-05,
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9332, 0.9831, 0.7938, 0.4944, 0.0), (100, 0.0151, 0.0194, 0.1), None,
    ),
    (
        "rtx5090", ("amp", False, False, "nchw", "cuda", (2, 9)),
        (1.0421, 1.6, 0.8719, 0.0, 0.3458), (101, 0.0398, 0.0462, 0.1), None,
    ),
    (
        "rtx5090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9739, 1.162, 0.8477, 1.7967, 0.0305), (99, 0.0202, 0.0216, 0.1), None,
    ),
    (
        "rtx3090", ("amp", True, False, "nchw", "cuda", (1, 12)),
        (0.7836, 1.3691, 1.4802, 0.0, 0.0163), (25, 0.0205, 0.0243, 0.1), None,
    ),
    (
        "rtx3090", ("amp", True, False, "nhwc", "cuda", (1, 12)),
        (0.7708, 1.366, 1.4816, 0.3882, 0.0), (24, 0.0086, 0.0196, 0.1), None,
    ),
    (
        "cpu-i7_12700h", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (2.9269, 1.7864, 0.2397), (68, 0.0645, 0.0935, 0.16), None,
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 2)),
        (0.5622, 1.7442, 0.5757), (50, 0.0611, 0.0864, 0.13), None,
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (0.5854, 1.6342, 0.2661), (68, 0.0726, 0.09, 0.14), None,
    ),
)
# fmt: on


def _timed(setup: Setup) -> Setup:
    """A step as timm times it: with fused attention, which torch has since 2.0."""
    return setup._replace(attention="fused" if setup.torch >= (2, 0) else "eager")


CALIBRATIONS = tuple(
    Calibration(gpu, _timed(Setup(*setup)), constants, *errors, _SOURCE, host_seconds=host)
    for gpu, setup, constants, errors, host in _ROWS
)


KNOWN = (*CALIBRATIONS, *PRINTED)


def shipped(row: Card) -> list[Calibration]:
    """The shipped constants that may be used for a card. A user's card that is made from a card of
    the table, under its own name, has that card's constants, as long as no figure was changed that
    the time depends on.

    >>> from vitcost.hardware.specs import own_card
    >>> same = own_card("mine", {"like": "rtx4090"})
    >>> faster = own_card("mine", {"like": "rtx4090", "bf16_tflops": 330})
    >>> [any(c.gpu == "mine" for c in shipped(row)) for row in (same, faster)]
    [True, False]
    """
    sheet = {**CARDS, **CPUS}.get(row.kin)
    if sheet is not None and _speed(sheet) == _speed(row):
        return [c._replace(gpu=row.name) if c.gpu == row.kin else c for c in KNOWN]
    # constants are relative to the sheet, so a changed figure of the sheet makes them invalid
    return [c for c in KNOWN if c.gpu != row.name]


def _speed(row: Card) -> tuple[object, ...]:
    return row.peaks, row.bandwidth_gbps, row.power_w, row.architecture
