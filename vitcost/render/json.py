"""JSON: the result's dict in base units, in ASCII, whatever the names in it."""

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = ["render"]


def render(result: "Result", *, color: bool, width: int | None) -> str:
    text = json.dumps(result.to_dict(), indent=2)
    # the one control character that JSON lets through, and the commands of a job in its strings
    return re.sub("\x7f|##(?=\\w*\\[)", _escaped, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in match[0])
