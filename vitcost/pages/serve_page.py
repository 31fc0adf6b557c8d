"""The page of serving: the cheapest card in a sentence, a row for each card, and the parts of the
latency."""

from collections.abc import Iterator

from vitcost.page import Column, Page, Read, Table, laid_out, shown
from vitcost.pages.plots import serve_plots
from vitcost.pages.subject import of_inputs, of_model, of_scenario
from vitcost.planner.reserve import said
from vitcost.planner.serve import Serve
from vitcost.planner.serving import ServeRow

__all__ = ["serve_page"]

_JOULES_OF_WATT_HOUR = 3600
_LIMITS = {
    "slo": "slo: a larger batch would need fewer cards, and answers too late",
    "memory": "memory: a larger batch would need fewer cards, and does not fit",
    "rate": "rate: one card is enough",
}


def serve_page(result: Serve) -> Page:
    """The answer, the cards, the parts of the latency, and the assumptions."""
    tables = [_cards(result)]
    if result.ok:
        tables.append(_latency(result))
    title = f"Serving {of_model(result.model)} at {_rate(result.load.images_per_second)}"
    page = Page(title, (), tuple(tables), tuple(_notes(result)), answer=tuple(_answer(result)))
    return page._replace(pictures=lambda: tuple(serve_plots(result)))


def _answer(result: Serve) -> Iterator[str]:
    """The question, then a sentence on the first card."""
    flags = of_scenario(result.scenario, batch=False, precision=False, mode=False)
    yield ", ".join([*of_inputs(result.model), _precisions(result), *flags])
    yield _best(result)


def _best(result: Serve) -> str:
    """The first card in a sentence, or the reason why no card carries the load."""
    row, load = result.best, result.load
    if row is None:
        of = "no card answers in time" if load.slo_seconds is not None else "no card does"
        return f"{of}: {'; '.join(f'{row.gpu}: {row.missing}' for row in result.found)}"
    share, seconds = f"{load.percentile:g} %", shown(row.latency_seconds, "seconds")
    band = f"{shown(row.low_seconds, 'seconds')} to {shown(row.high_seconds, 'seconds')}"
    images = "one image" if row.batch == 1 else f"batches of {row.batch:,}"
    cost = row.cost_per_million_images
    price = "" if cost is None else f", {shown(cost, 'money')} a million images"
    return (
        f"{_amount(row)} × {row.gpu} in {images}{price}; {share} of the answers within "
        f"{seconds} ({band})"
    )


def _amount(row: ServeRow) -> str:
    return "–" if row.cards is None else f"{row.cards:,}"


def _precisions(result: Serve) -> str:
    """The precision of the cards, said once if all share it."""
    if result.precision != "auto":
        return result.precision
    cards: dict[str, list[str]] = {}
    for row in result.found:
        cards.setdefault(row.precision, []).append(row.gpu)
    if len(cards) == 1:
        return f"{next(iter(cards))} (auto)"
    return "; ".join(f"{precision} on {', '.join(names)}" for precision, names in cards.items())


def _cards(result: Serve) -> Table:
    load = result.load
    columns: list[Read[ServeRow]] = [
        (Column("gpu"), lambda row: row.gpu),
        (Column("cards", "count"), _span),
        (Column("batch", "count"), lambda row: row.batch),
        (Column("images/s a card", "rate", optional=True), lambda row: row.images_per_second),
        (Column(f"p{load.percentile:g}", "seconds"), lambda row: row.latency_seconds),
        (Column("low", "seconds", optional=True), lambda row: row.low_seconds),
        (Column("high", "seconds"), lambda row: row.high_seconds),
    ]
    if any(row.price_per_hour is not None for row in result.found):
        columns.append((Column("cost a million"), _cost))
    columns += [
        (Column("Wh a million", "rate", optional=True), _watt_hours),
        (Column("limit"), lambda row: row.missing or row.limit),
        (Column("memory", optional=True), lambda row: row.verdict),
        (Column("basis", optional=True), lambda row: row.basis),
    ]
    return laid_out(
        "", columns, result.found, kind=lambda row: "failed" if row.cards is None else ""
    )


def _cost(row: ServeRow) -> str | None:
    cost = row.cost_per_million_images
    return None if cost is None else shown(cost, "money")


def _watt_hours(row: ServeRow) -> float | None:
    joules = row.joules_per_million_images
    return None if joules is None else joules / _JOULES_OF_WATT_HOUR


def _span(row: ServeRow) -> str | None:
    """The number of cards, and the least number that might be enough."""
    if row.cards is None or row.cards == row.least_cards:
        return None if row.cards is None else f"{row.cards:,}"
    return f"{row.cards:,} ({row.least_cards:,})"


def _latency(result: Serve) -> Table:
    columns: list[Read[ServeRow]] = [
        (Column("gpu"), lambda row: row.gpu),
        (Column("forming", "seconds"), lambda row: row.forming_seconds),
        (Column("queueing", "seconds"), lambda row: row.queueing_seconds),
        (Column("a batch", "seconds"), lambda row: row.service_seconds),
        (Column("mean", "seconds"), lambda row: row.mean_seconds),
        (Column("busy", "ratio"), lambda row: row.utilization),
        (Column("power, W", "rate", optional=True), lambda row: row.power_watts),
        (Column("a batch takes", optional=True), _band),
    ]
    carrying = [row for row in result.found if row.cards is not None]
    return laid_out("Parts of an image's latency, on average", columns, carrying)


def _band(row: ServeRow) -> str:
    low, high = row.service_low_seconds, row.service_high_seconds
    return f"{shown(low, 'seconds')} – {shown(high, 'seconds')}"


def _notes(result: Serve) -> Iterator[str]:
    yield from result.model.origins()
    load = result.load
    seconds = load.slo_seconds
    slo = "" if seconds is None else f", and an answer takes {shown(seconds, 'seconds')} at most"
    yield (
        f"cards: at the high end of a batch's time each is busy for {load.utilization:.0%} of the "
        f"time at most{slo}; in brackets: how few do at its low end"
    )
    for limit, words in _LIMITS.items():
        if any(row.limit == limit and row.missing is None for row in result.found):
            yield words
    yield (
        "images arrive at random, one by one; those that come one after another are a batch, which "
        "runs on the first card that is free: the queue E_b/D/n, exactly, by Crommelin 1932, "
        "Spitzer 1956 and Franx 2001"
    )
    yield (
        "left out: decoding, the network, copies to the card, and whatever forms the batches; "
        "energy is the boards' power all the time"
    )
    yield said(result.reserve, any(row.reserve_bytes for row in result.found))
    if result.scenario.compile:
        yield "compiled: the time alone; memory is that of the eager model"
    for row in result.found:
        for note in row.notes:
            yield f"{row.gpu}: {note}"


def _rate(rate: float) -> str:
    return f"{shown(rate, 'rate')} images/s"
