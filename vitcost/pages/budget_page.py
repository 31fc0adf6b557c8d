"""The page of budgets: every check, remedies for failures, and the layers that grew."""

from collections.abc import Iterator

from vitcost.costs.quantities import QUANTITIES
from vitcost.page import Annotation, Case, Column, Page, Row, Table, shown
from vitcost.planner.budget import BudgetResult, Check

__all__ = ["budget_page"]


# up to this many checks are described one by one above the table
_SAID = 3
_CHECKS = (
    Column("budget"),
    Column("verdict"),
    Column("quantity"),
    Column("value", "count"),
    Column("limit", "count"),
    Column("baseline", "count"),
    Column("headroom", "count"),
)
_GREW = (
    Column("layer"),
    Column("number"),
    Column("was", "count"),
    Column("is", "count"),
    Column("more", "count"),
)


def budget_page(result: BudgetResult) -> Page:
    """One row for each check, then the reasons."""
    checks = Table(
        "",
        _CHECKS,
        tuple(map(_check, result.checks)),
        (*_notes(result.checks), *result.origins),
    )
    grew = tuple(_grew(result.checks)) if result.why else ()
    return Page(
        _title(result),
        tables=(checks, *grew),
        cases=tuple(_case(check, result.why) for check in result.checks),
        answer=tuple(_answer(result)),
    )


def _answer(result: BudgetResult) -> Iterator[str]:
    """The number of checks that hold, then the failures."""
    kept = sum(check.ok for check in result.checks)
    yield f"{kept:,} of {len(result.checks):,} hold"
    broken = [check for check in result.checks if not check.ok]
    for check in broken[:_SAID]:
        value = shown(check.value, QUANTITIES[check.quantity].unit)
        yield f"{check.name}: {check.quantity} {value}, {', '.join(check.verdicts)}"
    if len(broken) > _SAID:
        yield f"and {len(broken) - _SAID:,} more"


def _notes(checks: tuple[Check, ...]) -> Iterator[str]:
    """Notes on limits that do not hold, and on values that are bounds."""
    yield from (f"{check.name}: {reason}" for check in checks for reason in check.reasons)
    bounds = dict.fromkeys(check.name for check in checks if check.at_most)
    if bounds:
        yield (
            "train_memory, at most: no exact peak is known, and report lists the assumptions; "
            f"of {', '.join(bounds)}"
        )


def _title(result: BudgetResult) -> str:
    """The title: one sentence about all checks."""
    failed = [check for check in result.checks if check.level != "warn"]
    verdicts = [
        word
        for word in ("exceeded", "missed", "grew", "fell", "no answer")
        if any(word in check.verdicts for check in failed)
    ]
    return f"Budget {', '.join(verdicts) or 'kept'}"


def _case(check: Check, why: bool) -> Case:
    """A check for formats that CI reads: the reason why it fails, and the line of its limit."""
    if check.ok:
        return Case(check.name, check.quantity)
    unit = QUANTITIES[check.quantity].unit
    verb = "is at most" if check.at_most else "is"
    value = [] if check.value is None else [f"{check.quantity} {verb} {shown(check.value, unit)}"]
    lines = [*value, *check.reasons]
    if why:
        for each in check.grew:
            was, now = shown(each.was, each.unit), shown(each.now, each.unit)
            lines.append(f"{each.layer}: {each.number} {was} → {now}")
    level = "warning" if check.level == "warn" else "error"
    file, line = (check.place.file, check.place.line) if check.place else ("", None)
    failure = Annotation(level, f"vitcost budget: {check.name}", "\n".join(lines), file, line)
    return Case(check.name, check.quantity, failure, check.value is None)


def _check(check: Check) -> Row:
    failed = ", ".join(check.verdicts)
    word = f"warning: {failed}" if check.level == "warn" else failed.upper()
    word = word if failed else "ok"
    numbers = (check.value, check.limit, check.baseline, check.headroom)
    unit = QUANTITIES[check.quantity].unit
    return Row(
        (check.name, word, check.quantity, *numbers), "" if check.ok else "failed", unit=unit
    )


def _grew(checks: tuple[Check, ...]) -> Iterator[Table]:
    for check in checks:
        if check.ok or check.value is None:
            continue
        rows = tuple(
            Row((g.layer, g.number, g.was, g.now, g.more), unit=g.unit) for g in check.grew
        )
        none = "the baseline has none of it" if check.baseline is None else "no layer grew"
        notes = () if rows else (none,)
        yield Table(f"Layers that grew, {check.name}, {check.quantity}", _GREW, rows, notes)
