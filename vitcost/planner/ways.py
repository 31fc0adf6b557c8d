"""Other ways to run a batch that does not fit, cheapest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered
from vitcost.hardware.attention import on_card
from vitcost.hardware.cards import Card
from vitcost.planner.need import executed_flops, need
from vitcost.scenario import PRECISIONS, Scenario
from vitcost.zoo import Resolved

__all__ = ["Way", "fitting", "half", "timed", "ways"]


class Way(NamedTuple):
    """Another way to run the wanted batch, which fits; ``relative_flops`` 1.0: as many as asked.

    ``seconds`` are of a step on the card, where they are predicted, and ``basis`` is what they
    rest on.
    """

    precision: str
    attention: str
    checkpointing: str
    used_bytes: int
    headroom_bytes: int
    executed_flops: int
    relative_flops: float
    seconds: float | None = None
    basis: str = ""


def half(row: Card) -> str:
    """The half precision that a card's sheet has a peak for; "": none.

    >>> from vitcost.hardware.specs import card
    >>> half(card("t4")), half(card("l4"))
    ('fp16', 'bf16')
    """
    return "bf16" if row.peaks.bf16 else "fp16" if row.peaks.fp16 else ""


def ways(run: Workload, row: Card) -> tuple[Way, ...]:
    """Every other way to run a workload's batch on a card, in its half precision and by its
    attention kernels, by the FLOPs that a step executes; of equal ones what changes least comes
    first."""
    found = sorted(_ways(run, row), key=lambda pair: pair[0])
    return tuple(way for _, way in found)


def _ways(run: Workload, row: Card) -> Iterator[tuple[tuple[int, int, int], Way]]:
    scenario, narrow = run.scenario, half(row)
    precisions = ("fp32", *((f"amp-{narrow}", narrow) if narrow else ()))
    if scenario.recipe != "torch":
        # a recipe fixes the precision
        precisions = (scenario.precision,)
    attentions = dict.fromkeys((scenario.attention, "sdpa"))
    checkpoints = ("none", "selective", "block") if scenario.mode == "train" else ("none",)
    own = executed_flops(run.under(on_card(scenario, row)))
    for precision, attention, checkpointing in product(precisions, attentions, checkpoints):
        # shards in fp32 stand beside weights in half precision alone
        narrowed = PRECISIONS[precision].engine == "half"
        other = replace(
            scenario,
            precision=precision,
            attention=attention,
            checkpointing=checkpointing,
            policy=scenario.policy if narrowed else "none",
        )
        if other == scenario:
            continue
        try:
            runs = run.under(on_card(other, row))
            flops, needed = executed_flops(runs), need(runs).total_bytes
        except NotCovered:
            # a kernel that is asked for by name is not there in every precision, and a trace is
            # of some scenarios
            continue
        changes = sum(getattr(other, name) != getattr(scenario, name) for name in Way._fields[:3])
        way = Way(precision, attention, checkpointing, needed, 0, flops, flops / own)
        yield (flops, changes, needed), way


def fitting(found: Sequence[Way], headroom: Callable[[int], int]) -> tuple[Way, ...]:
    """The ways whose tensors fit, each with the ``headroom`` that it leaves."""
    ways = (way._replace(headroom_bytes=headroom(way.used_bytes)) for way in found)
    return tuple(way for way in ways if way.headroom_bytes >= 0)


def timed(found: Sequence[Way], model: Resolved, scenario: Scenario, row: Card) -> tuple[Way, ...]:
    """The same with their predicted time, fastest first; as they are where a card has none."""
    # a fit on the whole catalogue predicts no time
    from vitcost.hardware.roofline import predict

    times = []
    for way in found:
        own = {name: getattr(way, name) for name in Way._fields[:3]}
        try:
            # a time is of one card, whatever its rank keeps
            time = predict(model.config, replace(scenario, **own, policy="none"), row)
        except NotCovered:
            return tuple(found)
        times.append(way._replace(seconds=time.seconds, basis=time.basis))
    return tuple(sorted(times, key=lambda way: way.seconds or 0.0))
