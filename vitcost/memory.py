"""Memory in bytes: weights, what is alive in inference, the parts of a training step, its peak.

All of them are bytes of tensors. What an allocator adds is in none of them: workspace of kernels,
rounding of blocks, the context of a card.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from vitcost.engine import live
from vitcost.engine.cost import fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import AnyStructure, Config, sizes_of, structure_of
from vitcost.engine.ops import Size, Sizes, bytes_of, largest, numel
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.step import step_trace
from vitcost.engine.tree import Node
from vitcost.engine.unroll import unroll
from vitcost.engine.workload import mode_of
from vitcost.errors import ConfigError, NotCovered
from vitcost.optimizers import OPTIMIZERS
from vitcost.scenario import PRECISIONS, RECIPES, Scenario
from vitcost.sharding import (
    ALONE,
    Share,
    TensorParallel,
    dealt,
    flat,
    fully_sharded,
    gathered,
    layers_of_rank,
    whole,
)
from vitcost.stored import stored_weights

__all__ = [
    "Inference",
    "PeakParts",
    "StepPeak",
    "Training",
    "inference",
    "loss_bytes",
    "moment",
    "states",
    "step_peak",
    "training",
    "with_peak",
]


class Inference(NamedTuple):
    """A forward pass in eval: ``activations_bytes`` is the largest sum alive at one time.

    ``int8_weights_bytes`` are what the weights take where they are stored as ``stored_weights``
    says; the total has them as they are computed with.
    """

    weights_bytes: Size
    input_bytes: Size
    activations_bytes: Size
    int8_weights_bytes: Size
    buffers_bytes: Size | None = None  # None: not counted here

    @property
    def total_bytes(self) -> Size:
        held = self.weights_bytes + (self.buffers_bytes or 0)
        return held + self.input_bytes + self.activations_bytes


class PeakParts(NamedTuple):
    """What lies in memory at one moment."""

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    temporary_bytes: Size
    batch_bytes: Size
    ema_bytes: Size
    buckets_bytes: Size
    buffers_bytes: Size = 0

    def plus(self, alive: live.Live) -> "PeakParts":
        """What outlives a step, and what is alive in it."""
        return self._replace(
            gradients_bytes=self.gradients_bytes + alive.gradients,
            saved_activations_bytes=self.saved_activations_bytes + alive.saved,
            temporary_bytes=self.temporary_bytes + alive.temporary,
        )


class StepPeak(NamedTuple):
    """The most bytes in memory during a step, where that is, and what they are: of arrays and
    symbols there is no single place."""

    total_bytes: Size
    at: str
    parts: PeakParts | None
    look: int | None = None  # which look of the trace sees it; None: the optimizer's step


class Training(NamedTuple):
    """A training step by the parts of a recipe, and its peak.

    Of several ranks it is what one of them needs. ``ema_bytes`` are averages of the weights, and
    ``buckets_bytes`` copies of the gradients that data-parallel ranks reduce. Where no exact peak
    is known, ``peak_missing`` says why and the others are None.
    """

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    ema_bytes: Size = 0
    buckets_bytes: Size = 0
    peak_bytes: Size | None = None
    peak_at: str | None = None
    peak_parts: PeakParts | None = None
    peak_missing: str | None = None
    buffers_bytes: Size | None = None  # None: not counted here

    @property
    def sum_bytes(self) -> Size:
        """All parts together, though they do not peak together."""
        lasting = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes
        asked = self.ema_bytes + self.buckets_bytes + (self.buffers_bytes or 0)
        # a traced model may have no step: what it saves is not known
        return lasting + asked + (self.saved_activations_bytes or 0)

    def to_dict(self) -> dict[str, Any]:
        parts = self.peak_parts
        return {**self._asdict(), "peak_parts": None if parts is None else parts._asdict()}


def inference(
    params: Size, tree: Node, sizes: Sizes, activations_bytes: Size, scenario: Scenario
) -> Inference:
    """Weights in the parameters' precision, the caller's batch, and the live activations."""
    return Inference(
        PRECISIONS[scenario.precision].param_bytes * params,
        sum(bytes_of(tensor, sizes) for tensor in tree.inputs),
        activations_bytes,
        stored_weights(tree, sizes, scenario, "int8"),
    )


def training(
    config: Config,
    scenario: Scenario,
    batch: int | None = None,
    *,
    rank: int | None = None,
    parallel: TensorParallel = ALONE,
) -> Training:
    """A training step of a model on one rank: model states, what autograd holds, the peak.

    ``batch`` is in place of the scenario's, that of each rank. ``rank`` counts from 0; None is the
    one that holds the most. ``scenario`` says how many there are (``ranks``) and what they divide
    (``zero``); ``parallel`` is one of those that each of them is made of where layers are divided
    too. Its peak takes it that sums over these are made in place, as Megatron-LM does. Sizes are
    integers. ``states`` and ``with_peak`` are its two halves, for who has the lowered tree.

    >>> from vitcost.zoo import resolve
    >>> huge = resolve("vit_huge_patch14_224").config
    >>> alone = training(huge, Scenario(batch=8))
    >>> shared = training(huge, Scenario(batch=8, zero=1, ranks=64))
    >>> alone.optimizer_bytes, shared.optimizer_bytes
    (5056367968, 91750408)
    >>> training(huge, Scenario(batch=8), parallel=TensorParallel(8)).saved_activations_bytes
    1875447620
    """
    batch = scenario.batch if batch is None else batch
    whole_model = structure_of(config, batch, True), sizes_of(config, batch)
    mode = mode_of(config, scenario)
    structure, sizes, mode = layers_of_rank(*whole_model, mode, parallel)
    tree = lower(structure, mode)
    logits = numel(tree.output.axes, sizes)
    saved_bytes = fold(tree, sizes).cost.saved_bytes + loss_bytes(config, logits, scenario)
    own = states(tree, sizes, saved_bytes, scenario, rank=rank)
    return with_peak(own, structure, sizes, scenario, mode, rank=rank)


def states(
    tree: Node, sizes: Sizes, saved_bytes: Size, scenario: Scenario, *, rank: int | None = None
) -> Training:
    """Model states of the scenario's recipe on one rank, and what autograd holds after the loss.

    A parameter that does not train has no gradient and no state. torch's optimizers keep a step
    counter for each tensor. ``rank`` as in ``training``.
    """
    share = _share(tree, sizes, scenario, rank)
    recipe, e = RECIPES[scenario.recipe], PRECISIONS[scenario.precision].param_bytes
    weights, gradients = recipe.weights or e, recipe.gradients or e
    masters = recipe.master * share.states
    # DistributedDataParallel reduces in buckets, which the gradients are copied to or views of
    copied = scenario.recipe == "torch" and scenario.ranks > 1 and scenario.zero < 2
    copied = copied and scenario.buckets == "copies"
    return Training(
        weights_bytes=weights * share.weights + masters,
        gradients_bytes=gradients * share.gradients + recipe.main_gradients * share.states,
        optimizer_bytes=_optimizer_bytes(share, scenario),
        saved_activations_bytes=saved_bytes,
        ema_bytes=scenario.ema * (masters or weights * share.weights),
        buckets_bytes=e * share.gradients if copied else 0,
    )


def _optimizer_bytes(share: Share, scenario: Scenario) -> Size:
    recipe, optimizer = RECIPES[scenario.recipe], OPTIMIZERS[scenario.optimizer]
    if recipe.moments:
        return recipe.moments * share.states
    e = PRECISIONS[scenario.precision].param_bytes
    return optimizer.moments * e * share.states + optimizer.step_bytes * share.tensors


def _share(tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None) -> Share:
    """What a rank holds of the parameters."""
    ranks, zero, own = scenario.ranks, scenario.zero, parameters(tree)
    if rank is not None and not 0 <= rank < ranks:
        raise ConfigError(f"rank must be one of 0 to {ranks - 1:,}, got {rank:,}")
    if scenario.recipe != "torch":
        return flat(whole(own, sizes), zero, ranks)
    if zero > 1:
        return fully_sharded(own, sizes, ranks, rank or 0)
    share = whole(own, sizes)
    if zero == 1:
        tensors = _dealt(tree, sizes, scenario, rank)
        share = share._replace(states=sum(tensors), tensors=len(tensors))
    return share


def _dealt(tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None) -> tuple[int, ...]:
    """The tensors that a rank's optimizer updates where whole ones are dealt out."""
    trained = _trained(parameters(tree))
    each = dealt((n for p in trained for n in [p.numel(sizes)] * p.repeat(sizes)), scenario.ranks)
    optimizer = OPTIMIZERS[scenario.optimizer]
    e = PRECISIONS[scenario.precision].param_bytes

    def most(tensors: tuple[int, ...]) -> int:
        return optimizer.moments * e * sum(tensors) + optimizer.step_bytes * len(tensors)

    return max(each, key=most) if rank is None else each[rank]


def with_peak(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    *,
    rank: int | None = None,
) -> Training:
    """The same with the peak of the step, or with the reason why it is not known."""
    try:
        peak = step_peak(own, structure, sizes, scenario, mode, rank=rank)
    except NotCovered as reason:
        return own._replace(peak_missing=str(reason))
    return own._replace(peak_bytes=peak.total_bytes, peak_at=peak.at, peak_parts=peak.parts)


def step_peak(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    *,
    rank: int | None = None,
    in_place: bool = True,
) -> StepPeak:
    """The peak of a steady training step, ``engine.step`` says which: the second of its kind,
    weights, optimizer states and the caller's images and targets included. Where gradients are
    accumulated it is the second batch of the step, since those of the first are there by then: as
    a first backward pass leaves them, a view that keeps what it is of included. Without
    ``in_place`` it is what torch's own trackers see, under which gradients are not added in place.

    Raises ``NotCovered`` for a model of which the backward is not known op by op, and for recipes
    other than torch's own, which move gradients and weights between copies.
    """
    if scenario.recipe != "torch":
        raise NotCovered(f"the peak of a step of recipe {scenario.recipe}: use recipe torch")
    if scenario.trains_nothing:
        raise NotCovered("a step in which nothing trains has no backward pass")
    if scenario.zero > 1:
        e = PRECISIONS[scenario.precision].param_bytes
        root, layer = gathered(lower(structure, mode), sizes, scenario.ranks)
        raise NotCovered(
            "the peak of a step with fully sharded weights, for which are gathered "
            f"{e * root:,} bytes outside of the layers and {e * layer:,} for each one"
        )
    trace = step_trace(structure, mode, in_place, onto=scenario.keeps_gradients)
    top = live.peak(trace, sizes)
    last = _optimizing(top.left, lower(structure, mode), sizes, scenario, rank)
    lasting = _lasting(own, structure, sizes, scenario, mode, in_place)
    most = largest(top.peak_bytes, last.total)
    if not isinstance(most, int):
        return StepPeak(sum(lasting) + most, "", None)
    look: int | None = top.look
    alive, at = top.live, top.place
    if most != top.peak_bytes:
        alive, at, look = last, "optimizer step", None
    parts = lasting.plus(alive)
    return StepPeak(sum(parts), at, parts, look)


def moment(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    look: int | None,
) -> PeakParts:
    """What lies in memory at one moment of a step, ``look`` as ``step_peak`` tells it, on sizes of
    any kind: on symbols it is the polynomial of a peak."""
    trace = step_trace(structure, mode, onto=scenario.keeps_gradients)
    if look is None:
        left = live.at_end(trace, sizes)
        alive = _optimizing(left, lower(structure, mode), sizes, scenario, None)
    else:
        alive = live.look_at(trace, sizes, look)
    return _lasting(own, structure, sizes, scenario, mode).plus(alive)


def _optimizing(
    left: live.Live, tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None
) -> live.Live:
    """What is alive in the optimizer's step: what the backward pass left, and temporaries."""
    stepping = _step_temporaries(tree, sizes, scenario, rank)
    return left._replace(temporary=left.temporary + stepping)


def _lasting(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    in_place: bool = True,
) -> PeakParts:
    """What outlives a step: gradients too where the step before has left them."""
    kept: Size = 0
    if scenario.keeps_gradients:
        kept = own.gradients_bytes
        if not scenario.views_gradients:
            kept = live.at_end(step_trace(structure, mode, in_place), sizes).gradients
    images = sum(bytes_of(tensor, sizes) for tensor in lower(structure, mode).inputs)
    return PeakParts(
        weights_bytes=own.weights_bytes,
        gradients_bytes=kept,
        optimizer_bytes=own.optimizer_bytes,
        saved_activations_bytes=0,
        temporary_bytes=0,
        # class indices are 64-bit integers
        batch_bytes=images + 8 * sizes["b"],
        ema_bytes=own.ema_bytes,
        buckets_bytes=own.buckets_bytes,
    )


# how many copies of a parameter an optimizer that takes one after the other makes of it: Adam the
# square root of the second moment and its quotient, Lion the sign of its update
_COPIES = {"loop": 2, "sign": 1}


def _step_temporaries(tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None) -> Size:
    """What ``optimizer.step`` allocates and frees: foreach a copy of all parameters, a loop copies
    of one beside what it left of the one before, a fused kernel nothing."""
    how = OPTIMIZERS[scenario.optimizer].steps(scenario.platform)
    e = PRECISIONS[scenario.precision].param_bytes
    if how == "foreach":
        return e * _share(tree, sizes, scenario, rank).states
    if how not in _COPIES:
        return 0
    most: Size = 0
    before: Size = 0
    for elements in _updated(tree, sizes, scenario, rank):
        one = e * elements
        most = largest(most, before + _COPIES[how] * one)
        before = one
    return most


def _updated(tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None) -> Iterator[Size]:
    """The elements of each tensor that a rank's optimizer updates, one after the other; of equal
    layers the first, one of those between, and the last."""
    if scenario.zero == 1:
        yield from _dealt(tree, sizes, scenario, rank)
        return
    for parameter in _trained(parameters(unroll(tree))):
        yield parameter.numel(sizes)


def _trained(all_of_them: Iterable[Parameter]) -> list[Parameter]:
    return [parameter for parameter in all_of_them if parameter.trains]


def loss_bytes(config: Config, logits: Size, scenario: Scenario) -> Size:
    """What a cross entropy on class indices keeps of its logits, for each that the loss has:
    log-probabilities and the total weight. Under CUDA's autocast these are computed in half
    precision, and stay so too. Of logits that need no gradient it keeps nothing.
    """
    if scenario.trains_nothing:
        return 0
    precision = PRECISIONS[scenario.precision].engine
    e = 2 if precision == "half" else 4
    one = e * (logits + 1)
    if precision == "amp" and scenario.platform == "cuda":
        one = one + 2 * logits
    # the trace of a model has its loss
    return 0 if hasattr(config, "workload") else config.losses * one
