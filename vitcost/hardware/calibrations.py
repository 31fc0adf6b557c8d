"""The constants of the cards, software and modes that timm's benchmark files measured.

Fitted to the plain models of huggingface/pytorch-image-models@aa4b5850 ``results/`` (Apache-2.0) by
``vitcost.hardware.calibrate``, whose ``table`` writes the rows. Behind the constants stand how many
rows were fitted, the mean relative error on them and on widths that were held out, and the
half-width of the band.
"""

from typing import TypeAlias

from vitcost.hardware.constants import Calibration
from vitcost.hardware.work import Setup

__all__ = ["CALIBRATIONS"]

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
        (0.9256, 1.4443, 1.14, 0.1207, 0.0056), (32, 0.0064, 0.0064, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 1)),
        (0.9128, 1.3191, 0.9364, 0.4792, 0.0057), (48, 0.0162, 0.0208, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.8697, 1.0046, 1.0283, 7.6658, 0.0), (68, 0.0229, 0.0344, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (1, 13)),
        (0.9236, 1.4315, 1.1323, 0.3968, 0.0), (32, 0.0043, 0.0133, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 1)),
        (0.905, 1.3605, 0.9284, 0.0, 0.0), (49, 0.0149, 0.0322, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (0.8671, 0.999, 1.0251, 6.9953, 0.0), (68, 0.024, 0.0391, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.9875, 1.0028, 0.8859, 1.6449, 0.0), (68, 0.0148, 0.0193, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (1.0019, 1.0518, 0.829, 0.0, 0.0), (68, 0.0146, 0.0214, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 4)),
        (0.9634, 0.962, 0.7133, 1.8577, 0.0), (68, 0.0166, 0.0321, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9301, 0.9746, 0.8035, 0.4746, 0.0), (102, 0.0194, 0.0275, 0.1),
    ),
    (
        "rtx5090", ("amp", False, False, "nchw", "cuda", (2, 9)),
        (1.0378, 1.6378, 0.8743, 0.0, 0.3435), (102, 0.0411, 0.0476, 0.1),
    ),
    (
        "rtx5090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9635, 1.1415, 0.8799, 1.8242, 0.0174), (102, 0.0226, 0.0274, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nchw", "cuda", (1, 12)),
        (0.7932, 1.3922, 1.5136, 0.0, 0.0163), (25, 0.02, 0.037, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nhwc", "cuda", (1, 12)),
        (0.7808, 1.2715, 1.5297, 0.0, 0.0), (24, 0.0078, 0.0297, 0.1),
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
