"""HTML: one self-contained page, for light and dark, wide and narrow screens.

It loads nothing and runs no script; folded parts are ``<details>``. ``fragment`` is the content
without the page around it, for a notebook.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from vitcost.page import Areas, Bars, Column, Page, Plot, Row, Table, cell, scaled, shown
from vitcost.render.marks import KEYS, areas, bar, colors, described, keys, markup, plot
from vitcost.render.mathml import mathml
from vitcost.render.result import Result

__all__ = ["STYLE", "body", "fragment", "render"]

# the browser itself refuses anything that a name might try to load
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
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 84rem;
  --paper: #fff; color: #1c2128; background: var(--paper) }
@media (prefers-color-scheme: dark) { body { --paper: #14171c; color: #d8dee6 } }
@media (max-width: 40rem) { body { padding: .8rem .5rem 3rem }
  .vitcost .scroll :is(th, td, .row > span):first-child { position: sticky; left: 0;
    opacity: 1; background-color: var(--paper) } }
"""
# the colours work on light and dark backgrounds, since a notebook's theme may differ from the
# system's
STYLE = """\
.vitcost { --bar: #4c8dff44; --mark: #2da44e; --bad: #e5484d; --line: #8884;
  font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
.vitcost h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem }
.vitcost h2 { font-size: 1.05rem; margin: 0 0 .5rem }
.vitcost p { margin: .15rem 0; white-space: pre-wrap }
.vitcost p.answer { font-size: 1.1em; font-weight: 600 }
.vitcost p.note { opacity: .7; font-size: .87em; margin-top: .5rem }
.vitcost .tables { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.25rem 0 }
.vitcost section { box-sizing: border-box; flex: 1 1 auto; max-width: 100%; padding: .9rem 1rem;
  border: 1px solid var(--line); border-radius: .6rem }
.vitcost section.wide { width: 100% }
.vitcost section .note { max-width: 34rem; width: 0; min-width: 100% }
.vitcost .scroll { overflow-x: auto; background:
  linear-gradient(90deg, var(--paper, Canvas) 30%, #0000) 0 / 2.5rem 100% no-repeat local,
  linear-gradient(270deg, var(--paper, Canvas) 30%, #0000) 100% / 2.5rem 100% no-repeat local,
  linear-gradient(90deg, #8889, #0000) 0 / .9rem 100% no-repeat scroll,
  linear-gradient(270deg, #8889, #0000) 100% / .9rem 100% no-repeat scroll }
.vitcost svg { display: block; width: 100%; height: 1.3rem; border-radius: .3rem;
  background: var(--line) }
.vitcost svg .limit { fill: currentColor }
.vitcost .plot { position: relative; margin: 1.2rem 0 0 4.2rem }
.vitcost .plot svg { height: 15rem; border-radius: 0; border-bottom: 1px solid; background: none }
.vitcost .plot > b { position: absolute; left: -4.2rem; right: 0; font-size: .8em; line-height: 1;
  font-weight: 400; border-bottom: 1px solid var(--line); pointer-events: none }
.vitcost .plot path.line { fill: none; stroke: currentColor; stroke-width: 2px; opacity: .6 }
.vitcost .plot path.point { stroke-width: 11px; stroke-linecap: round }
.vitcost .plot path { vector-effect: non-scaling-stroke }
.vitcost .plot svg { overflow: visible }
.vitcost .axis { font-size: .87em; opacity: .8; margin: .4rem 0 -.2rem }
.vitcost .axis.across { text-align: right; margin: 0 }
.vitcost div.across { position: relative; height: 1.4rem; margin-left: 4.2rem; font-size: .8em }
.vitcost div.across > b { position: absolute; font-weight: 400; translate: -50%; line-height: 2;
  white-space: nowrap }
.vitcost div.across > b:last-child { translate: -100% }
.vitcost .at { fill: #0000 }
.vitcost .at:hover { fill: #8886 }
.vitcost svg.strip { height: .5rem; margin: 2px 0 0 4.2rem; border-radius: 0;
  width: calc(100% - 4.2rem) }
.vitcost p.formula { overflow-x: auto; white-space: nowrap; margin: .4rem 0 }
.vitcost table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0;
  width: 100% }
.vitcost .grid { width: max-content; min-width: 100%; font-variant-numeric: tabular-nums }
.vitcost .row { display: grid; grid-template-columns: var(--columns) }
.vitcost th, .vitcost td, .vitcost .row > span { padding: .25rem .5rem; text-align: left;
  white-space: nowrap; overflow-wrap: normal; border: 0; color: inherit; background-color: #0000 }
.vitcost .row > span { white-space: normal; overflow-wrap: anywhere }
.vitcost .number.number { text-align: right }
.vitcost tr, .vitcost .row { border-bottom: 1px solid var(--line); background: none }
.vitcost th, .vitcost .head > span { font-weight: 600; opacity: .75 }
.vitcost .bar.bar { background: linear-gradient(90deg, var(--bar) var(--share), #0000 0) }
.vitcost .total > * { font-weight: 700 }
.vitcost .marked, .vitcost .failed { box-shadow: inset 3px 0 var(--mark) }
.vitcost .failed { box-shadow: inset 3px 0 var(--bad) }
.vitcost .marked > *, .vitcost .failed > * { font-weight: 600 }
.vitcost summary { list-style: none; cursor: pointer }
.vitcost summary::-webkit-details-marker { display: none }
.vitcost summary:hover { background: var(--line) }
.vitcost summary > span:first-child::before { content: "▸ " }
.vitcost details[open] > summary > span:first-child::before { content: "▾ " }
.vitcost .leaf > span:first-child::before { content: "\\2007 " }
.vitcost .goes { display: grid; grid-template-columns: max-content 1fr; gap: .45rem .8rem;
  align-items: center }
.vitcost .goes > b, .vitcost .keys > i { font-weight: 400; font-style: normal }
.vitcost .bars { grid-template-columns: 1fr; gap: .2rem }
.vitcost .stack { display: flex; height: 1.3rem; border-radius: .3rem; overflow: hidden;
  background: var(--line) }
.vitcost .keys { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin-top: .6rem;
  font-size: .87em }
.vitcost .keys > i::before { content: ""; display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; border-radius: .2em; background: var(--key) }
@media (max-width: 40rem) {
  .vitcost { font-size: 13px }
  .vitcost .optional.optional { display: none }
  .vitcost .row { grid-template-columns: var(--narrow) }
  .vitcost section { padding: .7rem .6rem }
  .vitcost th, .vitcost td, .vitcost .row > span { padding: .3rem .35rem }
}
"""


class _Nested(NamedTuple):
    """A row, and the rows inside it."""

    row: Row
    inside: "tuple[_Nested, ...]"


def render(result: Result, *, color: bool, width: int | None) -> str:
    title = markup(result.page().title or "vitcost")
    head = f"{_HEAD}<title>{title}</title>\n<style>\n{_PAGE_STYLE}</style>\n</head>\n"
    return f"{head}<body>\n{fragment(result)}</body>\n</html>\n"


def fragment(result: Result) -> str:
    """The page of a result as an element for any HTML page; its style does not affect other
    elements."""
    return f'<div class="vitcost">\n<style>\n{STYLE}</style>\n{body(result.page())}</div>\n'


def body(page: Page) -> str:
    """The content of a page, without its style."""
    lines = []
    if page.title:
        lines.append(f"<h1>{markup(page.title)}</h1>")
    lines += [f'<p class="answer">{markup(line)}</p>' for line in page.answer]
    lines += [f"<p>{markup(line)}</p>" for line in page.lead]
    lines += [f"<p>{markup(line)}</p>" for line in page.latex.splitlines()]
    lines += _formulas(page.formulas)
    lines.append('<div class="tables">')
    drawn = [[*_goes(table)] for table in page.tables]
    # a single chart belongs to the page; one of several belongs to the table below it
    alone = sum(map(bool, drawn)) == 1
    lines += [line for each in drawn for line in each if alone]
    for bars in page.bars:
        lines += _bars(bars)
    for picture in page.pictures():
        lines += _picture(picture)
    for table, each in zip(page.tables, drawn, strict=True):
        lines += [] if alone else each
        lines += _section(table)
    lines.append("</div>")
    lines += [f'<p class="note">{markup(note)}</p>' for note in page.notes]
    return "\n".join(lines) + "\n"


def _formulas(formulas: tuple[str, ...]) -> Iterator[str]:
    """A formula, with numbers put in, and its result, each on a line as an equation."""
    for i, formula in enumerate(formulas):
        math = mathml(formula)
        yield f'<p class="formula" tabindex="0">{"= " if i else ""}{math or markup(formula)}</p>'


def _bars(bars: Bars) -> Iterator[str]:
    """Bars with the same colours, and their legend."""
    names = list(dict.fromkeys(name for each in bars.bars for name, _ in each.segments))
    order = [*dict.fromkeys((*bars.order, *names))]
    yield f'<section class="wide">\n<h2>{markup(bars.title)}</h2>\n<div class="goes bars">'
    for each in bars.bars:
        yield f"<b>{markup(described(each))}</b>"
        yield from bar(each, order)
    yield "</div>"
    yield from keys(names, colors(names, order))
    yield "</section>"


def _picture(picture: Areas | Plot) -> Iterator[str]:
    yield f'<section class="wide">\n<h2>{markup(picture.title)}</h2>'
    if isinstance(picture, Areas):
        yield f'<p class="most">{markup(picture.most)}</p>'
        yield from areas(picture)
    else:
        yield from plot(picture)
    for note in picture.notes:
        yield f'<p class="note">{markup(note)}</p>'
    yield "</section>"


def _section(table: Table) -> Iterator[str]:
    table = scaled(table)
    folds = _folds(table)
    yield f"<section{_class('wide' if folds or table.folded else '')}>"
    if table.folded:
        yield f"<details><summary><span>{markup(table.title)}</span></summary>"
    elif table.title:
        yield f"<h2>{markup(table.title)}</h2>"
    # an element with the focus can be scrolled by keys
    yield '<div class="scroll" tabindex="0">'
    yield from (_grid if folds else _flat)(table)
    yield "</div>"
    for note in table.notes:
        yield f'<p class="note">{markup(note)}</p>'
    yield f"{'</details>' if table.folded else ''}</section>"


def _folds(table: Table) -> bool:
    return any(row.level or row.detail for row in table.rows)


def _goes(table: Table) -> Iterator[str]:
    """The shares of each total in a table that folds: a bar with a colour for each kind of
    layer."""
    if not _folds(table) or table.rows[-1].kind != "total":
        return
    kinds: dict[str, list[float]] = {}
    for name, shares in _kinds(table):
        before = kinds.get(name, [0.0] * len(shares))
        kinds[name] = [a + b for a, b in zip(before, shares, strict=True)]
    largest = sorted(kinds, key=lambda name: max(kinds[name]), reverse=True)[: len(KEYS)]
    # the chart has the order of the table; shares too small to be seen are left out
    shown_names = [name for name in kinds if name in largest and max(kinds[name]) >= 0.002]
    drawn = [
        (column.title, [(name, kinds[name][i]) for name in shown_names])
        for i, column in enumerate(table.columns)
        if any(each[i] for each in kinds.values())
    ]
    if not drawn:
        return
    fills = dict(zip(shown_names, KEYS, strict=False))
    if any(sum(share for _, share in segments) < 0.998 for _, segments in drawn):
        fills["rest"] = "var(--line)"
    yield f'<section class="wide">\n<h2>{markup(table.shares)}</h2>\n<div class="goes">'
    for title, segments in drawn:
        yield f'<b>{markup(title)}</b><div class="stack">'
        for name, share in segments:
            style = f"width: {100 * share:.2f}%; background: {fills[name]}"
            yield f'<i style="{style}" title="{markup(name)} {shown(share, "ratio")}"></i>'
        yield "</div>"
    yield "</div>"
    yield from keys([*fills], [*fills.values()])
    yield "</section>"


def _kinds(table: Table) -> Iterator[tuple[str, list[float]]]:
    """The shares of a flat table's rows, by the name in the first column."""
    for nested in _nested(table.rows[:-1]):
        split = [each.row for each in nested.inside if not each.row.detail]
        times = _repeat(table, nested.row)
        for row in split or [nested.row]:
            shares = _shares(table, row, times * _repeat(table, row) if split else times)
            yield str(row.cells[0]), [share or 0.0 for share in shares]


def _flat(table: Table) -> Iterator[str]:
    """The rows of a flat table."""
    yield "<table>"
    if any(column.title for column in table.columns):
        yield f"<thead><tr>{''.join(_cells(table, None, 'th'))}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        yield f"<tr{_class(row.kind)}>{''.join(_cells(table, row, 'td'))}</tr>"
    yield "</tbody></table>"


def _grid(table: Table) -> Iterator[str]:
    """Rows that fold. Rows of an HTML table cannot fold, so each is a grid with the same
    columns."""
    texts = [[column.title for column in table.columns]]
    texts += [[cell(row, i, table) for i in range(len(row.cells))] for row in table.rows]
    widths = [min(60, max(map(len, column))) + 3 for column in zip(*texts, strict=True)]
    # the first column also holds the folding signs and the indentation
    widths[0] += 2 + 2 * max(row.level for row in table.rows)
    tracks = [f"minmax({width}ch, {width}fr)" for width in widths]
    pairs = list(zip(tracks, table.columns, strict=True))
    columns = " ".join(track for track, _ in pairs)
    narrow = " ".join(track for track, column in pairs if not column.optional)
    yield f'<div class="grid" style="--columns: {columns}; --narrow: {narrow}">'
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
    # rows that a flat table shows are open
    is_open = "" if all(each.row.detail for each in nested.inside) else " open"
    yield f"<details{is_open}><summary{_class('row', row.kind)}>{cells}</summary>"
    for each in nested.inside:
        yield from _folded(table, each, repeats)
    yield "</details>"


def _nested(rows: Sequence[Row]) -> tuple[_Nested, ...]:
    """Rows, each with those inside it, by their levels."""
    nested: list[_Nested] = []
    start = 0
    while start < len(rows):
        level, end = rows[start].level, start + 1
        while end < len(rows) and rows[end].level > level:
            end += 1
        nested.append(_Nested(rows[start], _nested(rows[start + 1 : end])))
        start = end
    return tuple(nested)


def _cells(table: Table, row: Row | None, tag: str, times: int = 1) -> Iterator[str]:
    """The cells of a row, or of the header."""
    if row is None:
        for column in table.columns:
            yield f"<{tag}{_class(*_sorts(column))}>{markup(column.title)}</{tag}>"
        return
    shares = _shares(table, row, times)
    indent = f"padding-left: {0.6 + 1.2 * row.level:.1f}rem" if row.level else ""
    for i in range(len(row.cells)):
        bar = "" if shares[i] is None else f"--share: {100 * (shares[i] or 0):.2f}%"
        style = "; ".join(part for part in (bar, indent if i == 0 else "") if part)
        kinds = _class(*_sorts(table.columns[i]), "bar" if bar else "")
        styled = f' style="{style}"' if style else ""
        yield f"<{tag}{kinds}{styled}>{_shown(row, i, table)}</{tag}>"


def _shown(row: Row, index: int, table: Table) -> str:
    """A cell as markup: a formula as MathML, everything else as text."""
    text = cell(row, index, table)
    math = mathml(text) if table.columns[index].unit == "formula" else None
    return math or markup(text)


def _shares(table: Table, row: Row, times: int) -> list[float | None]:
    """The length of the bar in each cell: a ratio itself, or the cell's share of the total."""
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
    """How many equal layers a row stands for."""
    cells = zip(table.columns, row.cells, strict=True)
    return next((n for column, n in cells if column.title == "×" and isinstance(n, int)), 1)


def _sorts(column: Column) -> tuple[str, str]:
    number = "" if column.unit in ("text", "formula") else "number"
    return number, "optional" if column.optional else ""


def _class(*names: str) -> str:
    classes = " ".join(name for name in names if name)
    return f' class="{classes}"' if classes else ""
