"""The same step on real CPU tensors: what a trace is held against."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vitcost.check.step_witnesses import Allocated, allocated
from vitcost.engine import live
from vitcost.engine.ops import Sizes
from vitcost.traced.alive import upper
from vitcost.traced.batch_sizes import value
from vitcost.traced.module_rows import rows
from vitcost.traced.trace import ITEMSIZE, Trace

__all__ = ["Step", "real", "traced"]


class Step(NamedTuple):
    """A training step without optimizer: FLOPs, those that run again included; bytes."""

    forward: int
    backward: int
    saved: int
    peak: int


def traced(trace: Trace, batch: int) -> Step:
    """What a trace says of a batch."""
    assert trace.step is not None, trace.missing
    cost = rows(trace.step, trace.weights, batch).cost
    again = sum(value(o.flops, batch) for n, _ in trace.step.calls
                for o in [trace.step.operators[n]] if o.phase == "recomputation")  # fmt: skip
    buffers = trace.buffers if trace.step_buffers is None else trace.step_buffers
    lasting = sum(
        ITEMSIZE[w.dtype] * torch.Size(w.shape).numel() for w in (*trace.weights, *buffers)
    )
    lasting += value(trace.step.batch_bytes, batch)
    top = live.peak(upper(trace.step), Sizes(b=batch)).peak_bytes
    return Step(cost.flops, cost.backward_flops + again, cost.saved_bytes, lasting + top)


def loss_of(output: Any, size: int) -> Tensor:
    """The documented default, written again: the output's own loss, cross entropy of each matrix,
    else the mean of every float output."""
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if own is not None:
        return own
    logits = getattr(output, "logits", None)
    floats = [
        t
        for t in tree_leaves(output if logits is None else logits)
        if isinstance(t, Tensor) and t.is_floating_point() and t.requires_grad
    ]
    matrices = [t for t in floats if t.dim() == 2 and len(t) == size]
    if matrices:
        targets = TARGETS[size]
        USED.add(size)
        losses = [functional.cross_entropy(t, targets) for t in matrices]
    else:
        losses = [t.mean() for t in floats]
    del floats, matrices
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total


# the caller's targets, and those that a loss took
USED: set[int] = set()
TARGETS = {size: torch.zeros(size, dtype=torch.long) for size in range(1, 70)}


class _Run:
    """What ``check.steps.allocated`` asks of a step."""

    def __init__(self, model: nn.Module, run: Callable[[], None]) -> None:
        self.model, self.run, self.optimizer = model, run, self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None


def real(
    model: nn.Module,
    make: Callable[[int], Any],
    batch: int,
    autocast: torch.dtype | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> Step:
    """A step on real tensors, by autograd's hooks, torch's FLOP counter and the CPU's allocator."""
    model.train()
    USED.clear()
    with torch.no_grad():
        given = make(batch)
    inputs = [t for t in tree_leaves(given) if isinstance(t, Tensor)]

    def once(split: Callable[[], None] | None = None) -> None:
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            if loss is not None:
                value = loss(_call(model, given), given)
            else:
                value = loss_of(_call(model, given), batch)
        if split is not None:
            split()
        value.backward()  # type: ignore[no-untyped-call]

    step = _Run(model, once)
    saved, forward, backward = _counted(model, inputs, once)
    step.zero_grad()
    with _collected():
        once()
        found: Allocated = allocated(step)  # type: ignore[arg-type]
    targets = 8 * batch if USED else 0
    lasting = {
        t.untyped_storage()._cdata: t.untyped_storage().nbytes()
        for t in (*model.parameters(), *model.buffers(), *_plain(model), *inputs)
    }
    return Step(forward, backward, saved, sum(lasting.values()) + targets + found.tensor_bytes)


def _call(model: nn.Module, given: Any) -> Any:
    if isinstance(given, dict):
        return model(**given)
    return model(*given) if isinstance(given, tuple | list) else model(given)


def _counted(
    model: nn.Module, inputs: list[Tensor], once: Callable[..., None]
) -> tuple[int, int, int]:
    known = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers(), *inputs)}
    known |= {t.untyped_storage()._cdata for t in (*TARGETS.values(), *_plain(model))}
    packed: list[ref[_Packed]] = []

    def pack(tensor: Tensor) -> _Packed:
        handle = _Packed(tensor)
        packed.append(ref(handle))
        return handle

    def saved() -> int:
        """Bytes that are still kept: a part of the graph that no gradient reaches is let go."""
        handles = [handle for each in packed if (handle := each()) is not None]
        storages = {s._cdata: s.nbytes() for h in handles for s in [h.tensor.untyped_storage()]}
        return sum(n for key, n in storages.items() if key not in known)

    sums: list[int] = []
    total: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, _Packed.unpacked):
        once(lambda: total.append(saved()))
    rules = {torch.ops.aten.convolution_backward: _convolved}
    counter = FlopCounterMode(display=False, custom_mapping=rules)
    with sdpa_kernel(SDPBackend.MATH), counter:
        once(lambda: sums.append(counter.get_total_flops()))
    return total[0], sums[0], counter.get_total_flops() - sums[0]


def _convolved(*args: Any, out_shape: Any = None, **_: Any) -> int:
    """Products of the gradients of a convolution's input and of its weight: each those of the
    forward. torch's own rule has the weight's for every pair of channels, whatever the groups."""
    gradient, x, weight, *_, transposed, _, _, asked = args
    positions = prod((x if transposed else gradient)[2:])
    return 2 * x[0] * positions * prod(weight) * sum(asked[:2])


class _Packed:
    """A handle that autograd keeps in place of a tensor; it holds no graph of the tensor's."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.needs = tensor.detach(), tensor.requires_grad

    def unpacked(self) -> Tensor:
        return self.tensor.requires_grad_() if self.needs else self.tensor


def _plain(model: nn.Module) -> list[Tensor]:
    return [t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor)]


@contextmanager
def _collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
