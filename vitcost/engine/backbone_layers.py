"""The networks of ``vitcost.config.backbones``, wired as timm does: from an image to a map of
features.

The letters are those of ``convs``; a stride raises the number in the axes of a map: ``H1``, then
``H2``.
"""

from collections.abc import Callable, Mapping
from functools import partial

from vitcost.config.backbones import BACKBONES, Backbone
from vitcost.engine.convs import (
    batch_norm,
    conv,
    gelu,
    identity,
    layer_norm,
    norm_act,
    pool,
    relu,
    std_conv,
)
from vitcost.engine.ops import Tensor
from vitcost.engine.tree import Count, Module, Node, Run

__all__ = ["backbone"]


def backbone(name: str, training: bool, image: Tensor) -> Node:
    """The network of a row of the table of backbones. In eval a batch norm has fixed statistics, so
    it is one multiplication and one sum per channel."""
    row = BACKBONES[name]
    return _WIRING[row.kind](row, "batch norm" if training else "affine", image)


def _stage(name: str, x: Tensor, depth: int, block: Callable[[Tensor, bool], Node]) -> Node:
    """A stage: a block that widens the map, and may reduce it, then equal blocks."""
    m = Module(name, "Sequential", x)
    one = Count(1)
    x = m.add(block(x, True)._replace(run=Run(one)))
    if depth > 1:
        x = m.add(block(x, False)._replace(run=Run(Count(depth - 1), (one,))))
    return m.end(x)


def _resnetv2(row: Backbone, norm: str, image: Tensor) -> Node:
    """BiT's ResNet with blocks that are not pre-activated, as hybrids have it."""
    if not row.depths:
        return _stem(row, "backbone", image)
    m = Module("backbone", "ResNetV2", image)
    x = m.add(_stem(row, "stem", image))
    stages = Module("stages", "Sequential", x)
    for i, (o, depth) in enumerate(zip(row.widths, row.depths, strict=True)):
        stage = Module(f"{i}", "ResNetStage", x)
        block = partial(_bottleneck, o, 2 if i else 1)
        x = stages.add(stage.end(stage.add(_stage("blocks", x, depth, block))))
    x = identity(m, "norm", m.add(stages.end(x)))
    return m.end(m.add(_no_head(x)))


def _stem(row: Backbone, name: str, image: Tensor) -> Node:
    m = Module(name, "Sequential", image)
    x = std_conv(m, "conv", image, row.stem, 7, 2)
    x = norm_act(m, "norm", "group norm", x, "relu")
    return m.end(pool(m, "pool", "MaxPool2dSame", "max pool", x, same=3))


def _bottleneck(o: int, stride: int, x: Tensor, first: bool) -> Node:
    """``relu(shortcut + norm(conv(…)))``: 1 × 1 to a quarter of the width, 3 × 3, 1 × 1 back."""
    m = Module("", "Bottleneck", x)
    stride = stride if first else 1
    shortcut = m.add(_downsample(o, stride, x)) if first else x
    y = norm_act(m, "norm1", "group norm", std_conv(m, "conv1", x, o // 4), "relu")
    y = norm_act(m, "norm2", "group norm", std_conv(m, "conv2", y, o // 4, 3, stride), "relu")
    y = norm_act(m, "norm3", "group norm", std_conv(m, "conv3", y, o))
    y = identity(m, "drop_path", y)
    return m.end(relu(m, "act3", m.op("residual", y, shortcut)))


def _downsample(o: int, stride: int, x: Tensor) -> Node:
    m = Module("downsample", "DownsampleConv", x)
    return m.end(norm_act(m, "norm", "group norm", std_conv(m, "conv", x, o, 1, stride)))


def _no_head(x: Tensor) -> Node:
    """A classifier's modules after its features, here without pool and classes."""
    m = Module("head", "ClassifierHead", x)
    global_pool = Module("global_pool", "SelectAdaptivePool2d", x)
    x = identity(global_pool, "flatten", identity(global_pool, "pool", x))
    x = m.leaf("drop", "Dropout", "", m.add(global_pool.end(x)))
    return m.end(identity(m, "flatten", identity(m, "fc", x)))


def _resnet(row: Backbone, norm: str, image: Tensor) -> Node:
    """ResNet-D: three convolutions in the stem, and an average pool before a shortcut's."""
    m = Module("backbone", "FeatureListNet", image)
    stem = Module("conv1", "Sequential", image)
    x, half = image, row.stem // 2
    for i, stride in ((0, 2), (3, 1)):
        x = conv(stem, f"{i}", x, half, 3, stride)
        x = relu(stem, f"{i + 2}", batch_norm(stem, f"{i + 1}", norm, x))
    x = m.add(stem.end(conv(stem, "6", x, row.stem, 3)))
    x = relu(m, "act1", batch_norm(m, "bn1", norm, x))
    x = pool(m, "maxpool", "MaxPool2d", "max pool", x)
    for i, (o, depth) in enumerate(zip(row.widths, row.depths, strict=True)):
        block = partial(_bottleneck_d, norm, o, 2 if i else 1)
        x = m.add(_stage(f"layer{i + 1}", x, depth, block))
    return m.end(x)


def _bottleneck_d(norm: str, o: int, stride: int, x: Tensor, first: bool) -> Node:
    m = Module("", "Bottleneck", x)
    stride = stride if first else 1
    y = batch_norm(m, "bn1", norm, conv(m, "conv1", x, o // 4))
    y = relu(m, "act1", y)
    y = batch_norm(m, "bn2", norm, conv(m, "conv2", y, o // 4, 3, stride))
    y = relu(m, "act2", identity(m, "drop_block", y))
    y = identity(m, "aa", y)
    y = batch_norm(m, "bn3", norm, conv(m, "conv3", y, o))
    shortcut = m.add(_downsample_d(norm, o, stride, x)) if first else x
    return m.end(relu(m, "act3", m.overwrite("residual", y, shortcut)))


def _downsample_d(norm: str, o: int, stride: int, x: Tensor) -> Node:
    m = Module("downsample", "Sequential", x)
    x = pool(m, "0", "AvgPool2d", "avg pool", x) if stride > 1 else identity(m, "0", x)
    return m.end(batch_norm(m, "2", norm, conv(m, "1", x, o)))


def _convs(row: Backbone, norm: str, image: Tensor) -> Node:
    """MobileCLIP's stem: convolutions whose stride is their kernel size, without padding."""
    m = Module("backbone", "ConvStem", image)
    x, widths = image, (row.stem, *row.widths)
    for i, (o, k) in enumerate(zip(widths, row.strides, strict=True)):
        last = i == len(widths) - 1
        each = Module(f"{i}", "ConvNormAct", x)
        x = conv(each, "conv", x, o, k, k, bias=last)
        if last:
            x = each.add(Module("bn", "Sequential", x).end(x))
        else:
            x = norm_act(each, "bn", norm, x, "gelu")
        m.add(each.end(x))
    return m.end(x)


def _mbconv(row: Backbone, norm: str, image: Tensor) -> Node:
    """ViTamin's stages of inverted bottlenecks, and the convolution after them."""
    m = Module("backbone", "MbConvStages", image)
    stem = Module("stem", "Stem", image)
    x = norm_act(
        stem, "norm1", "norm", conv(stem, "conv1", image, row.stem, 3, 2, bias=True), "gelu"
    )
    x = m.add(stem.end(conv(stem, "conv2", x, row.stem, 3, bias=True)))
    stages = Module("stages", "Sequential", x)
    *widths, last = row.widths
    for i, (o, depth) in enumerate(zip(widths, row.depths, strict=True)):
        x = stages.add(_stage(f"{i}", x, depth, partial(_inverted, o)))
    x = m.add(stages.end(x))
    strided = Module("pool", "StridedConv", x)
    x = conv(strided, "proj", layer_norm(strided, "norm", x), last, 3, 2, bias=True)
    return m.end(m.add(strided.end(x)))


def _inverted(o: int, x: Tensor, first: bool) -> Node:
    """MobileNet-v2's block: four times as wide inside, where the 3 × 3 convolution is depthwise."""
    m = Module("", "MbConvLNBlock", x)
    shortcut = m.add(_downsample_mb(o, x)) if first else identity(m, "shortcut", x)
    y = identity(m, "down", norm_act(m, "pre_norm", "norm", x))
    y = conv(m, "conv1_1x1", y, 4 * o, bias=True)
    y = gelu(m, "act1", y)
    y = conv(m, "conv2_kxk", y, 4 * o, 3, 2 if first else 1, bias=True, depthwise=True)
    y = gelu(m, "act2", y)
    y = identity(m, "drop_path", conv(m, "conv3_1x1", y, o, bias=True))
    return m.end(m.op("residual", y, shortcut))


def _downsample_mb(o: int, x: Tensor) -> Node:
    m = Module("shortcut", "Downsample2d", x)
    y = pool(m, "pool", "AvgPool2d", "avg pool", x)
    if x.axes[1] == o:
        return m.end(identity(m, "expand", y))
    return m.end(conv(m, "expand", y, o, bias=True))


_WIRING: Mapping[str, Callable[[Backbone, str, Tensor], Node]] = {
    "resnetv2": _resnetv2,
    "resnet": _resnet,
    "convs": _convs,
    "mbconv": _mbconv,
}
