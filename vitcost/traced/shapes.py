"""``--input [NAME=]SHAPE[:dtype]``: an input of a module, without its batch."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from vitcost.errors import ConfigError, UnknownName, shown
from vitcost.traced.trace import ITEMSIZE

__all__ = ["Shape", "parse", "written"]

_SPELLED = re.compile(r"(?:([A-Za-z_]\w*)=)?(\d+(?:x\d+)*)?(?::(\w+))?")
# longest side, and most elements, of one image's input
_LONGEST, _MOST = 10**7, 10**10


class Shape(NamedTuple):
    """One input of an image: its name ("" by position), sides, and type ("" as the module's)."""

    name: str
    sides: tuple[int, ...]
    dtype: str


def parse(texts: Sequence[str]) -> tuple[Shape, ...]:
    """Inputs from their spelling, else ``ConfigError``. An empty shape is one number an image.

    >>> parse(["image=3x224x224", "ids=77:int64"])[1]
    Shape(name='ids', sides=(77,), dtype='int64')
    >>> written(parse(["3x16x224x224"]))
    '3x16x224x224'
    """
    shapes = tuple(map(_parsed, texts))
    names = [shape.name for shape in shapes if shape.name]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"input {name} is given twice")
    return shapes


def _parsed(text: str) -> Shape:
    match = _SPELLED.fullmatch(text) if isinstance(text, str) else None
    if match is None or not text:
        raise ConfigError(
            f"an input is [NAME=]SHAPE[:dtype] without the batch, as in 3x224x224 or ids=77:int64, "
            f"got {shown(text)}"
        )
    name, sides, dtype = match[1] or "", match[2] or "", match[3] or ""
    if dtype and dtype not in ITEMSIZE:
        raise UnknownName("dtype", dtype, ITEMSIZE, f"types: {', '.join(ITEMSIZE)}")
    numbers = tuple(int(side) for side in sides.split("x") if len(side) < 12)
    elements = 1
    for side in numbers:
        elements *= side
    if len(numbers) != len(sides.split("x")) * bool(sides) or elements > _MOST:
        raise ConfigError(f"input {shown(text)} is larger than {_MOST:,} elements")
    if any(not 1 <= side <= _LONGEST for side in numbers):
        raise ConfigError(f"the sides of an input are from 1 to {_LONGEST:,}, got {shown(text)}")
    return Shape(name, numbers, dtype)


def written(shapes: Sequence[Shape]) -> str:
    """Their spelling.

    >>> written(parse(["3x224x224"])), written(parse(["input_ids=77:int64"]))
    ('3x224x224', 'input_ids=77:int64')
    """
    return ", ".join(
        f"{shape.name}=" * bool(shape.name)
        + "x".join(map(str, shape.sides))
        + f":{shape.dtype}" * bool(shape.dtype)
        for shape in shapes
    )
