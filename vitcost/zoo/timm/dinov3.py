"""DINOv3, and LingBot-Vision and Sapiens2 after it."""

from vitcost.zoo.timm.rows import BASE, HUGE, LARGE, SMALL, TINY, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

DINOV3 = "Siméoni et al. 2025, arXiv 2508.10104"
LINGBOT = "Fu et al. 2026, arXiv 2607.05247"
SAPIENS2 = "Khirodkar et al. 2026, arXiv 2604.21681"
AS_DINOV3 = {
    "model_class": "Eva",
    "attn_layer": "eva",
    "dynamic_img_size": True,
    "pos_embed": "none",
    "rope_type": "dinov3",
    "reg_tokens": 4,
    "init_values": 1e-5,
    "fc_norm": False,
}
AS_SAPIENS2 = {
    "model_class": "Eva",
    "attn_layer": "rope",
    "img_size": (1024, 768),
    "dynamic_img_size": True,
    "pos_embed": "none",
    "rope_type": "dinov3",
    "reg_tokens": 8,
    "init_values": 1.0,
    "attn_only_layer_scale": True,
    "fc_norm": False,
    "qkv_fused": False,
    "qk_norm": True,
    "norm_layer": "rmsnorm",
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "silu",
}

ROWS: Rows = {
    "vit_tiny_patch16_dinov3_qkvb": row(DINOV3, TINY, AS_DINOV3, img_size=256, global_pool="avg"),
    "vit_small_patch16_dinov3": of("vit_tiny_patch16_dinov3_qkvb", SMALL, qkv_bias=False),
    "vit_small_patch16_dinov3_qkvb": of("vit_tiny_patch16_dinov3_qkvb", SMALL),
    "vit_small_plus_patch16_dinov3": of(
        "vit_small_patch16_dinov3", mlp_layer="SwiGLU", act_layer="silu", swiglu_align_to=8
    ),
    "vit_small_plus_patch16_dinov3_qkvb": of("vit_small_plus_patch16_dinov3", qkv_bias=True),
    "vit_base_patch16_dinov3": of("vit_small_patch16_dinov3", BASE),
    "vit_base_patch16_dinov3_qkvb": of("vit_tiny_patch16_dinov3_qkvb", BASE),
    "vit_large_patch16_dinov3": of("vit_small_patch16_dinov3", LARGE),
    "vit_large_patch16_dinov3_qkvb": of("vit_tiny_patch16_dinov3_qkvb", LARGE),
    "vit_huge_plus_patch16_dinov3": of("vit_small_plus_patch16_dinov3", HUGE, num_heads=20),
    "vit_huge_plus_patch16_dinov3_qkvb": of(
        "vit_small_plus_patch16_dinov3_qkvb", HUGE, num_heads=20
    ),
    "vit_7b_patch16_dinov3": of(
        "vit_small_plus_patch16_dinov3",
        embed_dim=4096,
        depth=40,
        num_heads=32,
        mlp_ratio=2,
        swiglu_align_to=64,
    ),
    "vit_small_patch16_lingbot": row(LINGBOT, SMALL, AS_DINOV3, img_size=512),
    "vit_base_patch16_lingbot": of("vit_small_patch16_lingbot", BASE),
    "vit_large_patch16_lingbot": of("vit_small_patch16_lingbot", LARGE),
    "vit_giant_patch16_lingbot": of(
        "vit_small_plus_patch16_dinov3",
        source=LINGBOT,
        img_size=512,
        embed_dim=1536,
        depth=40,
        num_heads=24,
        mlp_ratio=4 * 2 / 3,
        global_pool="token",
    ),
    "vit_base_patch16_sapiens2": row(SAPIENS2, BASE, AS_SAPIENS2, num_kv_heads=(12,) * 12),
    "vit_large_patch16_sapiens2": of(
        "vit_base_patch16_sapiens2", LARGE, num_kv_heads=(16,) * 8 + (8,) * 8 + (16,) * 8
    ),
    "vit_huge_patch16_sapiens2": of(
        "vit_base_patch16_sapiens2", HUGE, num_kv_heads=(16,) * 8 + (8,) * 16 + (16,) * 8
    ),
    "vit_giant_patch16_sapiens2": of(
        "vit_base_patch16_sapiens2",
        embed_dim=1536,
        depth=40,
        num_heads=24,
        num_kv_heads=(24,) * 8 + (12,) * 24 + (24,) * 8,
    ),
    "vit_5b_patch16_sapiens2": of(
        "vit_base_patch16_sapiens2",
        embed_dim=2432,
        depth=56,
        num_heads=32,
        num_kv_heads=(32,) * 8 + (16,) * 40 + (32,) * 8,
    ),
}

TAGS: Tags = {
    "vit_tiny_patch16_dinov3_qkvb": {"eupe_lvd1689m": 0},
    "vit_small_patch16_dinov3": {"lvd1689m": 0},
    "vit_small_patch16_dinov3_qkvb": {"lvd1689m": 0, "eupe_lvd1689m": 0},
    "vit_small_plus_patch16_dinov3": {"lvd1689m": 0},
    "vit_small_plus_patch16_dinov3_qkvb": {"lvd1689m": 0},
    "vit_base_patch16_dinov3": {"lvd1689m": 0},
    "vit_base_patch16_dinov3_qkvb": {"lvd1689m": 0, "eupe_lvd1689m": 0},
    "vit_large_patch16_dinov3": {"lvd1689m": 0, "sat493m": 0},
    "vit_large_patch16_dinov3_qkvb": {"lvd1689m": 0, "sat493m": 0},
    "vit_huge_plus_patch16_dinov3": {"lvd1689m": 0},
    "vit_huge_plus_patch16_dinov3_qkvb": {"lvd1689m": 0},
    "vit_7b_patch16_dinov3": {"lvd1689m": 0, "sat493m": 0},
    "vit_small_patch16_lingbot": {"robbyant": 0},
    "vit_base_patch16_lingbot": {"robbyant": 0},
    "vit_large_patch16_lingbot": {"robbyant": 0},
    "vit_giant_patch16_lingbot": {"robbyant": 0},
    "vit_base_patch16_sapiens2": {"fb": 0},
    "vit_large_patch16_sapiens2": {"fb": 0},
    "vit_huge_patch16_sapiens2": {"fb": 0},
    "vit_giant_patch16_sapiens2": {"fb": 0},
    "vit_5b_patch16_sapiens2": {"fb": 0},
}
