"""The tensors alive while operators run, of a real model and of the formulas."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitcost.check.step_witnesses import Step
from vitcost.engine.forward_trace import forward_trace
from vitcost.engine.live import Peak, peak
from vitcost.engine.ops import Sizes
from vitcost.engine.tree import Node

__all__ = ["Alive", "declared_peak", "forward_peak", "looks"]


def looks(step: Step) -> list[int]:
    """Bytes alive after each operator of a step, without tensors that outlive it."""
    alive = Alive(step.lasting)
    with alive:
        step.run()
    return alive.seen


def forward_peak(model: nn.Module, images: Tensor, autocast: torch.dtype | None = None) -> int:
    """The most bytes of tensors alive after any operator of a forward pass without gradients."""
    alive = Alive([images, *model.parameters(), *model.buffers()])
    on = torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None)
    with alive, torch.no_grad(), on:
        model(images)
    return max(alive.seen)


def declared_peak(tree: Node, sizes: Sizes, in_place: bool = True) -> Peak:
    """The same by the formulas: no parameters and no inputs."""
    return peak(forward_trace(tree, in_place), sizes)


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that an operator returns until Python frees it."""

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
