"""A traced pass as the work of a step: every call is put into the classes of work that formulas
have.

The rules of ``work`` hold for both: products padded to whole tiles, a layer norm of narrow rows,
copies that a kernel makes of tensors that are not contiguous.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from vitcost.errors import NotCovered
from vitcost.hardware.calls import (
    CONVOLUTION,
    CONVOLUTION_BACK,
    Call,
    Piece,
    calls,
    different,
    fused,
)
from vitcost.hardware.map_classes import SERIAL, WEIGHTS, amounts, class_of, weight_of
from vitcost.hardware.older_torch import FUSED, WIDE_MATH, apart, as_then
from vitcost.hardware.work_classes import NORM_ROW, TILE, Setup, Work, head_width, whole
from vitcost.traced.batch_sizes import value
from vitcost.traced.classifier import ambiguous
from vitcost.traced.classifier import run as classifier
from vitcost.traced.digest import Head, Run
from vitcost.traced.operators import is_attention
from vitcost.traced.trace import Pass

__all__ = ["lowered", "summed"]

# a resampled map with fewer pixels leaves most threads of a card without work
FEW_THREADS = 2**12


def lowered(run: Pass, batch: int, setup: Setup) -> dict[str, Work]:
    """The work of a traced pass on ``batch`` images, for each part of the model.

    >>> from torch import nn
    >>> from vitcost.hardware.work_classes import total
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> mlp = nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768))
    >>> run = trace(mlp, inputs_of(mlp, "768"), (2, 3, 4)).inference
    >>> total(lowered(run, 64, Setup("amp"))).flops == 2 * (2 * 64 * 768 * 3072)
    True
    """
    parts: dict[str, Work] = {}
    for kernel, times in launched(run, batch, setup):
        part, (kind, work) = _part(kernel.path), amount(kernel, setup)
        done = weighed(kind, kernel.backward, work.times(times), setup)
        parts[part] = parts.get(part, Work()) + done
    return parts


def summed(run: Run, batch: int, setup: Setup) -> dict[str, Work]:
    """The work of a pass on ``batch`` images, for each class of work, from the digest of the pass.

    Raises ``NotCovered`` for a compiled attention of a torch before 2.0. ConvNeXt-T has 4.5 G
    multiply-adds: Liu et al. 2022, arXiv 2201.03545, table 1.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.hardware.work_classes import total
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> convnext = workload(resolve("convnext_tiny").config, Scenario(batch=64))
    >>> round(total(summed(convnext.passed, 64, Setup("fp32"))).flops / 2 / 64 / 1e9, 1)
    4.5
    """
    if setup.torch < FUSED and run.kernels and setup.compiled:
        raise NotCovered("a digest has no compiled attention of torch before 2.0")
    parts: dict[str, Work] = {}
    for each in run.work(way_of(setup, run.kernels), batch):
        work = Work(**{field: value(size, batch) for field, size in each.amounts})
        kind = each.kind if each.kind in WEIGHTS else ""
        done = weighed(kind, each.backward, work, setup)
        parts[each.kind] = parts.get(each.kind, Work()) + done
    if run.head is not None:
        for name, work in _of_other_classes(run, run.head, batch, setup):
            parts[name] = parts.get(name, Work()) + work
    return parts


def _of_other_classes(run: Run, head: Head, batch: int, setup: Setup) -> Iterator[tuple[str, Work]]:
    """By how much the work of a pass with other classes differs from the work in its digest."""
    if setup.compiled and ambiguous(run):
        raise NotCovered(
            f"a compiled model with {head.classes:,} classes: its digest is of {head.traced:,}, "
            "and does not say what the kernels around the last layer lay out"
        )
    for times, classes in ((1, head.classes), (-1, head.traced)):
        for call, number in launched(classifier(head, classes, batch), batch, setup):
            kind, work = amount(call, setup)
            plain = "linear" if work.gemm_flops else "stream"
            done = weighed(kind, call.backward, work.times(times * number), setup)
            yield kind or plain, done


def way_of(setup: Setup, kernels: Sequence[str]) -> str:
    """The key of a digest's sum of work: whether kernels are compiled, and which attention runs. A
    digest has a sum for each key.

    >>> way_of(Setup("amp", torch=(1, 13)), ("flash",)), way_of(Setup("amp", torch=(1, 13)), ())
    ('unfused', 'eager')
    >>> way_of(Setup("amp", torch=(2, 4), compiled=True), ("math",))
    'compiled, narrow'
    """
    if kernels and setup.torch < FUSED and not setup.compiled:
        return "unfused"
    way = "compiled" if setup.compiled else "eager"
    return f"{way}, narrow" if "math" in kernels and setup.torch < WIDE_MATH else way


def launched(run: Pass, batch: int, setup: Setup) -> Iterator[tuple[Call, int]]:
    """The kernels that a traced pass launches at a batch, each with how often."""
    if setup.precision == "amp" and not setup.training:
        run = apart(run)
    if setup.compiled:
        yield from ((kernel, 1) for kernel in fused(as_then(calls(run, batch), run, setup)))
    elif "math" in run.kernels and setup.torch < WIDE_MATH:
        yield from Counter(map(_alone, _in_order(as_then(calls(run, batch), run, setup)))).items()
    else:
        # in eager mode a kernel does not depend on other kernels
        for call, times in different(run, batch):
            yield from ((kernel, times) for kernel in _in_order(as_then([call], run, setup)))


def _alone(call: Call) -> Call:
    """A kernel without storage numbers, so that kernels on equal tensors are equal."""
    reads, writes = ([x._replace(storage=-1) for x in side] for side in (call.reads, call.writes))
    return call._replace(reads=tuple(reads), writes=tuple(writes))


def _part(path: str) -> str:
    """The part that a path belongs to: ``blocks.3.mlp.fc1`` belongs to ``blocks.mlp``,
    ``norm.weight`` to ``norm``."""
    names = path.split(".") if path else ["embed"]
    plain = [name for name in names if not name.isdecimal()]
    return ".".join(plain[: 1 + (len(plain) < len(names))])


def _in_order(kernels: Iterable[Call]) -> Iterator[Call]:
    """A layer norm first copies an input that is not contiguous, and computes the gradients of its
    weights in a kernel of its own: layer_norm_kernel.cu in aten."""
    for kernel in kernels:
        if kernel.name == "native_layer_norm" and kernel.reads[0].strides:
            x = kernel.reads[0]
            kept = x._replace(strides=None)
            yield kernel._replace(name="contiguous", reads=(x,), writes=(kept,), flops=0, defined=0)
        yield kernel
        if kernel.name == "native_layer_norm_backward" and len(kernel.writes) > 1:
            yield kernel._replace(name="sum", reads=kernel.reads[:4], writes=())


def amount(call: Call, setup: Setup) -> tuple[str, Work]:
    """The class of a kernel (empty for kernels that plain ViTs have too), and its work. The work is
    not multiplied by the weights of the class yet, so that sums over kernels hold for all weights.
    """
    kind, defined = class_of(call, setup), call.defined if call.phase == "forward" else 0
    if kind:
        flops, moved = amounts(call, kind)
        serial = _serial(call) if kind == SERIAL else 0
        work = Work(map_flops=flops, map_bytes=moved, serial=serial)
    else:
        work = _plain(call, setup)
    return kind, work._replace(launches=1, flops=defined)


def weighed(kind: str, backward: bool, work: Work, setup: Setup) -> Work:
    """The work of kernels of one class, times the weights of the class. On a processor each launch
    also counts as ``serial``."""
    if setup.platform == "cpu":
        work = work._replace(serial=work.launches)
    if not kind:
        return work
    flops, moved = weight_of(kind, setup, backward)
    return work._replace(map_flops=flops * work.map_flops, map_bytes=moved * work.map_bytes)


def _plain(call: Call, setup: Setup) -> Work:
    """The work of a kernel that plain ViTs have too."""
    name = call.name
    if name in ("mm", "addmm"):
        return _linear(call)
    if name in ("bmm", "baddbmm"):
        return _batched(call)
    if name in (CONVOLUTION, CONVOLUTION_BACK):
        return Work(conv_flops=call.flops, conv_bytes=call.moved)
    if is_attention(name):
        return _attention(call)
    if not setup.compiled and _strided(call):
        return Work(strided_bytes=call.moved)
    return Work(stream_bytes=_normed(call) if name == "native_layer_norm" else call.moved)


def _normed(call: Call) -> int:
    """Bytes of a layer norm, whose rows are padded; its means have one number for each row."""
    width = call.reads[0].shape[-1]
    pieces = (*call.reads, *call.writes)
    rows = sum(piece.bytes for piece in pieces if piece.shape[-1:] == (width,))
    return call.moved - rows + rows // width * whole(width, NORM_ROW)


def _linear(call: Call) -> Work:
    """A linear layer, whose output is padded to whole tiles; so are those of its backward pass.

    In the forward the last two operands are ``x`` and ``weight``. The backward multiplies the
    output's gradient with the weight for the gradient of ``x``. The product for the gradient of the
    weight is recognized by its first factor, which is transposed, or by its sum over the images.
    """
    first, second = call.reads[-2:]
    (rows, inner), columns = first.shape, second.shape[1]
    across = first.strides is not None and first.strides[0] < first.strides[1]
    # the gradient of the weight (out, in), from the transposed gradient
    of_weight = call.backward and (across or call.over_images)
    out = rows if of_weight else inner if call.backward else columns
    flops = call.flops // out * whole(out, TILE) if out else 0
    weights = sum(piece.bytes for piece in call.reads if piece is not first)
    return Work(
        gemm_flops=flops,
        linear_bytes=call.moved,
        weight_bytes=0 if of_weight else weights,
    )


def _batched(call: Call) -> Work:
    """A batch of products: those of an attention; or a linear layer whose rows are not contiguous,
    which reads one weight for every image and counts as one product."""
    first, second = call.reads[-2:]
    for weight in (second, first):
        if weight.strides is not None and weight.strides[0] == 0:
            out = weight.shape[2] if weight is second else weight.shape[1]
            flops = call.flops // out * whole(out, TILE)
            return Work(gemm_flops=flops, linear_bytes=call.moved, weight_bytes=weight.bytes)
    return Work(attention_flops=call.flops, attention_bytes=call.moved)


def _attention(call: Call) -> Work:
    """A fused attention: lengths are padded to whole tiles, heads to a width for which there is a
    kernel."""
    back = call.name.endswith("_backward")
    q, k, v = call.reads[1:4] if back else call.reads[:3]
    lengths = whole(q.shape[-2], TILE) * whole(k.shape[-2], TILE)
    wide, deep = head_width(q.shape[-1]), head_width(v.shape[-1])
    # forward: scores and output; backward: the scores again, and the gradients of v, scores, q and
    # k
    widths = 3 * wide + 2 * deep if back else wide + deep
    done = 2 * prod(q.shape[:-2]) * lengths * widths
    return Work(attention_flops=done, attention_bytes=call.moved, layers=0 if back else 1)


def _serial(call: Call) -> int:
    """Elements of all images and channels that one thread of a resampling visits one after the
    other; 0 for a large map, which has enough threads to hide that time (UpSampleBilinear2d.cu)."""
    *outer, height, width = call.writes[0].shape
    return prod(outer) if height * width <= FEW_THREADS else 0


# kernels that visit the elements of their operands in memory order
_ELEMENTWISE = frozenset({
    "add", "add_", "sub", "rsub", "mul", "mul_", "div", "div_", "addcmul", "gelu", "relu", "relu_",
    "silu", "silu_", "sigmoid", "hardswish", "hardswish_", "where", "native_dropout",
    "gelu_backward", "threshold_backward", "silu_backward", "neg", "stack",
})  # fmt: skip


def _strided(call: Call) -> bool:
    """Whether a kernel reads an operand in another order than it has in memory, or skips
    elements."""
    if call.name not in _ELEMENTWISE or not call.writes:
        return False
    written = call.writes[0]
    full = [p for p in call.reads if p.numel == written.numel or call.name == "stack"]
    return any(_across(piece, written) for piece in full)


def _across(piece: Piece, written: Piece) -> bool:
    if piece.strides is None:
        return written.strides is not None and piece.order[-1:] != written.order[-1:]
    if len(piece.shape) == len(written.shape) and piece.order[-1:] != written.order[-1:]:
        return True
    return piece.strides[piece.order[-1]] > 1 if piece.order else False
