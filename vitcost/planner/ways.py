"""Other ways to run a batch that does not fit, cheapest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from vitcost.engine.cost import Row as Layer
from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered, UnknownName
from vitcost.hardware.attention import on_card
from vitcost.hardware.cards import Card
from vitcost.optimizers import OPTIMIZERS
from vitcost.planner.need import executed_flops, need
from vitcost.scenario import PRECISIONS, Scenario
from vitcost.zoo import Resolved

__all__ = ["Way", "fitting", "half", "timed", "ways"]


class Way(NamedTuple):
    """Another way to run the wanted batch, which fits; ``relative_flops`` 1.0: as many as asked,
    None: the step that was asked for has none.

    ``flags`` are those that differ from the asked ones; a batch among them is a micro-batch, of
    which a step has ``accumulate``. ``keeps``: whether the training is the same, so that a step
    computes the same update, up to rounding. ``seconds`` are of a step on the card, where they are
    predicted, ``relative_seconds`` against the step that was asked for, and ``basis`` is what they
    rest on.
    """

    precision: str
    attention: str
    checkpointing: str
    used_bytes: int
    headroom_bytes: int
    executed_flops: int
    relative_flops: float | None
    seconds: float | None = None
    basis: str = ""
    flags: tuple[tuple[str, str | int], ...] = ()
    keeps: bool = True
    relative_seconds: float | None = None


def half(row: Card) -> str:
    """The half precision that a card's sheet has a peak for; "": none.

    >>> from vitcost.hardware.specs import card
    >>> half(card("t4")), half(card("l4"))
    ('fp16', 'bf16')
    """
    return "bf16" if row.peaks.bf16 else "fp16" if row.peaks.fp16 else ""


# flags whose change is another training
_CHANGES = ("precision", "freeze", "lora")
# of the blocks, how many quarters are computed again
_QUARTERS = (1, 2, 3)
_MICRO_BATCHES = (2, 4, 8, 16, 32)
_RANK = 8


def ways(run: Workload, row: Card, levers: bool = False) -> tuple[Way, ...]:
    """Every other way to run a workload's batch on a card, in its half precision and by its
    attention kernels; with ``levers`` those that leave these as they are, too. The same training
    comes first, then by the FLOPs that a step executes; of equal ones what changes least."""
    found = sorted(_ways(run, row, levers), key=lambda pair: pair[0])
    return tuple(way for _, way in found)


def _ways(
    run: Workload, row: Card, levers: bool
) -> Iterator[tuple[tuple[bool, int, int, int], Way]]:
    scenario = run.scenario
    own = executed_flops(run.under(on_card(scenario, row)))
    # statistics of a batch are other ones in a micro-batch
    normed = _normalizes_batches(run.rows())
    others = [*_kernels(scenario, row), *(_levers(run) if levers else ())]
    for other in dict.fromkeys(others):
        if other == scenario:
            continue
        try:
            runs = run.under(on_card(other, row))
            flops, needed = executed_flops(runs), need(runs).total_bytes
        except (NotCovered, UnknownName):
            # a kernel that is asked for by name is not there in every precision, a trace is of
            # some scenarios, and adapters are of layers that a model may not have
            continue
        flags = _changed(scenario, other)
        changes = {name for name, _ in flags}
        keeps = (
            not changes & set(_CHANGES)
            and not (normed and "accumulate" in changes)
            and OPTIMIZERS[other.optimizer].kept is OPTIMIZERS[scenario.optimizer].kept
        )
        flops = flops * other.accumulate // scenario.accumulate
        way = Way(
            other.precision, other.attention, other.checkpointing, needed, 0, flops,
            flops / own if own else None, flags=flags, keeps=keeps,
        )  # fmt: skip
        yield (not keeps, flops, len(flags), needed), way


def _normalizes_batches(row: Layer) -> bool:
    return row.type.startswith("BatchNorm") or any(map(_normalizes_batches, row.children))


def _changed(scenario: Scenario, other: Scenario) -> tuple[tuple[str, str | int], ...]:
    names = scenario.__dataclass_fields__
    pairs = ((name, getattr(scenario, name), getattr(other, name)) for name in names)
    return tuple((name, now) for name, was, now in pairs if was != now)


def _kernels(scenario: Scenario, row: Card) -> Iterator[Scenario]:
    """Other precisions, kernels and checkpointing, and any of these together."""
    narrow = half(row)
    precisions = ("fp32", *((f"amp-{narrow}", narrow) if narrow else ()))
    if scenario.recipe != "torch":
        # a recipe fixes the precision
        precisions = (scenario.precision,)
    attentions = dict.fromkeys((scenario.attention, "sdpa"))
    checkpoints = ("none", "selective", "block") if scenario.mode == "train" else ("none",)
    for precision, attention, checkpointing in product(precisions, attentions, checkpoints):
        # shards in fp32 stand beside weights in half precision alone
        narrowed = PRECISIONS[precision].engine == "half"
        yield replace(
            scenario,
            precision=precision,
            attention=attention,
            checkpointing=checkpointing,
            policy=scenario.policy if narrowed else "none",
        )


def _levers(run: Workload) -> Iterator[Scenario]:
    """The same precision: blocks at the front computed again, micro-batches, a fused optimizer,
    sharded states; then states in 8 bits, and fewer parameters that train."""
    scenario = run.scenario
    if scenario.mode != "train" or scenario.recipe != "torch" or not run.at_once:
        return
    if scenario.checkpointing == "none" and "L" in run.sizes:
        for quarters in _QUARTERS:
            blocks = quarters * run.axis("L") // 4
            if blocks:
                yield replace(scenario, checkpointing=f"first:{blocks}")
    if scenario.accumulate == 1:
        for number in _MICRO_BATCHES:
            if scenario.batch % number == 0:
                micro = scenario.batch // number
                yield replace(scenario, batch=micro, accumulate=number)
    if f"{scenario.optimizer}-fused" in OPTIMIZERS:
        yield replace(scenario, optimizer=f"{scenario.optimizer}-fused")
    if scenario.ranks > 1:
        for zero in range(scenario.zero + 1, 4):
            yield replace(scenario, zero=zero)
    in_bytes = f"{scenario.optimizer.partition('-')[0]}-8bit"
    if in_bytes in OPTIMIZERS:
        yield replace(scenario, optimizer=in_bytes)
    if scenario.freeze == "none" and not scenario.lora:
        yield replace(scenario, lora=_RANK)
        yield replace(scenario, freeze="backbone")


def fitting(found: Sequence[Way], headroom: Callable[[int], int]) -> tuple[Way, ...]:
    """The ways whose tensors fit, each with the ``headroom`` that it leaves."""
    ways = (way._replace(headroom_bytes=headroom(way.used_bytes)) for way in found)
    return tuple(way for way in ways if way.headroom_bytes >= 0)


def timed(found: Sequence[Way], model: Resolved, scenario: Scenario, row: Card) -> tuple[Way, ...]:
    """The same with their predicted time, fastest first in each group; as they are where a card
    has none. A micro-batch is timed as a step, its optimizer included."""
    # a fit on the whole catalogue predicts no time
    from vitcost.hardware.roofline import predict

    times = []
    try:
        asked = predict(model.config, replace(scenario, policy="none"), row).seconds
        for way in found:
            # a time is of one card, whatever its rank keeps
            other = replace(scenario, **{**dict[str, Any](way.flags), "policy": "none"})
            time = predict(model.config, other, row)
            seconds = time.seconds * other.accumulate / scenario.accumulate
            times.append(
                way._replace(seconds=seconds, basis=time.basis, relative_seconds=seconds / asked)
            )
    except NotCovered:
        return tuple(found)
    return tuple(sorted(times, key=lambda way: (not way.keeps, way.seconds or 0.0)))
