"""Layers on maps: convolutions, the norms and activations between them, and pools.

b batch, i channels in, o channels out, k × k a kernel; a map is ``b i H1 W1``, and after a stride
it is ``b o H2 W2``. Channels are given as numbers, the sides of a map as axes:
``vitcost.config.backbones.map_sizes``.
"""

from collections.abc import Callable, Mapping

from vitcost.engine.ops import Axis, Tensor
from vitcost.engine.tree import Module

__all__ = [
    "batch_norm",
    "conv",
    "gelu",
    "identity",
    "layer_norm",
    "norm_act",
    "pool",
    "relu",
    "std_conv",
]

# by the op of a norm, timm's module that norms and then activates
_NORM_ACTS = {
    "group norm": "GroupNormAct",
    "norm": "LayerNormAct2d",
    "batch norm": "BatchNormAct2d",
    "affine": "BatchNormAct2d",
}


def conv(
    parent: Module,
    name: str,
    x: Tensor,
    o: int,
    k: int = 1,
    stride: int = 1,
    *,
    bias: bool = False,
    depthwise: bool = False,
) -> Tensor:
    """``nn.Conv2d``: each element written contracts i · k · k, a depthwise one k · k."""
    m = Module(name, "Conv2d", x)
    b, i, *sides = x.axes
    over: tuple[Axis, ...] = (1 if depthwise else i, k, k)
    y = m.op(
        "conv",
        x,
        axes=(b, o, *_reduced(sides, stride)),
        over=over,
        weight=Tensor("weight", (o, *over), "param"),
        bias=Tensor("bias", (o,), "param") if bias else None,
    )
    return parent.add(m.end(y))


def std_conv(parent: Module, name: str, x: Tensor, o: int, k: int = 1, stride: int = 1) -> Tensor:
    """A convolution that standardizes its weight, channel by channel, in each forward: Qiao et al.
    2019, arXiv 1903.10520. It is padded so that strides reach the borders."""
    m = Module(name, "StdConv2dSame", x)
    b, i, *sides = x.axes
    padded = _same_pad(m, x, k) if stride > 1 else x
    # the weight is standardized by a batch norm that sees it as one image
    weight = Tensor("weight", (o, i, k, k), "param")
    standard = m.op("standardize", axes=(1, *weight.axes), weight=weight)
    standard = m.view(standard, weight.axes, "standard weight")
    axes = (b, o, *_reduced(sides, stride))
    return parent.add(m.end(m.op("conv", padded, standard, axes=axes, over=(i, k, k))))


def _same_pad(m: Module, x: Tensor, k: int) -> Tensor:
    """The map padded for strides. This is a copy, even before a kernel of 1, which needs no
    padding."""
    b, i, *sides = x.axes
    padded = (f"{side}_{k}" for side in sides) if k > 1 else sides
    return m.op("pad", x, axes=(b, i, *padded), name="padded map")


def pool(parent: Module, name: str, kind: str, op: str, x: Tensor, *, same: int = 0) -> Tensor:
    """A pool of stride 2; ``same`` is the kernel size that the map is padded for."""
    m = Module(name, kind, x)
    b, i, *sides = x.axes
    source = _same_pad(m, x, same) if same else x
    return parent.add(m.end(m.op(op, source, axes=(b, i, *_reduced(sides, 2)))))


def norm_act(parent: Module, name: str, norm: str, x: Tensor, act: str = "") -> Tensor:
    """A norm and an activation in one module; ``norm`` is the op."""
    m = Module(name, _NORM_ACTS[norm], x)
    y = m.leaf("drop", "Identity", "", _norm(m, norm, x))
    return parent.add(m.end(_ACTIVATIONS[act](m, "act", y)))


def batch_norm(parent: Module, name: str, norm: str, x: Tensor) -> Tensor:
    m = Module(name, "BatchNorm2d", x)
    return parent.add(m.end(_norm(m, norm, x)))


def layer_norm(parent: Module, name: str, x: Tensor) -> Tensor:
    """A LayerNorm of the channels, pixel by pixel."""
    m = Module(name, "LayerNorm2d", x)
    return parent.add(m.end(_norm(m, "norm", x)))


def _norm(m: Module, op: str, x: Tensor) -> Tensor:
    b, i, *sides = x.axes
    weight, bias = (Tensor(name, (i,), "param") for name in ("weight", "bias"))
    if op != "norm":
        if op != "group norm":
            for name in ("running_mean", "running_var"):
                m.buffer(name, i)
            m.buffer("num_batches_tracked", itemsize=8)
        return m.op(op, x, weight=weight, bias=bias)
    rows = m.view(x, (b, *sides, i), kind="channels last")
    y = m.op("norm", rows, weight=weight, bias=bias)
    return m.view(y, x.axes, kind="channels last")


def relu(parent: Module, name: str, x: Tensor) -> Tensor:
    """``nn.ReLU(inplace=True)``."""
    m = Module(name, "ReLU", x)
    return parent.add(m.end(m.overwrite("relu", x)))


def gelu(parent: Module, name: str, x: Tensor) -> Tensor:
    return parent.leaf(name, "GELU", "gelu", x)


def identity(parent: Module, name: str, x: Tensor) -> Tensor:
    """A module that does nothing."""
    return parent.leaf(name, "Identity", "", x)


def _reduced(sides: list[Axis], stride: int) -> list[Axis]:
    """The axes of the next smaller map: ``H`` becomes ``H1``, ``H1`` becomes ``H2``."""
    if stride == 1:
        return sides
    return [f"{side[0]}{int(side[1:] or 0) + 1}" for side in map(str, sides)]


_ACTIVATIONS: Mapping[str, Callable[[Module, str, Tensor], Tensor]] = {
    "": identity,
    "relu": relu,
    "gelu": gelu,
}
