"""Classes of work that plain ViTs lack: convolutions on maps, windows, and the copies between
layouts.

The FLOPs of such a class are multiplied by a weight and count as those of a matrix product; its
bytes are multiplied by a weight and count as streamed. The weights are fitted to timm's benchmark
files of other families (tests/bench/fit_families.py): one for each class and software, for all
cards; a card keeps its constants from plain ViTs.
"""

from math import prod

from vitcost.hardware.calls import CONVOLUTION, CONVOLUTION_BACK, Call, Piece
from vitcost.hardware.weights import APART, VERSIONS, WEIGHTS
from vitcost.hardware.work_classes import TILE, WEIGHED, Setup, whole
from vitcost.traced.operators import is_attention

__all__ = [
    "SERIAL",
    "WEIGHTS",
    "amounts",
    "class_of",
    "column_of",
    "is_apart",
    "weight_of",
]

SERIAL = "resampling"
# a linear layer with fewer inputs or outputs waits for memory, not for the matrix units
NARROW = 64


def is_apart(kind: str, setup: Setup) -> bool:
    """Whether predictions are far off for models of a class: ``kind`` is one of ``APART`` in the
    setup's column. Source: timm's benchmark files.

    >>> is_apart("GhostNet", Setup("amp")), is_apart("GhostNet", Setup("amp", training=True))
    (False, True)
    """
    return kind in APART[column_of(setup)]


def column_of(setup: Setup) -> str:
    """The column of ``WEIGHTS`` for the kernels of a setup; in training the column of the backward
    pass.

    >>> column_of(Setup("amp", training=True, layout="nhwc"))
    'last_backward'
    """
    if setup.platform == "cpu":
        return "processor"
    if setup.compiled:
        return "compiled"
    last = setup.layout == "nhwc"
    if setup.training:
        return "last_backward" if last else "backward"
    return "last" if last else "eager"


def weight_of(kind: str, setup: Setup, backward: bool) -> tuple[int, int]:
    """The weights of a FLOP and of a byte of a class for a software, in units of 1 / ``WEIGHED``:
    ``(f, b)``, where a FLOP counts as f FLOPs of a plain product, and a byte as b streamed bytes.

    A version of torch without a fit takes the weights of the nearest version; a compiled backward
    pass takes those of the forward. Source: fitted to timm's benchmark files,
    tests/bench/fit_families.py.

    >>> weight_of("resampling", Setup("amp", torch=(2, 4)), False)[0]
    0
    """
    column, forward = column_of(setup), column_of(setup._replace(training=False))
    known = {**VERSIONS[forward], **VERSIONS[column]}
    factor = known[min(known, key=setup.apart)]
    weights = getattr(WEIGHTS[kind], column if backward else forward)
    flops, moved = (round(factor * each * WEIGHED) for each in weights)
    return flops, moved


# operators that move maps without computing
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
    """The class of a kernel; empty for a kernel that plain ViTs have too.

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
    """The class of a batch of products: a compiled attention or windows; all other products count
    like those of plain ViTs."""
    first, second = call.reads[-2:]
    if any(piece.strides is not None and piece.strides[0] == 0 for piece in (first, second)):
        return ""
    wide = setup.precision in ("amp", "half") and first.itemsize == 4
    if wide and not setup.compiled:
        # these run on the fp32 vector units in every precision; timings of compiled models do not
        # show them
        return "wide product"
    small = max(second.shape[-1], first.shape[-1]) < TILE
    return "window product" if small else "product" if setup.compiled else ""


def _on_maps(call: Call) -> str:
    """The class of an eager kernel on maps."""
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
    """Whether a kernel adds a bias or a mask to the scores of windows, the same for many images."""
    if not call.writes or len(call.writes[0].shape) < 4:
        return False
    written = call.writes[0]
    sides = written.shape[-2:]
    same = any(p.shape[-2:] == sides and 1 < p.numel < written.numel for p in call.reads)
    return same and written.shape[-1] == written.shape[-2] and written.shape[-1] < TILE


def _broadcasts(call: Call) -> bool:
    """Whether one number of an operand stands for a whole row of the result, like a gate of
    a map."""
    if not call.writes or call.writes[0].shape[-1:] in ((), (1,)):
        return False
    written = call.writes[0]
    return any(1 < piece.numel < written.numel and piece.shape[-1:] == (1,) for piece in call.reads)


def _convolution(call: Call) -> str:
    x, w, y = _operands(call)
    groups, k = x.shape[1] // w.shape[1], prod(w.shape[2:])
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
    """Input, weight and output of a convolution; a backward call has the tensors of its forward."""
    if call.name == CONVOLUTION_BACK:
        y, x, w = call.reads[:3]
        return x, w, y
    x, w = call.reads[:2]
    return x, w, call.writes[0]


def amounts(call: Call, kind: str) -> tuple[int, int]:
    """FLOPs and bytes of a kernel of a class; output channels of a product are padded to whole
    tiles: ``flops · ⌈n / tile⌉ · tile / n`` of n channels.

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
