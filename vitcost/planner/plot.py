"""Quantities against each other as a picture: two as axes, a third as size, a fourth as colour."""

from collections.abc import Iterable, Mapping, Sequence
from math import hypot, pi
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.costs.quantities import QUANTITIES, TIMED, known
from vitcost.errors import ConfigError, MissingExtra
from vitcost.outside.writing import whole
from vitcost.page import in_words, printable, shown
from vitcost.planner.labels import places
from vitcost.planner.pareto import front, oriented
from vitcost.units import Scale, common

__all__ = ["DRAWN", "PARTS", "Picture", "check_file", "conditions", "picture_of", "plot"]

# the quantities on the axes, unless the caller names others
DRAWN = ("flops", "train_memory")
# the parts of a plot that show a quantity
PARTS = ("x", "y", "size", "color")
SUFFIXES = (".png", ".svg", ".pdf")

# the most points that get labels: more do not fit into a picture
_LABELLED = 60
# the size of a label's text, in points
_FONT = 7
# marks closer than this, in typographic points, share one label, which has this many lines at most
_ONE, _LINES = 2.0, 5
# the most letters of a label
_LETTERS = 80
# the smallest and the largest area of a mark that shows a quantity; the area of any other mark
_AREAS, _AREA = (16.0, 420.0), 26.0
# the colours of models: as many as matplotlib's own cycle has
_CYCLE = 10


class Picture(NamedTuple):
    """The quantities of the rows that are drawn, and the texts of labels and title.

    ``front`` names the two quantities of the Pareto front, if it is drawn.
    """

    x: str
    y: str
    size: str = ""
    color: str = ""
    front: tuple[str, str] | None = None
    varied: tuple[str, ...] = ()
    title: str = ""

    @property
    def parts(self) -> dict[str, str]:
        """The quantity of each part (axis, size, colour) that shows one."""
        return {part: getattr(self, part) for part in PARTS if getattr(self, part)}

    @property
    def timed(self) -> bool:
        """Whether one of the quantities is a time, so that the mode matters."""
        return any(name in TIMED for name in self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Every quantity that the picture needs."""
        return tuple(dict.fromkeys((*self.parts.values(), *(self.front or ()))))


def picture_of(
    parts: Mapping[str, str | None],
    pareto: tuple[str, str] | None,
    quantities: Sequence[str] | None,
) -> Picture:
    """The picture of some quantities, each by its part. Without names the axes are the two
    quantities of the front, else the first two that are compared. Raises ``ConfigError`` for an
    unknown part, and for one axis alone, ``UnknownName`` for an unknown quantity.

    >>> picture_of({"y": "params"}, None, None)[:2], picture_of({}, None, ["macs", "params"])[:2]
    (('flops', 'params'), ('macs', 'params'))
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"a plot has x, y, size and color, and no {part}")
    named = {part: known([name])[0] for part, name in parts.items() if name is not None}
    others = known(pareto or quantities or DRAWN)
    if len(others) < 2 and not {"x", "y"} & named.keys():
        raise ConfigError(f"a plot has two axes, and {others[0]} alone is named: give x and y")
    free = [name for name in (*others, *DRAWN) if name not in (named.get("x"), named.get("y"))]
    for part in ("x", "y"):
        if part not in named:
            named[part] = free.pop(0)
    return Picture(front=pareto, **named)  # type: ignore[arg-type]


def conditions(asked: Sequence[str], varied: Sequence[str], timed: bool = False) -> str:
    """The conditions that all points share, as a title: the batch and the precision, even if not
    given.

    >>> conditions(["precision amp-bf16", "gpu l4"], ["batch"]), conditions([], [], timed=True)
    ('amp-bf16, l4', 'batch 1, fp32, inference')
    """
    names = [each.partition(" ")[0] for each in asked]
    usual = {"batch": "batch 1", "precision": "fp32"} | ({"mode": "inference"} if timed else {})
    clauses = [text for name, text in usual.items() if name not in (*names, *varied)]
    modes = {"mode train": "training", "mode infer": "inference"}
    bare = ("precision", "gpu")
    clauses += [
        each.partition(" ")[2] if name in bare else modes.get(each, each)
        for name, each in zip(names, asked, strict=True)
    ]
    # the batch comes first, wherever it was given
    return ", ".join(sorted(clauses, key=lambda each: not each.startswith("batch ")))


class _Drawn(NamedTuple):
    """The numbers of a quantity as they are drawn, in one unit, and whether the axis is
    logarithmic."""

    name: str
    numbers: tuple[float, ...]
    scale: Scale | None
    far: bool

    @property
    def title(self) -> str:
        """The quantity with its unit: ``train memory (GiB)``."""
        word = self.scale.word if self.scale else ""
        return f"{in_words(self.name)} ({word})" if word else in_words(self.name)

    def tick(self, value: float, _: object = None) -> str:
        if self.scale is None:
            return shown(value, _kind(self.name))
        return f"{value:,.6g}"


def plot(rows: Iterable[Mapping[str, Any]], picture: Picture, path: str) -> None:
    """Draws flat rows in a PNG, SVG or PDF file.

    Raises ``ConfigError`` for another kind of file, or if no row has the quantities;
    ``MissingExtra`` without matplotlib.

    >>> plot([], Picture("flops", "params"), "models.gif")
    Traceback (most recent call last):
    vitcost.errors.ConfigError: a plot is a .png, a .svg or a .pdf, got 'models.gif'
    """
    check_file(path)
    keys = {name: QUANTITIES[name].key(name) for name in picture.names}
    rows = [row for row in rows if all(row[key] is not None for key in keys.values())]
    if not rows:
        raise ConfigError(f"nothing to draw: {' and '.join(keys)} have no exact figures")
    drawn = {name: _drawn(name, [row[key] for row in rows]) for name, key in keys.items()}
    figure = _figure()
    axes = figure.add_subplot()
    for axis, name in ((axes.xaxis, picture.x), (axes.yaxis, picture.y)):
        _scale(axis, drawn[name])
    areas = _areas(drawn[picture.size].numbers if picture.size else [], len(rows))
    labelled = len(rows) <= _LABELLED
    _marks(axes, rows, picture, drawn, areas, labelled)
    if picture.front is not None:
        _front(axes, picture, drawn, areas)
    if picture.title:
        axes.set_title(_safe(picture.title), fontsize=9, loc="left", color="0.3")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    _legend(axes, rows, picture, areas)
    if labelled:
        names = [_safe(_named(row, rows, picture.varied)) for row in rows]
        points = list(zip(drawn[picture.x].numbers, drawn[picture.y].numbers, strict=True))
        _label(axes, names, points, areas)
    with whole(path) as file:
        kind = Path(path).suffix[1:].lower()
        # without a date, equal numbers give an equal file
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)


def _drawn(name: str, numbers: Sequence[Any]) -> _Drawn:
    """The numbers of a quantity in one common unit; if they are far apart, the axis is
    logarithmic."""
    values = [float(number) for number in numbers]
    scale = common(values, _kind(name))
    factor = scale.factor if scale else 1
    far = min(values) > 0 and max(values) > 20 * min(values)
    return _Drawn(name, tuple(value / factor for value in values), scale, far)


def check_file(path: str) -> None:
    """Raises ``ConfigError`` for a name that does not end in .png, .svg or .pdf, ``MissingExtra``
    without matplotlib.

    >>> check_file("models.gif")
    Traceback (most recent call last):
    vitcost.errors.ConfigError: a plot is a .png, a .svg or a .pdf, got 'models.gif'
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"a plot is a .png, a .svg or a .pdf, got {path!r:.80}")
    _figure()


def _figure() -> Any:
    """A page to draw on, without a screen."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "plot", "a plot") from None
    from matplotlib import rcParams

    # a PDF embeds its fonts as TrueType, as journals ask
    rcParams["pdf.fonttype"] = 42
    rcParams["svg.hashsalt"] = "vitcost"
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    # text can be measured only on a canvas
    FigureCanvasAgg(figure)
    return figure


def _marks(
    axes: Any,
    rows: Sequence[Mapping[str, Any]],
    picture: Picture,
    drawn: Mapping[str, _Drawn],
    areas: Sequence[float],
    labelled: bool,
) -> None:
    """One mark for each row, in the colour of a quantity; or of its model, if labels do not name
    the model."""
    x, y = drawn[picture.x].numbers, drawn[picture.y].numbers
    look = {"linewidths": 0.5, "edgecolors": "white", "alpha": 0.9, "zorder": 2}
    if picture.color:
        color = drawn[picture.color]
        norm = "log" if color.far else None
        marks = axes.scatter(x, y, s=areas, c=color.numbers, norm=norm, cmap="viridis", **look)
        bar = axes.figure.colorbar(marks, ax=axes)
        _ticks(bar.ax.yaxis, color)
        bar.set_label(color.title)
        return
    models = list(dict.fromkeys(row["model"] for row in rows))
    # a label names the model of a point; if a model has many points, its colour does
    several = 1 < len(models) <= _CYCLE and (picture.varied != () or not labelled)
    for i, name in enumerate(models if several else [None]):
        of_model = [j for j, row in enumerate(rows) if name in (None, row["model"])]
        axes.scatter(
            [x[j] for j in of_model], [y[j] for j in of_model], s=[areas[j] for j in of_model],
            color=f"C{i}", label=_safe(name) if name else None, **look,
        )  # fmt: skip


def _front(
    axes: Any, picture: Picture, drawn: Mapping[str, _Drawn], areas: Sequence[float]
) -> None:
    """Draws rings around the points of the front; if its two quantities are the axes, a line joins
    them."""
    pair = picture.front or ("", "")
    x, y = drawn[picture.x].numbers, drawn[picture.y].numbers
    numbers = zip(*(drawn[name].numbers for name in pair), strict=True)
    best = sorted(front(oriented(pair, numbers)))
    best.sort(key=lambda i: (x[i], y[i]))
    points = [x[i] for i in best], [y[i] for i in best]
    if set(pair) == {picture.x, picture.y}:
        axes.plot(*points, color="0.6", linewidth=1, zorder=1)
    axes.scatter(
        *points, s=[areas[i] + 60 for i in best], facecolors="none", edgecolors="0.4", zorder=1.5,
        label=f"Pareto front of {' and '.join(map(in_words, pair))}",
    )  # fmt: skip


def _legend(
    axes: Any, rows: Sequence[Mapping[str, Any]], picture: Picture, areas: Sequence[float]
) -> None:
    """The legend of colours, rings and sizes, below the picture."""
    handles, names = axes.get_legend_handles_labels()
    if picture.size:
        key = QUANTITIES[picture.size].key(picture.size)
        ends = sorted({row[key]: area for row, area in zip(rows, areas, strict=True)}.items())
        for number, area in dict.fromkeys((ends[0], ends[len(ends) // 2], ends[-1])):
            handles.append(axes.scatter([], [], s=area, color="0.6", linewidths=0))
            names.append(f"{in_words(picture.size)} {shown(number, _kind(picture.size))}")
    if handles:
        axes.figure.legend(
            handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False,
            fontsize=8,
        )  # fmt: skip


def _label(
    axes: Any, names: Sequence[str], points: Sequence[tuple[float, float]], areas: Sequence[float]
) -> None:
    """Writes the name of each point beside it, where it covers no label and no point; points that
    lie on one another share one label."""
    figure = axes.figure
    # from here on the axes do not move
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72
    pixels = [(float(u), float(v)) for u, v in axes.transData.transform(points)]
    groups: dict[int, list[int]] = {}
    for i, (u, v) in enumerate(pixels):
        near = (j for j in groups if hypot(pixels[j][0] - u, pixels[j][1] - v) < _ONE * pixel)
        groups.setdefault(next(near, i), []).append(i)
    texts = [_joined([names[i] for i in group]) for group in groups.values()]
    artists = [figure.text(0, 0, text, fontsize=_FONT) for text in texts]
    boxes = [artist.get_window_extent() for artist in artists]
    frame = axes.get_window_extent()
    placed = places(
        [pixels[i] for i in groups],
        # letters in a file are a little wider than on a screen
        [(1.06 * box.width + 3 * pixel, box.height + 2 * pixel) for box in boxes],
        [max((areas[i] / pi) ** 0.5 for i in group) * pixel for group in groups.values()],
        (frame.x0, frame.y0, frame.x1, frame.y1),
        1.4 * _FONT * pixel,
    )
    for artist, i, place in zip(artists, groups, placed, strict=True):
        artist.remove()
        if place is None:
            continue
        left, low, right, high = place.box
        middle = ((left + right) / 2 - pixels[i][0], (low + high) / 2 - pixels[i][1])
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            artist.get_text(), points[i], [each / pixel for each in middle], fontsize=_FONT,
            textcoords="offset points", ha="center", va="center", annotation_clip=False, zorder=3,
            arrowprops=line if place.line else None,
        )  # fmt: skip
    left_out = placed.count(None)
    if left_out:
        count = "1 point has" if left_out == 1 else f"{left_out:,} points have"
        axes.annotate(
            f"{count} no room for a label", (1, 1), (0, 3), fontsize=_FONT, ha="right", color="0.4",
            xycoords="axes fraction", textcoords="offset points",
        )  # fmt: skip


def _joined(names: Sequence[str]) -> str:
    """Names, one on each line; of many names only the first few."""
    more = [f"and {len(names) - _LINES + 1} more"] if len(names) > _LINES else []
    return "\n".join([*names[: _LINES - len(more)], *more])


def _named(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> str:
    """The label of a point: its model and the fields that vary; if there is one model, only the
    fields."""
    values = ", ".join(f"{name.replace('_', ' ')} {_spelled(row[name])}" for name in varied)
    alone = all(each["model"] == row["model"] for each in rows)
    return values if values and alone else ", ".join(filter(None, (row["model"], values)))


def _spelled(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, list) else str(value)


def _areas(numbers: Sequence[float], count: int) -> list[float]:
    """Areas of marks, proportional to a quantity; none is too small to be seen."""
    if not numbers:
        return [_AREA] * count
    least, most = _AREAS
    top = max(numbers) or 1.0
    return [max(least, most * number / top) for number in numbers]


def _scale(axis: Any, drawn: _Drawn) -> None:
    """Labels an axis in the unit of its quantity; it is logarithmic if the numbers are far
    apart."""
    axis.set_label_text(drawn.title)
    least, most = min(drawn.numbers), max(drawn.numbers)
    limit = getattr(axis.axes, f"set_{axis.axis_name}lim")
    if drawn.far:
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        limit(least / 1.6, most * 1.9)
    else:
        # room for labels beside the outermost points
        room = (most - least) * 0.12 or abs(most) * 0.5 or 1.0
        limit(least - room, most + 1.5 * room)
    _ticks(axis, drawn)


def _ticks(axis: Any, drawn: _Drawn) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    # ticks of bytes are round powers of two in their own units (MiB, GiB)
    of_two = drawn.scale is None and _kind(drawn.name) == "bytes"
    powers = LogLocator(2, numticks=8) if of_two else LogLocator(10, (1, 2, 5), numticks=12)
    axis.set_major_locator(powers if drawn.far else MaxNLocator(7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(drawn.tick)


def _kind(name: str) -> str:
    unit = QUANTITIES[name].unit
    return "si" if unit == "count" else unit


def _safe(text: str) -> str:
    """Text that matplotlib does not read as mathematics, cut to a length that fits into a
    picture."""
    short = text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
    return printable(short).replace("$", "\\$")
