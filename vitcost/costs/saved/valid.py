"""Checks data against a JSON schema, limited to the words that ``generate`` writes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from vitcost.errors import nearest, shown

__all__ = ["WORDS", "Fault", "fault"]

# all schema words that are understood; a test checks that no schema has another
WORDS = {
    "$ref", "anyOf", "type", "enum", "properties", "required", "additionalProperties", "items",
    "prefixItems", "minItems", "maxItems", "minimum", "maximum",
}  # fmt: skip

_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}


Schema: TypeAlias = Mapping[str, Any]
# keys of objects and indices of arrays, from the outside in
Keys: TypeAlias = tuple["str | int", ...]


class Fault(NamedTuple):
    """The place where data contradicts its schema, and how."""

    path: Keys
    reason: str

    def __str__(self) -> str:
        keys = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        return f"{''.join(keys).removeprefix('.')[:200]} {self.reason}".strip()


def fault(data: Any, schema: Mapping[str, Any]) -> Fault | None:
    """The first place where data contradicts a schema; None if it is valid.

    >>> from vitcost import report
    >>> from vitcost.schemas import schema
    >>> data, form = report("vit_base_patch16_224").to_dict(), schema("report")
    >>> fault(data, form), str(fault({**data, "time": 5}, form))
    (None, 'time must be array, got 5')
    """
    return next(_faults(data, schema, schema.get("$defs", {}), ()), None)


def _faults(data: Any, schema: Schema, defs: Schema, path: Keys) -> Iterator[Fault]:
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        yield from _of_any(data, schema["anyOf"], defs, path)
    types = schema.get("type", ())
    types = (types,) if isinstance(types, str) else types
    if types and not any(_is(data, kind) for kind in types):
        yield Fault(path, f"must be {' or '.join(types)}, got {shown(data)}")
        return
    if "enum" in schema and not any(data is each or data == each for each in schema["enum"]):
        yield Fault(path, f"must be one of {shown(schema['enum'])}, got {shown(data)}")
    if isinstance(data, int | float):
        low, high = schema.get("minimum", data), schema.get("maximum", data)
        if not low <= data <= high:
            yield Fault(path, f"must be from {shown(low)} to {shown(high)}, got {shown(data)}")
    if isinstance(data, dict):
        yield from _of_object(data, schema, defs, path)
    if isinstance(data, list):
        yield from _of_array(data, schema, defs, path)


def _is(data: Any, kind: str) -> bool:
    """Whether data is of a type; true and false are not numbers."""
    return isinstance(data, _TYPES[kind]) and (kind == "boolean" or not isinstance(data, bool))


def _of_any(data: Any, schemas: Sequence[Schema], defs: Schema, path: Keys) -> Iterator[Fault]:
    """The deepest contradiction, if no schema of a union accepts the data."""
    first_faults = [next(_faults(data, each, defs, path), None) for each in schemas]
    faults = [each for each in first_faults if each is not None]
    if len(faults) == len(schemas):
        yield max(faults, key=lambda each: len(each.path))


def _of_object(data: Any, schema: Schema, defs: Schema, path: Keys) -> Iterator[Fault]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in data:
            yield Fault(path, f"has no {key}")
    rest = schema.get("additionalProperties", True)
    for key, value in data.items():
        if key in known:
            yield from _faults(value, known[key], defs, (*path, key))
        elif rest is False:
            guesses = [f"; did you mean {guess!r}?" for guess in nearest(key, known, 1)]
            yield Fault(path, f"has the unknown key {shown(key)}{''.join(guesses)}")
        elif rest is not True:
            yield from _faults(value, rest, defs, (*path, key))


def _of_array(data: Any, schema: Schema, defs: Schema, path: Keys) -> Iterator[Fault]:
    first = schema.get("prefixItems", ())
    if not schema.get("minItems", 0) <= len(data) <= schema.get("maxItems", len(data)):
        yield Fault(path, f"must have {schema['minItems']} values, has {len(data)}")
    for i, value in enumerate(data):
        if i < len(first):
            yield from _faults(value, first[i], defs, (*path, i))
        elif "items" in schema:
            yield from _faults(value, schema["items"], defs, (*path, i))
