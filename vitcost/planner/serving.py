"""A card under a load of images: its batch, how many cards are enough, and their cost."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.engine.workload import Workload
from vitcost.hardware.beside import verdict_on
from vitcost.hardware.cards import Card
from vitcost.hardware.predicted import LIMITS, Time
from vitcost.page import shown
from vitcost.planner.capacity import cards_for, queue
from vitcost.planner.load import Load
from vitcost.planner.need import Need, need
from vitcost.planner.prices import Prices
from vitcost.planner.reserve import Reserve

__all__ = ["Question", "ServeRow", "row_of"]


class ServeRow(NamedTuple):
    """A kind of card, and how many such cards carry the load.

    ``images_per_second`` is the most that one card runs with this batch, ``latency_seconds`` the
    percentile of the time from an image's arrival to its answer, ``low_seconds`` and
    ``high_seconds`` the same at the ends of the band of a batch's time, ``mean_seconds`` its mean:
    ``forming_seconds + queueing_seconds + service_seconds``. ``cards`` keep the latency at the high
    end of the band, ``least_cards`` would do at its low end. Energy counts the power of the boards
    all the time. ``limit`` is the limit that a larger batch on fewer cards would break (``slo``,
    ``memory``), or ``rate`` if one card is enough, else the resource that bounds a batch's time. If
    no batch carries the load, ``missing`` says why, and the numbers are None.
    """

    gpu: str
    precision: str
    batch: int | None = None
    latency_seconds: float | None = None
    low_seconds: float | None = None
    high_seconds: float | None = None
    images_per_second: float | None = None
    cards: int | None = None
    least_cards: int | None = None
    cost_per_million_images: float | None = None
    price_per_hour: float | None = None
    power_watts: float | None = None
    joules_per_million_images: float | None = None
    utilization: float | None = None
    mean_seconds: float | None = None
    forming_seconds: float | None = None
    queueing_seconds: float | None = None
    service_seconds: float = 0.0
    service_low_seconds: float = 0.0
    service_high_seconds: float = 0.0
    used_bytes: int = 0
    reserve_bytes: int = 0
    headroom_bytes: int = 0
    peak_at: str = ""
    verdict: str = ""
    limit: str = ""
    basis: str = ""
    software: str = ""
    attention_kernel: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str | None = None


class Question(NamedTuple):
    """The part of the question that is the same for every card. ``run`` is a forward pass; ``time``
    predicts the time of a scenario on a card."""

    run: Workload
    time: Callable[[Scenario, Card], Time]
    load: Load
    prices: Prices
    reserve: Reserve
    batches: Sequence[int]


class _Tried(NamedTuple):
    """A batch on a card: its tensors, the memory left beside them, its time, and how many cards
    carry the load: by utilization alone, and within the latency."""

    batch: int
    need: Need
    left_bytes: int
    time: Time
    by_rate: int
    cards: int | None


def row_of(asked: Question, card: Card, scenario: Scenario) -> ServeRow:
    """The row of a card: with the batch that needs the fewest cards, and among equals the one that
    answers first. Raises ``NotCovered`` where the memory of no batch is known.

    >>> from vitcost import serve
    >>> (row,) = serve("vit_base_patch16_224", rate="5000/s", slo="20ms", gpu="h100-sxm").found
    >>> row.cards * row.images_per_second >= 5000, row.latency_seconds <= 0.020
    (True, True)
    """
    run, tried = asked.run.under(scenario), list[_Tried]()
    # batches that the module cannot run, or that its file does not have, are left out
    least = run.least_batch if len(asked.batches) > 1 else 1
    for batch in (batch for batch in asked.batches if batch >= least):
        each = _tried(asked, card, run.at(batch))
        tried.append(each)
        late = asked.load.slo_seconds is not None and each.time.seconds > asked.load.slo_seconds
        if each.left_bytes < 0 or late:
            break
    able = [each for each in tried if each.cards is not None and each.left_bytes >= 0]
    if not able:
        return _unserved(asked, card, scenario, tried[0])
    best = min(able, key=lambda each: (each.cards, _mean_seconds(asked.load, each)))
    return _served(asked, card, scenario, best, _limit(best, tried))


def _tried(asked: Question, card: Card, run: Workload) -> _Tried:
    scenario, load = run.scenario, asked.load
    batch = scenario.batch
    time = asked.time(scenario, card)
    used = need(run)
    left = asked.reserve.headroom(card, used.total_bytes, scenario.software)
    by_rate = cards_for(batch, time.high_seconds, load._replace(slo_seconds=None))
    assert by_rate is not None
    cards = None if left < 0 else cards_for(batch, time.high_seconds, load)
    return _Tried(batch, used, left, time, by_rate, cards)


def _mean_seconds(load: Load, each: _Tried) -> float:
    """The mean latency at the high end of the band of a batch's time."""
    assert each.cards is not None
    return queue(each.batch, each.time.high_seconds, load, each.cards).mean_seconds


def _limit(best: _Tried, tried: Sequence[_Tried]) -> str:
    """The reason why fewer cards cannot carry the load."""
    assert best.cards is not None
    if best.cards == 1:
        return "rate"
    fewer = next((each for each in tried if each.by_rate < best.cards), None)
    if fewer is None:
        return LIMITS[best.time.bound]
    return "memory" if fewer.left_bytes < 0 else "slo"


def _unserved(asked: Question, card: Card, scenario: Scenario, least: _Tried) -> ServeRow:
    """The row of a card on which no batch carries the load, with the smallest batch."""
    row = _row(asked, card, scenario, least)
    images = "one image" if least.batch == 1 else f"a batch of {least.batch:,}"
    if least.left_bytes < 0:
        short = shown(-least.left_bytes, "bytes")
        return row._replace(limit="memory", missing=f"{images} needs {short} more than there is")
    took = shown(least.time.high_seconds, "seconds")
    more = "" if least.batch == 1 else ", and the images of a batch wait for each other"
    return row._replace(limit="slo", missing=f"{images} takes up to {took}{more}")


def _served(asked: Question, card: Card, scenario: Scenario, best: _Tried, limit: str) -> ServeRow:
    """The row of a card that carries the load with this batch."""
    load, batch, cards, time = asked.load, best.batch, best.cards, best.time
    assert cards is not None
    low, middle, high = (
        queue(batch, seconds, load, cards)
        for seconds in (time.low_seconds, time.seconds, time.high_seconds)
    )
    row = _row(asked, card, scenario, best)
    of_million = 1e6 / load.images_per_second
    price, watts = row.price_per_hour, card.power_w
    return row._replace(
        batch=batch,
        latency_seconds=middle.percentile(load.share),
        low_seconds=low.percentile(load.share),
        high_seconds=high.percentile(load.share),
        images_per_second=batch / time.seconds,
        cards=cards,
        least_cards=min(cards, cards_for(batch, time.low_seconds, load) or cards),
        cost_per_million_images=None if price is None else price * cards * of_million / 3600,
        power_watts=None if watts is None else watts * cards,
        joules_per_million_images=None if watts is None else watts * cards * of_million,
        utilization=load.images_per_second * time.seconds / (batch * cards),
        mean_seconds=middle.mean_seconds,
        forming_seconds=middle.forming_seconds,
        queueing_seconds=middle.queueing_seconds,
        limit=limit,
    )


def _row(asked: Question, card: Card, scenario: Scenario, each: _Tried) -> ServeRow:
    """The fields that depend only on a batch on a card, whether or not the card carries the
    load."""
    time, used = each.time, each.need.total_bytes
    kept = asked.reserve.kept(card, used, scenario.software)
    fit = verdict_on(card, used, kept)
    assert fit is not None
    return ServeRow(
        gpu=card.name,
        precision=scenario.precision,
        price_per_hour=asked.prices.of(card),
        service_seconds=time.seconds,
        service_low_seconds=time.low_seconds,
        service_high_seconds=time.high_seconds,
        used_bytes=used,
        reserve_bytes=kept,
        headroom_bytes=each.left_bytes,
        peak_at=each.need.at,
        verdict=fit[0],
        basis=time.basis,
        software=time.software,
        attention_kernel=time.attention_kernel,
        notes=time.notes,
    )
