"""The plain ViTs and DeiTs, until timm's tables hold them."""

from typing import Any

_SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    f"vit_{size}_patch{patch}_{img}": (
        "Dosovitskiy et al. 2021",
        {
            "img_size": img,
            "patch_size": patch,
            "embed_dim": h,
            "depth": L,
            "num_heads": a,
            "mlp_ratio": 4.0,
        },
    )
    for size, (h, L, a) in _SIZES.items()
    for patch in (8, 14, 16, 32)
    for img in (224, 384)
    if img % patch == 0
}
