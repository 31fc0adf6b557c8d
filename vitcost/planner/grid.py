"""Grids: the fields that vary, the values that each takes, and every combination of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from math import prod
from typing import Any, NamedTuple, TypeAlias

from vitcost.config.fields import Field, Pair, as_python, checked, checked_ratio, parse
from vitcost.config.offers import unknown_field
from vitcost.config.scenario import Scenario
from vitcost.config.text_config import TEXT_FIELDS
from vitcost.config.vit_config import FIELDS, RATIOS
from vitcost.errors import ConfigError, VitcostError, shown
from vitcost.hardware.cards import Card
from vitcost.outside.arguments import listed, text

__all__ = [
    "CARD",
    "MODEL",
    "MOST_POINTS",
    "VARIED",
    "Axis",
    "Grid",
    "Skipped",
    "Vary",
    "bounded",
    "check_apart",
    "grid",
    "reason",
    "skips",
]

# a larger grid is probably a mistake, or a sample of it is enough
MOST_POINTS = 10**9
# values that are not a plain range are all written out
_MOST_VALUES = 10**5

Vary: TypeAlias = "Mapping[str, Any] | Iterable[str]"

_SCENARIO = {field.name: field.type for field in fields(Scenario)}
# a card can vary like a field; its name is checked when a time is predicted
CARD = "gpu"
# models can vary like the names of a command line
MODEL = "model"
_COUNTED = (int, int | None, Pair)
# every name that varies
VARIED = tuple(dict.fromkeys([*FIELDS, *RATIOS, *_SCENARIO, *TEXT_FIELDS, CARD, MODEL]))
# the type of each, and its allowed values; a field of a model of images is before one of a text's
_KINDS: Mapping[str, tuple[Any, Field]] = {
    MODEL: (str, Field("a model")),
    CARD: (str, Field("a card")),
    **TEXT_FIELDS,
    **{name: (kind, Field("")) for name, kind in _SCENARIO.items()},
    **dict.fromkeys(RATIOS, (float | None, Field("ratio to embed_dim"))),
    **FIELDS,
}


class Axis(NamedTuple):
    """A field and its values. For a square image or patch, one side stands for both."""

    name: str
    values: Sequence[Any]

    def value(self, index: int) -> Any:
        """The value at an ``index``; a side of a square is both sides."""
        value = self.values[index]
        return (value, value) if _kind(self.name)[0] == Pair and isinstance(value, int) else value


class Grid(NamedTuple):
    """Every combination of the values of some fields; the last field changes first."""

    axes: tuple[Axis, ...]

    @property
    def points(self) -> int:
        """The number of combinations."""
        return prod(len(axis.values) for axis in self.axes)

    def point(self, index: int) -> dict[str, Any]:
        """The combination at an index.

        >>> grid({"depth": "12:36:+12", "batch": "1:64:x8"}).point(4)
        {'depth': 24, 'batch': 8}
        """
        at = self.indices(index)
        return {axis.name: axis.value(at[axis.name]) for axis in self.axes}

    def indices(self, index: Any) -> dict[str, Any]:
        """The index of each axis' value in the combinations with a number, or an array of numbers;
        the last axis runs fastest."""
        at: dict[str, Any] = {}
        for axis in reversed(self.axes):
            index, at[axis.name] = divmod(index, len(axis.values))
        return at

    def __bool__(self) -> bool:
        return bool(self.axes)


class Skipped(NamedTuple):
    """Combinations that no model can have, and the reason: for example a patch that does not divide
    its image."""

    reason: str
    combinations: int


def skips(counted: Mapping[str, int]) -> tuple[Skipped, ...]:
    """The reasons why combinations are not possible, the most frequent first.

    >>> skips({"img_size is not divisible by patch_size": 2, "embed_dim is not divisible": 5})[0]
    Skipped(reason='embed_dim is not divisible', combinations=5)
    """
    return tuple(Skipped(*each) for each in sorted(counted.items(), key=lambda each: -each[1]))


def grid(vary: "Vary | None") -> Grid:
    """The grid of ``{"depth": [12, 24], "batch": "1:512:x2"}``, or of ``["depth=12,24", …]``.

    Values are a list, or text: values separated by commas, a range ``LOW:HIGH:+STEP`` or
    ``LOW:HIGH:xFACTOR``. Raises ``ConfigError`` or ``UnknownName``.

    >>> grid(["img_size=224,384", "batch=1:512:x2"]).points
    20
    """
    if vary is None:
        return Grid(())
    if isinstance(vary, str):
        vary = [vary]
    if isinstance(vary, Mapping):
        varied = [_axis(text("a field", name), values) for name, values in vary.items()]
    else:
        varied = [_parsed(text("vary", each)) for each in listed("vary", vary)]
    axes: dict[str, Axis] = {}
    for axis in varied:
        if axis.name in axes:
            raise ConfigError(f"{axis.name} varies twice")
        axes[axis.name] = axis
    for ratio, width in RATIOS.items():
        if width in axes and ratio in axes:
            raise ConfigError(f"{width} and {ratio} vary, and each decides the other")
    return Grid(tuple(axes.values()))


def bounded(points: int) -> int:
    """The number of ``points`` of a grid; ``ConfigError`` if a user would wait too long.

    >>> bounded(10**15)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: a grid of 1,000,000,000,000,000 points is too large
    """
    if points > MOST_POINTS:
        raise ConfigError(
            f"a grid of {points:,} points is too large: more than {MOST_POINTS:,}; "
            "vary less, or draw from it with --sample N"
        )
    return points


def check_apart(varied: Grid, keywords: Mapping[str, Any]) -> None:
    """Raises ``ConfigError`` for a field that both varies and is given.

    >>> check_apart(grid({"depth": [12, 24]}), {"img_size": 224})
    >>> check_apart(grid({"depth": [12, 24]}), {"depth": 12})
    Traceback (most recent call last):
    vitcost.errors.ConfigError: depth varies, and is also given: 12
    """
    for axis in varied.axes:
        if axis.name in keywords:
            raise ConfigError(
                f"{axis.name} varies, and is also given: {shown(keywords[axis.name])}"
            )


def reason(error: VitcostError) -> str:
    """The reason why a combination is not possible, without the numbers that differ between
    combinations.

    >>> reason(VitcostError("img_size 224 is not divisible by patch_size 15; nearest: 210 or 225"))
    'img_size is not divisible by patch_size'
    """
    return re.sub(r" [(\d][^ ]*", "", str(error).partition(";")[0])


def _parsed(spelled: str) -> Axis:
    name, equal, values = spelled.partition("=")
    if not equal:
        raise ConfigError(
            "what varies is FIELD=VALUES, such as depth=12,24 or batch=1:512:x2, "
            f"got {shown(spelled)}"
        )
    return _axis(name.strip().replace("-", "_"), values)


def _axis(name: str, choices: Any) -> Axis:
    """A field and its values, each checked against the range of the field."""
    kind, field = _kind(name)
    if isinstance(choices, str):
        values = _spelled(name, kind, field, choices)
    else:
        values = choices if isinstance(choices, range) else _listed(choices)
    if not values:
        raise ConfigError(f"{name} has no values to vary over")
    if isinstance(values, range):
        # if the ends of a range are allowed, so is every value between them
        for end in (values[0], values[-1]):
            _checked(name, kind, field, end)
        return Axis(name, values)
    return Axis(name, tuple(dict.fromkeys(_checked(name, kind, field, v) for v in values)))


def _listed(choices: Any) -> list[Any]:
    """One value or several, from any iterable; numbers of numpy become Python numbers."""
    several = choices if isinstance(choices, Iterable) else [choices]
    try:
        values = [as_python(value) for value in islice(several, _MOST_VALUES + 1)]
        # equal values count only once
        dict.fromkeys(values)
    except Exception:
        raise ConfigError(f"values that cannot vary: {shown(choices)}") from None
    if len(values) > _MOST_VALUES:
        raise ConfigError(f"more than {_MOST_VALUES:,} values that are no range are not varied")
    return values


def _kind(name: str) -> tuple[Any, Field]:
    """The type of a field and its allowed values."""
    if name not in _KINDS:
        raise unknown_field(name, VARIED)
    return _KINDS[name]


def _checked(name: str, kind: Any, field: Field, value: Any) -> Any:
    if name in RATIOS:
        return checked_ratio(name, value)
    if name == CARD:
        return value if isinstance(value, Card) else text(name, value)
    if name == MODEL:
        return text(name, value)
    if name in _SCENARIO:
        # a stage of ZeRO is valid only with several ranks
        Scenario(**{"ranks": 2, name: value})
        return value
    return checked(name, kind, field, value)


def _spelled(name: str, kind: Any, field: Field, text: str) -> Sequence[Any]:
    """Values separated by commas; for numbers each may be a range."""
    values: list[Any] = []
    for word in text.split(","):
        word = word.strip()
        if kind not in _COUNTED or ":" not in word:
            values.append(parse(name, kind, field, word))
            continue
        many = _range(name, field, word)
        if word == text.strip():
            return many
        if len(many) > _MOST_VALUES:
            raise ConfigError(f"{name}={word} has more than {_MOST_VALUES:,} values to be listed")
        values += many
        if len(values) > _MOST_VALUES:
            raise ConfigError(f"{name} has more than {_MOST_VALUES:,} values to be listed")
    return values


def _range(name: str, field: Field, text: str) -> Sequence[int]:
    """``LOW:HIGH:+STEP`` or ``LOW:HIGH:xFACTOR``; HIGH is included if a step reaches it."""
    low, _, rest = text.partition(":")
    high, _, step = rest.partition(":")
    sign, by = step[:1], step[1:]
    if not (low.isdecimal() and high.isdecimal() and by.isdecimal() and sign in ("+", "x")):
        raise ConfigError(
            f"a range is LOW:HIGH:+STEP or LOW:HIGH:xFACTOR, such as 12:48:+12 or 1:512:x2, "
            f"got {name}={text!r:.80}"
        )
    # longer numbers are outside of the range of every field
    bounds = Field("", 1) if name == "batch" else field
    ends = [checked(name, int, bounds, int(end[:20])) for end in (low, high)]
    first, last, number = *ends, int(by[:20])
    if first > last:
        raise ConfigError(f"{name}={text}: {first} is above {last}")
    if sign == "+":
        if number < 1:
            raise ConfigError(f"{name}={text}: the step must be at least +1")
        return range(first, last + 1, number)
    if number < 2 or first < 1:
        raise ConfigError(f"{name}={text}: the factor must be at least x2, from 1 or more")
    values = [first]
    while values[-1] * number <= last:
        values.append(values[-1] * number)
    return values
