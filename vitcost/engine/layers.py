"""What a Vision Transformer is made of, each layer declared once, in the papers' letters.

b batch, s tokens, n patches, h width, a heads, d head dim, q = 3·a·d, m MLP width, K classes,
c channels, p_h × p_w a patch, g_h × g_w the grid, r representation size, L depth.
"""

from vitcost.engine.ops import Tensor, axes, param
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Module, Node, Run, linear, norm

__all__ = ["attention", "block", "mlp", "patch_embed"]


def patch_embed(c: Structure, image: Tensor) -> Node:
    """A convolution whose stride is its kernel, then the grid laid out as n tokens."""
    m = Module("patch_embed", "PatchEmbed", image)
    proj = Module("proj", "Conv2d", image)
    y = proj.op(
        "conv",
        image,
        axes=axes("b h g_h g_w"),
        over=axes("c p_h p_w"),
        weight=param("weight", "h c p_h p_w"),
        bias=param("bias", "h"),
    )
    x = m.view(m.add(proj.end(y)), axes("b n h"))
    x = norm(m, "norm", x) if c.patch_norm else m.leaf("norm", "Identity", "", x)
    return m.end(x)


def attention(c: Structure, x: Tensor) -> Node:
    """Multi-head self-attention: ``softmax(q kᵀ · scale) v``, heads merged, projected."""
    m = Module("attn", "Attention", x)
    qkv = linear(m, "qkv", x, "q", bias=c.qkv_bias)
    q, k, v = (m.view(qkv, axes("b a s d"), name) for name in ("q", "k", "v"))
    if not c.merged_heads:
        # batch and heads lie apart in the permuted qkv, so bmm needs each operand copied
        q, k, v = (m.op("copy", t, name=t.name, group="attention") for t in (q, k, v))
    scores = m.op("matmul", q, k, axes=axes("b a s s"), over=axes("d"), group="attention")
    scores = m.op("scale", scores, group="attention")
    weights = m.op("softmax", scores, group="attention")
    drop = "dropout" if c.attn_drop else ""
    weights = m.leaf("attn_drop", "Dropout", drop, weights, group="attention")
    y = m.op("matmul", weights, v, axes=axes("b a s d"), over=axes("s"), group="attention")
    m.hold(qkv, q, k, v, weights)
    if c.one_head:
        y = m.view(y, axes("b s h"), group="attention")
    else:
        y = m.op("copy", y, axes=axes("b s h"), group="attention")
    y = linear(m, "proj", y, "h")
    return m.end(m.leaf("proj_drop", "Dropout", "dropout" if c.proj_drop else "", y))


def mlp(c: Structure, x: Tensor) -> Node:
    """Two linear layers around a GELU: h to m and back."""
    drop = "dropout" if c.proj_drop else ""
    m = Module("mlp", "Mlp", x)
    y = linear(m, "fc1", x, "m")
    y = m.leaf("act", "GELU", "gelu", y)
    y = m.leaf("drop1", "Dropout", drop, y)
    y = linear(m, "fc2", y, "h")
    return m.end(m.leaf("drop2", "Dropout", drop, y))


def block(c: Structure, x: Tensor, run: Run, drop_path: bool) -> Node:
    """A run of pre-norm blocks: ``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``."""
    kind, op = ("DropPath", "droppath" if c.training else "") if drop_path else ("Identity", "")
    m = Module("", "Block", x)
    y = m.add(attention(c, norm(m, "norm1", x)))
    x = m.op("residual", x, m.leaf("drop_path1", kind, op, y))
    y = m.add(mlp(c, norm(m, "norm2", x)))
    x = m.op("residual", x, m.leaf("drop_path2", kind, op, y))
    return m.end(x, run)
