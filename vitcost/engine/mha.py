"""``torch.nn.MultiheadAttention`` on its own queries: batch first, and no weights are asked for.

Inside it tokens come before images, so that a batch of several lies apart in what it is given.
torch/nn/functional.py, multi_head_attention_forward.
"""

from vitcost.engine.attention import Outer, weigh
from vitcost.engine.ops import Axis, Op, Tensor, axes
from vitcost.engine.structure import Span, Structure
from vitcost.engine.tree import Module, Node, linear

__all__ = ["multi_head", "native"]


def multi_head(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """Projections by one layer, laid out as three tensors; heads; a kernel; the projection."""
    m = Module("attn", "MultiheadAttention", x, *outer.tensors)
    x = m.view(x, axes("b s h"), "tokens first")
    qkv = m.op("relay", _projected(c, m, x), name="qkv")
    m.hold(qkv)
    q, k, v = (m.view(qkv, axes("b s h"), name, kind="select") for name in "qkv")
    heads = axes("b a s d")
    q, k, v = (m.view(t, heads, t.name, kind="fold") for t in (q, k, v))
    q, k, v = (m.view(t, heads, t.name, kind="unfold") for t in (q, k, v))
    y = weigh(c, m, q, k, v, drop=True, adjacent=True)
    if c.one_image and c.one_head:
        y = m.view(y, axes("b s h"))
    else:
        y = m.op("by token", y, axes=axes("b s h"))
    y = linear(m, "proj", y, "h", c.proj_bias)
    # rows that come by token and then by image are laid out anew on the way back
    y = m.view(y, axes("b s h"), "proj", kind="view" if c.one_image else "heads")
    return m.end(m.leaf("proj_drop", "Dropout", "dropout" if c.proj_drop else "", y))


def _projected(c: Structure, m: Module, x: Tensor) -> Tensor:
    """A linear layer; rows of several images lie apart, and make it a copy, a product and a sum."""
    if c.one_image or not c.qkv_bias:
        return linear(m, "qkv", x, "q", bias=c.qkv_bias)
    child = Module("qkv", "Linear", x)
    out: Axis = "q"
    y = child.op(
        "apart",
        x,
        axes=(*x.axes[:-1], out),
        over=x.axes[-1:],
        weight=Tensor("weight", (out, x.axes[-1]), "param"),
        bias=Tensor("bias", (out,), "param"),
    )
    return m.add(child.end(y))


def native(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """The same in eval without autocast, by plain products inside one operator, which frees what it
    is done with and writes where operands lay: aten's transformers/attention.cpp,
    native_multi_head_attention_cpu; on a card where no fused kernel is asked for."""
    m = Module("attn", "MultiheadAttention", x, *outer.tensors)
    qkv = linear(m, "qkv", x, "q", bias=c.qkv_bias)
    # queries are scaled as they are laid out; pointwise work is that of the definition
    scores = Tensor("scores", axes("b a s s"))
    definition = Op("scale", (scores,), Tensor("scale", scores.axes))
    packed = m.op("relay", qkv, name="qkv", parts=(definition,))
    m.hold(packed)
    q, k, v = (m.view(packed, axes("b a s d"), name, kind="select") for name in "qkv")
    scores = m.op("matmul", q, k, axes=scores.axes, over=axes("d"))
    weights = m.overwrite("softmax", scores)
    y = Tensor("matmul", q.axes, base=q)
    m.body.append(Op("matmul", (weights, v), y, axes("s")))
    y = linear(m, "proj", m.op("merge", y, axes=axes("b s h")), "h", c.proj_bias)
    return m.end(m.leaf("proj_drop", "Dropout", "", y))
