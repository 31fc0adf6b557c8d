"""The page of a fit: the largest batch on each card, and other ways to make the wanted
batch fit."""

from collections.abc import Iterator

from vitcost.page import Bar, Bars, Column, Page, Read, Table, laid_out, shown
from vitcost.pages.subject import of_inputs, of_model, of_scenario
from vitcost.planner.fit import Fit, FitRow
from vitcost.planner.reserve import said
from vitcost.planner.ways import Way

__all__ = ["fit_page"]

# up to this many cards are described one by one above the table
_NAMED = 4
# the most cards in a picture
_DRAWN = 12
# the most ways that are shown for a card, if there are few cards
_WAYS = 6


def fit_page(result: Fit) -> Page:
    """One row for each card, then the changes that make the wanted batch fit."""
    tables = (_cards(result), *_ways(result))
    title = f"Largest batch of {of_model(result.model)}"
    page = Page(title, tuple(_lead(result)), tables, answer=tuple(_answer(result)))
    return page._replace(bars=_bars(result))


def _answer(result: Fit) -> Iterator[str]:
    """The question, then the smallest card that holds the batch, or each of a few named cards."""
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
    """The largest batch on a card, in one line."""
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
    columns: list[Read[FitRow]] = [(Column("gpu"), lambda row: row.gpu)]
    if result.wanted > 1:
        columns.append((Column(f"batch {result.wanted:,}"), lambda row: row.verdict or "?"))
    columns += [
        (Column("largest batch", "count"), lambda row: row.largest_batch),
        (Column("memory", "bytes"), lambda row: row.capacity_bytes),
        (Column("used", "bytes"), lambda row: row.used_bytes),
        (Column("headroom", "bytes"), lambda row: row.headroom_bytes),
    ]
    if "img_size" in result.largest:
        columns.append((Column("image", "count"), lambda row: row.largest_img_size))
    if "depth" in result.largest:
        columns.append((Column("depth", "count"), lambda row: row.largest_depth))
    if str(result.reserve) != "0":
        bare = Column("without reserve", "count", optional=True)
        columns.append((bare, lambda row: row.largest_batch_bare))
    columns += [
        (Column("memory by", optional=True), lambda row: row.memory),
        (Column("used is", optional=True), lambda row: row.used_is),
        (Column("peak", optional=True), lambda row: row.peak_at),
    ]
    shown_rows = list(result.found)
    best: FitRow | None = None
    if not result.named:
        # the question is which card is enough, so the smallest card that holds the batch is marked
        shown_rows.sort(key=lambda row: (row.capacity_bytes is None, row.capacity_bytes))
        best = next((row for row in shown_rows if row.fits), None)

    def kind(row: FitRow) -> str:
        return "marked" if row is best else "failed" if row.fits is False else ""

    return laid_out("", columns, shown_rows, _notes(result), kind)


def _notes(result: Fit) -> Iterator[str]:
    yield from result.model.origins()
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


_GROUPS = {True: "with the same training", False: "with another training"}


def _ways(result: Fit) -> Iterator[Table]:
    """Ways that make the batch fit; the ways that keep the training the same come first."""
    failing = [row for row in result.found if row.fits is False]
    if not failing:
        return
    hopeless = [row.gpu for row in failing if not row.ways]
    title = f"Changes that make a batch of {result.wanted:,} fit"
    if len(hopeless) == len(failing):
        yield Table(title, (), (), (f"no change is enough: {', '.join(hopeless)}",))
        return
    most = _WAYS if len(failing) < 4 else 1
    times = all(way.seconds is not None for row in failing for way in row.ways)
    for keeps, group in _GROUPS.items():
        offered = [
            (row, way)
            for row in failing
            for way in [way for way in row.ways if way.keeps == keeps][:most]
        ]
        if offered:
            sized = all(way.largest_batch is not None for _, way in offered)
            micro = any(name == "batch" for _, way in offered for name, _ in way.flags)
            notes = _order(times, micro, result.scenario.ranks if times else 1)
            yield laid_out(f"{title}, {group}", _way_columns(times, sized), offered, notes)
    if hopeless:
        yield Table("", (), (), (f"no change is enough: {', '.join(hopeless)}",))


def _way_columns(times: bool, sized: bool) -> Iterator[Read[tuple[FitRow, Way]]]:
    """The columns of ways. The columns that decide come first, and are the last to be dropped on a
    narrow screen."""
    yield Column("gpu"), lambda each: each[0].gpu
    yield Column("change"), lambda each: _change(each[1])
    if times:
        yield Column("× time"), lambda each: f"{each[1].relative_seconds or 0:.2f}"
    if sized:
        yield Column("largest batch", "count"), lambda each: each[1].largest_batch
    yield Column("used", "bytes"), lambda each: each[1].used_bytes
    if times:
        yield Column("step", "seconds", optional=True), lambda each: each[1].seconds
    yield Column("headroom", "bytes", optional=True), lambda each: each[1].headroom_bytes
    yield Column("× FLOPs", optional=times), lambda each: _more_flops(each[1])
    yield Column("FLOPs", "si", optional=True), lambda each: each[1].executed_flops
    if times:
        yield Column("basis", optional=True), lambda each: each[1].basis


def _change(way: Way) -> str:
    words = (name.replace("_", " ") + ("" if on is True else f" {on}") for name, on in way.flags)
    return ", ".join(words)


def _more_flops(way: Way) -> str | None:
    return None if way.relative_flops is None else f"{way.relative_flops:.2f}"


def _order(times: bool, micro: bool, ranks: int) -> Iterator[str]:
    by = "predicted time" if times else "FLOPs"
    yield f"cheapest first, by the {by} of a step; ×: relative to the step that was asked for"
    if micro:
        yield "batch: the micro-batch; accumulate: how many of these make a step"
    if ranks > 1:
        yield (
            f"time of one card's kernels; `vitcost plan` adds the communication of {ranks} ranks"
        )


def _bars(result: Fit) -> tuple[Bars, ...]:
    """Bars of the bytes that the largest batch uses on each card, and of the bytes kept free; if
    there are many cards, the smallest that hold the wanted batch."""
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
