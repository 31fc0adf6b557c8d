"""The layers of a Vision Transformer, each declared once, in the papers' letters.

b batch, s tokens, n patches, h width, a heads, d head dim, q = 3·a·d, m MLP width, K classes, c
channels, p_h × p_w a patch, g_h × g_w the grid, pad_h × pad_w the image padded to whole patches, r
representation size, L depth. ``two_m`` is an axis twice as long as m.
"""

from vitcost.config.activations import ACTIVATIONS
from vitcost.engine import tree
from vitcost.engine.ops import Axis, Tensor, axes, param
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Module, Node, linear

__all__ = ["activation", "dropout", "layer_scale", "mlp", "norm", "patch_embed", "plain_mlp"]


def patch_embed(c: Structure, image: Tensor) -> Node:
    """A convolution whose stride is its kernel size, then the grid as n tokens. In a hybrid its
    input is the output of the backbone."""
    m = Module("patch_embed", "HybridEmbed" if c.backbone else "PatchEmbed", image)
    x = image
    if c.backbone:
        # imported only for models with a convolutional backbone
        from vitcost.engine.backbone_layers import backbone

        x = m.add(backbone(c.backbone, c.training, image))
    if c.pad:
        x = m.op("pad", x, axes=(*x.axes[:2], "pad_h", "pad_w"), name="padded image")
    x = _patches(c, m, x) if c.patch_proj else m.leaf("proj", "Identity", "", x)
    x = m.view(x, axes("b n h"), kind="channels last")
    if c.backbone:
        return m.end(x)
    return m.end(norm(c.norm, m, "norm", x) if c.patch_norm else m.leaf("norm", "Identity", "", x))


def _patches(c: Structure, m: Module, x: Tensor) -> Tensor:
    proj = Module("proj", "Conv2d", x)
    over = (x.axes[1], "p_h", "p_w")
    y = proj.op(
        "conv",
        x,
        axes=axes("b h g_h g_w"),
        over=over,
        weight=Tensor("weight", ("h", *over), "param"),
        bias=param("bias", "h") if c.patch_bias else None,
    )
    return m.add(proj.end(y))


def norm(kind: str, parent: Module, name: str, x: Tensor) -> Tensor:
    """A norm over the last axis: LayerNorm, whose result may be cast back to the type of its input,
    or timm's RmsNorm ``x / rms(x) · weight``."""
    if kind == "LayerNorm":
        return tree.norm(parent, name, x)
    if kind == "TypedLayerNorm":
        m, h = Module(name, "LayerNorm", x), str(x.axes[-1])
        y = m.op("norm", x, weight=param("weight", h), bias=param("bias", h))
        return parent.add(m.end(m.cast(y, like=x)))
    m = Module(name, kind, x)
    return parent.add(m.end(m.op("rms norm", x, weight=param("weight", str(x.axes[-1])))))


def layer_scale(c: Structure, block: Module, number: str, y: Tensor) -> Tensor:
    """A learned weight for each channel: in a module of its own, or as a parameter of the block."""
    if not c.made.scale_module:
        return block.op("gain", block.parameter(f"gamma_{number}", "h"), y, axes=y.axes)
    m = Module(f"ls{number}", "LayerScale", y)
    return block.add(m.end(m.op("gain", y, weight=param("gamma", "h"))))


def activation(parent: Module, name: str, act: str, x: Tensor) -> Tensor:
    """An activation module: one op, or the several ops that its library calls."""
    kind, op = ACTIVATIONS[act][:2]
    if op:
        return parent.leaf(name, kind, op, x)
    m = Module(name, kind, x)
    return parent.add(m.end(_WRITTEN_OUT[act](m, x)))


def _quick_gelu(m: Module, x: Tensor) -> Tensor:
    """``x · sigmoid(1.702 x)``."""
    return m.op("mul", x, m.op("sigmoid", m.op("times", x)))


def _gelu_new(m: Module, x: Tensor) -> Tensor:
    """``½x · (1 + tanh(√(2/π) · (x + 0.044715 x³)))``."""
    half, cube = m.op("times", x), m.op("cube", x)
    wave = m.op("tanh", m.op("times", m.op("add", x, m.op("times", cube))))
    return m.op("mul", half, m.op("more", wave))


_WRITTEN_OUT = {"quick_gelu": _quick_gelu, "gelu_new": _gelu_new}


def mlp(c: Structure, x: Tensor) -> Node:
    """The MLP of a block: h to m and back, with or without a gate."""
    if c.mlp == "Mlp":
        drops = c.act_drop, c.proj_drop
        inner = c.norm if c.mlp_norm else ""
        return plain_mlp(
            x, "m", c.act, bias=c.proj_bias, drops=drops, inner_norm=inner, apart=c.code.apart
        )
    return _GATED[c.mlp](c, Module("mlp", "GluMlp" if c.mlp in _PACKED else c.mlp, x), x)


def plain_mlp(
    x: Tensor,
    hidden: Axis,
    act: str,
    *,
    bias: bool = True,
    drops: tuple[bool, bool] = (False, False),
    inner_norm: str = "",
    apart: bool = False,
) -> Node:
    """Two linear layers around an activation; ``apart``: the last layer is called outside of the
    module that holds the others, so their tensors are freed before."""
    m = Module("mlp", "Mlp", x)
    y = linear(m, "fc1", x, hidden, bias)
    y = activation(m, "act", act, y)
    if apart:
        # the forward of the module around both layers ends here
        m.hold_through(x)
    y = dropout(m, "drop1", drops[0], y)
    if inner_norm:
        y = norm(inner_norm, m, "norm", y)
    y = linear(m, "fc2", y, "h", bias)
    return m.end(dropout(m, "drop2", drops[1], y))._replace(walked=apart)


def dropout(parent: Module, name: str, active: bool, x: Tensor) -> Tensor:
    """``nn.Dropout``, which does nothing in eval or at rate 0."""
    return parent.leaf(name, "Dropout", "dropout" if active else "", x)


_PACKED = ("GluMlp", "SwiGLUPacked")


def _packed(c: Structure, m: Module, x: Tensor) -> Node:
    """The gate and the gated half come from one layer; the first or the last half is activated."""
    y = linear(m, "fc1", x, "two_m", c.proj_bias)
    shape = (*x.axes[:-1], "m")
    first, last = (m.view(y, shape, name, kind="chunk") for name in ("first half", "last half"))
    m.hold(y)
    if c.mlp == "SwiGLUPacked":
        first = activation(m, "act", c.act, first)
    else:
        last = activation(m, "act", c.act, last)
    return _close_gate(c, m, first, last, "fc2")


def _split(c: Structure, m: Module, x: Tensor) -> Node:
    """One layer for the gate, and one for the values that it multiplies."""
    gate = linear(m, "fc1_g", x, "m", c.proj_bias)
    if c.code.in_turn:
        gate = activation(m, "act", c.act, gate)
        return _close_gate(c, m, gate, linear(m, "fc1_x", x, "m", c.proj_bias), "fc2")
    m.hold(gate)
    y = linear(m, "fc1_x", x, "m", c.proj_bias)
    return _close_gate(c, m, activation(m, "act", c.act, gate), y, "fc2")


def _gegelu(c: Structure, m: Module, x: Tensor) -> Node:
    """ViTamin's MLP, which begins with its norm: its forward keeps a name for the norm's output
    until the product is computed."""
    x = norm(c.norm, m, "norm", x)
    gate = activation(m, "act", c.act, linear(m, "w0", x, "m", c.proj_bias))
    y = linear(m, "w1", x, "m", c.proj_bias)
    return _close_gate(c, m, gate, y, "w2", holds=(x,))


_GATED = {
    "GluMlp": _packed,
    "SwiGLUPacked": _packed,
    "SwiGLU": _split,
    "GeGluMlp": _gegelu,
}


def _close_gate(
    c: Structure, m: Module, gate: Tensor, y: Tensor, last: str, holds: tuple[Tensor, ...] = ()
) -> Node:
    y = dropout(m, "drop1", c.act_drop, m.op("gate", gate, y, holds=holds))
    if c.mlp_norm and c.mlp != "GeGluMlp":
        y = norm(c.norm, m, "norm", y)
    y = linear(m, last, y, "h", c.proj_bias)
    return m.end(dropout(m, "drop2", c.proj_drop, y))
