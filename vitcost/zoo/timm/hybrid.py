"""Vision Transformers behind a ResNet, and MobileCLIP's behind a stem of convolutions."""

from vitcost.zoo.timm.rows import BASE, LARGE, SMALL, TINY, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

VIT = "Dosovitskiy et al. 2021, arXiv 2010.11929"
AUGREG = "Steiner et al. 2022, arXiv 2106.10270"
MOBILECLIP = "Vasu et al. 2024, arXiv 2311.17049"
# a small hybrid's sizes, which only timm uses
WIDE = {"embed_dim": 768, "depth": 8, "num_heads": 8, "mlp_ratio": 3}

ROWS: Rows = {
    "vit_tiny_r_s16_p8_224": row(AUGREG, TINY, backbone="resnetv2_stem", patch_size=8),
    "vit_tiny_r_s16_p8_384": of("vit_tiny_r_s16_p8_224", img_size=384),
    "vit_small_r26_s32_224": row(AUGREG, SMALL, backbone="resnetv2_26", patch_size=1),
    "vit_small_r26_s32_384": of("vit_small_r26_s32_224", img_size=384),
    "vit_base_r26_s32_224": of("vit_small_r26_s32_224", BASE),
    "vit_base_r50_s16_224": row(VIT, BASE, backbone="resnetv2_50_s16", patch_size=1),
    "vit_base_r50_s16_384": of("vit_base_r50_s16_224", img_size=384),
    "vit_large_r50_s32_224": row(AUGREG, LARGE, backbone="resnetv2_50", patch_size=1),
    "vit_large_r50_s32_384": of("vit_large_r50_s32_224", img_size=384),
    "vit_small_resnet26d_224": row("timm", WIDE, backbone="resnet26d", patch_size=1),
    "vit_small_resnet50d_s16_224": of("vit_small_resnet26d_224", backbone="resnet50d_s16"),
    "vit_base_resnet26d_224": row("timm", BASE, backbone="resnet26d", patch_size=1),
    "vit_base_resnet50d_224": of("vit_base_resnet26d_224", backbone="resnet50d"),
    "vit_base_mci_224": row(MOBILECLIP, BASE, backbone="mci", patch_size=1, no_embed_class=True),
}

TAGS: Tags = {
    "vit_tiny_r_s16_p8_224": {"augreg_in21k_ft_in1k": 1000, "augreg_in21k": 21843},
    "vit_tiny_r_s16_p8_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_small_r26_s32_224": {"augreg_in21k_ft_in1k": 1000, "augreg_in21k": 21843},
    "vit_small_r26_s32_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_base_r26_s32_224": {"untrained": 1000},
    "vit_base_r50_s16_224": {"orig_in21k": 0},
    "vit_base_r50_s16_384": {"orig_in21k_ft_in1k": 1000},
    "vit_large_r50_s32_224": {"augreg_in21k_ft_in1k": 1000, "augreg_in21k": 21843},
    "vit_large_r50_s32_384": {"augreg_in21k_ft_in1k": 1000},
    "vit_small_resnet26d_224": {"untrained": 1000},
    "vit_small_resnet50d_s16_224": {"untrained": 1000},
    "vit_base_resnet26d_224": {"untrained": 1000},
    "vit_base_resnet50d_224": {"untrained": 1000},
    "vit_base_mci_224": {"apple_mclip_lt": 512, "apple_mclip": 512, "apple_mclip2_dfndr2b": 512},
}
