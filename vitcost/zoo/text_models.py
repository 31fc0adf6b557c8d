"""Text transformers and models of two towers, one row each."""

from typing import Any, NamedTuple

from vitcost.config.text_config import ClipConfig, TextConfig
from vitcost.config.vit_config import configure

__all__ = ["CLIP", "TEXT", "Clip", "Row", "clip_config", "text_config"]


class Row(NamedTuple):
    """A text transformer: its fields and their source."""

    fields: dict[str, Any]
    source: str


class Clip(NamedTuple):
    """A model of two towers: the row of the image tower with the fields that differ, and the text
    tower."""

    vision: str
    text: str
    source: str
    logit_bias: bool = False


def _gpt2(h: int, L: int, a: int) -> Row:
    dropouts = dict.fromkeys(("pos_drop_rate", "proj_drop_rate", "attn_drop_rate"), 0.1)
    fields = {"embed_dim": h, "depth": L, "num_heads": a, "act_layer": "gelu_new", **dropouts}
    return Row(fields, "Radford et al. 2019, table 2; openai/gpt-2 hparams")


def _gpt3(h: int, L: int, a: int) -> Row:
    fields = {
        "embed_dim": h, "depth": L, "num_heads": a, "context_length": 2048,
        "act_layer": "gelu_new",
    }  # fmt: skip
    return Row(fields, "Brown et al. 2020, table 2.1")


def _clip(h: int, L: int, a: int, width: int, act: str, source: str) -> Row:
    fields = {
        "family": "open_clip", "vocab_size": 49408, "context_length": 77, "embed_dim": h,
        "depth": L, "num_heads": a, "act_layer": act, "head": "projection",
        "projection_dim": width,
    }  # fmt: skip
    return Row(fields, source)


def _siglip(h: int, L: int, a: int, m: int, tokens: int) -> Row:
    fields = {
        "family": "open_clip.bidirectional", "vocab_size": 32000, "context_length": tokens,
        "embed_dim": h, "depth": L, "num_heads": a, "mlp_dim": m, "act_layer": "gelu_tanh",
        "head": "linear", "projection_dim": h,
    }  # fmt: skip
    return Row(fields, "Zhai et al. 2023; google/siglip-* config.json")


_CLIP = "Radford et al. 2021, table 20; openai/CLIP"
_LAION = "Cherti et al. 2023; open_clip model configs"

TEXT: dict[str, Row] = {
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "gpt3-small": _gpt3(768, 12, 12),
    "gpt3-medium": _gpt3(1024, 24, 16),
    "gpt3-large": _gpt3(1536, 24, 16),
    # the paper prints 24 heads of 128 for a width of 2048; its 1.3B model has 16 heads
    "gpt3-xl": _gpt3(2048, 24, 16),
    "gpt3-2.7b": _gpt3(2560, 32, 32),
    "gpt3-6.7b": _gpt3(4096, 32, 32),
    # the paper prints a width of 5140, but its 40 heads of 128 make 5120
    "gpt3-13b": _gpt3(5120, 40, 40),
    "gpt3-175b": _gpt3(12288, 96, 96),
    "clip_vit_base_patch32_text": _clip(512, 12, 8, 512, "quick_gelu", _CLIP),
    "clip_vit_base_patch16_text": _clip(512, 12, 8, 512, "quick_gelu", _CLIP),
    "clip_vit_large_patch14_text": _clip(768, 12, 12, 768, "quick_gelu", _CLIP),
    "clip_vit_huge_patch14_text": _clip(1024, 24, 16, 1024, "gelu", _LAION),
    "siglip_base_text": _siglip(768, 12, 12, 3072, 64),
    "siglip_large_text": _siglip(1024, 24, 16, 4096, 64),
    "siglip_so400m_text": _siglip(1152, 27, 16, 4304, 64),
}

CLIP: dict[str, Clip] = {
    "clip_vit_base_patch32": Clip(
        "vit_base_patch32_clip_quickgelu_224", "clip_vit_base_patch32_text", _CLIP
    ),
    "clip_vit_base_patch16": Clip(
        "vit_base_patch16_clip_quickgelu_224", "clip_vit_base_patch16_text", _CLIP
    ),
    "clip_vit_large_patch14": Clip(
        "vit_large_patch14_clip_quickgelu_224", "clip_vit_large_patch14_text", _CLIP
    ),
    "clip_vit_large_patch14_336": Clip(
        "vit_large_patch14_clip_quickgelu_336", "clip_vit_large_patch14_text", _CLIP
    ),
    "clip_vit_huge_patch14": Clip(
        "vit_huge_patch14_clip_224", "clip_vit_huge_patch14_text", _LAION
    ),
    "siglip_base_patch16_224": Clip(
        "vit_base_patch16_siglip_224", "siglip_base_text", "Zhai et al. 2023", True
    ),
    "siglip_large_patch16_256": Clip(
        "vit_large_patch16_siglip_256", "siglip_large_text", "Zhai et al. 2023", True
    ),
    "siglip_so400m_patch14_384": Clip(
        "vit_so400m_patch14_siglip_384", "siglip_so400m_text", "Zhai et al. 2023", True
    ),
}


def text_config(name: str) -> TextConfig:
    """The config of a text transformer by its name."""
    return TextConfig(**TEXT[name].fields)


def clip_config(row: Clip, vision: dict[str, Any]) -> ClipConfig:
    """The config of two towers, from the fields of the image tower's row.

    timm's image tower of a CLIP has a head in place of the projection.
    """
    text = text_config(row.text)
    tower = configure(vision, num_classes=0)
    width = text.projection_dim
    return ClipConfig(
        vision=tower,
        text=text,
        projection_dim=0 if row.logit_bias else width,
        logit_bias=row.logit_bias,
    )
