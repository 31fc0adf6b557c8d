"""A formula and a trace of the same model: params, FLOPs, bytes, and every look in order."""

from typing import Any, NamedTuple

import torch
from torch import nn

from vitcost.engine import live
from vitcost.engine.live import _looks
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import Workload, workload
from vitcost.scenario import Scenario
from vitcost.traced.alive import all_events, upper
from vitcost.traced.inputs import inputs_of
from vitcost.traced.rows import rows
from vitcost.traced.trace import How, Trace
from vitcost.traced.traces import trace
from vitcost.zoo import resolve

__all__ = ["differences", "timm_model", "unmatched"]


class Numbers(NamedTuple):
    """What both must say of a training step and of a forward in eval."""

    params: int
    forward: int
    backward: int
    saved: int
    peak: int
    place: str
    inference_peak: int


def timm_model(name: str) -> nn.Module:
    import timm

    arguments: dict[str, Any] = {} if "." in name else {"num_classes": 1000}
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name, **arguments)
    if hasattr(model, "set_distilled_training"):
        # the formula's training has a loss of each head
        model.set_distilled_training(True)  # type: ignore[operator]
    return model


def differences(
    name: str, model: nn.Module, precision: str, platform: str, batch: int
) -> list[str]:
    """What differs, by name: nothing, where formula and trace agree."""
    how = How(precision=precision, platform=platform)
    traced = trace(model, inputs_of(model), (batch,), how, name=name)
    scenario = Scenario(batch=batch, precision=precision, platform=platform, mode="train")
    formula = workload(resolve(name).config, scenario)
    if traced.step is None:
        return [f"no step: {traced.missing}"]
    one, two = _of_formula(formula), _of_trace(traced, batch)
    return [
        f"{field}: formula {a}, trace {b}"
        for field, a, b in zip(Numbers._fields, one, two, strict=True)
        if a != b
    ]


def _of_formula(run: Workload) -> Numbers:
    from vitcost import report

    r = report(
        resolve(run.config),  # type: ignore[attr-defined]
        batch=run.scenario.batch,
        precision=run.scenario.precision,
        platform=run.scenario.platform,
    )
    top = live.peak(run.step(), run.sizes)
    return Numbers(
        r.params,
        r.flops.forward,
        r.flops.backward,
        r.training.saved_activations_bytes,
        top.peak_bytes,
        top.place,
        r.inference.activations_bytes,
    )


def _of_trace(found: Trace, batch: int) -> Numbers:
    assert found.step is not None
    cost = rows(found.step, found.weights, batch).cost
    top = live.peak(upper(found.step), Sizes(b=batch))
    inference = live.peak(upper(found.inference), Sizes(b=batch))
    return Numbers(
        cost.params,
        cost.flops,
        cost.backward_flops,
        cost.saved_bytes,
        top.peak_bytes,
        top.place,
        inference.peak_bytes,
    )


def unmatched(name: str, model: nn.Module, precision: str, platform: str, batch: int) -> list[str]:
    """The looks of the formula whose live bytes do not occur in the trace in the same order."""
    how = How(precision=precision, platform=platform)
    traced = trace(model, inputs_of(model), (batch,), how, name=name)
    assert traced.step is not None, traced.missing
    scenario = Scenario(batch=batch, precision=precision, platform=platform, mode="train")
    run = workload(resolve(name).config, scenario)
    looks = _looks(all_events(traced.step), Sizes(b=batch), [0, 0, 0], {})
    theirs = [sum(seen) for _, _, seen in looks]
    found, at = [], 0
    for place, ahead, seen in _looks(run.step(), run.sizes, [0, 0, 0], {}):
        try:
            at = theirs.index(sum(seen), at) + 1
        except ValueError:
            found.append(place.name(run.sizes, ahead))
    return found
