"""The blocks of a Vision Transformer: how attention, MLP, norms and the residual stream are wired.

Beside the letters of ``layers``: q_m = 3·h + m and h_m = h + m, where attention and MLP share
a layer.
"""

from collections.abc import Callable, Mapping

from vitcost.engine.attention import Outer, attention, block_bias, differ, merge, weigh
from vitcost.engine.layers import activation, layer_scale, mlp, norm
from vitcost.engine.ops import Tensor, axes
from vitcost.engine.structure import Span, Structure
from vitcost.engine.tree import Module, Node, Run, linear

__all__ = ["block"]


def block(c: Structure, x: Tensor, run: Run, span: Span, outer: Outer, *, drop_path: bool) -> Node:
    """A run of equal blocks."""
    m = Module("", c.made.type(c.block), x, *outer.tensors)
    if c.rope == "mixed" and outer.rope is not None:
        # each block has a table of its own
        table = m.view(outer.rope, axes("a n two_d"), kind="select")
        outer = outer._replace(rope=table)
    outer = block_bias(c, m, outer)
    y = _WIRING[c.block](c, m, x, span, outer, drop_path)
    return m.end(y, run)


def _pre_norm(
    c: Structure, m: Module, x: Tensor, span: Span, outer: Outer, drop_path: bool
) -> Tensor:
    """``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``."""
    attended = _ATTENTION[c.code.attention](c, norm(c.norm, m, "norm1", x), span, outer)
    y = m.add(attended)
    m.hold(*attended.also)
    if c.code.branches == "scaled":
        m.hold(y)
    if c.layer_scale[0]:
        y = layer_scale(c, m, "1", y)
    x = _added(c, m, "1", x, y, drop_path)
    y = m.add(mlp(c, norm(c.norm, m, "norm2", x)))
    if c.layer_scale[1]:
        y = layer_scale(c, m, "2", y)
    return _added(c, m, "2", x, y, drop_path)


def _added(c: Structure, m: Module, number: str, x: Tensor, y: Tensor, drop_path: bool) -> Tensor:
    """The residual stream plus the output of a branch; the forward may keep a name for that
    output."""
    if c.code.branches == "kept" or (c.code.branches, number) == ("scaled", "1"):
        m.hold(y)
    dropped = _drop_path(c, m, f"drop_path{number}", y, drop_path)
    holds = (y,) if c.code.branches in ("summed", "scaled") and dropped is not y else ()
    return m.op("residual", x, dropped, holds=holds)


def _post_norm(
    c: Structure, m: Module, x: Tensor, span: Span, outer: Outer, drop_path: bool
) -> Tensor:
    """``x + norm1(attn(x))``, then ``x + norm2(mlp(x))``."""
    y = norm(c.norm, m, "norm1", m.add(attention(c, x, span, outer)))
    x = m.op("residual", x, _drop_path(c, m, "drop_path1", y, drop_path))
    y = norm(c.norm, m, "norm2", m.add(mlp(c, x)))
    return m.op("residual", x, _drop_path(c, m, "drop_path2", y, drop_path))


def _branches(
    c: Structure, m: Module, x: Tensor, span: Span, outer: Outer, drop_path: bool
) -> Tensor:
    """Two attentions side by side, then two MLPs: Touvron et al. 2022, arXiv 2203.09795."""
    for name in ("attns", "ffns"):
        branches = Module(name, "ModuleList", x)
        outputs = []
        for i in "01":
            branch = Module(i, "Sequential", x)
            y = norm(c.norm, branch, "norm", x)
            y = branch.add(attention(c, y, span, outer) if name == "attns" else mlp(c, y))
            if c.layer_scale[0]:
                y = layer_scale(c, branch, "", y)
            outputs.append(
                branches.add(branch.end(_drop_path(c, branch, "drop_path", y, drop_path)))
            )
        stack = branches.op("cat", *outputs, axes=axes("2 b s h"))
        y = m.add(branches.end(branches.op("sum", stack, axes=axes("b s h"))))
        x = m.op("residual", x, y)
    return x


def _parallel(
    c: Structure, m: Module, x: Tensor, span: Span, outer: Outer, drop_path: bool
) -> Tensor:
    """Attention and MLP side by side after one joint layer: ViT-22B, arXiv 2302.05442."""
    differential = c.block == "DiffParallelScalingBlock"
    y = linear(m, "in_proj", norm(c.norm, m, "in_norm", x), "q_m", c.qkv_bias)
    m.hold(y)
    hidden = m.view(y, axes("b s m"), "hidden", kind="split")
    shape = axes("b s two_a d_2" if differential else "b s a d")
    q, k = (m.view(y, shape, name, kind="split") for name in "qk")
    v = m.view(y, axes("b s a d"), "v", kind="split")
    if not c.qkv_bias:
        hidden = m.op("add", hidden, m.parameter("mlp_bias", "m"))
    if differential:
        attended = differ(c, m, q, k, v)
    else:
        if c.qk_norm:
            q, k = norm(c.norm, m, "q_norm", q), norm(c.norm, m, "k_norm", k)
        q, k, v = (m.view(t, axes("b a s d"), t.name, kind="heads") for t in (q, k, v))
        attended = merge(c, m, weigh(c, m, q, k, v, drop=True), q)
    hidden = activation(m, "mlp_act", c.act, hidden)
    hidden = m.leaf("mlp_drop", "Dropout", "dropout" if c.act_drop else "", hidden)
    m.hold(attended, hidden)
    if differential:
        both = m.op("cat", attended, hidden, axes=axes("b s h_m"))
        y = linear(m, "out_proj", both, "h", c.proj_bias)
    else:
        y = m.op(
            "add",
            linear(m, "attn_out_proj", attended, "h", c.proj_bias),
            linear(m, "mlp_out_proj", hidden, "h", c.proj_bias),
        )
    m.hold(y)
    if c.layer_scale[0]:
        y = layer_scale(c, m, "", y)
    return m.op("residual", x, _drop_path(c, m, "drop_path", y, drop_path))


def _torch_attention(c: Structure, x: Tensor, span: Span, outer: Outer) -> Node:
    """torch's own nn.MultiheadAttention, which timm's models do not use."""
    from vitcost.engine.mha import multi_head, native

    forward = native if c.code.attention == "native" else multi_head
    return forward(c, x, span, outer)


# the forward of each attention, by the library that wrote it
_ATTENTION: Mapping[str, Callable[[Structure, Tensor, Span, Outer], Node]] = {
    "timm": attention,
    "mha": _torch_attention,
    # the default, before a scenario decides between the two forwards of nn.MultiheadAttention
    "mha fast": _torch_attention,
    "native": _torch_attention,
}
_WIRING = {
    "Block": _pre_norm,
    "ResPostBlock": _post_norm,
    "ParallelThingsBlock": _branches,
    "ParallelScalingBlock": _parallel,
    "DiffParallelScalingBlock": _parallel,
}


def _drop_path(c: Structure, m: Module, name: str, y: Tensor, active: bool) -> Tensor:
    kind, op = ("DropPath", "droppath" if c.training else "") if active else ("Identity", "")
    if not (op and c.code.divides):
        return m.leaf(name, kind, op, y)
    child = Module(name, kind, y)
    return m.add(child.end(child.op(op, child.op("times", y))))
