"""The constants of cards, precisions and software from published timings.

Each row is what ``vitcost calibrate tests/data/published_gpu.csv`` makes of the usable timings of a
card and software (``vitcost.hardware.scale``): the usual constants of the mode times one factor.
With one source the basis is ``anchored``; with several that agree when each is left out in turn, it
is ``calibrated``. The mi210 was measured on one die of an MI250 with its clock locked at 1700 MHz.
"""

from typing import TypeAlias

from vitcost.hardware.constants import Calibration
from vitcost.hardware.work_classes import Setup

__all__ = ["PRINTED"]

# gpu, setup, constants (gemm, attention, memory, conv, strided), (rows, error, held out, band),
# sources, smallest batch, basis, factor, the oldest torch of several
_Row: TypeAlias = (
    "tuple[str, tuple[str, bool, bool, str, str, tuple[int, int], str, str], tuple[float, ...], "
    "tuple[int, float, float | None, float], str, int, str, float, tuple[int, int] | None]"
)
# fmt: off
_ROWS: tuple[_Row, ...] = (
    (
        "a100-sxm-40gb",
        ("fp32", False, False, "nchw", "cuda", (2, 0), "eager", ""),
        (1.293, 1.5516, 1.293, 0.0, 0.0), (3, 0.0289, 0.0773, 0.15),
        "FasterTransformer; HF perf_torch_compile", 16, "calibrated", 1.293, (1, 10),
    ),
    (
        "a100-sxm-40gb",
        ("fp32", False, True, "nchw", "cuda", (2, 0), "eager", ""),
        (1.232, 1.4784, 1.232, 0.0, 0.0), (1, 0.0002, None, 0.25),
        "HF perf_torch_compile", 16, "anchored", 1.232, (2, 0),
    ),
    (
        "a100-sxm-40gb",
        ("fp32", False, True, "nchw", "cuda", (2, 9), "fused", "fastertransformer"),
        (1.253, 1.5036, 1.253, 0.0, 0.0), (4, 0.0082, 0.0163, 0.25),
        "FasterTransformer", 16, "anchored", 1.253, (2, 9),
    ),
    (
        "a100-sxm-40gb",
        ("half", False, False, "nchw", "cuda", (1, 10), "eager", ""),
        (3.4114, 4.9622, 4.2416, 0.0, 0.0), (2, 0.0122, 0.0243, 0.25),
        "FasterTransformer", 16, "anchored", 3.688, None,
    ),
    (
        "a100-sxm-40gb",
        ("half", False, False, "nchw", "cuda", (1, 12), "eager", ""),
        (1.4051, 2.0438, 1.747, 0.0, 0.0), (8, 0.0518, 0.0581, 0.25),
        "AITemplate", 16, "anchored", 1.519, None,
    ),
    (
        "a100-sxm-40gb",
        ("half", False, True, "nchw", "cuda", (2, 9), "fused", "aitemplate"),
        (1.2425, 1.3975, 1.0694, 0.0, 0.0), (8, 0.0546, 0.0683, 0.25),
        "AITemplate", 16, "anchored", 1.303, None,
    ),
    (
        "a100-sxm-40gb",
        ("half", False, True, "nchw", "cuda", (2, 9), "fused", "fastertransformer"),
        (1.7679, 1.9885, 1.5217, 0.0, 0.0), (11, 0.0461, 0.0557, 0.25),
        "FasterTransformer", 16, "anchored", 1.854, None,
    ),
    (
        "a100-sxm-40gb",
        ("half", False, True, "nchw", "cuda", (2, 9), "fused", "tensorrt"),
        (1.2835, 1.4437, 1.1047, 0.0, 0.0), (1, 0.0003, None, 0.25),
        "FlagPerf", 64, "anchored", 1.346, None,
    ),
    (
        "a10g",
        ("half", False, False, "nchw", "cuda", (2, 3), "eager", ""),
        (1.2469, 1.8137, 1.5503, 0.0, 0.0), (1, 0.0, None, 0.25),
        "HF clip.md first table", 16, "anchored", 1.348, None,
    ),
    (
        "a10g",
        ("half", False, False, "nchw", "cuda", (2, 3), "fused", ""),
        (1.2926, 1.611, 1.2425, 0.0, 0.0), (2, 0.0003, 0.0, 0.25),
        "HF clip.md first table", 16, "anchored", 1.338, None,
    ),
    (
        "h100-nvl",
        ("fp32", False, False, "nchw", "cuda", (2, 0), "fused", ""),
        (1.727, 2.0724, 1.727, 0.0, 0.0), (2, 0.0053, 0.0105, 0.25),
        "jax-pytorch-h100", 32, "anchored", 1.727, (2, 0),
    ),
    (
        "h100-nvl",
        ("fp32", True, False, "nchw", "cuda", (2, 0), "fused", ""),
        (1.712, 2.0544, 1.712, 0.0, 0.0), (1, 0.0001, None, 0.25),
        "jax-pytorch-h100", 32, "anchored", 1.712, (2, 0),
    ),
    (
        "mi210",
        ("half", False, False, "nchw", "cuda", (1, 12), "eager", ""),
        (2.0914, 3.0422, 2.6004, 0.0, 0.0), (8, 0.0567, 0.0733, 0.25),
        "AITemplate", 16, "anchored", 2.261, None,
    ),
    (
        "mi210",
        ("half", False, True, "nchw", "cuda", (2, 9), "fused", "aitemplate"),
        (1.6229, 1.8255, 1.3969, 0.0, 0.0), (8, 0.022, 0.0234, 0.25),
        "AITemplate", 16, "anchored", 1.702, None,
    ),
    (
        "t4",
        ("fp32", False, False, "nchw", "cuda", (2, 0), "eager", ""),
        (1.93, 2.316, 1.93, 0.0, 0.0), (3, 0.0354, 0.0759, 0.15),
        "FasterTransformer; HF perf_torch_compile", 16, "calibrated", 1.93, (1, 10),
    ),
    (
        "t4",
        ("fp32", False, True, "nchw", "cuda", (2, 0), "eager", ""),
        (2.138, 2.5656, 2.138, 0.0, 0.0), (1, 0.0002, None, 0.25),
        "HF perf_torch_compile", 16, "anchored", 2.138, (2, 0),
    ),
    (
        "t4",
        ("fp32", False, True, "nchw", "cuda", (2, 9), "fused", "fastertransformer"),
        (1.868, 2.2416, 1.868, 0.0, 0.0), (4, 0.034, 0.0341, 0.25),
        "FasterTransformer", 16, "anchored", 1.868, (2, 9),
    ),
    (
        "t4",
        ("half", False, False, "nchw", "cuda", (1, 10), "eager", ""),
        (4.0117, 5.8354, 4.988, 0.0, 0.0), (2, 0.0203, 0.0406, 0.25),
        "FasterTransformer", 16, "anchored", 4.337, None,
    ),
    (
        "t4",
        ("half", False, True, "nchw", "cuda", (2, 9), "fused", "fastertransformer"),
        (2.1693, 2.4401, 1.8672, 0.0, 0.0), (11, 0.05, 0.0577, 0.25),
        "FasterTransformer", 16, "anchored", 2.275, None,
    ),
    (
        "v100-sxm2",
        ("amp", False, False, "nchw", "cuda", (1, 13), "eager", ""),
        (1.7177, 2.4986, 2.1357, 0.0, 0.0), (3, 0.0263, 0.0571, 0.25),
        "DeiT III README", 256, "anchored", 1.857, None,
    ),
    (
        "v100-sxm2",
        ("fp32", False, False, "nchw", "cuda", (2, 0), "eager", ""),
        (1.222, 1.4664, 1.222, 0.0, 0.0), (8, 0.0404, 0.0457, 0.15),
        "HF perf_torch_compile; ToMe README", 16, "calibrated", 1.222, (1, 13),
    ),
    (
        "v100-sxm2",
        ("fp32", False, True, "nchw", "cuda", (2, 0), "eager", ""),
        (1.248, 1.4976, 1.248, 0.0, 0.0), (1, 0.0004, None, 0.25),
        "HF perf_torch_compile", 16, "anchored", 1.248, (2, 0),
    ),
    (
        "v100-sxm2",
        ("fp32", False, True, "nchw", "cuda", (2, 9), "eager", "tensorrt"),
        (1.255, 1.506, 1.255, 0.0, 0.0), (6, 0.0091, 0.0182, 0.25),
        "PaddleClas", 8, "anchored", 1.255, (2, 9),
    ),
)
# fmt: on

PRINTED = tuple(
    Calibration(gpu, Setup(*setup), constants, *errors, source, least, basis, factor, None, since)
    for gpu, setup, constants, errors, source, least, basis, factor, since in _ROWS
)
