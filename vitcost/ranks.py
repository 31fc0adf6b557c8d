"""What one rank holds of the parameters, and what its optimizer's step allocates on the way."""

from collections.abc import Iterable, Iterator

from vitcost.engine.ops import Size, largest
from vitcost.engine.parameters import Parameter, one_by_one
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError
from vitcost.optimizers import OPTIMIZERS
from vitcost.scenario import RECIPES
from vitcost.sharding import Share, dealt, flat, fully_sharded, local, whole

__all__ = ["optimizer_bytes", "share_of", "update_temporaries"]


def share_of(run: Workload, rank: int | None) -> Share:
    """What a rank holds of the parameters; ``rank`` None is the one that holds the most."""
    ranks, zero = run.scenario.ranks, run.scenario.zero
    if rank is not None and not 0 <= rank < ranks:
        raise ConfigError(f"rank must be one of 0 to {ranks - 1:,}, got {rank:,}")
    if run.scenario.recipe != "torch":
        return flat(whole(run.parameters(), run.sizes), zero, ranks)
    if zero > 1:
        return fully_sharded(run.parameters(), run.sizes, ranks, rank or 0)
    share = whole(run.parameters(), run.sizes)
    if zero == 1:
        tensors = _dealt(run, rank)
        share = share._replace(states=sum(tensors), tensors=len(tensors))
    return share


def optimizer_bytes(share: Share, run: Workload) -> Size:
    """The optimizer's states: as many tensors as it keeps for each parameter, and counters."""
    recipe, optimizer = RECIPES[run.scenario.recipe], OPTIMIZERS[run.scenario.optimizer]
    if recipe.moments:
        return recipe.moments * share.states
    return optimizer.moments * run.param_bytes * share.states + optimizer.step_bytes * share.tensors


def _dealt(run: Workload, rank: int | None) -> tuple[int, ...]:
    """The tensors that a rank's optimizer updates where whole ones are dealt out."""
    sizes, trained = run.sizes, _trained(run.parameters())
    numbers = (n for p in trained for n in [p.numel(sizes)] * p.repeat(sizes))
    each = dealt(numbers, run.scenario.ranks)
    optimizer, e = OPTIMIZERS[run.scenario.optimizer], run.param_bytes

    def most(tensors: tuple[int, ...]) -> int:
        return optimizer.moments * e * sum(tensors) + optimizer.step_bytes * len(tensors)

    return max(each, key=most) if rank is None else each[rank]


# how many copies of a parameter an optimizer that takes one after the other makes of it: Adam the
# square root of the second moment and its quotient, Lion the sign of its update
_COPIES = {"loop": 2, "sign": 1}


def update_temporaries(run: Workload, rank: int | None) -> Size:
    """What ``optimizer.step`` allocates and frees: foreach a copy of all parameters, a loop copies
    of one beside what it left of the one before, a fused kernel nothing. Recipes other than torch's
    own have kernels of several libraries; none of these allocates more than foreach does."""
    scenario, e = run.scenario, run.param_bytes
    recipe = RECIPES[scenario.recipe]
    if scenario.recipe != "torch":
        return (recipe.master or recipe.weights) * share_of(run, rank).states
    how = OPTIMIZERS[scenario.optimizer].steps(scenario.platform)
    if how == "foreach":
        return e * share_of(run, rank).states
    if how not in _COPIES:
        return 0
    most: Size = 0
    before: Size = 0
    for elements in _updated(run, rank):
        one = e * elements
        most = largest(most, before + _COPIES[how] * one)
        before = one
    return most


def _updated(run: Workload, rank: int | None) -> Iterator[Size]:
    """The elements of each tensor that a rank's optimizer updates, one after the other: its own
    rows where tensors are cut."""
    if run.scenario.zero == 1:
        yield from _dealt(run, rank)
        return
    cut = run.scenario.zero > 1 and run.scenario.recipe == "torch"
    for parameter in one_by_one(_trained(run.parameters())):
        if cut:
            yield local(parameter, run.sizes, run.scenario.ranks, rank or 0)
        else:
            yield parameter.numel(run.sizes)


def _trained(all_of_them: Iterable[Parameter]) -> list[Parameter]:
    return [parameter for parameter in all_of_them if parameter.trains]
