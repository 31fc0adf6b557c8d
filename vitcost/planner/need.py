"""The bytes that a batch needs on one card: the number of a report, which ``fit`` inverts."""

from typing import NamedTuple

from vitcost.costs import memory, memory_types
from vitcost.engine.live import peak
from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered

__all__ = ["Need", "executed_flops", "need", "needed"]


class Need(NamedTuple):
    """The most bytes of tensors alive at one moment, and the place of that moment.

    ``basis`` is ``exact``, or ``bounded`` if no exact peak is known: the true peak is not larger if
    ``assumed`` holds.
    """

    total_bytes: int
    at: str
    basis: str
    assumed: tuple[str, ...] = ()


def need(run: Workload) -> Need:
    """The bytes of a batch: in inference those of the forward pass, in training those of a steady
    step. Raises ``NotCovered`` if neither an exact number nor a bound is known.

    For a batch of two or more only the axis b depends on the batch. The bytes of each tensor are
    proportional to a power of b, each moment is a sum of tensors, and the peak is the largest
    moment: it rises with b and is convex. A batch of one runs other operators, and may need more
    than a batch of two.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> need(base.at(64))
    Need(total_bytes=8730708904, at='backward of blocks.11.mlp.fc2', basis='exact', assumed=())
    """
    if run.training and not run.no_step:
        # the peak does not need the bytes saved for backward
        return needed(memory.with_peak(memory.states(run, None), run))
    if run.training:
        return needed(memory.step(run))
    top = peak(run.inference(), run.sizes)
    basis = "bounded" if run.at_most(training=False) else "exact"
    return Need(memory.inference(run, top.peak_bytes).total_bytes, top.place, basis)


def needed(step: memory_types.Training) -> Need:
    """The bytes of a training step. Raises ``NotCovered`` if there is no step.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> needed(memory.step(base)).total_bytes
    8730708904
    """
    if step.peak_bytes is None:
        raise NotCovered(step.missing or "this training step")
    return Need(step.peak_bytes, step.peak_at or "", step.peak_is or "", step.assumed)


def executed_flops(run: Workload) -> int:
    """FLOPs that a step executes, ``forward + backward``, including recomputation by checkpoints
    and by fused attention.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> executed_flops(workload(resolve("vit_base_patch16_224").config, Scenario()))
    35127656448
    """
    cost = run.rows().cost
    return cost.executed_flops + run.training * cost.executed_backward_flops
