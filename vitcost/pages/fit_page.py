"""The page of a fit: the largest batch of each card, and other ways that make the wanted batch
fit."""

from collections.abc import Iterator

from vitcost.page import Bar, Bars, Column, Page, Row, Table, Value, shown
from vitcost.pages.subject import of_inputs, of_model, of_origin, of_scenario
from vitcost.planner.fit import Fit, FitRow
from vitcost.planner.reserve import said
from vitcost.planner.ways import Way

__all__ = ["fit_page"]

# cards that are said one by one above the table
_NAMED = 4
# cards that stand below one another in a picture
_DRAWN = 12
# ways that a card shows, where few cards are shown
_WAYS = 6


def fit_page(result: Fit) -> Page:
    """One row for each card, then the changes that make the wanted batch fit."""
    tables = (_cards(result), *_ways(result))
    title = f"Largest batch of {of_model(result.model)}"
    page = Page(title, tuple(_lead(result)), tables, answer=tuple(_answer(result)))
    return page._replace(bars=_bars(result))


def _answer(result: Fit) -> Iterator[str]:
    """The question, then the smallest card that holds the batch, or each of the few that were
    named."""
    scenario = result.scenario
    inputs = of_inputs(result.model)
    yield ", ".join([*inputs, *of_scenario(scenario, batch=False)])
    known = [row for row in result.found if row.capacity_bytes is not None]
    holding = [row for row in known if row.fits]
    if result.named and len(result.found) <= _NAMED:
        yield from (_said(result, row) for row in result.found)
    elif not holding:
        yield f"no card holds a batch of {result.wanted:,}"
    else:
        smallest = min(holding, key=lambda row: row.capacity_bytes or 0)
        yield (
            f"the smallest of {len(holding):,} cards that hold a batch of {result.wanted:,}: "
            f"{_said(result, smallest)}"
        )


def _said(result: Fit, row: FitRow) -> str:
    """The largest batch of a card, in a line."""
    if row.largest_batch is None:
        return f"{row.gpu}: {row.memory}"
    holds = f"{row.largest_batch:,} images" if row.largest_batch else "not one image"
    memory = f"{shown(row.used_bytes, 'bytes')} of {shown(row.capacity_bytes, 'bytes')}"
    most = " at most" if row.used_is == "bounded" else ""
    verdict = f"; a batch of {result.wanted:,}: {row.verdict}" if result.wanted > 1 else ""
    return f"{row.gpu} holds {holds}, {memory}{most}{verdict}"


def _lead(result: Fit) -> Iterator[str]:
    scenario = result.scenario
    how = [f"attention {scenario.attention}"]
    if scenario.mode == "train":
        how += [f"optimizer {scenario.optimizer}", f"checkpointing {scenario.checkpointing}"]
    beside = any(row.reserve_bytes for row in result.found)
    yield f"{', '.join(how)}; {said(result.reserve, beside)}"


def _cards(result: Fit) -> Table:
    columns = [
        Column("gpu"),
        *([Column(f"batch {result.wanted:,}")] if result.wanted > 1 else []),
        Column("largest batch", "count"),
        Column("memory", "bytes"),
        Column("used", "bytes"),
        Column("headroom", "bytes"),
    ]
    if "img_size" in result.largest:
        columns.append(Column("image", "count"))
    if "depth" in result.largest:
        columns.append(Column("depth", "count"))
    if str(result.reserve) != "0":
        columns.append(Column("without reserve", "count", optional=True))
    columns.append(Column("memory by", optional=True))
    columns.append(Column("used is", optional=True))
    columns.append(Column("peak", optional=True))
    shown_rows = list(result.found)
    best: FitRow | None = None
    if not result.named:
        # the question is which card is enough: the smallest that holds the batch is marked
        shown_rows.sort(key=lambda row: (row.capacity_bytes is None, row.capacity_bytes))
        best = next((row for row in shown_rows if row.fits), None)
    rows = tuple(_card(result, row, row is best) for row in shown_rows)
    return Table("", tuple(columns), rows, tuple(_notes(result)))


def _card(result: Fit, row: FitRow, is_best: bool) -> Row:
    cells: list[Value] = [row.gpu, *([row.verdict or "?"] if result.wanted > 1 else [])]
    cells += [row.largest_batch, row.capacity_bytes, row.used_bytes, row.headroom_bytes]
    if "img_size" in result.largest:
        cells.append(row.largest_img_size)
    if "depth" in result.largest:
        cells.append(row.largest_depth)
    if str(result.reserve) != "0":
        cells.append(row.largest_batch_bare)
    cells += [row.memory, row.used_is, row.peak_at]
    return Row(tuple(cells), "marked" if is_best else "failed" if row.fits is False else "")


def _notes(result: Fit) -> Iterator[str]:
    yield from of_origin(result.model)
    if any(row.memory == "sheet" for row in result.found):
        yield (
            "memory by sheet: the GB of the data sheet, which are GiB on the card; stated: bytes "
            "that a process may use, from a source"
        )
    unknown = [row.gpu for row in result.found if row.memory == "unknown"]
    without = [row.gpu for row in result.found if row.memory == "no kernel"]
    if without:
        yield f"no {result.scenario.attention} attention kernel on: {', '.join(without)}"
    if unknown:
        yield f"no source states the memory of: {', '.join(unknown)}"
    if any(row.largest_batch == 0 for row in result.found):
        yield "where no batch fits, used is the need of a batch of one"
    for each in dict.fromkeys(each for row in result.found for each in row.assumed):
        yield f"used, bounded: a step needs no more, with {each}"
    if not result.named and any(row.fits for row in result.found):
        yield f"◂: the smallest card that holds a batch of {result.wanted:,}"
    if result.largest:
        yield f"the largest with a batch of {result.wanted:,}; an image is square"


_GROUPS = {True: "the training the same", False: "with another training"}


def _ways(result: Fit) -> Iterator[Table]:
    """Ways that make the batch fit: first the ways that keep the training."""
    failing = [row for row in result.found if row.fits is False]
    if not failing:
        return
    hopeless = [row.gpu for row in failing if not row.ways]
    title = f"Changes that make a batch of {result.wanted:,} fit"
    if len(hopeless) == len(failing):
        yield Table(title, (), (), (f"no change is enough: {', '.join(hopeless)}",))
        return
    most = _WAYS if len(failing) < 4 else 1
    times = all(map(_timed, failing))
    for keeps, group in _GROUPS.items():
        offered = [
            (row, way)
            for row in failing
            for way in [way for way in row.ways if way.keeps == keeps][:most]
        ]
        if offered:
            sized = all(way.largest_batch is not None for _, way in offered)
            rows = tuple(_way(row, way, times, sized) for row, way in offered)
            columns = _way_columns(times, sized)
            micro = any(name == "batch" for _, way in offered for name, _ in way.flags)
            ranks = result.scenario.ranks if times else 1
            notes = tuple(_order(times, micro, ranks))
            yield Table(f"{title}, {group}", columns, rows, notes)
    if hopeless:
        yield Table("", (), (), (f"no change is enough: {', '.join(hopeless)}",))


def _way_columns(times: bool, sized: bool) -> tuple[Column, ...]:
    """The columns that decide stand first, and are left out last on a narrow screen."""
    return (
        Column("gpu"),
        Column("change"),
        *((Column("× time"),) if times else ()),
        *((Column("largest batch", "count"),) if sized else ()),
        Column("used", "bytes"),
        *((Column("step", "seconds", optional=True),) if times else ()),
        Column("headroom", "bytes", optional=True),
        Column("× FLOPs", optional=times),
        Column("FLOPs", "si", optional=True),
        *((Column("basis", optional=True),) if times else ()),
    )


def _way(row: FitRow, way: Way, times: bool, sized: bool) -> Row:
    words = (name.replace("_", " ") + ("" if on is True else f" {on}") for name, on in way.flags)
    change = ", ".join(words)
    more = None if way.relative_flops is None else f"{way.relative_flops:.2f}"
    cells: tuple[Value, ...] = (
        row.gpu,
        change,
        *((f"{way.relative_seconds or 0:.2f}",) if times else ()),
        *((way.largest_batch,) if sized else ()),
        way.used_bytes,
        *((way.seconds,) if times else ()),
        way.headroom_bytes,
        more,
        way.executed_flops,
        *((way.basis,) if times else ()),
    )
    return Row(cells)


def _order(times: bool, micro: bool, ranks: int) -> Iterator[str]:
    by = "predicted time" if times else "FLOPs"
    yield f"cheapest first, by the {by} of a step; ×: relative to the step that was asked for"
    if micro:
        yield "batch: the micro-batch; a step adds up the gradients of accumulate of them"
    if ranks > 1:
        yield (
            f"time of one card's kernels; `vitcost plan` adds the communication of {ranks} ranks"
        )


def _timed(row: FitRow) -> bool:
    return all(way.seconds is not None for way in row.ways)


def _bars(result: Fit) -> tuple[Bars, ...]:
    """Bars of the bytes that the largest batch uses on each card, beside those kept free; of many
    cards the smallest that hold the wanted batch."""
    known = [row for row in result.found if row.capacity_bytes and row.used_bytes is not None]
    if len(known) > _DRAWN:
        holding = [row for row in known if row.fits]
        known = sorted(holding, key=lambda row: row.capacity_bytes or 0)[:_DRAWN]
    bars = tuple(
        Bar(
            f"{row.gpu}, batch {row.largest_batch or 1:,}",
            "bytes",
            (("used", row.used_bytes or 0), ("kept free", row.reserve_bytes or 0)),
            row.capacity_bytes,
        )
        for row in known
    )
    return (Bars("Used against capacity", bars),) if bars else ()
