"""A page cut by flags: its answer alone, some columns, layers down to a level."""

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
    """A result whose page is cut; its JSON and its rows are whole.

    ``brief`` keeps the title and the answer. ``columns`` are titles of columns, of which each table
    keeps those that it has in the order in which they are named, and the first in front of them; a
    table that has none is left out. ``params=Params (M)`` gives a column a name, and the unit at
    its end.
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
        """The tables that have one of the columns, with no others, in the order of the names."""
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
            # numbers of one of several equal layers say nothing without how many there are
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
    """The title of a column, and the name that it is given: ``params=Params (M)``."""
    title, _, name = asked.partition("=")
    return title.strip(), name.strip()


def _renamed(table: Table, index: int, name: str) -> Column:
    """A column under the name that it is given; a unit at its end is the one of its numbers."""
    # a column that was asked for is never too much for a narrow screen
    column = table.columns[index]._replace(optional=False)
    if not name:
        return column
    word = name.rpartition("(")[2].removesuffix(")") if name.endswith(")") else ""
    scale = named(word, column.unit)
    if scale is not None and any(row.unit for row in table.rows):
        raise ConfigError(f"rows have units of their own, and {name!r:.80} gives them one")
    return column._replace(title=name, scale=scale)


def _weighs(table: Table, row: Row) -> bool:
    """Whether any number of a row is more than none."""
    pairs = zip(table.columns, row.cells, strict=True)
    return any(isinstance(v, int | float) and v for c, v in pairs if c.title != "×")


def _spelled(title: str) -> str:
    """A title as people type it."""
    return title.lower().replace("_", " ").replace("-", " ").strip()
