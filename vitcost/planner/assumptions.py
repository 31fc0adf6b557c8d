"""The assumptions of a plan, in sentences: every number of the plan depends on them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vitcost.costs.bounded import assumed
from vitcost.hardware.cards import Card
from vitcost.page import shown
from vitcost.planner.choose import PlanRow
from vitcost.planner.job import Job
from vitcost.planner.pace import Pace
from vitcost.planner.rank import tensor_missing
from vitcost.planner.reserve import Reserve, said
from vitcost.planner.strategies import ZERO

__all__ = ["assumptions"]


def assumptions(pace: Pace, job: Job, reserve: Reserve, rows: Sequence[PlanRow]) -> Iterator[str]:
    """Every assumption behind the rows of a plan, one sentence each.

    >>> from vitcost import plan
    >>> flags = {"efficiency": 0.4, "zero": 0, "tensor_parallel": 1, "checkpointing": "none"}
    >>> plan("vit_base_patch16_224", samples="1.28M", gpu="h100-sxm", **flags).assumptions[0]
    'time: each card computes at 40.0% of 989 TFLOP/s, as given'
    """
    yield from _time(pace, rows)
    yield from _exchange(pace.card, job)
    yield from _sources(rows)
    yield from _memory(pace, reserve, rows)
    yield from _energy(pace.card, job)
    if job.deadline_seconds is not None and pace.efficiency is None:
        yield "deadline: kept by the predicted time, the middle of its band"
    yield (
        "not in it: reading and augmenting data, evaluation, checkpoints on disk, failures and "
        "waiting for the slowest card"
    )


def _time(pace: Pace, rows: Sequence[PlanRow]) -> Iterator[str]:
    peak = f"{pace.peak / 1e12:,.0f} TFLOP/s"
    if pace.efficiency is not None:
        yield f"time: each card computes at {pace.efficiency:.1%} of {peak}, as given"
    else:
        first = pace.micro(rows[0].micro_batch, rows[0].checkpointing)
        yield (
            f"time: predicted for one card, {first.basis}; utilisation is of {peak}, the sheet's "
            f"dense peak in {pace.scenario.precision}"
        )
        if rows[0].fits:
            yield from (f"time: {note}" for note in first.notes)
    if any(row.tensor > 1 or row.pipeline > 1 for row in rows):
        yield "time: a layer divided among t cards takes 1/t of its time, a stage of p 1/p"
    missing = tensor_missing(pace.run)
    if missing:
        yield f"tensor parallel is left out: {missing}"
    if any(row.pipeline > 1 for row in rows):
        yield (
            "pipeline: one forward, one backward, without interleaving; p - 1 micro-batches of "
            "bubble: Narayanan et al. 2021, arXiv 2104.04473, section 2.2.1"
        )


def _exchange(card: Card, job: Job) -> Iterator[str]:
    if job.cards == 1:
        return
    yield (
        f"exchange: {_rate(card.link)} from card to card, one direction, as the sheet has it; "
        "the faster of a ring and a double tree, Thakur et al. 2005 and NCCL, with the latencies "
        "of NCCL's tuning model"
    )
    if job.nodes > 1:
        yield f"exchange: {_rate(job.network)} from a card to other nodes, as given"
    yield (
        f"exchange: data parallel hides behind {job.overlap:.0%} of the backward pass of the last "
        "micro-batch at most, ZeRO-2 and ZeRO-3 behind every pass; tensor parallel hides nothing, "
        "and exchanges around embedding and head are left out"
    )


def _sources(rows: Sequence[PlanRow]) -> Iterator[str]:
    """The papers that give the bytes of an exchange."""
    for stage in sorted({row.zero for row in rows if row.data > 1}):
        yield f"exchange, {ZERO[stage].name}: {ZERO[stage].source}"
    if any(row.tensor > 1 for row in rows):
        yield (
            "exchange, tensor: 4 all-reduces of b·s·h a block, 2 more where it is recomputed, "
            "Shoeybi et al. 2019, arXiv 1909.08053, section 3; + sequence as many bytes, "
            "Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2"
        )


def _memory(pace: Pace, reserve: Reserve, rows: Sequence[PlanRow]) -> Iterator[str]:
    card = pace.card
    by = "the sheet's number in GiB" if card.usable_bytes is None else "as a source states"
    kept = said(reserve, not card.is_processor)
    yield f"memory: {shown(card.capacity_bytes, 'bytes')}, {by}; {kept}"
    if pace.scenario.compile:
        yield "memory: of eager kernels; compiled ones keep other tensors"
    bounds = [row for row in rows if row.memory_basis == "bounded"]
    ways = (replace(pace.scenario, zero=row.zero, ranks=row.data) for row in bounds)
    if pace.run.has_bound:
        for each in dict.fromkeys(each for way in ways for each in assumed(way)):
            yield f"memory, bounded: a step needs no more, with {each}"
    elif bounds:
        yield "memory, bounded: gradients that are added up stand beside those of a step"
    if any(row.pipeline > 1 for row in rows):
        yield "memory, bounded: a stage of a pipeline is counted with the embedding and the head"


def _energy(card: Card, job: Job) -> Iterator[str]:
    if card.power_w is None:
        yield f"energy: no source states the power of {card.name}"
    else:
        site = "no host and no cooling" if job.pue == 1 else f"times a PUE of {job.pue:g}, as given"
        yield f"energy: {card.power_w:g} W of board power throughout, {site}"
        if job.kwh_price is not None:
            yield f"energy cost: {job.kwh_price:g} for each kWh, as given"
        if job.co2 is not None:
            yield f"CO2: {job.co2:g} kg for each kWh, as given"
    if job.price is not None:
        yield f"cost: {job.price:g} for each card and hour, as given"


def _rate(bytes_per_second: float | None) -> str:
    return "?" if bytes_per_second is None else f"{bytes_per_second / 1e9:,.4g} GB/s"
