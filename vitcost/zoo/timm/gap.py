"""Average pooling and registers in place of the class token: timm's own, and I-JEPA."""

from vitcost.zoo.timm.rows import BASE, BETWIXT, GIANT, HUGE, MEDIUM, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

TIMM = "timm"
IJEPA = "Assran et al. 2023, arXiv 2301.08243"
DIFF = "timm, after Ye et al. 2024, arXiv 2410.05258"
PARALLEL = "timm, after Dehghani et al. 2023, arXiv 2302.05442"
SO150M = "timm, after Alabdulmohsin et al. 2023, arXiv 2305.13035"
AS_GAP = {"class_token": False, "global_pool": "avg", "fc_norm": False}
AS_REG1_GAP = {
    "img_size": 256,
    "class_token": False,
    "reg_tokens": 1,
    "no_embed_class": True,
    "global_pool": "avg",
    "init_values": 1e-5,
}

ROWS: Rows = {
    "vit_medium_patch16_gap_240": row(
        TIMM, MEDIUM, AS_GAP, img_size=240, init_values=1e-6, qkv_bias=False
    ),
    "vit_medium_patch16_gap_256": of("vit_medium_patch16_gap_240", img_size=256),
    "vit_medium_patch16_gap_384": of("vit_medium_patch16_gap_240", img_size=384),
    "vit_betwixt_patch16_gap_256": of("vit_medium_patch16_gap_256", BETWIXT),
    "vit_base_patch16_gap_224": row(TIMM, BASE, AS_GAP, num_heads=16),
    "vit_huge_patch14_gap_224": of("vit_base_patch16_gap_224", HUGE, source=IJEPA, patch_size=14),
    "vit_huge_patch16_gap_448": of("vit_base_patch16_gap_224", HUGE, source=IJEPA, img_size=448),
    "vit_giant_patch16_gap_224": of("vit_base_patch16_gap_224", GIANT, source=IJEPA),
    "vit_wee_patch16_reg1_gap_256": row(
        TIMM, AS_REG1_GAP, embed_dim=256, depth=14, num_heads=4, mlp_ratio=5
    ),
    "vit_dwee_patch16_reg1_gap_256": of(
        "vit_wee_patch16_reg1_gap_256", source=DIFF, attn_layer="diff"
    ),
    "vit_pwee_patch16_reg1_gap_256": of(
        "vit_wee_patch16_reg1_gap_256", source=PARALLEL, depth=16, block_fn="ParallelScalingBlock"
    ),
    "vit_dpwee_patch16_reg1_gap_256": of(
        "vit_pwee_patch16_reg1_gap_256", source=DIFF, block_fn="DiffParallelScalingBlock"
    ),
    "vit_little_patch16_reg1_gap_256": of(
        "vit_wee_patch16_reg1_gap_256", embed_dim=320, num_heads=5, mlp_ratio=5.6
    ),
    "vit_dlittle_patch16_reg1_gap_256": of(
        "vit_little_patch16_reg1_gap_256", source=DIFF, attn_layer="diff"
    ),
    "vit_little_patch16_reg4_gap_256": of("vit_little_patch16_reg1_gap_256", reg_tokens=4),
    "vit_medium_patch16_reg1_gap_256": row(TIMM, MEDIUM, AS_REG1_GAP),
    "vit_medium_patch16_reg4_gap_256": of("vit_medium_patch16_reg1_gap_256", reg_tokens=4),
    "vit_mediumd_patch16_reg4_gap_256": of("vit_medium_patch16_reg4_gap_256", depth=20),
    "vit_mediumd_patch16_reg4_gap_384": of("vit_mediumd_patch16_reg4_gap_256", img_size=384),
    "vit_betwixt_patch16_reg1_gap_256": of("vit_medium_patch16_reg1_gap_256", BETWIXT),
    "vit_betwixt_patch16_reg4_gap_256": of("vit_medium_patch16_reg4_gap_256", BETWIXT),
    "vit_betwixt_patch16_reg4_gap_384": of("vit_mediumd_patch16_reg4_gap_384", BETWIXT),
    "vit_base_patch16_reg4_gap_256": of("vit_medium_patch16_reg4_gap_256", BASE, init_values=None),
    "vit_so150m_patch16_reg4_map_256": row(
        SO150M,
        img_size=256,
        embed_dim=896,
        depth=18,
        num_heads=14,
        mlp_ratio=2.572,
        class_token=False,
        reg_tokens=4,
        global_pool="map",
    ),
    "vit_so150m_patch16_reg4_gap_256": of(
        "vit_so150m_patch16_reg4_map_256", fc_norm=False, global_pool="avg"
    ),
    "vit_so150m_patch16_reg4_gap_384": of("vit_so150m_patch16_reg4_gap_256", img_size=384),
    "vit_so150m2_patch16_reg1_gap_256": row(
        SO150M,
        img_size=256,
        embed_dim=832,
        depth=21,
        num_heads=13,
        mlp_ratio=34 / 13,
        class_token=False,
        reg_tokens=1,
        global_pool="avg",
        init_values=1e-5,
        qkv_bias=False,
    ),
    "vit_so150m2_patch16_reg1_gap_384": of("vit_so150m2_patch16_reg1_gap_256", img_size=384),
    "vit_so150m2_patch16_reg1_gap_448": of("vit_so150m2_patch16_reg1_gap_256", img_size=448),
}

TAGS: Tags = {
    "vit_medium_patch16_gap_240": {"sw_in12k": 11821},
    "vit_medium_patch16_gap_256": {"sw_in12k_ft_in1k": 1000},
    "vit_medium_patch16_gap_384": {"sw_in12k_ft_in1k": 1000},
    "vit_betwixt_patch16_gap_256": {"untrained": 1000},
    "vit_base_patch16_gap_224": {"untrained": 1000},
    "vit_huge_patch14_gap_224": {"in1k_ijepa": 0, "in22k_ijepa": 0},
    "vit_huge_patch16_gap_448": {"in1k_ijepa": 0},
    "vit_giant_patch16_gap_224": {"in22k_ijepa": 0},
    "vit_wee_patch16_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_dwee_patch16_reg1_gap_256": {"sbb_nadamuon_in1k": 1000, "sbb_in1k": 1000},
    "vit_pwee_patch16_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_dpwee_patch16_reg1_gap_256": {"sbb_nadamuon_in1k": 1000, "sbb_in1k": 1000},
    "vit_little_patch16_reg1_gap_256": {"sbb_in12k_ft_in1k": 1000, "sbb_in12k": 11821},
    "vit_dlittle_patch16_reg1_gap_256": {"sbb_nadamuon_in1k": 1000},
    "vit_little_patch16_reg4_gap_256": {"sbb_in1k": 1000},
    "vit_medium_patch16_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_medium_patch16_reg4_gap_256": {
        "sbb_in12k_ft_in1k": 1000,
        "sbb_in1k": 1000,
        "sbb_in12k": 11821,
    },
    "vit_mediumd_patch16_reg4_gap_256": {
        "sbb2_e200_in12k_ft_in1k": 1000,
        "sbb_in12k_ft_in1k": 1000,
        "sbb2_e200_in12k": 11821,
        "sbb_in12k": 11821,
    },
    "vit_mediumd_patch16_reg4_gap_384": {"sbb2_e200_in12k_ft_in1k": 1000},
    "vit_betwixt_patch16_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_betwixt_patch16_reg4_gap_256": {
        "sbb2_e200_in12k_ft_in1k": 1000,
        "sbb_in12k_ft_in1k": 1000,
        "sbb_in1k": 1000,
        "sbb2_e200_in12k": 11821,
        "sbb_in12k": 11821,
    },
    "vit_betwixt_patch16_reg4_gap_384": {"sbb2_e200_in12k_ft_in1k": 1000},
    "vit_base_patch16_reg4_gap_256": {"untrained": 1000},
    "vit_so150m_patch16_reg4_map_256": {"untrained": 1000},
    "vit_so150m_patch16_reg4_gap_256": {"sbb_e250_in12k_ft_in1k": 1000, "sbb_e250_in12k": 11821},
    "vit_so150m_patch16_reg4_gap_384": {"sbb_e250_in12k_ft_in1k": 1000},
    "vit_so150m2_patch16_reg1_gap_256": {"sbb_e200_in12k_ft_in1k": 1000, "sbb_e200_in12k": 11821},
    "vit_so150m2_patch16_reg1_gap_384": {"sbb_e200_in12k_ft_in1k": 1000},
    "vit_so150m2_patch16_reg1_gap_448": {"sbb_e200_in12k_ft_in1k": 1000},
}
