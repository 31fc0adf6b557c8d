"""Formats: one module each, and one line in the registry; a format is imported when it is asked
for.

A format is a module with ``render(result, color=..., width=...) -> str``. It reads a result and
computes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vitcost.errors import UnknownName

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = ["FORMATS", "JUDGING", "SUFFIXES", "render"]

FORMATS = {
    "table": "vitcost.render.table",
    "json": "vitcost.render.json",
    "csv": "vitcost.render.csv",
    "markdown": "vitcost.render.markdown",
    "html": "vitcost.render.html",
    "latex": "vitcost.render.latex",
    "github": "vitcost.render.github",
    "junit": "vitcost.render.junit",
    "sarif": "vitcost.render.sarif",
}
# formats that show nothing but verdicts
JUDGING = ("github", "junit", "sarif")
# the format that belongs to a file's suffix
SUFFIXES = {
    ".txt": "table",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".tex": "latex",
    ".xml": "junit",
    ".sarif": "sarif",
}


def render(
    result: "Result", format: str = "table", *, color: bool = False, width: int | None = None
) -> str:
    """A result as text, with a newline at its end.

    ``color`` and ``width`` describe the terminal; without a width nothing is wrapped or left out.
    Raises ``UnknownName`` for a format that does not exist.

    >>> from vitcost import report
    >>> render(report("vit_base_patch16_224"), "csv").partition(",")[0]
    'path'
    """
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS, f"allowed: {', '.join(FORMATS)}")
    text: str = import_module(FORMATS[format]).render(result, color=color, width=width)
    return text
