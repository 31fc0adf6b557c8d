"""The model that a name is compared with: the user's own, timm's if timm is installed, else the
reference."""

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from torch import nn

from vitcost.check.against_torch import Case
from vitcost.check.installed import timm, timm_missing
from vitcost.check.reference import beyond, build
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import ConfigError, NotCovered
from vitcost.zoo import papers
from vitcost.zoo import timm as zoo
from vitcost.zoo.modules import build as build_own
from vitcost.zoo.modules import is_factory

__all__ = ["case_of"]

# fields that have the same name and meaning here and in timm's constructors
_ALIKE = {
    "img_size", "patch_size", "in_chans", "num_classes", "global_pool", "embed_dim", "depth",
    "num_heads", "mlp_ratio", "qkv_bias", "qk_norm", "proj_bias", "init_values", "class_token",
    "no_embed_class", "reg_tokens", "pre_norm", "dynamic_img_size", "dynamic_img_pad", "drop_rate",
    "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
}  # fmt: skip
# fields among these that timm's other classes lack, or name differently
_VIT_ALONE = {"reg_tokens", "proj_bias", "pre_norm"}
_NOT_IN: Mapping[str, set[str]] = {
    "VisionTransformer": set(),
    "Eva": _VIT_ALONE,
    "Beit": {
        *_VIT_ALONE, "qk_norm", "class_token", "no_embed_class", "dynamic_img_size",
        "dynamic_img_pad",
    },
}  # fmt: skip


def case_of(name: str, config: ViTConfig, batch: int, overrides: Mapping[str, Any]) -> Case:
    """The witness for a config that was made from ``name`` and ``overrides``.

    Raises ``NotCovered`` if neither timm nor the reference has the model.

    >>> case_of("custom", ViTConfig(), 1, {}).against
    'reference'
    """
    # timm's modules have the paths that the formulas use
    is_own = is_factory(name) and not overrides
    if is_own and type(build_own(name)).__module__.startswith("timm.models."):
        return Case(config, batch, partial(_users, name), name)
    of_timm = name not in papers.MODELS and zoo.lookup(name) is not None
    # images of another size are an input of the model, not an argument of its constructor
    fed = {"dynamic_img_size": config.dynamic_img_size} if "input_size" in overrides else {}
    built = {**fed, **{key: value for key, value in overrides.items() if key != "input_size"}}
    alike = built.keys() <= _ALIKE - _NOT_IN[config.model_class]
    without = timm_missing() if of_timm and alike else ""
    if of_timm and alike and not without:
        timms = zoo.RENAMED.get(name, name)
        arguments = built if "." in timms else {"num_classes": 1000, **built}
        provider = partial(_build, timms, arguments)
        return Case(config, batch, provider, f"timm {version('timm')}")
    missing = beyond(config)
    if missing:
        hint = f"; timm's own model is checked where there is one, but {without}"
        reason = f"the reference model has no {', '.join(missing)}"
        raise NotCovered(reason + (hint if without else ""))
    left_out = (f"timm's own model: {without}",) if without else ()
    return Case(config, batch, build, left_out=left_out)


def _users(name: str, config: ViTConfig, fused: bool) -> nn.Module:
    """The module that the user's factory builds."""
    return _with_attention(build_own(name), fused)


def _build(name: str, arguments: Mapping[str, Any], config: ViTConfig, fused: bool) -> nn.Module:
    """timm's model, built from its name alone, and compared with the config."""
    try:
        model: nn.Module = timm().create_model(name, pretrained=False, **arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"timm does not build {name} with {dict(arguments)}: {error}") from error
    return _with_attention(model, fused)


def _with_attention(model: nn.Module, fused: bool) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            setattr(module, "fused_attn", fused)  # noqa: B010 - torch types a module's attributes
    return model.eval()
