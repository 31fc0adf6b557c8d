"""Weights of work on maps and windows: a FLOP of a class takes as long as so many FLOPs of a matrix
product, and a byte as so many bytes of a stream. They are the same on all cards.

``tests/bench/fit_families.py`` fits them to timm's benchmark files, by the work of names of the
digest in images of its size.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["APART", "BANDS", "LAUNCH", "VERSIONS", "WEIGHTS", "Weights"]


class Weights(NamedTuple):
    """The weights of a FLOP and of a byte of a class: in eager torch, compiled, and in the backward
    pass of eager; the first and the last of these for maps whose channels lie last; and on a
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
        (1.00, 1.53), (1.00, 1.00), (1.00, 1.78), (1.00, 0.98), (1.00, 0.79), (0.50, 1.00),
    ),
    "broadcast": (
        (1.00, 1.63), (1.00, 1.00), (1.00, 0.25), (1.00, 1.73), (1.00, 0.25), (0.50, 1.00),
    ),
    "dense": (
        (0.96, 2.31), (0.91, 1.03), (1.44, 1.82), (0.93, 1.16), (1.49, 1.05), (0.12, 2.14),
    ),
    "depthwise 3": (
        (5.85, 1.23), (5.33, 2.03), (0.25, 0.89), (3.84, 1.69), (0.25, 1.49), (0.61, 1.04),
    ),
    "depthwise 5": (
        (5.67, 1.31), (7.02, 2.05), (0.25, 0.94), (4.82, 1.10), (0.25, 0.63), (0.65, 1.58),
    ),
    "depthwise, channels last": (
        (5.56, 1.43), (6.19, 1.89), (0.25, 0.25), (3.43, 0.69), (0.25, 0.25), (0.58, 1.30),
    ),
    "depthwise, large": (
        (42.86, 1.44), (6.86, 0.98), (0.25, 1.22), (22.53, 1.24), (0.25, 0.87), (0.70, 1.83),
    ),
    "fused layout": (
        (1.00, 1.00), (1.00, 1.85), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 4.48),
    ),
    "fused pooling": (
        (1.00, 1.00), (1.00, 2.51), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 2.60),
    ),
    "fused softmax": (
        (1.00, 1.00), (1.00, 1.25), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 1.64),
    ),
    "grouped": (
        (1.62, 2.63), (2.03, 1.96), (0.30, 3.50), (1.87, 1.60), (0.62, 2.20), (0.12, 0.50),
    ),
    "layout": (
        (1.00, 2.09), (1.00, 1.00), (1.00, 1.74), (1.00, 1.98), (1.00, 2.32), (0.50, 1.00),
    ),
    "merging": (
        (1.94, 0.97), (3.10, 1.20), (0.87, 0.97), (1.82, 0.95), (0.65, 0.89), (0.85, 4.11),
    ),
    "narrow linear": (
        (1.17, 1.76), (1.07, 1.59), (1.00, 1.00), (1.04, 1.37), (1.00, 1.00), (0.72, 1.59),
    ),
    "pointwise": (
        (0.96, 1.12), (0.74, 1.38), (0.25, 2.98), (0.69, 1.30), (0.25, 1.09), (0.12, 0.80),
    ),
    "pooling": (
        (1.00, 1.68), (1.00, 1.00), (1.00, 2.80), (1.00, 2.59), (1.00, 1.53), (0.50, 1.00),
    ),
    "product": (
        (1.00, 1.00), (0.93, 1.23), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.43, 1.62),
    ),
    "resampling": (
        (0.00, 1.10), (0.00, 1.00), (0.00, 1.00), (0.00, 1.18), (0.00, 1.00), (0.50, 1.00),
    ),
    "scores": (
        (1.00, 2.00), (1.00, 1.00), (1.00, 1.00), (1.00, 2.41), (1.00, 1.00), (0.50, 1.00),
    ),
    "stem": (
        (3.78, 1.78), (2.84, 1.37), (1.06, 1.83), (1.84, 0.67), (0.83, 1.61), (0.28, 1.53),
    ),
    "turned copy": (
        (1.00, 2.93), (1.00, 1.00), (1.00, 0.57), (1.00, 2.60), (1.00, 0.25), (0.50, 1.00),
    ),
    "window product": (
        (1.02, 1.25), (0.98, 2.34), (1.10, 0.25), (1.04, 0.83), (1.06, 0.25), (0.63, 1.00),
    ),
}
# fmt: on
WEIGHTS: Mapping[str, Weights] = {n: Weights(*row) for n, row in _ROWS.items()}
# how many times longer all classes take with the libraries of a version of torch
VERSIONS: Mapping[str, Mapping[tuple[int, int], float]] = {
    "eager": {(1, 13): 0.89, (2, 1): 1.06, (2, 4): 0.98, (2, 9): 1.17},
    "compiled": {(2, 4): 1.00, (2, 9): 0.99},
    "backward": {(1, 12): 0.99},
    "last": {(1, 13): 0.86, (2, 1): 1.05, (2, 4): 1.00},
    "last_backward": {(1, 12): 0.97},
    "processor": {(2, 2): 0.84, (2, 4): 1.16},
}
# on a processor, a launch of a model that is timed by its trace, in layers
LAUNCH = 0.080
# classes of models whose held-out error is above 20 % in half of their timings
# fmt: off
APART: Mapping[str, frozenset[str]] = {
    "eager": frozenset({
        "Hiera", "Nest", "RDNet", "VisionTransformerSAM"
    }),
    "compiled": frozenset({
        "Cait", "ConVit", "ConvMixer"
    }),
    "backward": frozenset({
        "ConvNeXt", "GhostNet", "TResNet"
    }),
    "last": frozenset({
        "Cait", "ConvMixer", "HieraDet", "Nest", "VisionTransformerSAM"
    }),
    "last_backward": frozenset({
        "Cait", "ConvMixer", "DPN", "GhostNet", "HighResolutionNet", "NormFreeNet", "RegNet",
        "TResNet"
    }),
    "processor": frozenset({
        "ConVit", "ConvNeXt", "EfficientFormerV2", "EfficientVitMsra", "SelecSls",
        "SwinTransformer", "SwinTransformerV2", "VGG", "VovNet"
    }),
}
# fmt: on
# how much less and more than predicted nine in ten of the other timings took
BANDS: Mapping[str, tuple[float, float]] = {
    "eager": (0.15, 0.25),
    "compiled": (0.15, 0.45),
    "last": (0.15, 0.35),
    "processor": (0.2, 0.45),
    "backward": (0.15, 0.3),
    "last_backward": (0.2, 0.8),
}
