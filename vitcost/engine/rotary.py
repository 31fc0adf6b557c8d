"""Rotary positions: the table of sines and cosines, and how it rotates queries and keys."""

from vitcost.engine.ops import Tensor, axes
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Module, Node

__all__ = ["rotary", "rotate", "rotate_both"]

_ROPES = {
    "cat": "RotaryEmbeddingCat",
    "dinov3": "RotaryEmbeddingDinoV3",
    "mixed": "RotaryEmbeddingMixed",
    "mrope": "RotaryEmbeddingMRope",
}
# the rotary types that pair a channel with the one half a head further; all other types pair
# neighbours
_HALVES = ("dinov3", "mrope")
# timm's names of the frequencies and of the table of sines and cosines
_TABLES = {"cat": ("bands", "pos_embed"), "dinov3": ("periods", "pos_embed_cached")}


def rotary(c: Structure, m: Module) -> Tensor:
    """The table of sines and cosines that all blocks share."""
    table = _rope(c)
    m.add(table)
    m.hold(*table.also)
    return table.output


def _rope(c: Structure) -> Node:
    """Sines and cosines for every patch: a buffer, or learned for every block and head."""
    m = Module("rope", _ROPES[c.rope])
    if c.rope != "mixed":
        _frequencies(c, m)
        if c.code.turns_both:
            if not c.training:
                # the patch centres are cached; a training step scales them into a new tensor, and
                # does not save them
                m.returns(m.op("repeat", Tensor("centres", axes("n 2"), "input", itemsize=4)))
            # the table has the type of the image
            return m.end(m.op("repeat", Tensor("rope", axes("n two_d"), "input")))
        if c.dynamic or c.rope == "mrope":
            # a table made for each image is in fp32
            table = Tensor("rope", axes("n two_d"), "input", itemsize=4)
            return m.end(m.op("repeat", table, itemsize=4))
        return m.end(m.buffer(_TABLES[c.rope][1], *axes("n two_d")))
    freqs = m.parameter("freqs", 2, "L", "a", "d_2")
    if c.dynamic:
        lines = [Tensor(f"t_{name}", axes("n 1"), "input", itemsize=4) for name in "xy"]
        grids = [m.op("repeat", grid) for grid in lines]
        m.hold(*grids)
    else:
        grids = [m.buffer(f"t_{name}", *axes("n 1"), itemsize=4) for name in "xy"]
    wide = m.cast(freqs)
    angles = []
    for grid in grids:
        axis = m.view(wide, axes("L a 1 d_2"), kind="select")
        angles.append(m.op("mul", grid, axis, axes=axes("L a n d_2")))
    angle = m.op("add", *angles)
    waves = [m.op("repeat", m.op(f, angle), axes=axes("L a n d")) for f in ("sin", "cos")]
    table = m.op("cat", *waves, axes=axes("L a n two_d"))
    m.hold(wide, *angles, angle, *waves, table)
    return m.end(m.cast(table, freqs))


def _frequencies(c: Structure, m: Module) -> None:
    """The bands or periods of the angles, which timm keeps in fp32; some models also keep the axis
    (height or width) by which each channel is rotated."""
    if c.rope == "mrope":
        m.buffer("inv_freq", "d_2", itemsize=4)
        m.buffer("axis", "d_2", itemsize=8)
    else:
        same = "frequencies" in c.code.buffers
        m.buffer("inv_freq" if same else _TABLES[c.rope][0], "d_4", itemsize=0 if same else 4)


def rotate(c: Structure, m: Module, x: Tensor, v: Tensor, table: Tensor) -> Tensor:
    """``x cos + rotated(x) sin`` for the patches; prefix tokens (maybe none) pass unchanged. A norm
    may have widened x, so the result is cast to the type of v."""
    prefix, y = _turned(c, m, x, table)
    y = m.op("cat", prefix, m.cast(y, x), axes=x.axes, name=x.name)
    # the forward binds its name for x to the result of the cast
    return m.cast(y, v, holds=(x,))


def rotate_both(
    c: Structure, m: Module, q: Tensor, k: Tensor, table: Tensor
) -> tuple[Tensor, Tensor]:
    """Rotates queries and keys in one function, whose names keep its arguments and the rotated
    patches alive until it returns."""
    both = [_turned(c, m, t, table) for t in (q, k)]
    named = (q, k, *(y for _, y in both))
    first, second = (
        m.op("cat", *parts, axes=t.axes, name=t.name, holds=named)
        for parts, t in zip(both, (q, k), strict=True)
    )
    return first, second


def _turned(c: Structure, m: Module, x: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenates the prefix tokens and the rotated patches."""
    learned = c.rope == "mixed"
    prefix = m.view(x, (*x.axes[:2], "pre_s", "d"), kind="slice")
    patches = m.view(x, (*x.axes[:2], "n", "d"), kind="slice")
    shape = axes("a n d" if learned else "n d")
    sin, cos = (m.view(table, shape, f, kind="chunk") for f in ("sin", "cos"))
    y = m.op("mul", patches, cos)
    # timm takes the two halves of a head by one chunk call; transformers slices each, as timm does
    # for neighbouring channels
    chunked = c.rope in _HALVES and not c.code.turns_both
    rotated = m.op("rotate halves" if chunked else "rotate", patches)
    return prefix, m.op("add", y, m.op("mul", rotated, sin))
