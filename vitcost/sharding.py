"""Data parallel ranks: which part of a model's parameters each of them holds.

All functions count elements, for a list of parameters (``engine.parameters.parameters``) and the
sizes of their axes; ``memory`` multiplies them with the bytes of a recipe. N ranks, Φ parameters.

Stage 0 holds all of them on every rank. With recipe ``torch``, stage 1 is
``ZeroRedundancyOptimizer``, which deals out whole tensors, and stages 2 and 3 are ``fully_shard``
(FSDP2), which cuts each tensor by rows: 2 keeps what it gathered until the backward pass is over
(``reshard_after_forward=False``), 3 gives it back after each use. Every other recipe cuts one flat
vector in N equal parts: Rajbhandari et al. 2020, arXiv 1910.02054, section 5.
"""

from collections.abc import Iterable, Iterator
from heapq import heapreplace
from typing import NamedTuple

from vitcost.engine.lower import Mode
from vitcost.engine.model import AnyStructure
from vitcost.engine.ops import Size, Sizes, largest, numel
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node
from vitcost.errors import ConfigError, NotCovered, UnknownName

__all__ = [
    "ALONE",
    "Share",
    "TensorParallel",
    "dealt",
    "flat",
    "fully_sharded",
    "gathered",
    "layers_of_rank",
    "local",
    "rows",
    "whole",
]


class TensorParallel(NamedTuple):
    """One of ``ranks`` that each run a part of every layer: ``engine.split`` says which.

    ``sequence``: "" for none, or whose sequence parallel: megatron or torch. Tokens that cannot be
    divided evenly are cut as ``torch.chunk`` does, so that the first rank has the most; Megatron-LM
    refuses them, here they are filled up.
    """

    ranks: int = 1
    sequence: str = ""
    rank: int = 0


ALONE = TensorParallel()


class Share(NamedTuple):
    """Elements that one rank holds.

    ``states`` are those that its optimizer updates, ``tensors`` how many tensors these are: what
    the optimizer keeps for each parameter and for each tensor.
    """

    weights: Size
    gradients: Size
    states: Size
    tensors: Size


def whole(parameters: Iterable[Parameter], sizes: Sizes) -> Share:
    """Every rank has everything.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.engine.parameters import parameters
    >>> from vitcost.zoo import resolve
    >>> huge = resolve("vit_huge_patch14_224").config
    >>> tree, sizes = lower(structure_of(huge, 1, True), Mode()), sizes_of(huge)
    >>> whole(parameters(tree), sizes)
    Share(weights=632045800, gradients=632045800, states=632045800, tensors=392)
    """
    share = Share(0, 0, 0, 0)
    for p in parameters:
        n = p.repeat(sizes) * p.numel(sizes)
        own = (n, n, p.repeat(sizes)) if p.trains else (0, 0, 0)
        share = _sum(share, Share(n, *own))
    return share


def flat(share: Share, stage: int, ranks: Size) -> Share:
    """One vector in N equal parts, the last one filled up: ``⌈Φ/N⌉`` elements.

    Stage 1 cuts what the optimizer updates, stage 2 gradients too, stage 3 weights too.

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


def dealt(tensors: Iterable[int], ranks: int) -> tuple[tuple[int, ...], ...]:
    """Whole tensors, the largest first, each to the rank that has the least so far: for each rank
    the elements of the tensors that it updates, in the order of its optimizer.

    Source: torch.distributed.optim.ZeroRedundancyOptimizer, _partition_parameters.

    >>> dealt([2, 9, 5, 4, 2], 2)
    ((9, 2), (5, 4, 2))
    """
    loads = [(0, rank) for rank in range(ranks)]
    found: tuple[list[int], ...] = tuple([] for _ in loads)
    for elements in sorted(tensors, reverse=True):
        load, rank = loads[0]
        heapreplace(loads, (load + elements, rank))
        found[rank].append(elements)
    return tuple(map(tuple, found))


def fully_sharded(
    parameters: Iterable[Parameter], sizes: Sizes, ranks: Size, rank: Size = 0
) -> Share:
    """Each tensor cut by rows: of d₀ rows ``⌈d₀/N⌉``, as long as there are any left.

    What a tensor that is short of rows lacks is filled up in the storage of weights and gradients,
    which are alike on every rank: ``Σ ⌈d₀/N⌉ · numel/d₀``. Optimizer states have the rank's own
    rows alone. A tensor of one row, such as a class token or a position embedding, is whole on the
    first rank, so that this holds the most: more than Φ/N.

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
        own = (times * padded, states, times) if p.trains else (0, 0, 0)
        share = _sum(share, Share(times * padded, *own))
    return share


def local(parameter: Parameter, sizes: Sizes, ranks: Size, rank: Size = 0) -> Size:
    """Elements of a parameter that a rank of ``fully_sharded`` has."""
    if not parameter.tensor.axes:
        raise NotCovered(f"fully_shard takes no scalar parameter: {parameter.tensor.name}")
    first, *rest = parameter.tensor.axes
    return numel(rest, sizes) * rows(sizes[first], ranks, rank)


def gathered(tree: Node, sizes: Sizes, ranks: Size, trained: bool = False) -> tuple[Size, Size]:
    """Elements of the whole weights that ``fully_shard`` gathers where every layer is wrapped, and
    the model: outside of the layers, which are there until the backward pass is over, and for the
    largest layer, while it runs. Shares come as they lie, filled up: ``N · Σ ⌈d₀/N⌉ · numel/d₀``.
    ``trained``: of those that have a gradient alone.

    A layer that is fetched ahead comes on top.

    >>> from vitcost.engine.lower import Mode, lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> gathered(lower(structure_of(base, 1, True), Mode()), sizes_of(base), 1)
    (1513192, 7087872)
    """

    def of(part: Node) -> Size:
        share = fully_sharded(parameters(part), sizes, ranks)
        return share.gradients if trained else share.weights

    everything = of(tree)
    largest_one, inside = 0, 0
    for layer in _layers(tree):
        assert layer.run is not None
        one = of(layer)
        inside = inside + layer.run.layers.of(sizes) * one
        largest_one = largest(largest_one, one)
    return ranks * (everything - inside), ranks * largest_one


def _layers(node: Node) -> Iterator[Node]:
    for item in node.body:
        if isinstance(item, Node):
            yield from (item,) if item.run is not None else _layers(item)


def rows(total: Size, ranks: Size, rank: Size) -> Size:
    """The rows of a tensor that are a rank's own, as ``torch.chunk`` cuts them.

    >>> [rows(5, 4, rank) for rank in range(4)]
    [2, 2, 1, 0]
    """
    most = ceil_div(total, ranks)
    left = largest(total - rank * most, 0)
    return -largest(-left, -most)


def layers_of_rank(
    structure: AnyStructure, sizes: Sizes, mode: Mode, parallel: TensorParallel
) -> tuple[AnyStructure, Sizes, Mode]:
    """What ``engine.lower.lower`` and the rules of the engine need for one tensor-parallel rank.

    Embeddings and head are whole on every rank, but for the rows of a vocabulary. Raises
    ``ConfigError`` where the ranks do not divide heads or widths, ``NotCovered`` for layers that
    cannot be divided.

    >>> from vitcost.engine.lower import lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.engine.parameters import parameters
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> one = structure_of(base, 1, True), sizes_of(base), Mode()
    >>> structure, sizes, mode = layers_of_rank(*one, TensorParallel(4))
    >>> whole(parameters(lower(structure, mode)), sizes).weights
    22818280
    """
    t, sequence, rank = parallel
    if t == 1:
        return structure, sizes, mode
    # most models run on whole layers
    from vitcost.engine.split import SEQUENCES, split_sizes

    if sequence not in SEQUENCES:
        raise UnknownName("sequence parallel", sequence, SEQUENCES[1:], "allowed: megatron, torch")
    if not 0 <= rank < t:
        raise ConfigError(f"rank must be one of 0 to {t - 1:,}, got {rank:,}")
    for axis, what in (("a", "heads"), ("m", "hidden units of an MLP")):
        if sizes[axis] % t:
            raise ConfigError(f"{t:,} tensor-parallel ranks do not divide {sizes[axis]:,} {what}")
    if sequence and sizes["s"] < t:
        # DTensor then norms all of them on every rank
        raise NotCovered(f"{sizes['s']:,} tokens divided among {t:,} ranks")
    tokens = rows(sizes["s"], t, rank if sequence == "torch" else 0)
    own = split_sizes(sizes, t, tokens)
    # with a single head on each rank the layers are built otherwise
    one = own["a/t"] == 1
    if isinstance(structure, Structure):
        structure = structure._replace(one_head=one)
    else:
        # a plain ViT has no text
        from vitcost.engine.text import TextStructure

        if isinstance(structure, TextStructure):
            structure = structure._replace(blocks=structure.blocks._replace(one_head=one))
    return structure, own, mode._replace(split=True, sequence=sequence)


def ceil_div(a: Size, b: Size) -> Size:
    return -(-a // b)


def _sum(a: Share, b: Share) -> Share:
    return Share(
        a.weights + b.weights,
        a.gradients + b.gradients,
        a.states + b.states,
        a.tensors + b.tensors,
    )
