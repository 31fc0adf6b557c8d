"""What one card of a divided run holds."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from vitcost import memory
from vitcost.engine.model import Config
from vitcost.engine.parallel import TensorParallel
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.planner.need import Need, needed
from vitcost.planner.strategies import Strategy
from vitcost.scenario import Scenario
from vitcost.zoo import Resolved, resolve

__all__ = ["Weights", "rank_need", "stage_weights", "tensor_missing"]


class Weights(NamedTuple):
    """Parameters of one card before data-parallel ranks divide them, and those that train."""

    params: int
    trainable: int


def stage_weights(config: Config, scenario: Scenario, strategy: Strategy) -> Weights:
    """The parameters of a card of the widest stage."""
    return _weights(_stage(config, strategy), replace(scenario, batch=1), strategy.tensor)


@lru_cache(maxsize=256)
def _weights(config: Config, scenario: Scenario, tensor: int) -> Weights:
    run = workload(config, replace(scenario, mode="train")).shared(TensorParallel(tensor))
    cost = run.rows().cost
    return Weights(cost.params, cost.trainable)


def tensor_missing(config: Config, scenario: Scenario) -> str | None:
    """Why the layers of a model cannot be shared by tensor parallel ranks; None: they can."""
    run = workload(config, replace(scenario, batch=2, mode="train"))
    for ranks in range(2, run.sizes.get("a", 1) + 1):
        try:
            run.shared(TensorParallel(ranks, "megatron"))
        except ConfigError:
            # so many do not divide the heads, others may
            continue
        except NotCovered as reason:
            return str(reason)
        break
    return None


def rank_need(config: Config, scenario: Scenario, strategy: Strategy) -> Need:
    """The bytes of the card that holds the most, with the strategy's micro-batch.

    The exact peak of a step where it is known, else a bound. A stage of a pipeline is counted with
    embedding and head, and keeps the activations of as many micro-batches as stages follow:
    Narayanan et al. 2021, section 2.2.
    """
    own = replace(
        scenario,
        batch=strategy.micro_batch,
        checkpointing=strategy.checkpointing,
        zero=strategy.zero,
        ranks=strategy.data,
        # however many there are, the second one finds gradients
        accumulate=min(strategy.accumulation, 2),
    )
    run = workload(_stage(config, strategy), replace(own, mode="train"))
    found = memory.step(run.shared(_parallel(strategy)))
    flights = min(strategy.pipeline, strategy.accumulation)
    need = needed(found)
    if strategy.pipeline == 1:
        return need
    more = (flights - 1) * (found.saved_activations_bytes or 0)
    return need._replace(total_bytes=need.total_bytes + more, basis="bounded")


def _parallel(strategy: Strategy) -> TensorParallel:
    return TensorParallel(strategy.tensor, "megatron" if strategy.sequence else "")


def _stage(config: Config, strategy: Strategy) -> Config:
    """A stage of a pipeline as a model: so many blocks less, embedding and head included."""
    if strategy.pipeline == 1:
        return config
    depth = workload(config, Scenario()).axis("L") // strategy.pipeline
    return _with_depth(config, depth)


def _with_depth(config: Config, depth: int) -> Config:
    return resolve(Resolved("", "", config), depth=depth).config
