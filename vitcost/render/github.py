"""GitHub's annotations: a workflow command for each failure, with the file and the line that it
concerns."""

from vitcost.page import Annotation, printable
from vitcost.render.judged import failures
from vitcost.render.result import Result

__all__ = ["render"]


def render(result: Result, *, color: bool, width: int | None) -> str:
    page = result.page()
    annotations = failures(page)
    if not annotations:
        annotations = [Annotation("notice", page.title or "vitcost", "nothing failed")]
    return "".join(f"{_command(each)}\n" for each in annotations)


def _command(each: Annotation) -> str:
    """``::error file=…,line=…,title=…::message``, escaped as in the toolkit's command.ts."""
    line = "" if each.line is None else str(each.line)
    pairs = {"file": each.file, "line": line, "title": each.title}
    properties = ",".join(f"{key}={_property(value)}" for key, value in pairs.items() if value)
    return f"::{each.level} {properties}::{_data(each.message)}"


def _data(text: str) -> str:
    return "%0A".join(printable(line).replace("%", "%25") for line in text.split("\n"))


def _property(text: str) -> str:
    return printable(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
