"""Memory in bytes: weights, the live tensors of inference, the parts of a training step, its peak.

Only bytes of tensors are counted: no workspaces of kernels, no rounding of the allocator's blocks,
no context of a card.
"""

from collections.abc import Callable
from dataclasses import replace

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import PRECISIONS, RECIPES, Scenario
from vitcost.costs.averages import averages_bytes, averaging_temporaries, rounds
from vitcost.costs.memory_types import Inference, PeakParts, StepPeak, Training
from vitcost.costs.ranks import optimizer_bytes, shards_bytes, share_of, update_temporaries
from vitcost.costs.scaler import scaler_bytes
from vitcost.costs.sharding import whole
from vitcost.costs.stored import stored_weights
from vitcost.engine import live
from vitcost.engine.model import Config
from vitcost.engine.ops import Size, bytes_of, largest, numel
from vitcost.engine.parallel import ALONE, TensorParallel
from vitcost.engine.workload import Workload, workload
from vitcost.errors import NotCovered

__all__ = [
    "cross_entropy_bytes",
    "inference",
    "lasting",
    "loss_bytes",
    "moment",
    "optimizing",
    "states",
    "step",
    "step_bound",
    "step_peak",
    "training",
]


# bytes of a class index
_INDEX = 8
_NO_STEP = "no parameter trains, so the step has no backward pass"


def inference(run: Workload, activations_bytes: Size | None = None) -> Inference:
    """The bytes of a forward pass in eval: ``weights + buffers + images + activations``, with
    images in the parameters' precision; ``activations_bytes`` are by default the most that are
    alive at one time.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(precision="bf16"))
    >>> memory = inference(base)
    >>> memory.weights_bytes == 2 * 86_567_656, memory.input_bytes == 2 * 3 * 224 * 224
    (True, True)
    """
    are = "exact"
    if activations_bytes is None:
        activations_bytes = live.peak(run.inference(), run.sizes).peak_bytes
        are = "bounded" if run.at_most(training=False) else are
    weights = run.weights_bytes
    if weights is None:
        weights = run.param_bytes * whole(run.parameters(), run.sizes).weights
    return Inference(
        weights,
        sum(bytes_of(tensor, run.sizes) for tensor in run.inputs),
        activations_bytes,
        stored_weights(run, "int8"),
        run.buffers_bytes,
        stored_weights(run, "fp8"),
        stored_weights(run, "int4"),
        activations_are=are,
    )


def training(
    config: Config,
    scenario: Scenario,
    batch: int | None = None,
    *,
    rank: int | None = None,
    parallel: TensorParallel = ALONE,
) -> Training:
    """A training step of a model on one rank: model states, tensors saved for backward, the peak.

    ``batch`` is the images of one rank, in place of the scenario's. ``rank`` counts data-parallel
    ranks from 0; None is the rank that holds the most. ``parallel``: if layers are also divided
    among cards, the bytes are those of one card of the rank, and the peak assumes that sums over
    these cards are computed in place, as in Megatron-LM. Sizes are integers.

    Raises ``ConfigError`` for a rank that does not exist, ``NotCovered`` for states without a rule:
    see ``optimizer_bytes`` and ``share_of``.

    >>> from vitcost.zoo import resolve
    >>> huge = resolve("vit_huge_patch14_224").config
    >>> alone = training(huge, Scenario(batch=8))
    >>> shared = training(huge, Scenario(batch=8, zero=1, ranks=64))
    >>> alone.optimizer_bytes, shared.optimizer_bytes
    (5056367968, 91750408)
    >>> training(huge, Scenario(batch=8), parallel=TensorParallel(8)).saved_activations_bytes
    1875447620
    """
    run = workload(config, replace(scenario, mode="train")).shared(parallel)
    return step(run if batch is None else run.at(batch), rank=rank)


def step(run: Workload, *, rank: int | None = None) -> Training:
    """The training step of a workload that trains: model states, saved activations, the peak.

    ``rank`` and errors, ``ConfigError`` and ``NotCovered``, are those of ``training``. For a model
    without a step the states are given, with the reason in ``missing``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> memory = step(base)
    >>> memory.weights_bytes == 4 * 86_567_656, memory.peak_bytes, memory.peak_at
    (True, 8730708904, 'backward of blocks.11.mlp.fc2')
    """
    if run.no_step:
        # None: the activations are not known, so 0 would be wrong
        return states(run, None, rank=rank)._replace(missing=run.no_step)
    saved = run.rows().cost.saved_bytes + loss_bytes(run)
    return with_peak(states(run, saved, rank=rank), run, rank=rank)


def states(run: Workload, saved_bytes: Size | None, *, rank: int | None = None) -> Training:
    """Model states of the scenario's recipe on one rank, and the bytes saved for backward.

    A parameter that does not train has no gradient and no state. torch's optimizers keep a step
    counter for each tensor. A gradient scaler's scale counts with the states. ``rank`` and errors,
    ``ConfigError`` and ``NotCovered``, are those of ``training``.

    In fp32 AdamW keeps two moments of 4 bytes for each of 86,567,656 parameters, and 4 bytes for
    each of 152 tensors: 12 in each of 12 blocks, and 8 outside of them.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> states(base, None).optimizer_bytes == 2 * 4 * 86_567_656 + 4 * 152
    True
    """
    scenario, share, e = run.scenario, share_of(run, rank), run.param_bytes
    recipe = RECIPES[scenario.recipe]
    gradients = recipe.gradients or e
    masters = recipe.master * share.states
    weights = (recipe.weights or e) * share.weights
    weights_bytes = weights
    if run.weights_bytes is not None and scenario.recipe == "torch":
        weights_bytes = run.weights_bytes if scenario.zero < 2 else shards_bytes(run)
    gradients_bytes = gradients * share.gradients + recipe.main_gradients * share.states
    if scenario.optimizer_in_backward:
        # raises if the optimizer cannot step inside the backward pass
        from vitcost.engine.stepping import update_of

        update_of(scenario.optimizer, scenario.platform)
        gradients_bytes = 0
    # DistributedDataParallel reduces gradients in buckets: the gradients are copied to the buckets,
    # or are views of them
    copied = scenario.recipe == "torch" and scenario.ranks > 1 and scenario.zero < 2
    copied = copied and scenario.buckets == "copies"
    return Training(
        weights_bytes=weights_bytes + masters,
        gradients_bytes=gradients_bytes,
        optimizer_bytes=optimizer_bytes(share, run, rank) + scaler_bytes(scenario),
        saved_activations_bytes=saved_bytes,
        ema_bytes=averages_bytes(run, share, weights_bytes, masters),
        buckets_bytes=e * share.gradients if copied else 0,
        buffers_bytes=run.step_buffers_bytes,
    )


def with_peak(memory: Training, run: Workload, *, rank: int | None = None) -> Training:
    """The same memory with the peak of the step; or with a bound, if the exact peak is not
    known."""
    if run.scenario.trains_nothing:
        return memory._replace(missing=_NO_STEP)
    try:
        peak = step_peak(memory, run, rank=rank)
    except NotCovered as reason:
        memory = memory._replace(missing=str(reason))
        if not run.has_bound:
            return memory
        # imported only for a step without an exact peak
        from vitcost.costs.bounded import assumed

        peak = step_bound(memory, run, rank=rank)
        memory = memory._replace(peak_is="bounded", assumed=assumed(run.scenario))
    else:
        # a peak in the optimizer's step is exact, unless averages are rounded in chunks
        in_passes = peak.look is not None or peak.parts is None
        bound = run.at_most(training=True) if in_passes else _rounded(run)
        memory = memory._replace(peak_is="bounded" if bound else "exact", missing=bound or None)
    return memory._replace(peak_bytes=peak.total_bytes, peak_at=peak.at, peak_parts=peak.parts)


def _rounded(run: Workload) -> str:
    """The reason why the update of averages may allocate less than is counted; empty if it does
    not."""
    if rounds(run) and run.step_buffers_bytes:
        return "buffers are in the chunks in which averages are rounded"
    return ""


def step_peak(
    memory: Training, run: Workload, *, rank: int | None = None, in_place: bool = True
) -> StepPeak:
    """The peak of a steady training step, the second of its kind: ``lasting`` bytes, plus the most
    that are alive beside them in the passes or in the optimizer's step.

    If gradients are accumulated, it is the peak of the second batch of the step, when the gradients
    of the first exist; a gradient that is a view counts with the whole storage that it keeps alive.
    Without ``in_place`` it is the peak under torch's own trackers, where gradients are never added
    in place. For fully sharded weights it is the peak of the first rank, which holds the most:
    ``engine.sharded``.

    Raises ``NotCovered`` for a model whose backward is not known op by op, for a compiled optimizer
    whose step is the peak, and for recipes other than torch's own, which copy gradients and
    weights; ``ConfigError`` for a ``rank`` that does not exist.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> top = step_peak(step(base), base)
    >>> top.total_bytes, top.at
    (8730708904, 'backward of blocks.11.mlp.fc2')
    """
    scenario, sizes = run.scenario, run.sizes
    if scenario.recipe != "torch":
        raise NotCovered(f"recipe {scenario.recipe} has no exact peak: use recipe torch")
    if scenario.trains_nothing:
        raise NotCovered(_NO_STEP)
    top = live.peak(run.step(in_place), sizes)
    around = _lasting(memory, run, _kept(memory, run, lambda one: one.step(in_place)))
    peak = _higher(top, around, optimizing(top.left, run, rank))
    if peak.look is None and OPTIMIZERS[scenario.optimizer].step == "compiled":
        raise NotCovered(f"the compiled step of {scenario.optimizer} allocates unknown bytes")
    return peak


def step_bound(memory: Training, run: Workload, *, rank: int | None = None) -> StepPeak:
    """An upper bound of the peak of a steady training step, for every model and every recipe; no
    known peak exceeds it.

    ``vitcost.costs.bounded`` lists its assumptions. ``rank`` and errors, ``ConfigError`` and
    ``NotCovered``, are those of ``training``.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> memory = step(base)
    >>> memory.peak_is, 1 <= step_bound(memory, base).total_bytes / (memory.peak_bytes or 0) < 1.01
    ('exact', True)
    """
    from vitcost.costs.bounded import bound_of_passes

    scenario, sizes = run.scenario, run.sizes
    # the targets of a bound: a class index for each vector of scores; or, as for torch's squared
    # error, a number for each score and its loss
    targets = sum(
        _INDEX * numel(t.axes[:-1], sizes) + 2 * 4 * numel(t.axes, sizes) for t in run.outputs
    )
    top = bound_of_passes(run, memory.gradients_bytes)
    around = _lasting(memory, run, _kept(memory, run, lambda one: one.bounding()), targets)
    left = top.left
    if scenario.recipe == "torch" and scenario.zero > 1:
        # shards of gradients, unless they outlive the step and are counted already
        left = left._replace(gradients=memory.gradients_bytes - around.gradients_bytes)
    return _higher(top, around, optimizing(left, run, rank))


def _higher(top: live.Peak, around: PeakParts, last: live.Live) -> StepPeak:
    """The higher of two peaks, of the passes and of the optimizer's step."""
    most = largest(top.peak_bytes, last.total)
    if not isinstance(most, int):
        return StepPeak(sum(around) + most, "", None)
    look: int | None = top.look
    alive, at = top.live, top.place
    if most != top.peak_bytes:
        alive, at, look = last, "optimizer step", None
    parts = around.plus(alive)
    return StepPeak(sum(parts), at, parts, look)


def moment(memory: Training, run: Workload, look: int | None) -> PeakParts:
    """The bytes in memory at one moment of a step, by part: ``lasting`` and those alive then.

    ``look`` is the number of the moment, as ``step_peak`` returns it; None is the optimizer's step.
    Sizes may be symbols: then the parts are polynomials. Errors, ``ConfigError`` and
    ``NotCovered``, are those of ``optimizing``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> memory = step(base)
    >>> sum(moment(memory, base, step_peak(memory, base).look)) == memory.peak_bytes
    True
    >>> moment(memory, base, None).temporary_bytes == 4 * 86_567_656 + 4  # copies, and a loss
    True
    """
    if look is None:
        alive = optimizing(live.at_end(run.step(), run.sizes), run, None)
    else:
        alive = live.look_at(run.step(), run.sizes, look)
    return lasting(memory, run).plus(alive)


def lasting(memory: Training, run: Workload) -> PeakParts:
    """The bytes that outlive a step with an exact peak: weights, states, the batch.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> around = lasting(step(base), base)
    >>> around.gradients_bytes, around.batch_bytes == 64 * (4 * 3 * 224 * 224 + 8)
    (0, True)
    """
    return _lasting(memory, run, _kept(memory, run, lambda one: one.step()))


def optimizing(left: live.Live, run: Workload, rank: int | None) -> live.Live:
    """The bytes alive in the optimizer's step, or in the update of averages after it: the tensors
    that the backward pass leaves, and the larger temporaries of the two.

    ``rank`` as in ``training``. Raises ``ConfigError`` for a rank that does not exist,
    ``NotCovered`` as ``update_temporaries`` and ``averaging_temporaries`` do.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> alive = optimizing(live.at_end(base.step(), base.sizes), base, None)
    >>> alive.gradients == 4 * 86_567_656, alive.temporary == 4 * 86_567_656 + 4  # and the loss
    (True, True)
    """
    most = largest(update_temporaries(run, rank), averaging_temporaries(run))
    return left._replace(temporary=left.temporary + most)


def _lasting(memory: Training, run: Workload, kept: Size, targets: Size | None = None) -> PeakParts:
    """The bytes that outlive a step, including gradients that the step before has left, and the
    batch with its ``targets``."""
    if targets is None:
        targets = sum(bytes_of(tensor, run.sizes) for tensor in run.targets)
    return PeakParts(
        weights_bytes=memory.weights_bytes,
        gradients_bytes=kept,
        optimizer_bytes=memory.optimizer_bytes,
        saved_activations_bytes=0,
        temporary_bytes=0,
        batch_bytes=sum(bytes_of(tensor, run.sizes) for tensor in run.inputs) + targets,
        ema_bytes=memory.ema_bytes,
        buckets_bytes=memory.buckets_bytes,
        buffers_bytes=memory.buffers_bytes,
    )


def _kept(
    memory: Training, run: Workload, events: Callable[[Workload], tuple[live.Event, ...]]
) -> Size:
    """Gradients that exist when the step begins, as a step without them leaves them at its end; a
    gradient that is a view counts with the whole storage that it keeps alive."""
    scenario = run.scenario
    if scenario.views_gradients or scenario.gradients_outlast:
        return memory.gradients_bytes
    if not scenario.keeps_gradients:
        return 0
    alone = run.under(replace(scenario, accumulate=1, zero_grad="none", buckets="copies"))
    return live.at_end(events(alone), run.sizes).gradients


def loss_bytes(run: Workload) -> Size:
    """Bytes that autograd saves for the losses: ``cross_entropy_bytes`` for each that the model
    has.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> loss_bytes(base) == 4 * (64 * 1000 + 1)
    True
    """
    each = (numel(output.axes, run.sizes) for output in run.losses)
    return sum(cross_entropy_bytes(logits, run.scenario) for logits in each)


def cross_entropy_bytes(logits: Size, scenario: Scenario) -> Size:
    """Bytes that a cross entropy on class indices saves for backward: ``e · (logits + 1)``, the
    log-probabilities, one for each of ``logits``, and the total weight, e bytes each.

    Under CUDA's autocast it saves ``2 · logits`` more: log-probabilities are computed in half
    precision, and nll_loss saves their copy in float32. Logits that need no gradient save nothing.
    Source: torch 2.13, tools/autograd/derivatives.yaml, ``nll_loss_forward``.

    >>> cross_entropy_bytes(1000, Scenario())
    4004
    """
    if scenario.trains_nothing:
        return 0
    precision = PRECISIONS[scenario.precision].engine
    e = 2 if precision == "half" else 4
    kept = e * (logits + 1)
    return kept + 2 * logits if precision == "amp" and scenario.platform == "cuda" else kept
