"""The levers of a step that does not fit, one row each, with the scenarios that each of them
offers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from math import isqrt
from typing import NamedTuple

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.engine.workload import Workload

__all__ = ["LEVERS", "Lever", "kernels", "levers"]


class Lever(NamedTuple):
    """A lever, and the scenarios that it offers. ``states``: whether it shrinks memory that
    outlives the forward pass, so that checkpointing beside it shrinks the rest too."""

    name: str
    others: Callable[[Workload], Iterator[Scenario]]
    states: bool = False


# quarters of the blocks
_QUARTERS = (1, 2, 3)
_RANK = 8
# the most micro-batches of a step that are tried
_MOST_PARTS = 1024


def kernels(scenario: Scenario, narrow: str) -> Iterator[Scenario]:
    """Other precisions, attention kernels and checkpointing, alone and combined; ``narrow`` is the
    half precision of the card.

    >>> others = list(kernels(Scenario(mode="train"), "bf16"))
    >>> len(others), others[1].checkpointing, others[-1].precision  # 3 precisions, 3 checkpoints
    (9, 'selective', 'bf16')
    """
    precisions = ("fp32", *((f"amp-{narrow}", narrow) if narrow else ()))
    if scenario.recipe != "torch":
        # a recipe fixes the precision
        precisions = (scenario.precision,)
    attentions = dict.fromkeys((scenario.attention, "sdpa"))
    checkpoints = ("none", "selective", "block") if scenario.mode == "train" else ("none",)
    for precision, attention, checkpointing in product(precisions, attentions, checkpoints):
        # fp32 shards are only possible beside weights in half precision
        narrowed = PRECISIONS[precision].engine == "half"
        yield replace(
            scenario,
            precision=precision,
            attention=attention,
            checkpointing=checkpointing,
            policy=scenario.policy if narrowed else "none",
            grad_scaler=scenario.grad_scaler and precision == scenario.precision,
        )


def levers(run: Workload) -> Iterator[Scenario]:
    """The scenarios of every lever, in the precision of the step; levers that shrink states also
    with checkpointing.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=4, mode="train"))
    >>> [(other.batch, other.accumulate) for other in levers(base) if other.accumulate > 1]
    [(2, 2), (1, 4)]
    """
    scenario = run.scenario
    if scenario.mode != "train" or scenario.recipe != "torch" or not run.at_once:
        return
    for lever in LEVERS:
        for other in lever.others(run):
            yield other
            if lever.states and other.checkpointing == "none":
                yield replace(other, checkpointing="block")


def _quarters(run: Workload) -> Iterator[int]:
    if "L" in run.sizes:
        blocks = (quarters * run.axis("L") // 4 for quarters in _QUARTERS)
        yield from (each for each in blocks if each)


def _some_blocks(run: Workload) -> Iterator[Scenario]:
    if run.scenario.checkpointing == "none":
        for blocks in _quarters(run):
            yield replace(run.scenario, checkpointing=f"first:{blocks}")


def _several_blocks(run: Workload) -> Iterator[Scenario]:
    """Checkpoints regions of K blocks: L / K inputs are saved, and K blocks are alive while one
    region reruns. The sum of both is least at K = √L."""
    if run.scenario.checkpointing == "none" and "L" in run.sizes:
        root = isqrt(run.axis("L"))
        for blocks in dict.fromkeys((2, root)):
            if 1 < blocks < run.axis("L"):
                yield replace(run.scenario, checkpointing=f"every:{blocks}")


def _micro_batches(run: Workload) -> Iterator[Scenario]:
    """Splits the batch of a step into equal micro-batches, few of them first."""
    scenario = run.scenario
    if scenario.accumulate == 1 and not scenario.optimizer_in_backward:
        for number in range(2, min(scenario.batch, _MOST_PARTS) + 1):
            if scenario.batch % number == 0:
                yield replace(scenario, batch=scenario.batch // number, accumulate=number)


def _fused(run: Workload) -> Iterator[Scenario]:
    fused = f"{run.scenario.optimizer}-fused"
    if fused in OPTIMIZERS:
        yield replace(run.scenario, optimizer=fused)


def _in_backward(run: Workload) -> Iterator[Scenario]:
    """Updates each parameter as soon as its gradient exists, unless something needs all gradients
    at once."""
    how = run.scenario
    if how.ranks == how.accumulate == 1 and how.zero_grad == "none" and not how.grad_scaler:
        yield replace(how, optimizer_in_backward=True)


def _sharded(run: Workload) -> Iterator[Scenario]:
    if run.scenario.ranks > 1:
        for zero in range(run.scenario.zero + 1, 4):
            yield replace(run.scenario, zero=zero)


def _in_bytes(run: Workload) -> Iterator[Scenario]:
    small = f"{run.scenario.optimizer.partition('-')[0]}-8bit"
    if small in OPTIMIZERS and small != run.scenario.optimizer:
        yield replace(run.scenario, optimizer=small)


def _adapters(run: Workload) -> Iterator[Scenario]:
    if run.scenario.freeze == "none" and not run.scenario.lora:
        yield replace(run.scenario, lora=_RANK)


def _frozen(run: Workload) -> Iterator[Scenario]:
    if run.scenario.freeze == "none" and not run.scenario.lora:
        yield replace(run.scenario, freeze="backbone")
        for blocks in _quarters(run):
            yield replace(run.scenario, freeze=f"first:{blocks}")


LEVERS: tuple[Lever, ...] = (
    Lever("the first blocks computed again", _some_blocks),
    Lever("several blocks computed again together", _several_blocks),
    Lever("micro-batches, whose gradients are added up", _micro_batches),
    Lever("an optimizer whose step allocates nothing", _fused, states=True),
    Lever("gradients that are let go one by one", _in_backward, states=True),
    Lever("states and weights divided among ranks", _sharded, states=True),
    Lever("states of the optimizer in fewer bits", _in_bytes, states=True),
    Lever("adapters beside frozen layers", _adapters, states=True),
    Lever("frozen layers", _frozen, states=True),
)
