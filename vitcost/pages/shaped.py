"""A page cut by flags: only its answer, some of its columns, or layers down to a level."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vitcost.errors import ConfigError, UnknownName
from vitcost.page import Column, Page, Row, Table
from vitcost.render.result import Result
from vitcost.units import named

__all__ = ["Shaped"]


@dataclass(frozen=True, slots=True)
class Shaped(Result):
    """A result whose page is cut; its JSON and its rows stay complete.

    ``brief`` keeps the title and the answer. ``columns`` are titles of columns: each table keeps
    its first column and, in the given order, those that it has; a table with none of them is left
    out. ``params=Params (M)`` gives a column another title and the unit at its end. ``levels`` is
    the depth of nested rows that is kept: 0 keeps only the outermost.
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
        """The cut page of the result. Raises ``UnknownName`` for a column that no table has.

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
        """The tables that have one of the asked columns, with only these columns, in the order
        asked for."""
        titles = [column.title for table in page.tables for column in table.columns]
        known = list(dict.fromkeys(title for title in titles if title))
        asked = [(_spelled(title), name) for title, name in map(_named, self.columns)]
        for name in self.columns:
            title, _ = _named(name)
            if _spelled(title) not in map(_spelled, known):
                raise UnknownName("column", title, known, f"this page has {', '.join(known)}")
        for table in page.tables:
            places = [
                (i, name)
                for title, name in asked
                for i, column in enumerate(table.columns)
                if _spelled(column.title) == title
            ]
            if not any(i for i, _ in places):
                continue
            names = dict(reversed(places))
            # the numbers of one of several equal layers need the count beside them
            times = [i for i, c in enumerate(table.columns) if c.title == "×" and c.unit == "count"]
            kept = dict.fromkeys(
                [0, *(i for i in times if i not in names), *(i for i, _ in places)]
            )
            rows = (row._replace(cells=tuple(row.cells[i] for i in kept)) for row in table.rows)
            columns = (_renamed(table, i, names.get(i, "")) for i in kept)
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


def _named(asked: str) -> tuple[str, str]:
    """The title of a column, and the title that it gets instead: ``params=Params (M)``."""
    title, _, name = asked.partition("=")
    return title.strip(), name.strip()


def _renamed(table: Table, index: int, name: str) -> Column:
    """The column with a new title; a unit at the end of the title is the unit of its numbers."""
    # a column that was asked for is kept on a narrow screen too
    column = table.columns[index]._replace(optional=False)
    if not name:
        return column
    word = name.rpartition("(")[2].removesuffix(")") if name.endswith(")") else ""
    scale = named(word, column.unit)
    if scale is not None and any(row.unit for row in table.rows):
        raise ConfigError(f"rows have units of their own, and {name!r:.80} gives them one")
    return column._replace(title=name, scale=scale)


def _weighs(table: Table, row: Row) -> bool:
    """Whether any number in a row is above 0."""
    pairs = zip(table.columns, row.cells, strict=True)
    return any(isinstance(v, int | float) and v for c, v in pairs if c.title != "×")


def _spelled(title: str) -> str:
    """A title in the spelling in which people type it."""
    return title.lower().replace("_", " ").replace("-", " ").strip()
