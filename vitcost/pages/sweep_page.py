"""The page of a sweep: the least and the most of each quantity, and the combinations that have
them."""

from collections.abc import Mapping
from typing import Any

from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.hardware.columns import Times
from vitcost.page import Column, Page, Row, Table
from vitcost.pages.skipped import skipped_notes, spelled
from vitcost.planner.pareto import said
from vitcost.planner.sweep import Extremes, Sweep

__all__ = ["sweep_page"]

# beginning of the keys that belong to the time of a row
_OF_TIME = "step_time_"
# a front with more points is better read from a file
_MOST_ROWS = 100


def sweep_page(sweep: Sweep) -> Page:
    """The least and the most of each quantity, and the Pareto front of two; CSV and JSON have every
    row."""
    extremes = sweep.extremes()
    answer = f"{extremes.rows:,} of {extremes.points:,} combinations are valid"
    ends = (
        _table("The least of each quantity", extremes.least),
        _table("The most of each quantity", extremes.most),
    )
    front = (_front(extremes),) if extremes.front else ()
    ends_of = (of.get("train_memory", {}) for of in (extremes.least, extremes.most))
    bounds = any(row.get("peak_is") == "bounded" for row in ends_of)
    bound_note = ("training, at most: no exact peak is known of some; peak_is says of which",)
    notes = (*(bound_note if bounds else ()), *skipped_notes(extremes.skipped))
    return Page("Every combination", tables=(*ends, *front), notes=notes, answer=(answer,))


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each extreme of a quantity: its value, and the combination that has it."""
    keys = {"peak_is", *(QUANTITIES[name].key(name) for name in QUANTITIES)}
    first = next(iter(rows.values()), {})
    fields = [key for key in first if key not in keys and not key.startswith(_OF_TIME)]
    timed = [Column("basis", optional=True)] if f"{_OF_TIME}basis" in first else []
    columns = (Column("quantity"), Column("value", "count"), *map(Column, fields), *timed)
    cells = (
        Row(
            (
                name,
                row[QUANTITIES[name].key(name)],
                *(spelled(row[field]) for field in fields),
                *([_rests_on(row) if name in TIMED else ""] if timed else []),
            ),
            unit=QUANTITIES[name].unit,
        )
        for name, row in rows.items()
    )
    return Table(title, columns, tuple(cells))


def _rests_on(row: Mapping[str, Any]) -> str:
    return str(Times(*(row[f"{_OF_TIME}{name}"] for name in Times._fields)))


def _front(extremes: Extremes) -> Table:
    """The combinations of the Pareto front: no other is better in one quantity and at least as good
    in the other."""
    units = {quantity.key(name): quantity.unit for name, quantity in QUANTITIES.items()}
    pair = {QUANTITIES[name].key(name) for name in extremes.pareto}
    # a narrow screen shows only the two quantities of the front
    keys = [key for key in extremes.front[0] if not key.startswith(_OF_TIME) or key in units]
    columns = tuple(
        Column(key, units.get(key, "text"), optional=key in units and key not in pair)
        for key in keys
    )
    rows = [
        Row(tuple(row[key] if key in units else spelled(row[key]) for key in keys))
        for row in extremes.front[:_MOST_ROWS]
    ]
    more = len(extremes.front) - len(rows)
    notes = (f"{more:,} more points of the front are not shown",) if more else ()
    title = f"Pareto front of {said(extremes.pareto)}"
    return Table(title, columns, tuple(rows), notes)
