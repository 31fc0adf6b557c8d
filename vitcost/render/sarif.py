"""SARIF 2.1.0, which code scanning reads: a result for each claim that fails, with its line.

Properties are those of OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0",
sections 3.13 to 3.30.
"""

import json
from typing import Any
from urllib.parse import quote

from vitcost.page import Annotation, Case, printable
from vitcost.render.judged import judged
from vitcost.render.result import Result

__all__ = ["render"]

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {"error": "error", "warning": "warning"}


def render(result: Result, *, color: bool, width: int | None) -> str:
    cases = judged(result.page())
    rules = list(dict.fromkeys(_rule(case) for case in cases))
    driver = {
        "name": "vitcost",
        "rules": [{"id": rule, "shortDescription": {"text": rule}} for rule in rules],
    }
    results = [_result(case, case.failure, rules) for case in cases if case.failure is not None]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(case: Case) -> str:
    return printable(case.name).strip() or "vitcost"


def _result(case: Case, failure: Annotation, rules: list[str]) -> dict[str, Any]:
    rule = _rule(case)
    lines = [printable(line) for line in failure.message.split("\n")]
    result: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": _LEVELS.get(failure.level, "note"),
        "message": {"text": "\n".join([f"{printable(failure.title)}: {lines[0]}", *lines[1:]])},
        # identifies the same claim in another run, even if its line has moved
        "partialFingerprints": {"vitcostClaim/v1": printable(f"{case.of}: {case.name}")},
    }
    if failure.file:
        place: dict[str, Any] = {"artifactLocation": {"uri": _uri(failure.file)}}
        if failure.line is not None:
            place["region"] = {"startLine": failure.line}
        result["locations"] = [{"physicalLocation": place}]
    return result


def _uri(path: str) -> str:
    """A path as a reference of RFC 3986; a colon before the first slash would mark a scheme, so it
    is escaped."""
    return quote(path.replace("\\", "/").encode("utf-8", "surrogatepass"), safe="/-._~")
