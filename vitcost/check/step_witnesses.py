"""Witnesses of a training step: torch's own trackers of memory. The step is the one of
``vitcost.engine.step_trace``: a second step, after a first one has made the optimizer's states."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import takewhile
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile

from vitcost.check.counters import fill
from vitcost.check.installed import timm
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.optimizers import Optimizer as Row
from vitcost.errors import NotCovered

__all__ = [
    "Allocated",
    "Loss",
    "Step",
    "allocated",
    "cross_entropies",
    "means",
    "on_card",
    "optimizer",
    "tracked",
    "valued",
]

MakeOptimizer: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
Loss: TypeAlias = Callable[[Any, Tensor], Tensor]


def optimizer(name: str) -> MakeOptimizer:
    """The optimizer that a scenario names. torch chooses between its loop and its foreach code
    unless the name decides it. Raises ``NotCovered`` if its class is not installed.

    >>> optimizer("adamw-foreach")([nn.Parameter(torch.zeros(1))]).defaults["foreach"]
    True
    """
    row = OPTIMIZERS[name]
    if not row.rest:
        return _made(name, row)
    return partial(Apart, _made(name, row), optimizer(row.rest))


def _made(name: str, row: Row) -> MakeOptimizer:
    package, _, kind = row.real.rpartition(".")
    if package.startswith("timm"):
        package = package.replace("timm", timm().__name__, 1)
    try:
        module = import_module(package)
    except ModuleNotFoundError as why:
        raise NotCovered(f"a real step of optimizer {name}: {why.name} is not installed") from None
    if not hasattr(module, kind):
        raise NotCovered(f"a real step of optimizer {name}: {package} has no {kind}")
    return partial(getattr(module, kind), lr=1e-3, **row.options)


class Apart(Optimizer):
    """Two optimizers as one: the first steps the matrices of a model, then the second steps all
    other tensors."""

    def __init__(
        self, for_matrices: MakeOptimizer, rest: MakeOptimizer, parameters: Iterable[nn.Parameter]
    ) -> None:
        trained = list(parameters)
        super().__init__(trained, {})
        matrices = [p for p in trained if p.ndim == 2]
        others = [p for p in trained if p.ndim != 2]
        pairs = ((for_matrices, matrices), (rest, others))
        self.parts = [make(some) for make, some in pairs if some]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()
            self.state.update(part.state)


def cross_entropies(logits: Any, targets: Tensor) -> Tensor:
    """The loss of a step: the cross entropy of every head, over all tokens that have scores."""
    return _each(lambda one: functional.cross_entropy(one.flatten(0, -2), targets), logits)


def means(features: Any, targets: Tensor) -> Tensor:
    """The loss of a step without class scores: the mean of every output."""
    return _each(torch.mean, features)


def _each(loss: Callable[[Tensor], Tensor], outputs: Any) -> Tensor:
    if isinstance(outputs, tuple):
        first, second = map(loss, outputs)
        return first + second
    return loss(outputs)


class Step:
    """A model in training mode with its batch and its optimizer, and one step of them. ``vectors``
    is the number of score vectors, each with a target; by default one for each image."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        make: MakeOptimizer,
        autocast: torch.dtype | None = None,
        loss: Loss = cross_entropies,
        vectors: int | None = None,
    ) -> None:
        self.model, self.images, self.autocast = model.train(), images, autocast
        self.loss = loss
        number = len(images) if vectors is None else vectors
        self.targets = torch.zeros(number, dtype=torch.long, device=images.device)
        self.optimizer = make(p for p in model.parameters() if p.requires_grad)
        self.run()
        self.optimizer.zero_grad(set_to_none=True)

    def run(self) -> None:
        """One step: zero_grad, forward, loss, backward, optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        kind, dtype = self.images.device.type, self.autocast
        with torch.autocast(kind, dtype or torch.bfloat16, enabled=dtype is not None):
            loss = self.loss(self.model(self.images), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @property
    def lasting(self) -> list[Tensor]:
        """The tensors that are in memory before and after a step."""
        states = [t for state in self.optimizer.state.values() for t in state.values()]
        tensors = [t for t in states if isinstance(t, Tensor)]
        weights = (*self.model.parameters(), *self.model.buffers())
        return [self.images, self.targets, *weights, *tensors, *self.shared]

    @property
    def shared(self) -> list[Tensor]:
        """Tensors that an optimizer keeps once for all parameters."""
        values = [value for group in self.optimizer.param_groups for value in group.values()]
        return [value for value in values if isinstance(value, Tensor)]


def tracked(
    model: nn.Module,
    shape: Iterable[int],
    make: MakeOptimizer,
    autocast: torch.dtype | None = None,
    loss: Loss = cross_entropies,
    vectors: int | None = None,
) -> int:
    """The peak of a step as torch's MemTracker sees it on fake tensors: everything in memory.

    The model may be on the meta device. Nothing is allocated, and all tensors have the CPU's
    shapes.
    """
    with warnings.catch_warnings(), FakeTensorMode():
        # a checkpointed block breaks the tracker's attribution to modules, not its total
        warnings.filterwarnings("ignore", message="Module is None")
        dtype = next(model.parameters()).dtype
        fill(model, lambda t: torch.empty(t.shape, dtype=t.dtype))
        images = torch.empty(*shape, dtype=dtype)
        step = Step(model, images, valued(make), autocast, loss, vectors)
        tracker = MemTracker()
        tracker.track_external(step.model, step.optimizer, step.images, step.targets, *step.shared)
        with tracker:
            step.run()
        peak = tracker.get_tracker_snapshot("peak")
        return sum(device["Total"] for device in peak.values())


def valued(make: MakeOptimizer) -> MakeOptimizer:
    """An optimizer whose step reads the value 2.0 from each of its counters and norms, because fake
    tensors have no values. A forward that reads a value still stops."""

    def made(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer, item = make(parameters), Tensor.item

        def enter(*_: Any) -> None:
            Tensor.item = lambda self: 2.0  # type: ignore[method-assign]

        def leave(*_: Any) -> None:
            Tensor.item = item  # type: ignore[method-assign]

        optimizer.register_step_pre_hook(enter)
        optimizer.register_step_post_hook(leave)
        return optimizer

    return made


class Allocated(NamedTuple):
    """The peak of a step as an allocator measures it, without tensors that outlive the step.
    ``tensor_bytes`` is the most bytes of tensors that operators return; ``total_bytes`` counts
    everything, and ``others`` has the workspace at that moment, by operator."""

    tensor_bytes: int
    total_bytes: int
    others: Mapping[str, int]


def allocated(step: Step) -> Allocated:
    """The most bytes that a step allocates, from the events of the CPU's allocator in torch's
    profiler.

    An allocation that is freed within the same operator call is workspace; an allocation outside of
    any operator is not a tensor of the model.
    """
    step.optimizer.zero_grad(set_to_none=True)
    # otherwise the profiler prints to stderr when it starts and stops
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step.run()
    results: Any = profiler.profiler
    tree = results.kineto_results.experimental_event_tree()
    events = sorted(
        (event for root in tree for event in _memory(root, None)), key=lambda event: event[0]
    )
    apart = _apart(events)
    now = others = tensors = total = 0
    alive: Counter[str] = Counter()
    most: Mapping[str, int] = {}
    for i, (*_, size) in enumerate(events):
        now += size
        if i in apart:
            others += size
            alive[apart[i]] += size
        tensors = max(tensors, now - others)
        if now > total:
            total, most = now, {name: n for name, n in alive.items() if n}
    return Allocated(tensors, total, most)


class Call(NamedTuple):
    """One call of an operator, as a dispatch mode sees it."""

    name: str
    start: int


# an allocation: time, call, address, bytes
Allocation: TypeAlias = tuple[int, Call | None, int, int]

# bytes of tensors that Python allocates outside of operators
_OUTSIDE = {
    8: "numbers of Python that operators keep as tensors",
    torch.get_rng_state().nbytes: "state of the random generator, for what runs again",
}


def _apart(events: Sequence[Allocation]) -> Mapping[int, str]:
    """The allocations that are not tensors of the model, their frees, and the operators that make
    them."""
    births: dict[int, int] = {}
    apart = {}
    for i, (_, call, address, size) in enumerate(events):
        if size > 0:
            births[address] = i
            continue
        first = births.pop(address, i)
        born = events[first][1]
        if born is not None and born == call:
            apart[first] = apart[i] = f"workspace of {born.name}"
        elif born is None and first != i and -size in _OUTSIDE:
            apart[first] = apart[i] = _OUTSIDE[-size]
    return apart


def _memory(event: Any, call: Call | None) -> Iterator[Allocation]:
    """The allocations inside an event of the profiler."""
    if "Allocation" in str(event.tag):
        yield event.start_time_ns, call, event.extra_fields.ptr, event.extra_fields.alloc_size
        return
    before = 0
    if call is None and _is_seen(event.name):
        before = _made_before(event)
        call = Call(event.name.removeprefix("aten::"), event.start_time_ns)
    for i, child in enumerate(event.children):
        yield from _memory(child, None if i < before else call)


def _made_before(event: Any) -> int:
    """How many operators torch's dispatcher calls before it shows an operator to a dispatch mode:
    casts for autocast, after which the operator is called again; or copies of tensors with a
    pending conjugate or negative (MathBitFallback.h)."""
    names = [child.name for child in event.children]
    casts = len(list(takewhile(lambda name: name == "aten::to", names)))
    if casts and event.name in names:
        return casts
    return len(list(takewhile(lambda name: name == "aten::clone", names)))


@cache
def _is_seen(name: str) -> bool:
    """Whether a dispatch mode sees an operator itself, not the operators that it calls."""
    packet = getattr(torch.ops.aten, name.removeprefix("aten::"), None)
    if packet is None or not name.startswith("aten::"):
        return False
    overloads = [f"{name}.{each}" for each in packet.overloads() if "out" not in each]
    names = [each.removesuffix(".default") for each in overloads]
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    known = [each for each in names if torch._C._dispatch_has_kernel(each)]
    return any(not has(each, "CompositeImplicitAutograd") for each in known)


def on_card(step: Step) -> int:
    """The peak of a step as the allocator of a CUDA card measures it: everything in memory."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step.run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated())
