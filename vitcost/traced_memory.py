"""Memory of a traced model: model states by the rules of ``memory``, activations by its trace."""

from dataclasses import replace
from typing import cast

from vitcost import memory
from vitcost.engine import live
from vitcost.engine.model import Config
from vitcost.engine.ops import Size, bytes_of
from vitcost.errors import NotCovered
from vitcost.ranks import update_temporaries
from vitcost.scenario import PRECISIONS, Scenario
from vitcost.stored import stored_weights
from vitcost.traced.model import TracedModel, how_of
from vitcost.traced.trace import How, Trace
from vitcost.traced.workload import Traced

__all__ = ["inference", "traced", "training"]


def traced(config: Config, scenario: Scenario, batch: int) -> Traced:
    """A traced model with a batch: from 2 on by polynomials, whose sizes hold for every batch."""
    model = cast(TracedModel, config)
    how = how_of(scenario)
    trace = _trace(model, how._replace(attention="sdpa"), batch)
    passes = (trace.inference, trace.step)
    if how.attention != "sdpa" and any(each is not None and each.kernels for each in passes):
        # a card's own kernel, where the module calls one
        trace = _trace(model, how, batch)
    return Traced(model, scenario, trace, batch)


def _trace(model: TracedModel, how: How, batch: int) -> Trace:
    return model.traces.lines(how) if batch > 1 else model.traces.at(how, batch)


def inference(run: Traced) -> memory.Inference:
    """A forward pass in eval."""
    own = _typed(run)
    top = live.peak(run.inference(), run.sizes)
    batch = sum(bytes_of(tensor, run.sizes) for tensor in run.inputs)
    return memory.Inference(
        run.weights_bytes,
        batch,
        top.peak_bytes,
        stored_weights(run.tree(), run.sizes, own, "int8"),
        run.buffers_bytes,
    )


def training(run: Traced) -> memory.Training:
    """A training step; where it cannot be traced its activations are missing, with the reason."""
    tree, own = run.tree(), _typed(run)
    if run.trace.step is None:
        # no activations are known, which is not none
        found = memory.states(tree, run.sizes, cast(int, None), own)
        return _with_buffers(found, run)._replace(missing=run.trace.missing)
    found = memory.states(tree, run.sizes, run.rows().cost.saved_bytes, own)
    found = _with_buffers(found, run)
    try:
        return _with_peak(found, run, own)
    except NotCovered as reason:
        return found._replace(missing=str(reason))


def _with_peak(found: memory.Training, run: Traced, own: Scenario) -> memory.Training:
    if own.recipe != "torch":
        raise NotCovered(f"the peak of a step of recipe {own.recipe}: use recipe torch")
    if own.zero > 1:
        raise NotCovered("the peak of a step with fully sharded weights of a traced model")
    tree, sizes = run.tree(), run.sizes
    top = live.peak(run.step(), sizes)
    temporary = update_temporaries(tree, sizes, own, None)
    last = top.left._replace(temporary=top.left.temporary + temporary)
    lasting = memory.PeakParts(
        weights_bytes=found.weights_bytes,
        gradients_bytes=_kept(found, run, own),
        optimizer_bytes=found.optimizer_bytes,
        saved_activations_bytes=0,
        temporary_bytes=0,
        batch_bytes=sum(bytes_of(tensor, sizes) for tensor in run.inputs),
        ema_bytes=found.ema_bytes,
        buckets_bytes=found.buckets_bytes,
        buffers_bytes=run.buffers_bytes,
    )
    alive, at = (top.live, top.place) if top.peak_bytes >= last.total else (last, "optimizer step")
    parts = lasting.plus(alive)
    return found._replace(peak_bytes=sum(parts), peak_at=at, peak_parts=parts, peak_is="exact")


def _kept(found: memory.Training, run: Traced, own: Scenario) -> Size:
    """Gradients that the backward pass before has left."""
    if not own.keeps_gradients:
        return 0
    if own.views_gradients:
        return found.gradients_bytes
    alone = replace(own, accumulate=1, zero_grad="none", buckets="copies")
    return live.at_end(_as(run, alone).step(), run.sizes).gradients


def _as(run: Traced, scenario: Scenario) -> Traced:
    """The same model and batch under another scenario."""
    return traced(cast(Config, run.model), scenario, run.batch)


def _with_buffers(found: memory.Training, run: Traced) -> memory.Training:
    """Weights in their own types, and the buffers beside them."""
    weights = found.weights_bytes
    if run.scenario.recipe == "torch" and run.scenario.zero < 3:
        weights = run.weights_bytes
    return found._replace(weights_bytes=weights, buffers_bytes=run.buffers_bytes)


_OF_TYPE = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def _typed(run: Traced) -> Scenario:
    """The scenario in the precision of the module's own parameters, by which states are sized.

    Raises ``NotCovered`` for parameters of several types that train.
    """
    types = {weight.dtype for weight in run.trace.weights if weight.trains}
    if len(types) > 1:
        raise NotCovered(f"states of parameters of several types: {', '.join(sorted(types))}")
    kind = next(iter(types), "float32")
    precision = _OF_TYPE.get(kind)
    if precision is None:
        raise NotCovered(f"states of parameters of type {kind}")
    if PRECISIONS[precision].param_bytes == PRECISIONS[run.scenario.precision].param_bytes:
        return run.scenario
    return replace(run.scenario, precision=precision, recipe=run.scenario.recipe)
