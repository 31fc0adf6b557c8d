"""Passes over the kernels of a step: how memory layout, torch version and compiler change them."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from vitcost.engine.kinds import KINDS
from vitcost.engine.launches import Step, like, step_of
from vitcost.engine.ops import Op, Tensor

__all__ = [
    "as_rows",
    "fuse",
    "in_order",
    "interleaved",
    "layout",
    "one_pass",
    "rms_norm_by_torch",
    "rms_norm_by_variance",
]


def layout(steps: Iterable[Step], compiled: bool = False) -> Iterator[Step]:
    """Images are stored channel by channel (NCHW), and so are the patches that the convolution
    writes.

    Tokens stay in that order until a kernel writes them in another: one that puts a prefix token in
    front, or a norm. Pointwise kernels keep the layout of their first operand, and read a second
    one in that order, even if it has another order in memory.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> siglip = workload(resolve("vit_base_patch16_siglip_224").config, Scenario())
    >>> sorted({step.path for step in layout(siglip.kernels()) if step.op.kind == "copy"})
    ['blocks.norm1', 'blocks.norm2', 'norm']
    """
    across: set[Tensor] = set()
    for step in steps:
        op, way = step.op, KINDS[step.op.kind].layout
        if way == "turns":
            across.add(op.write)
        elif step.view:
            if any(t in across for t in op.reads):
                across.add(op.write)
        elif op.reads and op.reads[0] in across and way == "lays out":
            yield from (_compiled_reader if compiled else _eager_reader)(step)
            if compiled:
                across.discard(op.reads[0])
            continue
        elif any(t in across for t in op.reads) and way == "keeps":
            # a broadcast operand is small, so its order does not matter
            full = [t for t in op.reads if t.axes[:1] == ("b",)]
            if full[0] in across:
                across.add(op.write)
            step = step._replace(strided=any(t not in across for t in full))
        yield step


def as_rows(steps: Iterable[Step]) -> Iterator[Step]:
    """If patches are stored pixel by pixel, or a compiler chooses the order, tokens are the rows of
    a matrix: the copies before linear layers, which tokens in channel order need, are removed, and
    the product itself adds the bias.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> rpn = workload(resolve("vit_base_patch16_rpn_224").config, Scenario(batch=2)).kernels()
    >>> [sum(step.op.kind == kind for step in rpn) for kind in ("copy", "bias")]
    [4, 2]
    >>> [sum(step.op.kind == kind for step in as_rows(rpn)) for kind in ("copy", "bias")]
    [0, 0]
    """
    across: set[Tensor] = set()
    copied: dict[Tensor, Tensor] = {}
    product: Step | None = None
    for step in steps:
        op, way = step.op, KINDS[step.op.kind].layout
        if product is not None:
            added = op.kind == "bias" and op.reads[0] is product.op.write
            whole = product.op._replace(write=op.write, bias=op.weight) if added else product.op
            yield step_of(whole, product.path, product.counts)
            product = None
            if added:
                continue
        x = op.reads[0] if op.reads else None
        if op.kind == "copy" and x in across:
            copied[op.write] = x
        elif op.kind == "linear" and (x in copied or x in across):
            # the rows of one image need no copy
            product = step._replace(op=op._replace(reads=(copied.get(x, x),)))
        else:
            full = [t for t in op.reads if t.axes[:1] == ("b",)]
            kept = step.view or way == "keeps"
            if way == "turns" or (kept and full and full[0] in across):
                across.add(op.write)
            yield step
    if product is not None:
        yield step_of(product.op, product.path, product.counts)


def _eager_reader(step: Step) -> Iterator[Step]:
    """A reader of tokens in channel order: a layer norm copies them first; a linear layer becomes a
    batched product, and a kernel of its own adds the bias."""
    if KINDS[step.op.kind].work == "norm":
        yield _copy(step)
        yield step
    else:
        yield step
        if step.op.bias is not None:
            y = step.op.write
            yield step_of(Op("add", (y,), y), step.path, step.counts)


def _compiled_reader(step: Step) -> Iterator[Step]:
    """Under a compiler, a norm writes in the order that its reader needs; a product gets a copy."""
    if step.product:
        yield _copy(step)._replace(strided=True)
    yield step


def _copy(step: Step) -> Step:
    x = step.op.reads[0]
    return step_of(Op("copy", (x,), like(x)), step.path, step.counts)


def in_order(steps: Iterable[Step], one_head: bool = False) -> Iterator[Step]:
    """A layer norm first copies an input that is not contiguous: queries and keys by head, between
    whose tokens lie the other heads, and parts of a larger tensor. A pointwise kernel writes a part
    contiguously, but keeps the order of heads: ``expect_contiguous`` in aten's
    layer_norm_kernel.cu.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> normed = resolve("vit_base_patch16_224", qk_norm=True).config
    >>> steps = in_order(workload(normed, Scenario()).kernels())
    >>> sorted({step.path for step in steps if step.op.kind == "copy"})
    ['blocks.attn.k_norm', 'blocks.attn.q_norm']
    """
    parts: set[Tensor] = set()
    by_head: set[Tensor] = set()
    for step in steps:
        op, x = step.op, step.op.reads[0] if step.op.reads else None
        row = KINDS[op.kind]
        if "part" in row.view:
            parts.add(op.write)
        turned = "heads" in row.view and "a" in op.write.axes[1:2] and not one_head
        if turned or (x in by_head and row.layout == "keeps"):
            by_head.add(op.write)
        if op.kind == "norm" and (x in parts or x in by_head):
            yield _copy(step)
        yield step


def interleaved(steps: Iterable[Step]) -> Iterator[Step]:
    """A rotary embedding rotates pairs of neighbouring channels: each of its kernels reads every
    second element. Source: timm 1.0.31, timm/layers/pos_embed_sincos.py, ``rot``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> eva = workload(resolve("eva02_base_patch14_224").config, Scenario())
    >>> {step.op.kind for step in interleaved(eva.kernels()) if step.strided}
    {'rotate'}
    """
    for step in steps:
        yield step._replace(strided=True) if step.op.kind == "rotate" else step


def one_pass(steps: Iterable[Step]) -> Iterator[Step]:
    """A softmax or a sum that autocast runs in fp32 reads half precision directly, without a cast
    before: ``softmax(x, dtype=float)``, ``fp32_set_opt_dtype`` in autocast_mode.h.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(precision="amp-bf16", attention="eager")
    >>> steps = workload(resolve("vit_base_patch16_224").config, scenario).kernels()
    >>> [step.op.reads[0].itemsize for step in one_pass(steps) if step.op.kind == "softmax"]
    [2, 2]
    """
    for cast, step in _after_casts(steps):
        if cast is not None and step is not None and KINDS[step.op.kind].widens:
            yield step_of(step.op._replace(reads=cast.op.reads), step.path, step.counts)
        else:
            yield from (each for each in (cast, step) if each is not None)


def _after_casts(steps: Iterable[Step]) -> Iterator[tuple[Step | None, Step | None]]:
    """Each step together with the cast right before it, or None; a cast that no such step follows
    comes alone, with None as its step."""
    cast: Step | None = None
    for step in steps:
        if step.op.kind == "cast":
            if cast is not None:
                yield cast, None
            cast = step
        else:
            yield cast, step
            cast = None
    if cast is not None:
        yield cast, None


def rms_norm_by_variance(steps: Iterable[Step]) -> Iterator[Step]:
    """timm's RMS norm until 2024: ``x · rsqrt(var(x)) · weight``, in the precision of x. Source:
    timm/layers/fast_norm.py, ``rms_norm``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> aim = workload(resolve("aimv2_large_patch14_224").config, Scenario())
    >>> [step.op.kind for step in rms_norm_by_variance(aim.kernels()) if step.path == "norm"]
    ['mean', 'mul', 'gain']
    """

    def form(casts: list[Step], norm: Step, x: Tensor, stat: Tensor) -> list[Step]:
        y = like(x)
        return [
            _beside(norm, Op("mean", (x,), stat)),
            _beside(norm, Op("mul", (x, stat), y)),
            _beside(norm, Op("gain", (y,), norm.op.write, weight=norm.op.weight)),
        ]

    return _rewritten(steps, form)


def rms_norm_by_torch(steps: Iterable[Step]) -> Iterator[Step]:
    """``torch.nn.functional.rms_norm``: one kernel in fp32; if only the weight is fp32, a chain of
    kernels in fp32 that casts back before the weight. Source: aten's layer_norm.cpp.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> aim = workload(resolve("aimv2_large_patch14_224").config, Scenario())
    >>> [step.op.kind for step in rms_norm_by_torch(aim.kernels()) if step.path == "norm"]
    ['rms norm']
    """

    def form(casts: list[Step], norm: Step, x: Tensor, stat: Tensor) -> list[Step]:
        if not casts:
            return [norm]
        wide, square, back = like(x, 4), like(x, 4), like(x)
        return [
            *casts,
            _beside(norm, Op("square", (wide,), square)),
            _beside(norm, Op("mean", (square,), stat)),
            _beside(norm, Op("mul", (wide, stat), like(x, 4))),
            _beside(norm, Op("cast", (wide,), back)),
            _beside(norm, Op("gain", (back,), norm.op.write, weight=norm.op.weight)),
        ]

    return _rewritten(steps, form)


_Form: TypeAlias = Callable[[list[Step], Step, Tensor, Tensor], list[Step]]


def _rewritten(steps: Iterable[Step], form: _Form) -> Iterator[Step]:
    """Rewrites each RMS norm, together with the cast of its input if there is one."""
    for cast, step in _after_casts(steps):
        if step is None or step.op.kind != "rms norm":
            yield from (each for each in (cast, step) if each is not None)
            continue
        widened = cast is not None and cast.op.write is step.op.reads[0]
        if cast is not None and not widened:
            yield cast
        casts = [cast] if cast is not None and widened else []
        x = casts[0].op.reads[0] if casts else step.op.reads[0]
        yield from form(casts, step, x, Tensor("mean", (*x.axes[:-1], 1), itemsize=4))


def _beside(step: Step, op: Op) -> Step:
    return step_of(op, step.path, step.counts)


def fuse(steps: Iterable[Step]) -> list[Step]:
    """The kernels that a compiler makes of some steps: one kernel does all pointwise work between
    two products.

    Such a kernel reads each tensor of an earlier kernel a single time, and writes each tensor that
    a later kernel reads.

    >>> x, y, z, logits = (Tensor(name, ("b", "h")) for name in ("x", "y", "z", "logits"))
    >>> ops = Op("gelu", (x,), y), Op("mul", (y,), z), Op("linear", (z,), logits, over=("h",))
    >>> first, last = fuse([step_of(op, "head") for op in ops])
    >>> first.reads, first.writes, last.op.kind
    ((x[b h],), (z[b h],), 'linear')
    """
    groups: list[list[Step]] = [[]]
    for step in steps:
        if step.view:
            continue
        if _apart(groups[-1], step):
            groups.append([])
        groups[-1].append(step)
    readers: dict[Tensor, set[int]] = {}
    for i, group in enumerate(groups):
        for step in group:
            for tensor in step.reads:
                readers.setdefault(tensor.storage, set()).add(i)
    return [_fused(group, i, readers) for i, group in enumerate(groups) if group]


def _apart(group: list[Step], step: Step) -> bool:
    """Whether a kernel cannot do this step together with those before it: the step is a product,
    reads in another order than that of memory, or is launched another number of times."""
    if not group:
        return False
    last = group[-1]
    crosses = step.strided or last.strided
    return step.product or last.product or crosses or last.counts != step.counts


def _fused(group: list[Step], i: int, readers: dict[Tensor, set[int]]) -> Step:
    last = group[-1]
    if len(group) == 1:
        return last
    written = dict.fromkeys(t for step in group for t in step.writes)
    stored = {t.storage for t in written}
    reads = dict.fromkeys(t for step in group for t in step.reads if t.storage not in stored)
    writes = [t for t in written if readers.get(t.storage, set()) - {i}]
    return last._replace(reads=tuple(reads), writes=tuple(writes))
