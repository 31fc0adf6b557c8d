"""The loss of a traced step: the user's, the model's own, or one that fits its output."""

import inspect
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vitcost.errors import ConfigError, shown
from vitcost.traced.leaves import leaves
from vitcost.traced.stops import NoStep

__all__ = ["Loss", "Targets"]


class Targets(Protocol):
    """A running step that lends the caller's class indices."""

    def targets(self, size: int, device: torch.device) -> Tensor:
        """Class indices, one for each image."""


class Loss:
    """Maps an output (and the batch, if the function takes two arguments) to a scalar. After a run,
    ``note`` says how the loss was computed. The caller holds the targets of a cross entropy, one
    index for each image."""

    def __init__(self, function: Callable[..., Any] | None = None, name: str = "") -> None:
        self.function, self.name, self.note = function, name, ""

    def __call__(self, output: Any, batch: Any, size: int, run: Targets) -> Tensor:
        if self.function is not None:
            self.note = f"loss {self.name}"
            return _scalar(_called(self.function, output, batch), self.name)
        loss = _own(output)
        if isinstance(loss, Tensor):
            self.note = "loss: the output's own"
            return _scalar(loss, "the output's own loss")
        logits = getattr(output, "logits", None)
        outputs = leaves(output if logits is None else logits)
        floats = [t for t in outputs if isinstance(t, Tensor) and t.is_floating_point()]
        floats = [t for t in floats if t.requires_grad]
        if not floats:
            raise NoStep("no gradient reaches an output: nothing trains that it depends on")
        matrices = [t for t in floats if t.dim() == 2 and len(t) == size]
        if not matrices:
            self.note = "loss: the mean of every float output"
            return reduce(add, [t.mean() for t in floats])
        del outputs, floats
        targets = run.targets(size, matrices[0].device)
        which = "logits" if len(matrices) == 1 else f"each of {len(matrices)} matrices"
        self.note = f"loss: cross entropy of {which} on class indices"
        return reduce(add, [functional.cross_entropy(t, targets) for t in matrices])


def _own(output: Any) -> Any:
    return output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)


def _called(function: Callable[..., Any], output: Any, batch: Any) -> Any:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(output)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return function(output, batch) if len(required) == 2 else function(output)


def _scalar(loss: Any, name: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ConfigError(f"{name} must give one number to go back from, got {shown(loss)}")
    if not loss.requires_grad:
        raise NoStep(f"{name} depends on nothing that trains")
    return loss
