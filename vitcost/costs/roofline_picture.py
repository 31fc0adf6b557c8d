"""A picture of a report's time on a card: its parts below the two limits of the data sheet."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vitcost.costs.report_types import Report
from vitcost.page import Axis, Line, Plot, Point, shown

if TYPE_CHECKING:
    from vitcost.hardware.predicted import Time

__all__ = ["roofline"]

_X = Axis("FLOPs a byte", "si", log=True)
_Y = Axis("FLOPs a second", "si", log=True)


def roofline(reports: Sequence[Report]) -> Iterator[Plot]:
    """A picture for each card that the reports have a time for: the parts of one model, or of
    several, below the limits of the card's sheet.

    A part with x FLOPs per byte runs ``y ≤ min(bandwidth · x, peak)`` FLOPs per second.

    >>> from vitcost import report
    >>> len(list(roofline([report("vit_base_patch16_224", gpu="l4")])))
    1
    """
    cards: dict[tuple[str, tuple[float, float]], list[tuple[Report, Time]]] = {}
    for report in reports:
        for time in report.time:
            flops, moved = time.sheet_flops_per_second, time.sheet_bytes_per_second
            if flops and moved:
                cards.setdefault((time.gpu, (flops, moved)), []).append((report, time))
    for (gpu, sheet), pairs in cards.items():
        points = [*_points(pairs)]
        if points:
            yield _plot(gpu, sheet, points, pairs)


def _points(pairs: "Sequence[tuple[Report, Time]]") -> Iterator[Point]:
    for report, time in pairs:
        name = report.model.name
        for part in time.parts:
            if part.flops and part.moved_bytes and part.seconds:
                x, y = part.flops / part.moved_bytes, part.flops / part.seconds
                label = f"{part.name}, bound by {part.bound}"
                several = len(pairs) > 1
                yield Point(
                    f"{name} {label}" if several else label, name if several else part.name, x, y
                )


def _plot(
    gpu: str,
    sheet: tuple[float, float],
    points: Sequence[Point],
    pairs: "Sequence[tuple[Report, Time]]",
) -> Plot:
    flops, moved = sheet
    knee = flops / moved
    low, high = (end(*(point.x for point in points), knee) for end in (min, max))
    roof = ((low / 2, low / 2 * moved), (knee, flops), (high * 2, flops))
    without = dict.fromkeys(
        part.name for _, time in pairs for part in time.parts if not part.flops and part.seconds
    )
    notes = [
        f"the line: what the sheet of {gpu} allows, {shown(moved, 'si')}B/s of memory up to "
        f"{shown(knee, 'relative')} FLOPs a byte, then {shown(flops, 'si')}FLOPs a second. A point "
        "below it is bound by what its part waits for: launches, tiles that are not full, or the "
        "host"
    ]
    if without:
        notes.append(f"without matrix products, and so without a point: {', '.join(without)}")
    title = f"Roofline, {gpu}"
    return Plot(title, _X, _Y, tuple(points), (Line(f"the sheet of {gpu}", roof),), tuple(notes))
