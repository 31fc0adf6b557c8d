"""The ways to divide a run among cards: the ways that fit, their speed, and the fewest cards that
are enough."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

from vitcost.config.scenario import RECIPES
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.hardware.predicted import LIMITS
from vitcost.planner.divided_step import StepTime, step_time, volume
from vitcost.planner.job import Job
from vitcost.planner.need import Need
from vitcost.planner.pace import Micro, Pace, step_cost
from vitcost.planner.rank import Weights, rank_need, stage_weights, tensor_missing
from vitcost.planner.reserve import Reserve
from vitcost.planner.strategies import Fixed, Strategy, divisors, strategies
from vitcost.units import JOULES_OF_KWH

__all__ = ["AS_FAST", "PlanRow", "divided", "planned", "simplest"]

# a way that is slower by less than this factor counts as equally fast: predictions are no more
# precise
AS_FAST = 1.02
# how many micro-batches are timed: the largest that fit
_TIMED = 8


class PlanRow(NamedTuple):
    """A way to divide the step, at its best micro-batch.

    Memory and ``sent_bytes`` are those of the card with the most. Times, energy and cost of the
    whole run follow from ``step_seconds``, and their low and high ends from its band. Energy,
    ``energy_cost`` and ``co2_kg`` are of the whole site. If a way does not fit, all of these are
    None, and ``memory_bytes`` is the need of the smallest micro-batch. If a model cannot be divided
    in this way, ``missing`` says why, and memory is None too.
    """

    strategy: str
    # the fields of a ``Strategy``, in its order
    zero: int
    data: int
    tensor: int
    sequence: bool
    pipeline: int
    checkpointing: str
    micro_batch: int = 0
    accumulation: int = 0
    fits: bool = False
    memory_bytes: int | None = None
    memory_basis: str | None = None
    headroom_bytes: int | None = None
    sent_bytes: int | None = None
    limit: str = "not covered"
    step_seconds: float | None = None
    low_seconds: float | None = None
    high_seconds: float | None = None
    compute_seconds: float | None = None
    exposed_seconds: float | None = None
    bubble_seconds: float | None = None
    update_seconds: float | None = None
    samples_per_second: float | None = None
    mfu: float | None = None
    hfu: float | None = None
    run_seconds: float | None = None
    gpu_hours: float | None = None
    energy_joules: float | None = None
    cost: float | None = None
    run_low_seconds: float | None = None
    run_high_seconds: float | None = None
    gpu_hours_low: float | None = None
    gpu_hours_high: float | None = None
    energy_low_joules: float | None = None
    energy_high_joules: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    energy_cost: float | None = None
    co2_kg: float | None = None
    missing: str | None = None


def planned(pace: Pace, job: Job, fixed: Fixed, reserve: Reserve) -> tuple[PlanRow, ...]:
    """Every way to divide a step at its fastest micro-batch; the ways that fit come first.

    Raises ``NotCovered`` if no way is covered for the model, ``ConfigError`` for a fixed division
    or micro-batch that does not divide the cards or the samples.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.hardware.specs import card
    >>> from vitcost.planner.job import job
    >>> from vitcost.planner.pace import pace_of
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(mode="train", precision="amp-bf16")
    >>> run = workload(resolve("vit_base_patch16_224").config, scenario)
    >>> pace = pace_of(run, card("h100-sxm"), 0.4, None)
    >>> wanted = job(samples=1_281_167, global_batch=1024, gpus=8)
    >>> one = Fixed(zero=0, tensor_parallel=1, checkpointing="none")
    >>> (row,) = planned(pace, wanted, one, Reserve())
    >>> row.strategy, row.fits, row.micro_batch * row.accumulation * row.data
    ('DDP', True, 1024)
    """
    headroom = partial(reserve.headroom, pace.card, software=pace.scenario.software)
    micro = cache(pace.micro)
    most = RECIPES[pace.scenario.recipe].stages
    if fixed.tensor_parallel is None and tensor_missing(pace.run):
        fixed = fixed._replace(tensor_parallel=1)
    rows: list[PlanRow] = []
    refused: list[NotCovered] = []
    for strategy in strategies(pace.run, job, fixed, most):
        try:
            batches = _batches(pace.run, job, strategy, fixed)
            rows.append(_best(pace, job, strategy, batches, headroom, micro))
        except NotCovered as reason:
            refused.append(reason)
            rows.append(PlanRow(strategy.name, *strategy, missing=str(reason)))
    if len(refused) == len(rows):
        raise refused[0]
    return tuple(sorted(rows, key=_order))


def _best(
    pace: Pace,
    job: Job,
    strategy: Strategy,
    batches: list[int],
    headroom: Callable[[int], int],
    micro: Callable[[int, str], Micro],
) -> PlanRow:
    """The fastest micro-batch that fits, or the smallest if none fits."""
    weights = stage_weights(pace.run, strategy.pipeline, strategy.tensor)

    @cache
    def needed(batch: int) -> Need:
        return rank_need(pace.run, _with(strategy, job, batch))

    def step(batch: int) -> StepTime:
        divided_by, time = _with(strategy, job, batch), micro(batch, strategy.checkpointing)
        return step_time(pace.run, divided_by, time, weights, job, pace.card)

    fits = _fitting(batches, lambda batch: headroom(needed(batch).total_bytes) >= 0)
    batch = min(fits, key=lambda batch: step(batch).total) if fits else batches[0]
    left = headroom(needed(batch).total_bytes)
    row = _plain(pace, _with(strategy, job, batch), needed(batch), left, weights)
    if not fits:
        return row
    time = micro(batch, strategy.checkpointing)
    return _timed(pace, job, row, step(batch), time)


def _order(row: PlanRow) -> tuple[bool, bool, float, int, int]:
    """A sort key: rows that fit come first, the fastest first; of equally fast rows the least
    divided first."""
    refused = row.missing is not None
    return not row.fits, refused, _seconds(row), row.zero, row.memory_bytes or 0


def simplest(rows: Sequence[PlanRow]) -> PlanRow | None:
    """Among the ways that fit and take at most two percent longer than the fastest, the one that
    divides least; None: none fits.

    >>> from vitcost import plan
    >>> flags = {"efficiency": 0.4, "zero": 0, "checkpointing": "none"}
    >>> rows = plan("vit_base_patch16_224", samples="1.28M", gpu="h100-sxm", **flags).found
    >>> simplest(rows).strategy
    'DDP'
    """
    fitting = [row for row in rows if row.fits]
    most = AS_FAST * min(map(_seconds, fitting), default=0.0)
    return min((row for row in fitting if _seconds(row) <= most), key=divided, default=None)


def divided(row: PlanRow) -> tuple[int, int, bool, int]:
    """The key that orders ways by how much they divide: ``(stages, tensor ranks, sequence, stage of
    ZeRO)``, the least is the simplest.

    >>> from vitcost import plan
    >>> flags = {"efficiency": 0.4, "zero": 0, "checkpointing": "none"}
    >>> rows = plan("vit_base_patch16_224", samples="1.28M", gpu="h100-sxm", **flags).found
    >>> min(rows, key=divided).strategy, max(rows, key=divided).strategy
    ('DDP', 'DDP, tensor 4 + sequence')
    """
    return row.pipeline, row.tensor, row.sequence, row.zero


def _seconds(row: PlanRow) -> float:
    return row.step_seconds or 0.0


def _batches(run: Workload, job: Job, strategy: Strategy, fixed: Fixed) -> list[int]:
    """Micro-batches that divide the samples of a rank, and that the model can run."""
    share, least = job.global_batch // strategy.data, run.batch
    if fixed.micro_batch is None:
        known = [batch for batch in divisors(share) if batch >= least]
        if not known:
            raise NotCovered(f"a rank has {share} sample of a step, and the least known is {least}")
        return known
    if not 1 <= fixed.micro_batch <= share or share % fixed.micro_batch:
        raise ConfigError(
            f"micro_batch {fixed.micro_batch:,} does not divide the {share:,} samples of a rank"
        )
    return [fixed.micro_batch]


def _with(strategy: Strategy, job: Job, batch: int) -> Strategy:
    share = job.global_batch // strategy.data
    return strategy._replace(micro_batch=batch, accumulation=share // batch)


def _fitting(batches: list[int], fits: Callable[[int], bool]) -> list[int]:
    """The largest micro-batches that fit.

    From two samples on, memory rises with the micro-batch, so the largest is found by bisection.
    The whole share of a rank needs no accumulation and keeps no gradients, and a single sample may
    run other operators: both are checked by themselves.
    """
    rising = [batch for batch in batches[:-1] if batch > 1]
    fitting = bisect_left(rising, True, key=lambda batch: not fits(batch))
    alone = [batch for batch in {batches[0], batches[-1]} if fits(batch)]
    return sorted({*rising[:fitting], *alone}, reverse=True)[:_TIMED]


def _plain(pace: Pace, strategy: Strategy, need: Need, left: int, weights: Weights) -> PlanRow:
    """A row without times; ``left`` is its headroom."""
    return PlanRow(
        strategy.name,
        *strategy,
        left >= 0,
        need.total_bytes,
        need.basis,
        left,
        volume(pace.run, strategy, weights).total_bytes,
        "memory",
    )


def _timed(pace: Pace, job: Job, row: PlanRow, step: StepTime, micro: Micro) -> PlanRow:
    """A row with the time of a step, and the time, energy and cost of the run."""
    seconds = step.total
    least = pace.run.batch
    plain, ran = (step_cost(pace.run, least, how) for how in ("none", row.checkpointing))
    per_second = job.global_batch / seconds / (job.cards * pace.peak) / least
    low, high = seconds - micro.below * step.compute, seconds + micro.above * step.compute
    runs = [job.steps * each for each in (seconds, low, high)]
    hours = [each * job.cards / 3600 for each in runs]
    watts = pace.card.power_w
    joules = [None if watts is None else watts * job.cards * job.pue * each for each in runs]
    costs = [None if job.price is None else job.price * each for each in hours]
    kwh = None if joules[0] is None else joules[0] / JOULES_OF_KWH
    return row._replace(
        limit=_limit(step, micro),
        step_seconds=seconds,
        low_seconds=low,
        high_seconds=high,
        compute_seconds=step.compute,
        exposed_seconds=step.tensor + step.pipeline + step.data,
        bubble_seconds=step.bubble,
        update_seconds=step.update,
        samples_per_second=job.global_batch / seconds,
        mfu=(plain.flops + plain.backward_flops) * per_second,
        hfu=(ran.executed_flops + ran.executed_backward_flops) * per_second,
        run_seconds=runs[0],
        gpu_hours=hours[0],
        energy_joules=joules[0],
        cost=costs[0],
        run_low_seconds=runs[1],
        run_high_seconds=runs[2],
        gpu_hours_low=hours[1],
        gpu_hours_high=hours[2],
        energy_low_joules=joules[1],
        energy_high_joules=joules[2],
        cost_low=costs[1],
        cost_high=costs[2],
        energy_cost=None if kwh is None or job.kwh_price is None else kwh * job.kwh_price,
        co2_kg=None if kwh is None or job.co2 is None else kwh * job.co2,
    )


def _limit(step: StepTime, micro: Micro) -> str:
    """The part that takes the largest share of the step."""
    parts = {
        LIMITS[micro.bound]: step.compute,
        "tensor exchange": step.tensor,
        "stage exchange": step.pipeline,
        "bubble": step.bubble,
        "data exchange": step.data,
        "update": step.update,
    }
    return max(parts, key=lambda name: parts[name])
