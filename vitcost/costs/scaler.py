"""``torch.amp.GradScaler``: the bytes that it keeps, and those that a step allocates.

The step is that of torch's documentation, which scales the loss and steps each optimizer by the
scaler::

    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()

Source: torch 2.13, torch/amp/grad_scaler.py.
"""

from vitcost.config.optimizers import Optimizer
from vitcost.config.scenario import Scenario
from vitcost.engine.ops import Size, largest
from vitcost.engine.workload import Workload

__all__ = ["scaled", "scaler_bytes"]

# the scale in float32, and the number of steps since it grew, in int32
_KEPT = 4 + 4
# unscale_ allocates the scale and its inverse in float64; or the inverse and found_inf in float32,
# with the copies of both that _MultiDeviceReplicator makes
_UNSCALING = 8 + 8
# the all-reduce of found_inf over the ranks of fully_shard makes a tensor of its own:
# torch/distributed/tensor/_dispatch.py, found_inf_reduce_handler
_REDUCED = 4
# found_inf has 4 bytes and lives until update(); a fused kernel receives two more tensors of 4
# bytes: a second found_inf, and the scale
_FOUND, _HANDED = 4, 4 + 4


def scaler_bytes(scenario: Scenario) -> int:
    """Bytes that the scaler of a scenario keeps: the scale and the steps since it grew, ``4 + 4``.

    >>> scaler_bytes(Scenario(precision="amp-fp16", grad_scaler=True)), scaler_bytes(Scenario())
    (8, 0)
    """
    return _KEPT if scenario.grad_scaler else 0


def scaled(number: int, row: Optimizer, run: Workload, allocated: Size) -> Size:
    """The most temporary bytes of an optimizer's step under the scaler: ``4 · number + max(16, 4 +
    allocated)``. The step itself allocates ``allocated`` bytes. ``number`` optimizers have stepped
    before it, and each left a ``found_inf``.

    Before the step the gradients are unscaled, with 16 bytes for the scale and its inverse, and 4
    more if ranks share gradients; a fused kernel receives 8 bytes more.

    >>> from vitcost.config.optimizers import OPTIMIZERS
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> how = Scenario(mode="train", precision="amp-fp16", grad_scaler=True)
    >>> run = workload(resolve("vit_tiny_patch16_224").config, how)
    >>> [scaled(0, OPTIMIZERS[name], run, 0) for name in ("sgd", "adamw-fused")]
    [16, 16]
    >>> [scaled(0, OPTIMIZERS[name], run, 1000) for name in ("sgd", "adamw-fused")]
    [1004, 1012]
    """
    scenario = run.scenario
    if not scenario.grad_scaler:
        return allocated
    # ZeroRedundancyOptimizer hides that the optimizer in it is fused
    handed = _HANDED if row.step == "fused" and scenario.zero != 1 else 0
    unscaling = _UNSCALING + (_REDUCED if scenario.zero > 1 else 0)
    return number * _FOUND + largest(unscaling, _FOUND + handed + allocated)
