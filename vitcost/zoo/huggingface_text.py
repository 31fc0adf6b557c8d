"""Hugging Face's ``config.json`` of models that read text: CLIP and SigLIP, one tower or both."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from vitcost.config.text_config import ClipConfig, TextConfig
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.zoo.families import FAMILIES, TOWERS
from vitcost.zoo.huggingface import (
    FREE_KEYS,
    GENERAL,
    activation,
    architecture,
    need_covered,
    of_class,
    said,
    tower_table,
)
from vitcost.zoo.keys import Described, as_field_errors, check_keys, guess, typed_values

__all__ = ["PAIRS", "TEXTS", "described", "of_text_class"]

Values: TypeAlias = Mapping[str, Any]

_NAMES: Mapping[str, str] = {
    "vocab_size": "vocab_size",
    "max_position_embeddings": "context_length",
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_dim",
    "attention_dropout": "attn_drop_rate",
}


class Text(NamedTuple):
    """A ``model_type`` that reads text: its keys, and the head of each class."""

    family: str
    keys: Values
    classes: Mapping[str, str]  # the classes; the first is the bare model
    # the key of the head's width; if it is 0 or absent, the head is as wide as the model
    width: str


class Pair(NamedTuple):
    """A ``model_type`` of two towers: its class, and its own keys."""

    name: str
    text: str  # the model_type of the text tower
    keys: Values
    logit_bias: bool


# transformers 5.23: models/clip/configuration_clip.py, models/siglip/configuration_siglip.py
_CLIP: Values = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "attention_dropout": 0.0,
}
_SIGLIP: Values = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 64,
    "hidden_act": "gelu_pytorch_tanh",
    "attention_dropout": 0.0,
    "projection_size": None,
}
TEXTS: Mapping[str, Text] = {
    "clip_text_model": Text(
        "transformers.clip",
        _CLIP,
        {"CLIPTextModel": "none", "CLIPTextModelWithProjection": "projection"},
        "projection_dim",
    ),
    "siglip_text_model": Text(
        "transformers.siglip", _SIGLIP, {"SiglipTextModel": "linear"}, "projection_size"
    ),
}
PAIRS: Mapping[str, Pair] = {
    "clip": Pair("CLIPModel", "clip_text_model", {"projection_dim": 512}, False),
    "siglip": Pair("SiglipModel", "siglip_text_model", {}, True),
}
# keys in old files
_FIXED = {**GENERAL, "dropout": (0.0, "transformers has no such dropout any more")}
_REQUIRED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings",
)  # fmt: skip


def described(data: Values) -> Described:
    """The model of a file whose ``model_type`` is one of ``TEXTS`` or ``PAIRS``.

    >>> described({"model_type": "clip_text_model"})
    Traceback (most recent call last):
    vitcost.errors.ConfigError: vocab_size is missing; transformers would take 49408
    """
    kind = data["model_type"]
    if kind not in (*TEXTS, *PAIRS) and _holds_images(data):
        return _vision_of(kind, data["vision_config"])
    if kind not in (*TEXTS, *PAIRS):
        known = [*FAMILIES, *TEXTS, *PAIRS]
        covered = ", ".join(known)
        raise NotCovered(
            f"model_type {shown(kind)} is not covered{guess(kind, known)}; covered: {covered}"
        )
    if kind in PAIRS:
        name = architecture(data) or PAIRS[kind].name
        if name in TEXTS[PAIRS[kind].text].classes:
            return of_text_class(PAIRS[kind].text, name, *tower_table(data, "text"))
        return of_text_class(kind, name, data)
    name = architecture(data) or next(iter(TEXTS[kind].classes))
    for key in _REQUIRED:
        if key not in data:
            raise ConfigError(f"{key} is missing; transformers would take {TEXTS[kind].keys[key]}")
    return of_text_class(kind, name, data)


def _holds_images(data: Values) -> bool:
    """Whether a model of some other kind contains an image tower of a known kind."""
    table = data.get("vision_config")
    return isinstance(table, dict) and table.get("model_type") in FAMILIES


def _vision_of(kind: str, table: Values) -> Described:
    """The image tower of a language model, as that model builds it: without a head."""
    family = FAMILIES[table["model_type"]]
    name = architecture(table) or next(iter(family.classes))
    tower = of_class(table["model_type"], name, table, "vision_config.")
    source = f"the vision tower alone of a model of type {kind}: {tower.source}"
    return tower._replace(source=source)


def of_text_class(kind: str, name: str, data: Values, path: str = "") -> Described:
    """One class of a ``model_type``; ``path`` is the path to the table in its file."""
    if kind in PAIRS:
        return _pair(kind, name, data)
    text = TEXTS[kind]
    need_covered(name, text.classes)
    config, left_out = _tower(text, text.classes[name], data, path)
    return Described(f"{name} of transformers{said(left_out, text.keys)}", {}, config)


def _pair(kind: str, name: str, data: Values) -> Described:
    """Both towers: CLIP projects the features of both, SigLIP's text tower has a head."""
    pair = PAIRS[kind]
    if name != pair.name:
        need_covered(name, [pair.name, *TEXTS[pair.text].classes])
    table, path = tower_table(data, "vision")
    vision = of_class(TOWERS[kind], _BARE[kind], table, path)
    image = ViTConfig(**vision.fields)
    if kind == "siglip" and image.global_pool != "map":
        raise NotCovered(f"{path}vision_use_head must be True where features are compared")
    top = typed_values(pair.keys, data)
    table, path = tower_table(data, "text")
    head = "projection" if pair.keys else "linear"
    text, left_out = _tower(TEXTS[pair.text], head, {**table, **top}, path)
    config = ClipConfig(
        vision=image,
        text=text,
        projection_dim=top.get("projection_dim", 0),
        logit_bias=pair.logit_bias,
    )
    missing = [key for key in pair.keys if key not in data]
    source = f"{name} of transformers{said(missing, pair.keys)}"
    towers = (
        f"{side}: {note.partition('; ')[2]}"
        for side, note in (
            ("vision", vision.source),
            ("text", said(left_out, TEXTS[pair.text].keys)),
        )
        if "; " in note
    )
    width = config.projection_dim
    alone = {**vision.fields, "num_classes": width, "head_bias": width == 0}
    return Described("; ".join((source, *towers)), alone, config)


_BARE = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}


def _tower(text: Text, head: str, data: Values, path: str) -> tuple[TextConfig, list[str]]:
    """A text tower, and the keys that its table leaves to transformers' defaults."""
    check_keys(data, {*text.keys, *FREE_KEYS}, _FIXED, path)
    values = typed_values(text.keys, data, path)
    fields = {field: values[key] for key, field in _NAMES.items()}
    fields |= {"family": text.family, "act_layer": activation(values, path), "head": head}
    if head != "none":
        fields["projection_dim"] = values[text.width] or values["hidden_size"]
    spelled = {
        field: path + key for key, field in (*_NAMES.items(), (text.width, "projection_dim"))
    }
    config = as_field_errors(fields, spelled, TextConfig)
    return config, [key for key in text.keys if key not in data]
