"""``torch.nn.MultiheadAttention`` on its own queries: batch first, and its caller does not ask for
the attention weights.

Its inside puts tokens before images; with several images the rows of its input are then not
contiguous. torch/nn/functional.py, multi_head_attention_forward.
"""

from collections.abc import Callable

from vitcost.engine.attention import Outer, weigh
from vitcost.engine.layers import norm, plain_mlp
from vitcost.engine.ops import Axis, Op, Tensor, axes
from vitcost.engine.structure import Span, Structure
from vitcost.engine.tree import Module, Node, linear

__all__ = ["multi_head", "native", "probe_pool"]


def multi_head(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """One layer projects q, k and v, which are copied apart; then heads, an attention kernel, the
    output projection."""
    m = Module("attn", "MultiheadAttention", x, *outer.tensors)
    x = m.view(x, axes("b s h"), "tokens first")
    qkv = m.op("relay", _projected(c, m, x), name="qkv")
    m.hold(qkv)
    q, k, v = (m.view(qkv, axes("b s h"), name, kind="select") for name in "qkv")
    heads = axes("b a s d")
    q, k, v = (m.view(t, heads, t.name, kind="fold") for t in (q, k, v))
    q, k, v = (m.view(t, heads, t.name, kind="unfold") for t in (q, k, v))
    biases: list[Callable[[], Tensor]] = []
    if (mask := outer.bias) is not None:
        biases.append(lambda: mask)
    y = weigh(c, m, q, k, v, biases=biases, drop=True, adjacent=True)
    if c.one_image and c.one_head:
        y = m.view(y, axes("b s h"))
    else:
        y = m.op("by token", y, axes=axes("b s h"))
    y = linear(m, "proj", y, "h", c.proj_bias)
    # rows ordered by token, then by image, are copied back to images first
    y = m.view(y, axes("b s h"), "proj", kind="view" if c.one_image else "heads")
    return m.end(m.leaf("proj_drop", "Dropout", "dropout" if c.proj_drop else "", y))


def _projected(c: Structure, m: Module, x: Tensor) -> Tensor:
    """A linear layer. The rows of several images are not contiguous, so it runs as a copy, a
    product and a sum."""
    if c.one_image or not c.qkv_bias:
        return linear(m, "qkv", x, "q", bias=c.qkv_bias)
    weight = Tensor("weight", ("q", x.axes[-1]), "param")
    return _part(m, "qkv", x, weight, Tensor("bias", ("q",), "param"), apart=True)


def native(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """The same in eval without autocast: plain products inside one operator, which frees its
    temporaries early and overwrites operands: aten's transformers/attention.cpp,
    native_multi_head_attention_cpu; on a card only if no fused kernel is asked for."""
    m = Module("attn", "MultiheadAttention", x, *outer.tensors)
    qkv = linear(m, "qkv", x, "q", bias=c.qkv_bias)
    # the copy of the queries scales them; pointwise work counts the scaling of scores, as in the
    # definition
    scores = Tensor("scores", axes("b a s s"))
    definition = Op("scale", (scores,), Tensor("scale", scores.axes))
    packed = m.op("relay", qkv, name="qkv", parts=(definition,))
    m.hold(packed)
    q, k, v = (m.view(packed, axes("b a s d"), name, kind="select") for name in "qkv")
    scores = m.op("matmul", q, k, axes=scores.axes, over=axes("d"))
    if outer.bias is None:
        weights = m.overwrite("softmax", scores)
    else:
        # the operator turns the float mask into booleans, one mask for each head of each image
        booleans = Tensor("mask", scores.axes, "index", itemsize=1)
        mask = m.op("repeat", booleans, itemsize=1)
        weights = m.op("softmax", scores, holds=(mask,))
    y = Tensor("matmul", q.axes, base=q)
    m.body.append(Op("matmul", (weights, v), y, axes("s")))
    y = linear(m, "proj", m.op("merge", y, axes=axes("b s h")), "h", c.proj_bias)
    return m.end(m.leaf("proj_drop", "Dropout", "", y))


def probe_pool(c: Structure, x: Tensor, act: str) -> Node:
    """A query that attends to tokens through torch's own attention. It asks for the weights, so
    torch runs plain products: transformers, SiglipMultiheadAttentionPoolingHead."""
    m = Module("attn_pool", "AttentionPoolLatent", x)
    probe = m.op("repeat", m.parameter("latent", 1, 1, "h"), axes=axes("b 1 h"))
    m.hold(probe)
    # one call splits the weight into three, and one the bias
    outs: tuple[Axis, ...] = ("h", "two_h")
    whole = Tensor("in_proj_weight", axes("q h"), "param"), Tensor("in_proj_bias", ("q",), "param")
    weights = [m.view(whole[0], (out, "h"), "weight", kind="split") for out in outs]
    biases = [m.view(whole[1], (out,), "bias", kind="split") for out in outs]
    q = _part(m, "q", probe, weights[0], biases[0])
    both = m.op("relay", _part(m, "kv", x, weights[1], biases[1], apart=not c.one_image))
    length = x.axes[1]
    wide, narrow = ("b", length, "h"), ("b", "pool_a", length, "pool_d")
    k, v = (m.view(both, wide, name, kind="select") for name in "kv")
    k, v = (m.view(t, narrow, t.name, kind="fold") for t in (k, v))
    heads = m.view(q, axes("b pool_a 1 pool_d"))
    scores = Tensor("scores", ("b", "pool_a", 1, length))
    definition = Op("scale", (scores,), Tensor("scale", scores.axes))
    scaled = m.op("scale", heads, parts=(definition,))
    scores = m.op("matmul", scaled, k, axes=scores.axes, over=axes("pool_d"))
    attended = m.op("softmax", scores)
    y = m.op("matmul", attended, v, axes=heads.axes, over=(length,))
    y = linear(m, "proj", m.view(y, axes("b 1 h")), "h")
    m.op("mean", attended, axes=("b", 1, length), holds=(q, both, scaled, y))
    inner = plain_mlp(norm(c.norm, m, "norm", y), "pool_m", act)
    y = m.op("residual", y, m.add(inner))
    return m.end(m.view(y, axes("b h"), kind="select"))


def _part(
    m: Module, name: str, x: Tensor, weight: Tensor, bias: Tensor, apart: bool = False
) -> Tensor:
    """A linear layer whose weight is a slice of a parameter. Autocast caches the casts of whole
    parameters only, so it casts the slice in every call. ``apart``: the rows of x are not
    contiguous, so torch runs a product, then adds the bias."""
    child = Module(name, "Linear", x)
    y = child.op(
        "apart" if apart else "linear",
        x,
        axes=(*x.axes[:-1], weight.axes[0]),
        over=x.axes[-1:],
        weight=weight,
        bias=bias,
    )
    return m.add(child.end(y))
