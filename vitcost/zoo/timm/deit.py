"""DeiT and DeiT III, with and without a distillation token."""

from vitcost.zoo.timm.rows import BASE, HUGE, LARGE, MEDIUM, SMALL, TINY, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

DEIT = "Touvron et al. 2021, arXiv 2012.12877"
DEIT3 = "Touvron et al. 2022, arXiv 2204.07118"
AS_DEIT3 = {"no_embed_class": True, "init_values": 1e-6}

ROWS: Rows = {
    "deit_tiny_patch16_224": row(DEIT, TINY),
    "deit_small_patch16_224": row(DEIT, SMALL),
    "deit_base_patch16_224": row(DEIT, BASE),
    "deit_base_patch16_384": of("deit_base_patch16_224", img_size=384),
    "deit_tiny_distilled_patch16_224": of("deit_tiny_patch16_224", dist_token=True),
    "deit_small_distilled_patch16_224": of("deit_tiny_distilled_patch16_224", SMALL),
    "deit_base_distilled_patch16_224": of("deit_tiny_distilled_patch16_224", BASE),
    "deit_base_distilled_patch16_384": of("deit_base_distilled_patch16_224", img_size=384),
    "deit3_small_patch16_224": row(DEIT3, SMALL, AS_DEIT3),
    "deit3_small_patch16_384": of("deit3_small_patch16_224", img_size=384),
    "deit3_medium_patch16_224": of("deit3_small_patch16_224", MEDIUM),
    "deit3_base_patch16_224": of("deit3_small_patch16_224", BASE),
    "deit3_base_patch16_384": of("deit3_small_patch16_384", BASE),
    "deit3_large_patch16_224": of("deit3_small_patch16_224", LARGE),
    "deit3_large_patch16_384": of("deit3_small_patch16_384", LARGE),
    "deit3_huge_patch14_224": of("deit3_small_patch16_224", HUGE, patch_size=14),
}

TAGS: Tags = {
    "deit_tiny_patch16_224": {"fb_in1k": 1000},
    "deit_small_patch16_224": {"fb_in1k": 1000},
    "deit_base_patch16_224": {"fb_in1k": 1000},
    "deit_base_patch16_384": {"fb_in1k": 1000},
    "deit_tiny_distilled_patch16_224": {"fb_in1k": 1000},
    "deit_small_distilled_patch16_224": {"fb_in1k": 1000},
    "deit_base_distilled_patch16_224": {"fb_in1k": 1000},
    "deit_base_distilled_patch16_384": {"fb_in1k": 1000},
    "deit3_small_patch16_224": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_small_patch16_384": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_medium_patch16_224": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_base_patch16_224": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_base_patch16_384": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_large_patch16_224": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_large_patch16_384": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
    "deit3_huge_patch14_224": {"fb_in1k": 1000, "fb_in22k_ft_in1k": 1000},
}
