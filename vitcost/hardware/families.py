"""Classes of work that plain ViTs have not: convolutions on maps, windows, and what lays them out.

A traced kernel of such a class takes as long as a matrix product of some times its FLOPs, and as a
stream of some times its bytes. How many times is fitted to timm's benchmark files of other families
(tests/bench/fit_families.py): one number a class and software for all cards, beside the constants
that a card has from plain ViTs.
"""

from typing import NamedTuple

from vitcost.hardware.calls import CONVOLUTION, CONVOLUTION_BACK, Call, Piece
from vitcost.hardware.classes import TILE, WEIGHED, Setup, whole
from vitcost.traced.operators import is_attention

__all__ = ["APART", "SERIAL", "WEIGHTS", "Weight", "amounts", "class_of", "weight_of"]

SERIAL = "resampling"
# a linear layer of fewer inputs or outputs waits for memory, not for the matrix units
NARROW = 64


class Weight(NamedTuple):
    """How many FLOPs of a matrix product one FLOP stands for, and bytes of a stream one byte."""

    flops: float
    bytes: float


# class: eager, compiled, and in the backward pass of eager; 1 where the software has no such class
# fmt: off
WEIGHTS: dict[str, tuple[Weight, Weight, Weight]] = {
    "batch norm": (Weight(1.00, 1.46), Weight(1.00, 1.00), Weight(1.00, 2.14)),
    "broadcast": (Weight(1.00, 2.03), Weight(1.00, 1.00), Weight(1.00, 0.25)),
    "dense": (Weight(1.01, 2.24), Weight(0.92, 0.87), Weight(1.30, 2.25)),
    "depthwise 3": (Weight(6.60, 1.30), Weight(5.87, 1.62), Weight(0.25, 0.97)),
    "depthwise 5": (Weight(6.63, 1.39), Weight(7.14, 1.86), Weight(0.90, 1.14)),
    "depthwise, channels last": (Weight(5.71, 1.59), Weight(6.20, 1.72), Weight(0.25, 0.25)),
    "depthwise, large": (Weight(31.94, 1.11), Weight(7.55, 0.74), Weight(0.25, 0.69)),
    "fused layout": (Weight(1.00, 1.00), Weight(1.00, 1.63), Weight(1.00, 1.00)),
    "fused pooling": (Weight(1.00, 1.00), Weight(1.00, 2.58), Weight(1.00, 1.00)),
    "fused softmax": (Weight(1.00, 1.00), Weight(1.00, 1.39), Weight(1.00, 1.00)),
    "grouped": (Weight(1.09, 2.61), Weight(2.11, 0.98), Weight(0.66, 2.48)),
    "layout": (Weight(1.00, 1.68), Weight(1.00, 1.00), Weight(1.00, 1.98)),
    "merging": (Weight(1.50, 0.84), Weight(4.02, 1.23), Weight(0.33, 0.63)),
    "narrow linear": (Weight(1.35, 2.35), Weight(1.19, 2.00), Weight(1.00, 1.00)),
    "pointwise": (Weight(1.04, 1.19), Weight(0.66, 1.44), Weight(0.25, 2.59)),
    "pooling": (Weight(1.00, 1.77), Weight(1.00, 1.00), Weight(1.00, 2.94)),
    "product": (Weight(1.00, 1.00), Weight(0.66, 1.07), Weight(1.00, 1.00)),
    "resampling": (Weight(0.00, 1.23), Weight(0.00, 1.00), Weight(0.00, 1.00)),
    "scores": (Weight(1.00, 1.77), Weight(1.00, 1.00), Weight(1.00, 1.00)),
    "stem": (Weight(3.24, 2.15), Weight(3.97, 1.32), Weight(1.01, 1.91)),
    "turned copy": (Weight(1.00, 2.91), Weight(1.00, 1.00), Weight(1.00, 0.25)),
    "window product": (Weight(0.95, 1.74), Weight(1.04, 2.37), Weight(0.80, 0.25)),
}
# fmt: on
# classes of models whose held-out error is above 20 % in half of their timings
APART = frozenset(
    {
        "Cait",
        "ConVit",
        "ConvMixer",
        "DPN",
        "Hiera",
        "MetaFormer",
        "Nest",
        "NormFreeNet",
        "RDNet",
        "RepVit",
        "StarNet",
        "TResNet",
        "VisionTransformerSAM",
    }
)  # fmt: skip
# how many times longer all classes take with a version of torch, and the libraries of its time
_EAGER = {(1, 12): 1.0, (1, 13): 0.88, (2, 1): 1.05, (2, 4): 0.98, (2, 9): 1.14}
_COMPILED = {(2, 4): 1.02, (2, 9): 1.0}


def weight_of(kind: str, setup: Setup, backward: bool) -> tuple[int, int]:
    """The weights of a FLOP and of a byte of a class in a software, in shares of ``WEIGHED``.

    A version of torch that was not fitted has those of the nearest. With torch 2.4 they are
    0.98 · 31.94 and 0.98 · 1.11.

    >>> weight_of("depthwise, large", Setup("amp", torch=(2, 4)), False)
    (313012, 10878)
    """
    eager, compiled, back = WEIGHTS[kind]
    weight = back if backward else compiled if setup.compiled else eager
    known = _COMPILED if setup.compiled else _EAGER
    factor = known[min(known, key=lambda torch: abs(_number(torch) - _number(setup.torch)))]
    flops, moved = (round(factor * each * WEIGHED) for each in weight)
    return flops, moved


def _number(torch: tuple[int, int]) -> int:
    return 100 * torch[0] + torch[1]


# operators by name that move maps without computing on them
_LAYS_OUT = frozenset({
    "roll", "index", "index_put", "constant_pad_nd", "cat", "im2col", "col2im", "repeat",
    "gather", "index_select", "slice_backward", "unfold_backward",
    "reflection_pad2d", "pixel_shuffle",
})  # fmt: skip
_GATES = frozenset({"add", "add_", "mul", "mul_", "sub", "div", "div_", "addcmul"})
_RESAMPLES = frozenset({
    "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
})  # fmt: skip


def class_of(call: Call, setup: Setup) -> str:
    """The class of a kernel; empty for one that plain ViTs have too.

    >>> x, weight = Piece((64, 96, 56, 56), 2), Piece((96, 1, 7, 7), 2)
    >>> class_of(Call("convolution", "forward", "", (x, weight), (x,)), Setup("amp"))
    'depthwise, large'
    """
    name = call.name
    if name in (CONVOLUTION, CONVOLUTION_BACK):
        return _convolution(call)
    if is_attention(name):
        return ""
    if name in ("mm", "addmm"):
        (_, inner), (_, out) = call.reads[-2].shape, call.reads[-1].shape
        return "narrow linear" if min(inner, out) < NARROW and not call.backward else ""
    if name in ("bmm", "baddbmm"):
        return _batched(call, setup)
    if setup.compiled:
        return name if name.startswith("fused ") else ""
    return _on_maps(call)


def _batched(call: Call, setup: Setup) -> str:
    """A compiler's products of an attention, and those of windows; others are as plain ViTs'."""
    first, second = call.reads[-2:]
    if any(piece.strides is not None and piece.strides[0] == 0 for piece in (first, second)):
        return ""
    small = max(second.shape[-1], first.shape[-1]) < TILE
    return "window product" if small else "product" if setup.compiled else ""


def _on_maps(call: Call) -> str:
    """The class of a kernel of an eager map."""
    name = call.name
    if name in ("clone", "copy_") and call.reads and call.writes:
        x, y = call.reads[0], call.writes[0]
        across = len(x.shape) == len(y.shape) and x.order[-1:] != y.order[-1:]
        return "turned copy" if across else ""
    if "batch_norm" in name:
        return "batch norm"
    if "pool" in name:
        return "pooling"
    if name in _RESAMPLES:
        return SERIAL
    if name in _LAYS_OUT:
        return "layout"
    if name in ("add", "add_", "mul", "mul_") and _biased(call):
        return "scores"
    return "broadcast" if name in _GATES and _broadcasts(call) else ""


def _biased(call: Call) -> bool:
    """Whether a bias or a mask is added to the scores of windows, the same for many images."""
    if not call.writes or len(call.writes[0].shape) < 4:
        return False
    written = call.writes[0]
    sides = written.shape[-2:]
    same = any(p.shape[-2:] == sides and 1 < p.numel < written.numel for p in call.reads)
    return same and written.shape[-1] == written.shape[-2] and written.shape[-1] < TILE


def _broadcasts(call: Call) -> bool:
    """Whether a number of an operand stands for a row of the result, as a gate's of a map."""
    if not call.writes or call.writes[0].shape[-1:] in ((), (1,)):
        return False
    written = call.writes[0]
    return any(1 < piece.numel < written.numel and piece.shape[-1:] == (1,) for piece in call.reads)


def _convolution(call: Call) -> str:
    x, w, y = _operands(call)
    groups, k = x.shape[1] // w.shape[1], 1
    for side in w.shape[2:]:
        k *= side
    if groups == 1:
        apart = k > 1 and all(
            side // kernel == out
            for side, kernel, out in zip(x.shape[2:], w.shape[2:], y.shape[2:], strict=True)
        )
        if apart:
            return "" if x.shape[1] <= 4 else "merging"
        return "pointwise" if k == 1 else "stem" if x.shape[1] < 8 else "dense"
    if w.shape[1] > 1:
        return "grouped"
    if x.strides is not None and x.order[-1:] == (1,):
        return "depthwise, channels last"
    return "depthwise 3" if k <= 9 else "depthwise 5" if k <= 25 else "depthwise, large"


def _operands(call: Call) -> tuple[Piece, Piece, Piece]:
    """Input, weight and output of a convolution, or those of the forward of a backward."""
    if call.name == CONVOLUTION_BACK:
        y, x, w = call.reads[:3]
        return x, w, y
    x, w = call.reads[:2]
    return x, w, call.writes[0]


def amounts(call: Call, kind: str) -> tuple[int, int]:
    """FLOPs and bytes of a kernel of a class; output channels of a product fill whole tiles.

    >>> x, y = Piece((64, 64, 56, 56), 2), Piece((64, 96, 56, 56), 2)
    >>> weight = Piece((96, 64, 1, 1), 2)
    >>> call = Call("convolution", "forward", "", (x, weight), (y,), flops=96)
    >>> amounts(call, "pointwise")[0]  # 96 channels are two tiles of 64
    128
    """
    tile = {"pointwise": 64, "dense": 32}.get(kind)
    if tile is None:
        return call.flops, call.moved
    out = _operands(call)[1].shape[0]
    return call.flops // out * whole(out, tile), call.moved
