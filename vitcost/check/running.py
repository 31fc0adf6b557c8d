"""A module of the user's that really runs, with its own tensors, inputs and loss, and an
optimizer."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vitcost.check.counters import Packed
from vitcost.check.step_witnesses import optimizer
from vitcost.config.scenario import Scenario
from vitcost.traced import apply_flags
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.fake_run import AUTOCASTS, CASTS, no_fast_path, uncollected
from vitcost.traced.fakes import attributes, put, types_of, unchanged
from vitcost.traced.inputs import Arguments
from vitcost.traced.module_traces import OfModule
from vitcost.traced.trace import how_of

__all__ = ["Running", "kept", "running"]


class Running:
    """A module in training mode with a batch and a loss, and its training steps."""

    def __init__(
        self, model: nn.Module, arguments: Arguments, loss: Loss, scenario: Scenario, device: str
    ) -> None:
        self.model, self.given, self.criterion = model, arguments, loss
        self.batch, self.device = scenario.batch, device
        self.dtype = AUTOCASTS.get(scenario.precision)
        self.optimizer: Any = self
        self._targets: dict[int, Tensor] = {}

    def autocast(self) -> Any:
        dtype = self.dtype or torch.bfloat16
        return torch.autocast(self.device, dtype, enabled=self.dtype is not None)

    def forward(self) -> Any:
        return self.model(*self.given.args, **self.given.kwargs)

    def loss(self) -> Tensor:
        with self.autocast():
            output = [self.forward()]
            return self.criterion(output.pop(), self.given.batch, self.batch, self)

    def targets(self, size: int, device: torch.device) -> Tensor:
        """Class indices that the caller holds; they exist before the step."""
        if size not in self._targets:
            self._targets[size] = torch.zeros(size, dtype=torch.long, device=device)
        return self._targets[size]

    def start(self, name: str) -> None:
        """Makes an optimizer and runs its first step, so that its states exist."""
        self.optimizer = optimizer(name)(p for p in self.model.parameters() if p.requires_grad)
        self.run()
        self.optimizer.zero_grad(set_to_none=True)

    def run(self) -> None:
        """One step: zero_grad, forward, loss, backward, optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        del loss

    def storages(self) -> list[Any]:
        """The storages that are in memory both before and after a step."""
        states = getattr(self.optimizer, "state", {}).values()
        tensors: list[Any] = [t for state in states for t in state.values()]
        tensors += [*self.model.parameters(), *self.model.buffers(), *self._targets.values()]
        tensors += [t for m in self.model.modules() for _, t in attributes(m)]
        tensors += self.given.tensors()
        return [t.untyped_storage() for t in tensors if isinstance(t, Tensor)]

    @property
    def lasting(self) -> dict[int, int]:
        """The bytes of the storages in memory before and after a step."""
        return {storage._cdata: storage.nbytes() for storage in self.storages()}


@contextmanager
def running(traces: OfModule, scenario: Scenario, device: str) -> Iterator[Running]:
    """The module of these traces on a device, changed by the flags of a scenario; the original is
    left as it was."""
    how, dtype = how_of(scenario), CASTS.get(scenario.precision)
    with ExitStack() as stack:
        stack.enter_context(unchanged(traces.module))
        model = traces.module
        put(model, device, types_of(model, dtype), _real)
        apply_flags.adapt(model, how.lora, how.lora_layers)
        apply_flags.freeze(model, how.freeze)
        model.train()
        apply_flags.recompute(model, how.checkpointing)
        inputs = traces.inputs.at(scenario.batch, device, dtype)
        for tensor in inputs.tensors():
            # an index must be within the range of its table, so zeros are used
            tensor.detach().zero_()
        stack.enter_context(apply_flags.attention(model, how.attention, "cpu"))
        stack.enter_context(no_fast_path())
        gc.collect()
        stack.enter_context(uncollected())
        yield Running(model, inputs, traces.criterion(), scenario, device)


def _real(tensor: Tensor, dtype: torch.dtype, device: str) -> Tensor:
    if not tensor.is_meta:
        return tensor.detach().clone().to(device, dtype)
    # tensors on the meta device have no values
    new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=device)
    return new.zero_()


def kept(real: Running) -> int:
    """Bytes that autograd holds after the loss is computed, each storage once, without parameters,
    buffers and the caller's tensors."""
    real.loss()
    # each forward leaves a new tensor on the module in place of the last one, which is kept alive
    # here so that its id is not reused
    before = real.storages()
    packed: list[weakref.ref[Packed]] = []

    def pack(tensor: Tensor) -> Packed:
        handle = Packed(tensor.detach())
        packed.append(weakref.ref(handle))
        return handle

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda handle: handle.kept):
        loss = real.loss()
    known = {storage._cdata for storage in before}
    sizes: dict[int, int] = {}
    for reference in packed:
        handle = reference()
        if handle is not None:
            storage = handle.kept.untyped_storage()
            if storage._cdata not in known:
                sizes[storage._cdata] = storage.nbytes()
    del loss
    return sum(sizes.values())
