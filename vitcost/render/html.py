"""HTML: one self-contained page, light or dark as the reader's screen is, wide or narrow.

It loads nothing and runs nothing; what can be folded is ``<details>``. ``fragment`` is the same
without the page around it, for a notebook.
"""

from collections.abc import Iterator, Sequence
from html import escape
from math import prod
from typing import NamedTuple

from vitcost.page import Result, Row, Table, Value, printable, shown

__all__ = ["fragment", "render"]

# the browser itself refuses whatever a name might try to load
_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"""
_PAGE_STYLE = """\
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem;
  color: #1c2128; background: #fff }
@media (prefers-color-scheme: dark) { body { color: #d8dee6; background: #14171c } }
"""
_STYLE = """\
.vitcost { --bar: #4c8dff40; --mark: #2da44e; --bad: #e5484d; --line: #8884;
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
.vitcost h1 { font-size: 1.6rem; margin: 0 0 .5rem }
.vitcost h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.vitcost p { margin: .15rem 0; white-space: pre-wrap }
.vitcost p.note { opacity: .7; font-size: .87em; margin-top: .5rem }
.vitcost .scroll { overflow-x: auto }
.vitcost table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0 }
.vitcost .grid { font-variant-numeric: tabular-nums; width: max-content }
.vitcost .row { display: grid; grid-template-columns: var(--columns) }
.vitcost th, .vitcost td, .vitcost .row > span { padding: .25rem .6rem; text-align: left;
  white-space: nowrap; overflow-wrap: normal; border: 0; color: inherit; background-color: #0000 }
.vitcost .row > span { white-space: normal; overflow-wrap: anywhere }
.vitcost .number.number { text-align: right }
.vitcost tr, .vitcost .row { border-bottom: 1px solid var(--line); background: none }
.vitcost th, .vitcost .head > span { font-weight: 600; opacity: .75 }
.vitcost .bar.bar { background: linear-gradient(90deg, var(--bar) var(--share), #0000 0) }
.vitcost .total { font-weight: 700 }
.vitcost .marked { font-weight: 600; box-shadow: inset 3px 0 var(--mark) }
.vitcost .failed { font-weight: 600; box-shadow: inset 3px 0 var(--bad) }
.vitcost summary { list-style: none; cursor: pointer }
.vitcost summary::-webkit-details-marker { display: none }
.vitcost summary:hover { background: var(--line) }
.vitcost summary > span:first-child::before { content: "▸ " }
.vitcost details[open] > summary > span:first-child::before { content: "▾ " }
.vitcost .leaf > span:first-child::before { content: "\\2007 " }
"""


class _Nested(NamedTuple):
    """A row and the rows that are inside it."""

    row: Row
    inside: "tuple[_Nested, ...]"


def render(result: Result, *, color: bool, width: int | None) -> str:
    title = _text(result.page().title or "vitcost")
    head = f"{_HEAD}<title>{title}</title>\n<style>\n{_PAGE_STYLE}</style>\n</head>\n"
    return f"{head}<body>\n{fragment(result)}</body>\n</html>\n"


def fragment(result: Result) -> str:
    """The page of a result as an element of any page; its style touches nothing else."""
    page = result.page()
    lines = [f"<style>\n{_STYLE}</style>"]
    if page.title:
        lines.append(f"<h1>{_text(page.title)}</h1>")
    lines += [f"<p>{_text(line)}</p>" for line in page.lead]
    for table in page.tables:
        if table.title:
            lines.append(f"<h2>{_text(table.title)}</h2>")
        folds = any(row.level or row.detail for row in table.rows)
        lines += ['<div class="scroll">', *(_grid if folds else _flat)(table), "</div>"]
        lines += [f'<p class="note">{_text(note)}</p>' for note in table.notes]
    lines += [f'<p class="note">{_text(note)}</p>' for note in page.notes]
    return "\n".join(['<div class="vitcost">', *lines, "</div>"]) + "\n"


def _flat(table: Table) -> Iterator[str]:
    """Rows that are not nested."""
    yield "<table>"
    if any(column.title for column in table.columns):
        yield f"<thead><tr>{''.join(_cells(table, None, 'th'))}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        yield f"<tr{_class(row.kind)}>{''.join(_cells(table, row, 'td'))}</tr>"
    yield "</tbody></table>"


def _grid(table: Table) -> Iterator[str]:
    """Rows that fold: a table's rows cannot, so each is a grid with the same columns."""
    texts = [[column.title for column in table.columns]]
    texts += [[shown(*pair) for pair in _typed(table, row)] for row in table.rows]
    widths = [min(60, max(map(len, column))) + 3 for column in zip(*texts, strict=True)]
    # the signs of folding and the steps of nesting stand in the first column
    widths[0] += 2 + 2 * max(row.level for row in table.rows)
    columns = " ".join(f"{width}ch" for width in widths)
    yield f'<div class="grid" style="--columns: {columns}">'
    yield f'<div class="row head">{"".join(_cells(table, None, "span"))}</div>'
    for each in _nested(table.rows):
        yield from _folded(table, each, ())
    yield "</div>"


def _folded(table: Table, nested: _Nested, repeats: tuple[int, ...]) -> Iterator[str]:
    row = nested.row
    repeats = (*repeats, _repeat(table, row))
    cells = "".join(_cells(table, row, "span", prod(repeats)))
    if not nested.inside:
        yield f"<div{_class('row', 'leaf', row.kind)}>{cells}</div>"
        return
    # what a flat table shows is open
    is_open = "" if all(each.row.detail for each in nested.inside) else " open"
    yield f"<details{is_open}><summary{_class('row', row.kind)}>{cells}</summary>"
    for each in nested.inside:
        yield from _folded(table, each, repeats)
    yield "</details>"


def _nested(rows: Sequence[Row]) -> tuple[_Nested, ...]:
    """Rows with those inside them, by level."""
    found: list[_Nested] = []
    start = 0
    while start < len(rows):
        level, end = rows[start].level, start + 1
        while end < len(rows) and rows[end].level > level:
            end += 1
        found.append(_Nested(rows[start], _nested(rows[start + 1 : end])))
        start = end
    return tuple(found)


def _cells(table: Table, row: Row | None, tag: str, times: int = 1) -> Iterator[str]:
    """The cells of a row, or of the header."""
    if row is None:
        for column in table.columns:
            yield f"<{tag}{_class(_side(column.unit))}>{_text(column.title)}</{tag}>"
        return
    shares = _shares(table, row, times)
    indent = f"padding-left: {0.6 + 1.2 * row.level:.1f}rem" if row.level else ""
    for i, (value, unit) in enumerate(_typed(table, row)):
        bar = "" if shares[i] is None else f"--share: {100 * (shares[i] or 0):.2f}%"
        style = "; ".join(part for part in (bar, indent if i == 0 else "") if part)
        kinds = _class(_side(table.columns[i].unit), "bar" if bar else "")
        styled = f' style="{style}"' if style else ""
        yield f"<{tag}{kinds}{styled}>{_text(shown(value, unit))}</{tag}>"


def _shares(table: Table, row: Row, times: int) -> list[float | None]:
    """How long the bar of each cell is: a ratio itself, or the part of the total below it."""
    last = table.rows[-1]
    shares: list[float | None] = []
    for column, value, whole in zip(table.columns, row.cells, last.cells, strict=True):
        share = None
        if row.kind == "total" or isinstance(value, str | tuple | None):
            pass
        elif column.unit == "ratio":
            share = value
        elif last.kind == "total" and isinstance(whole, int | float) and whole > 0:
            share = times * value / whole
        shares.append(None if share is None or share <= 0 else min(share, 1.0))
    return shares


def _repeat(table: Table, row: Row) -> int:
    """How many equal ones a row stands for."""
    for column, value in zip(table.columns, row.cells, strict=True):
        if column.title == "×" and isinstance(value, int):
            return value
    return 1


def _typed(table: Table, row: Row) -> Iterator[tuple[Value, str]]:
    for value, column in zip(row.cells, table.columns, strict=True):
        yield value, row.unit or column.unit


def _side(unit: str) -> str:
    return "" if unit == "text" else "number"


def _class(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _text(text: str) -> str:
    return escape(printable(text))
