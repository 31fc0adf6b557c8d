"""The page of a check: the verdict on each model, and every difference with its reason."""

from collections.abc import Iterator
from functools import partial

from vitcost.check.differences import CheckResult, Difference, ModelCheck
from vitcost.page import Annotation, Case, Column, Page, Read, Row, Table, laid_out, shown

__all__ = ["check_page"]

_VERDICTS = (
    Column("model"),
    Column("verdict"),
    Column("against"),
    Column("compared", "count"),
    Column("differ", "count"),
    Column("unexplained", "count"),
    Column("time", "seconds", optional=True),
)


def check_page(result: CheckResult) -> Page:
    """The comparisons, the counters that were used, and the differences."""
    against = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    missing = (f"{m.model}: not compared: {reason}" for m in result.models for reason in m.left_out)
    unexplained = sum(not d.explained_by for model in result.models for d in model.differences)
    verdict = "every number is equal or explained" if result.ok else f"{unexplained} unexplained"
    verdicts = Table(
        "Check against the real torch model",
        _VERDICTS,
        tuple(map(_verdict, result.models)),
        (f"{verdict}; counted by {against}", *missing),
    )
    same = sum(model.ok for model in result.models)
    compared = sum(sum(model.comparisons.values()) for model in result.models)
    answer = f"{same:,} of {len(result.models):,} agree, {compared:,} numbers compared; {verdict}"
    tables = (verdicts, *_differences(result))
    return Page("Check", tables=tables, answer=(answer,), cases=tuple(map(_case, result.models)))


def _case(model: ModelCheck) -> Case:
    """Whether a model agrees; if not, each difference that nothing explains."""
    wrong = [
        f"{d.path or 'whole model'}: {d.quantity} {_value(d.expected)}, counted {_value(d.actual)}"
        for d in model.differences
        if not d.explained_by
    ]
    title = f"vitcost check: {model.model}"
    failure = Annotation("error", title, "\n".join(wrong)) if wrong else None
    return Case(model.model, "check", failure)


def _verdict(model: ModelCheck) -> Row:
    differ = len(model.differences)
    unexplained = sum(not d.explained_by for d in model.differences)
    compared = sum(model.comparisons.values())
    word = "ok" if model.ok else "FAILED"
    kind = "" if model.ok else "failed"
    return Row(
        (model.model, word, model.against, compared, differ, unexplained, model.seconds), kind
    )


def _differences(result: CheckResult) -> Iterator[Table]:
    """A table for each model that has differences; the reasons are long, so they follow below the
    table."""
    for model in result.models:
        if not model.differences:
            continue
        reasons = list(dict.fromkeys(d.explained_by for d in model.differences if d.explained_by))
        columns: list[Read[Difference]] = [
            (Column("module"), lambda d: d.path or "whole model"),
            (Column("quantity"), lambda d: d.quantity),
            (Column(model.of, "count"), lambda d: _value(d.expected)),
            (Column("counted", "count"), lambda d: _value(d.actual)),
            (Column("because"), partial(_because, reasons)),
        ]
        notes = (f"({i}) {reason}" for i, reason in enumerate(reasons, 1))
        title = f"Differences, {model.model}"
        yield laid_out(title, columns, model.differences, notes, _kind)


def _because(reasons: list[str], d: Difference) -> str:
    return f"({reasons.index(d.explained_by) + 1})" if d.explained_by else "unexplained"


def _kind(d: Difference) -> str:
    return "" if d.explained_by else "failed"


def _value(value: int | str | tuple[int, ...]) -> int | str:
    return shown(value, "shape") if isinstance(value, tuple) else value
