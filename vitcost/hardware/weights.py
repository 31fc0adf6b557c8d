"""How many FLOPs of a matrix product one FLOP of a class of work stands for, and bytes of a stream
one byte, on maps and windows: one number for all cards.

``tests/bench/fit_families.py`` fits them to timm's benchmark files and prints the tables. The first
two columns are of 253 names, by whole traces of every size that was timed; the others of 250 names
of the digest, by images of its size.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["LAUNCH", "VERSIONS", "WEIGHTS", "Weights"]


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


# fmt: off
_ROWS: dict[str, tuple[tuple[float, float], ...]] = {
    "batch norm": (
        (1.00, 1.46), (1.00, 1.00), (1.00, 2.72), (1.00, 1.21), (1.00, 1.09), (0.50, 1.00),
    ),
    "broadcast": (
        (1.00, 2.03), (1.00, 1.00), (1.00, 0.25), (1.00, 1.78), (1.00, 0.25), (0.50, 1.00),
    ),
    "dense": (
        (1.01, 2.24), (0.92, 0.87), (1.60, 1.70), (0.94, 0.79), (1.68, 0.65), (0.12, 2.05),
    ),
    "depthwise 3": (
        (6.60, 1.30), (5.87, 1.62), (0.25, 0.88), (4.14, 1.26), (0.25, 2.42), (0.51, 1.42),
    ),
    "depthwise 5": (
        (6.63, 1.39), (7.14, 1.86), (0.25, 0.95), (3.85, 0.84), (0.25, 0.68), (0.60, 0.39),
    ),
    "depthwise, channels last": (
        (5.71, 1.59), (6.20, 1.72), (0.25, 0.58), (3.68, 1.49), (0.25, 0.47), (0.68, 2.17),
    ),
    "depthwise, large": (
        (31.94, 1.11), (7.55, 0.74), (0.25, 1.34), (18.27, 1.26), (0.25, 0.90), (0.56, 1.75),
    ),
    "fused layout": (
        (1.00, 1.00), (1.00, 1.63), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 4.21),
    ),
    "fused pooling": (
        (1.00, 1.00), (1.00, 2.58), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 2.18),
    ),
    "fused softmax": (
        (1.00, 1.00), (1.00, 1.39), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.50, 1.31),
    ),
    "grouped": (
        (1.09, 2.61), (2.11, 0.98), (0.25, 2.93), (1.87, 1.38), (0.25, 1.83), (0.41, 0.25),
    ),
    "layout": (
        (1.00, 1.68), (1.00, 1.00), (1.00, 2.14), (1.00, 2.12), (1.00, 2.78), (0.50, 1.00),
    ),
    "merging": (
        (1.50, 0.84), (4.02, 1.23), (0.74, 0.87), (2.01, 0.95), (0.55, 0.80), (1.11, 8.34),
    ),
    "narrow linear": (
        (1.35, 2.35), (1.19, 2.00), (1.00, 1.00), (1.13, 2.47), (1.00, 1.00), (0.51, 1.67),
    ),
    "pointwise": (
        (1.04, 1.19), (0.66, 1.44), (0.67, 2.34), (0.52, 1.28), (0.67, 0.90), (0.12, 0.57),
    ),
    "pooling": (
        (1.00, 1.77), (1.00, 1.00), (1.00, 2.99), (1.00, 2.74), (1.00, 2.16), (0.50, 1.00),
    ),
    "product": (
        (1.00, 1.00), (0.66, 1.07), (1.00, 1.00), (1.00, 1.00), (1.00, 1.00), (0.22, 0.87),
    ),
    "resampling": (
        (0.00, 1.23), (0.00, 1.00), (1.00, 1.00), (0.00, 1.00), (0.00, 1.00), (0.50, 1.00),
    ),
    "scores": (
        (1.00, 1.77), (1.00, 1.00), (1.00, 1.00), (1.00, 1.84), (1.00, 1.00), (0.50, 1.00),
    ),
    "stem": (
        (3.24, 2.15), (3.97, 1.32), (1.12, 1.97), (2.14, 0.39), (1.19, 1.96), (0.12, 1.81),
    ),
    "turned copy": (
        (1.00, 2.91), (1.00, 1.00), (1.00, 0.25), (1.00, 1.24), (1.00, 0.25), (0.50, 1.00),
    ),
    "window product": (
        (0.95, 1.74), (1.04, 2.37), (0.95, 0.77), (0.99, 1.42), (0.83, 0.47), (0.48, 0.35),
    ),
}
# fmt: on
WEIGHTS: Mapping[str, Weights] = {name: Weights(*row) for name, row in _ROWS.items()}
# how many times longer all classes take with a version of torch, and the libraries of its time
VERSIONS: Mapping[str, Mapping[tuple[int, int], float]] = {
    "eager": {(1, 13): 0.88, (2, 1): 1.05, (2, 4): 0.98, (2, 9): 1.14},
    "compiled": {(2, 4): 1.02, (2, 9): 1.0},
    "backward": {(1, 12): 0.87},
    "last": {(1, 13): 0.87, (2, 1): 1.06, (2, 4): 1.0},
    "last_backward": {(1, 12): 0.83},
    "processor": {(2, 2): 0.84, (2, 4): 1.22},
}
# on a processor, a launch of a model that is timed by its trace, in layers
LAUNCH = 0.082
