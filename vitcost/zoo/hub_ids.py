"""Well-known ids of the Hugging Face hub: the contents of their ``config.json``.

A row is the ``model_type``, the class in ``architectures``, and the keys that differ from
transformers' defaults. Source: the config.json of each id, which transformers' conversion scripts
wrote (``models/*/convert_*.py``).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["HUB", "Entry"]


class Entry(NamedTuple):
    """The contents of a ``config.json``, without keys that have their defaults."""

    kind: str
    architecture: str
    keys: dict[str, Any]


def _size(h: int, L: int, a: int, m: int = 0) -> dict[str, int]:
    size = {"hidden_size": h, "num_hidden_layers": L, "num_attention_heads": a}
    return {**size, "intermediate_size": m or 4 * h}


_TINY, _SMALL, _BASE, _LARGE = (
    _size(192, 12, 3),
    _size(384, 12, 6),
    _size(768, 12, 12),
    _size(1024, 24, 16),
)
_HUGE, _SO400M = _size(1280, 32, 16), _size(1152, 27, 16, 4304)


def _vit(size: Mapping[str, int], patch: int, img: int, **keys: Any) -> Entry:
    keys = {"patch_size": patch, "image_size": img, "num_labels": 1000, **keys}
    return Entry("vit", "ViTForImageClassification", {**size, **keys})


def _vit_bare(size: Mapping[str, int], patch: int) -> Entry:
    return Entry("vit", "ViTModel", {**size, "patch_size": patch})


def _deit(size: Mapping[str, int], img: int) -> Entry:
    keys = {"image_size": img, "num_labels": 1000}
    return Entry("deit", "DeiTForImageClassificationWithTeacher", {**size, **keys})


def _beit(size: Mapping[str, int], img: int, labels: int) -> Entry:
    keys = {"image_size": img, "num_labels": labels, "use_relative_position_bias": True}
    return Entry("beit", "BeitForImageClassification", {**size, **keys})


def _data2vec(size: Mapping[str, int], tuned: bool) -> Entry:
    keys: dict[str, Any] = {
        "use_relative_position_bias": tuned,
        "use_shared_relative_position_bias": not tuned,
        "use_mean_pooling": tuned,
    }
    if not tuned:
        return Entry("data2vec-vision", "Data2VecVisionModel", {**size, **keys})
    keys |= {"num_labels": 1000}
    return Entry("data2vec-vision", "Data2VecVisionForImageClassification", {**size, **keys})


def _mae(size: Mapping[str, int], patch: int) -> Entry:
    return Entry("vit_mae", "ViTMAEForPreTraining", {**size, "patch_size": patch})


def _msn(size: Mapping[str, int], patch: int, dropout: float = 0.0) -> Entry:
    keys = {"patch_size": patch, "hidden_dropout_prob": dropout}
    return Entry("vit_msn", "ViTMSNModel", {**size, **keys})


def _dinov2(h: int, L: int, a: int, labels: int = 0, registers: int = 0) -> Entry:
    keys: dict[str, Any] = {
        "hidden_size": h,
        "num_hidden_layers": L,
        "num_attention_heads": a,
        "image_size": 518,
        "patch_size": 14,
        "use_swiglu_ffn": h == 1536,
    }
    if labels:
        keys["num_labels"] = labels
    kind, name = "dinov2", "Dinov2"
    if registers:
        kind, name = "dinov2_with_registers", "Dinov2WithRegisters"
        keys["num_register_tokens"] = registers
    return Entry(kind, name + ("ForImageClassification" if labels else "Model"), keys)


def _dinov3(size: Mapping[str, int], **keys: Any) -> Entry:
    return Entry("dinov3_vit", "DINOv3ViTModel", {**size, "num_register_tokens": 4, **keys})


def _clip(
    size: Mapping[str, int],
    patch: int,
    text: Mapping[str, int],
    img: int = 224,
    act: str = "quick_gelu",
) -> Entry:
    """Both towers; the features are as wide as the text tower."""
    vision = {"patch_size": patch, "image_size": img, "hidden_act": act}
    keys = {
        "model_type": "clip",
        "projection_dim": text["hidden_size"],
        "vision_config": {**size, **vision},
        "text_config": {**text, "hidden_act": act},
    }
    return Entry("clip", "CLIPModel", keys)


def _siglip(
    size: Mapping[str, int],
    patch: int,
    img: int,
    vocab: int = 32000,
    context: int = 64,
    text: Mapping[str, int] | None = None,
) -> Entry:
    """Both towers; the text tower has the size of the image tower unless ``text`` is given."""
    vision = {"patch_size": patch, "image_size": img}
    text_fields = {"vocab_size": vocab, "max_position_embeddings": context}
    if text is not None:
        text_fields["projection_size"] = size["hidden_size"]
    keys = {
        "model_type": "siglip",
        "vision_config": {**size, **vision},
        "text_config": {**(text or size), **text_fields},
    }
    return Entry("siglip", "SiglipModel", keys)


# sizes of the vocabularies of mC4 and of Gemma, in transformers' conversion of SigLIP; C4's is the
# default above
_MULTILINGUAL, _GEMMA = 250000, 256000
_TEXT_B, _TEXT_L, _TEXT_H = _size(512, 12, 8), _size(768, 12, 12), _size(1024, 24, 16)
_TEXT_G = _size(1280, 32, 20)


_GATED = {"use_gated_mlp": True, "hidden_act": "silu"}

HUB: Mapping[str, Entry] = {
    "google/vit-base-patch16-224": _vit(_BASE, 16, 224),
    "google/vit-base-patch16-384": _vit(_BASE, 16, 384),
    "google/vit-base-patch32-384": _vit(_BASE, 32, 384),
    "google/vit-large-patch16-224": _vit(_LARGE, 16, 224),
    "google/vit-large-patch16-384": _vit(_LARGE, 16, 384),
    "google/vit-large-patch32-384": _vit(_LARGE, 32, 384),
    "google/vit-base-patch16-224-in21k": _vit_bare(_BASE, 16),
    "google/vit-base-patch32-224-in21k": _vit_bare(_BASE, 32),
    "google/vit-large-patch16-224-in21k": _vit_bare(_LARGE, 16),
    "google/vit-large-patch32-224-in21k": _vit_bare(_LARGE, 32),
    "google/vit-huge-patch14-224-in21k": _vit_bare(_HUGE, 14),
    "WinKawaks/vit-tiny-patch16-224": _vit(_TINY, 16, 224),
    "WinKawaks/vit-small-patch16-224": _vit(_SMALL, 16, 224),
    "facebook/dino-vits16": _vit_bare(_SMALL, 16),
    "facebook/dino-vits8": _vit_bare(_SMALL, 8),
    "facebook/dino-vitb16": _vit_bare(_BASE, 16),
    "facebook/dino-vitb8": _vit_bare(_BASE, 8),
    "facebook/deit-tiny-patch16-224": _vit(_TINY, 16, 224),
    "facebook/deit-small-patch16-224": _vit(_SMALL, 16, 224),
    "facebook/deit-base-patch16-224": _vit(_BASE, 16, 224),
    "facebook/deit-base-patch16-384": _vit(_BASE, 16, 384),
    "facebook/deit-tiny-distilled-patch16-224": _deit(_TINY, 224),
    "facebook/deit-small-distilled-patch16-224": _deit(_SMALL, 224),
    "facebook/deit-base-distilled-patch16-224": _deit(_BASE, 224),
    "facebook/deit-base-distilled-patch16-384": _deit(_BASE, 384),
    "microsoft/beit-base-patch16-224": _beit(_BASE, 224, 1000),
    "microsoft/beit-base-patch16-384": _beit(_BASE, 384, 1000),
    "microsoft/beit-large-patch16-224": _beit(_LARGE, 224, 1000),
    "microsoft/beit-large-patch16-384": _beit(_LARGE, 384, 1000),
    "microsoft/beit-large-patch16-512": _beit(_LARGE, 512, 1000),
    "microsoft/beit-base-patch16-224-pt22k-ft22k": _beit(_BASE, 224, 21841),
    "microsoft/beit-large-patch16-224-pt22k-ft22k": _beit(_LARGE, 224, 21841),
    "facebook/data2vec-vision-base": _data2vec(_BASE, False),
    "facebook/data2vec-vision-large": _data2vec(_LARGE, False),
    "facebook/data2vec-vision-base-ft1k": _data2vec(_BASE, True),
    "facebook/data2vec-vision-large-ft1k": _data2vec(_LARGE, True),
    "facebook/vit-mae-base": _mae(_BASE, 16),
    "facebook/vit-mae-large": _mae(_LARGE, 16),
    "facebook/vit-mae-huge": _mae(_HUGE, 14),
    "facebook/vit-msn-small": _msn(_SMALL, 16),
    "facebook/vit-msn-base": _msn(_BASE, 16),
    "facebook/vit-msn-base-4": _msn(_BASE, 4),
    "facebook/vit-msn-large": _msn(_LARGE, 16, 0.1),
    "facebook/vit-msn-large-7": _msn(_LARGE, 7, 0.1),
    "facebook/dinov2-small": _dinov2(384, 12, 6),
    "facebook/dinov2-base": _dinov2(768, 12, 12),
    "facebook/dinov2-large": _dinov2(1024, 24, 16),
    "facebook/dinov2-giant": _dinov2(1536, 40, 24),
    "facebook/dinov2-small-imagenet1k-1-layer": _dinov2(384, 12, 6, 1000),
    "facebook/dinov2-base-imagenet1k-1-layer": _dinov2(768, 12, 12, 1000),
    "facebook/dinov2-large-imagenet1k-1-layer": _dinov2(1024, 24, 16, 1000),
    "facebook/dinov2-giant-imagenet1k-1-layer": _dinov2(1536, 40, 24, 1000),
    "facebook/dinov2-with-registers-small": _dinov2(384, 12, 6, 0, 4),
    "facebook/dinov2-with-registers-base": _dinov2(768, 12, 12, 0, 4),
    "facebook/dinov2-with-registers-large": _dinov2(1024, 24, 16, 0, 4),
    "facebook/dinov2-with-registers-giant": _dinov2(1536, 40, 24, 0, 4),
    "facebook/dinov2-with-registers-small-imagenet1k-1-layer": _dinov2(384, 12, 6, 1000, 4),
    "facebook/dinov2-with-registers-base-imagenet1k-1-layer": _dinov2(768, 12, 12, 1000, 4),
    "facebook/dinov2-with-registers-large-imagenet1k-1-layer": _dinov2(1024, 24, 16, 1000, 4),
    "facebook/dinov2-with-registers-giant-imagenet1k-1-layer": _dinov2(1536, 40, 24, 1000, 4),
    "facebook/dinov3-vits16-pretrain-lvd1689m": _dinov3(_SMALL),
    "facebook/dinov3-vits16plus-pretrain-lvd1689m": _dinov3(_SMALL, **_GATED),
    "facebook/dinov3-vitb16-pretrain-lvd1689m": _dinov3(_BASE),
    "facebook/dinov3-vitl16-pretrain-lvd1689m": _dinov3(_LARGE),
    "facebook/dinov3-vitl16-pretrain-sat493m": _dinov3(_LARGE),
    "facebook/dinov3-vith16plus-pretrain-lvd1689m": _dinov3(_size(1280, 32, 20), **_GATED),
    "facebook/dinov3-vit7b16-pretrain-lvd1689m": _dinov3(
        _size(4096, 40, 32, 8192), query_bias=False, value_bias=False, **_GATED
    ),
    "facebook/dinov3-vit7b16-pretrain-sat493m": _dinov3(
        _size(4096, 40, 32, 8192), query_bias=False, value_bias=False, **_GATED
    ),
    "openai/clip-vit-base-patch32": _clip(_BASE, 32, _TEXT_B),
    "openai/clip-vit-base-patch16": _clip(_BASE, 16, _TEXT_B),
    "openai/clip-vit-large-patch14": _clip(_LARGE, 14, _TEXT_L),
    "openai/clip-vit-large-patch14-336": _clip(_LARGE, 14, _TEXT_L, 336),
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": _clip(_BASE, 32, _TEXT_B, act="gelu"),
    "laion/CLIP-ViT-L-14-laion2B-s32B-b82K": _clip(_LARGE, 14, _TEXT_L, act="gelu"),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": _clip(_HUGE, 14, _TEXT_H, act="gelu"),
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": _clip(
        _size(1408, 40, 16, 6144), 14, _TEXT_H, act="gelu"
    ),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": _clip(
        _size(1664, 48, 16, 8192), 14, _TEXT_G, act="gelu"
    ),
    "google/siglip-base-patch16-224": _siglip(_BASE, 16, 224),
    "google/siglip-base-patch16-256": _siglip(_BASE, 16, 256),
    "google/siglip-base-patch16-384": _siglip(_BASE, 16, 384),
    "google/siglip-base-patch16-512": _siglip(_BASE, 16, 512),
    "google/siglip-base-patch16-256-multilingual": _siglip(_BASE, 16, 256, _MULTILINGUAL),
    "google/siglip-large-patch16-256": _siglip(_LARGE, 16, 256),
    "google/siglip-large-patch16-384": _siglip(_LARGE, 16, 384),
    "google/siglip-so400m-patch14-224": _siglip(_SO400M, 14, 224, context=16),
    "google/siglip-so400m-patch14-384": _siglip(_SO400M, 14, 384),
    "google/siglip2-base-patch16-224": _siglip(_BASE, 16, 224, _GEMMA),
    "google/siglip2-base-patch16-256": _siglip(_BASE, 16, 256, _GEMMA),
    "google/siglip2-base-patch16-384": _siglip(_BASE, 16, 384, _GEMMA),
    "google/siglip2-base-patch16-512": _siglip(_BASE, 16, 512, _GEMMA),
    "google/siglip2-base-patch32-256": _siglip(_BASE, 32, 256, _GEMMA),
    "google/siglip2-large-patch16-256": _siglip(_LARGE, 16, 256, _GEMMA),
    "google/siglip2-large-patch16-384": _siglip(_LARGE, 16, 384, _GEMMA),
    "google/siglip2-large-patch16-512": _siglip(_LARGE, 16, 512, _GEMMA),
    "google/siglip2-so400m-patch14-224": _siglip(_SO400M, 14, 224, _GEMMA),
    "google/siglip2-so400m-patch14-384": _siglip(_SO400M, 14, 384, _GEMMA),
    "google/siglip2-so400m-patch16-256": _siglip(_SO400M, 16, 256, _GEMMA),
    "google/siglip2-so400m-patch16-384": _siglip(_SO400M, 16, 384, _GEMMA),
    "google/siglip2-so400m-patch16-512": _siglip(_SO400M, 16, 512, _GEMMA),
    "google/siglip2-giant-opt-patch16-256": _siglip(
        _size(1536, 40, 16), 16, 256, _GEMMA, text=_SO400M
    ),
    "google/siglip2-giant-opt-patch16-384": _siglip(
        _size(1536, 40, 16), 16, 384, _GEMMA, text=_SO400M
    ),
}
