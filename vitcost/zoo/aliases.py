"""Names for these models in other places: torchvision, google-research, the papers, open_clip,
Hugging Face, torch.hub.

Names are case-sensitive, as in those places: ``ViT-B-32`` is open_clip's, ``ViT-B_32`` Google's.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from vitcost.errors import ConfigError
from vitcost.zoo.keys import Described
from vitcost.zoo.papers import Row

__all__ = ["AMBIGUOUS", "ROWS", "is_hub_id", "lookup", "names", "on_the_hub"]

_TORCHVISION = "torchvision 0.29, models/vision_transformer.py"
_GOOGLE = "google-research/vision_transformer, vit_jax/configs/models.py"
_PAPER = "Dosovitskiy et al. 2021, table 1"
_AUGREG = "Steiner et al. 2022, table 2"
_SCALING = "Zhai et al. 2022, table 2"

# google-research trains its large models with dropout
_DROP = {"pos_drop_rate": 0.1, "proj_drop_rate": 0.1}
_GAP = {"class_token": False, "global_pool": "avg", "fc_norm": False}


_DINO = "torch.hub, facebookresearch/dino, hubconf.py"
_DINOV2 = "torch.hub, facebookresearch/dinov2, dinov2/hub/backbones.py"
_DINOV3 = "torch.hub, facebookresearch/dinov3, dinov3/hub/backbones.py"
_MAE = "facebookresearch/mae, models_mae.py, its encoder alone"


def _with_forward(source: str, base: str, fields: dict[str, Any]) -> Row:
    """A name whose own code no test runs: its live bytes are computed as for the forward of the row
    ``base``."""
    return Row(base, fields, f"{source}; bytes alive by the forward of {base}")


def _dinov2(base: str) -> Row:
    """Without xFormers its attention is plain products of scaled queries. For a small model of the
    package dinov2 0.0.1.dev2, saved bytes and peak of a step equalled those of ``--attention
    eager`` at batches 2 and 3 in fp32 and amp-bf16; at batch 1 it also saved the scaled queries."""
    alias = _with_forward(_DINOV2, f"facebook/{base}", {"qkv_fused": True})
    return alias._replace(source=f"{alias.source}; without xFormers --attention eager")


def _dinov3(base: str, **fields: Any) -> Row:
    """Its key bias is a parameter that a mask sets to zero; transformers' model has no key bias."""
    name = f"facebook/dinov3-{base}-pretrain-lvd1689m"
    return _with_forward(_DINOV3, name, {"qkv_fused": True, "attn_layer": "attn", **fields})


def _dino(base: str) -> Row:
    return _with_forward(_DINO, base, {"num_classes": 0, "interpolate_pos_encoding": "same"})


def _mae(base: str) -> Row:
    return _with_forward(_MAE, base, {"qkv_fused": True})


def _torchvision(base: str, **fields: Any) -> Row:
    return Row(base, {"code": "torchvision", **fields}, _TORCHVISION)


def _google(base: str, **fields: Any) -> Row:
    return Row(base, fields, _GOOGLE)


ROWS: Mapping[str, Row] = {
    "vit_b_16": _torchvision("vit_base_patch16_224"),
    "vit_b_32": _torchvision("vit_base_patch32_224"),
    "vit_l_16": _torchvision("vit_large_patch16_224"),
    "vit_l_32": _torchvision("vit_large_patch32_224"),
    "vit_h_14": _torchvision("vit_huge_patch14_224"),
    "ViT_B_16_Weights.IMAGENET1K_V1": _torchvision("vit_base_patch16_224"),
    "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1": _torchvision("vit_base_patch16_384"),
    "ViT_B_16_Weights.IMAGENET1K_SWAG_LINEAR_V1": _torchvision("vit_base_patch16_224"),
    "ViT_B_32_Weights.IMAGENET1K_V1": _torchvision("vit_base_patch32_224"),
    "ViT_L_16_Weights.IMAGENET1K_V1": _torchvision("vit_large_patch16_224"),
    "ViT_L_16_Weights.IMAGENET1K_SWAG_E2E_V1": _torchvision("vit_large_patch16_224", img_size=512),
    "ViT_L_16_Weights.IMAGENET1K_SWAG_LINEAR_V1": _torchvision("vit_large_patch16_224"),
    "ViT_L_32_Weights.IMAGENET1K_V1": _torchvision("vit_large_patch32_224"),
    "ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1": _torchvision("vit_huge_patch14_224", img_size=518),
    "ViT_H_14_Weights.IMAGENET1K_SWAG_LINEAR_V1": _torchvision("vit_huge_patch14_224"),
    "ViT-Ti_16": _google("vit_tiny_patch16_224"),
    "ViT-S_16": _google("vit_small_patch16_224"),
    "ViT-S_32": _google("vit_small_patch32_224"),
    "ViT-B_8": _google("vit_base_patch8_224"),
    "ViT-B_16": _google("vit_base_patch16_224"),
    "ViT-B_32": _google("vit_base_patch32_224"),
    "ViT-L_16": _google("vit_large_patch16_224", **_DROP),
    "ViT-L_32": _google("vit_large_patch32_224"),
    "ViT-H_14": _google("vit_huge_patch14_224", **_DROP),
    "ViT-S_16-gap-norep": _google("vit_small_patch16_224", **_GAP),
    "ViT-S_32-gap-norep": _google("vit_small_patch32_224", **_GAP),
    "ViT-B_16-gap-norep": _google("vit_base_patch16_224", **_GAP),
    "ViT-B_32-gap-norep": _google("vit_base_patch32_224", **_GAP),
    "R+ViT-Ti_16": _google("vit_tiny_r_s16_p8_224"),
    "R26+ViT-S_32": _google("vit_small_r26_s32_224"),
    "R26+ViT-B_32": _google("vit_base_r26_s32_224"),
    "R50+ViT-B_16": _google("vit_base_r50_s16_224", **_DROP),
    "R50+ViT-L_32": _google("vit_large_r50_s32_224", **_DROP),
    "dino_vits16": _dino("vit_small_patch16_224"),
    "dino_vits8": _dino("vit_small_patch8_224"),
    "dino_vitb16": _dino("vit_base_patch16_224"),
    "dino_vitb8": _dino("vit_base_patch8_224"),
    "dinov2_vits14": _dinov2("dinov2-small"),
    "dinov2_vitb14": _dinov2("dinov2-base"),
    "dinov2_vitl14": _dinov2("dinov2-large"),
    "dinov2_vitg14": _dinov2("dinov2-giant"),
    "dinov2_vits14_reg": _dinov2("dinov2-with-registers-small"),
    "dinov2_vitb14_reg": _dinov2("dinov2-with-registers-base"),
    "dinov2_vitl14_reg": _dinov2("dinov2-with-registers-large"),
    "dinov2_vitg14_reg": _dinov2("dinov2-with-registers-giant"),
    "dinov3_vits16": _dinov3("vits16"),
    "dinov3_vits16plus": _dinov3("vits16plus"),
    "dinov3_vitb16": _dinov3("vitb16"),
    "dinov3_vitl16": _dinov3("vitl16"),
    "dinov3_vitl16plus": _dinov3("vitl16", mlp_layer="SwiGLU", act_layer="silu"),
    "dinov3_vith16plus": _dinov3("vith16plus"),
    "mae_vit_base_patch16": _mae("facebook/vit-mae-base"),
    "mae_vit_large_patch16": _mae("facebook/vit-mae-large"),
    "mae_vit_huge_patch14": _mae("facebook/vit-mae-huge"),
    "ViT-Ti/16": Row("vit_tiny_patch16_224", {}, _AUGREG),
    "ViT-S/16": Row("vit_small_patch16_224", {}, _AUGREG),
    "ViT-S/32": Row("vit_small_patch32_224", {}, _AUGREG),
    "ViT-B/8": Row("vit_base_patch8_224", {}, _AUGREG),
    "ViT-B/16": Row("vit_base_patch16_224", {}, _PAPER),
    "ViT-B/32": Row("vit_base_patch32_224", {}, _PAPER),
    "ViT-L/16": Row("vit_large_patch16_224", {}, _PAPER),
    "ViT-L/32": Row("vit_large_patch32_224", {}, _PAPER),
    "ViT-H/14": Row("vit_huge_patch14_224", {}, _PAPER),
    "ViT-g/14": Row("vit_giant_patch14_224", {}, _SCALING),
    "ViT-G/14": Row("vit_gigantic_patch14_224", {}, _SCALING),
}
# names that mean several models, each with the names to type instead
AMBIGUOUS: Mapping[str, str] = {
    "ViT-L/14": "the papers have none; CLIP's is ViT-L-14, a plain one vit_large_patch14_224",
    "L/14": "the papers have none; CLIP's is ViT-L-14, a plain one vit_large_patch14_224",
    "ViT-L/14@336px": "CLIP's is ViT-L-14-336",
    "ViT-B": "a size, which needs a patch: ViT-B/8, ViT-B/16 or ViT-B/32",
    "ViT-L": "a size, which needs a patch: ViT-L/16 or ViT-L/32",
    "ViT-H": "a size, which needs a patch: ViT-H/14",
    "ViT-G-14": "open_clip's is ViT-bigG-14, of the same size as the paper's ViT-G/14",
    "dinov3_vit7b16": "torch.hub's has a second norm, which whole images do not use; without it it "
    "is facebook/dinov3-vit7b16-pretrain-lvd1689m",
    "dinov2": "a family: facebook/dinov2-base, vit_base_patch14_dinov2 and others",
}


def lookup(name: str, row: Callable[[str], Described]) -> Described | None:
    """The fields that a name of another library stands for, or None; ``row`` gives timm's fields
    for a name.

    Raises ``ConfigError`` for a name that means several models.

    >>> lookup("ViT-L/14", row=None)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: 'ViT-L/14' is ambiguous: the papers have none; ...
    """
    if name in AMBIGUOUS:
        raise ConfigError(f"{name!r} is ambiguous: {AMBIGUOUS[name]}")
    if name in ROWS or f"ViT-{name}" in _SHORT:
        alias = ROWS.get(name) or ROWS[f"ViT-{name}"]
        below = row(alias.base)
        source = alias.source
        if alias.base not in source:
            source = f"{source}; {alias.base}"
        return Described(source, {**below.fields, **alias.fields})
    return _in_a_table(name, row)


def is_hub_id(name: str) -> bool:
    """Whether a name is an id of the Hugging Face hub with a known model."""
    from vitcost.zoo.hub_ids import HUB

    return name in HUB or on_the_hub(name).startswith("timm/")


def on_the_hub(name: str) -> str:
    """An id of the hub in the spelling of its page.

    >>> on_the_hub("hf-hub:timm/vit_base_patch16_224.augreg_in21k")
    'timm/vit_base_patch16_224.augreg_in21k'
    """
    return name.removeprefix("hf-hub:").removeprefix("hf_hub:")


# the model_types of two towers
_PAIRS = ("clip", "siglip")

# B/16 is short for ViT-B/16
_SHORT = frozenset(name for name in ROWS if "/" in name)


def _in_a_table(name: str, row: Callable[[str], Described]) -> Described | None:
    from vitcost.zoo.hub_ids import HUB
    from vitcost.zoo.open_clip_models import MODELS

    if name in MODELS:
        return _open_clip(name, row)
    path = on_the_hub(name)
    if path in HUB:
        return _hugging_face(path)
    if "/" not in path:
        return None
    from vitcost.zoo.open_clip_hub import model_of

    model = model_of(path)
    if model:
        return _open_clip(model, row)
    # the hub's copies of timm's weights, in the spelling of their page or of timm's create_model
    return row(path.removeprefix("timm/")) if path.startswith("timm/") else None


def _hugging_face(name: str) -> Described:
    from vitcost.zoo.hub_ids import HUB

    entry = HUB[name]
    # other names do not need the readers of files
    if entry.kind in _PAIRS:
        from vitcost.zoo.huggingface_text import of_text_class

        tower = of_text_class(entry.kind, entry.architecture, entry.keys)
    else:
        from vitcost.zoo.huggingface import of_class

        tower = of_class(entry.kind, entry.architecture, entry.keys)
    return tower._replace(source=f"Hugging Face hub, {entry.architecture} of transformers")


def _open_clip(name: str, row: Callable[[str], Described]) -> Described:
    from vitcost.zoo.open_clip import described
    from vitcost.zoo.open_clip_models import MODELS

    tower = described(MODELS[name], row)
    return tower._replace(source=f"open_clip 3.3, model_configs/{name}.json")


def names(rows: Collection[str]) -> list[str]:
    """Every such name whose row is among ``rows``, in the order of their tables. If the text tower
    of a name has no formula, its image tower is listed, as ``NAME:vision``."""
    from vitcost.zoo.hub_ids import HUB
    from vitcost.zoo.open_clip_models import MODELS

    aliases = [name for name, alias in ROWS.items() if alias.base in rows or alias.base in HUB]
    towers = [
        name if "width" in model["text_cfg"] else f"{name}:vision"
        for name, model in MODELS.items()
        if model["vision_cfg"].get("timm_model_name") in (None, *rows)
    ]
    return [*aliases, *towers, *HUB]
