"""CLIP's vision towers, with a norm before the blocks."""

from vitcost.zoo.timm.rows import (
    BASE,
    BETWIXT,
    GIANT,
    GIGANTIC,
    HUGE,
    LARGE,
    MEDIUM,
    Rows,
    Tags,
    of,
    row,
)

__all__ = ["ROWS", "TAGS"]

TINYCLIP = "Wu et al. 2023, arXiv 2309.12314"
CLIP = "Radford et al. 2021, arXiv 2103.00020"
OPENCLIP = "OpenCLIP, Cherti et al. 2023, arXiv 2212.07143"

ROWS: Rows = {
    "vit_xsmall_patch16_clip_224": row(
        TINYCLIP, embed_dim=256, depth=10, num_heads=4, pre_norm=True
    ),
    "vit_medium_patch16_clip_224": row(TINYCLIP, MEDIUM, pre_norm=True),
    "vit_medium_patch32_clip_224": of("vit_medium_patch16_clip_224", patch_size=32),
    "vit_betwixt_patch32_clip_224": of("vit_medium_patch32_clip_224", BETWIXT),
    "vit_base_patch16_clip_224": row(OPENCLIP, BASE, pre_norm=True),
    "vit_base_patch32_clip_224": of("vit_base_patch16_clip_224", patch_size=32),
    "vit_base_patch32_clip_256": of("vit_base_patch32_clip_224", img_size=256),
    "vit_base_patch32_clip_384": of("vit_base_patch32_clip_224", img_size=384),
    "vit_base_patch32_clip_448": of("vit_base_patch32_clip_224", img_size=448),
    "vit_base_patch16_clip_384": of("vit_base_patch16_clip_224", img_size=384),
    "vit_base_patch16_plus_clip_240": of(
        "vit_base_patch16_clip_224", img_size=240, embed_dim=896, num_heads=14
    ),
    "vit_large_patch14_clip_224": row(OPENCLIP, LARGE, patch_size=14, pre_norm=True),
    "vit_large_patch14_clip_336": of("vit_large_patch14_clip_224", img_size=336),
    "vit_huge_patch14_clip_224": of("vit_large_patch14_clip_224", HUGE),
    "vit_huge_patch14_clip_336": of("vit_huge_patch14_clip_224", img_size=336),
    "vit_huge_patch14_clip_378": of("vit_huge_patch14_clip_224", img_size=378),
    "vit_giant_patch14_clip_224": of("vit_large_patch14_clip_224", GIANT),
    "vit_gigantic_patch14_clip_224": of("vit_large_patch14_clip_224", GIGANTIC),
    "vit_gigantic_patch14_clip_378": of("vit_gigantic_patch14_clip_224", img_size=378),
    "vit_base_patch32_clip_quickgelu_224": of(
        "vit_base_patch32_clip_224", source=CLIP, act_layer="quick_gelu"
    ),
    "vit_base_patch16_clip_quickgelu_224": of(
        "vit_base_patch16_clip_224", source=CLIP, act_layer="quick_gelu"
    ),
    "vit_large_patch14_clip_quickgelu_224": of(
        "vit_large_patch14_clip_224", source=CLIP, act_layer="quick_gelu"
    ),
    "vit_large_patch14_clip_quickgelu_336": of(
        "vit_large_patch14_clip_quickgelu_224", img_size=336
    ),
    "vit_huge_patch14_clip_quickgelu_224": of("vit_huge_patch14_clip_224", act_layer="quick_gelu"),
    "vit_huge_patch14_clip_quickgelu_378": of("vit_huge_patch14_clip_quickgelu_224", img_size=378),
    "vit_gigantic_patch14_clip_quickgelu_224": of(
        "vit_gigantic_patch14_clip_224", act_layer="quick_gelu"
    ),
}

TAGS: Tags = {
    "vit_xsmall_patch16_clip_224": {"tinyclip_yfcc15m": 512},
    "vit_medium_patch32_clip_224": {"tinyclip_laion400m": 512},
    "vit_medium_patch16_clip_224": {"tinyclip_yfcc15m": 512},
    "vit_betwixt_patch32_clip_224": {"tinyclip_laion400m": 512},
    "vit_base_patch32_clip_224": {
        "laion2b_ft_in12k_in1k": 1000,
        "openai_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "openai_ft_in1k": 1000,
        "laion2b": 512,
        "laion400m_e32": 512,
        "datacompxl": 512,
        "metaclip_2pt5b": 512,
        "metaclip_400m": 512,
        "openai": 512,
    },
    "vit_base_patch32_clip_256": {"datacompxl": 512},
    "vit_base_patch32_clip_384": {"laion2b_ft_in12k_in1k": 1000, "openai_ft_in12k_in1k": 1000},
    "vit_base_patch32_clip_448": {"laion2b_ft_in12k_in1k": 1000},
    "vit_base_patch16_clip_224": {
        "laion2b_ft_in12k_in1k": 1000,
        "openai_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "openai_ft_in1k": 1000,
        "laion2b_ft_in12k": 11821,
        "openai_ft_in12k": 11821,
        "laion2b": 512,
        "laion400m_e32": 512,
        "datacompxl": 512,
        "dfn2b": 512,
        "metaclip_2pt5b": 512,
        "metaclip_400m": 512,
        "openai": 512,
    },
    "vit_base_patch16_clip_384": {
        "laion2b_ft_in12k_in1k": 1000,
        "openai_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "openai_ft_in1k": 1000,
    },
    "vit_base_patch16_plus_clip_240": {"laion400m_e32": 640},
    "vit_large_patch14_clip_224": {
        "laion2b_ft_in12k_in1k": 1000,
        "openai_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "openai_ft_in1k": 1000,
        "laion2b_ft_in12k": 11821,
        "openai_ft_in12k": 11821,
        "laion2b": 768,
        "laion400m_e32": 768,
        "datacompxl": 768,
        "dfn2b_s39b": 768,
        "dfn2b": 768,
        "metaclip_2pt5b": 768,
        "metaclip_400m": 768,
        "openai": 768,
        "apple_mclip2_dfndr2b": 768,
    },
    "vit_large_patch14_clip_336": {
        "laion2b_ft_in12k_in1k": 1000,
        "openai_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "openai": 768,
    },
    "vit_huge_patch14_clip_224": {
        "laion2b_ft_in12k_in1k": 1000,
        "laion2b_ft_in1k": 1000,
        "laion2b_ft_in12k": 11821,
        "laion2b": 1024,
        "dfn5b": 1024,
        "metaclip2_worldwide": 1024,
        "metaclip_2pt5b": 1024,
        "metaclip_altogether": 1024,
    },
    "vit_huge_patch14_clip_336": {"laion2b_ft_in12k_in1k": 1000, "laion2b_ft_in1k": 1000},
    "vit_huge_patch14_clip_378": {"dfn5b": 1024, "metaclip2_worldwide": 1024},
    "vit_giant_patch14_clip_224": {"laion2b": 1024},
    "vit_gigantic_patch14_clip_224": {
        "laion2b": 1280,
        "metaclip2_worldwide": 1280,
        "metaclip_2pt5b": 1280,
    },
    "vit_gigantic_patch14_clip_378": {"metaclip2_worldwide": 1280},
    "vit_base_patch32_clip_quickgelu_224": {
        "laion400m_e32": 512,
        "metaclip_2pt5b": 512,
        "metaclip_400m": 512,
        "openai": 512,
    },
    "vit_base_patch16_clip_quickgelu_224": {
        "metaclip_2pt5b": 512,
        "metaclip_400m": 512,
        "openai": 512,
    },
    "vit_large_patch14_clip_quickgelu_224": {
        "dfn2b": 768,
        "metaclip_2pt5b": 768,
        "metaclip_400m": 768,
        "openai": 768,
    },
    "vit_large_patch14_clip_quickgelu_336": {"openai": 768},
    "vit_huge_patch14_clip_quickgelu_224": {
        "dfn5b": 1024,
        "metaclip2_worldwide": 1024,
        "metaclip_2pt5b": 1024,
    },
    "vit_huge_patch14_clip_quickgelu_378": {"dfn5b": 1024},
    "vit_gigantic_patch14_clip_quickgelu_224": {"metaclip_2pt5b": 1280},
}
