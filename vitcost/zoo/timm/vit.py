"""The plain Vision Transformers: the models of the papers, and timm's experiments on them."""

from vitcost.zoo.timm.rows import (
    BASE,
    GIANT,
    GIGANTIC,
    HUGE,
    LARGE,
    SMALL,
    TINY,
    Rows,
    Tags,
    of,
    row,
)

__all__ = ["ROWS", "TAGS"]

AUGREG = "Steiner et al. 2022, arXiv 2106.10270"
VIT = "Dosovitskiy et al. 2021, arXiv 2010.11929"
TIMM = "timm"
SCALING = "Zhai et al. 2022, arXiv 2106.04560"
MIIL = "Ridnik et al. 2021, arXiv 2104.10972"
OPENCLIP = "OpenCLIP, Cherti et al. 2023, arXiv 2212.07143"
THREE_THINGS = "Touvron et al. 2022, arXiv 2203.09795"
FLEXIVIT = "Beyer et al. 2023, arXiv 2212.08013"
VIT_22B = "Dehghani et al. 2023, arXiv 2302.05442"
INTERNVIT = "Chen et al. 2024, arXiv 2412.05271"
AS_VIT_22B = {
    "block_fn": "ParallelScalingBlock",
    "norm_layer": "rmsnorm",
    "pre_norm": True,
    "no_embed_class": True,
    "qkv_bias": False,
    "qk_norm": True,
}

ROWS: Rows = {
    "vit_tiny_patch16_224": row(AUGREG, TINY),
    "vit_tiny_patch16_384": of("vit_tiny_patch16_224", img_size=384),
    "vit_small_patch16_224": row(AUGREG, SMALL),
    "vit_small_patch32_224": of("vit_small_patch16_224", patch_size=32),
    "vit_small_patch32_384": of("vit_small_patch32_224", img_size=384),
    "vit_small_patch16_384": of("vit_small_patch16_224", img_size=384),
    "vit_small_patch8_224": of("vit_small_patch16_224", patch_size=8),
    "vit_base_patch16_224": row(VIT, BASE),
    "vit_base_patch32_224": of("vit_base_patch16_224", patch_size=32),
    "vit_base_patch32_384": of("vit_base_patch32_224", img_size=384),
    "vit_base_patch16_384": of("vit_base_patch16_224", img_size=384),
    "vit_base_patch8_224": of("vit_base_patch16_224", source=AUGREG, patch_size=8),
    "vit_large_patch16_224": row(VIT, LARGE),
    "vit_large_patch32_224": of("vit_large_patch16_224", patch_size=32),
    "vit_large_patch32_384": of("vit_large_patch32_224", img_size=384),
    "vit_large_patch16_384": of("vit_large_patch16_224", img_size=384),
    "vit_large_patch14_224": of("vit_large_patch16_224", source=TIMM, patch_size=14),
    "vit_huge_patch14_224": row(VIT, HUGE, patch_size=14),
    "vit_giant_patch14_224": row(SCALING, GIANT, patch_size=14),
    "vit_gigantic_patch14_224": row(SCALING, GIGANTIC, patch_size=14),
    "vit_base_patch16_224_miil": row(MIIL, BASE, qkv_bias=False),
    "vit_base_patch32_plus_256": row(
        OPENCLIP, img_size=256, patch_size=32, embed_dim=896, num_heads=14, init_values=1e-5
    ),
    "vit_base_patch16_plus_240": of("vit_base_patch32_plus_256", patch_size=16, img_size=240),
    "vit_base_patch16_rpn_224": row(
        TIMM,
        BASE,
        block_fn="ResPostBlock",
        class_token=False,
        global_pool="avg",
        qkv_bias=False,
        init_values=1e-5,
    ),
    "vit_small_patch16_36x1_224": row(
        THREE_THINGS, embed_dim=384, depth=36, num_heads=6, init_values=1e-5
    ),
    "vit_small_patch16_18x2_224": of(
        "vit_small_patch16_36x1_224", depth=18, block_fn="ParallelThingsBlock"
    ),
    "vit_base_patch16_18x2_224": of("vit_small_patch16_18x2_224", embed_dim=768, num_heads=12),
    "flexivit_small": row(FLEXIVIT, SMALL, img_size=240, no_embed_class=True),
    "flexivit_base": of("flexivit_small", BASE),
    "flexivit_large": of("flexivit_small", LARGE),
    "vit_base_patch16_xp_224": row(VIT_22B, BASE, AS_VIT_22B),
    "vit_large_patch14_xp_224": of("vit_base_patch16_xp_224", LARGE, patch_size=14),
    "vit_huge_patch14_xp_224": of("vit_large_patch14_xp_224", HUGE),
    "vit_intern300m_patch14_448": row(
        INTERNVIT,
        LARGE,
        patch_size=14,
        img_size=448,
        dynamic_img_size=True,
        init_values=0.1,
        final_norm=False,
    ),
    "test_vit": row(
        TIMM, img_size=160, embed_dim=64, depth=6, num_heads=2, mlp_ratio=3, dynamic_img_size=True
    ),
    "test_vit2": of(
        "test_vit", depth=8, class_token=False, reg_tokens=1, global_pool="avg", init_values=1e-5
    ),
    "test_vit3": of(
        "test_vit2",
        embed_dim=96,
        depth=9,
        num_heads=3,
        mlp_ratio=2,
        dynamic_img_size=False,
        global_pool="map",
        pool_include_prefix=True,
    ),
    "test_vit4": of("test_vit2", embed_dim=96, depth=9, num_heads=3, norm_layer="rmsnorm"),
}

TAGS: Tags = {
    "vit_tiny_patch16_224": {"augreg_in21k_ft_in1k": 1000, "augreg_in21k": 21843},
    "vit_tiny_patch16_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_small_patch32_224": {"augreg_in21k_ft_in1k": 1000, "augreg_in21k": 21843},
    "vit_small_patch32_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_small_patch16_224": {
        "augreg_in21k_ft_in1k": 1000,
        "augreg_in1k": 1000,
        "augreg_in21k": 21843,
        "dino": 0,
    },
    "vit_small_patch16_384": {"augreg_in21k_ft_in1k": 1000, "augreg_in1k": 1000},
    "vit_small_patch8_224": {"dino": 0},
    "vit_base_patch32_224": {
        "augreg_in21k_ft_in1k": 1000,
        "augreg_in1k": 1000,
        "orig_in21k": 0,
        "augreg_in21k": 21843,
        "sam_in1k": 1000,
    },
    "vit_base_patch32_384": {"augreg_in21k_ft_in1k": 1000, "augreg_in1k": 1000},
    "vit_base_patch16_224": {
        "augreg2_in21k_ft_in1k": 1000,
        "augreg_in21k_ft_in1k": 1000,
        "orig_in21k_ft_in1k": 1000,
        "augreg_in1k": 1000,
        "orig_in21k": 0,
        "augreg_in21k": 21843,
        "sam_in1k": 1000,
        "bamboo": 115217,
        "dino": 0,
        "mae": 0,
    },
    "vit_base_patch16_384": {
        "augreg_in21k_ft_in1k": 1000,
        "orig_in21k_ft_in1k": 1000,
        "augreg_in1k": 1000,
    },
    "vit_base_patch8_224": {
        "augreg2_in21k_ft_in1k": 1000,
        "augreg_in21k_ft_in1k": 1000,
        "augreg_in21k": 21843,
        "dino": 0,
    },
    "vit_large_patch32_224": {"orig_in21k": 0},
    "vit_large_patch32_384": {"orig_in21k_ft_in1k": 1000},
    "vit_large_patch16_224": {
        "augreg_in21k_ft_in1k": 1000,
        "orig_in21k": 0,
        "augreg_in21k": 21843,
        "mae": 0,
    },
    "vit_large_patch16_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_large_patch14_224": {"untrained": 1000},
    "vit_huge_patch14_224": {"orig_in21k": 0, "untrained": 1000, "mae": 0},
    "vit_giant_patch14_224": {"untrained": 1000},
    "vit_gigantic_patch14_224": {"untrained": 1000},
    "vit_base_patch16_224_miil": {"in21k": 11221, "in21k_ft_in1k": 1000},
    "vit_base_patch32_plus_256": {"untrained": 1000},
    "vit_base_patch16_plus_240": {"untrained": 1000},
    "vit_base_patch16_rpn_224": {"sw_in1k": 1000},
    "vit_small_patch16_36x1_224": {"untrained": 1000},
    "vit_small_patch16_18x2_224": {"untrained": 1000},
    "vit_base_patch16_18x2_224": {"untrained": 1000},
    "flexivit_small": {"1200ep_in1k": 1000, "600ep_in1k": 1000, "300ep_in1k": 1000},
    "flexivit_base": {
        "1200ep_in1k": 1000,
        "600ep_in1k": 1000,
        "300ep_in1k": 1000,
        "1000ep_in21k": 21843,
        "300ep_in21k": 21843,
        "patch16_in21k": 21843,
        "patch30_in21k": 21843,
    },
    "flexivit_large": {"1200ep_in1k": 1000, "600ep_in1k": 1000, "300ep_in1k": 1000},
    "vit_base_patch16_xp_224": {"untrained": 1000},
    "vit_large_patch14_xp_224": {"untrained": 1000},
    "vit_huge_patch14_xp_224": {"untrained": 1000},
    "vit_intern300m_patch14_448": {"ogvl_dist": 0, "ogvl_2pt5": 0},
    "test_vit": {"r160_in1k": 1000},
    "test_vit2": {"r160_in1k": 1000},
    "test_vit3": {"r160_in1k": 1000},
    "test_vit4": {"r160_in1k": 1000},
}
