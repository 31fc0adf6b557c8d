"""Perception Encoder."""

from vitcost.zoo.timm.rows import BASE, LARGE, SMALL, TINY, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

PE = "Bolya et al. 2025, arXiv 2504.13181"
AS_PE = {"model_class": "Eva", "attn_layer": "rope", "rope_type": "cat", "pre_norm": True}
CORE = {"global_pool": "map", "attn_pool_num_heads": 8, "attn_pool_mlp_ratio": 4.0}
NO_NORM = {"global_pool": "avg", "final_norm": False, "fc_norm": False}

ROWS: Rows = {
    "vit_pe_core_tiny_patch16_384": row(PE, TINY, AS_PE, CORE, img_size=384),
    "vit_pe_core_small_patch16_384": of("vit_pe_core_tiny_patch16_384", SMALL),
    "vit_pe_core_base_patch16_224": row(PE, BASE, AS_PE, CORE),
    "vit_pe_core_large_patch14_336": of(
        "vit_pe_core_tiny_patch16_384", LARGE, patch_size=14, img_size=336
    ),
    "vit_pe_core_gigantic_patch14_448": of(
        "vit_pe_core_large_patch14_336",
        img_size=448,
        embed_dim=1536,
        depth=50,
        mlp_ratio=8960 / 1536,
        class_token=False,
    ),
    "vit_pe_lang_large_patch14_448": row(
        PE, LARGE, AS_PE, NO_NORM, patch_size=14, img_size=448, depth=23, init_values=0.1
    ),
    "vit_pe_lang_gigantic_patch14_448": of(
        "vit_pe_lang_large_patch14_448",
        embed_dim=1536,
        depth=47,
        mlp_ratio=8960 / 1536,
        class_token=False,
    ),
    "vit_pe_spatial_tiny_patch16_512": row(PE, TINY, AS_PE, NO_NORM, img_size=512),
    "vit_pe_spatial_small_patch16_512": of("vit_pe_spatial_tiny_patch16_512", SMALL),
    "vit_pe_spatial_base_patch16_512": of("vit_pe_spatial_tiny_patch16_512", BASE),
    "vit_pe_spatial_large_patch14_448": of(
        "vit_pe_lang_large_patch14_448", depth=24, init_values=None
    ),
    "vit_pe_spatial_gigantic_patch14_448": of("vit_pe_lang_gigantic_patch14_448", depth=50),
}

TAGS: Tags = {
    "vit_pe_core_tiny_patch16_384": {"fb": 512},
    "vit_pe_core_small_patch16_384": {"fb": 512},
    "vit_pe_core_base_patch16_224": {"fb": 1024},
    "vit_pe_core_large_patch14_336": {"fb": 1024},
    "vit_pe_core_gigantic_patch14_448": {"fb": 1280},
    "vit_pe_lang_large_patch14_448": {"fb": 0, "fb_tiling": 0},
    "vit_pe_lang_gigantic_patch14_448": {"fb": 0, "fb_tiling": 0},
    "vit_pe_spatial_tiny_patch16_512": {"fb": 0},
    "vit_pe_spatial_small_patch16_512": {"fb": 0},
    "vit_pe_spatial_base_patch16_512": {"fb": 0},
    "vit_pe_spatial_large_patch14_448": {"fb": 0},
    "vit_pe_spatial_gigantic_patch14_448": {"fb": 0},
}
