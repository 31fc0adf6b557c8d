"""What a batch needs on one card: the number that ``fit`` inverts, the one that a report has."""

from dataclasses import replace
from typing import NamedTuple

from vitcost import memory
from vitcost.engine.cost import Cost, fold
from vitcost.engine.live import peak
from vitcost.engine.lower import lower
from vitcost.engine.model import Config, sizes_of, structure_of
from vitcost.engine.step import inference_trace
from vitcost.engine.workload import mode_of, workload
from vitcost.errors import NotCovered
from vitcost.scenario import Scenario

__all__ = ["Need", "executed_flops", "need", "needed"]


class Need(NamedTuple):
    """The most bytes of tensors alive at one moment, and where that is.

    ``basis``: ``exact``, or ``bounded`` where no exact peak is known; the moment needs no more, as
    long as ``assumed`` holds.
    """

    total_bytes: int
    at: str
    basis: str
    assumed: tuple[str, ...] = ()


def need(config: Config, scenario: Scenario, batch: int) -> Need:
    """What a batch needs: in inference the forward pass, in training a steady step.

    For a batch of two or more nothing but the axis b depends on the batch, so that every moment is
    a sum of tensors whose bytes are a power of b, and the peak is the largest of such sums: it
    rises with b and is convex. A batch of one runs other operators, and may need more than two.

    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> need(base, Scenario(mode="train"), 64)
    Need(total_bytes=8730708904, at='backward of blocks.11.mlp.fc2', basis='exact', assumed=())
    """
    if hasattr(config, "workload"):
        return _traced(config, scenario, batch)
    if scenario.mode == "infer":
        return _inference(config, scenario, batch)
    return needed(memory.training(config, scenario, batch))


def needed(step: memory.Training) -> Need:
    """The bytes of a training step; ``NotCovered`` where there is none."""
    if step.peak_bytes is None:
        raise NotCovered(step.missing or "this training step")
    return Need(step.peak_bytes, step.peak_at or "", step.peak_is or "", step.assumed)


def _traced(config: Config, scenario: Scenario, batch: int) -> Need:
    """What a batch of a traced module needs, by polynomials in the batch from 2 on."""
    from vitcost import traced_memory

    run = traced_memory.traced(config, scenario, batch)
    if scenario.mode == "infer":
        top = peak(run.inference(), run.sizes)
        return Need(traced_memory.inference(run).total_bytes, top.place, "exact")
    return needed(traced_memory.training(run))


def _inference(config: Config, scenario: Scenario, batch: int) -> Need:
    sizes = sizes_of(config, batch)
    structure, mode = structure_of(config, batch), mode_of(config, scenario)
    tree = lower(structure, mode)
    top = peak(inference_trace(structure, mode), sizes)
    found = memory.inference(fold(tree, sizes).cost.params, tree, sizes, top.peak_bytes, scenario)
    return Need(found.total_bytes, top.place, "exact")


def executed_flops(config: Config, scenario: Scenario, batch: int) -> int:
    """FLOPs that a step executes: recomputation and what a fused attention does again included."""
    cost = _cost(config, scenario, batch)
    if scenario.mode == "infer":
        return cost.executed_flops
    return cost.executed_flops + cost.executed_backward_flops


def _cost(config: Config, scenario: Scenario, batch: int) -> Cost:
    training = scenario.mode == "train"
    if hasattr(config, "workload"):
        return workload(config, replace(scenario, batch=batch)).rows().cost
    tree = lower(structure_of(config, batch, training), mode_of(config, scenario))
    return fold(tree, sizes_of(config, batch)).cost
