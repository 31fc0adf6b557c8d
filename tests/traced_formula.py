"""A formula and a trace of the same model: params, FLOPs, bytes, and every look in order."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from vitcost.config.scenario import Scenario
from vitcost.costs.report import report_on
from vitcost.engine import live
from vitcost.engine.live import _looks
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.alive import upper
from vitcost.traced.batch_sizes import value
from vitcost.traced.inputs import inputs_of
from vitcost.traced.module_rows import rows
from vitcost.traced.trace import BORN, ITEMSIZE, LOOK, How, Pass, Trace, decoded
from vitcost.traced.traces import trace
from vitcost.zoo import Resolved, resolve

__all__ = ["CASES", "both", "differences"]

# every precision under the rules of a card and of a CPU, at one image and at several
CASES = tuple(
    (precision, platform, batch)
    for precision in ("fp32", "amp-bf16", "bf16")
    for platform in ("cuda", "cpu")
    for batch in (1, 3)
)


class Numbers(NamedTuple):
    """The numbers that a formula and a trace share, of a training step and of a forward in eval;
    None: the formula has no such number. FLOPs are those that run: a differential block calls two
    kernels that read one value, which its definition has one product for."""

    params: int
    trainable: int
    buffers: int | None
    forward: int
    backward: int | None
    saved: int | None
    inference_peak: int
    peak: int | None
    place: str | None


def both(name: str, depth: int | None = None) -> tuple[Resolved, nn.Module]:
    """The formula of a name of timm and timm's own model, both with so many blocks where the class
    has a number of them."""
    import timm

    from vitcost.zoo.timm import RENAMED

    own = RENAMED.get(name, name)
    arguments: dict[str, Any] = {} if "." in own else {"num_classes": 1000}
    fields = {} if depth is None else {"depth": depth}
    with torch.device("meta"):
        try:
            model: nn.Module = timm.create_model(own, **arguments, **fields)
            formula = resolve(name, **fields)
        except (AssertionError, TypeError, ConfigError):
            # stages of several depths
            model, formula = timm.create_model(own, **arguments), resolve(name)
    if hasattr(model, "set_distilled_training"):
        # the formula's training has a loss of each head
        model.set_distilled_training(True)
    return formula, model


def differences(
    formula: Resolved, model: nn.Module, precision: str, platform: str, batch: int
) -> list[str]:
    """The differences by name; there is none where formula and trace agree. The looks of the
    formula, layer by layer, are states of the trace in the same order."""
    how = How(precision=precision, platform=platform)
    shape = formula.config.in_chans, *formula.config.image
    inputs = inputs_of(model, "x".join(map(str, shape)))
    traced = trace(model, inputs, (batch,), how, name=formula.name)
    scenario = Scenario(batch=batch, precision=precision, platform=platform, mode="train")
    run = workload(formula.config, scenario)
    if traced.step is None:
        return [f"no step: {traced.missing}"]
    one, two = _of_formula(formula, run), _of_trace(traced, batch)
    found = [
        f"{field}: formula {a}, trace {b}"
        for field, a, b in zip(Numbers._fields, one, two, strict=True)
        if a is not None and b is not None and a != b
    ]
    eval_run = workload(formula.config, Scenario(
        batch=batch, precision=precision, platform=platform))  # fmt: skip
    for kind, events, sizes, own in (
        ("inference", eval_run.inference, eval_run.sizes, traced.inference),
        ("step", run.step, run.sizes, traced.step),
    ):
        try:
            apart = list(_unmatched(events(), sizes, own, batch))
        except NotCovered as reason:
            found.append(f"no {kind}: {reason}")
            continue
        if apart:
            found.append(f"looks of {kind} apart: {len(apart)}: {', '.join(apart[:6])}")
    return found


def _of_formula(formula: Resolved, run: Workload) -> Numbers:
    r = report_on(formula, run)
    try:
        top = live.peak(run.step(), run.sizes)
        peak = top.peak_bytes, top.place
    except NotCovered:
        peak = None, None
    return Numbers(
        r.params,
        r.trainable_params,
        r.training.buffers_bytes,
        r.flops.forward_executed,
        r.flops.backward_executed,
        r.training.saved_activations_bytes,
        r.inference.activations_bytes,
        *peak,
    )


def _of_trace(found: Trace, batch: int) -> Numbers:
    assert found.step is not None
    cost = rows(found.step, found.weights, batch).cost
    top = live.peak(upper(found.step), Sizes(b=batch))
    inference = live.peak(upper(found.inference), Sizes(b=batch))
    # on no module a formula has a name for its step, and a trace the operator
    modules = {module.path for module in found.step.modules}
    place = top.place if top.place.partition(" of ")[2] in modules else None
    buffers = sum(ITEMSIZE[b.dtype] * torch.Size(b.shape).numel() for b in found.buffers)
    return Numbers(
        cost.params,
        cost.trainable,
        buffers,
        cost.executed_flops,
        cost.executed_backward_flops,
        cost.saved_bytes,
        inference.peak_bytes,
        top.peak_bytes,
        place,
    )


def _unmatched(events: Sequence[live.Event], sizes: Sizes, run: Pass, batch: int) -> Iterator[str]:
    """The looks of the formula whose live bytes are no state of the trace in the same order; two
    looks may find one state."""
    ours = [
        (sum(seen), place.name(sizes, ahead))
        for place, ahead, seen in _looks(events, sizes, [0, 0, 0], {})
    ]
    states: dict[int, list[int]] = {}
    for at, number in enumerate(_states(run, batch)):
        states.setdefault(number, []).append(at)
    matched = _longest([states.get(number, []) for number, _ in ours])
    yield from (f"{place} at {n}" for i, (n, place) in enumerate(ours) if i not in matched)


def _longest(places: Sequence[Sequence[int]]) -> set[int]:
    """The most items of a list that stand, in its order, at a place each of their ascending ones,
    where two may share one."""
    # of each length of a row the smallest last place
    ends: list[int] = []
    before: dict[tuple[int, int], tuple[int, int]] = {}
    last: list[tuple[int, int]] = []
    for item, each in enumerate(places):
        for place in reversed(each):
            length = bisect_right(ends, place)
            if length:
                before[item, place] = last[length - 1]
            if length == len(ends):
                ends.append(place)
                last.append((item, place))
            elif place < ends[length]:
                ends[length], last[length] = place, (item, place)
    row = set()
    one = last[-1] if last else None
    while one is not None:
        row.add(one[0])
        one = before.get(one)
    return row


def _states(run: Pass, batch: int) -> Iterator[int]:
    """Live bytes of a trace before and after each operator: what it lets go is gone before the
    next one allocates."""
    live, fresh, freed = 0, 0, 0
    born: set[int] = set()
    for event in run.events:
        kind, storage = decoded(event)
        if kind == LOOK:
            yield live - freed
            live += fresh - freed
            yield live
            fresh, freed = 0, 0
            born.clear()
        elif kind == BORN:
            born.add(storage)
            fresh += value(run.sizes[storage], batch)
        elif kind == 4:
            size = value(run.sizes[storage], batch)
            if storage in born:
                fresh -= size
            else:
                freed += size
