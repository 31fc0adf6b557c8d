"""The claims that a page judges, for formats that CI reads."""

from collections.abc import Iterator

from vitcost.page import Annotation, Case, Page, shown

__all__ = ["failures", "judged"]


def judged(page: Page) -> tuple[Case, ...]:
    """The cases of a page; if it has none, its rows that are marked as failed."""
    return page.cases or tuple(_failed(page))


def failures(page: Page) -> list[Annotation]:
    """The reasons why cases fail, in order."""
    return [case.failure for case in judged(page) if case.failure is not None]


def _failed(page: Page) -> Iterator[Case]:
    for table in page.tables:
        for row in table.rows:
            if row.kind == "failed":
                units = (row.unit or column.unit for column in table.columns)
                cells = [shown(v, unit) for v, unit in zip(row.cells, units, strict=True)]
                title = table.title or page.title or "vitcost"
                yield Case(title, cells[0], Annotation("error", title, " · ".join(cells)))
