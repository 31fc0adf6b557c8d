"""The ways to divide a training step among cards, and the ways that a run may use."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import gcd, isqrt
from typing import NamedTuple

from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError
from vitcost.planner.job import Job

__all__ = ["ZERO", "Fixed", "Strategy", "Zero", "divisors", "strategies"]


class Zero(NamedTuple):
    """The exchanges of data-parallel ranks, counted in passes over the parameters or their
    gradients.

    ``reduced``: gradients are summed on every rank; ``scattered``: each rank gets its part of the
    sum; ``gathered``: weights are collected. ``each_pass``: for every micro-batch, not once a step.
    """

    name: str
    reduced: int
    scattered: int
    gathered: int
    each_pass: bool
    source: str


_ZERO = "Rajbhandari et al. 2020 (ZeRO), arXiv 1910.02054, section 7"
_FSDP = "Zhao et al. 2023 (PyTorch FSDP), arXiv 2304.11277, section 3; torch fully_shard"
ZERO: Mapping[int, Zero] = {
    0: Zero("DDP", 1, 0, 0, False, "Li et al. 2020 (DDP), arXiv 2006.15704, section 3.2"),
    1: Zero("ZeRO-1", 0, 1, 1, False, f"{_ZERO}.1: 2Φ, as much as without"),
    2: Zero("ZeRO-2", 0, 1, 1, True, f"{_ZERO}.1; {_FSDP} with reshard_after_forward=False"),
    3: Zero("ZeRO-3", 0, 1, 2, True, f"{_ZERO}.2: 3Φ; {_FSDP}"),
}


class Strategy(NamedTuple):
    """How a step is divided: ``data`` · ``tensor`` · ``pipeline`` cards, each of which runs
    ``accumulation`` micro-batches of ``micro_batch`` samples."""

    zero: int
    data: int
    tensor: int
    sequence: bool
    pipeline: int
    checkpointing: str
    micro_batch: int = 0
    accumulation: int = 0

    @property
    def name(self) -> str:
        """As a page shows it: DDP, ZeRO-2, tensor 4 + sequence."""
        parts = [ZERO[self.zero].name] if self.data > 1 else []
        if self.tensor > 1:
            parts.append(f"tensor {self.tensor}" + " + sequence" * self.sequence)
        if self.pipeline > 1:
            parts.append(f"pipeline {self.pipeline}")
        return ", ".join(parts) or "one card"


class Fixed(NamedTuple):
    """The decisions that the user has made; None: left open."""

    zero: int | None = None
    tensor_parallel: int | None = None
    sequence_parallel: bool | None = None
    pipeline_parallel: int | None = None
    checkpointing: str | None = None
    micro_batch: int | None = None


def strategies(run: Workload, job: Job, fixed: Fixed, most: int) -> Iterator[Strategy]:
    """Every way to divide a step among the cards of a run, without its micro-batch; ``most`` is the
    highest stage of ZeRO that can divide the model states.

    Raises ``ConfigError`` for a division that is not possible.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.planner.job import job
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> run = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> fixed = Fixed(tensor_parallel=1, checkpointing="none")
    >>> ways = strategies(run, job(samples=1024, global_batch=1024, gpus=8), fixed, 3)
    >>> [way.name for way in ways]
    ['DDP', 'ZeRO-1', 'ZeRO-2', 'ZeRO-3']
    """
    pipeline = fixed.pipeline_parallel or 1
    if job.cards % pipeline:
        raise ConfigError(f"pipeline_parallel {pipeline} does not divide {job.cards:,} cards")
    if pipeline > 1 and run.axis("L") % pipeline:
        raise ConfigError(f"pipeline_parallel {pipeline} does not divide depth {run.axis('L')}")
    tensors = _tensor_degrees(run, job, pipeline, fixed.tensor_parallel)
    if fixed.zero:
        tensors = [tensor for tensor in tensors if tensor * pipeline < job.cards]
        if not tensors:
            raise ConfigError(
                f"zero {fixed.zero} divides states among ranks: give ranks above 1, got 1"
            )
    _check_batch(job, pipeline, tensors, fixed)
    if fixed.sequence_parallel and max(tensors) == 1:
        raise ConfigError("sequence_parallel needs tensor_parallel ranks that share the tokens")
    checkpoints = [fixed.checkpointing] if fixed.checkpointing else ["none", "selective", "block"]
    for tensor in tensors:
        data = job.cards // (tensor * pipeline)
        if job.global_batch % data:
            continue
        # weights are not gathered anew for each micro-batch of a pipeline stage
        last = 0 if data == 1 else min(most, 1) if pipeline > 1 else most
        wanted = [fixed.zero] if fixed.zero is not None else [*range(last + 1)]
        both = [False, True] if tensor > 1 else [False]
        if fixed.sequence_parallel is not None:
            both = [sequence for sequence in both if sequence == fixed.sequence_parallel]
        for zero, sequence, checkpointing in product(wanted, both, checkpoints):
            yield Strategy(zero, data, tensor, sequence, pipeline, checkpointing)


def _check_batch(job: Job, pipeline: int, tensors: list[int], fixed: Fixed) -> None:
    """Checks that all cards share the samples of a step evenly, unless the user decides how."""
    ranks = job.cards // (pipeline * (fixed.tensor_parallel or 1))
    if job.global_batch % ranks == 0:
        return
    others = [t for t in tensors if job.global_batch % (job.cards // (pipeline * t)) == 0]
    hint = f"; with tensor_parallel {others[0]} it would be" if others else ""
    raise ConfigError(
        f"global_batch {job.global_batch:,} is not divisible by {ranks:,} data-parallel ranks{hint}"
    )


def _tensor_degrees(run: Workload, job: Job, pipeline: int, wanted: int | None) -> list[int]:
    """How many cards may share a layer: all inside one node, each with whole heads."""
    cards = job.cards // pipeline
    if wanted in (None, 1) and "a" not in run.sizes:
        # layers of a model without heads are not divided
        return [1]
    heads = gcd(run.axis("a"), run.axis("m"), *run.kv_heads)
    if wanted is None:
        return divisors(gcd(heads, job.gpus, cards))
    if heads % wanted:
        raise ConfigError(
            f"tensor_parallel {wanted} does not divide heads and mlp_dim, which {heads} does"
        )
    if job.gpus % wanted or cards % wanted:
        raise ConfigError(
            f"tensor_parallel {wanted} does not divide the {job.gpus} cards of a node"
        )
    return [wanted]


def divisors(n: int) -> list[int]:
    """All divisors of ``n`` in order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    low = [i for i in range(1, isqrt(n) + 1) if n % i == 0]
    return sorted({*low, *(n // i for i in low)})
