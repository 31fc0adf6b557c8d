"""Rotary position embeddings: RoPE-ViT, and timm's own."""

from vitcost.zoo.timm.rows import BASE, BETWIXT, LARGE, MEDIUM, SMALL, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

SBB = "timm"
ROPE_VIT = "Heo et al. 2024, arXiv 2403.13298"
AS_ROPE_VIT = {
    "model_class": "Eva",
    "attn_layer": "rope",
    "rope_type": "cat",
    "pos_embed": "none",
    "init_values": 1e-5,
}
AS_REG1_GAP = {
    "model_class": "Eva",
    "attn_layer": "eva",
    "rope_type": "cat",
    "pos_embed": "none",
    "init_values": 1e-5,
    "img_size": 256,
    "class_token": False,
    "reg_tokens": 1,
    "global_pool": "avg",
}

ROWS: Rows = {
    "vit_medium_patch16_rope_reg1_gap_256": row(SBB, MEDIUM, AS_REG1_GAP),
    "vit_mediumd_patch16_rope_reg1_gap_256": of(
        "vit_medium_patch16_rope_reg1_gap_256", depth=20, qkv_bias=False
    ),
    "vit_betwixt_patch16_rope_reg4_gap_256": of(
        "vit_medium_patch16_rope_reg1_gap_256", BETWIXT, reg_tokens=4
    ),
    "vit_base_patch16_rope_reg1_gap_256": of("vit_medium_patch16_rope_reg1_gap_256", BASE),
    "vit_small_patch16_rope_224": row(ROPE_VIT, SMALL, AS_ROPE_VIT),
    "vit_base_patch16_rope_224": of("vit_small_patch16_rope_224", BASE, fc_norm=False),
    "vit_large_patch16_rope_224": of("vit_small_patch16_rope_224", LARGE),
    "vit_small_patch16_rope_mixed_224": of("vit_small_patch16_rope_224", rope_type="mixed"),
    "vit_base_patch16_rope_mixed_224": of("vit_small_patch16_rope_mixed_224", BASE),
    "vit_large_patch16_rope_mixed_224": of("vit_small_patch16_rope_mixed_224", LARGE),
    "vit_small_patch16_rope_ape_224": of(
        "vit_small_patch16_rope_224", no_embed_class=True, pos_embed="learn"
    ),
    "vit_base_patch16_rope_ape_224": of("vit_small_patch16_rope_ape_224", BASE),
    "vit_large_patch16_rope_ape_224": of("vit_small_patch16_rope_ape_224", LARGE),
    "vit_small_patch16_rope_mixed_ape_224": of("vit_small_patch16_rope_ape_224", rope_type="mixed"),
    "vit_base_patch16_rope_mixed_ape_224": of("vit_small_patch16_rope_mixed_ape_224", BASE),
    "vit_large_patch16_rope_mixed_ape_224": of("vit_small_patch16_rope_mixed_ape_224", LARGE),
}

TAGS: Tags = {
    "vit_medium_patch16_rope_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_mediumd_patch16_rope_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_betwixt_patch16_rope_reg4_gap_256": {"sbb_in1k": 1000},
    "vit_base_patch16_rope_reg1_gap_256": {"sbb_in1k": 1000},
    "vit_small_patch16_rope_224": {"naver_in1k": 1000},
    "vit_base_patch16_rope_224": {"naver_in1k": 1000},
    "vit_large_patch16_rope_224": {"naver_in1k": 1000},
    "vit_small_patch16_rope_mixed_224": {"naver_in1k": 1000},
    "vit_base_patch16_rope_mixed_224": {"naver_in1k": 1000},
    "vit_large_patch16_rope_mixed_224": {"naver_in1k": 1000},
    "vit_small_patch16_rope_ape_224": {"naver_in1k": 1000},
    "vit_base_patch16_rope_ape_224": {"naver_in1k": 1000},
    "vit_large_patch16_rope_ape_224": {"naver_in1k": 1000},
    "vit_small_patch16_rope_mixed_ape_224": {"naver_in1k": 1000},
    "vit_base_patch16_rope_mixed_ape_224": {"naver_in1k": 1000},
    "vit_large_patch16_rope_mixed_ape_224": {"naver_in1k": 1000},
}
