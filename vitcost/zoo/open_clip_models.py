"""open_clip's models: what decides the vision tower in each model JSON.

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


def _own(
    embed_dim: int, size: Json, patch: int, img: int, quick: bool = False, **more: Any
) -> Json:
    """open_clip's own VisionTransformer."""
    vision = {**size, "patch_size": patch, "image_size": img, **more}
    return {"embed_dim": embed_dim, "quick_gelu": quick, "vision_cfg": vision}


def _timm(embed_dim: int, name: str, img: int, **more: Any) -> Json:
    """A timm model."""
    vision = {"timm_model_name": name, "image_size": img, **more}
    return {"embed_dim": embed_dim, "vision_cfg": vision}


def _bare(embed_dim: int, name: str, img: int) -> Json:
    """SigLIP's: the attention pool is the last."""
    return _timm(embed_dim, name, img, timm_pool="map", timm_proj="none")


def _head(embed_dim: int, name: str, img: int, pool: str = "token", drop_path: float = 0.0) -> Json:
    """With timm's head as the projection."""
    more = {"timm_pool": pool, "timm_proj": None, "timm_drop_path": drop_path}
    return _timm(embed_dim, name, img, **more)


def _linear(embed_dim: int, name: str, img: int, drop_path: float) -> Json:
    """With a projection behind timm's pool."""
    more = {"timm_pool": "", "timm_proj": "linear", "timm_drop_path": drop_path}
    return _timm(embed_dim, name, img, **more)


MODELS: Mapping[str, Json] = {
    "EVA01-g-14-plus": _head(1024, "eva_giant_patch14_224", 224),
    "EVA01-g-14": _head(1024, "eva_giant_patch14_224", 224),
    "EVA02-B-16": _head(512, "eva02_base_patch16_clip_224", 224),
    "EVA02-E-14-plus": _head(1024, "eva02_enormous_patch14_clip_224", 224),
    "EVA02-E-14": _head(1024, "eva02_enormous_patch14_clip_224", 224),
    "EVA02-L-14-336": _head(768, "eva02_large_patch14_clip_336", 336),
    "EVA02-L-14": _head(768, "eva02_large_patch14_clip_224", 224),
    "MobileCLIP-B": _head(512, "vit_base_mci_224", 224),
    "MobileCLIP2-B": _head(512, "vit_base_mci_224", 224),
    "MobileCLIP2-L-14": _head(768, "vit_large_patch14_clip_224", 224, drop_path=0.1),
    "PE-Core-B-16": _head(1024, "vit_pe_core_base_patch16_224", 224, pool="map"),
    "PE-Core-L-14-336": _head(1024, "vit_pe_core_large_patch14_336", 336, pool="map"),
    "PE-Core-S-16-384": _head(512, "vit_pe_core_small_patch16_384", 384, pool="map"),
    "PE-Core-T-16-384": _head(512, "vit_pe_core_tiny_patch16_384", 384, pool="map"),
    "PE-Core-bigG-14-448": _head(1280, "vit_pe_core_gigantic_patch14_448", 448, pool="map"),
    "ViT-B-16-SigLIP-256": _bare(768, "vit_base_patch16_siglip_256", 256),
    "ViT-B-16-SigLIP-384": _bare(768, "vit_base_patch16_siglip_384", 384),
    "ViT-B-16-SigLIP-512": _bare(768, "vit_base_patch16_siglip_512", 512),
    "ViT-B-16-SigLIP-i18n-256": _bare(768, "vit_base_patch16_siglip_256", 256),
    "ViT-B-16-SigLIP": _bare(768, "vit_base_patch16_siglip_224", 224),
    "ViT-B-16-SigLIP2-256": _bare(768, "vit_base_patch16_siglip_256", 256),
    "ViT-B-16-SigLIP2-384": _bare(768, "vit_base_patch16_siglip_384", 384),
    "ViT-B-16-SigLIP2-512": _bare(768, "vit_base_patch16_siglip_512", 512),
    "ViT-B-16-SigLIP2": _bare(768, "vit_base_patch16_siglip_224", 224),
    "ViT-B-16-plus-240": _own(640, _B_PLUS, 16, 240),
    "ViT-B-16-plus": _own(640, _B_PLUS, 16, 224),
    "ViT-B-16-quickgelu": _own(512, _B, 16, 224, quick=True),
    "ViT-B-16": _own(512, _B, 16, 224),
    "ViT-B-32-256": _own(512, _B, 32, 256),
    "ViT-B-32-SigLIP2-256": _bare(768, "vit_base_patch32_siglip_256", 256),
    "ViT-B-32-plus-256": _own(640, _B_PLUS, 32, 256),
    "ViT-B-32-quickgelu": _own(512, _B, 32, 224, quick=True),
    "ViT-B-32": _own(512, _B, 32, 224),
    "ViT-H-14-378-quickgelu": _own(1024, _H, 14, 378, quick=True),
    "ViT-H-14-378": _own(1024, _H, 14, 378),
    "ViT-H-14-CLIPA-336": _own(1024, _H, 14, 336, **_CLIPA),
    "ViT-H-14-CLIPA": _own(1024, _H, 14, 224, **_CLIPA),
    "ViT-H-14-quickgelu": _own(1024, _H, 14, 224, quick=True),
    "ViT-H-14-worldwide-378": _own(1024, _H, 14, 378),
    "ViT-H-14-worldwide-quickgelu": _own(1024, _H, 14, 224, quick=True),
    "ViT-H-14-worldwide": _own(1024, _H, 14, 224),
    "ViT-H-14": _own(1024, _H, 14, 224),
    "ViT-H-16": _own(1024, _H, 16, 224),
    "ViT-L-14-280": _own(768, _L, 14, 280),
    "ViT-L-14-336-quickgelu": _own(768, _L, 14, 336, quick=True),
    "ViT-L-14-336": _own(768, _L, 14, 336),
    "ViT-L-14-CLIPA-336": _own(768, _L, 14, 336, **_CLIPA),
    "ViT-L-14-CLIPA": _own(768, _L, 14, 224, **_CLIPA),
    "ViT-L-14-quickgelu": _own(768, _L, 14, 224, quick=True),
    "ViT-L-14-worldwide-quickgelu": _own(768, _L, 14, 224, quick=True),
    "ViT-L-14-worldwide": _own(768, _L, 14, 224),
    "ViT-L-14": _own(768, _L, 14, 224),
    "ViT-L-16-320": _own(768, _L, 16, 320),
    "ViT-L-16-SigLIP-256": _bare(1024, "vit_large_patch16_siglip_256", 256),
    "ViT-L-16-SigLIP-384": _bare(1024, "vit_large_patch16_siglip_384", 384),
    "ViT-L-16-SigLIP2-256": _bare(1024, "vit_large_patch16_siglip_256", 256),
    "ViT-L-16-SigLIP2-384": _bare(1024, "vit_large_patch16_siglip_384", 384),
    "ViT-L-16-SigLIP2-512": _bare(1024, "vit_large_patch16_siglip_512", 512),
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
    "ViT-SO400M-14-SigLIP": _bare(1152, "vit_so400m_patch14_siglip_224", 224),
    "ViT-SO400M-14-SigLIP2-378": _bare(1152, "vit_so400m_patch14_siglip_378", 378),
    "ViT-SO400M-14-SigLIP2": _bare(1152, "vit_so400m_patch14_siglip_224", 224),
    "ViT-SO400M-16-SigLIP-i18n-256": _bare(1152, "vit_so400m_patch16_siglip_256", 256),
    "ViT-SO400M-16-SigLIP2-256": _bare(1152, "vit_so400m_patch16_siglip_256", 256),
    "ViT-SO400M-16-SigLIP2-384": _bare(1152, "vit_so400m_patch16_siglip_384", 384),
    "ViT-SO400M-16-SigLIP2-512": _bare(1152, "vit_so400m_patch16_siglip_512", 512),
    "ViT-bigG-14-CLIPA-336": _own(1280, _BIG_G, 14, 336, **_CLIPA),
    "ViT-bigG-14-CLIPA": _own(1280, _BIG_G, 14, 224, **_CLIPA),
    "ViT-bigG-14-quickgelu": _own(1280, _BIG_G, 14, 224, quick=True),
    "ViT-bigG-14-worldwide-378": _own(1280, _BIG_G, 14, 378),
    "ViT-bigG-14-worldwide": _own(1280, _BIG_G, 14, 224),
    "ViT-bigG-14": _own(1280, _BIG_G, 14, 224),
    "ViT-e-14": _own(1280, _E, 14, 224),
    "ViT-g-14": _own(1024, _G, 14, 224),
    "ViT-gopt-16-SigLIP2-256": _bare(1536, "vit_giantopt_patch16_siglip_256", 256),
    "ViT-gopt-16-SigLIP2-384": _bare(1536, "vit_giantopt_patch16_siglip_384", 384),
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
    "coca_base": _own(512, _B, 18, 288),
    "coca_roberta-ViT-B-32": _own(512, _B, 32, 224),
    "mt5-base-ViT-B-32": _own(512, _B, 32, 224),
    "mt5-xl-ViT-H-14": _own(1024, _H, 14, 224),
    "nllb-clip-base-siglip": _bare(768, "vit_base_patch16_siglip_384", 384),
    "nllb-clip-base": _own(512, _B, 32, 224),
    "nllb-clip-large-siglip": _bare(1152, "vit_so400m_patch14_siglip_384", 384),
    "nllb-clip-large": _own(1024, _H, 14, 224),
    "roberta-ViT-B-32": _own(512, _B, 32, 224, quick=True),
    "xlm-roberta-base-ViT-B-32": _own(512, _B, 32, 224),
    "xlm-roberta-large-ViT-H-14": _own(1024, _H, 14, 224),
}
