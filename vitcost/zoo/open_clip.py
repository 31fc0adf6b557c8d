"""open_clip's model JSON: the vision tower as fields of a ``ViTConfig``, with its projection as the
head; or both towers.

Keys and defaults are those of open_clip 3.3, ``model.py: CLIPVisionCfg`` and
``timm_model.py: TimmModel``.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from vitcost.config.vit_config import ViTConfig, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName, shown
from vitcost.zoo.keys import Described, as_field_errors, check_keys, table_of, typed, typed_values

__all__ = ["described"]

Values: TypeAlias = Mapping[str, Any]
Base: TypeAlias = Callable[[str], Described]

_TOP: Values = {"embed_dim": 512, "quick_gelu": False}
_TOP_FREE = (
    "vision_cfg", "text_cfg", "multimodal_cfg", "custom_text", "init_logit_scale",
    "init_logit_bias", "nonscalar_logit_scale", "output_dict", "cast_dtype",
)  # fmt: skip
# keys that decide the tower, with open_clip's defaults
_VISION: Values = {
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "image_size": 224,
    "no_ln_pre": False,
    "final_ln_after_pool": False,
    "pool_type": "tok",
    "pos_embed_type": "learnable",
    "qk_norm": False,
    "scale_attn_inner": False,
    "scale_fc": False,
}
_NO_FORMULA = "nothing here describes it"
_VISION_FIXED: Mapping[str, tuple[Any, str]] = {
    "patch_dropout": (0.0, _NO_FORMULA),
    "attentional_pool": (False, _NO_FORMULA),
    "scaled_cosine_attn": (False, _NO_FORMULA),
    "scale_heads": (False, _NO_FORMULA),
    "scale_attn": (False, _NO_FORMULA),
    "act_kwargs": (None, _NO_FORMULA),
}
_VISION_FREE = (
    "ls_init_value", "block_type", "norm_kwargs", "output_tokens", "attn_pooler_queries",
    "attn_pooler_heads", "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj",
    "timm_proj_bias", "timm_drop", "timm_drop_path",
)  # fmt: skip
_REQUIRED = ("layers", "width", "patch_size", "image_size")
_TIMM: Values = {"timm_pool": "avg", "timm_proj_bias": False, "timm_drop": 0.0}
_POOLS = {"tok": "token", "avg": "avg", "none": ""}
_POSITIONS = {"learnable": "learn", "sin_cos_2d": "fixed"}
# a field of the config, and the key that has its value, or from which it is computed
_KEYS = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "layers",
    "mlp_dim": "mlp_ratio",
    "num_heads": "head_width",
}


def described(data: Values, base: Base) -> Described:
    """The towers of a model JSON, or of an ``open_clip_config.json`` that contains one; without a
    ``text_cfg`` only the vision tower.

    >>> tower = {"layers": 12, "width": 768, "patch_size": 32, "image_size": 224}
    >>> described({"embed_dim": 512, "vision_cfg": tower}, base=None).fields["num_classes"]
    512
    """
    path = ""
    if "model_cfg" in data:
        check_keys(data, {"model_cfg", "preprocess_cfg"}, {}, "")
        data, path = table_of(data, "model_cfg"), "model_cfg."
    check_keys(data, {*_TOP, *_TOP_FREE}, {}, path)
    for key in ("embed_dim", "vision_cfg"):
        if key not in data:
            raise ConfigError(f"{path}{key} is missing")
    top = typed_values(_TOP, data, path)
    vision = table_of(data, "vision_cfg", path)
    tower = _vision(vision, top, base, path + "vision_cfg.")
    if "text_cfg" not in data:
        return tower
    # imported only if there is a text tower
    from vitcost.zoo.open_clip_text import both, text_tower

    bias = data.get("init_logit_bias") is not None
    try:
        text = text_tower(
            table_of(data, "text_cfg", path),
            top["embed_dim"],
            top["quick_gelu"],
            path + "text_cfg.",
        )
        if data.get("multimodal_cfg") is not None:
            raise NotCovered(
                f"{path}multimodal_cfg: a decoder over both towers has no formula here"
            )
        config = both(tower.fields, text, bias)
    except NotCovered as error:
        return tower._replace(lacks=str(error))
    return tower._replace(source=tower.source.removeprefix("vision tower of "), text=config)


def _vision(vision: Values, top: Values, base: Base, path: str) -> Described:
    check_keys(vision, {*_VISION, *_VISION_FREE}, _VISION_FIXED, path)
    if vision.get("timm_model_name") is not None:
        return _timm(vision, top["embed_dim"], base, path)
    return _own(vision, top, path)


def _own(vision: Values, top: Values, path: str) -> Described:
    """open_clip's VisionTransformer."""
    for key in _REQUIRED:
        if key not in vision:
            raise ConfigError(f"{path}{key} is missing; open_clip would take {_VISION[key]}")
    if isinstance(vision["layers"], list):
        raise NotCovered(f"not covered: ModifiedResNet, which {path}layers asks for by its list")
    v = typed_values(_VISION, vision, path)
    for key, table in (("pool_type", _POOLS), ("pos_embed_type", _POSITIONS)):
        if v[key] not in table:
            allowed = ", ".join(table)
            raise ConfigError(f"{path}{key} must be one of {allowed}, got {shown(v[key])}")
    if v["pos_embed_type"] == "sin_cos_2d" and len(set(v["image_size"])) > 1:
        raise ConfigError(f"{path}pos_embed_type sin_cos_2d needs a square image")
    if v["head_width"] < 1:
        raise ConfigError(f"{path}head_width must be at least 1, got {v['head_width']}")
    special = v["qk_norm"] or v["scale_attn_inner"] or v["scale_fc"]
    if special and vision.get("block_type") == "default":
        raise NotCovered(f"{path}block_type 'default' has no use for the norms that are asked for")
    fields = {
        **{field: v[key] for field, key in _KEYS.items()},
        "code": "open_clip",
        "floor_img_size": True,
        "patch_bias": False,
        "pre_norm": not v["no_ln_pre"],
        "num_heads": v["width"] // v["head_width"],
        "mlp_dim": int(v["width"] * v["mlp_ratio"]),
        "qk_norm": v["qk_norm"],
        "scale_attn_norm": v["scale_attn_inner"],
        "scale_mlp_norm": v["scale_fc"],
        "act_layer": "quick_gelu" if top["quick_gelu"] else "gelu",
        "init_values": _layer_scale(vision, path),
        "pos_embed": _POSITIONS[v["pos_embed_type"]],
        "global_pool": _POOLS[v["pool_type"]],
        "fc_norm": v["final_ln_after_pool"],
        "num_classes": top["embed_dim"],
        "head_bias": False,
    }
    as_field_errors(fields, {field: path + key for field, key in _KEYS.items()}, ViTConfig)
    return Described("vision tower of open_clip", fields)


def _layer_scale(vision: Values, path: str) -> float | None:
    value = vision.get("ls_init_value")
    # a layer scale exists even if its initial value is 0
    return None if value is None else typed(path + "ls_init_value", 0.0, value) or 1.0


def _timm(vision: Values, width: int, base: Base, path: str) -> Described:
    """A timm model, followed by open_clip's projection."""
    name = typed(path + "timm_model_name", "", vision["timm_model_name"])
    try:
        source, below, *_ = base(name)
    except (NotCovered, UnknownName) as error:
        raise NotCovered(f"{path}timm_model_name: {error}") from None
    v = typed_values(_TIMM, vision, path)
    config = configure(below)
    size = vision.get("image_size", config.img_size)
    if typed(path + "image_size", 224, size) != config.img_size:
        raise NotCovered(f"{path}image_size {size}: open_clip builds {name} at its own size")
    fields = {**below, "drop_rate": v["timm_drop"]}
    if vision.get("timm_drop_path") is not None:
        rate = typed(path + "timm_drop_path", 0.0, vision["timm_drop_path"])
        fields["drop_path_rate"] = rate
    proj = vision.get("timm_proj", "linear")
    if proj == "linear":
        if v["timm_pool"] not in ("", config.global_pool):
            raise NotCovered(f"{path}timm_pool {shown(v['timm_pool'])} in place of {name}'s own")
        fields |= {"num_classes": width, "head_bias": v["timm_proj_bias"]}
    elif proj in (None, "", "none"):
        fields |= {"num_classes": 0 if proj else width, "global_pool": v["timm_pool"]}
    else:
        raise NotCovered(f"{path}timm_proj {shown(proj)}; covered: linear, none, null")
    as_field_errors(fields, {}, ViTConfig)
    return Described(f"vision tower of open_clip, {name} ({source})", fields)
