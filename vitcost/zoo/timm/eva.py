"""EVA and EVA-02, and their CLIP towers."""

from vitcost.zoo.timm.rows import BASE, GIANT, LARGE, SMALL, TINY, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

EVA = "Fang et al. 2022, arXiv 2211.07636"
EVA02 = "Fang et al. 2023, arXiv 2303.11331"
EVA_CLIP = "Sun et al. 2023, arXiv 2303.15389"
AS_EVA = {"model_class": "Eva", "attn_layer": "eva", "patch_size": 14, "global_pool": "avg"}
AS_EVA02 = {
    "rope_type": "cat",
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "silu",
    "mlp_ratio": 4 * 2 / 3,
}

ROWS: Rows = {
    "eva_giant_patch14_224": row(EVA, GIANT, AS_EVA),
    "eva_giant_patch14_336": of("eva_giant_patch14_224", img_size=336),
    "eva_giant_patch14_560": of("eva_giant_patch14_224", img_size=560),
    "eva02_tiny_patch14_224": row(EVA02, TINY, AS_EVA, AS_EVA02),
    "eva02_small_patch14_224": of("eva02_tiny_patch14_224", SMALL),
    "eva02_base_patch14_224": of(
        "eva02_tiny_patch14_224", BASE, mlp_layer="SwiGLU", scale_mlp_norm=True, qkv_fused=False
    ),
    "eva02_large_patch14_224": of("eva02_base_patch14_224", LARGE),
    "eva02_tiny_patch14_336": of("eva02_tiny_patch14_224", img_size=336),
    "eva02_small_patch14_336": of("eva02_tiny_patch14_336", SMALL),
    "eva02_base_patch14_448": of("eva02_base_patch14_224", img_size=448),
    "eva02_large_patch14_448": of("eva02_base_patch14_448", LARGE),
    "eva_giant_patch14_clip_224": of("eva_giant_patch14_224", source=EVA_CLIP, global_pool="token"),
    "eva02_base_patch16_clip_224": of(
        "eva02_base_patch14_224",
        source=EVA_CLIP,
        patch_size=16,
        scale_attn_norm=True,
        global_pool="token",
    ),
    "eva02_large_patch14_clip_224": of("eva02_base_patch16_clip_224", LARGE, patch_size=14),
    "eva02_large_patch14_clip_336": of("eva02_large_patch14_clip_224", img_size=336),
    "eva02_enormous_patch14_clip_224": row(
        EVA_CLIP,
        AS_EVA,
        embed_dim=1792,
        depth=64,
        num_heads=16,
        mlp_ratio=15360 / 1792,
        global_pool="token",
        block_fn="ResPostBlock",
    ),
    "eva_large_patch14_196": row(EVA, LARGE, patch_size=14, img_size=196, global_pool="avg"),
    "eva_large_patch14_336": of("eva_large_patch14_196", img_size=336),
}

TAGS: Tags = {
    "eva_giant_patch14_224": {"clip_ft_in1k": 1000},
    "eva_giant_patch14_336": {"clip_ft_in1k": 1000, "m30m_ft_in22k_in1k": 1000},
    "eva_giant_patch14_560": {"m30m_ft_in22k_in1k": 1000},
    "eva02_tiny_patch14_224": {"mim_in22k": 0},
    "eva02_small_patch14_224": {"mim_in22k": 0},
    "eva02_base_patch14_224": {"mim_in22k": 0},
    "eva02_large_patch14_224": {"mim_in22k": 0, "mim_m38m": 0},
    "eva02_tiny_patch14_336": {"mim_in22k_ft_in1k": 1000},
    "eva02_small_patch14_336": {"mim_in22k_ft_in1k": 1000},
    "eva02_base_patch14_448": {
        "mim_in22k_ft_in22k_in1k": 1000,
        "mim_in22k_ft_in1k": 1000,
        "mim_in22k_ft_in22k": 21841,
    },
    "eva02_large_patch14_448": {
        "mim_in22k_ft_in22k_in1k": 1000,
        "mim_m38m_ft_in22k_in1k": 1000,
        "mim_in22k_ft_in1k": 1000,
        "mim_m38m_ft_in1k": 1000,
        "mim_in22k_ft_in22k": 21841,
        "mim_m38m_ft_in22k": 21841,
    },
    "eva_giant_patch14_clip_224": {"laion400m": 1024, "merged2b": 1024},
    "eva02_base_patch16_clip_224": {"merged2b": 512},
    "eva02_large_patch14_clip_224": {"merged2b": 768},
    "eva02_large_patch14_clip_336": {"merged2b": 768},
    "eva02_enormous_patch14_clip_224": {"laion2b": 1024, "laion2b_plus": 1024, "pretrain": 0},
    "eva_large_patch14_196": {"in22k_ft_in22k_in1k": 1000, "in22k_ft_in1k": 1000},
    "eva_large_patch14_336": {"in22k_ft_in22k_in1k": 1000, "in22k_ft_in1k": 1000},
}
