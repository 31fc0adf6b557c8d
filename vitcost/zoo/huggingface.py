"""Hugging Face's ``config.json`` as fields of a ``ViTConfig``; ``huggingface_text`` has those of
models that read text.

A file is read strictly: an unknown key may change the model, so it is refused. A key that a file
leaves out has transformers' default, and the source says so.
"""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from vitcost.config.activations import ACTIVATIONS
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.zoo.families import FAMILIES, TOWERS
from vitcost.zoo.keys import Described, as_field_errors, check_keys, table_of, typed, typed_values

__all__ = [
    "FREE_KEYS",
    "GENERAL",
    "activation",
    "architecture",
    "described",
    "need_covered",
    "of_class",
    "said",
    "tower_table",
]

Values: TypeAlias = Mapping[str, Any]

# keys that are a field under another name
_NAMES: Mapping[str, str] = {
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "intermediate_size": "mlp_dim",
    "image_size": "img_size",
    "patch_size": "patch_size",
    "num_channels": "in_chans",
    "attention_probs_dropout_prob": "attn_drop_rate",
    "attention_dropout": "attn_drop_rate",
    "drop_path_rate": "drop_path_rate",
    "qkv_bias": "qkv_bias",
    "num_register_tokens": "reg_tokens",
    "use_mask_token": "mask_token",
    "use_relative_position_bias": "use_rel_pos_bias",
    "use_shared_relative_position_bias": "use_shared_rel_pos_bias",
    "layer_scale_init_value": "init_values",
    "layerscale_value": "init_values",
    "mask_ratio": "mask_ratio",
}
_ACTIVATIONS = {word: name for name, row in ACTIVATIONS.items() for word in row.hidden_act}
# keys that save_pretrained always writes, which must be in the file
_REQUIRED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "image_size",
    "patch_size",
)

# PreTrainedConfig's own keys, which describe no layer
FREE_KEYS = frozenset({
    # bookkeeping
    "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "model_type",
    "architectures", "dtype", "torch_dtype", "_attn_implementation",
    "_attn_implementation_autoset", "attn_implementation", "torchscript", "use_bfloat16",
    "tf_legacy_loss", "tokenizer_class", "finetuning_task", "task_specific_params",
    # initial values, and the norms' epsilon
    "initializer_range", "initializer_factor", "layer_norm_eps",
    # labels; their number is read separately
    "id2label", "label2id", "num_labels", "problem_type",
    # outputs beside the result
    "output_attentions", "output_hidden_states", "return_dict", "use_cache",
    # how the model is trained, which a scenario says
    "gradient_checkpointing",
    # text, and generating it
    "tie_word_embeddings", "bos_token_id", "pad_token_id", "eos_token_id", "sep_token_id",
    "prefix", "decoder_start_token_id", "max_length", "min_length", "do_sample",
    "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id",
    "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
    "suppress_tokens", "begin_suppress_tokens",
})  # fmt: skip
# PreTrainedConfig's own keys that change the model
GENERAL: Mapping[str, tuple[Any, str]] = {
    "is_encoder_decoder": (False, "an image encoder has no decoder"),
    "is_decoder": (False, "an image encoder has no decoder"),
    "add_cross_attention": (False, "an image encoder has no decoder"),
    "cross_attention_hidden_size": (None, "an image encoder has no decoder"),
    "tie_encoder_decoder": (False, "an image encoder has no decoder"),
    "pruned_heads": ({}, "pruned heads have no formula here"),
    "chunk_size_feed_forward": (0, "a chunked MLP has no formula here"),
}
_NOTES: Mapping[str, str] = {"ViTMAEForPreTraining": ", its encoder alone"}
# transformers assumes 2 labels if a file names none
_LABELS = 2


def reads_images(data: Values) -> bool:
    """Whether a ``config.json`` describes an image model, or the image tower of two."""
    kind = data["model_type"]
    if not isinstance(kind, str):
        raise ConfigError(f"model_type must be text, got {shown(kind)}")
    tower = kind in TOWERS and architecture(data) in FAMILIES[TOWERS[kind]].classes
    return tower or kind in FAMILIES


def described(data: Values) -> Described:
    """The fields of the ``config.json`` of an image model, for the class that ``architectures``
    names.

    >>> described({"model_type": "vit"})
    Traceback (most recent call last):
    vitcost.errors.ConfigError: hidden_size is missing; transformers would take 768
    """
    kind = data["model_type"]
    if kind not in FAMILIES:
        return of_class(TOWERS[kind], architecture(data), *tower_table(data, "vision"))
    family = FAMILIES[kind]
    name = architecture(data) or next(iter(family.classes))
    for key in _REQUIRED:
        if key in family.keys and key not in data:
            raise ConfigError(f"{key} is missing; transformers would take {family.keys[key]}")
    bare = of_class(kind, name, data)
    if data.get("architectures") is None:
        return bare._replace(source=f"{bare.source}; no architectures, so the bare model")
    return bare


def of_class(kind: str, name: str, data: Values, path: str = "") -> Described:
    """The fields of one class of a ``model_type``; ``path`` leads to the table in its file."""
    family = FAMILIES[kind]
    need_covered(name, family.classes)
    check_keys(data, {*family.keys, *family.free, *FREE_KEYS}, {**GENERAL, **family.fixed}, path)
    values = typed_values(family.keys, data, path)
    left_out = [key for key in family.keys if key not in data]
    fields: dict[str, Any] = {_NAMES[key]: values[key] for key in values if key in _NAMES}
    fields |= {"qkv_fused": False, "num_classes": 0, "act_layer": activation(values, path)}
    # transformers' convolution drops the pixels beyond the last whole patch
    fields |= {"floor_img_size": True, "code": family.code, **family.fields(values)}
    added = family.classes[name](values)
    if "num_classes" in added and added["num_classes"] is None:
        added["num_classes"] = _labels(data)
        left_out += [] if data.get("id2label") or "num_labels" in data else ["num_labels"]
    fields |= added
    spelled = {field: path + key for key, field in _NAMES.items() if key in values}
    as_field_errors(fields, spelled, ViTConfig)
    note = _NOTES.get(name, "")
    return Described(
        f"{name} of transformers{note}{said(left_out, {**family.keys, 'num_labels': _LABELS})}",
        fields,
    )


def tower_table(data: Values, side: str) -> tuple[Values, str]:
    """The table of one tower in a file of two towers, and the path to that table."""
    check_keys(data, {*_TWO_TOWERS, *FREE_KEYS}, GENERAL, "")
    # in old files of CLIP the dictionary under this key overrules the other one
    name = f"{side}_config_dict"
    if data.get(name) is None or data["model_type"] != "clip":
        name = f"{side}_config"
    if name not in data:
        raise ConfigError(f"{name} is missing")
    table = table_of(data, name)
    kind = f"{data['model_type']}_{side}_model"
    if table.get("model_type", kind) != kind:
        raise ConfigError(f"{name}.model_type must be {kind!r}")
    return table, f"{name}."


_TWO_TOWERS = (
    "vision_config", "text_config", "vision_config_dict", "text_config_dict", "projection_dim",
    "logit_scale_init_value",
)  # fmt: skip


def need_covered(name: str, classes: Collection[str]) -> None:
    """Refuses a class of transformers that is not in ``classes``."""
    if name not in classes:
        covered = ", ".join(classes)
        raise NotCovered(f"architectures: {shown(name)} is not covered; covered: {covered}")


def architecture(data: Values) -> str:
    """The class that a file was saved from; if the file names none, the bare model."""
    names = data.get("architectures")
    if names is None:
        return ""
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise ConfigError(f"architectures must be a list of one name, got {shown(names)}")
    return names[0]


def activation(values: Values, path: str) -> str:
    act = values["hidden_act"]
    if act not in _ACTIVATIONS:
        covered = ", ".join(_ACTIVATIONS)
        raise NotCovered(f"{path}hidden_act {shown(act)} is not covered; covered: {covered}")
    return _ACTIVATIONS[act]


def _labels(data: Values) -> int:
    """The number of classes of the head: a file lists their names."""
    labels, number = data.get("id2label"), data.get("num_labels")
    if labels is not None and not isinstance(labels, dict):
        raise ConfigError(f"id2label must be a table, got {shown(labels)}")
    number = typed("num_labels", None, number)
    if labels is None:
        return _LABELS if number is None else int(number)
    if number is not None and number != len(labels):
        raise ConfigError(f"num_labels is {number}, but id2label names {len(labels)}")
    return len(labels)


def said(left_out: list[str], defaults: Values) -> str:
    """A note on the keys that a file leaves to transformers' defaults."""
    words = [f"{key} {defaults[key]}" for key in left_out if defaults[key] is not None]
    return f"; left to its defaults: {', '.join(words)}" if words else ""
