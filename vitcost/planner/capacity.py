"""How many cards carry a load: the batches that keep a latency, and the fewest cards for each."""

from bisect import bisect_left
from functools import partial
from math import ceil
from typing import NamedTuple

from vitcost.planner.load import Load
from vitcost.planner.queueing import Batches

__all__ = ["BATCHES", "Carried", "cards_for", "latency"]

# the batches that are tried: powers of two, and one and a half times these
BATCHES = (1, *(n for i in range(1, 10) for n in (2**i, 3 * 2 ** (i - 1))), 1024)
# the most cards that are tried; a percentile that needs more is so near 100 that no float holds it
_MOST_CARDS = 2**60


class Carried(NamedTuple):
    """The mean wait of an image, part by part, and the percentile of the whole latency."""

    forming_seconds: float
    queueing_seconds: float
    service_seconds: float
    percentile_seconds: float

    @property
    def mean_seconds(self) -> float:
        """``forming + queueing + service``."""
        return self.forming_seconds + self.queueing_seconds + self.service_seconds


def cards_for(batch: int, seconds: float, load: Load) -> int | None:
    """The fewest cards that carry a load in batches that take ``seconds`` each; None if no number
    of cards does.

    ``ceil(λ D / (b u))`` cards keep a utilization of u, and more cards shorten the queue until the
    latency is kept, unless forming and running a batch alone take longer.

    >>> cards_for(8, 0.010, Load(5000.0, None, 99.0, 0.7))  # 5000 · 0.010 / (8 · 0.7) = 8.9
    9
    >>> cards_for(1, 0.010, Load(100.0, None, 99.0, 0.7)), cards_for(
    ...     1, 0.010, Load(100.0, 0.012, 99.0, 0.7))
    (2, 4)
    >>> cards_for(8, 0.010, Load(5000.0, 0.0125, 99.0, 0.7)), cards_for(
    ...     8, 0.010, Load(5000.0, 0.0120, 99.0, 0.7))
    (9, None)
    """
    least = max(1, ceil(load.images_per_second * seconds / (batch * load.utilization)))
    if load.slo_seconds is None:
        return least
    left = load.slo_seconds - seconds
    if (
        left < 0
        or Batches(batch, 1, seconds, load.images_per_second).formed_within(left) < load.share
    ):
        return None
    if _keeps(batch, seconds, load, least):
        return least
    low, high = least, 2 * least
    while not _keeps(batch, seconds, load, high):
        low, high = high, 2 * high
        if high > _MOST_CARDS:
            return None
    between = range(low + 1, high)
    return low + 1 + bisect_left(between, True, key=partial(_keeps, batch, seconds, load))


def latency(batch: int, seconds: float, load: Load, cards: int) -> Carried:
    """The seconds that an image waits: ``forming + queueing + service``, and the percentile of the
    load. ``batch`` images take ``seconds`` together, on the first free one of ``cards`` cards.

    With b images a batch and λ a second an image waits ``(b - 1) / 2λ`` for its batch to be full;
    the queue is ``queueing.Batches``. Raises ``ValueError`` if images arrive faster than the cards
    run them.

    >>> carried = latency(8, 0.010, Load(5000.0, None, 99.0, 0.7), 9)
    >>> carried.forming_seconds == 7 / 2 / 5000, carried.service_seconds
    (True, 0.01)
    """
    queue = Batches(batch, cards, seconds, load.images_per_second)
    return Carried(
        queue.forming_seconds,
        queue.queueing_seconds,
        seconds,
        queue.percentile(load.share),
    )


def _keeps(batch: int, seconds: float, load: Load, cards: int) -> bool:
    assert load.slo_seconds is not None
    return (
        Batches(batch, cards, seconds, load.images_per_second).within(load.slo_seconds)
        >= load.share
    )
