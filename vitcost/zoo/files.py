"""Models described by a file: read as data, bounded, never executed."""

import json
import stat
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from vitcost.config import FIELDS, RATIOS, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError, nearest, shown
from vitcost.zoo import huggingface, open_clip
from vitcost.zoo.keys import Described, Fixed, check_keys, typed

__all__ = ["described", "is_path", "read"]

# a config with 21,843 labels takes 2 MB; what is longer is no config
MAX_BYTES = 4 * 2**20
# tomllib takes the square of a dotted key's length
MAX_TOML_BYTES, MAX_TOML_DOTS = 64 * 2**10, 32
# a CLIP's deepest key lies two levels down
MAX_DEPTH = 16
# what an own file must say unless it names a base
_REQUIRED = ("img_size", "patch_size", "embed_dim", "depth", "num_heads")


def is_path(model: str) -> bool:
    """Whether a model that is no name is meant as a file."""
    return Path(model).suffix.lower() in (".json", ".toml") or (
        len(model) < 4096 and "\0" not in model and Path(model).exists()
    )


def described(path: str, base: Callable[[str], Described]) -> Described:
    """The fields that a file gives: Hugging Face's, open_clip's, or ``ViTConfig``'s own.

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
    vitcost.errors.ConfigError: no/such/config.json: no such file
    """
    file = Path(path)
    toml = file.suffix.lower() == ".toml"
    if not toml and file.suffix.lower() != ".json" and file.is_file():
        raise ConfigError(f"{path}: a model's file ends in .json or .toml")
    text = _text(file, path, MAX_TOML_BYTES if toml else MAX_BYTES)
    try:
        data = _parse_toml(text) if toml else _parse_json(text)
        depth = _depth(data)
    except RecursionError:
        depth = MAX_DEPTH + 1
    except ValueError as error:
        kind = "TOML" if toml else "JSON"
        raise ConfigError(f"{path}: not {kind}: {str(error).strip()}") from None
    if depth > MAX_DEPTH:
        raise ConfigError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds {shown(data)}, not a table of keys")
    if not data:
        raise ConfigError(f"{path}: holds no keys")
    return data


def _text(file: Path, path: str, limit: int) -> str:
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            inside = [name for name in ("config.json",) if (file / name).is_file()]
            hint = f"; it holds {file / inside[0]}" if inside else ""
            raise ConfigError(f"{path}: is a directory{hint}")
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is not a regular file")
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    if len(content) > limit:
        raise ConfigError(f"{path}: larger than {limit:,} bytes, so no model's config")
    if not content.strip():
        raise ConfigError(f"{path}: is empty")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None


def _parse_json(text: str) -> Any:
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
    )


def _parse_toml(text: str) -> Any:
    # nobody else needs it, and it costs every other start 3 ms
    import tomllib

    if any(line.count(".") > MAX_TOML_DOTS for line in text.splitlines()):
        raise RecursionError
    return tomllib.loads(text, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {shown(key)} occurs twice")
        table[key] = value
    return table


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _no_number(text[:40])


def _depth(data: Any) -> int:
    """How deep tables and lists are nested; level by level, since recursion has an end."""
    level, depth = [data], 0
    while level and depth <= MAX_DEPTH:
        inner = [list(x.values()) if isinstance(x, dict) else x for x in level]
        level = [y for x in inner if isinstance(x, list) for y in x if isinstance(y, dict | list)]
        depth += 1
    return depth


def _from(path: str, found: Described) -> Described:
    return found._replace(source=f"{path}: {found.source}")


def _own(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    """A file of ``ViTConfig``'s fields, all of them or those that differ from ``base``."""
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
    # a ratio replaces the width below it
    replaced = {ratio.replace("ratio", "dim") for ratio in RATIOS if ratio in fields}
    merged = {key: value for key, value in below.fields.items() if key not in replaced} | fields
    configure(merged)
    return Described(f"fields on top of {data['base']} ({below.source})", merged)


def _timm(data: Mapping[str, Any], base: Callable[[str], Described]) -> Described:
    """The ``config.json`` that the hub keeps of timm's weights."""
    free = {"pretrained_cfg", "label_names", "label_descriptions"}
    keys = {"architecture": "", "num_classes": 1000, "num_features": 768, "global_pool": ""}
    no_args: Fixed = {"model_args": ({}, "a name with other arguments is a model of its own")}
    check_keys(data, {*keys, *free}, no_args, "")
    given = {key: typed(key, keys[key], value) for key, value in data.items() if key in keys}
    try:
        below = base(given["architecture"])
    except (NotCovered, UnknownName) as error:
        raise NotCovered(f"architecture: {error}") from None
    fields = {k: v for k, v in given.items() if k in ("num_classes", "global_pool")}
    config = configure(below.fields, **fields)
    if given.get("num_features", config.embed_dim) != config.embed_dim:
        raise ConfigError(f"num_features is {given['num_features']}, not {config.embed_dim}")
    return below._replace(fields={**below.fields, **fields})


# the key that tells what a file is
_KINDS: Mapping[str, Callable[[Mapping[str, Any], Callable[[str], Described]], Described]] = {
    "model_type": lambda data, base: huggingface.described(data),
    "vision_cfg": open_clip.described,
    "model_cfg": open_clip.described,
    "architecture": _timm,
}
