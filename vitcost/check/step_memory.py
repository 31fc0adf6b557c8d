"""Compares the memory of a training step with torch: saved bytes and peak, byte for byte.

There are four witnesses. Two allocate nothing, as fake tensors have the CPU's shapes and storages.
A real step on the CPU shows the CPU's allocator, and one on a card the bytes beside tensors there.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from vitcost.check.against_torch import Case, called
from vitcost.check.checkpointed import checkpointed
from vitcost.check.counters import fill, kept
from vitcost.check.differences import Difference, ModelCheck
from vitcost.check.expected import written_out
from vitcost.check.reference import beyond, build
from vitcost.check.step_witnesses import Loss, Step, cross_entropies, means, optimizer, tracked
from vitcost.check.stepwise import Found, LeftOut, by_allocator, by_card, stepwise
from vitcost.check.trainable_models import adapted, frozen
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import loss_bytes, states, step_peak
from vitcost.costs.memory_types import StepPeak
from vitcost.engine import live
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.alive import upper
from vitcost.traced.fake_run import AUTOCASTS, CASTS
from vitcost.traced.inputs import inputs_of
from vitcost.traced.module_rows import rows
from vitcost.traced.trace import How
from vitcost.traced.traces import trace

__all__ = ["MEMORY_STEPS", "MemoryCase", "compare_memory", "scenario_of"]

# the most bytes that a card may hold beside tensors: cuBLAS keeps at most 32 MiB by default
# (CUBLAS_WORKSPACE_CONFIG); the scratch of other kernels and the rounding of blocks to 512 bytes
# are assumed to be at most a thirtieth of the rest
_CARD_WORKSPACE, _CARD_SHARE = 32 * 2**20, 30


class MemoryCase(NamedTuple):
    """A model, and the step that is compared."""

    case: Case
    scenario: Scenario

    @property
    def autocast(self) -> torch.dtype | None:
        return AUTOCASTS.get(self.scenario.precision)

    def model(self) -> nn.Module:
        """The real model on the meta device, in training mode."""
        how, case = self.scenario, self.case
        model = case.model(fused=how.attention == "sdpa", training=True)
        if how.precision in CASTS:
            model.to(CASTS[how.precision])
        if case.config.dist_token and hasattr(model, "distilled_training"):
            # timm's distilled models return both heads in training if this flag is set
            model.distilled_training = True  # type: ignore[assignment]
        freeze = "backbone" if how.lora and how.freeze == "none" else how.freeze
        frozen(model, freeze)
        if how.lora:
            adapted(model, how.lora, how.lora_layers)
        return checkpointed(model, how.checkpointing)

    @property
    def loss(self) -> Loss:
        """The loss of the formulas' step."""
        return cross_entropies if self.case.config.losses else means

    @property
    def vectors(self) -> int:
        """The number of score vectors; each has a target."""
        config = self.case.config
        each = 1 if config.global_pool else config.tokens
        return self.case.batch * each if config.losses else 0

    def step(self, device: str) -> Step:
        """The same step on a device with all numbers zero: the bytes in memory are the same."""
        model = self.model()
        fill(model, partial(torch.zeros_like, device=device))
        dtype = next(model.parameters()).dtype
        images = torch.zeros(*self.case.shape, dtype=dtype, device=device)
        make = optimizer(self.scenario.optimizer)
        return Step(model, images, make, self.autocast, self.loss, self.vectors)

    def predicted(self, platform: str = "cpu", in_place: bool = True) -> StepPeak:
        """The peak of the step according to the formulas."""
        run = workload(self.case.config, replace(self.scenario, platform=platform))
        return step_peak(states(run, 0), run, in_place=in_place)


def scenario_of(flags: Mapping[str, Any]) -> Scenario:
    """The scenario of a training step on the CPU; the attention kernel is torch's choice,
    or eager."""
    how = Scenario.of(**{**flags, "mode": "train", "platform": "cpu"})
    if how.attention not in ("sdpa", "eager"):
        raise ConfigError(
            f"attention must be sdpa or eager where torch runs, got {how.attention!r}"
        )
    # checked only here: the other comparisons run even if the optimizer's library is missing
    optimizer(how.optimizer)
    return how


def compare_memory(
    name: str, case: Case, on_step: Callable[[str], None], *, scenario: Scenario
) -> ModelCheck:
    """Runs every step of ``MEMORY_STEPS``; returns the differences and the steps that were left
    out."""
    if scenario.checkpointing == "selective" and not beyond(case.config):
        # timm's own attention cannot be split for a checkpoint; the reference is the same model
        case = Case(case.config, case.batch, build)
    return stepwise(
        name,
        MEMORY_STEPS,
        MemoryCase(case, scenario),
        on_step,
        against=case.against,
        command="check --memory",
        left_out=case.left_out,
    )


def _saved(asked: MemoryCase) -> Iterator[Found]:
    """Saved bytes by module path; for a checkpointed model only of the whole model and of modules
    whose path has one or two names."""
    case, how = asked.case, asked.scenario
    run = workload(case.config, how)
    row = run.rows()
    saved = kept(asked.model(), case.shape, asked.autocast).saved_bytes
    whole = how.checkpointing == "none"
    paths = called(case) if whole else {"", *saved.keys()}
    for e in written_out(row):
        if e.path in paths and (whole or e.path.count(".") <= 1):
            yield Difference(e.path, "saved_bytes", e.cost.saved_bytes, saved.get(e.path, 0))
    if case.config.losses:
        model, vectors = asked.model(), asked.vectors
        by_autograd = kept(model, case.shape, asked.autocast, cross_entropies, vectors).saved_bytes
        with_loss = by_autograd[""]
        formula = row.cost.saved_bytes + loss_bytes(run)
        yield Difference("", "saved_activations_bytes", formula, with_loss)


def _traced(asked: MemoryCase) -> Iterator[Found]:
    """Compares with a trace of the same step of the real model, under the rules of a CPU and of a
    card."""
    model, scenario = asked.model(), asked.scenario
    for platform in ("cpu", "cuda"):
        # the model itself has been changed by the flags
        how = How(scenario.precision, platform)
        inputs = inputs_of(model, torch.empty(asked.case.shape))
        traced = trace(model, inputs, (asked.case.batch,), how)
        run = workload(asked.case.config, replace(scenario, platform=platform))
        step = traced.step
        if step is None:
            raise NotCovered(traced.missing)
        cost, formula = rows(step, traced.weights, asked.case.batch).cost, run.rows().cost
        saved = formula.saved_bytes + loss_bytes(run)
        yield Difference("", f"saved_activations_bytes_traced_{platform}", saved, cost.saved_bytes)
        # executed FLOPs are compared: where the definition has one product, a trace sees two
        # kernels that share the values
        forward, backward = formula.executed_flops, formula.executed_backward_flops
        yield Difference("", f"flops_traced_{platform}", forward, cost.executed_flops)
        ran = cost.executed_backward_flops
        yield Difference("", f"backward_flops_traced_{platform}", backward, ran)
        actual = live.peak(upper(step), Sizes(b=asked.case.batch)).peak_bytes
        yield Difference(
            "", f"peak_bytes_traced_{platform}", live.peak(run.step(), run.sizes).peak_bytes, actual
        )


def _tracked(asked: MemoryCase) -> Iterator[Found]:
    """The peak as torch's MemTracker sees it, on fake tensors."""
    formula, model = int(asked.predicted(in_place=False).total_bytes), asked.model()
    if not all(p.requires_grad for p in model.parameters()):
        yield LeftOut("it hooks the gradient of every parameter, and some are frozen")
        return
    make = optimizer(asked.scenario.optimizer)
    actual = tracked(model, asked.case.shape, make, asked.autocast, asked.loss, asked.vectors)
    yield Difference("", "peak_bytes_tracked", formula, actual)


def _allocated(asked: MemoryCase) -> Iterator[Found]:
    """The peak as the CPU's allocator measures it."""

    def step() -> tuple[Step, int]:
        running = asked.step("cpu")
        return running, sum(t.untyped_storage().nbytes() for t in running.lasting)

    yield from by_allocator(int(asked.predicted().total_bytes), step)


def _on_card(asked: MemoryCase) -> Iterator[Found]:
    """The peak as the allocator of a CUDA card measures it; the formulas predict the
    tensors in it."""
    formula = int(asked.predicted("cuda").total_bytes)
    most = _CARD_WORKSPACE + formula // _CARD_SHARE
    known = f"not in the formulas, and taken as such up to {most:,}"
    yield from by_card(formula, lambda: asked.step("cuda"), known, most)


MEMORY_STEPS: Mapping[str, Callable[[MemoryCase], Iterator[Any]]] = {
    "saved activations, saved_tensors_hooks": _saved,
    "a step by a trace, a CPU's rules and a card's": _traced,
    "peak of a step, MemTracker": _tracked,
    "peak of a step, the CPU's allocator": _allocated,
    "peak of a step, a CUDA card": _on_card,
}
