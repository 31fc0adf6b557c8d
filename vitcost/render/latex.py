r"""LaTeX: a ``tabular`` with booktabs' rules for each table, as in papers.

A page is the body of a ``table``: numbers are aligned right, text left, a total has a rule above
it, and notes follow the table. It needs ``\usepackage{booktabs}``, and a formula
``\usepackage{amsmath}``.
"""

from collections.abc import Iterator

from vitcost.page import Page, Row, Table, cell, printable, scaled
from vitcost.render.result import Result
from vitcost.render.tex import aligned, escaped, tex

__all__ = ["render"]


def render(result: Result, *, color: bool, width: int | None) -> str:
    return "\n".join(_page(result.page())) + "\n"


def _page(page: Page) -> Iterator[str]:
    first, *others = page.answer or ("",)
    lines = [": ".join(part for part in (page.title, first) if part), *others]
    yield from (f"% {printable(line)}" for line in lines if line)
    if page.formulas:
        yield ""
        yield aligned(page.formulas) or "\n".join(f"% {printable(each)}" for each in page.formulas)
    for table in page.tables:
        yield ""
        if table.title:
            yield f"% {printable(table.title)}"
        # a table without columns has only notes, and LaTeX has no tables without columns
        yield from _table(table) if table.columns else ()
        yield from (f"% {printable(note)}" for note in table.notes)
    yield from (f"% {printable(note)}" for note in page.notes)


def _table(table: Table) -> Iterator[str]:
    table = scaled(table)
    sides = "".join("l" if column.unit in ("text", "formula") else "r" for column in table.columns)
    yield rf"\begin{{tabular}}{{{sides}}}"
    yield r"\toprule"
    if any(column.title for column in table.columns):
        yield _line([escaped(printable(column.title)) for column in table.columns])
        yield r"\midrule"
    for i, row in enumerate(table.rows):
        if row.detail:
            continue
        cells = [_cell(row, i, table) for i in range(len(row.cells))]
        cells[0] = r"\quad " * row.level + cells[0]
        if row.kind:
            cells = [rf"\textbf{{{text}}}" if text else "" for text in cells]
        if row.kind == "total" and i:
            yield r"\midrule"
        yield _line(cells)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _cell(row: Row, index: int, table: Table) -> str:
    """A cell as escaped text, or as a formula in math mode."""
    text = cell(row, index, table)
    formula = tex(text) if table.columns[index].unit == "formula" else None
    return escaped(text) if formula is None else f"${formula}$"


def _line(cells: list[str]) -> str:
    return rf"{' & '.join(cells)} \\"
