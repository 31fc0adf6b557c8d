"""Attention kernels: what runs in place of the declared products of an attention."""

from collections.abc import Generator, Iterator, Mapping

from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Node

__all__ = ["choose", "decompose", "fuse", "padded", "root_mean_square", "statistics"]

# the seeds and offsets of the random state that a fused kernel keeps, 8 bytes each:
# aten's _scaled_dot_product_{flash,efficient,cudnn}_attention
_SEEDS = {("flash", "cuda"): 3, ("efficient", "cuda"): 2, ("cudnn", "cuda"): 2}


def statistics(kernel: str, platform: str, op: Op) -> Iterator[Tensor]:
    """What a fused kernel keeps for its backward besides q, k, v and its output: the log-sum-exp of
    every query, padded to 32 by the efficient kernel (s to the axis s32), and its random state."""
    batch, heads, queries, _ = op.reads[0].axes
    if kernel == "efficient":
        queries = 32 if queries == 1 else f"{queries}32"
    yield Tensor("log-sum-exp", (batch, heads, queries), "stat", None, 4)
    if (kernel, platform) in _SEEDS:
        yield Tensor("random state", (_SEEDS[kernel, platform],), "stat", None, 8)


def choose(op: Op, platform: str, half: bool) -> str:
    """The kernel that ``scaled_dot_product_attention`` takes by itself.

    aten's fused CPU kernel has no dropout, and no mask that needs a gradient: sdp_utils_cpp.cpp,
    use_flash_attention_cpp. The flash kernel of a card takes halves alone, and no mask:
    sdp_utils.cpp, check_tensor_dtype, check_for_attn_mask. Both want values as wide as queries.
    """
    q, _, v, *_ = op.reads
    _, _, _, *masks = op.needs
    same_width = q.axes[-1] == v.axes[-1]
    if platform == "cpu":
        dropout = any(part.kind == "dropout" for part in op.parts or ())
        return "flash" if same_width and not dropout and not any(masks) else "math"
    return "flash" if half and same_width and not masks else "efficient"


def padded(op: Op) -> tuple[Op, ...]:
    """A fused attention, and before it what its mask needs: rows of a multiple of 8 elements, which
    the efficient kernel reads aligned. aten's attention.cpp, preprocess_mask."""
    *operands, last = op.reads
    if len(operands) < 3:
        return (op,)
    mask = Tensor(last.name, (*last.axes[:-1], f"{last.axes[-1]}8"))
    return Op("pad", (last,), mask), op._replace(reads=(*operands, mask))


def fuse(node: Node) -> Node:
    """Replaces each run of ops of one group by one fused op that reads and writes the same."""
    body: list[Op | Node] = []
    group: list[Op] = []
    for item in (*node.body, None):
        if group and (item is None or not item.group):
            body += _difference(group) if _is_difference(group) else [_fused(group)]
            group = []
        if item is None:
            break
        if item.group:
            group += _ops(item)
        else:
            body.append(fuse(item) if isinstance(item, Node) else item)
    return node._replace(body=tuple(body))


def _fused(group: list[Op]) -> Op:
    written = {op.write for op in group}
    q, k, *masks, v = (t for op in group for t in op.reads if t not in written)
    return Op("sdpa", (q, k, v, *masks), group[-1].write, parts=tuple(group))


def _is_difference(group: list[Op]) -> bool:
    return any(op.kind == "gate" for op in group)


def _difference(group: list[Op]) -> list[Op | Node]:
    """A differential attention in fused kernels: one for each half of the heads, and the difference
    of what they write. Each multiplies with all of v: a product more than the definition has."""
    made = {op.write: op for op in group if op.kind in ("copy", "scale")}
    first, last = (op for op in group if op.over)
    gate = next(op for op in group if op.kind == "gate")
    (q, q_copied), (k, k_copied), (v, v_copied) = (
        _source(t, made) for t in (*first.reads, last.reads[1])
    )
    body: list[Op | Node] = []
    halves: list[Tensor] = []
    for product in ("matmul", "matmul again"):
        parts: list[Op] = []
        operands: list[Tensor] = []
        for x, copied in ((q, q_copied), (k, k_copied)):
            half = Tensor(x.name, (x.axes[0], v.axes[1], *x.axes[2:]), base=x)
            body.append(Op("split", (x,), half, group="attention"))
            # what lies side by side for all heads does so for half of them, or for one
            operands.append(_copied(half, parts) if copied and v_copied else half)
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
        body.append(_fused(parts))
    scaled = Tensor("gate", last.write.axes)
    body.append(gate._replace(reads=(halves[1], gate.reads[1]), write=scaled))
    body.append(Op("add", (halves[0], scaled), last.write, group="attention"))
    return body


def _copied(x: Tensor, parts: list[Op]) -> Tensor:
    parts.append(Op("copy", (x,), Tensor(x.name, x.axes), group="attention"))
    return parts[-1].write


def _source(t: Tensor, made: Mapping[Tensor, Op]) -> tuple[Tensor, bool]:
    """What an operand is a scaled or copied, and whether it is a copy."""
    copied = False
    while t in made:
        copied = copied or made[t].kind == "copy"
        t = made[t].reads[0]
    return t, copied


def _ops(item: Op | Node) -> Iterator[Op]:
    if isinstance(item, Op):
        yield item
    else:
        for inner in item.body:
            yield from _ops(inner)


def decompose(parts: tuple[Op, ...], half: bool) -> Iterator[Op]:
    """The parts as aten's ``_scaled_dot_product_attention_math`` runs them.

    It computes halves in fp32, and scales q and k by the root of the scale each instead of the
    scores; the copies that a product needs come after that.
    """
    dropped = {op.write: op for op in parts if op.kind in ("copy", "scale")}
    scales = tuple(op for op in parts if op.kind == "scale")
    written = {op.write for op in parts}
    first, last = (op for op in parts if op.over)
    now: dict[Tensor, Tensor] = {}

    def prepared(
        t: Tensor, product: bool, scale: tuple[Op, ...] | None
    ) -> Generator[Op, None, Tensor]:
        """The ops between an operand as it is given and as it is read, which is returned: queries
        may be the keys too, and are scaled apart."""
        kinds, source = set(), t
        while source in dropped:
            kinds.add(dropped[source].kind)
            source = dropped[source].reads[0]
        x = now.get(source, source)
        if not product or source in written:
            return x
        for kind, wanted in (
            ("cast", half),
            ("scale", scale is not None),
            ("copy", "copy" in kinds),
        ):
            if wanted:
                itemsize = 4 if kind == "cast" else 0
                step = Op(kind, (x,), Tensor(t.name, t.axes, "activation", None, itemsize))
                if kind == "scale":
                    step = step._replace(parts=scale)
                x = step.write
                yield step
        return x

    for op in parts:
        if op.write in dropped:
            continue
        # two scales stand for the declared one
        apart = (scales, ()) if op is first else (None,) * len(op.reads)
        reads: tuple[Tensor, ...] = ()
        for t, scale in zip(op.reads, apart, strict=True):
            reads = (*reads, (yield from prepared(t, bool(op.over), scale)))
        write = op.write
        if write.base is not None:
            write = Tensor(write.name, write.axes, write.role, reads[0])
        if op is last and half:
            # back to the precision that the kernel was given
            write = Tensor(write.name, write.axes)
            now[op.write] = Tensor(write.name, write.axes, "activation", None, 2)
        else:
            now[op.write] = write
        yield op._replace(reads=reads, write=write, group="")
        if now[op.write] is not write:
            yield Op("cast", (write,), now[op.write])


def root_mean_square(op: Op, half: bool) -> Iterator[Op]:
    """``x / rms(x) · weight`` as aten's ``rms_norm_composite`` runs it: halves in fp32."""
    (x,) = op.reads
    own = (*x.axes[:-1], 1)
    if half:
        wide = Tensor(x.name, x.axes, "activation", None, 4)
        yield Op("cast", (x,), wide)
        x = wide
    square, mean, rms, y = (
        Tensor(name, axes)
        for name, axes in (("square", x.axes), ("mean", own), ("rsqrt", own), ("mul", x.axes))
    )
    yield Op("square", (x,), square)
    yield Op("mean", (square,), mean)
    yield Op("rsqrt", (mean,), rms)
    yield Op("mul", (x, rms), y)
    wide = Tensor("gain", x.axes) if half else op.write
    yield Op("gain", (y,), wide, weight=op.weight, frozen=op.frozen)
    if half:
        yield Op("cast", (wide,), Tensor(op.write.name, x.axes, "activation", None, 2))
