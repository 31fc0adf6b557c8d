"""The time of a step that is divided among cards: computing, exchanging and waiting."""

from typing import NamedTuple

from vitcost.config.scenario import PRECISIONS, RECIPES, Scenario
from vitcost.engine.workload import Workload
from vitcost.hardware.cards import Card
from vitcost.planner.communication import Fabric, all_gather, all_reduce, reduce_scatter, send
from vitcost.planner.job import Job
from vitcost.planner.pace import Micro
from vitcost.planner.rank import Weights
from vitcost.planner.strategies import ZERO, Strategy

__all__ = ["StepTime", "Volume", "step_time", "volume"]

# the share of a backward pass in both passes: it takes as long as two forward passes
_BACKWARD = 2 / 3
# all-reduces of the stream in a block, forward and backward: Shoeybi et al. 2019 (Megatron-LM),
# arXiv 1909.08053, section 3, figure 4; with sequence parallel, all-gathers and reduce-scatters of
# as many bytes: Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2
_TENSOR_PASSES = 4
# recomputing a block runs its forward again
_TENSOR_PASSES_AGAIN = 2


class Volume(NamedTuple):
    """Bytes that one card sends in a step."""

    data_bytes: int
    tensor_bytes: int
    pipeline_bytes: int

    @property
    def total_bytes(self) -> int:
        """All exchanges together."""
        return sum(self)


class StepTime(NamedTuple):
    """The seconds of a step by part; they add up to the step. An exchange that is hidden behind
    computing is not counted."""

    compute: float
    tensor: float  # exchanges inside blocks, during which all ranks wait
    pipeline: float  # exchanges between stages
    bubble: float  # stages that wait during the first and the last micro-batches
    data: float  # exposed data-parallel communication: the part that computing does not hide
    update: float

    @property
    def total(self) -> float:
        """The seconds of the step: the sum of its parts."""
        return sum(self)


def step_time(
    run: Workload, strategy: Strategy, micro: Micro, weights: Weights, job: Job, card: Card
) -> StepTime:
    """The time of a step: ``(a + p - 1) · (passes / (t p) + exchanges)`` for a micro-batches on
    stages of p, each divided among t cards, then the exposed communication and the update;
    ``weights`` are those on a card of the widest stage.

    Stages alternate between one forward and one backward pass: Narayanan et al. 2021, arXiv
    2104.04473, section 2.2.1. Data-parallel exchanges are hidden by the backward pass of the last
    micro-batch, and those of fully sharded weights by every pass; at most ``overlap`` of the time
    of a pass hides them.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.hardware.specs import card
    >>> from vitcost.planner.job import job
    >>> from vitcost.zoo import resolve
    >>> run = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> micro = Micro(0.03, 0.001, "compute", 0.0, 0.0, "given", ())
    >>> ddp = Strategy(0, 8, 1, False, 1, "none", micro_batch=64, accumulation=2)
    >>> weights, wanted = Weights(86_567_656, 86_567_656), job(samples=1024, gpus=8)
    >>> time = step_time(run, ddp, micro, weights, wanted, card("h100-sxm"))
    >>> time.compute, time.update, time.data  # 346 MB take less than 0.02 s of a backward pass
    (0.06, 0.001, 0.0)
    """
    a, p = strategy.accumulation, strategy.pipeline
    each = micro.passes / (strategy.tensor * p)
    tensor = _tensor(run, strategy, job, card)
    between = _pipeline(run, strategy, job, card)
    turn = each + tensor + between
    shared = 1 if strategy.zero == 0 else strategy.data
    return StepTime(
        compute=a * each,
        tensor=a * tensor,
        pipeline=a * between,
        bubble=(p - 1) * turn,
        data=_data(run.scenario, strategy, weights, each, job, card),
        update=micro.update / (strategy.tensor * p * shared),
    )


def volume(run: Workload, strategy: Strategy, weights: Weights) -> Volume:
    """Bytes that a card sends in a step, by rings: ``V (n - 1)/n`` for a pass over V bytes, twice
    that for an all-reduce.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> run = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> ddp = Strategy(0, 8, 1, False, 1, "none", micro_batch=64, accumulation=2)
    >>> weights = Weights(86_567_656, 86_567_656)
    >>> volume(run, ddp, weights).data_bytes == 2 * 4 * 86_567_656 * 7 // 8
    True
    """
    row, n, a = ZERO[strategy.zero], strategy.data, strategy.accumulation
    gradient, weight = _itemsizes(run.scenario)
    times = a if row.each_pass else 1
    data = (2 * row.reduced + row.scattered) * gradient * weights.trainable
    data += row.gathered * weight * weights.params
    t, p = strategy.tensor, strategy.pipeline
    shared = 2 * _passes(run, strategy) * _stream(run, strategy) if t > 1 else 0
    return Volume(
        times * data * (n - 1) // n,
        a * shared * (t - 1) // t,
        2 * a * _between(run, strategy) if p > 1 else 0,
    )


def _data(
    scenario: Scenario,
    strategy: Strategy,
    weights: Weights,
    each: float,
    job: Job,
    card: Card,
) -> float:
    row, a = ZERO[strategy.zero], strategy.accumulation
    gradient, weight = _itemsizes(scenario)
    fabric = _fabric(strategy.data, strategy.tensor * strategy.pipeline, job, card)
    reduced = row.reduced * all_reduce(gradient * weights.trainable, fabric)
    scattered = row.scattered * reduce_scatter(gradient * weights.trainable, fabric)
    gathered = row.gathered * all_gather(weight * weights.params, fabric)
    if row.each_pass:
        return a * max(0.0, scattered + gathered - job.overlap * each)
    hidden = job.overlap * _BACKWARD * each
    # the updated weights are gathered after the step, when no computing hides it
    return max(0.0, reduced + scattered - hidden) + gathered


def _tensor(run: Workload, strategy: Strategy, job: Job, card: Card) -> float:
    """Seconds of the exchanges inside the blocks of one stage, for one micro-batch."""
    if strategy.tensor == 1:
        return 0.0
    fabric = _fabric(strategy.tensor, 1, job, card)
    stream = _stream(run, strategy)
    one = all_reduce(stream, fabric)
    if strategy.sequence:
        one = all_gather(stream, fabric) + reduce_scatter(stream, fabric)
    return _passes(run, strategy) * one


def _passes(run: Workload, strategy: Strategy) -> int:
    again = 0 if strategy.checkpointing in ("none", "selective") else _TENSOR_PASSES_AGAIN
    return run.axis("L") // strategy.pipeline * (_TENSOR_PASSES + again)


def _pipeline(run: Workload, strategy: Strategy, job: Job, card: Card) -> float:
    """Seconds to send the residual stream to the next stage, and its gradient back, for one
    micro-batch."""
    if strategy.pipeline == 1:
        return 0.0
    # neighbouring stages may lie on two nodes, however the pipeline is placed
    nodes = 1 if strategy.tensor * strategy.pipeline <= job.gpus else 2
    fabric = Fabric(2, nodes, card.link or 0.0, job.network or 0.0)
    return 2 * send(_between(run, strategy), fabric)


def _fabric(ranks: int, stride: int, job: Job, card: Card) -> Fabric:
    """The links of a group of ranks; each rank is ``stride`` cards after the one before."""
    nodes = -(-ranks * stride // job.gpus) if ranks > 1 else 1
    return Fabric(ranks, min(nodes, ranks), card.link or 0.0, job.network or 0.0)


def _stream(run: Workload, strategy: Strategy) -> int:
    """Bytes of a b·s·h tensor that a matrix product writes: half precision under autocast."""
    half = PRECISIONS[run.scenario.precision].engine != "fp32"
    return (2 if half else 4) * _elements(run, strategy)


def _between(run: Workload, strategy: Strategy) -> int:
    """Bytes of a b·s·h tensor of the residual stream: fp32 under autocast."""
    half = PRECISIONS[run.scenario.precision].engine == "half"
    return (2 if half else 4) * _elements(run, strategy)


def _elements(run: Workload, strategy: Strategy) -> int:
    return strategy.micro_batch * run.axis("s") * run.axis("h")


def _itemsizes(scenario: Scenario) -> tuple[int, int]:
    """Bytes per element of a gradient and of a weight when ranks exchange them."""
    recipe, e = RECIPES[scenario.recipe], PRECISIONS[scenario.precision].param_bytes
    return recipe.gradients or e, recipe.weights or e
