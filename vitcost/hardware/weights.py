"""Weights of work on maps and windows: a FLOP of a class takes as long as so many FLOPs of a matrix
product, and a byte as so many bytes of a stream. They are the same on all cards.

``tests/bench/fit_families.py`` fits them to timm's benchmark files, from the work in the digests of
names, at the digests' image size.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["APART", "BANDS", "LAUNCH", "VERSIONS", "WEIGHTS", "Weights"]


class Weights(NamedTuple):
    """The weights of a FLOP and of a byte of a class: in eager torch, compiled, and in the backward
    pass of eager torch; the first and the last of these again for maps with channels last; and on a
    processor, where every FLOP counts once more."""

    eager: tuple[float, float]
    compiled: tuple[float, float]
    backward: tuple[float, float]
    last: tuple[float, float]
    last_backward: tuple[float, float]
    processor: tuple[float, float]


# all that follows is written by tests/bench/fit_families.py
# fmt: off
_ROWS: dict[str, tuple[tuple[float, float], ...]] = {
    "batch norm": (
        (1.00, 1.32), (1.00, 1.00), (1.00, 2.27), (1.00, 0.74), (1.00, 1.13), (0.50, 1.00),
    ),
    "broadcast": (
        (1.00, 1.66), (1.00, 1.00), (1.00, 0.25), (1.00, 1.78), (1.00, 0.25), (0.50, 1.00),
    ),
    "dense": (
        (0.96, 2.44), (0.92, 1.01), (1.32, 1.77), (0.93, 1.35), (1.34, 0.94), (0.12, 2.13),
    ),
    "depthwise 3": (
        (5.80, 1.37), (4.88, 2.00), (1.04, 2.14), (4.20, 1.83), (1.02, 2.66), (0.61, 1.06),
    ),
    "depthwise 5": (
        (5.91, 1.39), (6.66, 2.00), (1.17, 3.26), (4.87, 1.19), (1.17, 3.43), (0.64, 1.36),
    ),
    "depthwise, channels last": (
        (6.87, 1.56), (5.48, 2.30), (1.01, 0.29), (6.73, 0.72), (1.04, 0.25), (0.73, 2.13),
    ),
    "depthwise, large": (
        (46.34, 1.61), (6.82, 1.02), (1.11, 1.50), (30.02, 1.38), (1.16, 1.82), (0.59, 1.33),
    ),
    "fused layout": (
        (1.00, 1.00), (1.00, 1.80), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 4.45),
    ),
    "fused pooling": (
        (1.00, 1.00), (1.00, 2.49), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 2.59),
    ),
    "fused softmax": (
        (1.00, 1.00), (1.00, 1.23), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 1.69),
    ),
    "grouped": (
        (1.58, 2.70), (2.04, 1.95), (2.50, 2.67), (1.76, 1.66), (7.02, 2.22), (0.12, 0.47),
    ),
    "layout": (
        (1.00, 2.04), (1.00, 1.00), (1.00, 1.60), (1.00, 1.97), (1.00, 1.75), (0.50, 1.00),
    ),
    "merging": (
        (3.14, 1.19), (2.76, 1.16), (1.42, 1.21), (3.37, 1.22), (1.41, 1.23), (0.82, 4.07),
    ),
    "narrow linear": (
        (1.16, 1.71), (1.07, 1.52), (1.00, 1.00), (1.04, 1.35), (1.00, 1.00), (0.72, 1.61),
    ),
    "pointwise": (
        (0.96, 1.41), (0.73, 1.40), (0.30, 2.54), (0.71, 1.61), (0.47, 0.61), (0.12, 0.81),
    ),
    "pooling": (
        (1.00, 1.72), (1.00, 1.00), (1.00, 2.27), (1.00, 2.56), (1.00, 1.17), (0.50, 1.00),
    ),
    "product": (
        (1.00, 1.00), (0.53, 1.59), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.43, 1.55),
    ),
    "resampling": (
        (0.00, 1.08), (0.00, 1.00), (0.00, 1.00), (0.00, 1.14), (0.00, 1.00), (0.50, 1.00),
    ),
    "scores": (
        (1.00, 1.84), (1.00, 1.00), (1.00, 1.00), (1.00, 2.30), (1.00, 1.00), (0.50, 1.00),
    ),
    "stem": (
        (3.78, 1.87), (2.79, 1.36), (1.02, 1.60), (1.84, 0.82), (0.83, 1.44), (0.27, 1.53),
    ),
    "turned copy": (
        (1.00, 3.22), (1.00, 1.00), (1.00, 1.15), (1.00, 2.83), (1.00, 0.71), (0.50, 1.00),
    ),
    "wide product": (
        (5.95, 1.91), (4.00, 1.00), (4.00, 1.00), (4.00, 1.00), (4.00, 1.00), (0.50, 1.00),
    ),
    "window product": (
        (1.00, 1.62), (1.03, 2.36), (1.05, 1.02), (0.97, 1.47), (1.03, 0.70), (0.63, 0.99),
    ),
}
# fmt: on
WEIGHTS: Mapping[str, Weights] = {n: Weights(*row) for n, row in _ROWS.items()}
# by which factor all classes take longer with the libraries of a torch version
VERSIONS: Mapping[str, Mapping[tuple[int, int], float]] = {
    "eager": {(1, 13): 0.89, (2, 1): 1.05, (2, 4): 0.98, (2, 9): 1.16},
    "compiled": {(2, 4): 1.00, (2, 9): 0.99},
    "backward": {(1, 12): 1.02},
    "last": {(1, 13): 0.86, (2, 1): 1.05, (2, 4): 1.00},
    "last_backward": {(1, 12): 1.02},
    "processor": {(2, 2): 0.84, (2, 4): 1.17},
}
# on a processor, how many layers a launch of a traced model counts as
LAUNCH = 0.079
# classes of models for which half of the held-out errors are above 20 %
# fmt: off
APART: Mapping[str, frozenset[str]] = {
    "eager": frozenset({
    }),
    "compiled": frozenset({
        "Cait", "ConVit", "ConvMixer"
    }),
    "backward": frozenset({
        "ConvMixer", "GhostNet"
    }),
    "last": frozenset({
        "ConvMixer", "HieraDet"
    }),
    "last_backward": frozenset({
        "ConvMixer", "DPN", "GhostNet", "HighResolutionNet", "NormFreeNet", "RegNet", "TResNet"
    }),
    "processor": frozenset({
        "ConVit", "ConvNeXt", "EfficientFormerV2", "EfficientVitMsra", "SelecSls",
        "SwinTransformer", "SwinTransformerV2", "VGG", "VovNet"
    }),
}
# fmt: on
# for other models: how much less and more than predicted nine in ten timings took
BANDS: Mapping[str, tuple[float, float]] = {
    "eager": (0.15, 0.25),
    "compiled": (0.15, 0.45),
    "last": (0.15, 0.35),
    "processor": (0.2, 0.45),
    "backward": (0.15, 0.25),
    "last_backward": (0.15, 0.65),
}
