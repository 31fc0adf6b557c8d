"""Models that the papers name and timm does not have, one row each."""

from collections.abc import Mapping
from typing import Any

from vitcost.config.records import Record

__all__ = ["MODELS", "Row"]


class Row(Record):
    """A model: its base, the fields that differ, and the source; a base of "" gives no fields, and
    a source of "" is that of the base."""

    base: str
    fields: Mapping[str, Any]
    source: str


# 21,843 classes, and a layer before the head that is as wide as the model: Dosovitskiy et al. 2021,
# §3.1 and https://github.com/google-research/vision_transformer (configs/models.py)
_VIT = "Dosovitskiy et al. 2021, ImageNet-21k"
# the same classes without that layer: Steiner et al. 2022, §3.3
_AUGREG = "Steiner et al. 2022, ImageNet-21k"

MODELS: dict[str, Row] = {
    "vit_tiny_patch16_224_in21k": Row("vit_tiny_patch16_224", {"num_classes": 21843}, _AUGREG),
    "vit_small_patch32_224_in21k": Row("vit_small_patch32_224", {"num_classes": 21843}, _AUGREG),
    "vit_small_patch16_224_in21k": Row("vit_small_patch16_224", {"num_classes": 21843}, _AUGREG),
    "vit_base_patch8_224_in21k": Row("vit_base_patch8_224", {"num_classes": 21843}, _AUGREG),
    "vit_base_patch32_224_in21k": Row(
        "vit_base_patch32_224", {"num_classes": 21843, "representation_size": 768}, _VIT
    ),
    "vit_base_patch16_224_in21k": Row(
        "vit_base_patch16_224", {"num_classes": 21843, "representation_size": 768}, _VIT
    ),
    "vit_large_patch32_224_in21k": Row(
        "vit_large_patch32_224", {"num_classes": 21843, "representation_size": 1024}, _VIT
    ),
    "vit_large_patch16_224_in21k": Row(
        "vit_large_patch16_224", {"num_classes": 21843, "representation_size": 1024}, _VIT
    ),
    "vit_tiny_r_s16_p8_224_in21k": Row("vit_tiny_r_s16_p8_224", {"num_classes": 21843}, _AUGREG),
    "vit_small_r26_s32_224_in21k": Row("vit_small_r26_s32_224", {"num_classes": 21843}, _AUGREG),
    "vit_large_r50_s32_224_in21k": Row("vit_large_r50_s32_224", {"num_classes": 21843}, _AUGREG),
    "vit_base_r50_s16_224_in21k": Row(
        "vit_base_r50_s16_224", {"num_classes": 21843, "representation_size": 768}, _VIT
    ),
    # timm's older name for the same model
    "vit_base_resnet50_224_in21k": Row(
        "vit_base_r50_s16_224", {"num_classes": 21843, "representation_size": 768}, _VIT
    ),
    "vit_huge_patch14_224_in21k": Row(
        "vit_huge_patch14_224", {"num_classes": 21843, "representation_size": 1280}, _VIT
    ),
}
