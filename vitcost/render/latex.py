r"""LaTeX: a ``tabular`` for each table, in booktabs' rules, as papers have them.

A page is the body of a ``table``: numbers stand right, text left, a total below a rule, and the
notes behind the table. It needs ``\usepackage{booktabs}`` alone.
"""

from collections.abc import Iterator

from vitcost.page import Page, Table, cell, printable, scaled
from vitcost.result import Result

__all__ = ["render"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "×": r"$\times$", "·": r"$\cdot$", "–": "--", "—": "---", "→": r"$\to$", "²": "$^2$",
    "³": "$^3$", "Φ": r"$\Phi$", "∝": r"$\propto$", "±": r"$\pm$", "µ": r"$\mu$", "√": r"$\surd$",
    "≈": r"$\approx$", "≤": r"$\le$",
}  # fmt: skip


def render(result: Result, *, color: bool, width: int | None) -> str:
    return "\n".join(_page(result.page())) + "\n"


def _page(page: Page) -> Iterator[str]:
    first, *others = page.answer or ("",)
    lines = [": ".join(part for part in (page.title, first) if part), *others]
    yield from (f"% {printable(line)}" for line in lines if line)
    yield from (f"% = {printable(formula)}" for formula in page.formulas)
    for table in page.tables:
        yield ""
        if table.title:
            yield f"% {printable(table.title)}"
        yield from _table(table)
        yield from (f"% {printable(note)}" for note in table.notes)
    yield from (f"% {printable(note)}" for note in page.notes)


def _table(table: Table) -> Iterator[str]:
    table = scaled(table)
    sides = "".join("l" if column.unit in ("text", "formula") else "r" for column in table.columns)
    yield rf"\begin{{tabular}}{{{sides}}}"
    yield r"\toprule"
    if any(column.title for column in table.columns):
        yield _line([_escaped(column.title) for column in table.columns])
        yield r"\midrule"
    for i, row in enumerate(table.rows):
        if row.detail:
            continue
        cells = [_escaped(cell(row, i, table)) for i in range(len(row.cells))]
        cells[0] = r"\quad " * row.level + cells[0]
        if row.kind:
            cells = [rf"\textbf{{{text}}}" if text else "" for text in cells]
        if row.kind == "total" and i:
            yield r"\midrule"
        yield _line(cells)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _line(cells: list[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _escaped(text: str) -> str:
    """Text as itself: no sign of it is taken for a command."""
    return "".join(_SPECIAL.get(c, c) for c in printable(text))
