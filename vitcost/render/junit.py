"""JUnit's XML, as Ant writes it and CI servers read it: one suite for each model, one case for each
claim.

Elements, attributes and their order are those of the schema of Ant's reports
(windyroad/JUnit-Schema, JUnit.xsd). A warning is written as a skipped case with its message.
"""

from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vitcost.page import Case, printable
from vitcost.render.judged import judged
from vitcost.render.result import Result

__all__ = ["render"]


def render(result: Result, *, color: bool, width: int | None) -> str:
    page = result.page()
    cases = judged(page) or (Case(page.title or "vitcost", "nothing failed"),)
    suites = Element("testsuites")
    for i, of in enumerate(dict.fromkeys(case.of for case in cases)):
        _suite(suites, i, of, [case for case in cases if case.of == of])
    indent(suites)
    text = tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(suites: Element, index: int, of: str, cases: list[Case]) -> None:
    kinds = [_kind(case) for case in cases]
    suite = SubElement(
        suites,
        "testsuite",
        id=str(index),
        name=_named(of),
        package="vitcost",
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        # the time to judge a claim is not measured
        time="0",
    )
    SubElement(suite, "properties")
    for case, kind in zip(cases, kinds, strict=True):
        each = SubElement(suite, "testcase", name=_named(case.name), classname=_named(of), time="0")
        if case.failure is not None:
            lines = [printable(line) for line in case.failure.message.split("\n")]
            why = SubElement(each, kind)
            if kind == "skipped":
                why.text = "\n".join(lines)
                continue
            why.set("message", lines[-1])
            why.set("type", "vitcost")
            where = ":".join(map(str, filter(None, (case.failure.file, case.failure.line))))
            why.text = "\n".join([*([printable(where)] if where else []), *lines])
    SubElement(suite, "system-out")
    SubElement(suite, "system-err")


def _kind(case: Case) -> str:
    if case.failure is None:
        return ""
    if case.failure.level != "error":
        return "skipped"
    return "error" if case.unanswered else "failure"


def _named(text: str) -> str:
    """A name that the schema allows: a token that is not empty."""
    return " ".join(printable(text).split()) or "vitcost"
