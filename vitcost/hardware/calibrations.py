"""The constants of the cards, software and modes that timm's benchmark files measured.

Fitted to the plain models of huggingface/pytorch-image-models@aa4b5850 ``results/`` (Apache-2.0) by
``vitcost.hardware.calibrate``. Behind the constants stand how many rows were fitted, the mean
relative error on them and on widths that were held out, and the half-width of the band.
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
        (0.9154, 2.8508, 1.1188, 0.2213, 0.0517), (32, 0.0059, 0.0132, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 1)),
        (0.9129, 1.3208, 0.935, 0.4952, 0.0063), (48, 0.017, 0.0219, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.8704, 1.0054, 1.0256, 7.7071, 0.0), (68, 0.0235, 0.0349, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (1, 13)),
        (0.9142, 2.8874, 1.1035, 0.5819, 0.0), (32, 0.0042, 0.0134, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 1)),
        (0.9052, 1.3616, 0.9274, 0.0, 0.0), (49, 0.0157, 0.0345, 0.1),
    ),
    (
        "rtx3090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (0.8678, 0.9994, 1.0225, 7.0552, 0.0), (68, 0.0245, 0.0395, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nchw", "cuda", (2, 4)),
        (0.9883, 1.0033, 0.8848, 1.6541, 0.0), (68, 0.0157, 0.0199, 0.1),
    ),
    (
        "rtx4090", ("amp", False, False, "nhwc", "cuda", (2, 4)),
        (1.0022, 1.0521, 0.8285, 0.0, 0.0), (68, 0.0154, 0.0218, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 4)),
        (0.9628, 0.9456, 0.6771, 1.8241, 0.0657), (68, 0.0165, 0.032, 0.1),
    ),
    (
        "rtx4090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9247, 0.9757, 0.7737, 0.2024, 0.0409), (102, 0.018, 0.0267, 0.1),
    ),
    (
        "rtx5090", ("amp", False, False, "nchw", "cuda", (2, 9)),
        (1.0334, 1.6975, 0.8758, 0.0, 0.3409), (102, 0.0443, 0.0474, 0.1),
    ),
    (
        "rtx5090", ("amp", False, True, "nchw", "cuda", (2, 9)),
        (0.9661, 1.1298, 0.8308, 1.7319, 0.0319), (102, 0.0239, 0.0279, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nchw", "cuda", (1, 12)),
        (0.768, 3.4222, 1.3078, 0.9781, 0.0163), (25, 0.0207, 0.0411, 0.1),
    ),
    (
        "rtx3090", ("amp", True, False, "nhwc", "cuda", (1, 12)),
        (0.7632, 3.2682, 1.3256, 0.5981, 0.0), (24, 0.0082, 0.0171, 0.1),
    ),
    (
        "cpu-i7_12700h", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (2.954, 1.887, 0.2353), (68, 0.0576, 0.0896, 0.15),
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 2)),
        (0.6049, 1.7968, 0.5373), (50, 0.0866, 0.1051, 0.15),
    ),
    (
        "cpu-i9_10940x", ("fp32", False, True, "nchw", "cpu", (2, 4)),
        (0.6165, 1.6095, 0.2564), (68, 0.0912, 0.1071, 0.15),
    ),
)
# fmt: on

CALIBRATIONS = tuple(
    Calibration(gpu, Setup(*setup), constants, *errors, _SOURCE)
    for gpu, setup, constants, errors in _ROWS
)
