"""Attention in all the forms that Vision Transformers use it.

Beside the letters of ``layers``: k{i} = a{i}·d the width of a{i} grouped key and value heads, w the
entries of a relative position table, d_2 half a head, pool_a heads of pool_d in an attention pool.
"""

from collections.abc import Callable, Sequence

from vitcost.config.records import Record
from vitcost.engine.attention_kernels import BIAS
from vitcost.engine.layers import norm, plain_mlp
from vitcost.engine.ops import Axis, Op, Tensor, axes
from vitcost.engine.structure import Span, Structure
from vitcost.engine.tree import Module, Node, linear

__all__ = [
    "Outer",
    "attention",
    "attention_pool",
    "block_bias",
    "heads",
    "merge",
    "pair_index",
    "refine",
    "relative_positions",
    "weigh",
]

_TYPES = {
    "attn": "Attention",
    "eva": "EvaAttention",
    "rope": "AttentionRope",
    "diff": "DiffAttention",
}


class Outer(Record):
    """The tensors that every attention of a model reads besides its input."""

    rope: Tensor | None = None  # sines and cosines
    bias: Tensor | None = None  # added to the scores
    pairs: Tensor | None = None  # the index of biases, where no buffer has it
    causal: Tensor | None = None  # added to the scores of plain products alone

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(t for t in self if t is not None)


def relative_positions(c: Structure, m: Module, pairs: Tensor | None) -> Tensor | None:
    """The bias that all blocks add to their scores."""
    if not c.shared_rel_pos_bias:
        return None
    shared = Module("rel_pos_bias", "RelativePositionBias", *([pairs] if pairs else []))
    bias = _relative(c, shared, _table(c, shared), pairs)
    return m.add(shared.end(shared.view(bias, axes("1 a s s")) if pairs else bias))


def pair_index(c: Structure, m: Module) -> Tensor | None:
    """The index of pairs of positions that a process caches, in the memory of the machine."""
    if not (c.code.caches_pairs and (c.rel_pos_bias or c.shared_rel_pos_bias)):
        return None
    index = Tensor("pairs", axes("s s"), "cached", itemsize=8)
    m.body.append(Op("cached", (), index))
    m.hold(index)
    return index


def block_bias(c: Structure, m: Module, outer: Outer) -> Outer:
    """The bias that a block makes before its attention; the block's forward keeps a name for it
    until the block returns."""
    if not _by_block(c):
        return outer
    bias = m.view(_relative(c, m, _table(c, m), outer.pairs), axes("1 a s s"))
    m.hold(bias)
    if outer.bias is not None:
        bias = m.op("add", bias, outer.bias)
        m.hold(bias)
    return outer._replace(bias=bias)


def attention(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """Multi-head self-attention: ``softmax(q kᵀ · scale) v``, heads merged, projected."""
    m = Module("attn", c.made.type(_TYPES[c.attn]), x, *outer.tensors)
    y = _differential(c, m, x) if c.attn == "diff" else _self_attention(c, m, x, span, outer)
    if c.attn_norm:
        y = norm(c.norm, m, "norm", y)
    y = linear(m, "proj", y, "h", c.proj_bias)
    return m.end(m.leaf("proj_drop", "Dropout", "dropout" if c.proj_drop else "", y))


def _by_block(c: Structure) -> bool:
    return c.rel_pos_bias and c.code.block_bias


def _self_attention(c: Structure, m: Module, x: Tensor, span: Span, outer: Outer) -> Tensor:
    q, k, v = _project(c, m, x, span)
    if c.qk_norm:
        queries, q, k = q, norm(c.norm, m, "q_norm", q), norm(c.norm, m, "k_norm", k)
        # `q, k = q_norm(q), k_norm(k)` rebinds both at once: the old q lives until k is normed
        m.hold_through(queries)
    if outer.rope is not None:
        # a plain model has learned positions alone
        from vitcost.engine.rotary import rotate, rotate_both

        if c.code.turns_both:
            q, k = rotate_both(c, m, q, k, outer.rope)
        else:
            q, k = rotate(c, m, q, v, outer.rope), rotate(c, m, k, v, outer.rope)
    if span.kv:
        k, v = (m.op("repeat", t, axes=axes("b a s d"), name=t.name) for t in (k, v))
    biases: list[Callable[[], Tensor]] = []
    if c.rel_pos_bias and not _by_block(c):
        table = _table(c, m)
        biases.append(
            lambda: m.view(_relative(c, m, table, outer.pairs, BIAS), axes("1 a s s"), group=BIAS)
        )
    if (shared := outer.bias) is not None:
        biases.append(lambda: shared)
    return merge(c, m, weigh(c, m, q, k, v, biases=biases, causal=outer.causal, drop=True), q)


def _project(c: Structure, m: Module, x: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor]:
    """Projects the input to queries, keys and values: with one joint layer, or with three."""
    if c.qkv_fused:
        joined = None
        if c.qkv_bias and not c.k_bias:
            biases = m.parameter("q_bias", "h"), m.parameter("v_bias", "h")
            joined = m.op("cat", *biases, axes=("q",))
            m.hold(joined)
            if "keys" in c.code.buffers:
                m.buffer("k_bias", "h")
        qkv = linear(m, "qkv", x, "q", bias=c.k_bias, joined=joined)
        m.hold(qkv)
        return heads(m, qkv, qkv, qkv)
    kv = f"k{span.kv}" if span.kv else "h"
    q = linear(m, "q_proj", x, "h", c.qkv_bias)
    k = linear(m, "k_proj", x, kv, c.k_bias)
    v = linear(m, "v_proj", x, kv, c.qkv_bias)
    return heads(m, q, k, v, f"a{span.kv}")


def heads(
    m: Module, q: Tensor, k: Tensor, v: Tensor, kv_heads: Axis = "a"
) -> tuple[Tensor, Tensor, Tensor]:
    """Three projections as ``b a s d``: views, however the projections are laid out."""
    kind = "unbind" if q is k else "heads"
    return (
        m.view(q, axes("b a s d"), "q", kind=kind),
        m.view(k, ("b", kv_heads, "s", "d"), "k", kind=kind),
        m.view(v, ("b", kv_heads, "s", "d"), "v", kind=kind),
    )


def weigh(
    c: Structure,
    m: Module,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    biases: Sequence[Callable[[], Tensor]] = (),
    causal: Tensor | None = None,
    drop: bool = False,
    adjacent: bool = False,
) -> Tensor:
    """The weighted sum of values; the product of q and k contracts d, that with v contracts s.
    ``adjacent``: heads and images lie side by side in them."""
    weights = _weights(c, m, q, k, drop, biases, causal, adjacent)
    values = v if adjacent else _adjacent(c, m, v)
    y = m.op(
        "matmul",
        weights,
        values,
        axes=(*q.axes[:3], v.axes[3]),
        over=v.axes[2:3],
        group="attention",
    )
    m.hold(k, v, weights)
    if drop and c.code.returns_weights:
        m.returns(weights)
    return y


def _adjacent(c: Structure, m: Module, x: Tensor, like: Tensor | None = None) -> Tensor:
    """An operand of a batched product. In a view of a projection batch and heads are not adjacent,
    so that bmm reads a copy, which only bmm holds. A single token has adjacent heads."""
    one_head = (x.axes[1] == "a" and c.one_head) or (x.axes[1] == "pool_a" and c.pool_one_head)
    if c.one_image or one_head or x.axes[2] == 1 or (like or x).base is None:
        return x
    return m.op("copy", x, name=x.name, group="attention")


def _weights(
    c: Structure,
    m: Module,
    q: Tensor,
    k: Tensor,
    drop: bool,
    biases: Sequence[Callable[[], Tensor]] = (),
    causal: Tensor | None = None,
    adjacent: bool = False,
) -> Tensor:
    """The softmax of the scores. A fresh bias is computed inside plain attention, where it is
    added."""
    laid_out = q
    if c.scale_query:
        # pointwise work counts the definition, softmax(q kᵀ · scale), wherever torch applies the
        # scale
        scores = Tensor("scores", (*q.axes[:3], k.axes[2]))
        definition = Op("scale", (scores,), Tensor("scale", scores.axes))
        q, queries = m.op("scale", q, group="attention", parts=(definition,)), q
        if queries is k:
            # in PRR q, k and v are one tensor: the forward keeps it, but has no name for its scaled
            # copy
            m.hold(queries)
        else:
            m.hold(q)
    else:
        m.hold(q)
    if not adjacent:
        q, k = _adjacent(c, m, q, like=laid_out), _adjacent(c, m, k)
    scores = m.op("matmul", q, k, axes=(*q.axes[:3], k.axes[2]), over=q.axes[3:], group="attention")
    if not c.scale_query:
        scores = m.op("scale", scores, group="attention")
    for bias in biases:
        scores = m.op("add", scores, bias(), group="attention")
    if causal is not None:
        scores = m.op("mask", scores, causal, group="attention")
    if c.code.keeps_scores:
        m.hold(scores)
    weights = _softmax(c, m, scores, like=q)
    if not drop:
        return weights
    return m.leaf(
        "attn_drop", "Dropout", "dropout" if c.attn_drop else "", weights, group="attention"
    )


def _softmax(c: Structure, m: Module, scores: Tensor, like: Tensor) -> Tensor:
    """The softmax in the precision of the scores; or in fp32, then cast back to that of the
    queries."""
    if not c.code.wide_softmax:
        weights = m.op("softmax", scores, group="attention")
        return m.cast(weights, like, group="attention") if c.code.casts_weights else weights
    wide = m.op("softmax", scores, group="attention", itemsize=4)
    # the forward's name `scores` keeps them alive until it is bound to the weights
    return m.cast(wide, like, group="attention", holds=(scores,))


def merge(c: Structure, m: Module, y: Tensor, q: Tensor | None = None) -> Tensor:
    """Puts the heads side by side again. An attention kernel writes in the layout of its queries:
    only where the queries are a view of a projection does the kernel itself write heads side by
    side."""
    merged = (y.axes[0], y.axes[2], "h")
    group = "attention" if q is not None and q.base is not None else ""
    if c.one_head or y.axes[2] == 1:
        return m.view(y, merged, group=group)
    return m.op("merge", y, axes=merged, group=group)


def _differential(c: Structure, m: Module, x: Tensor) -> Tensor:
    """The difference of two attentions, whose heads are half as wide."""
    # the norm runs before the projection, and is registered after it
    m.registers("sub_norm")
    qkv = linear(m, "qkv", x, "q", bias=c.qkv_bias)
    m.hold(qkv)
    q, k = (m.view(qkv, axes("b s two_a d_2"), name, kind="chunk") for name in "qk")
    return differ(c, m, q, k, m.view(qkv, axes("b s a d"), "v", kind="chunk"))


def differ(c: Structure, m: Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """``(softmax(q₁ k₁ᵀ) - λ softmax(q₂ k₂ᵀ)) v``, normed: DIFF Transformer, arXiv 2410.05258."""
    q, k = (m.view(t, axes("b two_a s d_2"), t.name, kind="heads") for t in (q, k))
    v = m.view(v, axes("b a s d"), "v", kind="heads")
    if c.qk_norm:
        q, k = norm(c.norm, m, "q_norm", q), norm(c.norm, m, "k_norm", k)
    factor = m.cast(_lambda(m), q)
    weights = _weights(c, m, q, k, drop=True)
    first, second = (
        m.view(weights, axes("b a s s"), group="attention", kind="select") for _ in range(2)
    )
    second = m.op("gate", second, factor, group="attention")
    weights = m.op("subtract", first, second, group="attention")
    values = _adjacent(c, m, v)
    y = m.op("matmul", weights, values, axes=axes("b a s d"), over=axes("s"), group="attention")
    m.hold(k, v, weights, factor)
    y = m.op("scale", norm("RmsNorm", m, "sub_norm", y))
    return merge(c, m, y)


def _lambda(m: Module) -> Tensor:
    """``exp(λ_q1 · λ_k1) - exp(λ_q2 · λ_k2) + λ_init``."""
    exps = []
    for i in "12":
        product = m.op("mul", *(m.parameter(f"lambda_{x}{i}", "d_2") for x in "qk"))
        exps.append(m.op("exp", m.cast(m.op("sum", product, axes=()))))
    return m.op("more", m.op("subtract", *exps))


def _table(c: Structure, m: Module) -> Tensor:
    """A bias for each distance of two positions; the class token has entries of its own:
    ``((2g_h-1)(2g_w-1)+3) · a``."""
    if "pairs" in c.code.buffers:
        m.buffer("relative_position_index", "s", "s", itemsize=8)
    return m.parameter("relative_position_bias_table", "w", "a")


def _relative(
    c: Structure, m: Module, table: Tensor, pairs: Tensor | None, group: str = ""
) -> Tensor:
    """A bias for each pair of positions. With a single head the gathered bias needs no copy. A
    model without a buffer of pairs resamples the table to the image's grid, even if it has that
    size already."""
    if pairs is None:
        rows = m.op("index", table, axes=axes("s s a"), group=group)
    else:
        old = m.view(table, axes("w_n a"), kind="slice", group=group)
        new = m.op("resample", old, group=group)
        last = m.view(table, (3, "a"), kind="slice", group=group)
        table = m.op("cat", new, last, axes=axes("w a"), group=group)
        rows = m.op("look up", table, pairs, axes=axes("s s a"), group=group)
    if c.one_head:
        return m.view(rows, axes("a s s"), group=group)
    return m.op("permute", rows, axes=axes("a s s"), group=group)


def attention_pool(c: Structure, x: Tensor, act: str) -> Node:
    """One learned query that attends to tokens, and an MLP behind it."""
    m = Module("attn_pool", "AttentionPoolLatent", x)
    latent = m.view(m.parameter("latent", 1, 1, "h"), axes("b 1 h"), kind="expand")
    q = m.view(linear(m, "q", latent, "h"), axes("b pool_a 1 pool_d"))
    kv = linear(m, "kv", x, "two_h")
    shape = ("b", "pool_a", x.axes[1], "pool_d")
    k, v = (m.view(kv, shape, name, kind="unbind") for name in "kv")
    m.hold(kv)
    y = merge(c, m, weigh(c, m, q, k, v), q)
    y = m.leaf("proj_drop", "Dropout", "", linear(m, "proj", y, "h"))
    inner = plain_mlp(norm(c.norm, m, "norm", y), "pool_m", act)
    y = m.op("residual", y, m.add(inner))
    return m.end(m.view(y, axes("b h"), kind="select"))


def refine(c: Structure, x: Tensor) -> Node:
    """Attention without weights over all tokens, then the pool: PRR."""
    m = Module("attn_pool", "AttentionPoolPrr", x)
    operand = m.view(x, axes("b a s d"), kind="heads")
    y = merge(c, m, weigh(c, m, operand, operand, operand), operand)
    if c.class_token:
        return m.end(m.view(y, axes("b h"), kind="select"))
    pooled = m.op("mean", y, axes=axes("b h"))
    return m.end(pooled)
