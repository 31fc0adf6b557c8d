"""Two quantities against each other as a picture, their Pareto front drawn through it."""

from collections.abc import Iterable, Mapping
from math import ceil, log2
from pathlib import Path
from typing import Any

from vitcost.errors import ConfigError, MissingExtra
from vitcost.page import printable, shown
from vitcost.planner.pareto import front
from vitcost.quantities import QUANTITIES
from vitcost.written import whole

__all__ = ["DRAWN", "check_file", "plot"]

# what is drawn unless somebody names two others
DRAWN = ("flops", "train_memory")

# points whose names do not cover each other
_NAMED = 24
# letters of a name that a picture has room for
_LETTERS = 80


def plot(rows: Iterable[Mapping[str, Any]], pair: tuple[str, str], path: str) -> None:
    """Draws flat rows in a PNG or SVG file, a colour a model.

    Raises ``ConfigError`` for another kind of file, ``MissingExtra`` without matplotlib.
    """
    check_file(path)
    x, y = (QUANTITIES[name].key(name) for name in pair)
    known = [row for row in rows if row[x] is not None and row[y] is not None]
    if not known:
        raise ConfigError(f"nothing to draw: {' and '.join(pair)} have no exact figures")
    figure = _figure()
    axes = figure.add_subplot()
    for name in dict.fromkeys(row["model"] for row in known):
        own = [row for row in known if row["model"] == name]
        points = [row[x] for row in own], [row[y] for row in own]
        axes.scatter(*points, s=18, label=_safe(name), zorder=2)
    best = sorted((known[i][x], known[i][y]) for i in front((row[x], row[y]) for row in known))
    line = [point[0] for point in best], [point[1] for point in best]
    axes.plot(
        *line,
        "o-",
        color="0.6",
        markersize=8,
        markerfacecolor="none",
        linewidth=1,
        zorder=1,
        label="Pareto front",
    )
    if len(known) <= _NAMED:
        _name(axes, known, x, y)
    for axis, name in zip((axes.xaxis, axes.yaxis), pair, strict=True):
        _scale(axis, name, [row[QUANTITIES[name].key(name)] for row in known])
    axes.grid(color="0.92")
    axes.legend(frameon=False, fontsize=8)
    with whole(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=150)


def check_file(path: str) -> None:
    """A picture is a PNG or an SVG, and matplotlib draws it."""
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"a plot is a .png or a .svg, got {path!r:.80}")
    _figure()


def _figure() -> Any:
    """A page to draw on, without a screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "plot", "a plot") from None
    return Figure(figsize=(8, 5), layout="constrained")


def _name(axes: Any, rows: list[Mapping[str, Any]], x: str, y: str) -> None:
    """Writes beside each point what it is: what varies, or else the model."""
    keys = {quantity.key(name) for name, quantity in QUANTITIES.items()}
    for row in rows:
        varied = [
            "×".join(map(str, value)) if isinstance(value, list) else str(value)
            for key, value in row.items()
            if key not in keys and key not in ("model", "pareto") and key[:9] != "relative_"
        ]
        text = _safe(", ".join(varied) or row["model"])
        axes.annotate(text, (row[x], row[y]), (4, 4), textcoords="offset points", fontsize=7)


def _scale(axis: Any, name: str, numbers: list[Any]) -> None:
    """Ticks in the unit of a quantity, in powers where its values are far apart."""
    from matplotlib.ticker import LogLocator, MultipleLocator, NullLocator

    unit, least, most = QUANTITIES[name].unit, min(numbers), max(numbers)
    far = least > 0 and most > 20 * least
    axis.set_label_text(name.replace("_", " "))
    if far:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        axis.set_minor_locator(NullLocator())
    if unit == "bytes":
        # round in powers of two; the axis of equal values has a width too
        low, high = getattr(axis.axes, f"get_{axis.axis_name}lim")()
        step = 2.0 ** ceil(log2((high - low) / 6))
        axis.set_major_locator(LogLocator(2, numticks=8) if far else MultipleLocator(step))
    shown_as = "si" if unit == "count" else unit
    axis.set_major_formatter(lambda value, _: shown(value, shown_as))


def _safe(text: str) -> str:
    """Text that no picture takes for mathematics, as long as a picture has room for."""
    short = text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
    return printable(short).replace("$", "\\$")
