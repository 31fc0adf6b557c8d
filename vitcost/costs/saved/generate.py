"""Makes JSON Schema from types: a NamedTuple, a dataclass, a TypedDict, a union."""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from vitcost.config.fields import Field

__all__ = ["Also", "Rest", "Unknown", "schema_of"]

_PLAIN: Mapping[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


class Also:
    """Keys that the JSON has beside a type's fields, or with another type; None: the JSON lacks the
    field."""

    def __init__(self, **keys: Any) -> None:
        self.keys = keys


class Rest(NamedTuple):
    """The schema of all keys that no field names."""

    kind: Any


class Unknown:
    """Every field of the type is null, because a measurement cannot give it."""


def schema_of(name: str, document: Any) -> dict[str, Any]:
    """The schema of a document: an object, and the types that it contains, by name.

    >>> from vitcost.costs.thumb import RuleOfThumb
    >>> schema_of("vitcost.thumb/1", RuleOfThumb)["type"]
    'object'
    """
    defs: dict[str, Any] = {}
    reference = _schema(document, defs)
    top = defs.pop(reference["$ref"].rpartition("/")[2])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": name,
        **top,
        **({"$defs": defs} if defs else {}),
    }


def _schema(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(args[0], args[1], defs)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return _union([_schema(each, defs) for each in args])
    if origin is tuple and args[-1] is not Ellipsis:
        items = [_schema(each, defs) for each in args]
        return {"type": "array", "prefixItems": items, "minItems": len(args), "maxItems": len(args)}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(args[0], defs)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(args[1], defs)}
    return _named(kind.__name__, kind, {}, defs)


def _annotated(kind: Any, note: Any, defs: dict[str, Any]) -> dict[str, Any]:
    if isinstance(note, Also):
        return _named(kind.__name__, kind, note.keys, defs)
    if isinstance(note, Rest):
        return {**_object(kind, {}, defs), "additionalProperties": _schema(note.kind, defs)}
    if isinstance(note, Unknown):
        return _object(kind, dict.fromkeys(get_type_hints(kind), type(None)), defs)
    schema = _schema(kind, defs)
    if isinstance(note, Field) and note.choices and schema == {"type": "string"}:
        return {**schema, "enum": list(note.choices)}
    if isinstance(note, Field) and schema == {"type": "integer"}:
        return {**schema, "minimum": note.low, "maximum": note.high}
    return schema


def _union(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    plain = [each["type"] for each in schemas if each.keys() == {"type"}]
    if len(plain) == len(schemas):
        return {"type": plain}
    return {"anyOf": schemas}


def _named(name: str, kind: Any, also: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """A reference to the object schema of a class."""
    if name not in defs:
        # set before its fields are visited, which may be of the same class
        defs[name] = {}
        defs[name] = _object(kind, also, defs)
    return {"$ref": f"#/$defs/{name}"}


def _object(kind: Any, also: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if not (is_typeddict(kind) or is_dataclass(kind) or hasattr(kind, "_fields")):
        raise TypeError(f"JSON has nothing for {kind!r}")
    hints = get_type_hints(kind, include_extras=True) | dict(also)
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
        hints = {key: each for key, each in hints.items() if key in (*names, *also)}
    hints = {key: each for key, each in hints.items() if each is not None}
    required = [key for key, each in hints.items() if get_origin(each) is not NotRequired]
    inner = {k: get_args(v)[0] if k not in required else v for k, v in hints.items()}
    return {
        "type": "object",
        "properties": {key: _schema(each, defs) for key, each in inner.items()},
        "required": required,
        "additionalProperties": False,
    }
