"""Attention kernels: what runs in place of the declared products of an attention."""

from collections.abc import Iterator

from vitcost.engine.ops import Axis, Op, Tensor
from vitcost.engine.tree import Node

__all__ = ["STATISTICS", "decompose", "fuse"]

# what a fused kernel keeps for its backward besides q, k, v and its output: (axes, bytes) each.
# aten's _scaled_dot_product_{flash,efficient,cudnn}_attention: the log-sum-exp, padded to 32 by
# the efficient kernel, and two seeds and offsets of the random state
STATISTICS: dict[tuple[str, str], tuple[tuple[tuple[Axis, ...], int], ...]] = {
    ("flash", "cpu"): ((("b", "a", "s"), 4),),
    ("flash", "cuda"): ((("b", "a", "s"), 4), ((3,), 8)),
    ("efficient", "cuda"): ((("b", "a", "s32"), 4), ((2,), 8)),
    ("cudnn", "cuda"): ((("b", "a", "s"), 4), ((2,), 8)),
}


def fuse(node: Node) -> Node:
    """Replaces each run of ops of one group by one fused op that reads and writes the same."""
    body: list[Op | Node] = []
    group: list[Op] = []
    for item in (*node.body, None):
        if group and (item is None or not item.group):
            written = {op.write for op in group}
            reads = [t for op in group for t in op.reads if t not in written]
            body.append(Op("sdpa", tuple(reads), group[-1].write, parts=tuple(group)))
            group = []
        if item is None:
            break
        if item.group:
            group += _ops(item)
        else:
            body.append(fuse(item) if isinstance(item, Node) else item)
    return node._replace(body=tuple(body))


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
    *_, last = parts
    dropped = {op.write: op for op in parts if op.kind in ("copy", "scale")}
    written = {op.write for op in parts}
    first = next(op for op in parts if op.over)
    now: dict[Tensor, Tensor] = {}

    def prepared(t: Tensor, product: bool, scaled: bool) -> Iterator[Op]:
        """The ops between an operand as it is given and as it is read."""
        kinds, source = set(), t
        while source in dropped:
            kinds.add(dropped[source].kind)
            source = dropped[source].reads[0]
        now[t] = now.get(source, source)
        if not product or source in written:
            return
        for kind, wanted in (("cast", half), ("scale", scaled), ("copy", "copy" in kinds)):
            if wanted:
                itemsize = 4 if kind == "cast" else 0
                step = Op(kind, (now[t],), Tensor(t.name, t.axes, "activation", None, itemsize))
                now[t] = step.write
                yield step

    for op in parts:
        if op.write in dropped:
            continue
        for t in op.reads:
            yield from prepared(t, bool(op.over), op is first)
        reads = [now[t] for t in op.reads]
        if op is last and half:
            # back to the precision that the kernel was given
            reads = [Tensor("cast", t.axes, t.role, None, 2) for t in op.reads]
            yield Op("cast", (now[op.reads[0]],), reads[0])
        write = op.write
        if write.base is not None:
            write = Tensor(write.name, write.axes, write.role, reads[0])
        yield op._replace(reads=tuple(reads), write=write, group="")
