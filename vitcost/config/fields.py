"""Fields of a config: the kind and the range of each, and its spelling as text."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from vitcost.config.records import Record
from vitcost.errors import ConfigError, nearest, shown

__all__ = [
    "ABOVE_0",
    "Field",
    "Pair",
    "PerBlock",
    "as_python",
    "checked",
    "checked_ratio",
    "choice",
    "declared",
    "integer",
    "parse",
    "parse_size",
    "rate",
    "several",
    "size",
    "whole",
    "within",
]

Pair: TypeAlias = tuple[int, int]
PerBlock: TypeAlias = int | tuple[int, ...] | None

# the smallest number above 0
ABOVE_0 = 5e-324


class Field(Record):
    """One field of the config: its meaning and the values that it may hold."""

    help: str
    low: float = 0
    high: float = 10**9
    choices: tuple[str, ...] = ()


def declared(config: Any) -> dict[str, tuple[Any, Field]]:
    """The type and the facts of each field of a config, which annotate it.

    >>> from vitcost.config.text_config import TextConfig
    >>> kind, depth = declared(TextConfig)["depth"]
    >>> kind, depth.low, depth.high
    (<class 'int'>, 1, 100000)
    """
    kinds = {field.name: config.__annotations__[field.name] for field in fields(config)}
    return {name: (kind.__origin__, kind.__metadata__[0]) for name, kind in kinds.items()}


def size(help: str) -> Field:
    """A field for a size: an integer from 1 to 10⁶.

    >>> size("width of a token").low, size("width of a token").high
    (1, 1000000)
    """
    return Field(help, 1, 10**6)


def rate(help: str) -> Field:
    """A field for a rate, such as dropout's: a number from 0 to 1.

    >>> rate("dropout").high
    1
    """
    return Field(help, 0, 1)


def choice(help: str, *choices: str) -> Field:
    """A field that takes one of several words.

    >>> choice("how patches are read", "conv", "linear").choices
    ('conv', 'linear')
    """
    return Field(help, choices=choices)


_WORDS = {
    str: "text",
    int: "an integer",
    bool: "true or false",
    float: "a number",
    Pair: "N or HxW",
    Pair | None: "N or HxW",
    int | None: "an integer",
    float | None: "a number",
    bool | None: "true or false",
    PerBlock: "an integer, or one a block",
}
_OPTIONAL: Mapping[Any, Any] = {
    Pair | None: Pair,
    int | None: int,
    float | None: float | int,
    bool | None: bool,
    PerBlock: int | tuple[int, ...],
}


def checked(name: str, kind: Any, field: Field, value: Any) -> Any:
    """The value, converted to the field's type. Raises ``ConfigError`` with the allowed values.

    >>> checked("depth", int, Field("blocks", 1, 100), 12)
    12
    >>> checked("depth", int, Field("blocks", 1, 100), 0)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: depth must be between 1 and 100, got 0
    """
    value = as_python(value)
    wrong = ConfigError(f"{name} must be {_WORDS[kind]}, got {shown(value)}")
    if kind in _OPTIONAL:
        if value is None:
            return None
        kind = _OPTIONAL[kind]
    if kind is str:
        return _checkedchoice(name, field, value)
    if kind == Pair:
        pair = (value, value) if isinstance(value, int) else value
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ConfigError(f"{name} must be N or (height, width), got {shown(value)}")
        return tuple(checked(name, int, field, side) for side in pair)
    if kind == int | tuple[int, ...] and isinstance(value, tuple | list):
        return tuple(checked(name, int, field, n) for n in value)
    if isinstance(value, bool) != (kind is bool):
        raise wrong
    if kind is bool:
        return value
    if not isinstance(value, int | float if kind in (float, float | int) else int):
        raise wrong
    if kind == float | int:
        if not -1e300 < value < 1e300:
            raise ConfigError(f"{name} must be a finite number, got {shown(value)}")
        return float(value)
    if kind is float:
        if not field.low <= value < field.high:
            raise ConfigError(
                f"{name} must be at least {field.low} and below {field.high}, got {shown(value)}"
            )
        return float(value)
    if not field.low <= value <= field.high:
        raise ConfigError(
            f"{name} must be between {field.low:,} and {field.high:,}, got {shown(value)}"
        )
    return value


def _checkedchoice(name: str, field: Field, value: Any) -> str:
    if isinstance(value, str) and value in field.choices:
        return value
    message = f"{name} must be one of {', '.join(c or repr(c) for c in field.choices)}"
    guesses = nearest(value, field.choices, 1) if isinstance(value, str) else []
    guess = f"; did you mean {guesses[0]!r}?" if guesses else ""
    raise ConfigError(f"{message}, got {shown(value)}{guess}")


def checked_ratio(name: str, value: float | None) -> float | None:
    """A ratio of widths above 0, or None; else ``ConfigError``.

    >>> checked_ratio("mlp_ratio", 4), checked_ratio("mlp_ratio", None)
    (4, None)
    """
    value = as_python(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number, got {shown(value)}")
    if not 0 < value <= 10**6:
        raise ConfigError(f"{name} must be above 0 and at most 1,000,000, got {shown(value)}")
    return value


def several(name: str, value: Any, *kinds: type) -> list[Any]:
    """A list of values of the given types, from one value or from an iterable.

    >>> several("gpu", "t4", str), several("gpu", ("t4", "l4"), str)
    (['t4'], ['t4', 'l4'])
    """
    value = [value] if isinstance(value, kinds) else value
    values = list(value) if isinstance(value, Iterable) else [value]
    for each in values:
        if not isinstance(each, kinds):
            raise ConfigError(f"{name} must be text, or several of them, got {shown(each)}")
    return values


def integer(name: str, value: object, low: int = 0, high: int = 10**18) -> int:
    """An argument that is an integer within a range; integers of numpy and torch are accepted.

    >>> integer("batch", 8), integer("batch", -1)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: batch must be between 0 and 1,000,000,000,000,000,000, got -1
    """
    number = whole(as_python(value))
    if type(number) is not int:
        raise ConfigError(f"{name} must be an integer, got {shown(value)}")
    if not low <= number <= high:
        raise ConfigError(f"{name} must be between {low:,} and {high:,}, got {shown(value)}")
    return number


def whole(value: Any) -> Any:
    """A float without a fraction as an integer: ``1e3`` images are 1000.

    >>> whole(1e3), whole(1.5), whole("1e3")
    (1000, 1.5, '1e3')
    """
    return int(value) if type(value) is float and value.is_integer() else value


def as_python(value: Any) -> Any:
    """Python's own value for an integer, boolean or text of numpy; anything else is returned
    unchanged.

    >>> import numpy
    >>> as_python(numpy.int64(4)), as_python(numpy.bool_(True)), as_python(0.5)
    (4, True, 0.5)
    """
    kind = type(value)
    if kind in (int, bool, str, float) or value is None:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    # a single number of the library, not an array
    if kind.__module__ in ("numpy", "torch") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def within(value: Any, least: float, most: float, must: str, given: Any = None) -> float:
    """A number between two limits; else ``ConfigError`` says what it ``must`` be, and shows
    ``given`` if the value was read from a text.

    >>> within(7, ABOVE_0, 10, "price must be above 0")
    7.0
    """
    number = as_python(value)
    if type(number) not in (int, float) or not least <= number <= most:
        raise ConfigError(f"{must}, got {shown(value if given is None else given)}")
    return float(number)


def parse_size(text: str) -> int | Pair:
    """``224`` or ``256x192`` (height x width), as typed on a command line.

    >>> parse_size("256x192")
    (256, 192)
    """
    try:
        numbers = [int(part) for part in text.lower().split("x")]
        height, width = numbers if len(numbers) > 1 else numbers * 2
    except ValueError:
        raise ConfigError(f"a size is N or HxW, got {shown(text)}") from None
    return height if len(numbers) == 1 else (height, width)


def parse(name: str, kind: Any, field: Field, text: str) -> Any:
    """A value from its spelling on a command line; ``none`` means no value.

    >>> parse("img_size", Pair, Field("image"), "256x192")
    (256, 192)
    """
    if text.lower() == "none" and (kind in _OPTIONAL or "" in field.choices):
        return None if kind in _OPTIONAL else ""
    if kind is str:
        return text
    try:
        if kind in (Pair, Pair | None):
            return parse_size(text)
        if kind in (bool, bool | None):
            return {"true": True, "false": False}[text.lower()]
        if kind == PerBlock:
            numbers = tuple(int(part) for part in text.split(","))
            return numbers if len(numbers) > 1 else numbers[0]
        return float(text) if kind in (float, float | None) else int(text)
    except (KeyError, ValueError, ConfigError):
        raise ConfigError(f"{name} must be {_WORDS[kind]}, got {shown(text)}") from None
