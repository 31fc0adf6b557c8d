"""The keys of a ``config.json`` that transformers' ViTs read, by ``model_type``.

Keys, classes and defaults are those of transformers 5.23: ``models/*/configuration_*.py`` and
``models/*/modeling_*.py``.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from vitcost.errors import NotCovered, shown
from vitcost.zoo.keys import Fixed

__all__ = ["FAMILIES", "TOWERS", "Family"]

Values: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = Callable[[Values], dict[str, Any]]


class Family(NamedTuple):
    """A ``model_type``: its keys and its classes; the first class is the bare model.

    ``keys`` have transformers' defaults. ``fields`` computes the fields that all classes share,
    apart from keys that are a field with another name; ``free`` keys change no parameter and no
    FLOP.
    """

    keys: Values
    classes: Mapping[str, Fields]
    fields: Fields
    fixed: Fixed = MappingProxyType({})
    free: tuple[str, ...] = ()
    code: str = "transformers"  # the library whose forward its classes run


def _vit(values: Values) -> dict[str, Any]:
    """Dropout after the embedding, the projection and the MLP, but not inside the MLP."""
    rate = values["hidden_dropout_prob"]
    return {"pos_drop_rate": rate, "proj_drop_rate": rate, "act_drop_rate": 0.0}


def _vit_mae(values: Values) -> dict[str, Any]:
    # sines and cosines, which do not train
    return {**_vit(values), "pos_drop_rate": 0.0, "pos_embed": "fixed"}


def _deit(values: Values) -> dict[str, Any]:
    # a distillation token that no head reads counts as a register
    return {**_vit(values), "reg_tokens": 1}


def _beit(values: Values) -> dict[str, Any]:
    """BEiT: no key bias; its one norm comes after the pool if patches are pooled."""
    pooled = values["use_mean_pooling"]
    return {
        **_vit(values),
        "model_class": "Beit",
        "attn_layer": "eva",
        "pos_embed": "learn" if values["use_absolute_position_embeddings"] else "none",
        "global_pool": "avg" if pooled else "token",
        "fc_norm": pooled,
        "interpolate_pos_encoding": "same",
        "init_values": max(values["layer_scale_init_value"], 0.0),
    }


def _dinov2(values: Values) -> dict[str, Any]:
    """DINOv2: dropout only after the embedding; a gated MLP has two thirds of the width."""
    fields = {
        "pos_drop_rate": values["hidden_dropout_prob"],
        "interpolate_pos_encoding": "float32",
        # a layer scale exists even if its initial value is 0
        "init_values": values["layerscale_value"] or 1.0,
    }
    width = int(values["hidden_size"] * values["mlp_ratio"])
    if not values["use_swiglu_ffn"]:
        return {**fields, "mlp_dim": width}
    two_thirds = (int(width * 2 / 3) + 7) // 8 * 8
    return {**fields, "mlp_layer": "SwiGLU", "act_layer": "silu", "mlp_dim": two_thirds}


def _dinov2_with_registers(values: Values) -> dict[str, Any]:
    # the model always has a mask token; its registers get no position
    return {**_dinov2(values), "mask_token": True, "no_embed_reg": True}


def _dinov3(values: Values) -> dict[str, Any]:
    """DINOv3: rotary positions; the class of the attention follows from which of q, k and v have a
    bias."""
    biases = tuple(values[f"{name}_bias"] for name in ("query", "key", "value"))
    if biases not in _DINOV3_BIASES:
        raise NotCovered(f"query_bias, key_bias, value_bias {biases} are not covered")
    if values["mlp_bias"] != values["proj_bias"]:
        raise NotCovered("mlp_bias unlike proj_bias is not covered")
    return {
        **_DINOV3_BIASES[biases],
        "proj_bias": values["proj_bias"],
        "mlp_layer": "SwiGLU" if values["use_gated_mlp"] else "Mlp",
        "pos_embed": "none",
        "rope_type": "dinov3",
        "interpolate_pos_encoding": "same",
        "mask_token": True,
        "init_values": values["layerscale_value"] or 1.0,
    }


_DINOV3_BIASES: Mapping[tuple[bool, bool, bool], dict[str, Any]] = {
    (True, False, True): {"attn_layer": "eva"},
    (True, True, True): {},
    (False, False, False): {"qkv_bias": False},
}


def _always(**fields: Any) -> Fields:
    """Fields that no key decides."""
    return lambda values: dict(fields)


# CLIP: a norm before the blocks, and another after the class token is taken
_clip = _always(pre_norm=True, fc_norm=True)


def _siglip(values: Values) -> dict[str, Any]:
    """SigLIP: no class token; the head is an attention pool with an MLP."""
    fields: dict[str, Any] = {"class_token": False, "global_pool": ""}
    if values["vision_use_head"]:
        width = values["intermediate_size"]
        fields |= {"global_pool": "map", "attn_pool_mlp_dim": width}
    return fields


def _pooler(values: Values) -> dict[str, Any]:
    """A linear layer and tanh on the class token, with no head after them."""
    if values["pooler_act"] != "tanh":
        raise NotCovered(f"pooler_act must be 'tanh', got {shown(values['pooler_act'])}")
    return {"representation_size": values["pooler_output_size"] or values["hidden_size"]}


_bare, _classifier = _always(), _always(num_classes=None)
_two_classifiers = _always(num_classes=None, reg_tokens=0, dist_token=True)
_wide_classifier = _always(num_classes=None, global_pool="token_avg")


def _projection(values: Values) -> dict[str, Any]:
    return {"num_classes": values["projection_dim"], "head_bias": False}


def _unpooled(values: Values) -> dict[str, Any]:
    """Data2Vec without its pooler; when patches are pooled, the norm belongs to the pooler."""
    return {"global_pool": "", "fc_norm": False, "final_norm": not values["use_mean_pooling"]}


_CONSTANT_DROP_PATH = (
    0.0,
    "transformers drops every block's path at this one rate, which nothing here describes",
)
_TRUNK: Values = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "hidden_act": "gelu",
}
_VIT: Values = {
    **_TRUNK,
    "intermediate_size": 3072,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_POOLER: Values = {"pooler_output_size": None, "pooler_act": "tanh"}
_BEIT: Values = {
    **_VIT,
    "use_mask_token": False,
    "use_absolute_position_embeddings": False,
    "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False,
    "layer_scale_init_value": 0.1,
    "drop_path_rate": 0.1,
    "use_mean_pooling": True,
}
_DINOV2: Values = {
    **_TRUNK,
    "mlp_ratio": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
}
_CLIP: Values = {**_TRUNK, "intermediate_size": 3072, "attention_dropout": 0.0}
_BACKBONE = (
    "out_features", "out_indices", "_out_features", "_out_indices", "stage_names",
    "apply_layernorm", "reshape_hidden_states",
)  # fmt: skip
_SEGMENTER = (
    "vocab_size", "pool_scales", "use_auxiliary_head", "auxiliary_loss_weight",
    "auxiliary_channels", "auxiliary_num_convs", "auxiliary_concat_input",
    "semantic_loss_ignore_index", "segmentation_indices", "add_fpn",
)  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    "vit": Family(
        {**_VIT, "qkv_bias": True, **_POOLER},
        {"ViTModel": _pooler, "ViTForImageClassification": _classifier},
        _vit,
        free=("encoder_stride",),
    ),
    "vit_mae": Family(
        {**_VIT, "qkv_bias": True, "mask_ratio": 0.75},
        # the decoder of pretraining is left out
        {"ViTMAEModel": _bare, "ViTMAEForPreTraining": _bare},
        _vit_mae,
        free=(
            "decoder_num_attention_heads",
            "decoder_hidden_size",
            "decoder_num_hidden_layers",
            "decoder_intermediate_size",
            "norm_pix_loss",
        ),
    ),
    "vit_msn": Family(
        {**_VIT, "qkv_bias": True},
        {"ViTMSNModel": _bare, "ViTMSNForImageClassification": _classifier},
        _vit,
    ),
    "deit": Family(
        {**_VIT, "qkv_bias": True, **_POOLER},
        {
            "DeiTModel": _pooler,
            "DeiTForImageClassification": _classifier,
            "DeiTForImageClassificationWithTeacher": _two_classifiers,
        },
        _deit,
        free=("encoder_stride",),
    ),
    "beit": Family(
        _BEIT,
        {"BeitModel": _bare, "BeitForImageClassification": _classifier},
        _beit,
        free=(*_SEGMENTER, *_BACKBONE, "encoder_stride"),
        code="transformers.beit",
    ),
    "data2vec-vision": Family(
        _BEIT,
        {"Data2VecVisionModel": _unpooled, "Data2VecVisionForImageClassification": _classifier},
        _beit,
        free=(*_SEGMENTER, *_BACKBONE),
        code="transformers.data2vec",
    ),
    "dinov2": Family(
        {**_DINOV2, "patch_size": 14, "use_mask_token": True},
        {"Dinov2Model": _bare, "Dinov2ForImageClassification": _wide_classifier},
        _dinov2,
        {"drop_path_rate": _CONSTANT_DROP_PATH},
        _BACKBONE,
        code="transformers.dinov2",
    ),
    "dinov2_with_registers": Family(
        {**_DINOV2, "num_register_tokens": 4},
        {
            "Dinov2WithRegistersModel": _bare,
            "Dinov2WithRegistersForImageClassification": _wide_classifier,
        },
        _dinov2_with_registers,
        {"drop_path_rate": _CONSTANT_DROP_PATH},
        # a key in files on the hub that transformers no longer reads: how positions are resampled
        (*_BACKBONE, "interpolate_antialias", "interpolate_offset"),
        code="transformers.dinov2",
    ),
    "dinov3_vit": Family(
        {
            **_TRUNK,
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_attention_heads": 6,
            "attention_dropout": 0.0,
            "query_bias": True,
            "key_bias": False,
            "value_bias": True,
            "proj_bias": True,
            "mlp_bias": True,
            "layerscale_value": 1.0,
            "use_gated_mlp": False,
            "num_register_tokens": 0,
        },
        {"DINOv3ViTModel": _bare},
        _dinov3,
        {"drop_path_rate": _CONSTANT_DROP_PATH},
        (*_BACKBONE, "rope_theta", "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"),
        code="transformers.dinov3",
    ),
    "clip_vision_model": Family(
        {**_CLIP, "patch_size": 32, "hidden_act": "quick_gelu", "projection_dim": 512},
        {"CLIPVisionModel": _bare, "CLIPVisionModelWithProjection": _projection},
        _clip,
        # keys in old files
        {"dropout": (0.0, "transformers has no such dropout any more")},
        # a key of the text tower, in the files of language models
        ("vocab_size",),
        code="transformers.clip",
    ),
    "siglip_vision_model": Family(
        {**_CLIP, "hidden_act": "gelu_pytorch_tanh", "vision_use_head": True},
        {"SiglipVisionModel": _bare},
        _siglip,
        # keys of the language model around the tower
        free=("projection_dim", "projector_hidden_act", "num_image_tokens"),
        code="transformers.siglip",
    ),
}
# files with a vision and a text tower: the model_type of the vision tower
TOWERS: Mapping[str, str] = {
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
}
