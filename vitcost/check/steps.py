"""Witnesses of a training step: torch's own trackers of what is in memory.

The step is that of ``vitcost.engine.step``, the second of its kind: it runs once before it is
looked at, so that the optimizer's states exist.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Step", "adamw", "allocated", "forward_peak", "looks", "on_card", "tracked"]

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]


def adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """AdamW one parameter after the other, which is torch's choice on a CPU."""
    return torch.optim.AdamW(parameters, lr=1e-3, foreach=False)


class Step:
    """A model in training mode with its batch and its optimizer, and one step of them."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        make: MakeOptimizer = adamw,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model, self.images, self.autocast = model.train(), images, autocast
        self.targets = torch.zeros(len(images), dtype=torch.long, device=images.device)
        self.optimizer = make(p for p in model.parameters() if p.requires_grad)
        self.run()
        self.optimizer.zero_grad(set_to_none=True)

    def run(self) -> None:
        """zero_grad, forward, cross entropy of every head, backward, optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        kind, dtype = self.images.device.type, self.autocast
        with torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
            loss = _loss(self.model(self.images), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def forward_and_backward(self) -> None:
        """The same without the optimizer."""
        step, self.optimizer.step = self.optimizer.step, lambda: None  # type: ignore
        try:
            self.run()
        finally:
            self.optimizer.step = step  # type: ignore[method-assign]

    @property
    def lasting(self) -> list[Tensor]:
        """What is in memory before and after."""
        states = [t for state in self.optimizer.state.values() for t in state.values()]
        tensors = [t for t in states if isinstance(t, Tensor)]
        own = (*self.model.parameters(), *self.model.buffers())
        return [self.images, self.targets, *own, *tensors]


def _loss(logits: Any, targets: Tensor) -> Tensor:
    if isinstance(logits, tuple):
        first, second = (functional.cross_entropy(each, targets) for each in logits)
        return first + second
    return functional.cross_entropy(logits, targets)


def looks(step: Step) -> list[int]:
    """Bytes alive after each operator of a step, over what lasts."""
    alive = _Alive(step.lasting)
    with alive:
        step.run()
    return alive.seen


def forward_peak(model: nn.Module, images: Tensor, autocast: torch.dtype | None = None) -> int:
    """The most bytes of tensors alive after any operator of a forward pass without gradients."""
    alive = _Alive([images, *model.parameters(), *model.buffers()])
    on = torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None)
    with alive, torch.no_grad(), on:
        model(images)
    return max(alive.seen)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that an operator returns until Python lets it go."""

    def __init__(self, lasting: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {t.untyped_storage()._cdata for t in lasting}
        self.alive: dict[int, tuple[Any, int]] = {}
        self.seen: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        reference: Any = StorageWeakRef
        self.alive = {at: held for at, held in self.alive.items() if not held[0].expired()}
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known and storage._cdata not in self.alive:
                    self.alive[storage._cdata] = reference(storage), storage.nbytes()
        self.seen.append(sum(n for _, n in self.alive.values()))
        return output


def tracked(
    model: nn.Module,
    shape: Iterable[int],
    make: MakeOptimizer = adamw,
    autocast: torch.dtype | None = None,
) -> int:
    """The peak of a step by torch's MemTracker, everything in memory, on fake tensors.

    The model may lie on meta. Nothing is allocated, and everything has the shapes of the CPU.
    """
    with _counters(), FakeTensorMode() as mode:
        dtype = next(model.parameters()).dtype
        _fake(model, mode)
        step = Step(model, torch.empty(*shape, dtype=dtype), make, autocast)
        tracker = MemTracker()
        tracker.track_external(step.model, step.optimizer, step.images, step.targets)
        with tracker:
            step.run()
        peak = tracker.get_tracker_snapshot("peak")
        return sum(device["Total"] for device in peak.values())


def _fake(model: nn.Module, mode: FakeTensorMode) -> None:
    """Puts fake CPU tensors in place of a module's own; one that is shared stays shared."""
    made: dict[int, Any] = {}
    for module in model.modules():
        own: dict[str, Any]
        for own in (module._parameters, module._buffers):
            for name, tensor in own.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
                    trains = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if trains else fake
                own[name] = made[id(tensor)]


@contextmanager
def _counters() -> Iterator[None]:
    """Adam reads its step counters, and a fake tensor has no value."""
    adam: Any = sys.modules["torch.optim.adam"]
    value = adam._get_value
    adam._get_value = lambda counter: 2.0
    try:
        yield
    finally:
        adam._get_value = value


def allocated(step: Step, workspace: bool = False) -> int:
    """The most that a step allocates by the CPU's allocator, over what lasts.

    What one call of a kernel allocates and frees again is its workspace: left out, unless asked
    for.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step.run()
    results: Any = profiler.profiler
    tree = results.kineto_results.experimental_event_tree()
    events = sorted(event for root in tree for event in _memory(root, ""))
    skipped = set() if workspace else _workspace(events)
    now = top = 0
    for i, (*_, size) in enumerate(events):
        now += 0 if i in skipped else size
        top = max(top, now)
    return top


# when, in which call of a kernel, at which address, how many bytes
Allocation: TypeAlias = tuple[int, str, int, int]


def _workspace(events: list[Allocation]) -> set[int]:
    """The allocations, and what frees them, that lie within one call of a kernel."""
    births: dict[int, tuple[int, str]] = {}
    found = set()
    for i, (_, kernel, address, size) in enumerate(events):
        if size > 0:
            births[address] = i, kernel
        elif births.get(address, (0, ""))[1] == kernel != "":
            found |= {i, births[address][0]}
    return found


# the operators below which torch computes in kernels, and calls no other operator that a
# dispatcher's tool would see
KERNELS = {
    "_safe_softmax", "_scaled_dot_product_flash_attention_for_cpu", "_softmax",
    "_scaled_dot_product_flash_attention_for_cpu_backward", "_softmax_backward_data", "add",
    "add_", "addmm", "bmm", "cat", "convolution", "convolution_backward", "mm", "mul",
    "native_layer_norm", "native_layer_norm_backward", "sum",
}  # fmt: skip


def _memory(event: Any, kernel: str) -> Iterator[Allocation]:
    if "Allocation" in str(event.tag):
        yield event.start_time_ns, kernel, event.extra_fields.ptr, event.extra_fields.alloc_size
        return
    name = event.name.removeprefix("aten::")
    if not kernel and name in KERNELS:
        kernel = f"{name} {event.start_time_ns}"
    for child in event.children:
        yield from _memory(child, kernel)


def on_card(step: Step) -> int:
    """The peak of a step by the allocator of a CUDA card, everything in memory."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step.run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())
