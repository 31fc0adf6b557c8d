"""The end of a step with torch's GradScaler, or without one: backward pass and optimizer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.optim import Optimizer

from vitcost.config.scenario import Scenario


class Ending:
    """``backward`` and ``step`` as torch's documentation has them; the scaler, where a scenario has
    one, is of a device."""

    def __init__(self, how: Scenario, device: str) -> None:
        # a scale at which no gradient is infinite, or no optimizer would step
        self.scaler = torch.amp.GradScaler(device, init_scale=1.0) if how.grad_scaler else None

    def backward(self, loss: Tensor) -> None:
        # nothing holds the scaled loss but the call
        (self.scaler.scale(loss) if self.scaler else loss).backward()  # type: ignore[no-untyped-call]

    def step(self, *optimizers: Optimizer) -> None:
        for optimizer in optimizers:
            if self.scaler is None:
                optimizer.step()
            else:
                with finite():
                    self.scaler.step(optimizer)
        if self.scaler is not None:
            self.scaler.update()

    @property
    def lasting(self) -> list[Tensor]:
        """The scale and the steps that it has not grown, which the first step makes."""
        if self.scaler is None:
            return []
        kept = self.scaler._scale, self.scaler._growth_tracker
        return [tensor for tensor in kept if tensor is not None]


_ITEM = Tensor.item


def _number(tensor: Tensor) -> int | float | bool:
    return 0.0 if isinstance(tensor, FakeTensor) else _ITEM(tensor)


@contextmanager
def finite() -> Iterator[None]:
    """A fake ``found_inf`` reads 0: no gradient is infinite."""
    Tensor.item = _number  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.item = _ITEM  # type: ignore[method-assign]
