"""A page cut to what was asked for: its answer alone, some columns, layers down to a level."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vitcost.errors import UnknownName
from vitcost.page import Page, Row, Table
from vitcost.result import Result

__all__ = ["Shaped"]


@dataclass(frozen=True, slots=True)
class Shaped(Result):
    """A result whose page is cut; its JSON and its rows are whole.

    ``brief`` keeps the title and the answer. ``columns`` are titles of columns, of which each table
    keeps those that it has, and the first beside them; a table that has none is left out.
    ``levels`` is how deep rows are nested: 0 keeps the outermost.
    """

    result: Result
    brief: bool = False
    columns: tuple[str, ...] = ()
    levels: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return self.result.to_dict()

    def rows(self) -> "Iterator[Mapping[str, Any]]":
        return iter(self.result.rows())

    def page(self) -> Page:
        """The page of the result, cut. Raises ``UnknownName`` for a column that no table has.

        >>> from vitcost import report
        >>> page = Shaped(report("vit_base_patch16_224"), columns=("params",)).page()
        >>> [column.title for column in page.tables[0].columns]
        ['part', 'params']
        """
        page = self.result.page()
        if self.brief:
            return page._replace(lead=(), tables=(), notes=(), formulas=(), bars=())
        if self.columns:
            page = page._replace(tables=tuple(self._chosen(page)))
        if self.levels is not None:
            page = page._replace(tables=tuple(map(self._cut, page.tables)))
        return page

    def _chosen(self, page: Page) -> Iterator[Table]:
        """The tables that have one of the columns, with no others."""
        titles = [column.title for table in page.tables for column in table.columns]
        known = list(dict.fromkeys(title for title in titles if title))
        asked = [_spelled(name) for name in self.columns]
        for name in self.columns:
            if _spelled(name) not in map(_spelled, known):
                raise UnknownName("column", name, known, f"this page has {', '.join(known)}")
        for table in page.tables:
            found = [i for i, c in enumerate(table.columns) if i and _spelled(c.title) in asked]
            if not found:
                continue
            # numbers of one of several equal layers say nothing without how many there are
            times = [i for i, c in enumerate(table.columns) if c.title == "×" and c.unit == "count"]
            kept = [0, *(i for i in times if i not in found), *found]
            rows = (row._replace(cells=tuple(row.cells[i] for i in kept)) for row in table.rows)
            # a column that was asked for is never too much for a narrow screen
            columns = (table.columns[i]._replace(optional=False) for i in kept)
            yield table._replace(columns=tuple(columns), rows=tuple(rows))

    def _cut(self, table: Table) -> Table:
        if not any(row.level or row.detail for row in table.rows):
            return table
        most = self.levels or 0
        rows = (
            row._replace(detail=row.detail and not _weighs(table, row))
            for row in table.rows
            if row.level <= most
        )
        return table._replace(rows=tuple(rows))


def _weighs(table: Table, row: Row) -> bool:
    """Whether any number of a row is more than none."""
    pairs = zip(table.columns, row.cells, strict=True)
    return any(isinstance(v, int | float) and v for c, v in pairs if c.title != "×")


def _spelled(title: str) -> str:
    """A title as people type it."""
    return title.lower().replace("_", " ").replace("-", " ").strip()
