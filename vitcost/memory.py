"""Memory in bytes: weights, what is alive in inference, the parts of a training step, its peak.

All of them are bytes of tensors. What an allocator adds is in none of them: workspace of kernels,
rounding of blocks, the context of a card.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from vitcost.bounded import assumed, bound_of_passes, bounding_trace, lasting_gradients
from vitcost.engine import live
from vitcost.engine.cost import fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import AnyStructure, Config, sizes_of, structure_of
from vitcost.engine.ops import Size, Sizes, bytes_of, largest, numel
from vitcost.engine.step import step_trace
from vitcost.engine.tree import Node
from vitcost.engine.workload import mode_of
from vitcost.errors import NotCovered
from vitcost.ranks import optimizer_bytes, share_of, update_temporaries
from vitcost.scenario import PRECISIONS, RECIPES, Scenario
from vitcost.sharding import ALONE, TensorParallel, gathered, layers_of_rank
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
    "step_bound",
    "step_peak",
    "training",
    "with_peak",
]


# bytes of a class index
_INDEX = 8
_NO_STEP = "a step in which nothing trains has no backward pass"


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
    ``buckets_bytes`` copies of the gradients that data-parallel ranks reduce. ``peak_is`` says
    whether the peak is ``exact`` or ``bounded``, which no step exceeds. Of a bound ``missing`` says
    why no exact peak is known, and ``assumed`` under which assumptions it is one; where there is no
    step to speak of the peak is None, and ``missing`` says why.
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
    peak_is: str | None = None
    missing: str | None = None
    assumed: tuple[str, ...] = ()
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
        return {
            **self._asdict(),
            "peak_parts": None if parts is None else parts._asdict(),
            "assumed": list(self.assumed),
        }


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
    share = share_of(tree, sizes, scenario, rank)
    recipe, e = RECIPES[scenario.recipe], PRECISIONS[scenario.precision].param_bytes
    weights, gradients = recipe.weights or e, recipe.gradients or e
    masters = recipe.master * share.states
    # DistributedDataParallel reduces in buckets, which the gradients are copied to or views of
    copied = scenario.recipe == "torch" and scenario.ranks > 1 and scenario.zero < 2
    copied = copied and scenario.buckets == "copies"
    return Training(
        weights_bytes=weights * share.weights + masters,
        gradients_bytes=gradients * share.gradients + recipe.main_gradients * share.states,
        optimizer_bytes=optimizer_bytes(share, scenario),
        saved_activations_bytes=saved_bytes,
        ema_bytes=scenario.ema * (masters or weights * share.weights),
        buckets_bytes=e * share.gradients if copied else 0,
    )


def with_peak(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    *,
    rank: int | None = None,
) -> Training:
    """The same with the peak of the step, or with a bound of it where that is not known."""
    if scenario.trains_nothing:
        return own._replace(missing=_NO_STEP)
    try:
        peak = step_peak(own, structure, sizes, scenario, mode, rank=rank)
    except NotCovered as reason:
        peak = step_bound(own, structure, sizes, scenario, mode, rank=rank)
        own = own._replace(peak_is="bounded", missing=str(reason), assumed=assumed(scenario))
    else:
        own = own._replace(peak_is="exact")
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
        raise NotCovered(_NO_STEP)
    if scenario.zero > 1:
        e = PRECISIONS[scenario.precision].param_bytes
        root, layer = gathered(lower(structure, mode), sizes, scenario.ranks)
        raise NotCovered(
            "the peak of a step with fully sharded weights, for which are gathered "
            f"{e * root:,} bytes outside of the layers and {e * layer:,} for each one"
        )
    trace = step_trace(structure, mode, in_place, onto=scenario.keeps_gradients)
    tree, alone = lower(structure, mode), partial(step_trace, structure, mode, in_place)
    lasting = _lasting(own, tree, sizes, _kept(own, scenario, alone, sizes), _INDEX * sizes["b"])
    top = live.peak(trace, sizes)
    return _higher(top, lasting, _optimizing(top.left, tree, sizes, scenario, rank))


def step_bound(
    own: Training,
    structure: AnyStructure,
    sizes: Sizes,
    scenario: Scenario,
    mode: Mode,
    *,
    rank: int | None = None,
) -> StepPeak:
    """No less than the peak of a steady training step, for every model and every recipe:
    ``vitcost.bounded`` says what it assumes. Where the peak is known the bound lies above it.

    >>> from vitcost.zoo import resolve
    >>> base, how = resolve("vit_base_patch16_224").config, Scenario(batch=64)
    >>> own = training(base, how)
    >>> step = structure_of(base, 64, True), sizes_of(base, 64), how, mode_of(base, how)
    >>> own.peak_is, 1 <= step_bound(own, *step).total_bytes / (own.peak_bytes or 0) < 1.01
    ('exact', True)
    """
    tree, alone = lower(structure, mode), partial(bounding_trace, structure, mode)
    # of each vector of scores a class index, or else a number for each and its loss: torch's
    # squared error writes them where the mean is then put
    outputs = (tree.output, *tree.also)
    targets = sum(
        _INDEX * numel(t.axes[:-1], sizes) + 2 * 4 * numel(t.axes, sizes) for t in outputs
    )
    lasting = _lasting(own, tree, sizes, _kept(own, scenario, alone, sizes), targets)
    top = bound_of_passes(structure, mode, sizes, scenario, own.gradients_bytes)
    left = top.left
    if scenario.recipe == "torch" and scenario.zero > 1:
        # shards, where those are not among what lasts
        left = left._replace(gradients=own.gradients_bytes - lasting.gradients_bytes)
    return _higher(top, lasting, _optimizing(left, tree, sizes, scenario, rank))


def _higher(top: live.Peak, lasting: PeakParts, last: live.Live) -> StepPeak:
    """The peak of the passes, or that of the optimizer's step."""
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
    tree, alone = lower(structure, mode), partial(step_trace, structure, mode)
    if look is None:
        alive = _optimizing(live.at_end(trace, sizes), tree, sizes, scenario, None)
    else:
        alive = live.look_at(trace, sizes, look)
    return _lasting(own, tree, sizes, _kept(own, scenario, alone, sizes), _INDEX * sizes["b"]).plus(
        alive
    )


def _optimizing(
    left: live.Live, tree: Node, sizes: Sizes, scenario: Scenario, rank: int | None
) -> live.Live:
    """What is alive in the optimizer's step: what the backward pass left, and temporaries."""
    stepping = update_temporaries(tree, sizes, scenario, rank)
    return left._replace(temporary=left.temporary + stepping)


def _lasting(own: Training, tree: Node, sizes: Sizes, kept: Size, targets: Size) -> PeakParts:
    """What outlives a step: gradients too where the step before has left them, and the batch with
    its ``targets``, in bytes."""
    return PeakParts(
        weights_bytes=own.weights_bytes,
        gradients_bytes=kept,
        optimizer_bytes=own.optimizer_bytes,
        saved_activations_bytes=0,
        temporary_bytes=0,
        batch_bytes=sum(bytes_of(tensor, sizes) for tensor in tree.inputs) + targets,
        ema_bytes=own.ema_bytes,
        buckets_bytes=own.buckets_bytes,
    )


def _kept(
    own: Training, scenario: Scenario, alone: Callable[[], tuple[live.Event, ...]], sizes: Sizes
) -> Size:
    """Gradients that are there when the step begins: as a step ``alone`` leaves them, a view that
    keeps what it is of included."""
    if scenario.views_gradients or lasting_gradients(scenario):
        return own.gradients_bytes
    return live.at_end(alone(), sizes).gradients if scenario.keeps_gradients else 0


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
