"""Markdown as GitHub reads it: a heading, lines, pipe tables; names are escaped, so that no sign in
them is markup."""

from collections.abc import Iterator

from vitcost.page import Table, cell, printable, scaled
from vitcost.render.result import Result

__all__ = ["render"]

_SPECIAL = "\\`*_[]<>|~#$&@!"


def render(result: Result, *, color: bool, width: int | None) -> str:
    page = result.page()
    blocks = [f"## {_escaped(page.title)}"] if page.title else []
    lines = [*(f"**{_escaped(line)}**" for line in page.answer), *map(_escaped, page.lead)]
    blocks += ["  \n".join(lines)] if lines else []
    if page.latex:
        # GitHub renders this LaTeX
        latex = "\n".join(map(printable, page.latex.splitlines()))
        blocks.append(f"```math\n{latex}\n```")
    if page.formulas:
        lines = [f"{'= ' if i else ''}{printable(each)}" for i, each in enumerate(page.formulas)]
        blocks.append("\n".join(f"    {line}" for line in lines))
    for table in page.tables:
        if table.folded:
            blocks.append(f"<details><summary>{_escaped(table.title)}</summary>")
        elif table.title:
            blocks.append(f"### {_escaped(table.title)}")
        blocks.append("\n".join(_table(table)))
        blocks += [_escaped(note) for note in table.notes]
        blocks += ["</details>"] if table.folded else []
    blocks += [_escaped(note) for note in page.notes]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> Iterator[str]:
    table = scaled(table)
    yield _line(_escaped(column.title) for column in table.columns)
    yield _line(
        ":---" if column.unit in ("text", "formula") else "---:" for column in table.columns
    )
    for row in table.rows:
        if row.detail:
            continue
        cells = [_escaped(cell(row, i, table)) for i in range(len(row.cells))]
        cells[0] = "&emsp;" * row.level + cells[0]
        if row.kind:
            cells = [f"**{text}**" if text else "" for text in cells]
        yield _line(cells)


def _line(cells: Iterator[str] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows unchanged; an underscore inside a word needs no escape."""
    text = printable(text)
    out = []
    for i, c in enumerate(text):
        inside = c == "_" and 0 < i < len(text) - 1 and (text[i - 1] + text[i + 1]).isalnum()
        out.append(
            c if inside or c not in _SPECIAL else f"&#{ord(c)};" if c in "<>&@" else f"\\{c}"
        )
    return "".join(out)
