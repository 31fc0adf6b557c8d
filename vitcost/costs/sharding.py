"""Data-parallel ranks: the part of a model's parameters that each rank holds.

All functions count elements, for a list of parameters (``engine.parameters.parameters``) and the
sizes of their axes; ``memory`` multiplies them by the bytes of a recipe. N ranks, Φ parameters.

In stage 0 every rank holds all parameters. With recipe ``torch``, stage 1 is
``ZeroRedundancyOptimizer``, which gives whole tensors to ranks, and stages 2 and 3 are
``fully_shard`` (FSDP2), which cuts each tensor by rows: stage 2 keeps gathered weights until the
backward pass is over (``reshard_after_forward=False``), stage 3 frees them after each use. Every
other recipe cuts one flat vector into N equal parts: Rajbhandari et al. 2020, arXiv 1910.02054,
section 5.
"""

from collections.abc import Iterable
from functools import reduce
from math import prod

from vitcost.config.records import Record
from vitcost.engine.ops import Size, Sizes, ceil_div, largest, numel
from vitcost.engine.parallel import ALONE, TensorParallel, rows
from vitcost.engine.parameters import Parameter
from vitcost.errors import NotCovered

__all__ = [
    "ALONE",
    "Share",
    "TensorParallel",
    "dealt",
    "flat",
    "fully_sharded",
    "gathered",
    "local",
    "rows",
    "whole",
]


class Share(Record):
    """Elements that one rank holds.

    ``states`` are the elements that its optimizer updates, and ``tensors`` the number of their
    tensors, since some states exist once for each tensor.
    """

    weights: Size
    gradients: Size
    states: Size
    tensors: Size


def whole(parameters: Iterable[Parameter], sizes: Sizes) -> Share:
    """Stage 0: every rank holds all Φ parameters, gradients and states.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.engine.parameters import parameters
    >>> from vitcost.zoo import resolve
    >>> huge = resolve("vit_huge_patch14_224").config
    >>> tree, sizes = lower(structure_of(huge, 1, True), Mode()), sizes_of(huge)
    >>> whole(parameters(tree), sizes)
    Share(weights=632045800, gradients=632045800, states=632045800, tensors=392)
    """
    weights: Size = 0
    trained: Size = 0
    tensors: Size = 0
    for p in parameters:
        times = p.repeat(sizes)
        n = times * p.numel(sizes)
        weights = weights + n
        if p.trains:
            trained, tensors = trained + n, tensors + times
    return Share(weights, trained, trained, tensors)


def flat(share: Share, stage: int, ranks: Size) -> Share:
    """One vector cut into equal parts, the last part padded: ``⌈Φ/N⌉`` of Φ elements on N
    ``ranks``.

    Stage 1 cuts optimizer states, stage 2 gradients too, stage 3 weights too.

    >>> flat(Share(10, 10, 10, 2), 2, 4)
    Share(weights=10, gradients=3, states=3, tensors=2)
    """
    weights, gradients, states, tensors = share
    return Share(
        ceil_div(weights, ranks) if stage > 2 else weights,
        ceil_div(gradients, ranks) if stage > 1 else gradients,
        ceil_div(states, ranks) if stage > 0 else states,
        tensors,
    )


def dealt(
    tensors: Iterable[tuple[int, ...]], ranks: int
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Gives whole tensors to ``ranks``, the largest first, each to the rank with the fewest
    elements so far. Returns for each rank the shapes of the tensors that it updates, in the order
    of its optimizer.

    Source: torch.distributed.optim.ZeroRedundancyOptimizer, _partition_parameters.

    >>> dealt([(2,), (3, 3), (5,), (4,), (2,)], 2)
    (((3, 3), (2,)), ((5,), (4,), (2,)))
    """
    # imported only if whole tensors are distributed
    from heapq import heapreplace

    loads = [(0, rank) for rank in range(ranks)]
    shapes_of_rank: tuple[list[tuple[int, ...]], ...] = tuple([] for _ in loads)
    for shape in sorted(tensors, key=prod, reverse=True):
        load, rank = loads[0]
        heapreplace(loads, (load + prod(shape), rank))
        shapes_of_rank[rank].append(shape)
    return tuple(map(tuple, shapes_of_rank))


def fully_sharded(
    parameters: Iterable[Parameter], sizes: Sizes, ranks: Size, rank: Size = 0
) -> Share:
    """Each tensor is cut by rows among N ``ranks``: each rank gets ``⌈d₀/N⌉`` of the d₀ rows while
    there are rows left. ``rank`` counts from 0.

    Weights and gradients of a tensor with too few rows are padded, so that they have equal sizes on
    every rank: ``Σ ⌈d₀/N⌉ · numel/d₀``. Optimizer states have only the rank's own rows. A tensor of
    one row, such as a class token or a position embedding, is whole on the first rank, so the first
    rank holds the most: more than Φ/N.

    Raises ``NotCovered`` for a scalar, which fully_shard refuses. Source: torch,
    torch/distributed/fsdp/_fully_shard/_fsdp_param.py, _init_sharded_param.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.engine.parameters import parameters
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> tree, sizes = lower(structure_of(base, 1, True), Mode()), sizes_of(base)
    >>> first = fully_sharded(parameters(tree), sizes, 64)
    >>> first.weights - 86_567_656 // 64, first.weights == first.states
    (149977, True)
    >>> fully_sharded(parameters(tree), sizes, 64, rank=63).states
    1338228
    """
    share = Share(0, 0, 0, 0)
    for p in parameters:
        times, padded = p.repeat(sizes), local(p, sizes, ranks)
        states = times * local(p, sizes, ranks, rank)
        trained = (times * padded, states, times) if p.trains else (0, 0, 0)
        more = times * padded, *trained
        share = Share(*(before + n for before, n in zip(share, more, strict=True)))
    return share


def local(parameter: Parameter, sizes: Sizes, ranks: Size, rank: Size = 0) -> Size:
    """Elements of a parameter on a rank of ``fully_sharded``: ``numel / d₀ · rows``. Of the d₀ rows
    of the first axis each of N ranks has ``⌈d₀ / N⌉``, the last ranks fewer or none.

    Raises ``NotCovered`` for a scalar, which ``fully_shard`` refuses.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario())
    >>> *_, head, bias = base.parameters()  # 1000 rows of 768
    >>> [local(head, base.sizes, 64, rank) // 768 for rank in (0, 62, 63)]
    [16, 8, 0]
    """
    if not parameter.tensor.axes:
        raise NotCovered(f"fully_shard takes no scalar parameter: {parameter.tensor.name}")
    first, *rest = parameter.tensor.axes
    return numel(rest, sizes) * rows(sizes[first], ranks, rank)


def gathered(
    parameters: Iterable[Parameter], sizes: Sizes, ranks: Size, trained: bool = False
) -> tuple[Size, Size]:
    """Elements of the whole weights that ``fully_shard`` gathers if every layer and the model are
    wrapped. The first number is for weights outside of the layers, which stay until the backward
    pass is over; the second for the largest layer, while it runs. A layer that is gathered ahead is
    not included.

    The shards of N ``ranks`` are padded: ``N · Σ ⌈d₀/N⌉ · numel/d₀``. ``trained``: only of
    parameters that have a gradient. Raises ``NotCovered`` for a scalar, as ``fully_sharded`` does.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.engine.parameters import parameters
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> gathered(parameters(lower(structure_of(base, 1, True), Mode())), sizes_of(base), 1)
    (1513192, 7087872)
    """
    outside: Size = 0
    layers: dict[int, Size] = {}
    for p in parameters:
        if trained and not p.trains:
            continue
        elements = local(p, sizes, ranks)
        for count in p.layers[1:]:
            elements = elements * count.of(sizes)
        if p.runs:
            layers[p.runs[0]] = layers.get(p.runs[0], 0) + elements
        else:
            outside = outside + elements
    return ranks * outside, ranks * reduce(largest, layers.values(), 0)
