"""The convolutional networks in front of hybrid Vision Transformers, one row each.

Imported only for models that have one. A *map* is a tensor on the way from the image (map 0) to the
features, from which patches are cut: each stride makes the next, smaller map.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vitcost.config.fields import Pair

__all__ = ["BACKBONES", "Backbone", "features", "map_sizes"]


class Backbone(NamedTuple):
    """A network: its kind, its widths and depths, and its strides."""

    kind: str  # resnetv2 | resnet | convs | mbconv
    stem: int  # channels of the stem
    widths: tuple[int, ...]  # channels of each stage
    depths: tuple[int, ...]  # blocks of each stage; a stage of a single convolution has no entry
    strides: tuple[int, ...]
    source: str

    @property
    def width(self) -> int:
        """Channels of the features."""
        return (self.stem, *self.widths)[-1]

    @property
    def projected(self) -> bool:
        """Whether a convolution projects the features to the width of the transformer."""
        return self.kind in ("resnetv2", "resnet")


# BiT's ResNet-v2 with group norm and standardized weights, and google-research's variants of it for
# hybrids; ResNet-D; the stem of MobileCLIP; the first stages of ViTamin
_BIT = "Dosovitskiy et al. 2021, arXiv 2010.11929, section 4.1; Kolesnikov et al. 2020, 1912.11370"
_RESNET_D = "He et al. 2019, arXiv 1812.01187, figure 2"
_MOBILECLIP = "Vasu et al. 2024, arXiv 2311.17049"
_VITAMIN = "Chen et al. 2024, arXiv 2404.02132, table 2"

_RESNET = (256, 512, 1024, 2048)

BACKBONES: Mapping[str, Backbone] = {
    "resnetv2_stem": Backbone("resnetv2", 64, (), (), (2, 2), _BIT),
    "resnetv2_26": Backbone("resnetv2", 64, _RESNET, (2, 2, 2, 2), (2, 2, 2, 2, 2), _BIT),
    "resnetv2_50": Backbone("resnetv2", 64, _RESNET, (3, 4, 6, 3), (2, 2, 2, 2, 2), _BIT),
    # the blocks of the last stage are part of the stage before
    "resnetv2_50_s16": Backbone("resnetv2", 64, _RESNET[:3], (3, 4, 9), (2, 2, 2, 2), _BIT),
    "resnet26d": Backbone("resnet", 64, _RESNET, (2, 2, 2, 2), (2, 2, 2, 2, 2), _RESNET_D),
    "resnet50d": Backbone("resnet", 64, _RESNET, (3, 4, 6, 3), (2, 2, 2, 2, 2), _RESNET_D),
    # the last stage is left out
    "resnet50d_s16": Backbone("resnet", 64, _RESNET[:3], (3, 4, 6), (2, 2, 2, 2), _RESNET_D),
    "mci": Backbone("convs", 192, (192, 768), (), (4, 2, 2), _MOBILECLIP),
    "vitamin_small": Backbone("mbconv", 64, (64, 128, 384), (2, 4), (2, 2, 2, 2), _VITAMIN),
    "vitamin_base": Backbone("mbconv", 128, (128, 256, 768), (2, 4), (2, 2, 2, 2), _VITAMIN),
    "vitamin_large": Backbone("mbconv", 160, (160, 320, 1024), (2, 4), (2, 2, 2, 2), _VITAMIN),
    "vitamin_xlarge": Backbone("mbconv", 192, (192, 384, 1152), (2, 4), (2, 2, 2, 2), _VITAMIN),
}


def features(name: str, img_size: Pair) -> Pair:
    """Height and width of the features that a network makes from an image.

    >>> features("resnetv2_50", (224, 225))
    (7, 8)
    """
    height, width = ([*_sides(BACKBONES[name], side)][-1] for side in img_size)
    return height, width


def map_sizes(name: str, img_size: Pair) -> dict[str, int]:
    """The sides of every map: ``H1`` and ``W1`` belong to the first map after the image. ``H1_3``
    is the side of that map padded so that a kernel of 3 meets every stride: TensorFlow's ``SAME``.

    >>> map_sizes("resnetv2_stem", (224, 384))["W1_3"]
    193
    """
    row = BACKBONES[name]
    sizes: dict[str, int] = {}
    for letter, side in zip("HW", img_size, strict=True):
        padded = letter
        for i, (stride, reduced) in enumerate(zip(row.strides, _sides(row, side), strict=True), 1):
            for kernel in (3, 7):
                sizes[f"{padded}_{kernel}"] = stride * (reduced - 1) + kernel
            padded = f"{letter}{i}"
            sizes[padded] = reduced
    return sizes


def _sides(row: Backbone, side: int) -> Iterator[int]:
    """The side of each map. A stride rounds up, but down if the network does not pad."""
    for stride in row.strides:
        side = side // stride if row.kind == "convs" else -(-side // stride)
        yield side
