"""open_clip's text towers, and both towers of its model JSON.

Keys and defaults are those of open_clip 3.3, ``model.py: CLIPTextCfg``.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from vitcost.config.text_config import ClipConfig, TextConfig
from vitcost.config.vit_config import configure
from vitcost.errors import NotCovered, shown
from vitcost.zoo.keys import Fixed, as_field_errors, check_keys, typed_values

__all__ = ["both", "text_tower"]

Values: TypeAlias = Mapping[str, Any]

_TEXT: Values = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "pool_type": "argmax",
    "proj_type": "linear",
    "proj_bias": False,
}
_NO_FORMULA = "nothing here describes it"
_FIXED: Fixed = {
    "hf_model_name": (None, "a text tower of transformers' has no formula here"),
    "embed_cls": (False, "a text tower with a class token of its own has no formula here"),
    "ls_init_value": (None, _NO_FORMULA),
    "qk_norm": (False, _NO_FORMULA),
    "scaled_cosine_attn": (False, _NO_FORMULA),
    "scale_heads": (False, _NO_FORMULA),
    "scale_attn_inner": (False, _NO_FORMULA),
    "scale_attn": (False, _NO_FORMULA),
    "scale_fc": (False, _NO_FORMULA),
}
# keys of the tokenizer, of the pooled token and of the mask change no cost
_FREE = (
    "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs", "pad_id", "eos_id",
    "no_causal_mask", "final_ln_after_pool", "output_tokens", "norm_kwargs", "act_kwargs",
    "block_type", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "hf_tokenizer",
)  # fmt: skip
_KEYS = {
    "context_length": "context_length",
    "vocab_size": "vocab_size",
    "embed_dim": "width",
    "num_heads": "heads",
    "depth": "layers",
    "mlp_dim": "mlp_ratio",
}


def text_tower(text: Values, width: int, quick_gelu: bool, path: str) -> TextConfig:
    """The text tower of a ``text_cfg``; its features are ``width`` wide.

    >>> text_tower({"width": 512, "heads": 8, "layers": 12}, 512, False, "text_cfg.").depth
    12
    """
    check_keys(text, {*_TEXT, *_FREE}, _FIXED, path)
    v = typed_values(_TEXT, text, path)
    if v["pool_type"] == "none":
        raise NotCovered(f"{path}pool_type 'none': features of every token have no formula here")
    head = "linear" if v["proj_bias"] else "projection"
    head = "none" if v["proj_type"] == "none" else head
    fields = {
        **{field: v[key] for field, key in _KEYS.items()},
        "family": _family(v["pool_type"], text.get("no_causal_mask")),
        "mlp_dim": int(v["width"] * v["mlp_ratio"]),
        "act_layer": _activation(text.get("act_kwargs"), quick_gelu, path),
        "head": head,
        "projection_dim": 0 if head == "none" else width,
    }
    return as_field_errors(fields, {k: path + key for k, key in _KEYS.items()}, TextConfig)


def _family(pool: str, both_ways: Any) -> str:
    if not both_ways:
        return "open_clip"
    end = ".argmax" if pool in ("argmax", "eos") else ""
    return f"open_clip.bidirectional{end}"


def _activation(kwargs: Any, quick_gelu: bool, path: str) -> str:
    if kwargs is None:
        return "quick_gelu" if quick_gelu else "gelu"
    if kwargs == {"approximate": "tanh"} and not quick_gelu:
        return "gelu_tanh"
    raise NotCovered(f"{path}act_kwargs {shown(kwargs)} has no formula here")


def both(vision: dict[str, Any], text: TextConfig, logit_bias: bool) -> ClipConfig:
    """Two towers; a head of the image tower that has no bias is its projection."""
    image = configure(vision)
    if not image.global_pool:
        raise NotCovered("features of every patch, which are compared with no text")
    if image.num_classes and not (image.head_bias or image.pre_logits or image.drop_rate):
        width = image.num_classes
        image = configure(vision, num_classes=0, head_bias=True)
        return ClipConfig(vision=image, text=text, projection_dim=width, logit_bias=logit_bias)
    return ClipConfig(vision=image, text=text, logit_bias=logit_bias)
