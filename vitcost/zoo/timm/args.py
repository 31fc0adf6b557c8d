"""timm's constructor arguments as fields of a ``ViTConfig``, with timm's semantics."""

from collections.abc import Callable, Mapping
from typing import Any

from vitcost.config.fields import checked
from vitcost.config.vit_config import FIELDS, RATIOS
from vitcost.errors import NotCovered, UnknownName

__all__ = ["CLASSES", "drops_rest", "fields_of", "saved_fields"]

# timm's names of fields that have another name here
_NAMES: Mapping[str, str] = {
    "num_reg_tokens": "reg_tokens",
    "use_pre_transformer_norm": "pre_norm",
    "use_post_transformer_norm": "final_norm",
    "use_fc_norm": "fc_norm",
    "scale_mlp": "scale_mlp_norm",
    "scale_attn_inner": "scale_attn_norm",
    "attn_type": "attn_layer",
}
# arguments that change values, but no number that is counted
_FREE = {
    "weight_init", "fix_init", "head_init_scale", "device", "dtype", "ref_feat_shape",
    "rope_grid_offset", "rope_grid_indexing", "rope_temperature", "rope_rotate_half",
    "rope_shift_coords", "rope_jitter_coords", "rope_rescale_coords", "rope_mrope_section",
}  # fmt: skip
# arguments for which only these values are covered
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "embed_layer": (None, "PatchEmbed"),
    "patch_drop_rate": (0, None),
}
_NO_NAME = {
    "norm_layer": "layernorm",
    "act_layer": "gelu",
    "attn_layer": "attn",
    "pos_embed": "none",
}


def fields_of(model_class: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the model that ``model_class(**kwargs)`` builds; layers are given by name.

    ``model_class`` is VisionTransformer, VisionTransformerDistilled, Eva or Beit. Raises
    ``UnknownName`` for an argument that the class does not have, ``NotCovered`` for an argument
    that no field describes.

    >>> fields_of("Eva", {"embed_dim": 192, "num_heads": 3, "swiglu_mlp": True})["mlp_layer"]
    'SwiGLUPacked'
    """
    if model_class not in CLASSES:
        raise NotCovered(f"not covered: {model_class}; allowed: {', '.join(CLASSES)}")
    for name, allowed in _FIXED.items():
        if kwargs.get(name) not in allowed:
            raise NotCovered(f"not covered: {name}={kwargs[name]!r}")
    args = {
        _NAMES.get(name, name): value
        for name, value in kwargs.items()
        if name not in _FREE and name not in _FIXED
    }
    fields = CLASSES[model_class](args)
    for name in fields:
        if name not in FIELDS and name not in RATIOS:
            raise UnknownName(
                f"argument of {model_class}", name, [*FIELDS, *RATIOS, *_NAMES, *_FREE]
            )
    for name, default in _NO_NAME.items():
        if name in fields and fields[name] in ("", None):
            fields[name] = default
    if drops_rest(fields):
        fields["floor_img_size"] = True
    return {"scale_query": True, **fields}


# constructor arguments that a file may save next to its architecture
_SAVED = (
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth",
    "num_heads", "mlp_ratio", "qkv_bias", "qk_norm", "proj_bias", "init_values", "class_token",
    "no_embed_class", "reg_tokens", "pre_norm", "final_norm", "fc_norm", "dynamic_img_size",
    "dynamic_img_pad", "pool_include_prefix", "drop_rate", "pos_drop_rate", "proj_drop_rate",
    "attn_drop_rate", "drop_path_rate", "scale_attn_norm", "scale_mlp_norm",
)  # fmt: skip


def saved_fields(
    below: Mapping[str, Any], kwargs: Mapping[str, Any], path: str = ""
) -> dict[str, Any]:
    """The arguments that a file saves for an architecture, as fields that replace the
    architecture's own.

    >>> saved_fields({}, {"img_size": 384, "num_reg_tokens": 4})
    {'img_size': (384, 384), 'reg_tokens': 4}
    """
    fields: dict[str, Any] = {}
    for name, value in kwargs.items():
        field = _NAMES.get(name, name)
        plain = value is None or isinstance(value, bool | int | float | str | list)
        if name in _FREE or name == "strict_img_size":
            continue
        if name in _FIXED and value in _FIXED[name]:
            continue
        if field not in _SAVED or not plain:
            raise NotCovered(f"{path}{name} {value!r:.40} has no field here")
        fields[field] = checked(field, *FIELDS[field], value) if field in FIELDS else value
    if below.get("mlp_layer") == "SwiGLU" and "mlp_ratio" in fields:
        raise NotCovered(f"{path}mlp_ratio of a gate whose layers are apart")
    return fields


def _vision_transformer(args: dict[str, Any]) -> dict[str, Any]:
    embed_norm = args.pop("embed_norm_layer", None)
    if embed_norm is not None:
        if embed_norm != (args.get("norm_layer") or "layernorm"):
            raise NotCovered(f"not covered: embed_norm_layer={embed_norm!r} beside another norm")
        args["patch_norm"] = True
    if "Scaling" in args.get("block_fn", ""):
        # these blocks accept the arguments but do not use them
        args.pop("mlp_layer", None)
        args.pop("attn_layer", None)
    return args


def _distilled(args: dict[str, Any]) -> dict[str, Any]:
    return {**_vision_transformer(args), "dist_token": True}


def _eva(args: dict[str, Any]) -> dict[str, Any]:
    rope_type = args.pop("rope_type", "cat")
    fields = {
        "model_class": "Eva",
        "global_pool": "avg",
        "attn_layer": "eva",
        "pos_embed": "learn" if args.pop("use_abs_pos_emb", True) else "none",
        "rope_type": rope_type if args.pop("use_rot_pos_emb", False) else "none",
    }
    align_to = args.pop("swiglu_align_to", 0)
    if args.pop("use_post_norm", False):
        fields["block_fn"] = "ResPostBlock"
        align_to = align_to if args.get("scale_mlp_norm") else 0
    if args.pop("swiglu_mlp", False):
        # one layer for the gate and one for its input, if a norm or an alignment of widths needs
        # two
        split = args.get("scale_mlp_norm") or align_to
        fields.update(mlp_layer="SwiGLU" if split else "SwiGLUPacked", act_layer="silu")
        fields.update(swiglu_align_to=align_to)
    return {**fields, **args}


def _beit(args: dict[str, Any]) -> dict[str, Any]:
    fields = {
        "model_class": "Beit",
        "global_pool": "avg",
        "attn_layer": "eva",
        "pos_embed": "learn" if args.pop("use_abs_pos_emb", True) else "none",
    }
    if args.pop("swiglu_mlp", False):
        fields.update(mlp_layer="SwiGLU", act_layer="silu")
    return {**fields, **args}


CLASSES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "VisionTransformer": _vision_transformer,
    "VisionTransformerDistilled": _distilled,
    "Eva": _eva,
    "Beit": _beit,
}


def drops_rest(fields: Mapping[str, Any]) -> bool:
    """Whether the patches leave a rest of the image that no layer reads."""
    sizes = (fields.get(name, default) for name, default in (("img_size", 224), ("patch_size", 16)))
    (H, W), (p_h, p_w) = ((n, n) if isinstance(n, int) else tuple(n) for n in sizes)
    rest = H % p_h or W % p_w
    return bool(rest and not (fields.get("dynamic_img_size") or fields.get("backbone")))
