"""The page of a plan: the run, the best few ways to divide it, all ways, and the assumptions."""

from collections.abc import Iterator

from vitcost.page import Column, Page, Read, Row, Table, laid_out, shown
from vitcost.pages.plots import plan_plots
from vitcost.pages.subject import of_inputs, of_model, of_scenario
from vitcost.planner.choose import AS_FAST, PlanRow, divided, simplest
from vitcost.planner.deadline import Late
from vitcost.planner.plan import OnCard, Plan
from vitcost.units import JOULES_OF_KWH

__all__ = ["plan_page"]

_BEST = 5
# the most ways in a flat table
_READ = 8
_MORE = "--all has every way to divide a step, and the assumptions; JSON and CSV have it too"


def plan_page(result: Plan) -> Page:
    """The totals, the best few ways, then a row for each way to divide the step."""
    tables = [*_beside(result), _totals(result), *_best(result)]
    notes: tuple[str, ...] = (_MORE,)
    if result.full:
        tables.append(_ways(result))
        notes = result.assumptions
    title = f"Training {of_model(result.model)} on {_cards(result)}"
    answer = tuple(_answer(result))
    page = Page(title, tuple(_lead(result)), tuple(tables), notes, answer=answer)
    return page._replace(pictures=lambda: tuple(plan_plots(result, _name)))


def _answer(result: Plan) -> Iterator[str]:
    """The question, then the simplest of the ways that are as fast as the fastest."""
    inputs = of_inputs(result.model)
    flags = of_scenario(result.scenario, batch=False, mode=False)
    yield ", ".join([*inputs, f"batch {result.job.global_batch:,}", *flags])
    best = result.best
    if best is None or best.step_seconds is None:
        yield "nothing fits"
        if result.late is not None:
            yield _needed(result.late, result)
        return
    chosen = simplest(result.found) or best
    clauses = [f"{_name(chosen)}, micro-batch {chosen.micro_batch:,} × {chosen.accumulation:,}"]
    runs = chosen.run_low_seconds, chosen.run_high_seconds
    clauses.append(f"{shown(chosen.run_seconds, 'seconds')}{_between(*runs, unit='seconds')}")
    hours = _between(chosen.gpu_hours_low, chosen.gpu_hours_high)
    clauses.append(f"{_amount(chosen.gpu_hours)} GPU-hours{hours}")
    if chosen.cost is not None:
        clauses.append(f"cost {_amount(chosen.cost)}{_between(chosen.cost_low, chosen.cost_high)}")
    if result.late is not None:
        yield f"no number of cards that was tried keeps {_deadline(result)}; the closest:"
    most = "" if chosen.memory_basis == "exact" else "at most "
    capacity = shown(result.card.capacity_bytes, "bytes")
    clauses.append(f"{most}{shown(chosen.memory_bytes, 'bytes')} of {capacity}")
    yield ", ".join(clauses)
    if result.late is not None:
        yield _needed(result.late, result)
    if chosen is not best and chosen.step_seconds:
        less = 1 - best.step_seconds / chosen.step_seconds
        if less >= 0.001:
            yield f"the fastest, {_name(best)}, takes {shown(less, 'ratio')} less"


def _deadline(result: Plan) -> str:
    return f"a deadline of {shown(result.job.deadline_seconds, 'seconds')}"


def _needed(late: Late, result: Plan) -> str:
    """By how much the deadline is missed, and how many cards would keep it."""
    least = f"{late.least_cards:,} cards at least are needed"
    if late.late_seconds is not None and late.cards_at_pace is not None:
        over = shown(late.late_seconds, "seconds")
        least = f"that is {over} late; at this pace {late.cards_at_pace:,} cards would keep it"
        if late.least_cards > 1:
            least += f", and fewer than {late.least_cards:,} cannot"
    if not late.needs_network:
        return least
    return (
        f"{least}: more than a node of {result.job.gpus:,} needs network, the bandwidth of a card "
        "to other nodes, such as '50 GB/s'"
    )


def _between(low: float | None, high: float | None, unit: str = "") -> str:
    """The ends of a band, in brackets."""
    if low is None or high is None or low == high:
        return ""
    ends = (shown(end, unit) if unit else _amount(end) for end in (low, high))
    return f" ({' to '.join(ends)})"


def _amount(value: float | None) -> str:
    """GPU-hours or money, with at least three digits, also below 1."""
    return shown(value, "rate" if value is not None and value < 1 else "si")


def _cards(result: Plan) -> str:
    job = result.job
    each = f"{job.gpus:,} × {result.card.name}"
    return each if job.nodes == 1 else f"{job.nodes:,} nodes of {each}"


def _lead(result: Plan) -> Iterator[str]:
    scenario, job = result.scenario, result.job
    yield f"attention {scenario.attention}, optimizer {scenario.optimizer}"
    if job.deadline_seconds is not None and result.late is None:
        yield f"the smallest number of cards that divide a step evenly and keep {_deadline(result)}"


def _totals(result: Plan) -> Table:
    totals, job = result.totals, result.job
    rows = (
        ("samples", totals.samples),
        (f"steps of {job.global_batch:,}", totals.steps),
        ("tokens", totals.tokens),
        ("FLOPs, exactly", totals.model_flops),
        ("FLOPs, 6 · parameters · tokens", totals.rule_flops),
    )
    return Table(
        "The run",
        (Column(""), Column("", "si"), Column("exactly", "count")),
        tuple(Row((name, value, value), unit="") for name, value in rows),
    )


def _beside(result: Plan) -> Iterator[Table]:
    """One row for each kind of card, with its best way."""
    if not result.beside:
        return
    columns: list[Read[OnCard]] = [
        (Column("gpu"), lambda each: each.gpu),
        (Column("cards", "count"), lambda each: each.cards),
        *map(_of_best, [(Column("divided by"), _name), *_costs(_priced(result))]),
        (Column("precision", optional=True), lambda each: each.precision),
        (Column("basis", optional=True), lambda each: each.basis),
    ]
    notes = [f"{each.gpu}: {each.missing}" for each in result.beside if each.missing]
    yield laid_out(
        "Side by side", columns, result.beside, notes, lambda each: "" if each.best else "failed"
    )


def _of_best(column: Read[PlanRow]) -> Read[OnCard]:
    """A column of ways turned into a column of cards: the value of each card's best way."""
    return column[0], lambda each: each.best and column[1](each.best)


def _costs(priced: bool) -> Iterator[Read[PlanRow]]:
    """The time, the energy and the price of a run."""
    yield Column("run", "seconds"), lambda row: row.run_seconds
    yield Column("low", "seconds"), lambda row: row.run_low_seconds
    yield Column("high", "seconds"), lambda row: row.run_high_seconds
    yield Column("GPU-hours", "si", optional=True), lambda row: row.gpu_hours
    yield Column("kWh", "si", optional=True), _kwh
    if priced:
        yield Column("cost", "si"), lambda row: row.cost
        yield Column("low – high", optional=True), lambda row: _ends(row.cost_low, row.cost_high)


def _kwh(row: PlanRow) -> float | None:
    return None if row.energy_joules is None else row.energy_joules / JOULES_OF_KWH


def _priced(result: Plan) -> bool:
    rows = [each.best for each in result.beside] or [result.best]
    return any(row is not None and row.cost is not None for row in rows)


def _ends(low: float | None, high: float | None) -> str | None:
    """Both ends of a band."""
    if low is None or high is None or low == high:
        return None
    return f"{shown(low, 'si')} – {shown(high, 'si')}"


def _best(result: Plan) -> Iterator[Table]:
    fitting = [rows[0] for rows in _divisions(result) if rows[0].fits]
    if not fitting or fitting[0].step_seconds is None:
        return
    groups = list(_alike(fitting))[:_BEST]
    job = result.job
    columns: list[Read[PlanRow]] = [
        (Column("divided by"), _name),
        (Column("step", "seconds"), lambda row: row.step_seconds),
        (Column("MFU", "ratio"), lambda row: row.mfu),
        (Column("HFU", "ratio", optional=True), lambda row: row.hfu),
        *_costs(job.price is not None),
    ]
    if job.kwh_price is not None:
        columns.append((Column("energy cost", "si", optional=True), lambda row: row.energy_cost))
    if job.co2 is not None:
        columns.append((Column("kg CO2", "si", optional=True), lambda row: row.co2_kg))
    columns.append((Column("limit", optional=True), lambda row: row.limit))
    columns.append((Column("samples/s", "si", optional=True), lambda row: row.samples_per_second))
    notes = [
        f"{_name(first)}: as fast within 2 %, and no simpler: {_names(others)}"
        for first, *others in groups
        if others
    ]
    notes.append(f"time {result.basis}; MFU: the model's FLOPs over the peak, HFU: those executed")
    notes += [*_uncovered(result), *result.model.origins()]
    yield laid_out("Fastest that fit", columns, [group[0] for group in groups], notes)


def _uncovered(result: Plan) -> Iterator[str]:
    """The ways without an answer in any row, grouped by their reasons."""
    reasons: dict[str, list[str]] = {}
    for rows in _divisions(result):
        if all(row.missing for row in rows):
            reasons.setdefault(rows[0].missing or "", []).append(rows[0].strategy)
    for reason, names in reasons.items():
        yield f"not covered, {', '.join(names)}: {reason}"


def _names(rows: list[PlanRow]) -> str:
    """The names of a few ways, or their number."""
    return ", ".join(map(_name, rows)) if len(rows) <= _READ // 2 else f"{len(rows):,} ways"


def _alike(rows: list[PlanRow]) -> Iterator[list[PlanRow]]:
    """The ways within two percent of the fastest, the simplest first."""
    left = rows
    while left:
        most = AS_FAST * (left[0].step_seconds or 0)
        group = [row for row in left if (row.step_seconds or 0) <= most]
        left = left[len(group) :]
        yield sorted(group, key=divided)


def _divisions(result: Plan) -> list[list[PlanRow]]:
    """The rows grouped by the division of the step; the fastest checkpointing of each group comes
    first."""
    by_strategy: dict[str, list[PlanRow]] = {}
    for row in result.found:
        by_strategy.setdefault(row.strategy, []).append(row)
    return list(by_strategy.values())


def _name(row: PlanRow) -> str:
    return row.strategy if row.checkpointing == "none" else f"{row.strategy}, {row.checkpointing}"


def _waiting(row: PlanRow) -> float | None:
    if row.exposed_seconds is None:
        return None
    return row.exposed_seconds + (row.bubble_seconds or 0)


def _limit(row: PlanRow) -> str:
    return row.limit if row.missing is None else f"not covered: {row.missing}"


# the columns of a way, whether or not it fits
_WAY: list[Read[PlanRow]] = [
    (Column("divided by"), lambda row: row.strategy),
    (Column("recomputed", optional=True), lambda row: row.checkpointing),
    (Column("micro", "count"), lambda row: row.micro_batch or None),
    (Column("×", "count"), lambda row: row.accumulation or None),
    (Column("memory", "bytes"), lambda row: row.memory_bytes),
    (Column("is", optional=True), lambda row: row.memory_basis),
    (
        Column("headroom", "bytes", optional=True),
        lambda row: row.headroom_bytes if row.fits else None,
    ),
    (Column("sent", "bytes"), lambda row: row.sent_bytes),
    (Column("exposed", "seconds", optional=True), _waiting),
    (Column("step", "seconds"), lambda row: row.step_seconds),
    (Column("limit", optional=True), _limit),
]


def _ways(result: Plan) -> Table:
    divisions = _divisions(result)
    notes: tuple[str, ...] = (
        "of one card: micro × accumulated samples, memory, bytes sent in a step; exposed: "
        "communication that no computing hides, and pipeline bubbles",
        "recomputed: the fastest that fits; html, csv and json have the others",
    )
    if len(divisions) > _READ:
        more = len(divisions) - _READ
        notes = (f"{more:,} more ways: --levels 0; html, csv and json have all", *notes)
    ways = [row for division in divisions for row in division]
    table = laid_out(
        "Every way to divide the step", _WAY, ways, notes, lambda row: "" if row.fits else "failed"
    )
    # other checkpointing of a division is folded below the best one; only a few divisions are shown
    places = ((i, level) for i, rows in enumerate(divisions) for level in range(len(rows)))
    rows = (
        row._replace(level=min(level, 1), detail=level > 0 or i >= _READ)
        for row, (i, level) in zip(table.rows, places, strict=True)
    )
    return table._replace(rows=tuple(rows))
