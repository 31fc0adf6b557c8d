"""Marks: inline SVG that loads and runs nothing. A bar of segments, held against a limit.

A mark is drawn to a width of 100 and stretched to its place. The whole and each segment have a
``<title>``, which a screen reader reads and a pointer shows.
"""

from collections.abc import Iterator, Sequence
from html import escape

from vitcost.page import Bar, printable, shown

__all__ = ["KEYS", "bar", "keys"]

# seen on light and on dark; more names than colours begin again
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


def bar(mark: Bar, names: Sequence[str]) -> Iterator[str]:
    """One bar as SVG; a segment has the colour of its name's place among ``names``."""
    drawn = sum(value for _, value in mark.segments)
    whole = max(drawn, mark.limit or 0) or 1
    said = f"{mark.title}: {shown(drawn, mark.unit)}"
    if mark.limit is not None:
        said += f" of {shown(mark.limit, mark.unit)}"
    yield (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{_text(said)}"><title>{_text(said)}</title>'
    )
    at = 0.0
    for name, value in mark.segments:
        width = 100 * value / whole
        color = KEYS[names.index(name) % len(KEYS)]
        yield (
            f'<rect x="{at:.3f}" y="0" width="{width:.3f}" height="10" fill="{color}">'
            f"<title>{_text(name)}: {_text(shown(value, mark.unit))}</title></rect>"
        )
        at += width
    if mark.limit is not None:
        edge = min(100 * mark.limit / whole, 99.4)
        yield f'<rect class="limit" x="{edge:.3f}" y="0" width="0.6" height="10"></rect>'
    yield "</svg>"


def keys(names: Sequence[str]) -> Iterator[str]:
    """The colour of each name."""
    yield '<div class="keys">'
    for i, name in enumerate(names):
        yield f'<i style="--key: {KEYS[i % len(KEYS)]}">{_text(name)}</i>'
    yield "</div>"


def _text(text: str) -> str:
    return escape(printable(text))
