"""What one card of a divided run holds."""

from dataclasses import replace

from vitcost import memory
from vitcost.engine.model import Config, sizes_of
from vitcost.errors import NotCovered
from vitcost.planner.need import Need
from vitcost.planner.pace import step_cost
from vitcost.planner.strategies import Strategy
from vitcost.scenario import PRECISIONS, RECIPES, Scenario
from vitcost.zoo import Resolved, resolve

__all__ = ["rank_need", "stage_weights"]


def stage_weights(config: Config, scenario: Scenario, strategy: Strategy) -> int:
    """Parameters of one card before data-parallel ranks divide them."""
    return step_cost(_stage(config, strategy), scenario).params


def rank_need(config: Config, scenario: Scenario, strategy: Strategy) -> Need:
    """The bytes of the card that holds the most, with the strategy's micro-batch.

    The exact peak of a step where it is known, else the sum of what is kept. Accumulation keeps
    gradients from micro-batch to micro-batch: they are counted in full beside the peak, of which
    some are a part already. A stage of a pipeline is counted with embedding and head, and keeps
    the activations of as many micro-batches as stages follow: Narayanan et al. 2021, section 2.2.
    """
    if strategy.tensor > 1:
        raise NotCovered("memory of tensor parallel ranks")
    own = replace(
        scenario,
        batch=strategy.micro_batch,
        checkpointing=strategy.checkpointing,
        zero=strategy.zero,
        ranks=strategy.data,
    )
    stage = _stage(config, strategy)
    found = memory.training(stage, own)
    flights = min(strategy.pipeline, strategy.accumulation)
    if found.peak_bytes is not None and found.peak_at is not None and flights == 1:
        kept = found.gradients_bytes if strategy.accumulation > 1 else 0
        return Need(found.peak_bytes + kept, found.peak_at, "bound" if kept else "peak")
    more = (flights - 1) * found.saved_activations_bytes + _gathered(stage, own)
    return Need(found.sum_bytes + more, "", "sum")


def _gathered(config: Config, scenario: Scenario) -> int:
    """Whole weights that a fully sharded step holds beside its shards: in stage 2 all of them, in
    stage 3 those outside the blocks, a block and the next one, and a block's whole gradients.

    Source: torch fully_shard on every block and on the model: the root stays gathered, one block
    is prefetched. The last of the shards' gradients are made of the block's before they are freed.
    """
    if scenario.zero < 2:
        return 0
    recipe, e = RECIPES[scenario.recipe], PRECISIONS[scenario.precision].param_bytes
    weight, gradient = recipe.weights or e, recipe.gradients or e
    total = step_cost(config, scenario).params
    one = step_cost(_with_depth(config, 1), scenario).params
    block = step_cost(_with_depth(config, 2), scenario).params - one
    if scenario.zero == 2:
        return weight * total + gradient * block
    depth = sizes_of(config)["L"]
    return weight * (total - depth * block + min(depth, 2) * block) + gradient * block


def _stage(config: Config, strategy: Strategy) -> Config:
    """A stage of a pipeline as a model: so many blocks less, embedding and head included."""
    if strategy.pipeline == 1:
        return config
    return _with_depth(config, sizes_of(config)["L"] // strategy.pipeline)


def _with_depth(config: Config, depth: int) -> Config:
    return resolve(Resolved("", "", config), depth=depth).config
