"""C-RADIO."""

from vitcost.zoo.timm.rows import BASE, HUGE, LARGE, Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

RADIO_V3 = "C-RADIOv3, arXiv 2412.07679"
RADIO_V4 = "C-RADIOv4, https://github.com/NVlabs/RADIO"
AS_RADIO = {"img_size": 512, "reg_tokens": 7, "no_embed_class": True, "final_norm": False}

ROWS: Rows = {
    "vit_base_patch16_radio_v3": row(RADIO_V3, BASE, AS_RADIO, init_values=1e-5),
    "vit_large_patch16_radio_v3": of("vit_base_patch16_radio_v3", LARGE),
    "vit_huge_patch16_radio_v3": row(RADIO_V3, HUGE, AS_RADIO),
    "vit_giant_patch16_radio_v3": of(
        "vit_huge_patch16_radio_v3", embed_dim=1536, depth=40, num_heads=24
    ),
    "vit_so400m_patch16_radio_v4": of(
        "vit_huge_patch16_radio_v3",
        source=RADIO_V4,
        embed_dim=1152,
        depth=27,
        mlp_ratio=4304 / 1152,
        reg_tokens=9,
    ),
    "vit_huge_patch16_radio_v4": of("vit_huge_patch16_radio_v3", source=RADIO_V4, reg_tokens=9),
}

TAGS: Tags = {
    "vit_base_patch16_radio_v3": {"c_radio": 0},
    "vit_large_patch16_radio_v3": {"c_radio": 0},
    "vit_huge_patch16_radio_v3": {"c_radio": 0},
    "vit_giant_patch16_radio_v3": {"c_radio": 0},
    "vit_so400m_patch16_radio_v4": {"c_radio": 0},
    "vit_huge_patch16_radio_v4": {"c_radio": 0},
}
