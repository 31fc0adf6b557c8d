"""GitHub's annotations: a workflow command for each failure, at the line that it is about."""

from collections.abc import Iterator

from vitcost.page import Annotation, Page, printable, shown
from vitcost.result import Result

__all__ = ["render"]


def render(result: Result, *, color: bool, width: int | None) -> str:
    page = result.page()
    found = list(page.annotations or _failed(page))
    if not found:
        found = [Annotation("notice", page.title or "vitcost", "nothing failed")]
    return "".join(f"{_command(each)}\n" for each in found)


def _failed(page: Page) -> Iterator[Annotation]:
    """The rows of any page that are marked as failed."""
    for table in page.tables:
        for row in table.rows:
            if row.kind == "failed":
                units = (row.unit or column.unit for column in table.columns)
                cells = (shown(v, unit) for v, unit in zip(row.cells, units, strict=True))
                title = table.title or page.title or "vitcost"
                yield Annotation("error", title, " · ".join(cells))


def _command(each: Annotation) -> str:
    """``::error file=…,line=…,title=…::message``, as the toolkit's command.ts escapes it."""
    line = "" if each.line is None else str(each.line)
    pairs = {"file": each.file, "line": line, "title": each.title}
    properties = ",".join(f"{key}={_property(value)}" for key, value in pairs.items() if value)
    return f"::{each.level} {properties}::{_data(each.message)}"


def _data(text: str) -> str:
    return "%0A".join(printable(line).replace("%", "%25") for line in text.split("\n"))


def _property(text: str) -> str:
    return printable(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
