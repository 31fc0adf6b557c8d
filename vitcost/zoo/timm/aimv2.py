"""AIMv2."""

from vitcost.zoo.timm.rows import LARGE, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

AIMV2 = "Fini et al. 2024, arXiv 2411.14402"
AS_AIMV2 = {
    "patch_size": 14,
    "class_token": False,
    "global_pool": "avg",
    "fc_norm": False,
    "patch_norm": True,
    "norm_layer": "rmsnorm",
    "qkv_bias": False,
    "proj_bias": False,
    "mlp_layer": "SwiGLU",
    "act_layer": "silu",
}

ROWS: Rows = {
    "aimv2_large_patch14_224": row(AIMV2, LARGE, AS_AIMV2, num_heads=8, mlp_ratio=2.75),
    "aimv2_huge_patch14_224": of(
        "aimv2_large_patch14_224", embed_dim=1536, num_heads=12, mlp_ratio=2.6667
    ),
    "aimv2_1b_patch14_224": of("aimv2_large_patch14_224", embed_dim=2048, num_heads=16),
    "aimv2_3b_patch14_224": of("aimv2_huge_patch14_224", embed_dim=3072, num_heads=24),
    "aimv2_large_patch14_336": of("aimv2_large_patch14_224", img_size=336),
    "aimv2_huge_patch14_336": of("aimv2_huge_patch14_224", img_size=336),
    "aimv2_1b_patch14_336": of("aimv2_1b_patch14_224", img_size=336),
    "aimv2_3b_patch14_336": of("aimv2_3b_patch14_224", img_size=336),
    "aimv2_large_patch14_448": of("aimv2_large_patch14_224", img_size=448),
    "aimv2_huge_patch14_448": of("aimv2_huge_patch14_224", img_size=448),
    "aimv2_1b_patch14_448": of("aimv2_1b_patch14_224", img_size=448),
    "aimv2_3b_patch14_448": of("aimv2_3b_patch14_224", img_size=448),
}

TAGS: Tags = {
    "aimv2_large_patch14_224": {"apple_pt": 0, "apple_pt_dist": 0},
    "aimv2_huge_patch14_224": {"apple_pt": 0},
    "aimv2_1b_patch14_224": {"apple_pt": 0},
    "aimv2_3b_patch14_224": {"apple_pt": 0},
    "aimv2_large_patch14_336": {"apple_pt": 0, "apple_pt_dist": 0},
    "aimv2_huge_patch14_336": {"apple_pt": 0},
    "aimv2_1b_patch14_336": {"apple_pt": 0},
    "aimv2_3b_patch14_336": {"apple_pt": 0},
    "aimv2_large_patch14_448": {"apple_pt": 0},
    "aimv2_huge_patch14_448": {"apple_pt": 0},
    "aimv2_1b_patch14_448": {"apple_pt": 0},
    "aimv2_3b_patch14_448": {"apple_pt": 0},
}
