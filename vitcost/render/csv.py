"""CSV: the result's flat rows in base units, safe to open in a spreadsheet."""

import csv
from io import StringIO
from typing import Any

from vitcost.page import printable
from vitcost.render.result import Result

__all__ = ["render"]

# signs with which a spreadsheet begins a formula: OWASP, CSV injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def render(result: Result, *, color: bool, width: int | None) -> str:
    rows = list(result.rows())
    header = list(dict.fromkeys(key for row in rows for key in row))
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_cell(key) for key in header)
    writer.writerows([_cell(row.get(key)) for key in header] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    """A cell: exact numbers, sizes as 1x257x1280, and text that a spreadsheet does not run as a
    formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple | list):
        joint = "x" if all(isinstance(each, int) for each in value) else " "
        return _cell(joint.join(map(str, value)))
    text = printable(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
