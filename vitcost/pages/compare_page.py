"""The page of a comparison: one row for each model, and the layers that explain the differences."""

from collections.abc import Iterator

from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.page import Column, Page, Row, Table, Value, in_words, shown
from vitcost.pages.skipped import skipped_notes, spelled
from vitcost.planner.changes import NUMBERS
from vitcost.planner.compare import Comparison
from vitcost.planner.compared import Compared, Why, label
from vitcost.planner.pareto import said

__all__ = ["AT_MOST", "compare_page"]

# the note on a peak that is an upper bound
AT_MOST = "training, at most: no exact peak is known, and report lists the assumptions;"

# with more rows than this, a page shows only the Pareto front
_MOST_ROWS = 100
# the most models that a note names
_MOST_NAMED = 8

# short column titles of quantities
_TITLES = {
    "params": "params",
    "flops": "FLOPs",
    "inference_memory": "infer",
    "train_memory": "train",
    "step_time": "time",
    "images_per_second": "images/s",
    "cost_per_million_images": "cost a million",
    "gpu_hours": "GPU-hours",
}

_COLUMNS = tuple(zip(("params", "FLOPs", "pointwise", "saved"), NUMBERS.values(), strict=True))


def compare_page(comparison: Comparison) -> Page:
    """Every model with its quantities, each also relative to the best."""
    why = map(_differences, comparison.why()) if comparison.explained else ()
    tables = (_table(comparison, comparison.shown), *why)
    varied = any(each.varied for each in comparison.compared)
    title = f"{len(comparison.compared):,} {'combinations' if varied else 'models'} side by side"
    # these conditions hold for every row
    lead = (f"with {', '.join(comparison.asked)}",) if comparison.asked else ()
    return Page(title, lead, tables, answer=_answer(comparison))


def _answer(comparison: Comparison) -> tuple[str, ...]:
    """The best model in each quantity, and how many times as much the worst one needs."""
    least: dict[str, list[str]] = {}
    most = []
    for name in comparison.shown:
        more = QUANTITIES[name].more
        ratios = comparison.ratios(name)
        best = [each for each, ratio in zip(comparison.compared, ratios, strict=True) if ratio == 1]
        # among equal models none is called the best
        if len(best) == 1 and len(comparison.compared) > 1:
            word = "most" if more else "least"
            least.setdefault(f"{label(best[0])} has the {word}", []).append(in_words(name))
            if not more:
                most.append(max(ratio for ratio in ratios if ratio is not None))
    if not least:
        return ()
    leasts = "; ".join(f"{has} {', '.join(names)}" for has, names in least.items())
    if not most:
        return (leasts,)
    low, high = (shown(ratio, "relative") for ratio in (min(most), max(most)))
    times = low if low == high else f"{low} to {high}"
    of = "the least" if any(QUANTITIES[name].more for name in comparison.shown) else "that"
    return (f"{leasts}; the most {'is' if len(most) == 1 else 'are'} {times} times {of}",)


def _title(name: str) -> str:
    """A quantity as a column title, in upper or lower case as its unit needs."""
    return _TITLES.get(name) or in_words(name)


def _table(comparison: Comparison, names: tuple[str, ...]) -> Table:
    best = [comparison.ratios(name) for name in names]
    varied = list(comparison.compared[0].varied)
    columns = [Column("model"), *(Column(name) for name in varied)]
    for name in names:
        unit = QUANTITIES[name].unit
        columns += [Column(_title(name), unit), Column("×", "relative", optional=True)]
    timed = any(name in TIMED for name in names) and any(each.time for each in comparison.compared)
    bases = dict.fromkeys(map(_rests_on, comparison.compared)) if timed else {}
    # if all times have the same evidence, a note says so instead of a column
    if len(bases) > 1:
        columns.append(Column("basis of time", optional=True))
    rows, front = [], comparison.front()
    for i, each in _shown_rows(comparison, front):
        numbers: list[Value] = []
        for name, ratios in zip(names, best, strict=True):
            numbers += [each.quantities[name], ratios[i]]
        if len(bases) > 1:
            numbers.append(_rests_on(each))
        kind = "marked" if i in front else ""
        rows.append(Row((each.model, *map(spelled, each.varied.values()), *numbers), kind))
    turned = [_title(name) for name in names if QUANTITIES[name].more]
    others = f", of {', '.join(turned)} to the most" if turned else ""
    notes = [f"×: relative to the least{others}, which is 1.00"]
    if comparison.pareto is not None:
        notes.append(f"◂: Pareto front of {said(comparison.pareto)}")
    if len(rows) < len(comparison.compared):
        notes.append(
            f"the Pareto front, {len(rows):,} of {len(comparison.compared):,} rows: --format csv "
            "and json have all"
        )
    if timed:
        alone = f"; basis {next(iter(bases))}" if len(bases) == 1 else ""
        notes.append(
            f"time: of a step, on the slowest card of a report with several; ±: its band{alone}"
        )
        if comparison.aside:
            notes.append(
                f"flags of training alone, which the time leaves out: {', '.join(comparison.aside)}"
            )
    notes += _origins(comparison)
    bounds = dict.fromkeys(each.model for each in comparison.compared if each.peak_is == "bounded")
    if bounds and "train_memory" in names:
        notes.append(f"{AT_MOST} of {', '.join(bounds)}")
    if comparison.reports:
        notes.append(f"flags do not apply to saved reports: {', '.join(comparison.reports)}")
    notes += skipped_notes(comparison.skipped)
    return Table("", tuple(columns), tuple(rows), tuple(notes))


def _origins(comparison: Comparison) -> Iterator[str]:
    """A note on the rows whose numbers come from digests of traces."""
    by_origin: dict[str, dict[str, None]] = {}
    for each in comparison.compared:
        if each.origin:
            by_origin.setdefault(each.origin, {})[each.model] = None
    for origin, models in by_origin.items():
        of = ", ".join(models) if len(models) <= _MOST_NAMED else f"{len(models):,} of the rows"
        yield f"from digests of traces with {origin}: {of}"


def _shown_rows(comparison: Comparison, front: frozenset[int]) -> list[tuple[int, Compared]]:
    """The indices of the rows on a page: all, or, if there are many, the front in the order of its
    first quantity."""
    if comparison.pareto is None or len(comparison.compared) <= _MOST_ROWS:
        return list(enumerate(comparison.compared))
    first = comparison.pareto[0]
    sign = -1 if QUANTITIES[first].more else 1

    def place(number: int) -> float:
        return sign * (comparison.compared[number].quantities[first] or 0)

    return [(i, comparison.compared[i]) for i in sorted(front, key=place)]


def _rests_on(each: Compared) -> str | None:
    return None if each.time is None else str(each.time)


def _differences(why: Why) -> Table:
    """The layers that cost more; the numbers of a layer include the layers inside it."""
    more: dict[str, dict[str, int]] = {}
    for each in why.changed:
        more.setdefault(each.layer, {})[each.number] = each.more
    rows = []
    total = dict.fromkeys(NUMBERS, 0)
    for layer, numbers in more.items():
        level = sum(layer.startswith(f"{other}.") for other in more if other)
        if not level:
            total = {column: total[column] + numbers.get(column, 0) for column in NUMBERS}
        cells = (numbers.get(column, 0) for column in NUMBERS)
        rows.append(Row((layer or "model and loss", *cells), level=level, detail=level > 1))
    rows.append(Row(("total", *total.values()), "total"))
    columns = (Column("layer"), *(Column(title, unit) for title, unit in _COLUMNS))
    title = f"Why {why.model} costs more than {why.against}"
    note = "* stands for every layer of a run" if more else "no layer differs"
    shares = f"Where {why.model} costs more than {why.against}"
    return Table(title, columns, tuple(rows), (note,), shares)
