"""BEiT, BEiT v2 and BEiT-3."""

from vitcost.zoo.timm.rows import BASE, LARGE, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

BEIT = "Bao et al. 2022, arXiv 2106.08254"
BEITV2 = "Peng et al. 2022, arXiv 2208.06366"
BEIT3 = "Wang et al. 2022, arXiv 2208.10442"
AS_BEIT = {
    "model_class": "Beit",
    "attn_layer": "eva",
    "pos_embed": "none",
    "use_rel_pos_bias": True,
    "global_pool": "avg",
}
AS_BEIT3 = {"scale_attn_norm": True, "scale_mlp_norm": True, "global_pool": "avg"}

ROWS: Rows = {
    "beit_base_patch16_224": row(BEIT, BASE, AS_BEIT, init_values=0.1),
    "beit_base_patch16_384": of("beit_base_patch16_224", img_size=384),
    "beit_large_patch16_224": of("beit_base_patch16_224", LARGE, init_values=1e-5),
    "beit_large_patch16_384": of("beit_large_patch16_224", img_size=384),
    "beit_large_patch16_512": of("beit_large_patch16_224", img_size=512),
    "beitv2_base_patch16_224": of("beit_base_patch16_224", source=BEITV2, init_values=1e-5),
    "beitv2_large_patch16_224": of("beit_large_patch16_224", source=BEITV2),
    "beit3_base_patch16_224": row(BEIT3, BASE, AS_BEIT3),
    "beit3_large_patch16_224": of("beit3_base_patch16_224", LARGE),
    "beit3_giant_patch14_224": of(
        "beit3_large_patch16_224", patch_size=14, embed_dim=1408, depth=40, mlp_ratio=4.3637
    ),
    "beit3_giant_patch14_336": of("beit3_giant_patch14_224", img_size=336),
}

TAGS: Tags = {
    "beit_base_patch16_224": {"in22k_ft_in22k_in1k": 1000, "in22k_ft_in22k": 21841},
    "beit_base_patch16_384": {"in22k_ft_in22k_in1k": 1000},
    "beit_large_patch16_224": {"in22k_ft_in22k_in1k": 1000, "in22k_ft_in22k": 21841},
    "beit_large_patch16_384": {"in22k_ft_in22k_in1k": 1000},
    "beit_large_patch16_512": {"in22k_ft_in22k_in1k": 1000},
    "beitv2_base_patch16_224": {
        "in1k_ft_in22k_in1k": 1000,
        "in1k_ft_in1k": 1000,
        "in1k_ft_in22k": 21841,
    },
    "beitv2_large_patch16_224": {
        "in1k_ft_in22k_in1k": 1000,
        "in1k_ft_in1k": 1000,
        "in1k_ft_in22k": 21841,
    },
    "beit3_base_patch16_224": {
        "in22k_ft_in1k": 1000,
        "indomain_in22k_ft_in1k": 1000,
        "pt": 0,
        "indomain_pt": 0,
    },
    "beit3_large_patch16_224": {
        "in22k_ft_in1k": 1000,
        "indomain_in22k_ft_in1k": 1000,
        "pt": 0,
        "indomain_pt": 0,
    },
    "beit3_giant_patch14_224": {"untrained": 1000},
    "beit3_giant_patch14_336": {"untrained": 1000},
}
