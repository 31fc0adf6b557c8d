"""Reads back timm's hybrid patch embedding: finds the row of ``vitcost.config.backbones`` for its
network."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vitcost.config.backbones import BACKBONES, features
from vitcost.engine.backbone_layers import backbone
from vitcost.engine.ops import Op, Sizes, Tensor
from vitcost.engine.tree import Node
from vitcost.zoo.read_layers import name_of, need

__all__ = ["backbone_of", "row_of"]

_IMAGE = Tensor("image", ("b", "c", "H", "W"), "input")


class _Module(NamedTuple):
    """The facts by which modules are compared: type, own parameters, strides."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[int, int]


def backbone_of(embed: Any) -> str:
    """The row of a ``HybridEmbed``'s network, which must make as many features from an image.

    Raises ``NotCovered`` for any other network.
    """
    backbone = row_of(embed.backbone, embed.in_chans)
    sides = features(backbone, tuple(embed.img_size))
    need(sides == tuple(embed.feature_size), "patch_embed.backbone makes features of another size")
    return backbone


def row_of(network: Any, in_chans: int) -> str:
    """The table's row for a network: it has the same modules, parameters and strides."""
    modules = {
        path: _Module(type(m).__name__, _shapes(m), _strides(m))
        for path, m in network.named_modules(prefix="backbone")
    }
    matched = next((name for name in BACKBONES if dict(_declared(name, in_chans)) == modules), "")
    need(matched != "", f"patch_embed.backbone is {name_of(network)} of another shape")
    return matched


def _shapes(module: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(p.shape) for p in module.parameters(recurse=False))


def _strides(module: Any) -> tuple[int, int]:
    # blocks also have a stride, but no kernel
    stride = module.stride if hasattr(module, "kernel_size") else 1
    return (stride, stride) if isinstance(stride, int) else tuple(stride)


def _declared(name: str, in_chans: int) -> Iterator[tuple[str, _Module]]:
    return _modules(backbone(name, False, _IMAGE), "", Sizes(c=in_chans), BACKBONES[name].strides)


def _modules(
    node: Node, above: str, sizes: Sizes, strides: tuple[int, ...]
) -> Iterator[tuple[str, _Module]]:
    """Every module of a declared network; equal modules of a run are listed one by one."""
    names = [node.name]
    if node.run is not None:
        first = sum(count.of(sizes) for count in node.run.before)
        names = [f"{first + i}" for i in range(node.run.layers.of(sizes))]
    ops = [item for item in node.body if isinstance(item, Op)]
    tensors = (t for op in ops for t in (op.weight, op.bias) if t is not None)
    shapes = tuple(tuple(sizes[axis] for axis in t.axes) for t in tensors)
    # a stride makes the next map
    onto = {_map(op.write) for op in ops if op.kind in _STRIDED} - {_map(node.inputs[0])}
    stride = strides[onto.pop() - 1] if onto else 1
    for each in names:
        path = f"{above}.{each}" if above else each
        yield path, _Module(node.type, shapes, (stride, stride))
        for item in node.body:
            if isinstance(item, Node):
                yield from _modules(item, path, sizes, strides)


_STRIDED = ("conv", "max pool", "avg pool")


def _map(x: Tensor) -> int:
    """The number of a map; the image is map 0."""
    return int(str(x.axes[2])[1:] or 0)
