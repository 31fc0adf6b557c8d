"""Markdown as GitHub reads it: a heading, lines, pipe tables; nothing in a name is taken for it."""

from collections.abc import Iterator

from vitcost.page import Table, printable, shown
from vitcost.result import Result

__all__ = ["render"]

_SPECIAL = "\\`*_[]<>|~#$&@!"


def render(result: Result, *, color: bool, width: int | None) -> str:
    page = result.page()
    blocks = [f"## {_escaped(page.title)}"] if page.title else []
    lines = [*(f"**{_escaped(line)}**" for line in page.answer), *map(_escaped, page.lead)]
    blocks += ["  \n".join(lines)] if lines else []
    for table in page.tables:
        if table.title:
            blocks.append(f"### {_escaped(table.title)}")
        blocks.append("\n".join(_table(table)))
        blocks += [_escaped(note) for note in table.notes]
    blocks += [_escaped(note) for note in page.notes]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> Iterator[str]:
    yield _line(_escaped(column.title) for column in table.columns)
    yield _line(":---" if column.unit == "text" else "---:" for column in table.columns)
    for row in table.rows:
        if row.detail:
            continue
        units = [row.unit or column.unit for column in table.columns]
        cells = [_escaped(shown(v, unit)) for v, unit in zip(row.cells, units, strict=True)]
        cells[0] = "&emsp;" * row.level + cells[0]
        if row.kind:
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        yield _line(cells)


def _line(cells: Iterator[str] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text as itself; an underscore inside a word means nothing and is left alone."""
    text = printable(text)
    out = []
    for i, c in enumerate(text):
        inside = c == "_" and 0 < i < len(text) - 1 and (text[i - 1] + text[i + 1]).isalnum()
        out.append(
            c if inside or c not in _SPECIAL else f"&#{ord(c)};" if c in "<>&@" else f"\\{c}"
        )
    return "".join(out)
