"""Compares a module's trace with the module: by torch's counters, by autograd's hooks, and by a
step that runs.

Trace and witnesses share only the module, its inputs, its loss, and the changes that flags of a
scenario make. The module is left as it was.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitcost.check.against_torch import GROUPS
from vitcost.check.counters import by_path, counting
from vitcost.check.differences import Difference, ModelCheck
from vitcost.check.expected import written_out
from vitcost.check.running import Running, kept, running
from vitcost.check.scopes import Scopes
from vitcost.check.stepwise import LARGEST_REAL, Found, by_allocator, by_card, stepwise
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.batch_sizes import value
from vitcost.traced.fake_run import no_fast_path
from vitcost.traced.module_traces import OfModule
from vitcost.traced.traced_model import TracedModel
from vitcost.traced.traced_workload import Traced

__all__ = ["COST_STEPS", "MEMORY_STEPS", "compare_own"]


class _Own:
    """A traced module under one scenario."""

    def __init__(self, model: TracedModel, scenario: Scenario) -> None:
        if not isinstance(model.traces, OfModule):
            raise ConfigError(
                f"{model.name} is a file of traces, which holds no module: check its factory"
            )
        self.model, self.traces, self.scenario = model, model.traces, scenario

    def run(self, mode: str = "train", platform: str = "cpu") -> Traced:
        how = replace(self.scenario, mode=mode, platform=platform)
        run = self.model.workload(how)
        assert isinstance(run, Traced)
        return run

    def peak(self, platform: str) -> int:
        """Bytes of tensors at the peak of a step, according to the trace."""
        run = self.run(platform=platform)
        return step_peak(states(run, 0), run).total_bytes

    def real(self, device: str) -> AbstractContextManager[Running]:
        return running(self.traces, self.scenario, device)


def compare_own(
    name: str,
    model: TracedModel,
    on_step: Callable[[str], None],
    *,
    scenario: Scenario,
    memory: bool,
) -> ModelCheck:
    """Compares the numbers in a module's trace with torch's counters and hooks, step by step."""
    steps = MEMORY_STEPS if memory else COST_STEPS
    compared = stepwise(name, steps, _Own(model, scenario), on_step, against="the module itself")
    return replace(compared, of="trace")


def _parameters(asked: _Own) -> Iterator[Difference]:
    """Parameters of the model, and of every module that shares none with another module."""
    module = asked.traces.module
    cost = asked.run("infer").rows().cost
    every = list(module.parameters())
    yield Difference("", "params", cost.params, sum(p.numel() for p in every))
    trains = sum(p.numel() for p in every if p.requires_grad)
    yield Difference("", "trainable", cost.trainable, trains)


def _forward(asked: _Own) -> Iterator[Difference]:
    """FLOPs of a forward in eval, by module."""
    counted, *_ = _counted(asked, training=False)
    yield from _by_module(asked.run("infer"), counted)


def _step(asked: _Own) -> Iterator[Difference]:
    """FLOPs of a training step, including the recomputation of checkpoints."""
    run = asked.run()
    if run.no_step:
        yield Difference("", "step", run.no_step, _fails(asked))
        return
    forward, both, beyond = _counted(asked, training=True)
    yield from _by_module(run, forward)
    assert run.trace.step is not None
    operators = [run.trace.step.operators[number] for number, _ in run.trace.step.calls]
    again = sum(value(o.flops, run.batch) for o in operators if o.phase == "recomputation")
    expected, actual = run.rows().cost.backward_flops + again, both[""] - forward[""]
    why = GROUPS if actual - expected == beyond else ""
    yield Difference("", "backward_flops", expected, actual, why)


def _by_module(run: Traced, counted: dict[str, int]) -> Iterator[Difference]:
    for e in written_out(run.rows()):
        if not e.path or e.path in counted:
            yield Difference(e.path, "flops", e.cost.flops, counted.get(e.path, 0))


def _counted(asked: _Own, training: bool) -> tuple[dict[str, int], dict[str, int], int]:
    """The counts of torch's FlopCounterMode on fake tensors: after the forward, after the backward,
    and the FLOPs that it counts too many."""
    with ExitStack() as stack:
        stack.enter_context(no_fast_path())
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        real = stack.enter_context(asked.real("cpu"))
        real.model.train(training)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        beyond: list[int] = []
        counter = stack.enter_context(counting(Scopes(real.model), beyond))
        if not training:
            with torch.no_grad(), real.autocast():
                real.forward()
            return by_path(counter), {}, 0
        loss = real.loss()
        forward = by_path(counter)
        loss.backward()  # type: ignore[no-untyped-call]
        return forward, by_path(counter), sum(beyond)


def _fails(asked: _Own) -> str:
    """Checks that torch also refuses a step if the trace has none."""
    with FakeTensorMode(allow_non_fake_inputs=True), asked.real("cpu") as real:
        try:
            real.loss().backward()  # type: ignore[no-untyped-call]
        except Exception:
            return asked.run().no_step
    return "runs"


def _saved(asked: _Own) -> Iterator[Found]:
    """Bytes saved after the loss is computed, by autograd's own hooks, on real or on fake
    tensors."""
    run = asked.run()
    if run.no_step:
        raise NotCovered(run.no_step)
    with ExitStack() as stack:
        if asked.peak("cpu") > LARGEST_REAL:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        real = stack.enter_context(asked.real("cpu"))
        yield Difference("", "saved_activations_bytes", run.rows().cost.saved_bytes, kept(real))


def _started(asked: _Own, stack: ExitStack, device: str) -> Any:
    """A step that is ready to run, with an optimizer that has its states; it ends when the stack is
    left."""
    real = stack.enter_context(asked.real(device))
    real.start(asked.scenario.optimizer)
    return real


def _allocated(asked: _Own) -> Iterator[Found]:
    """The peak as the CPU's allocator measures it."""
    with ExitStack() as stack:

        def step() -> tuple[Any, int]:
            real = _started(asked, stack, "cpu")
            return real, sum(real.lasting.values())

        yield from by_allocator(asked.peak("cpu"), step)


def _on_card(asked: _Own) -> Iterator[Found]:
    """The peak as the allocator of a CUDA card measures it: tensors, and the workspace of its
    kernels."""
    # a card's kernels allocate scratch that a trace does not see, and blocks are multiples of 512
    # bytes
    with ExitStack() as stack:
        step = partial(_started, asked, stack, "cuda")
        yield from by_card(asked.peak("cuda"), step, "no tensors of the model")


COST_STEPS: Mapping[str, Callable[[_Own], Iterator[Any]]] = {
    "parameters": _parameters,
    "forward FLOPs": _forward,
    "FLOPs of a step": _step,
    "saved activations": _saved,
}
MEMORY_STEPS: Mapping[str, Callable[[_Own], Iterator[Any]]] = {
    "saved activations, saved_tensors_hooks": _saved,
    "peak of a step, the CPU's allocator": _allocated,
    "peak of a step, a CUDA card": _on_card,
}
