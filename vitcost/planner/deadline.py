"""The fewest cards that keep a deadline; or the best try, and by how much it is late."""

from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import NamedTuple

from vitcost.errors import ConfigError
from vitcost.planner.choose import PlanRow, planned
from vitcost.planner.job import Job
from vitcost.planner.pace import Pace
from vitcost.planner.reserve import Reserve
from vitcost.planner.strategies import Fixed, divisors

__all__ = ["Late", "fewest_cards"]

# how many numbers of cards are tried for a deadline
_TRIED = 64


class Late(NamedTuple):
    """How a run misses its deadline on the best number of cards that was tried.

    It ends ``late_seconds`` after the deadline. ``cards_at_pace`` cards would keep it if each were
    as fast as those that were tried; None if nothing fits. Fewer than ``least_cards`` cannot keep
    it, as each would have to be faster than a card with room for the whole batch.
    ``needs_network``: whether larger numbers of cards were left out because the bandwidth of a card
    to other nodes is not known.
    """

    late_seconds: float | None
    cards_at_pace: int | None
    least_cards: int
    needs_network: bool


def fewest_cards(
    pace: Pace, job: Job, fixed: Fixed, reserve: Reserve
) -> tuple[Job, tuple[PlanRow, ...], Late | None]:
    """The fewest cards with which a run keeps its deadline, and the ways to divide it there; if no
    number of cards keeps it, the number that comes closest, and by how much it is late.

    Parts of a node come first, then whole nodes. Numbers of cards that could not keep the deadline
    even if each card had room for the whole batch are not tried, except the largest number. Raises
    ``ConfigError`` where no number of cards shares the batch evenly, and ``ConfigError`` or
    ``NotCovered`` as ``planned`` does.

    >>> from vitcost import plan
    >>> found = plan(
    ...     "vit_base_patch16_224", samples="1.28M", epochs=300, gpu="h100-sxm",
    ...     efficiency=0.4, deadline="1d", checkpointing="none",
    ... )
    >>> found.job.cards, found.best.run_seconds < 86_400, found.late
    (2, True, None)
    """
    assert job.deadline_seconds is not None
    fastest = pace.micro(job.global_batch, "none").passes / job.global_batch
    least = fastest * job.total_samples / job.deadline_seconds
    sizes = list(_sizes(job, fixed))
    enough = [wanted for wanted in sizes if wanted.cards >= least] or sizes[-1:]
    closest: tuple[Job, tuple[PlanRow, ...]] | None = None
    refused: ConfigError | None = None
    for wanted in islice(enough, _TRIED):
        try:
            rows = planned(pace, wanted, fixed, reserve)
        except ConfigError as error:
            # this number of cards cannot be divided as the user has fixed it
            refused = error
            continue
        if rows[0].fits and _run(rows) <= job.deadline_seconds:
            return wanted, rows, None
        if closest is None or (rows[0].fits, -_run(rows)) > (closest[1][0].fits, -_run(closest[1])):
            closest = wanted, rows
    if closest is None:
        raise refused or ConfigError(
            f"no number of cards shares a global_batch of {job.global_batch:,} evenly"
        )
    return *closest, _late(*closest, ceil(least))


def _run(rows: tuple[PlanRow, ...]) -> float:
    return rows[0].run_seconds or 0.0


def _late(job: Job, rows: tuple[PlanRow, ...], least: int) -> Late:
    network = job.network is None
    if not rows[0].fits or job.deadline_seconds is None:
        return Late(None, None, least, network)
    seconds = _run(rows)
    wanted = ceil(job.cards * seconds / job.deadline_seconds)
    return Late(seconds - job.deadline_seconds, wanted, least, network)


def _sizes(job: Job, fixed: Fixed) -> Iterator[Job]:
    """Runs on more and more cards; the cards share the samples of a step evenly."""
    shared = (fixed.pipeline_parallel or 1) * (fixed.tensor_parallel or 1)
    for cards in (shared * ranks for ranks in divisors(job.global_batch)):
        if cards <= job.gpus:
            yield job._replace(gpus=cards, nodes=1)
        elif cards % job.gpus == 0 and job.network is not None:
            yield job._replace(nodes=cards // job.gpus)
