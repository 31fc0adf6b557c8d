"""JSON: the result's dict in base units, in ASCII, whatever the names in it."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitcost.result import Result

__all__ = ["render"]


def render(result: "Result", *, color: bool, width: int | None) -> str:
    text = json.dumps(result.to_dict(), indent=2)
    # the one control character that JSON lets through
    return text.replace("\x7f", "\\u007f") + "\n"
