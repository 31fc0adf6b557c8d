"""Changes the kernels of a traced pass to those of torch versions before the one that traced it."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from vitcost.hardware.calls import Call, Piece
from vitcost.hardware.work_classes import Setup
from vitcost.traced.operators import is_attention
from vitcost.traced.trace import Array, Operator, Pass

__all__ = ["FUSED", "WIDE_MATH", "apart", "as_then"]

# the first torch that has a fused attention
FUSED = (2, 0)
# the first torch whose plain-product attention computes in fp32 if q, k and v are in half
# precision: _scaled_dot_product_attention_math in aten's attention.cpp
WIDE_MATH = (2, 5)


def as_then(kernels: Iterable[Call], run: Pass, setup: Setup) -> Iterable[Call]:
    """The kernels of a pass as the torch version of a setup launches them: before 2.0 an attention
    is two products, before 2.5 its plain products are in half precision. Source: aten's
    attention.cpp, ``_scaled_dot_product_attention_math``.

    >>> from torch import nn
    >>> from vitcost.hardware.calls import calls
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> layer = nn.TransformerEncoderLayer(768, 12, batch_first=True)
    >>> run = trace(layer, inputs_of(layer, "197x768"), (2, 3, 4)).inference
    >>> setups = [Setup("amp", torch=torch) for torch in ((1, 13), (2, 4))]
    >>> then, now = ([each.name for each in as_then(calls(run, 8), run, how)] for how in setups)
    >>> then.count("bmm"), now.count("_scaled_dot_product_efficient_attention")
    (2, 1)
    """
    if "math" in run.kernels and setup.torch < WIDE_MATH:
        kernels = _narrow(kernels)
    return _unfused(kernels) if setup.torch < FUSED else kernels


def apart(run: Pass) -> Pass:
    """A forward under autocast without gradients, as torch up to 2.9, ``inference_mode`` and a
    compiler run it. The cast copy of a weight has no autograd graph there, so a linear layer on
    non-contiguous rows runs one product for each image, and copies no rows (``should_fold`` of
    aten's LinearAlgebra.cpp).

    >>> from torch import nn
    >>> from vitcost.hardware.calls import calls
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.trace import How
    >>> from vitcost.traced.traces import trace
    >>> class Mixer(nn.Linear):
    ...     def forward(self, x):
    ...         return super().forward(x.transpose(1, 2))
    >>> mixer = Mixer(196, 384)  # over the tokens of each channel
    >>> run = trace(mixer, inputs_of(mixer, "196x768"), (2,), How("amp-bf16")).inference
    >>> [[call.name for call in calls(each, 2)][-3:] for each in (run, apart(run))]
    [['clone', 'mm', 'add'], ['_to_copy', 'bmm', 'add']]
    """
    operators, kept = list(run.operators), list(zip(run.calls, run.touched, strict=True))[:1]
    numbers: dict[Operator, int] = {}
    for called in zip(run.calls[1:], run.touched[1:], strict=True):
        ((copy, place), moved), ((product, path), touched) = kept[-1], called
        first, then = operators[copy], operators[product]
        linear = (first.name, then.name, place) == ("clone", "mm", path)
        axes = len(first.reads[0].shape) if linear and moved[1] == touched[0] else 0
        if axes > 2:
            # rows with several axes beside the images are copied even so
            copied = axes > 3
            rows = first.writes[0] if copied else first.reads[0]
            batched = then._replace(name="bmm", reads=(rows, _for_each(rows, then.reads[1])))
            if batched not in numbers:
                numbers[batched] = len(operators)
                operators.append(batched)
            called = (numbers[batched], path), (moved[copied], *touched[1:])
            del kept[len(kept) - (not copied) :]
        kept.append(called)
    calls, storages = zip(*kept, strict=True) if kept else ((), ())
    return run._replace(operators=tuple(operators), calls=calls, touched=storages)


def _for_each(rows: Array, weight: Array) -> Array:
    """The weight of a linear layer, expanded to one for each image."""
    strides = weight.strides or (weight.shape[1], (1,))
    return Array(weight.dtype, (rows.shape[0], *weight.shape), ((0,), *strides))


def _narrow(kernels: Iterable[Call]) -> Iterator[Call]:
    """An attention by plain products that computes in the type of its operands: without the casts
    at its beginning and end."""
    for _, calls in groupby(kernels, key=lambda call: (call.path, call.phase)):
        together = list(calls)
        casts = [i for i, call in enumerate(together) if _is_cast(call)]
        soft = [i for i, call in enumerate(together) if _is_wide_softmax(call)]
        if not soft or not casts or not casts[0] < soft[0] < casts[-1]:
            yield from together
            continue
        for i, call in enumerate(together):
            if not casts[0] <= i <= casts[-1]:
                yield call
            elif i not in casts:
                halves = ([_half(piece) for piece in side] for side in (call.reads, call.writes))
                reads, writes = map(tuple, halves)
                yield call._replace(reads=reads, writes=writes)


def _is_wide_softmax(call: Call) -> bool:
    plain = call.name in ("_safe_softmax", "_softmax_backward_data")
    return plain and call.reads[0].itemsize == 4


def _is_cast(call: Call) -> bool:
    """Whether a kernel casts half precision to fp32, or back."""
    return call.name == "_to_copy" and {x.itemsize for x in (*call.reads, *call.writes)} == {2, 4}


def _half(piece: Piece) -> Piece:
    return piece._replace(itemsize=2) if piece.itemsize == 4 else piece


def _unfused(kernels: Iterable[Call]) -> Iterator[Call]:
    """Before torch 2.0 an attention was two products and a softmax, with copies of its operands."""
    for call in kernels:
        if is_attention(call.name):
            yield from (_products_back if call.backward else _products)(call)
        else:
            yield call


def _products(call: Call) -> Iterator[Call]:
    q, k, v, *rest = call.reads
    scores, wide, out = *_scores(q, k), call.writes[0]
    for x in (q, k, v):
        yield _kernel(call, "clone", (x,), (x._replace(strides=None),))
    yield _product(call, (q, k), scores, q.shape[-1])
    yield _kernel(call, "mul", (scores,), (scores,))
    for mask in rest:
        yield _kernel(call, "add", (scores, mask), (scores,))
    yield _kernel(call, "_softmax", (scores,), (wide,))
    if wide != scores:
        yield _kernel(call, "_to_copy", (wide,), (scores,))
    yield _product(call, (scores, v), out, k.shape[-2])
    yield _kernel(call, "clone", (out,), (out,))


def _products_back(call: Call) -> Iterator[Call]:
    gradient, q, k, v = (piece._replace(strides=None) for piece in call.reads[:4])
    scores, wide = _scores(q, k)
    queries, keys = scores.shape[-2:]
    yield _kernel(call, "clone", (gradient,), (gradient,))
    yield _product(call, (scores, gradient), v, queries)
    yield _product(call, (gradient, v), scores, v.shape[-1])
    if wide != scores:
        yield _kernel(call, "_to_copy", (scores,), (wide,))
    yield _kernel(call, "_softmax_backward_data", (wide, wide), (scores,))
    yield _kernel(call, "mul", (scores,), (scores,))
    yield _product(call, (scores, k), q, keys)
    yield _product(call, (scores, q), k, queries)


def _scores(q: Piece, k: Piece) -> tuple[Piece, Piece]:
    """The scores in the type of the queries, and in fp32 as a softmax writes them."""
    scores = Piece((*q.shape[:-1], k.shape[-2]), q.itemsize)
    return scores, scores._replace(itemsize=max(q.itemsize, 4))


def _kernel(call: Call, name: str, reads: tuple[Piece, ...], writes: tuple[Piece, ...]) -> Call:
    return Call(name, call.phase, call.path, reads, writes)


def _product(call: Call, reads: tuple[Piece, ...], write: Piece, over: int) -> Call:
    flops = 2 * write.numel * over
    defined = flops if call.phase == "forward" else 0
    return Call("bmm", call.phase, call.path, reads, (write,), flops, defined)
