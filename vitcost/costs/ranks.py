"""The share of the parameters that one rank holds, and the temporaries of its optimizer's step."""

from collections.abc import Iterable, Iterator
from math import prod

from vitcost.config.optimizers import OPTIMIZERS, Optimizer, Shape
from vitcost.config.scenario import RECIPES
from vitcost.costs.scaler import scaled
from vitcost.costs.sharding import Share, dealt, flat, fully_sharded, local, whole
from vitcost.engine.ops import Size, largest
from vitcost.engine.parameters import Parameter, one_by_one
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError, NotCovered

__all__ = ["optimizer_bytes", "shards_bytes", "share_of", "update_temporaries"]


def share_of(run: Workload, rank: int | None) -> Share:
    """Elements of the parameters, gradients and states that a rank holds; ``rank`` None is the rank
    that holds the most.

    Raises ``ConfigError`` for a rank that does not exist, ``NotCovered`` for a scalar parameter,
    which ``fully_shard`` refuses.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(mode="train", ranks=8, zero=1)
    >>> share = share_of(workload(resolve("vit_base_patch16_224").config, scenario), None)
    >>> share.weights, share.states < share.weights / 4
    (86567656, True)
    """
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
        share = share._replace(states=sum(map(prod, tensors)), tensors=len(tensors))
    return share


def shards_bytes(run: Workload) -> Size:
    """Bytes of the shards of all parameters: ``Σ ⌈d₀/N⌉ · numel/d₀ · e``, with e bytes per element,
    which may differ between parameters; under a sharding policy all shards are fp32.

    Raises ``NotCovered`` for a scalar parameter, which ``fully_shard`` refuses.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> sharded = workload(resolve("convnext_tiny").config, Scenario(mode="train", zero=2, ranks=2))
    >>> shards_bytes(sharded) == 4 * share_of(sharded, None).weights
    True
    """
    how, e, sizes = run.scenario, run.param_bytes, run.sizes
    return sum(
        (e if how.policy != "none" else p.tensor.itemsize)
        * p.repeat(sizes)
        * local(p, sizes, how.ranks)
        for p in run.parameters()
    )


def optimizer_bytes(share: Share, run: Workload, rank: int | None) -> Size:
    """Bytes of the optimizer's states on a rank: ``moments · e · elements + step_bytes · tensors``,
    with e bytes per element; if an optimizer needs whole tensors, the sum over these, by their
    shapes.

    Raises ``NotCovered`` for a kernel of another platform, and for a shard of a tensor whose states
    depend on its whole shape. Source: that of the optimizer's row in ``config/optimizers.py``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> optimizer_bytes(share_of(base, None), base, None) == 2 * 4 * 86_567_656 + 4 * 152
    True
    """
    name = run.scenario.optimizer
    recipe, optimizer, e = RECIPES[run.scenario.recipe], OPTIMIZERS[name], run.param_bytes
    if recipe.moments:
        return recipe.moments * share.states
    if run.scenario.platform not in optimizer.platforms:
        raise NotCovered(
            f"{name} cannot step on platform {run.scenario.platform}: its kernel needs CUDA"
        )
    if optimizer.kept is None and not optimizer.rest:
        states_bytes = optimizer.moments * e * share.states + optimizer.step_bytes * share.tensors
        return states_bytes + (optimizer.tables if share.tensors else 0)
    if run.scenario.zero > 1 or (run.scenario.zero and optimizer.rest):
        raise NotCovered(
            f"the states of {name} are not covered for a part of a tensor: zero 0 "
            f"keeps tensors whole"
        )
    if run.scenario.zero:
        return _states_of(_dealt(run, rank), optimizer, e)
    states: Size = 0
    tables = 0
    for parameter in _trained(run.parameters()):
        shape = _shape(parameter, run)
        states += parameter.repeat(run.sizes) * _states(optimizer.of(shape), shape, e)
        if optimizer.tables and parameter.numel(run.sizes) >= optimizer.cut:
            tables = optimizer.tables
    return states + tables


def _states_of(shapes: Iterable[Shape], optimizer: Optimizer, e: int) -> int:
    """The states of these whole tensors."""
    tensors = list(shapes)
    cut = any(prod(shape) >= optimizer.cut for shape in tensors)
    return sum(_states(optimizer, shape, e) for shape in tensors) + cut * optimizer.tables


def _states(optimizer: Optimizer, shape: Shape, e: int) -> Size:
    if optimizer.kept is not None:
        states: Size = optimizer.kept(shape, e)
    else:
        states = optimizer.moments * e * prod(shape) + optimizer.step_bytes
    return states


def _shape(parameter: Parameter, run: Workload) -> Shape:
    return tuple(run.sizes[axis] for axis in parameter.tensor.axes)


def _dealt(run: Workload, rank: int | None) -> tuple[tuple[int, ...], ...]:
    """The shapes of the tensors that a rank's optimizer updates, if whole tensors are
    distributed."""
    sizes, trained = run.sizes, _trained(run.parameters())
    shapes = (shape for p in trained for shape in [_shape(p, run)] * p.repeat(sizes))
    each = dealt(shapes, run.scenario.ranks)
    if rank is not None:
        return each[rank]
    optimizer, e = OPTIMIZERS[run.scenario.optimizer], run.param_bytes
    return max(each, key=lambda shapes: _states_of(shapes, optimizer, e))


def update_temporaries(run: Workload, rank: int | None) -> Size:
    """The most bytes that ``optimizer.step`` allocates and frees on a rank: ``e · elements`` for a
    foreach kernel, which copies all parameters at e bytes per element; 0 for a fused kernel; for a
    loop the storages that its locals hold at one time. Recipes other than torch's own use kernels
    of several libraries; none of these allocates more than foreach.

    Raises ``ConfigError`` and ``NotCovered`` as ``share_of`` does. Source: torch 2.13, torch/optim,
    ``_multi_tensor``, ``_single_tensor`` and ``_fused`` of each optimizer.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> fused = base.under(Scenario(mode="train", optimizer="adamw-fused"))
    >>> update_temporaries(base, None) == 4 * 86_567_656, update_temporaries(fused, None)
    (True, 0)
    """
    scenario = run.scenario
    recipe = RECIPES[scenario.recipe]
    if scenario.optimizer_in_backward:
        # the optimizer stepped inside the backward pass, so there is no step after it
        return 0
    if scenario.recipe != "torch":
        return (recipe.master or recipe.weights) * share_of(run, rank).states
    optimizer = OPTIMIZERS[scenario.optimizer]
    rows = [optimizer, *([OPTIMIZERS[optimizer.rest]] if optimizer.rest else [])]
    most: Size = 0
    # an optimizer for matrices, then the optimizer for all other tensors
    for number, row in enumerate(rows):
        most = largest(most, scaled(number, row, run, _allocated(row, optimizer, run, rank)))
    return most


def _allocated(row: Optimizer, whole: Optimizer, run: Workload, rank: int | None) -> Size:
    """Bytes that an optimizer allocates for the tensors that it steps; it is one of the two in
    ``whole``."""
    how, e = row.steps(run.scenario.platform), run.param_bytes
    if how == "foreach" and whole.rest:
        shapes_of = ((p, _shape(p, run)) for p in _trained(run.parameters()))
        return sum(e * p.repeat(run.sizes) * prod(s) for p, s in shapes_of if whole.of(s) is row)
    if how == "foreach":
        share = share_of(run, rank)
        return e * share.states + row.beside * share.tensors
    if how not in ("loop", "compiled"):
        return 0
    # imported only for an optimizer that loops over the parameters
    from vitcost.engine.stepping import most_held

    shapes = (shape for shape in _updated(run, rank) if whole.of(shape) is row)
    return most_held(change for shape in shapes for change in row.walk(shape, e))


def _updated(run: Workload, rank: int | None) -> Iterator[Shape]:
    """The shapes of the tensors that a rank's optimizer updates, in order. A tensor that ranks
    divide counts as a vector of the rank's elements."""
    if run.scenario.zero == 1:
        yield from _dealt(run, rank)
        return
    cut = run.scenario.zero > 1 and run.scenario.recipe == "torch"
    for parameter in one_by_one(_trained(run.parameters())):
        if cut:
            yield (local(parameter, run.sizes, run.scenario.ranks, rank or 0),)
        else:
            yield _shape(parameter, run)


def _trained(all_of_them: Iterable[Parameter]) -> list[Parameter]:
    return [parameter for parameter in all_of_them if parameter.trains]
