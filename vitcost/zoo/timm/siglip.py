"""SigLIP's vision towers, with an attention pool (map) or without (gap)."""

from vitcost.zoo.timm.rows import BASE, LARGE, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

SIGLIP2 = "Tschannen et al. 2025, arXiv 2502.14786"
SIGLIP = "Zhai et al. 2023, arXiv 2303.15343"
PALIGEMMA = "Beyer et al. 2024, arXiv 2407.07726"
SO400M = {"embed_dim": 1152, "depth": 27, "num_heads": 16, "mlp_ratio": 3.7362}
AS_MAP = {"class_token": False, "global_pool": "map"}
AS_GAP = {"class_token": False, "global_pool": "avg", "fc_norm": False}

ROWS: Rows = {
    "vit_base_patch32_siglip_256": row(
        SIGLIP2, BASE, AS_MAP, patch_size=32, img_size=256, act_layer="gelu_tanh"
    ),
    "vit_base_patch16_siglip_224": row(SIGLIP, BASE, AS_MAP),
    "vit_base_patch16_siglip_256": of("vit_base_patch16_siglip_224", img_size=256),
    "vit_base_patch16_siglip_384": of("vit_base_patch16_siglip_224", img_size=384),
    "vit_base_patch16_siglip_512": of("vit_base_patch16_siglip_224", img_size=512),
    "vit_large_patch16_siglip_256": of("vit_base_patch16_siglip_256", LARGE),
    "vit_large_patch16_siglip_384": of("vit_base_patch16_siglip_384", LARGE),
    "vit_large_patch16_siglip_512": of(
        "vit_base_patch16_siglip_512", LARGE, source=SIGLIP2, act_layer="gelu_tanh"
    ),
    "vit_so400m_patch14_siglip_224": of("vit_base_patch16_siglip_224", SO400M, patch_size=14),
    "vit_so400m_patch14_siglip_378": of("vit_so400m_patch14_siglip_224", img_size=378),
    "vit_so400m_patch14_siglip_384": of(
        "vit_so400m_patch14_siglip_224", img_size=384, floor_img_size=True
    ),
    "vit_so400m_patch16_siglip_256": row(
        SIGLIP2, SO400M, AS_MAP, img_size=256, act_layer="gelu_tanh"
    ),
    "vit_so400m_patch16_siglip_384": of("vit_so400m_patch16_siglip_256", img_size=384),
    "vit_so400m_patch16_siglip_512": of("vit_so400m_patch16_siglip_256", img_size=512),
    "vit_giantopt_patch16_siglip_256": row(
        SIGLIP2, AS_MAP, img_size=256, embed_dim=1536, depth=40, num_heads=16, act_layer="gelu_tanh"
    ),
    "vit_giantopt_patch16_siglip_384": of("vit_giantopt_patch16_siglip_256", img_size=384),
    "vit_base_patch32_siglip_gap_256": of(
        "vit_base_patch32_siglip_256", fc_norm=False, global_pool="avg"
    ),
    "vit_base_patch16_siglip_gap_224": row(SIGLIP, BASE, AS_GAP),
    "vit_base_patch16_siglip_gap_256": of("vit_base_patch16_siglip_gap_224", img_size=256),
    "vit_base_patch16_siglip_gap_384": of("vit_base_patch16_siglip_gap_224", img_size=384),
    "vit_base_patch16_siglip_gap_512": of("vit_base_patch16_siglip_gap_224", img_size=512),
    "vit_large_patch16_siglip_gap_256": of("vit_base_patch16_siglip_gap_256", LARGE),
    "vit_large_patch16_siglip_gap_384": of("vit_base_patch16_siglip_gap_384", LARGE),
    "vit_large_patch16_siglip_gap_512": of(
        "vit_base_patch16_siglip_gap_512", LARGE, source=SIGLIP2, act_layer="gelu_tanh"
    ),
    "vit_so400m_patch14_siglip_gap_224": of(
        "vit_base_patch16_siglip_gap_224", SO400M, patch_size=14
    ),
    "vit_so400m_patch14_siglip_gap_378": of("vit_so400m_patch14_siglip_gap_224", img_size=378),
    "vit_so400m_patch14_siglip_gap_384": of(
        "vit_so400m_patch14_siglip_gap_224", img_size=384, floor_img_size=True
    ),
    "vit_so400m_patch14_siglip_gap_448": of(
        "vit_so400m_patch14_siglip_gap_224", source=PALIGEMMA, img_size=448
    ),
    "vit_so400m_patch14_siglip_gap_896": of("vit_so400m_patch14_siglip_gap_448", img_size=896),
    "vit_so400m_patch16_siglip_gap_256": row(
        SIGLIP2, SO400M, AS_GAP, img_size=256, act_layer="gelu_tanh"
    ),
    "vit_so400m_patch16_siglip_gap_384": of("vit_so400m_patch16_siglip_gap_256", img_size=384),
    "vit_so400m_patch16_siglip_gap_512": of("vit_so400m_patch16_siglip_gap_256", img_size=512),
    "vit_giantopt_patch16_siglip_gap_256": of(
        "vit_giantopt_patch16_siglip_256", fc_norm=False, global_pool="avg"
    ),
    "vit_giantopt_patch16_siglip_gap_384": of("vit_giantopt_patch16_siglip_gap_256", img_size=384),
}

TAGS: Tags = {
    "vit_base_patch32_siglip_256": {"v2_webli": 0},
    "vit_base_patch16_siglip_224": {"v2_webli": 0, "webli": 0},
    "vit_base_patch16_siglip_256": {"v2_webli": 0, "webli": 0, "webli_i18n": 0},
    "vit_base_patch16_siglip_384": {"v2_webli": 0, "webli": 0},
    "vit_base_patch16_siglip_512": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_256": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_384": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_512": {"v2_webli": 0},
    "vit_so400m_patch14_siglip_224": {"v2_webli": 0, "webli": 0},
    "vit_so400m_patch14_siglip_378": {"v2_webli": 0, "webli": 0, "webli_ft_in1k": 1000},
    "vit_so400m_patch14_siglip_384": {"webli": 0},
    "vit_so400m_patch16_siglip_256": {"v2_webli": 0, "webli_i18n": 0},
    "vit_so400m_patch16_siglip_384": {"v2_webli": 0},
    "vit_so400m_patch16_siglip_512": {"v2_webli": 0},
    "vit_giantopt_patch16_siglip_256": {"v2_webli": 0},
    "vit_giantopt_patch16_siglip_384": {"v2_webli": 0},
    "vit_base_patch32_siglip_gap_256": {"v2_webli": 0},
    "vit_base_patch16_siglip_gap_224": {"v2_webli": 0, "webli": 0},
    "vit_base_patch16_siglip_gap_256": {"v2_webli": 0, "webli": 0, "webli_i18n": 0},
    "vit_base_patch16_siglip_gap_384": {"v2_webli": 0, "webli": 0},
    "vit_base_patch16_siglip_gap_512": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_gap_256": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_gap_384": {"v2_webli": 0, "webli": 0},
    "vit_large_patch16_siglip_gap_512": {"v2_webli": 0},
    "vit_so400m_patch14_siglip_gap_224": {
        "v2_webli": 0,
        "webli": 0,
        "pali_mix": 0,
        "pali_pt": 0,
        "pali2_3b_pt": 0,
        "pali2_10b_pt": 0,
    },
    "vit_so400m_patch14_siglip_gap_378": {"v2_webli": 0, "webli": 0, "webli_ft_in1k": 1000},
    "vit_so400m_patch14_siglip_gap_384": {"webli": 0},
    "vit_so400m_patch14_siglip_gap_448": {
        "pali_mix": 0,
        "pali_pt": 0,
        "pali_refcoco_seg": 0,
        "pali_ocrvqa": 0,
        "pali2_3b_pt": 0,
        "pali2_10b_pt": 0,
        "pali2_3b_docci": 0,
        "pali2_10b_docci": 0,
    },
    "vit_so400m_patch14_siglip_gap_896": {
        "pali_pt": 0,
        "pali_refcoco_seg": 0,
        "pali_ocrvqa": 0,
        "pali2_3b_pt": 0,
        "pali2_10b_pt": 0,
    },
    "vit_so400m_patch16_siglip_gap_256": {"v2_webli": 0, "webli_i18n": 0},
    "vit_so400m_patch16_siglip_gap_384": {"v2_webli": 0},
    "vit_so400m_patch16_siglip_gap_512": {"v2_webli": 0},
    "vit_giantopt_patch16_siglip_gap_256": {"v2_webli": 0},
    "vit_giantopt_patch16_siglip_gap_384": {"v2_webli": 0},
}
