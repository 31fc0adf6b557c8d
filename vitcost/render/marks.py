"""Marks: inline SVG that loads and runs nothing. There are bars of segments with a limit, areas
stacked over moments, and points and lines over two axes.

A mark is drawn at a fixed size and stretched to its place, so its texts are outside of the SVG. The
whole and each part have a ``<title>``, which a screen reader reads and a pointer shows.
"""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate, groupby
from math import ceil, floor, log2, log10

from vitcost.page import Areas, Axis, Bar, Moment, Plot, printable, shown
from vitcost.units import common

__all__ = [
    "BANDS",
    "KEYS",
    "areas",
    "bar",
    "colors",
    "columns",
    "described",
    "keys",
    "markup",
    "plot",
    "ticks",
]

# colours for light and dark backgrounds; if there are more names, the colours repeat
KEYS = (
    "#4c8dff",
    "#f28e2b",
    "#59a14f",
    "#b07aa1",
    "#e15759",
    "#2fa7a0",
    "#d4a72c",
    "#8c8c8c",
    "#9c755f",
    "#86bcb6",
    "#ff9da7",
    "#6b4c9a",
)


# colours of the bands below a picture, for light and dark backgrounds
BANDS = ("#7d93b2", "#c05b9b", "#5c6470", "#c9a227", "#4f9d8f", "#a3a3a3")
# the most columns of a picture, and the least width of a band as a share of the picture
_COLUMNS, _LEAST = 400, 0.012
# the most places that show a text under the pointer
_PLACES = 240
_WIDE, _HIGH = 4000, 1000


def described(mark: Bar) -> str:
    """A bar in words: its length, and the limit that bounds it."""
    limit = "" if mark.limit is None else f" of {shown(mark.limit, mark.unit)}"
    return f"{mark.title}: {shown(sum(value for _, value in mark.segments), mark.unit)}{limit}"


def _svg(width: int, height: int, label: str, title: str) -> str:
    """The start of a picture that fills its place, with its names for a reader and on hover."""
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{markup(label)}"><title>{markup(title)}</title>'
    )


def bar(mark: Bar, names: Sequence[str]) -> Iterator[str]:
    """One bar as SVG; the colour of a segment follows from the place of its name in ``names``."""
    whole = max(sum(value for _, value in mark.segments), mark.limit or 0) or 1
    yield _svg(100, 10, described(mark), described(mark))
    at = 0.0
    for name, value in mark.segments:
        width = 100 * value / whole
        color = KEYS[names.index(name) % len(KEYS)]
        yield (
            f'<rect x="{at:.3f}" y="0" width="{width:.3f}" height="10" fill="{color}">'
            f"<title>{markup(name)}: {markup(shown(value, mark.unit))}</title></rect>"
        )
        at += width
    if mark.limit is not None:
        edge = min(100 * mark.limit / whole, 99.4)
        yield f'<rect class="limit" x="{edge:.3f}" y="0" width="0.6" height="10"></rect>'
    yield "</svg>"


def plot(mark: Plot) -> Iterator[str]:
    """Points and lines as SVG, with numbers at both axes and a legend."""
    xs = [point.x for point in mark.points] + [x for line in mark.lines for x, _ in line.points]
    ys = [point.y for point in mark.points] + [y for line in mark.lines for _, y in line.points]
    across, upright = _ends(xs, mark.x), _ends(ys, mark.y)
    groups = list(dict.fromkeys(point.group for point in mark.points))

    def at(x: float, y: float) -> str:
        left, up = _share(x, across, mark.x), _share(y, upright, mark.y)
        return f"{_WIDE * left:.0f} {_HIGH * (1 - up):.0f}"

    yield f'<p class="axis">{markup(mark.y.title)}</p><div class="plot">'
    label = f"{mark.title}: {mark.y.title} over {mark.x.title}, {len(mark.points):,} points"
    yield _svg(_WIDE, _HIGH, label, mark.title)
    for line in mark.lines:
        path = "L".join(at(x, y) for x, y in line.points)
        yield f'<path class="line" d="M{path}"><title>{markup(line.name)}</title></path>'
    for point in mark.points:
        color = KEYS[groups.index(point.group) % len(KEYS)]
        description = f"{point.name}: {_said(point.x, mark.x)}, {_said(point.y, mark.y)}"
        yield (
            f'<path class="point" stroke="{color}" d="M{at(point.x, point.y)}h0">'
            f"<title>{markup(description)}</title></path>"
        )
    yield "</svg>"
    for value in _numbers(upright, mark.y):
        share = 100 * _share(value, upright, mark.y)
        yield f'<b style="bottom: {share:.2f}%">{markup(shown(value, mark.y.unit))}</b>'
    yield "</div>"
    yield '<div class="across">'
    for value in _numbers(across, mark.x):
        share = 100 * _share(value, across, mark.x)
        yield f'<b style="left: {share:.2f}%">{markup(shown(value, mark.x.unit))}</b>'
    yield f'</div><p class="axis across">{markup(mark.x.title)}</p>'
    yield from keys(groups)


def _said(value: float, axis: Axis) -> str:
    return f"{axis.title} {shown(value, axis.unit)}"


def _ends(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    """The two ends of an axis: it begins at 0, or at a power of ten below the values, and ends
    above them."""
    least, most = min(values), max(values)
    if not axis.log:
        return 0.0, ticks(most, axis.unit)[-1]
    low, high = floor(log10(least)), ceil(log10(most))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _share(value: float, ends: tuple[float, float], axis: Axis) -> float:
    """The place of a value between the ends of an axis, from 0 to 1."""
    low, high = ends
    if axis.log:
        value, low, high = log10(value), log10(low), log10(high)
    return (value - low) / (high - low)


def _numbers(ends: tuple[float, float], axis: Axis) -> list[float]:
    """The numbers shown at an axis."""
    low, high = ends
    if not axis.log:
        return ticks(high, axis.unit)[1:]
    powers = range(round(log10(low)), round(log10(high)) + 1)
    # no more numbers than fit on a phone
    return [10.0**power for power in powers][:: 1 + len(powers) // 6]


def colors(names: Sequence[str], order: Sequence[str] = ()) -> list[str]:
    """The colour of each name, by its place in an order, or else among the names.

    >>> colors(["b"], ["a", "b"]) == colors(["a", "b"])[1:]
    True
    """
    order = [*dict.fromkeys((*order, *names))]
    return [KEYS[order.index(name) % len(KEYS)] for name in names]


def keys(names: Sequence[str], fills: Sequence[str] = KEYS) -> Iterator[str]:
    """The colour of each name."""
    yield '<div class="keys">'
    for i, name in enumerate(names):
        yield f'<i style="--key: {fills[i % len(fills)]}">{markup(name)}</i>'
    yield "</div>"


def columns(moments: Sequence[Moment]) -> list[tuple[Moment, float, float]]:
    """The moments that are drawn, each with its left and right edge as shares of the width; of
    several moments in one column, the one with the largest sum."""
    runs = [list(run) for _, run in groupby(moments, key=lambda moment: moment.band)]
    least = len(moments) * min(_LEAST, 0.3 / len(runs))
    whole = sum(max(least, len(run)) for run in runs)
    several = ceil(len(moments) / _COLUMNS)
    drawn, left = [], 0.0
    for run in runs:
        width = max(least, len(run)) / len(run) / whole
        for start in range(0, len(run), several):
            group = run[start : start + several]
            right = left + width * len(group)
            drawn.append((max(group, key=_sum), left, right))
            left = right
    return drawn


def ticks(most: float, unit: str, few: int = 5) -> list[float]:
    """Round numbers from 0 up to the first that is not less than ``most``.

    >>> ticks(5 * 2**30, "bytes") == [i * 2**30 for i in range(6)]
    True
    >>> ticks(23, "count")
    [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]
    """
    most = most or 1
    if unit == "bytes":
        step = 2.0 ** ceil(log2(most / few))
    else:
        ten = 10.0 ** floor(log10(most / few))
        step = next(each * ten for each in (1, 2, 5, 10) if few * each * ten >= most * (1 - 1e-9))
    return [i * step for i in range(ceil(most / step * (1 - 1e-9)) + 1)]


def areas(mark: Areas) -> Iterator[str]:
    """Stacked areas as SVG, with a strip of bands below and a legend."""
    drawn = columns(mark.moments)
    steps = ticks(max(map(_sum, mark.moments)), mark.unit)
    top = steps[-1]
    yield '<div class="plot">'
    yield _svg(_WIDE, _HIGH, f"{mark.title}: {mark.most}", mark.most)
    fills = colors(mark.names, mark.order)
    edges = [right for *_, right in drawn]
    tops = [*zip(*(accumulate(moment.parts) for moment, *_ in drawn), strict=True)]
    # the whole is drawn first, then covered by the sums without the last parts
    for i in reversed(range(len(mark.names))):
        path = _steps([*zip(tops[i], edges, strict=True)], top)
        title = f"<title>{markup(mark.names[i])}</title>"
        yield f'<path fill="{fills[i]}" d="{path}">{title}</path>'
    yield from _places(mark, drawn)
    _, left, right = max(drawn, key=lambda column: _sum(column[0]))
    at = _WIDE * (left + right) / 2
    yield f'<rect class="limit" x="{at:.0f}" y="0" width="8" height="{_HIGH}"></rect></svg>'
    yield from _scale(steps, mark.unit)
    yield "</div>"
    yield from _strip(drawn)
    yield '<div class="both">'
    yield from keys(list(dict.fromkeys(moment.band for moment in mark.moments)), BANDS)
    yield from keys(mark.names, fills)
    yield "</div>"


def _scale(steps: Sequence[float], unit: str) -> Iterator[str]:
    """The numbers of the vertical axis in one unit, each with a horizontal line."""
    scale = common(steps[1:], unit)
    for step in steps[1:]:
        label = shown(step, unit) if scale is None else f"{step / scale.factor:g} {scale.word}"
        yield f'<b style="bottom: {100 * step / steps[-1]:.2f}%">{markup(label)}</b>'


def _sum(moment: Moment) -> float:
    return sum(moment.parts)


def _steps(heights: Sequence[tuple[float, float]], top: float) -> str:
    """An area below steps; each step has a height and a right edge."""
    path, at = [f"M0 {_HIGH}"], None
    ys = [round(_HIGH - _HIGH * height / top) for height, _ in heights]
    for y, after, (_, right) in zip(ys, [*ys[1:], None], heights, strict=True):
        if y != at:
            path.append(f"V{y}")
            at = y
        if after != y:
            path.append(f"H{_WIDE * right:.0f}")
    return "".join([*path, f"V{_HIGH}z"])


def _places(mark: Areas, drawn: Sequence[tuple[Moment, float, float]]) -> Iterator[str]:
    """An invisible field over each place of each band; the pointer shows its text."""
    fields = [list(group) for _, group in groupby(drawn, key=lambda c: (c[0].band, c[0].place))]
    for group in fields if len(fields) <= _PLACES else ():
        moment = max((column[0] for column in group), key=_sum)
        left, width = group[0][1], group[-1][2] - group[0][1]
        parts = zip(mark.names, moment.parts, strict=True)
        split = ", ".join(f"{name} {shown(size, mark.unit)}" for name, size in parts if size)
        label = f"{_at(moment)}: up to {shown(_sum(moment), mark.unit)} ({split})"
        yield (
            f'<rect class="at" x="{_WIDE * left:.0f}" y="0" width="{_WIDE * width:.0f}" '
            f'height="{_HIGH}"><title>{markup(label)}</title></rect>'
        )


def _strip(drawn: Sequence[tuple[Moment, float, float]]) -> Iterator[str]:
    """The strip of bands below a picture."""
    bands = list(dict.fromkeys(column[0].band for column in drawn))
    yield '<svg class="strip" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
    for band, run in groupby(drawn, key=lambda column: column[0].band):
        edges = list(run)
        left, width = edges[0][1], edges[-1][2] - edges[0][1]
        color = BANDS[bands.index(band) % len(BANDS)]
        yield (
            f'<rect x="{100 * left:.3f}" y="0" width="{100 * width:.3f}" height="10" '
            f'fill="{color}"><title>{markup(band)}</title></rect>'
        )
    yield "</svg>"


def _at(moment: Moment) -> str:
    return f"{moment.band} of {moment.place}" if moment.place else moment.band


def markup(text: str) -> str:
    """Text as a page prints it, escaped so that no sign is markup."""
    return escape(printable(text))
