"""How many cards carry a load: the batches that keep a latency, and the fewest cards for each."""

from bisect import bisect_left
from functools import partial
from math import ceil

from vitcost.planner.load import Load
from vitcost.planner.queueing import Batches

__all__ = ["BATCHES", "cards_for", "queue"]

# the batches that are tried: powers of two, and one and a half times these
BATCHES = (1, *(n for i in range(1, 10) for n in (2**i, 3 * 2 ** (i - 1))), 1024)
# the most cards that are tried; a percentile that needs more is so near 100 that no float holds it
_MOST_CARDS = 2**60


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
    if left < 0 or queue(batch, seconds, load, 1).formed_within(left) < load.share:
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


def queue(batch: int, seconds: float, load: Load, cards: int) -> Batches:
    """The queue of a load's images. ``batch`` images take ``seconds`` together, on the first free
    one of ``cards`` cards.

    >>> queue(8, 0.010, Load(5000.0, None, 99.0, 0.7), 9).forming_seconds == 7 / 2 / 5000
    True
    """
    return Batches(batch, cards, seconds, load.images_per_second)


def _keeps(batch: int, seconds: float, load: Load, cards: int) -> bool:
    assert load.slo_seconds is not None
    return queue(batch, seconds, load, cards).within(load.slo_seconds) >= load.share
