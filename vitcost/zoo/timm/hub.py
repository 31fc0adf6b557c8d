"""The ``config.json`` that the hub has for timm's weights, read as timm reads it.

Source: timm 1.0.31, ``models/_hub.py: _parse_model_cfg``, ``models/_builder.py:
_update_default_model_kwargs``: an argument saved in the file overrules the one in the
architecture's own function, and that overrules ``pretrained_cfg``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vitcost.config.vit_config import configure, merged
from vitcost.errors import ConfigError, NotCovered, UnknownName, shown
from vitcost.zoo.keys import Described, check_keys, table_of, typed
from vitcost.zoo.timm.args import drops_rest, saved_fields

__all__ = ["described", "is_sized"]

_KEYS = {"architecture": "", "num_classes": 1000, "num_features": 768, "global_pool": ""}
_TABLES = ("pretrained_cfg", "model_args")
_FREE = ("label_names", "label_descriptions")
# words in the names of architectures whose own function sets their img_size
_SIZED = (
    "beit_base_patch16_384", "beit_large_patch16_384", "beit_large_patch16_512",
    "beit3_giant_patch14_336", "eva02_", "_rope_reg1_gap_256", "_rope_reg4_gap_256", "_radio_",
    "vitamin_large_256", "vitamin_large_336", "vitamin_large_384", "vitamin_large2_256",
    "vitamin_large2_336", "vitamin_large2_384", "vitamin_xlarge_",
)  # fmt: skip
# the default image size of timm's classes
_SIZE = 224


def described(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    """The fields of the model that timm builds from the file; ``base`` finds the fields of an
    architecture.

    Raises ``NotCovered`` for an architecture or an argument that no formula describes.
    """
    check_keys(data, {*_KEYS, *_TABLES, *_FREE}, {}, "")
    keys = {key: typed(key, _KEYS[key], value) for key, value in data.items() if key in _KEYS}
    tables = {key: {} if data.get(key) is None else data[key] for key in _TABLES}
    pretrained, args = (table_of(tables, key) for key in _TABLES)
    name = keys["architecture"]
    try:
        below = base(name)
    except (NotCovered, UnknownName) as error:
        raise NotCovered(f"architecture: {error}") from None
    fields = {k: v for k, v in keys.items() if k in ("num_classes", "global_pool")}
    any_size = args.get("dynamic_img_size") or args.get("strict_img_size") is False
    fields |= _of_input(pretrained, is_sized(name), not any_size)
    fields |= saved_fields(below.fields, args, "model_args.")
    fields_now = merged(below.fields, fields)
    if drops_rest(fields_now):
        fields["floor_img_size"] = True
    config = configure(below.fields, **fields)
    if keys.get("num_features", config.embed_dim) != config.embed_dim:
        raise ConfigError(f"num_features is {keys['num_features']}, not {config.embed_dim}")
    return below._replace(fields=merged(below.fields, fields))


def _of_input(pretrained: Mapping[str, Any], sized: bool, may_fix: bool) -> dict[str, Any]:
    """The images of a ``pretrained_cfg``: their channels, and their size if it is fixed; else the
    default size of timm's classes."""
    fixed = may_fix and pretrained.get("fixed_input_size", False)
    size = pretrained.get("input_size")
    if size is None:
        return {} if sized else {"img_size": _SIZE}
    whole = isinstance(size, list) and len(size) == 3
    if not whole or not all(type(n) is int and n > 0 for n in size):
        raise ConfigError(f"pretrained_cfg.input_size must be [C, H, W], got {shown(size)}")
    channels = {"in_chans": size[0]}
    return channels if sized else {**channels, "img_size": tuple(size[1:]) if fixed else _SIZE}


def is_sized(name: str) -> bool:
    """Whether the function of an architecture sets its own ``img_size``.

    >>> is_sized("eva02_tiny_patch14_224"), is_sized("vit_small_patch14_dinov2")
    (True, False)
    """
    return any(word in name for word in _SIZED)
