"""Models that a file describes: it is read as data, within limits, and never executed."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from vitcost.config.vit_config import FIELDS, RATIOS, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError, nearest, shown
from vitcost.outside.reading import MODEL, MODEL_TOML, exists, read_json, read_toml
from vitcost.zoo.keys import Described

__all__ = ["described", "is_path", "read"]

# keys that a file in vitcost's own format must have, unless it names a base
_REQUIRED = ("img_size", "patch_size", "embed_dim", "depth", "num_heads")


def is_path(model: str) -> bool:
    """Whether a text that is not a known name looks like a path."""
    return _suffix(model) in (".json", ".toml") or exists(model)


def _suffix(path: str) -> str:
    # importing pathlib would take a tenth of a start
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def described(path: str, base: Callable[[str], Described]) -> Described:
    """The fields in a file of Hugging Face, of open_clip, or of vitcost's own format.

    ``base`` finds the fields of a model by its name. Raises ``ConfigError`` or ``NotCovered`` with
    the path of the file and of the key.
    """
    data = read(path)
    try:
        for key, load in _KINDS.items():
            if key in data:
                return _from(path, load(data, base))
        return _from(path, _own(data, base))
    except NotCovered as error:
        raise NotCovered(f"{path}: {error}") from None
    except VitcostError as error:
        raise ConfigError(f"{path}: {error}") from None


def read(path: str) -> dict[str, Any]:
    """The table in a ``.json`` or ``.toml`` file.

    >>> read("no/such/config.json")
    Traceback (most recent call last):
    vitcost.outside.reading.NoSuchFile: no/such/config.json: no such file
    """
    suffix = _suffix(path)
    if suffix not in (".json", ".toml") and os.path.isfile(path):  # noqa: PTH113
        raise ConfigError(f"{path}: a model's file ends in .json or .toml")
    data = read_toml(path, MODEL_TOML) if suffix == ".toml" else read_json(path, MODEL)
    if not data:
        raise ConfigError(f"{path}: holds no keys")
    return data


def _from(path: str, read: Described) -> Described:
    return read._replace(source=f"{path}: {read.source}")


def _own(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    """A file with fields of ``ViTConfig``: all of them, or those that differ from ``base``."""
    allowed = (*FIELDS, *RATIOS, "base")
    for key in data:
        if key not in allowed:
            guesses = [f"did you mean {guess!r}?" for guess in nearest(key, allowed, 1)]
            kinds = " or ".join(repr(kind) for kind in _KINDS)
            guess = guesses or [f"other files are told by {kinds}"]
            raise ConfigError(f"unknown key {shown(key)}; {guess[0]}")
    fields = {key: value for key, value in data.items() if key != "base"}
    if "base" not in data:
        for key in _REQUIRED:
            if key not in data:
                raise ConfigError(f"{key} is missing; an own file gives it, or a base")
        configure(fields)
        return Described("fields", fields)
    if not isinstance(data["base"], str):
        raise ConfigError(f"base must be a model's name, got {shown(data['base'])}")
    try:
        below = base(data["base"])
    except UnknownName as error:
        raise ConfigError(f"base: {error}") from None
    # a ratio in the file replaces the width of the base
    replaced = {ratio.replace("ratio", "dim") for ratio in RATIOS if ratio in fields}
    merged = {key: value for key, value in below.fields.items() if key not in replaced} | fields
    configure(merged)
    return Described(
        f"fields on top of {data['base']} ({below.source})", merged, any_size=below.any_size
    )


def _transformers(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    # each kind of file is read without importing the readers of other kinds
    from vitcost.zoo import huggingface

    if huggingface.reads_images(data):
        return huggingface.described(data)
    from vitcost.zoo import huggingface_text

    return huggingface_text.described(data)


def _open_clip(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    from vitcost.zoo import open_clip

    return open_clip.described(data, base)


def _timm(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    from vitcost.zoo.timm.hub import described

    return described(data, base)


def _reported(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    """The model of a saved report, from the config in it."""
    model = data.get("model")
    if data["schema"] != _REPORT or not isinstance(model, dict):
        raise ConfigError(
            f"schema {shown(data['schema'])} holds no model; {_REPORT} and vitcost.trace/1 do"
        )
    config = model.get("config")
    if model.get("basis") != "formula":
        raise NotCovered("a report of a traced module holds no trace; `vitcost trace` writes one")
    if not isinstance(config, dict) or "vision" in config or "vocab_size" in config:
        raise NotCovered("a saved report of a model that reads text: give the model's name")
    return _own(config, base)._replace(source=f"saved report of {shown(model.get('name'))}")


_REPORT = "vitcost.report/1"
# the key by which the kind of a file is recognized
_KINDS: Mapping[str, Callable[[Mapping[str, Any], Callable[[str], Described]], Described]] = {
    "model_type": _transformers,
    "vision_cfg": _open_clip,
    "model_cfg": _open_clip,
    "architecture": _timm,
    "schema": _reported,
}
