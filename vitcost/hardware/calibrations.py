"""The constants of the cards, software and modes that timm's benchmark files measured.

Fitted to the plain models of huggingface/pytorch-image-models@aa4b5850 ``results/`` (Apache-2.0) by
``vitcost.hardware.calibrate``, whose ``table`` writes the rows. Behind the constants stand how many
rows were fitted, the mean relative error on them and on widths that were held out, and the
half-width of the band.
"""

from typing import TypeAlias

from vitcost.hardware.cards import CARDS, CPUS, Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.work import Setup

__all__ = ["CALIBRATIONS", "shipped"]

_SOURCE = "timm benchmark files @aa4b5850"

# fmt: off
# gpu, (precision, training, compiled, layout, platform, torch),
# (gemm, attention, memory, conv, strided) or on a CPU (gemm, memory, layer),
# (rows, error, held out, band)
_Row: TypeAlias = (
    "tuple[str, tuple[str, bool, bool, str, str, tuple[int, int]], tuple[float, ...], "
    "tuple[int, float, float, float]]"
)
_ROWS: tuple[_Row, ...] = (
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (1, 13)),
        (0.9251, 1.3497, 1.1495, 0.0137, 0.0056), (32, 0.0062, 0.0079, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 1)),
        (0.9132, 1.3136, 0.9374, 0.4615, 0.0053), (48, 0.0162, 0.0215, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.8699, 1.0074, 1.0261, 7.6799, 0.0), (68, 0.0229, 0.0345, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (1, 13)),
        (0.923, 1.3456, 1.141, 0.3046, 0.0), (32, 0.0043, 0.0058, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 1)),
        (0.9053, 1.3547, 0.9293, 0.0, 0.0), (49, 0.0149, 0.0324, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (0.867, 1.0012, 1.0243, 6.9978, 0.0), (68, 0.024, 0.0391, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.987, 1.0055, 0.8861, 1.6495, 0.0), (68, 0.0148, 0.0191, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (1.0017, 1.0534, 0.829, 0.0, 0.0), (68, 0.0146, 0.0208, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 4)),
        (0.9627, 0.9684, 0.7133, 1.8637, 0.0), (68, 0.0167, 0.032, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.93, 0.9761, 0.8035, 0.4723, 0.0), (102, 0.0194, 0.027, 0.1),
    ),
    (
        "rtx5090", ("amp", False, False, "nchw", "cuda", (2, 9)),
        (1.0386, 1.5851, 0.8799, 0.0, 0.3381), (102, 0.0411, 0.0476, 0.1),
    ),
    (
        "rtx5090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9631, 1.1446, 0.8799, 1.8264, 0.0176), (102, 0.0226, 0.0267, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nchw", "cuda", (1, 12)),
        (0.7927, 1.3329, 1.5185, 0.0, 0.0163), (25, 0.02, 0.0225, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nhwc", "cuda", (1, 12)),
        (0.7822, 1.2703, 1.5279, 0.0, 0.0), (24, 0.0078, 0.0188, 0.1),
    ),
    (
        "cpu-i7_12700h", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (2.9543, 1.887, 0.2353), (68, 0.0577, 0.0897, 0.16),
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 2)),
        (0.6052, 1.7969, 0.5374), (50, 0.0865, 0.1053, 0.27),
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (0.6165, 1.6117, 0.2563), (68, 0.0912, 0.1071, 0.27),
    ),
)
# fmt: on

CALIBRATIONS = tuple(
    Calibration(gpu, Setup(*setup), constants, *errors, _SOURCE)
    for gpu, setup, constants, errors in _ROWS
)


def shipped(row: Card) -> list[Calibration]:
    """The constants that may speak for a card. Those of a card of the table hold for one made from
    it under its own name, as long as nothing is changed that time depends on."""
    sheet = {**CARDS, **CPUS}.get(row.kin)
    if sheet is not None and _speed(sheet) == _speed(row):
        return [c._replace(gpu=row.name) if c.gpu == row.kin else c for c in CALIBRATIONS]
    # of a changed sheet they say nothing
    return [c for c in CALIBRATIONS if c.gpu != row.name]


def _speed(row: Card) -> tuple[object, ...]:
    return row.peaks, row.bandwidth_gbps, row.power_w, row.architecture
