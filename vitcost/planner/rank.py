"""The memory of one card in a divided run."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from vitcost.costs import memory
from vitcost.engine.parallel import TensorParallel
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.planner.need import Need, needed
from vitcost.planner.strategies import Strategy

__all__ = ["Weights", "rank_need", "stage_weights", "tensor_missing"]


class Weights(NamedTuple):
    """The parameters of one card before data-parallel ranks divide them, and the trainable ones
    among them."""

    params: int
    trainable: int


@lru_cache(maxsize=256)
def stage_weights(run: Workload, stages: int, tensor: int) -> Weights:
    """The parameters of a card in the widest of ``stages`` pipeline stages, ``L / stages`` layers
    with embedding and head, each divided among ``tensor`` cards.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> stage_weights(base, 2, 1).params == 86_567_656 - 6 * (12 * 768**2 + 13 * 768)
    True
    """
    cost = run.stage(stages).shared(TensorParallel(tensor)).rows().cost
    return Weights(cost.params, cost.trainable)


def tensor_missing(run: Workload) -> str | None:
    """The reason why tensor-parallel ranks cannot share the layers of a model; None if they can.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> names = "vit_base_patch16_224", "convnext_tiny"
    >>> runs = [workload(resolve(name).config, Scenario(mode="train")) for name in names]
    >>> [tensor_missing(run) for run in runs]
    [None, 'tensor-parallel ranks cannot share the layers of this model']
    """
    run = run.under(replace(run.scenario, batch=2))
    # a model without an axis of heads is tried with two ranks
    for ranks in range(2, run.sizes.get("a", 2) + 1):
        try:
            run.shared(TensorParallel(ranks, "megatron"))
        except ConfigError:
            # this number of ranks does not divide the heads; another one may
            continue
        except NotCovered as reason:
            return str(reason)
        break
    return None


def rank_need(run: Workload, strategy: Strategy) -> Need:
    """The bytes of the card that holds the most, with the strategy's micro-batch.

    It is the exact peak of a step if that is known, else a bound. A pipeline stage is counted with
    embedding and head. The first stage keeps the activations of one micro-batch for each stage, or
    of all if there are fewer: Narayanan et al. 2021, arXiv 2104.04473, section 2.2. Raises
    ``NotCovered`` where neither the peak nor a bound is known.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> alone = Strategy(0, 1, 1, False, 1, "none", micro_batch=64, accumulation=1)
    >>> rank_need(base, alone).total_bytes
    8730708904
    """
    scenario = replace(
        run.scenario,
        batch=strategy.micro_batch,
        checkpointing=strategy.checkpointing,
        zero=strategy.zero,
        ranks=strategy.data,
        # the second micro-batch already finds gradients, so more than two need no more memory
        accumulate=min(strategy.accumulation, 2),
    )
    shared = TensorParallel(strategy.tensor, "megatron" if strategy.sequence else "")
    try:
        # a digest has no trace with kept gradients, and the message must say so here
        one = run.stage(strategy.pipeline).under(scenario).shared(shared)
        step = memory.step(one)
        need = needed(step)
    except NotCovered:
        if scenario.accumulate == 1 or run.has_bound:
            raise
        return _accumulated(run.under(replace(scenario, accumulate=1)))
    flights = min(strategy.pipeline, strategy.accumulation)
    if strategy.pipeline == 1:
        return need
    more = (flights - 1) * (step.saved_activations_bytes or 0)
    return need._replace(total_bytes=need.total_bytes + more, basis="bounded")


def _accumulated(run: Workload) -> Need:
    """A bound for a step that adds to existing gradients, if no trace has such gradients: at every
    moment all of them are counted beside the step's tensors, among which are those that the step
    has just made."""
    step = memory.step(run)
    need = needed(step)
    return need._replace(total_bytes=need.total_bytes + step.gradients_bytes, basis="bounded")
