"""DINOv2, with and without registers, and TIPSv2."""

from vitcost.zoo.timm.rows import BASE, LARGE, SMALL, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

DINOV2 = "Oquab et al. 2023, arXiv 2304.07193"
REGISTERS = "Darcet et al. 2023, arXiv 2309.16588"
TIPSV2 = "TIPSv2, arXiv 2604.12012"
GIANT_SWIGLU = {
    "embed_dim": 1536,
    "depth": 40,
    "num_heads": 24,
    "mlp_ratio": 5.33334,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "silu",
}
AS_DINOV2 = {"patch_size": 14, "img_size": 518, "init_values": 1e-5}
AS_TIPSV2 = {
    "patch_size": 14,
    "img_size": 448,
    "init_values": 1.0,
    "reg_tokens": 1,
    "no_embed_class": True,
}

ROWS: Rows = {
    "vit_small_patch14_dinov2": row(DINOV2, SMALL, AS_DINOV2),
    "vit_base_patch14_dinov2": of("vit_small_patch14_dinov2", BASE),
    "vit_large_patch14_dinov2": of("vit_small_patch14_dinov2", LARGE),
    "vit_giant_patch14_dinov2": of("vit_small_patch14_dinov2", GIANT_SWIGLU),
    "vit_small_patch14_reg4_dinov2": of(
        "vit_small_patch14_dinov2", source=REGISTERS, no_embed_class=True, reg_tokens=4
    ),
    "vit_base_patch14_reg4_dinov2": of("vit_small_patch14_reg4_dinov2", BASE),
    "vit_large_patch14_reg4_dinov2": of("vit_small_patch14_reg4_dinov2", LARGE),
    "vit_giant_patch14_reg4_dinov2": of("vit_small_patch14_reg4_dinov2", GIANT_SWIGLU),
    "vit_base_patch14_reg1_tipsv2": row(TIPSV2, BASE, AS_TIPSV2),
    "vit_large_patch14_reg1_tipsv2": of("vit_base_patch14_reg1_tipsv2", LARGE),
    "vit_so400m_patch14_reg1_tipsv2": of(
        "vit_large_patch14_reg1_tipsv2", embed_dim=1152, depth=27, mlp_ratio=4304 / 1152
    ),
    "vit_giant_patch14_reg1_tipsv2": of("vit_base_patch14_reg1_tipsv2", GIANT_SWIGLU),
}

TAGS: Tags = {
    "vit_small_patch14_dinov2": {"lvd142m": 0},
    "vit_base_patch14_dinov2": {"lvd142m": 0},
    "vit_large_patch14_dinov2": {"lvd142m": 0},
    "vit_giant_patch14_dinov2": {"lvd142m": 0},
    "vit_small_patch14_reg4_dinov2": {"lvd142m": 0},
    "vit_base_patch14_reg4_dinov2": {"lvd142m": 0},
    "vit_large_patch14_reg4_dinov2": {"lvd142m": 0},
    "vit_giant_patch14_reg4_dinov2": {"lvd142m": 0},
    "vit_base_patch14_reg1_tipsv2": {"webli": 0},
    "vit_large_patch14_reg1_tipsv2": {"webli": 0},
    "vit_so400m_patch14_reg1_tipsv2": {"webli": 0},
    "vit_giant_patch14_reg1_tipsv2": {"webli": 0},
}
