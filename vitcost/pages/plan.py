"""The page of a plan: the run, the best few ways to divide it, every way, what was assumed."""

from collections.abc import Iterator

from vitcost.page import Column, Page, Row, Table, shown
from vitcost.planner.choose import PlanRow
from vitcost.planner.plan import Plan

__all__ = ["plan_page"]

_BEST = 5
_JOULES_OF_KWH = 3.6e6


def plan_page(result: Plan) -> Page:
    """The totals, the best few, then a row for each way to divide the step."""
    tables = (_totals(result), *_best(result), _ways(result))
    title = f"Training {result.model.name} on {_cards(result)}"
    return Page(title, tuple(_lead(result)), tables, result.assumptions)


def _cards(result: Plan) -> str:
    job = result.job
    each = f"{job.gpus:,} × {result.card.name}"
    return each if job.nodes == 1 else f"{job.nodes:,} nodes of {each}"


def _lead(result: Plan) -> Iterator[str]:
    scenario, job = result.scenario, result.job
    yield f"{scenario.precision}, attention {scenario.attention}, optimizer {scenario.optimizer}"
    if job.deadline_seconds is not None:
        wanted = shown(job.deadline_seconds, "seconds")
        yield f"the fewest cards that keep a deadline of {wanted}"
    best = result.best
    if best is None:
        yield "nothing fits"


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
        (Column(""), Column("", "count"), Column("", "si")),
        tuple(Row((name, value, value), unit="") for name, value, _ in rows),
    )


def _best(result: Plan) -> Iterator[Table]:
    fitting = [row for row in result.found if row.fits][:_BEST]
    if not fitting:
        return
    columns = [
        Column("divided by"),
        Column("step", "seconds"),
        Column("band", optional=True),
        Column("samples/s", "si", optional=True),
        Column("MFU", "ratio"),
        Column("HFU", "ratio", optional=True),
        Column("run", "seconds"),
        Column("GPU-hours", "si"),
        Column("kWh", "si", optional=True),
    ]
    if result.job.price is not None:
        columns.append(Column("cost", "si"))
    columns.append(Column("limit"))
    rows = tuple(_best_row(result, row) for row in fitting)
    notes = (f"time {result.basis}; MFU: the model's FLOPs over the peak, HFU: those executed",)
    yield Table("Fastest that fit", tuple(columns), rows, notes)


def _best_row(result: Plan, row: PlanRow) -> Row:
    energy = None if row.energy_joules is None else row.energy_joules / _JOULES_OF_KWH
    cells = [
        _name(row),
        row.step_seconds,
        _band(row),
        row.samples_per_second,
        row.mfu,
        row.hfu,
        row.run_seconds,
        row.gpu_hours,
        energy,
    ]
    if result.job.price is not None:
        cells.append(row.cost)
    return Row((*cells, row.limit))


def _band(row: PlanRow) -> str | None:
    if row.low_seconds == row.high_seconds:
        return None
    return f"{shown(row.low_seconds, 'seconds')} – {shown(row.high_seconds, 'seconds')}"


def _name(row: PlanRow) -> str:
    return row.strategy if row.checkpointing == "none" else f"{row.strategy}, {row.checkpointing}"


def _ways(result: Plan) -> Table:
    columns = (
        Column("divided by"),
        Column("recomputed"),
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
    rows = tuple(
        Row(
            (
                row.strategy,
                row.checkpointing,
                row.micro_batch,
                row.accumulation,
                row.memory_bytes,
                row.memory_basis,
                row.headroom_bytes if row.fits else None,
                row.sent_bytes,
                None
                if row.exposed_seconds is None
                else row.exposed_seconds + (row.bubble_seconds or 0),
                row.step_seconds,
                row.limit,
            ),
            "" if row.fits else "failed",
        )
        for row in result.found
    )
    notes = (
        "of one card: micro × accumulated samples, memory, bytes sent in a step; waits: what "
        "hides behind no computing, and bubbles",
    )
    return Table("Every way to divide the step", columns, rows, notes)
