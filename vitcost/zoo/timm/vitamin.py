"""ViTamin: two stages of convolutions, then blocks whose MLP is gated and normed."""

from vitcost.zoo.timm.rows import Rows, Tags, of, row

__all__ = ["ROWS", "TAGS"]

VITAMIN = "Chen et al. 2024, arXiv 2404.02132"
AS_VITAMIN = {
    "patch_size": 1,
    "mlp_layer": "GeGluMlp",
    "mlp_ratio": 2,
    "class_token": False,
    "global_pool": "avg",
}

ROWS: Rows = {
    "vitamin_small_224": row(
        VITAMIN, AS_VITAMIN, backbone="vitamin_small", embed_dim=384, depth=14, num_heads=6
    ),
    "vitamin_base_224": of(
        "vitamin_small_224", backbone="vitamin_base", embed_dim=768, num_heads=12
    ),
    "vitamin_large_224": of(
        "vitamin_small_224", backbone="vitamin_large", embed_dim=1024, depth=31, num_heads=16
    ),
    "vitamin_large_256": of("vitamin_large_224", img_size=256),
    "vitamin_large_336": of("vitamin_large_224", img_size=336),
    "vitamin_large_384": of("vitamin_large_224", img_size=384),
    # the same architecture, trained with a larger text tower
    "vitamin_large2_224": of("vitamin_large_224", source=VITAMIN),
    "vitamin_large2_256": of("vitamin_large_256", source=VITAMIN),
    "vitamin_large2_336": of("vitamin_large_336", source=VITAMIN),
    "vitamin_large2_384": of("vitamin_large_384", source=VITAMIN),
    "vitamin_xlarge_256": of(
        "vitamin_large_256", backbone="vitamin_xlarge", embed_dim=1152, depth=32, pos_embed="none"
    ),
    "vitamin_xlarge_336": of("vitamin_xlarge_256", img_size=336),
    "vitamin_xlarge_384": of("vitamin_xlarge_256", img_size=384),
}

TAGS: Tags = {
    "vitamin_small_224": {"datacomp1b_clip_ltt": 768, "datacomp1b_clip": 384},
    "vitamin_base_224": {"datacomp1b_clip_ltt": 768, "datacomp1b_clip": 768},
    "vitamin_large_224": {"datacomp1b_clip": 768},
    "vitamin_large_256": {"datacomp1b_clip": 768},
    "vitamin_large_336": {"datacomp1b_clip": 768},
    "vitamin_large_384": {"datacomp1b_clip": 768},
    "vitamin_large2_224": {"datacomp1b_clip": 1024},
    "vitamin_large2_256": {"datacomp1b_clip": 1024},
    "vitamin_large2_336": {"datacomp1b_clip": 1024},
    "vitamin_large2_384": {"datacomp1b_clip": 1024},
    "vitamin_xlarge_256": {"datacomp1b_clip": 1152},
    "vitamin_xlarge_336": {"datacomp1b_clip": 1152},
    "vitamin_xlarge_384": {"datacomp1b_clip": 1152},
}
