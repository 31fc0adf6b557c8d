"""open_clip's models: the keys that decide the towers in each model JSON.

Source: open_clip 3.3, ``model_configs/*.json``.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["MODELS"]

Json: TypeAlias = dict[str, Any]

_S, _M = {"layers": 12, "width": 384}, {"layers": 12, "width": 512}
_B, _B_PLUS = {"layers": 12, "width": 768}, {"layers": 12, "width": 896}
_L, _H = {"layers": 24, "width": 1024}, {"layers": 32, "width": 1280, "head_width": 80}
_G = {"layers": 40, "width": 1408, "head_width": 88, "mlp_ratio": 4.3637}
_BIG_G = {"layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231}
_E = {"layers": 56, "width": 1792, "head_width": 112, "mlp_ratio": 8.5715}
_CLIPA: Json = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}


# heads and layers of a text tower, by its width
_TEXTS = {
    256: (4, 10), 384: (6, 12), 512: (8, 12), 640: (10, 12), 768: (12, 12), 1024: (16, 24),
    1152: (16, 27), 1280: (20, 32),
}  # fmt: skip


def _text(width: int, context: int = 77, vocab: int = 49408, **more: Any) -> Json:
    """open_clip's own TextTransformer."""
    heads, layers = _TEXTS[width]
    size = {"width": width, "heads": heads, "layers": layers}
    return {"context_length": context, "vocab_size": vocab, **size, **more}


_BOTH_WAYS: Json = {"no_causal_mask": True, "pool_type": "last"}


def _siglip(width: int, vocab: int = 32000, **more: Any) -> Json:
    """The text tower of SigLIP, whose projection has a bias."""
    ratio = {"mlp_ratio": 3.7362} if width == 1152 else {}
    fixed = {**ratio, "proj_bias": True, **_BOTH_WAYS}
    return _text(width, 64, vocab, **{**fixed, **more})


def _siglip2(width: int) -> Json:
    return _siglip(width, 256000, act_kwargs={"approximate": "tanh"})


def _clipa(width: int) -> Json:
    return _text(width, 32, 32000, **_BOTH_WAYS)


def _other(name: str) -> Json:
    """A text tower that transformers builds."""
    return {"hf_model_name": name}


def _own(
    embed_dim: int,
    size: Json,
    patch: int,
    img: int,
    quick: bool = False,
    text: Json | None = None,
    **more: Any,
) -> Json:
    """open_clip's own VisionTransformer, and a text tower as wide as the features."""
    return {
        "embed_dim": embed_dim,
        "quick_gelu": quick,
        "vision_cfg": {**size, "patch_size": patch, "image_size": img, **more},
        "text_cfg": text or _text(embed_dim),
    }


def _timm(embed_dim: int, name: str, img: int, text: Json | None = None, **more: Any) -> Json:
    """A timm model."""
    vision = {"timm_model_name": name, "image_size": img, **more}
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text or _text(embed_dim)}


def _bare(embed_dim: int, name: str, img: int, text: Json | None = None) -> Json:
    """SigLIP: the attention pool is the last layer, and the logits have a bias."""
    text = text or _siglip(embed_dim)
    model = _timm(embed_dim, name, img, text, timm_pool="map", timm_proj="none")
    return {**model, "init_logit_bias": -10}


def _head(
    embed_dim: int,
    name: str,
    img: int,
    pool: str = "token",
    drop_path: float = 0.0,
    text: Json | None = None,
) -> Json:
    """A model in which timm's head is the projection."""
    more: Json = {"timm_pool": pool, "timm_proj": None, "timm_drop_path": drop_path}
    return _timm(embed_dim, name, img, text, **more)


def _linear(embed_dim: int, name: str, img: int, drop_path: float) -> Json:
    """A model with a projection after timm's pool."""
    more: Json = {"timm_pool": "", "timm_proj": "linear", "timm_drop_path": drop_path}
    return _timm(embed_dim, name, img, **more)


MODELS: Mapping[str, Json] = {
    "EVA01-g-14-plus": _head(1024, "eva_giant_patch14_224", 224),
    "EVA01-g-14": _head(1024, "eva_giant_patch14_224", 224, text=_text(768)),
    "EVA02-B-16": _head(512, "eva02_base_patch16_clip_224", 224),
    "EVA02-E-14-plus": _head(1024, "eva02_enormous_patch14_clip_224", 224, text=_text(1280)),
    "EVA02-E-14": _head(1024, "eva02_enormous_patch14_clip_224", 224),
    "EVA02-L-14-336": _head(768, "eva02_large_patch14_clip_336", 336),
    "EVA02-L-14": _head(768, "eva02_large_patch14_clip_224", 224),
    "MobileCLIP-B": _head(512, "vit_base_mci_224", 224),
    "MobileCLIP2-B": _head(512, "vit_base_mci_224", 224),
    "MobileCLIP2-L-14": _head(
        768,
        "vit_large_patch14_clip_224",
        224,
        drop_path=0.1,
        text=_text(768, no_causal_mask=True),
    ),
    "PE-Core-B-16": _head(
        1024, "vit_pe_core_base_patch16_224", 224, pool="map", text=_text(1024, context=32)
    ),
    "PE-Core-L-14-336": _head(
        1024, "vit_pe_core_large_patch14_336", 336, pool="map", text=_text(1024, context=32)
    ),
    "PE-Core-S-16-384": _head(
        512, "vit_pe_core_small_patch16_384", 384, pool="map", text=_text(512, context=32)
    ),
    "PE-Core-T-16-384": _head(
        512, "vit_pe_core_tiny_patch16_384", 384, pool="map", text=_text(512, context=32)
    ),
    "PE-Core-bigG-14-448": _head(
        1280,
        "vit_pe_core_gigantic_patch14_448",
        448,
        pool="map",
        text=_text(1280, context=72, layers=24),
    ),
    "ViT-B-16-SigLIP-256": _bare(768, "vit_base_patch16_siglip_256", 256),
    "ViT-B-16-SigLIP-384": _bare(768, "vit_base_patch16_siglip_384", 384),
    "ViT-B-16-SigLIP-512": _bare(768, "vit_base_patch16_siglip_512", 512),
    "ViT-B-16-SigLIP-i18n-256": _bare(
        768, "vit_base_patch16_siglip_256", 256, text=_siglip(768, 250000)
    ),
    "ViT-B-16-SigLIP": _bare(768, "vit_base_patch16_siglip_224", 224),
    "ViT-B-16-SigLIP2-256": _bare(768, "vit_base_patch16_siglip_256", 256, text=_siglip2(768)),
    "ViT-B-16-SigLIP2-384": _bare(768, "vit_base_patch16_siglip_384", 384, text=_siglip2(768)),
    "ViT-B-16-SigLIP2-512": _bare(768, "vit_base_patch16_siglip_512", 512, text=_siglip2(768)),
    "ViT-B-16-SigLIP2": _bare(768, "vit_base_patch16_siglip_224", 224, text=_siglip2(768)),
    "ViT-B-16-plus-240": _own(640, _B_PLUS, 16, 240),
    "ViT-B-16-plus": _own(640, _B_PLUS, 16, 224),
    "ViT-B-16-quickgelu": _own(512, _B, 16, 224, quick=True),
    "ViT-B-16": _own(512, _B, 16, 224),
    "ViT-B-32-256": _own(512, _B, 32, 256),
    "ViT-B-32-SigLIP2-256": _bare(768, "vit_base_patch32_siglip_256", 256, text=_siglip2(768)),
    "ViT-B-32-plus-256": _own(640, _B_PLUS, 32, 256),
    "ViT-B-32-quickgelu": _own(512, _B, 32, 224, quick=True),
    "ViT-B-32": _own(512, _B, 32, 224),
    "ViT-H-14-378-quickgelu": _own(1024, _H, 14, 378, quick=True),
    "ViT-H-14-378": _own(1024, _H, 14, 378),
    "ViT-H-14-CLIPA-336": _own(1024, _H, 14, 336, text=_clipa(1024), **_CLIPA),
    "ViT-H-14-CLIPA": _own(1024, _H, 14, 224, text=_clipa(1024), **_CLIPA),
    "ViT-H-14-quickgelu": _own(1024, _H, 14, 224, quick=True),
    "ViT-H-14-worldwide-378": _own(1024, _H, 14, 378, text=_text(1024, vocab=901629)),
    "ViT-H-14-worldwide-quickgelu": _own(
        1024, _H, 14, 224, quick=True, text=_text(1024, vocab=901629)
    ),
    "ViT-H-14-worldwide": _own(1024, _H, 14, 224, text=_text(1024, vocab=901629)),
    "ViT-H-14": _own(1024, _H, 14, 224),
    "ViT-H-16": _own(1024, _H, 16, 224),
    "ViT-L-14-280": _own(768, _L, 14, 280),
    "ViT-L-14-336-quickgelu": _own(768, _L, 14, 336, quick=True),
    "ViT-L-14-336": _own(768, _L, 14, 336),
    "ViT-L-14-CLIPA-336": _own(768, _L, 14, 336, text=_clipa(768), **_CLIPA),
    "ViT-L-14-CLIPA": _own(768, _L, 14, 224, text=_clipa(768), **_CLIPA),
    "ViT-L-14-quickgelu": _own(768, _L, 14, 224, quick=True),
    "ViT-L-14-worldwide-quickgelu": _own(
        768, _L, 14, 224, quick=True, text=_text(768, vocab=250100)
    ),
    "ViT-L-14-worldwide": _own(768, _L, 14, 224, text=_text(768, vocab=250100)),
    "ViT-L-14": _own(768, _L, 14, 224),
    "ViT-L-16-320": _own(768, _L, 16, 320),
    "ViT-L-16-SigLIP-256": _bare(1024, "vit_large_patch16_siglip_256", 256),
    "ViT-L-16-SigLIP-384": _bare(1024, "vit_large_patch16_siglip_384", 384),
    "ViT-L-16-SigLIP2-256": _bare(1024, "vit_large_patch16_siglip_256", 256, text=_siglip2(1024)),
    "ViT-L-16-SigLIP2-384": _bare(1024, "vit_large_patch16_siglip_384", 384, text=_siglip2(1024)),
    "ViT-L-16-SigLIP2-512": _bare(1024, "vit_large_patch16_siglip_512", 512, text=_siglip2(1024)),
    "ViT-L-16": _own(768, _L, 16, 224),
    "ViT-M-16-alt": _own(384, _M, 16, 224, ls_init_value=0.0001),
    "ViT-M-16": _own(512, _M, 16, 224),
    "ViT-M-32-alt": _own(384, _M, 32, 224),
    "ViT-M-32": _own(512, _M, 32, 224),
    "ViT-S-16-alt": _own(256, _S, 16, 224),
    "ViT-S-16": _own(384, _S, 16, 224),
    "ViT-S-32-alt": _own(256, _S, 32, 224),
    "ViT-S-32": _own(384, _S, 32, 224),
    "ViT-SO400M-14-SigLIP-378": _bare(1152, "vit_so400m_patch14_siglip_378", 378),
    "ViT-SO400M-14-SigLIP-384": _bare(1152, "vit_so400m_patch14_siglip_384", 384),
    "ViT-SO400M-14-SigLIP": _bare(
        1152, "vit_so400m_patch14_siglip_224", 224, text=_siglip(1152, context_length=16)
    ),
    "ViT-SO400M-14-SigLIP2-378": _bare(
        1152, "vit_so400m_patch14_siglip_378", 378, text=_siglip2(1152)
    ),
    "ViT-SO400M-14-SigLIP2": _bare(1152, "vit_so400m_patch14_siglip_224", 224, text=_siglip2(1152)),
    "ViT-SO400M-16-SigLIP-i18n-256": _bare(
        1152,
        "vit_so400m_patch16_siglip_256",
        256,
        text=_siglip(1152, 250000, proj_bias=False, proj_type="none"),
    ),
    "ViT-SO400M-16-SigLIP2-256": _bare(
        1152, "vit_so400m_patch16_siglip_256", 256, text=_siglip2(1152)
    ),
    "ViT-SO400M-16-SigLIP2-384": _bare(
        1152, "vit_so400m_patch16_siglip_384", 384, text=_siglip2(1152)
    ),
    "ViT-SO400M-16-SigLIP2-512": _bare(
        1152, "vit_so400m_patch16_siglip_512", 512, text=_siglip2(1152)
    ),
    "ViT-bigG-14-CLIPA-336": _own(1280, _BIG_G, 14, 336, text=_clipa(1280), **_CLIPA),
    "ViT-bigG-14-CLIPA": _own(1280, _BIG_G, 14, 224, text=_clipa(1280), **_CLIPA),
    "ViT-bigG-14-quickgelu": _own(1280, _BIG_G, 14, 224, quick=True),
    "ViT-bigG-14-worldwide-378": _own(1280, _BIG_G, 14, 378, text=_text(1280, vocab=901629)),
    "ViT-bigG-14-worldwide": _own(1280, _BIG_G, 14, 224, text=_text(1280, vocab=901629)),
    "ViT-bigG-14": _own(1280, _BIG_G, 14, 224),
    "ViT-e-14": _own(1280, _E, 14, 224, text=_text(1280, layers=36)),
    "ViT-g-14": _own(1024, _G, 14, 224),
    "ViT-gopt-16-SigLIP2-256": _bare(
        1536, "vit_giantopt_patch16_siglip_256", 256, text=_siglip2(1152)
    ),
    "ViT-gopt-16-SigLIP2-384": _bare(
        1536, "vit_giantopt_patch16_siglip_384", 384, text=_siglip2(1152)
    ),
    "ViTamin-B-LTT": _linear(768, "vitamin_base_224", 224, drop_path=0.1),
    "ViTamin-B": _linear(512, "vitamin_base_224", 224, drop_path=0.1),
    "ViTamin-L-256": _linear(768, "vitamin_large_256", 256, drop_path=0.1),
    "ViTamin-L-336": _linear(768, "vitamin_large_336", 336, drop_path=0.1),
    "ViTamin-L-384": _linear(768, "vitamin_large_384", 384, drop_path=0.1),
    "ViTamin-L": _linear(768, "vitamin_large_224", 224, drop_path=0.1),
    "ViTamin-L2-256": _linear(1024, "vitamin_large2_256", 256, drop_path=0.1),
    "ViTamin-L2-336": _linear(1024, "vitamin_large2_336", 336, drop_path=0.1),
    "ViTamin-L2-384": _linear(1024, "vitamin_large2_384", 384, drop_path=0.1),
    "ViTamin-L2": _linear(1024, "vitamin_large2_224", 224, drop_path=0.1),
    "ViTamin-S-LTT": _linear(768, "vitamin_small_224", 224, drop_path=0.1),
    "ViTamin-S": _linear(384, "vitamin_small_224", 224, drop_path=0.1),
    "ViTamin-XL-256": _linear(1152, "vitamin_xlarge_256", 256, drop_path=0.1),
    "ViTamin-XL-336": _linear(1152, "vitamin_xlarge_336", 336, drop_path=0.1),
    "coca_base": _own(512, _B, 18, 288, text={"embed_cls": True}),
    "coca_roberta-ViT-B-32": _own(512, _B, 32, 224, text=_other("roberta-base")),
    "mt5-base-ViT-B-32": _own(512, _B, 32, 224, text=_other("google/mt5-base")),
    "mt5-xl-ViT-H-14": _own(1024, _H, 14, 224, text=_other("google/mt5-xl")),
    "nllb-clip-base-siglip": _bare(
        768, "vit_base_patch16_siglip_384", 384, text=_other("facebook/nllb-200-distilled-600M")
    ),
    "nllb-clip-base": _own(512, _B, 32, 224, text=_other("facebook/nllb-200-distilled-600M")),
    "nllb-clip-large-siglip": _bare(
        1152, "vit_so400m_patch14_siglip_384", 384, text=_other("facebook/nllb-200-distilled-1.3B")
    ),
    "nllb-clip-large": _own(1024, _H, 14, 224, text=_other("facebook/nllb-200-distilled-1.3B")),
    "roberta-ViT-B-32": _own(512, _B, 32, 224, quick=True, text=_other("roberta-base")),
    "xlm-roberta-base-ViT-B-32": _own(512, _B, 32, 224, text=_other("xlm-roberta-base")),
    "xlm-roberta-large-ViT-H-14": _own(1024, _H, 14, 224, text=_other("xlm-roberta-large")),
}
