"""Reads another library's config file strictly: every key must be known and have the right type."""

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from vitcost.config.records import Record
from vitcost.errors import ConfigError, NotCovered, nearest, shown

if TYPE_CHECKING:
    from vitcost.config.text_config import ClipConfig, TextConfig

__all__ = [
    "Described",
    "Fixed",
    "as_field_errors",
    "check_keys",
    "guess",
    "table_of",
    "typed",
    "typed_values",
]

# keys that change a model: the only value that a formula covers, and why
Fixed: TypeAlias = Mapping[str, tuple[Any, str]]


Made = TypeVar("Made")


class Described(Record):
    """A model as fields of a config, with their source. If the model reads text, ``text`` is its
    whole config, and ``fields`` are those of its image tower alone, if it has one. ``any_size`` are
    the fields that change for images of another size; ``lacks`` is the reason why a text tower
    beside an image tower has no formula."""

    source: str
    fields: dict[str, Any]
    text: "TextConfig | ClipConfig | None" = None
    any_size: Mapping[str, Any] = MappingProxyType({})
    lacks: str = ""


_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


def guess(key: str, known: Collection[str]) -> str:
    """The end of a message: the nearest known word, if one is near."""
    return "".join(f"; did you mean {name!r}?" for name in nearest(key, known, 1))


def check_keys(data: Mapping[str, Any], known: Collection[str], fixed: Fixed, path: str) -> None:
    """Refuses unknown keys, and keys with another value than the formula assumes."""
    for key, value in data.items():
        if key in fixed:
            expected, why = fixed[key]
            # 0 does not stand for False or 0.0
            if value != expected or isinstance(value, bool) != isinstance(expected, bool):
                raise NotCovered(f"{path}{key} must be {expected!r}, got {shown(value)}: {why}")
        elif key not in known:
            raise ConfigError(
                f"{path}{shown(key)[1:-1]} is not known here, and may change the model"
                f"{guess(key, [*known, *fixed])}"
            )


def table_of(data: Mapping[str, Any], key: str, path: str = "") -> Mapping[str, Any]:
    """The table at a key of a file."""
    table = data[key]
    if not isinstance(table, dict):
        raise ConfigError(f"{path}{key} must be a table, got {shown(table)}")
    return table


def typed(key: str, default: Any, value: Any) -> Any:
    """A value, checked to have the type of its default; if the default is None, an optional
    integer.

    >>> typed("vision_config.hidden_size", 768, "768")
    Traceback (most recent call last):
    vitcost.errors.ConfigError: vision_config.hidden_size must be an integer, got '768'
    """
    if key.rpartition(".")[2] in ("image_size", "patch_size"):
        return _size(key, value)
    if default is None and value is None:
        return None
    kind: type = int if default is None else type(default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number if kind is float else isinstance(value, kind) and (number or kind is not int)
    if not fits:
        raise ConfigError(f"{key} must be {_WORDS[kind]}, got {shown(value)}")
    return value


def typed_values(
    defaults: Mapping[str, Any], data: Mapping[str, Any], path: str = ""
) -> dict[str, Any]:
    """The value of each key in a file, or its default; ``path`` is the path to their table.

    >>> typed_values({"width": 768, "bias": False}, {"width": 1024})
    {'width': 1024, 'bias': False}
    """
    return {key: typed(path + key, each, data.get(key, each)) for key, each in defaults.items()}


def _size(key: str, value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, list | tuple) else [value, value]
    if len(sides) == 2 and all(isinstance(n, int) and not isinstance(n, bool) for n in sides):
        return sides[0], sides[1]
    raise ConfigError(f"{key} must be an integer or two, got {shown(value)}")


def as_field_errors(
    fields: dict[str, Any], keys: Mapping[str, str], kind: Callable[..., Made]
) -> Made:
    """Makes a config from fields; an error names the keys of the file, not the fields."""
    try:
        return kind(**fields)
    except ConfigError as error:
        words = re.sub(r"\w+", lambda word: keys.get(word[0], word[0]), str(error))
        raise ConfigError(words) from None
