"""Places for the labels of a picture's points, such that no label covers another label or a point.

Each label takes the first free place around its point, from near to far; a far one has a line to
its point. Coordinates are of the picture, in any unit; a box is left, bottom, right, top.
"""

from collections.abc import Iterator, Sequence
from math import cos, hypot, pi, sin
from typing import NamedTuple, TypeAlias

__all__ = ["Box", "Place", "places"]

Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float]

# how far from its point a label may be, in line heights
_FAR = (0.9, 1.6, 2.6, 4.0, 6.0, 8.5, 11.5, 15.0, 20.0, 26.0)
# directions in sixteenths of a turn: right, up, left and down are tried first
_TURNS = (0, 4, 8, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15)
# from this distance on, a line joins a label to its point
_LINE = 1.2
# a joining line is checked at this many points
_STEPS = 16


class Place(NamedTuple):
    """The box of a label, and whether a line joins it to its point."""

    box: Box
    line: bool


def places(
    points: Sequence[Point],
    sizes: Sequence[Point],
    radii: Sequence[float],
    frame: Box,
    line: float,
) -> list[Place | None]:
    """A place for the label of each point, or None where there is no room for it.

    ``sizes`` are the widths and heights of the labels, ``radii`` the radii of the points' marks,
    ``line`` is the height of a line of text. If every free place needs a line that crosses a label,
    such a place is taken.

    >>> [place and place.box for place in places([(5, 5)], [(4, 1)], [0.5], (0, 0, 20, 20), 1)]
    [(5.9, 4.5, 9.9, 5.5)]
    """
    marks = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(points, radii, strict=True)]
    placed: list[Place | None] = [None] * len(points)
    boxes: list[Box] = []
    lines: list[tuple[Point, Point]] = []
    # labels in a crowd are placed first: the others find room in any case
    crowd = sorted(range(len(points)), key=lambda i: _alone(points, i, sizes[i]))
    for i in crowd:
        places = list(_around(points[i], sizes[i], radii[i], line))
        free = (
            (box, lead)
            for crossed in (False, True)
            for box, far in places
            for lead in [(points[i], _nearest(box, points[i])) if far > _LINE else None]
            if _free(box, None if crossed else lead, boxes, marks, [] if crossed else lines, frame)
        )
        box, lead = next(free, (None, None))
        if box is not None:
            placed[i] = Place(box, lead is not None)
            boxes.append(box)
            lines += [lead] if lead else []
    return placed


def _alone(points: Sequence[Point], i: int, size: Point) -> float:
    """How far the nearest other point is, in units of the label's size."""
    x, y = points[i]
    return min(
        (
            hypot((x - u) / (size[0] or 1), (y - v) / (size[1] or 1))
            for j, (u, v) in enumerate(points)
            if j != i
        ),
        default=0.0,
    )


def _around(point: Point, size: Point, radius: float, line: float) -> Iterator[tuple[Box, float]]:
    """Boxes around a point, the nearest first, each with its distance in line heights."""
    (x, y), (width, height) = point, size
    for far in _FAR:
        for turn in _TURNS:
            dx, dy = cos(turn * pi / 8), sin(turn * pi / 8)
            gap = radius + (far - 0.5) * line
            cx = x + dx * (gap + width / 2)
            cy = y + dy * (gap + height / 2)
            box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            yield tuple(round(side, 6) for side in box), far  # type: ignore[misc]


def _free(
    box: Box,
    line: tuple[Point, Point] | None,
    labels: Sequence[Box],
    marks: Sequence[Box],
    lines: Sequence[tuple[Point, Point]],
    frame: Box,
) -> bool:
    """Whether a label and its line cover nothing and are inside the frame."""
    inside = box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
    if not inside or any(_over(box, other) for other in (*labels, *marks)):
        return False
    if any(_crosses(each, box) for each in lines):
        return False
    return line is None or not any(_crosses(line, other) for other in labels)


def _over(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _crosses(line: tuple[Point, Point], box: Box) -> bool:
    (x, y), (u, v) = line
    for k in range(1, _STEPS):
        at, up = x + (u - x) * k / _STEPS, y + (v - y) * k / _STEPS
        if box[0] < at < box[2] and box[1] < up < box[3]:
            return True
    return False


def _nearest(box: Box, point: Point) -> Point:
    """The point of a box that is nearest to another."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
