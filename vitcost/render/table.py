"""Tables for a terminal or a pipe: aligned text, with styles if the terminal has colours.

Columns are laid out here, since rich's own tables take longer than a whole report; rich is used for
the width of characters and for the codes of styles.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len

from vitcost.page import Column, Page, Table, cell, printable, scaled
from vitcost.render.result import Result

__all__ = ["render"]

Paint: TypeAlias = Callable[[str, str], str]

_STYLES = {
    "title": "bold cyan",
    "answer": "bold",
    "heading": "bold",
    "header": "cyan",
    "rule": "dim",
    "note": "dim",
    "total": "bold",
    "marked": "bold green",
    "failed": "bold red",
}
# a mark for readers without colours
_MARK = " ◂"


class _Line(NamedTuple):
    """A row of a table as text, with its style."""

    texts: tuple[str, ...]
    style: str


def render(result: Result, *, color: bool, width: int | None) -> str:
    paint = _ansi if color else _plain
    lines = _page(result.page(), width, paint)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _page(page: Page, width: int | None, paint: Paint) -> Iterator[str]:
    first, *others = page.answer or ("",)
    heads = ": ".join(part for part in (page.title, first) if part)
    yield from _wrapped([heads] if heads else [], width, paint, "title")
    yield from _wrapped(others, width, paint, "answer")
    for line in page.lead:
        yield from _wrap(line, width)
    if page.latex:
        yield from ("", *map(printable, page.latex.splitlines()))
    for i, formula in enumerate(page.formulas):
        if not i:
            yield ""
        yield from _wrap(formula, width, "  " if not i else "= ")
    for i, table in enumerate(page.tables):
        if i or page.title or page.lead or page.answer:
            yield ""
        yield from _table(table, width, paint)
    if page.notes:
        yield ""
    yield from _wrapped(page.notes, width, paint, "note")


def _table(table: Table, width: int | None, paint: Paint) -> Iterator[str]:
    table = scaled(table)
    yield from _wrapped([table.title] if table.title else [], width, paint, "heading")
    columns, left_out, gap = _fit(table, width)
    header, *lines = _lines(table, columns)
    widths = _widths([header, *lines])
    rule = paint("─" * (sum(widths) + gap * (len(widths) - 1)), "rule")
    right = [table.columns[i].unit not in ("text", "formula") for i in columns]
    if any(header.texts):
        yield paint(_aligned(header.texts, widths, right, gap), "header")
        yield rule
    for i, line in enumerate(lines):
        if line.style == "total" and i:
            yield rule
        text = _aligned(line.texts, widths, right, gap)
        yield paint(text + _MARK if line.style == "marked" else text, line.style)
    notes = list(table.notes)
    if left_out:
        notes.append(f"too narrow to show: {', '.join(left_out)}")
    yield from _wrapped(notes, width, paint, "note")


def _fit(table: Table, width: int | None) -> tuple[list[int], list[str], int]:
    """The columns that fit a width, those that do not fit, and the gap between columns."""
    columns, left_out = list(range(len(table.columns))), list[str]()
    room = width and width - (len(_MARK) if any(row.kind == "marked" for row in table.rows) else 0)
    while True:
        widths = _widths(_lines(table, columns))
        for gap in (2, 1):
            if room is None or sum(widths) + gap * (len(widths) - 1) <= room:
                return columns, left_out, gap
        optional = [i for i in columns if table.columns[i].optional]
        if not optional:
            return columns, left_out, 1
        columns.remove(optional[-1])
        left_out.insert(0, _title_of(table.columns, optional[-1]))


def _title_of(columns: tuple[Column, ...], index: int) -> str:
    """The title of a column; a ratio also has the title of the column before it."""
    title = columns[index].title
    return f"{columns[index - 1].title} {title}" if title == "×" else title


def _lines(table: Table, columns: list[int]) -> list[_Line]:
    """The header, and every row that a flat table shows."""
    lines = [_Line(tuple(printable(table.columns[i].title) for i in columns), "header")]
    for row in table.rows:
        if row.detail:
            continue
        texts = [cell(row, i, table) for i in columns]
        texts[0] = "  " * row.level + texts[0]
        lines.append(_Line(tuple(texts), row.kind))
    return lines


def _widths(lines: Iterable[_Line]) -> list[int]:
    return [
        max(map(cell_len, column)) for column in zip(*(line.texts for line in lines), strict=True)
    ]


def _aligned(texts: tuple[str, ...], widths: list[int], right: list[bool], gap: int) -> str:
    cells = []
    for text, width, push in zip(texts, widths, right, strict=True):
        space = " " * (width - cell_len(text))
        cells.append(space + text if push else text + space)
    return (" " * gap).join(cells)


def _wrapped(texts: Iterable[str], width: int | None, paint: Paint, style: str) -> Iterator[str]:
    """Sentences wrapped to the width of the terminal, if the width is known."""
    for text in texts:
        for line in _wrap(text, width):
            yield paint(line, style)


def _wrap(text: str, width: int | None, before: str = "") -> list[str]:
    text = before + printable(text)
    if width is None or cell_len(text) <= width:
        return [text]
    from textwrap import wrap

    lines = wrap(text, width, break_long_words=False, break_on_hyphens=False)
    # checked again after wrapping, since lines now begin with other words
    return [printable(line) for line in lines]


def _plain(text: str, style: str) -> str:
    return text


def _ansi(text: str, style: str) -> str:
    # a pipe has no styles, so this is not imported for it
    from rich.color import ColorSystem
    from rich.style import Style

    definition = _STYLES.get(style, "")
    return Style.parse(definition).render(text, color_system=ColorSystem.STANDARD)
