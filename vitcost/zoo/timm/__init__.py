"""The architectures of timm 1.0.31, one file for each family, and the tags of their pretrained
weights.

A bare name has 1000 classes, whatever timm's default weights have; ``name.tag`` has the classes of
the tag.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from vitcost.config.records import Record
from vitcost.zoo.timm.rows import Rows, Tags, expand

__all__ = [
    "FAMILIES",
    "RENAMED",
    "VERSION",
    "Table",
    "architectures",
    "family_of",
    "lookup",
    "names",
    "table",
    "tags",
]

VERSION = "1.0.31"

# a name belongs to the first family with one of these words in the name, so that a report imports
# one file
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "deit": ("deit",),
    "beit": ("beit",),
    "siglip": ("siglip",),
    "eva": ("eva",),
    "clip": ("clip",),
    "dinov2": ("dinov2", "tipsv2"),
    "dinov3": ("dinov3", "lingbot", "sapiens2"),
    "rope": ("rope",),
    "pe": ("_pe_",),
    "aimv2": ("aimv2",),
    "radio": ("radio",),
    "gap": ("_gap_", "_map_"),
    "hybrid": ("_r_", "_r26_", "_r50_", "_resnet", "_mci_"),
    "vitamin": ("vitamin",),
    "vit": ("",),
}

# names from before timm had tags; a name that ends in _in21k means the original papers' model here
RENAMED: Mapping[str, str] = {
    "vit_base_resnet50_384": "vit_base_r50_s16_384.orig_in21k_ft_in1k",
    "vit_base_patch32_224_sam": "vit_base_patch32_224.sam_in1k",
    "vit_base_patch16_224_sam": "vit_base_patch16_224.sam_in1k",
    "vit_small_patch16_224_dino": "vit_small_patch16_224.dino",
    "vit_small_patch8_224_dino": "vit_small_patch8_224.dino",
    "vit_base_patch16_224_dino": "vit_base_patch16_224.dino",
    "vit_base_patch8_224_dino": "vit_base_patch8_224.dino",
    "vit_base_patch16_224_miil_in21k": "vit_base_patch16_224_miil.in21k",
    "vit_base_patch32_224_clip_laion2b": "vit_base_patch32_clip_224.laion2b",
    "vit_large_patch14_224_clip_laion2b": "vit_large_patch14_clip_224.laion2b",
    "vit_huge_patch14_224_clip_laion2b": "vit_huge_patch14_clip_224.laion2b",
    "vit_giant_patch14_224_clip_laion2b": "vit_giant_patch14_clip_224.laion2b",
    "deit3_small_patch16_224_in21ft1k": "deit3_small_patch16_224.fb_in22k_ft_in1k",
    "deit3_small_patch16_384_in21ft1k": "deit3_small_patch16_384.fb_in22k_ft_in1k",
    "deit3_medium_patch16_224_in21ft1k": "deit3_medium_patch16_224.fb_in22k_ft_in1k",
    "deit3_base_patch16_224_in21ft1k": "deit3_base_patch16_224.fb_in22k_ft_in1k",
    "deit3_base_patch16_384_in21ft1k": "deit3_base_patch16_384.fb_in22k_ft_in1k",
    "deit3_large_patch16_224_in21ft1k": "deit3_large_patch16_224.fb_in22k_ft_in1k",
    "deit3_large_patch16_384_in21ft1k": "deit3_large_patch16_384.fb_in22k_ft_in1k",
    "deit3_huge_patch14_224_in21ft1k": "deit3_huge_patch14_224.fb_in22k_ft_in1k",
}


class Table(Record):
    """A family: its rows, and the tags of each."""

    rows: Rows
    tags: Tags


def family_of(name: str) -> str:
    """The family that a name belongs to, if timm has it.

    >>> family_of("vit_so400m_patch14_siglip_gap_224.webli")
    'siglip'
    """
    return next(family for family, words in FAMILIES.items() if any(w in name for w in words))


def table(family: str) -> Table:
    """The table of one family, loaded when it is asked for."""
    module = import_module(f"vitcost.zoo.timm.{family}")
    return Table(module.ROWS, module.TAGS)


def lookup(name: str) -> tuple[str, dict[str, Any]] | None:
    """The source and the fields of a timm model, or None; with a tag it has the tag's classes.

    >>> lookup("vit_tiny_patch16_384")
    ('Steiner et al. 2022, arXiv 2106.10270; timm 1.0.31',
     {'embed_dim': 192, 'depth': 12, 'num_heads': 3, 'img_size': 384})
    >>> lookup("vit_tiny_patch16_224.augreg_in21k")[1]["num_classes"]
    21843
    """
    bare, _, tag = RENAMED.get(name, name).partition(".")
    rows, classes = table(family_of(bare))
    if bare not in rows or (tag and tag not in classes.get(bare, {})):
        return None
    source, fields = expand(rows, bare)
    if tag:
        fields["num_classes"] = classes[bare][tag]
    return ("" if source == "timm" else f"{source}; ") + f"timm {VERSION}", fields


def names() -> list[str]:
    """Every architecture with a formula, without tags."""
    return [name for family in FAMILIES for name in table(family).rows]


def architectures() -> list[str]:
    """Every architecture of timm in order, including those without a formula.

    >>> every = architectures()
    >>> [name in every for name in ("vit_base_patch16_224", "swin_tiny_patch4_window7_224", "vit")]
    [True, True, False]
    """
    # a table that plain ViTs do not need
    from vitcost.zoo.timm.others import OTHERS

    others = (name for many in OTHERS.values() for name in many.split())
    return sorted({*names(), *others})


def tags(name: str) -> tuple[str, ...]:
    """The tags of an architecture's pretrained weights, timm's default first."""
    return tuple(table(family_of(name)).tags.get(name, ()))
