"""Attention kernels: the ops that run in place of the declared products of an attention."""

from collections.abc import Generator, Iterator, Mapping, Sequence

from vitcost.engine.ops import Axis, Op, Size, Sizes, Tensor
from vitcost.engine.tree import Node, ops_of

__all__ = [
    "BIAS",
    "attention_kernels",
    "choose",
    "decompose",
    "filled",
    "fuse",
    "padded",
    "statistics",
]

# the seeds and offsets of the random state that a fused kernel keeps, 8 bytes each:
# aten's _scaled_dot_product_{flash,efficient,cudnn}_attention
_SEEDS = {("flash", "cuda"): 3, ("efficient", "cuda"): 2, ("cudnn", "cuda"): 2}


def statistics(kernel: str, platform: str, op: Op) -> Iterator[Tensor]:
    """The tensors that a fused kernel saves for its backward besides q, k, v and its output: the
    log-sum-exp of every query, padded to 32 by the efficient kernel (s to the axis s32), and its
    random state.

    Two of the kernels write no log-sum-exp where no gradient is needed: attention.cpp,
    should_compute_logsumexp.
    """
    batch, heads, queries, _ = op.reads[0].axes
    if kernel == "efficient":
        queries = 32 if queries == 1 else f"{queries}32"
    if kernel == "flash" or any(op.needs[:3]):
        yield Tensor("log-sum-exp", (batch, heads, queries), "stat", None, 4)
    if (kernel, platform) in _SEEDS:
        yield Tensor("random state", (_SEEDS[kernel, platform],), "stat", None, 8)


def choose(op: Op, platform: str, half: bool) -> str:
    """The kernel that ``scaled_dot_product_attention`` chooses.

    aten's fused CPU kernel has no dropout, and no mask that needs a gradient or has three axes:
    sdp_utils_cpp.cpp, use_flash_attention_cpp. The flash kernel of a card takes only bf16 and fp16,
    and no mask: sdp_utils.cpp, check_tensor_dtype, check_for_attn_mask. Both require values as wide
    as queries.
    """
    q, _, v, *masks_read = op.reads
    _, _, _, *masks = op.needs
    same_width = q.axes[-1] == v.axes[-1]
    if platform == "cpu":
        dropout = any(part.kind == "dropout" for part in op.parts or ())
        odd = any(masks) or any(len(mask.axes) == 3 for mask in masks_read)
        return "flash" if same_width and not dropout and not odd else "math"
    return "flash" if half and same_width and not masks else "efficient"


def attention_kernels(tree: Node, sizes: Sizes) -> tuple[str, ...]:
    """The kernels that compute the attentions of a lowered tree, most used first; equally used
    kernels in the order they run. Where layers are counted by arrays or symbols, all are in that
    order.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> attention_kernels(lower(structure_of(base), Mode("sdpa")), sizes_of(base))
    ('efficient',)
    """
    counts: dict[str, int] = {}
    for kernel, times in _attentions(tree, sizes, 1):
        counts[kernel] = counts.get(kernel, 0) + (times if isinstance(times, int) else 0)
    return tuple(sorted(counts, key=lambda kernel: -counts[kernel]))


def _attentions(node: Node, sizes: Sizes, times: Size) -> Iterator[tuple[str, Size]]:
    """The kernel of every attention, and how often it is called."""
    for item in node.body:
        if isinstance(item, Op):
            if item.kernel:
                yield item.kernel, times
        else:
            yield from _attentions(item, sizes, times * item.times(sizes))


def padded(op: Op) -> tuple[Op, ...]:
    """A fused attention, and before it the steps that prepare its mask. The efficient kernel reads
    mask rows whose length is a multiple of 8: a shorter row is padded, and a view cuts it back. The
    mask is repeated for every image: attention.cpp in aten, preprocess_mask."""
    *operands, last = op.reads
    if len(operands) < 3 or str(last.axes[-1]).endswith("8"):
        return (op,)
    mask = Tensor(last.name, (*last.axes[:-1], f"{last.axes[-1]}8"))
    cut = Tensor(last.name, mask.axes, base=mask)
    # the caller keeps the mask alive
    attended = op._replace(reads=(*operands, cut), holds=(*op.holds, last))
    return Op("pad", (last,), mask), Op("cut", (mask,), cut), attended


def filled(op: Op, one_head: bool) -> Iterator[Op]:
    """A flash attention on heads that are filled up to a width of a multiple of 8, and its result
    cut back: aten's attention.cpp, pad_last_dim. The cut heads of one query are then no longer
    contiguous, so putting them side by side is a copy."""
    wide = tuple(Tensor(t.name, _filled(t)) for t in op.reads)
    for x, y in zip(op.reads, wide, strict=True):
        yield Op("pad", (x,), y)
    assert op.parts is not None
    end = next(i for i in reversed(range(len(op.parts))) if op.parts[i].over)
    product = op.parts[end].write
    whole = Tensor(product.name, _filled(product))
    yield op._replace(reads=wide, write=whole)
    cut = Tensor(product.name, product.axes, base=whole)
    yield Op("slice", (whole,), cut)
    behind = op.parts[end + 1 :]
    if behind and product.axes[-2] == 1 and not one_head:
        first, *rest = behind
        write = first.write
        copied = Tensor(write.name, write.axes, write.role)
        behind = (first._replace(kind="merge", write=copied), *rest)
    yield from _behind(behind, cut)


def _behind(parts: Sequence[Op], y: Tensor) -> Iterator[Op]:
    """A copy with adjacent heads, in the forward around a kernel that returns them apart."""
    for op in parts:
        base = None if op.write.base is None else y
        write = op.write if base is None else Tensor(op.write.name, op.write.axes, base=base)
        yield op._replace(reads=(y,), write=write, group="")


def _filled(t: Tensor) -> tuple[Axis, ...]:
    *outer, width = t.axes
    return (*outer, f"{width}8")


# the group of ops that make a bias inside plain attention; a fused kernel gets the bias ready-made
BIAS = "bias"


def fuse(node: Node, masks: frozenset[Tensor] = frozenset()) -> Node:
    """Replaces each run of ops of one group by one fused op that reads and writes the same. The
    forward around a kernel keeps names for its operands, and for both outputs of a differential
    attention. ``masks`` are built into the kernel, so no op makes them."""
    if not masks and not any(map(_may_change, node.body)):
        return node
    body: list[Op | Node] = []
    group: list[Op] = []
    held, also = list(node.held), list(node.also)
    for item in (*node.body, None):
        if group and (item is None or not item.group):
            differs = any(op.kind == "gate" for op in group)
            fused = _difference(group) if differs else [*_fused(group)]
            kernels = [op for op in fused if isinstance(op, Op) and op.kind == "sdpa"]
            # temporaries of a kernel have no name in the forward
            inside = {op.write for op in group[:-1]}
            held = [t for t in held if t not in inside]
            also = [t for t in also if t not in inside]
            held += (t for op in kernels for t in op.reads)
            held += (op.write for op in kernels if len(kernels) > 1)
            body += fused
            group = []
        if item is None:
            break
        if isinstance(item, Op) and item.kind == "make mask":
            masks |= {item.write}
            continue
        if item.group == BIAS:
            body.append(item)
        elif item.group:
            group += [item] if isinstance(item, Op) else ops_of(item)
        else:
            body.append(fuse(item, masks) if isinstance(item, Node) else item)
    inputs = tuple(t for t in node.inputs if t not in masks)
    return node._replace(body=tuple(body), inputs=inputs, held=tuple(held), also=tuple(also))


def _may_change(item: Op | Node) -> bool:
    return isinstance(item, Node) or item.group != "" or item.kind == "make mask"


def _fused(group: list[Op]) -> Iterator[Op]:
    """One fused kernel for a group of ops; it takes the sum of two biases as its mask. The
    precision in which a plain forward computes weights does not matter to it, and it applies a
    causal mask itself."""
    cast = {op.write: op.reads[0] for op in group if op.kind in ("cast", "mask")}
    group = [
        op._replace(reads=tuple(cast.get(t, t) for t in op.reads))
        for op in group
        if op.write not in cast
    ]
    biased = [op for op in group if op.kind == "add"]
    if len(biased) > 1:
        first, second = biased
        biases = first.reads[1], second.reads[1]
        bias = Tensor("add", biases[0].axes)
        yield Op("add", biases, bias)
        group = [op for op in group if op is not first]
        group[group.index(second)] = second._replace(reads=(first.reads[0], bias))
    q, k, *masks, v = _operands(group)
    if _keys_first(group):
        q, k = k, q
    yield Op("sdpa", (q, k, v, *masks), group[-1].write, parts=tuple(group))


def _operands(parts: Sequence[Op]) -> list[Tensor]:
    """The inputs of a kernel's parts that none of the parts writes: queries and keys, masks,
    values."""
    written = {op.write for op in parts}
    return [t for op in parts for t in op.reads if t not in written]


def _keys_first(parts: Sequence[Op]) -> bool:
    """Whether the keys are read before the queries: then the queries are neither scaled nor
    copied."""
    writers = {op.write: op for op in parts if op.kind in ("copy", "scale")}
    product = next(op for op in parts if op.over)
    return _source(product.reads[0], writers)[0] is not _operands(parts)[0]


def _difference(group: list[Op]) -> list[Op | Node]:
    """A differential attention in fused kernels: one for each half of the heads, and the difference
    of what they write. Each multiplies its weights with all of v: one product more than in the
    definition."""
    writers = {op.write: op for op in group if op.kind in ("copy", "scale")}
    first, last = (op for op in group if op.over)
    gate = next(op for op in group if op.kind == "gate")
    (q, q_copied), (k, k_copied), (v, v_copied) = (
        _source(t, writers) for t in (*first.reads, last.reads[1])
    )
    # one unbind call gives both halves of an operand
    split = [
        [
            Op("split", (x,), Tensor(x.name, (x.axes[0], v.axes[1], *x.axes[2:]), base=x),
               group="attention")
            for _ in range(2)
        ]
        for x in (q, k)
    ]  # fmt: skip
    body: list[Op | Node] = [op for ops in split for op in ops]
    halves: list[Tensor] = []
    for product, *both in zip(("matmul", "matmul again"), *split, strict=True):
        parts: list[Op] = []
        # an operand that needs no copy with all heads needs none with half of them
        operands = [
            _copied(half.write, parts) if copied and v_copied else half.write
            for half, copied in zip(both, (q_copied, k_copied), strict=True)
        ]
        scores = Tensor("matmul", last.reads[0].axes)
        parts.append(first._replace(reads=tuple(operands), write=scores))
        for op in group:
            if op.kind in ("softmax", "dropout"):
                parts.append(op._replace(reads=(scores,), write=Tensor(op.kind, scores.axes)))
                scores = parts[-1].write
        values = _copied(v, parts) if v_copied else v
        y = Tensor("matmul", last.write.axes)
        parts.append(last._replace(kind=product, reads=(scores, values), write=y))
        halves.append(y)
        body += _fused(parts)
    # pointwise work counts the definition, which scales and weighs the scores
    rest = [op for op in group if op.kind in ("scale", "gate")]
    defined = [part._replace(reads=()) for op in rest for part in op.parts or (op,)]
    scaled = Tensor("gate", last.write.axes)
    read = halves[1], gate.reads[1]
    body.append(gate._replace(reads=read, write=scaled, parts=tuple(defined)))
    body.append(Op("subtract", (halves[0], scaled), last.write, group="attention"))
    return body


def _copied(x: Tensor, parts: list[Op]) -> Tensor:
    parts.append(Op("copy", (x,), Tensor(x.name, x.axes), group="attention"))
    return parts[-1].write


def _source(t: Tensor, writers: Mapping[Tensor, Op]) -> tuple[Tensor, bool]:
    """The tensor from which an operand was scaled or copied, and whether the operand is a copy."""
    copied = False
    while t in writers:
        copied = copied or writers[t].kind == "copy"
        t = writers[t].reads[0]
    return t, copied


def decompose(parts: tuple[Op, ...], operands: Sequence[Tensor], half: bool) -> Iterator[Op]:
    """The parts as aten's ``_scaled_dot_product_attention_math`` runs them.

    It computes bf16 and fp16 in fp32, and scales q and k each by the root of the scale, not the
    scores; operands are copied for a product after that. It also returns the weights, which no op
    reads. Queries, keys and values are separate operands, even if they are one tensor.
    """
    parts = _reading(parts, operands)
    writers = {op.write: op for op in parts if op.kind in ("copy", "scale")}
    scales = tuple(op for op in parts if op.kind == "scale")
    first, last = (op for op in parts if op.over)
    factors = (*first.reads, last.reads[1])
    sources = [_source(t, writers)[0] for t in factors]
    named = _operands(parts)
    for i, t in enumerate(factors) if half else ():
        wide = Tensor(t.name, t.axes, "activation", None, 4)
        yield Op("cast", (sources[i],), wide)
        named.append(wide)
        sources[i] = wide
    # the root of the scale on q and on k replaces the declared scale of the scores
    q = yield from _prepared(first.reads[0], sources[0], writers, scales)
    named.append(q[0])
    k = yield from _prepared(first.reads[1], sources[1], writers, ())
    # C++ never names the scaled keys: they die at the end of the statement that uses them
    yield first._replace(reads=(q[-1], k[-1]), group="", holds=tuple(k[:1]))
    end = parts.index(last)
    for op in parts[:end]:
        if op.write not in writers and not op.over:
            reads = tuple(_source(t, writers)[0] for t in op.reads)
            write = op.write
            if write.base is not None:
                write = Tensor(write.name, write.axes, write.role, reads[0])
            kernel = "math" if op.kind == "softmax" else ""
            yield op._replace(reads=reads, write=write, group="", kernel=kernel)
    named.append(last.reads[0])
    if half:
        # the weights that are returned come first: C++ evaluates a pair from its end
        named.append(Tensor("weights", last.reads[0].axes, "activation", None, 2))
        yield Op("cast", (last.reads[0],), named[-1])
    v = yield from _prepared(factors[2], sources[2], writers, None)
    output = yield from _weighed(last, v[-1], tuple(named), half)
    yield from _behind(parts[end + 1 :], output)


def _reading(parts: tuple[Op, ...], operands: Sequence[Tensor]) -> tuple[Op, ...]:
    """The parts of a kernel, made to read these queries, keys, values and masks."""
    q, k, v, *masks = operands
    if _keys_first(parts):
        q, k = k, q
    reads_in_order = iter((q, k, *masks, v))
    written = {op.write for op in parts}
    return tuple(
        op._replace(reads=tuple(t if t in written else next(reads_in_order) for t in op.reads))
        for op in parts
    )


def _weighed(
    last: Op, v: Tensor, holds: tuple[Tensor, ...], half: bool
) -> Generator[Op, None, Tensor]:
    """The weighted sum of values, cast back to the precision of the operands."""
    write = Tensor(last.write.name, last.write.axes) if half else last.write
    yield last._replace(reads=(last.reads[0], v), write=write, group="", holds=holds)
    if half:
        narrow = Tensor(write.name, write.axes, "activation", None, 2)
        yield Op("cast", (write,), narrow, holds=holds)
        return narrow
    return write


def _prepared(
    t: Tensor, x: Tensor, writers: Mapping[Tensor, Op], scale: tuple[Op, ...] | None
) -> Generator[Op, None, list[Tensor]]:
    """Scales an operand, and copies it if a product needs a copy: the tensor after each step."""
    steps: list[tuple[str, tuple[Op, ...] | None]] = []
    if scale is not None:
        steps.append(("scale", scale))
    if _source(t, writers)[1]:
        steps.append(("copy", None))
    wrote = [] if steps else [x]
    for kind, stands_for in steps:
        step = Op(kind, (x,), Tensor(t.name, t.axes), parts=stands_for)
        yield step
        x = step.write
        wrote.append(x)
    return wrote
