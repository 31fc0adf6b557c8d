"""The page of a plan: the run, the best few ways to divide it, every way, what was assumed."""

from collections.abc import Iterator

from vitcost.page import Column, Page, Row, Table, shown
from vitcost.pages.asked import of_inputs, of_model, of_scenario
from vitcost.planner.choose import PlanRow
from vitcost.planner.plan import Plan

__all__ = ["plan_page"]

_BEST = 5
# ways that a flat table shows
_READ = 8
# a way that is slower by less than this is as fast: a prediction is no finer
_AS_FAST = 1.02
_JOULES_OF_KWH = 3.6e6


def plan_page(result: Plan) -> Page:
    """The totals, the best few, then a row for each way to divide the step."""
    tables = (_totals(result), *_best(result), _ways(result))
    title = f"Training {of_model(result.model)} on {_cards(result)}"
    answer = tuple(_answer(result))
    return Page(title, tuple(_lead(result)), tables, result.assumptions, answer=answer)


def _answer(result: Plan) -> Iterator[str]:
    """What is asked, then the simplest way that is as good as the fastest."""
    inputs, flags = of_inputs(result.model), of_scenario(result.scenario, batch=False, mode=False)
    yield ", ".join([*inputs, f"batch {result.job.global_batch:,}", *flags])
    best = result.best
    if best is None or best.step_seconds is None:
        yield "nothing fits"
        return
    chosen = _simplest(result, best.step_seconds)
    said = [f"{_name(chosen)}, micro-batch {chosen.micro_batch:,} × {chosen.accumulation:,}"]
    said.append(f"{shown(chosen.run_seconds, 'seconds')}{_run_band(chosen)}")
    said.append(f"{shown(chosen.gpu_hours, 'si')} GPU-hours")
    if chosen.cost is not None:
        said.append(f"cost {shown(chosen.cost, 'si')}")
    most = "" if chosen.memory_basis == "exact" else "at most "
    capacity = shown(result.card.capacity_bytes, "bytes")
    said.append(f"{most}{shown(chosen.memory_bytes, 'bytes')} of {capacity}")
    yield ", ".join(said)
    if chosen is not best and chosen.step_seconds:
        less = 1 - best.step_seconds / chosen.step_seconds
        if less >= 0.001:
            yield f"the fastest, {_name(best)}, takes {shown(less, 'ratio')} less"


def _simplest(result: Plan, fastest: float) -> PlanRow:
    """Of the ways within two percent of the fastest the one that divides least."""
    near = [
        row
        for row in result.found
        if row.fits and row.step_seconds is not None and row.step_seconds <= _AS_FAST * fastest
    ]
    return min(near, key=lambda row: (row.pipeline, row.tensor, row.sequence, row.zero))


def _run_band(row: PlanRow) -> str:
    """The band of a run: that of its step, as many times."""
    if None in (row.low_seconds, row.high_seconds, row.step_seconds, row.run_seconds):
        return ""
    steps = (row.run_seconds or 0) / (row.step_seconds or 1)
    low, high = ((each or 0) * steps for each in (row.low_seconds, row.high_seconds))
    return "" if low == high else f" ({shown(low, 'seconds')} to {shown(high, 'seconds')})"


def _cards(result: Plan) -> str:
    job = result.job
    each = f"{job.gpus:,} × {result.card.name}"
    return each if job.nodes == 1 else f"{job.nodes:,} nodes of {each}"


def _lead(result: Plan) -> Iterator[str]:
    scenario, job = result.scenario, result.job
    yield f"attention {scenario.attention}, optimizer {scenario.optimizer}"
    if job.deadline_seconds is not None:
        wanted = shown(job.deadline_seconds, "seconds")
        yield f"the fewest cards that share a step evenly and keep a deadline of {wanted}"


def _totals(result: Plan) -> Table:
    totals, job = result.totals, result.job
    rows = (
        ("samples", totals.samples, "count"),
        (f"steps of {job.global_batch:,}", totals.steps, "count"),
        ("tokens", totals.tokens, "count"),
        ("FLOPs, exactly", totals.model_flops, "count"),
        ("FLOPs, 6 · parameters · tokens", totals.rule_flops, "count"),
    )
    return Table(
        "The run",
        (Column(""), Column("", "si"), Column("exactly", "count")),
        tuple(Row((name, value, value), unit="") for name, value, _ in rows),
    )


def _best(result: Plan) -> Iterator[Table]:
    fitting = [rows[0] for rows in _divisions(result) if rows[0].fits][:_BEST]
    if not fitting:
        return
    columns = [
        Column("divided by"),
        Column("run", "seconds"),
        *([Column("cost", "si")] if result.job.price is not None else []),
        Column("GPU-hours", "si"),
        Column("step", "seconds"),
        Column("kWh", "si"),
        Column("MFU", "ratio"),
        Column("HFU", "ratio", optional=True),
        Column("limit"),
        Column("samples/s", "si", optional=True),
        Column("band of a step", optional=True),
    ]
    rows = tuple(_best_row(result, row) for row in fitting)
    money = ("cost: in the money of the price",) if result.job.price is not None else ()
    notes = (
        *money,
        f"time {result.basis}; MFU: the model's FLOPs over the peak, HFU: those executed",
    )
    yield Table("Fastest that fit", tuple(columns), rows, notes)


def _divisions(result: Plan) -> list[list[PlanRow]]:
    """The rows by how they divide the step: the best of each first, by what it recomputes."""
    found: dict[str, list[PlanRow]] = {}
    for row in result.found:
        found.setdefault(row.strategy, []).append(row)
    return list(found.values())


def _best_row(result: Plan, row: PlanRow) -> Row:
    energy = None if row.energy_joules is None else row.energy_joules / _JOULES_OF_KWH
    cost = [] if result.job.price is None else [row.cost]
    cells = (
        _name(row),
        row.run_seconds,
        *cost,
        row.gpu_hours,
        row.step_seconds,
        energy,
        row.mfu,
        row.hfu,
        row.limit,
        row.samples_per_second,
        _band(row),
    )
    return Row(cells)


def _band(row: PlanRow) -> str | None:
    if row.low_seconds == row.high_seconds:
        return None
    return f"{shown(row.low_seconds, 'seconds')} – {shown(row.high_seconds, 'seconds')}"


def _name(row: PlanRow) -> str:
    return row.strategy if row.checkpointing == "none" else f"{row.strategy}, {row.checkpointing}"


def _ways(result: Plan) -> Table:
    columns = (
        Column("divided by"),
        Column("recomputed", optional=True),
        Column("micro", "count"),
        Column("×", "count"),
        Column("memory", "bytes"),
        Column("is", optional=True),
        Column("headroom", "bytes", optional=True),
        Column("sent", "bytes"),
        Column("waits", "seconds", optional=True),
        Column("step", "seconds"),
        Column("limit", optional=True),
    )
    divisions = _divisions(result)
    # a few are read, the others are folded
    folded = [place >= _READ for place in range(len(divisions))]
    rows = tuple(
        _way(row, level, fold)
        for rows, fold in zip(divisions, folded, strict=True)
        for level, row in enumerate(rows)
    )
    more = sum(folded)
    notes = (
        *((f"{more:,} more ways: --levels 0; html, csv and json have all",) if more else ()),
        "of one card: micro × accumulated samples, memory, bytes sent in a step; waits: what "
        "hides behind no computing, and bubbles",
        "recomputed: the fastest that fits; html, csv and json have the others",
    )
    return Table("Every way to divide the step", columns, rows, notes)


def _way(row: PlanRow, place: int, folded: bool) -> Row:
    waits = None if row.exposed_seconds is None else row.exposed_seconds + (row.bubble_seconds or 0)
    cells = (
        row.strategy,
        row.checkpointing,
        row.micro_batch,
        row.accumulation,
        row.memory_bytes,
        row.memory_basis,
        row.headroom_bytes if row.fits else None,
        row.sent_bytes,
        waits,
        row.step_seconds,
        row.limit,
    )
    # what else a division could recompute is folded below the best
    return Row(cells, "" if row.fits else "failed", min(place, 1), detail=place > 0 or folded)
