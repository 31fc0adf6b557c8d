"""Other ways to run a batch that does not fit, cheapest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from vitcost.config.flags import apart
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import Row as Layer
from vitcost.engine.model import Config
from vitcost.engine.workload import Workload, workload
from vitcost.errors import NotCovered, UnknownName, VitcostError
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import Card
from vitcost.planner.largest import largest_batches, largest_sizes, needs
from vitcost.planner.levers import kernels, levers
from vitcost.planner.need import executed_flops, need
from vitcost.zoo import Resolved, resolve

__all__ = ["Way", "fitting", "half", "sized", "smaller", "telling", "timed", "ways"]


class Way(NamedTuple):
    """Another way to run the wanted batch, which fits; ``relative_flops`` are relative to the step
    that was asked for; None if that step has none. ``flags`` are the flags that differ; a batch
    among them is a micro-batch, and a step has ``accumulate`` of these. ``keeps``: whether the
    training stays the same, so that a step computes the same update, up to rounding. ``seconds`` is
    the predicted time of a step on the card, if there is one; ``relative_seconds`` is relative to
    the step that was asked for, and ``basis`` says how the time was predicted. ``largest_batch`` is
    the largest number of images of a step, over all its micro-batches."""

    precision: str
    attention: str
    checkpointing: str
    used_bytes: int
    headroom_bytes: int
    executed_flops: int
    relative_flops: float | None
    seconds: float | None = None
    basis: str = ""
    flags: tuple[tuple[str, str | int | bool], ...] = ()
    keeps: bool = True
    relative_seconds: float | None = None
    largest_batch: int | None = None


def half(row: Card) -> str:
    """The half precision that the card's data sheet has a peak for; "" if there is none.

    >>> from vitcost.hardware.specs import card
    >>> half(card("t4")), half(card("l4"))
    ('fp16', 'bf16')
    """
    return "bf16" if row.peaks.bf16 else "fp16" if row.peaks.fp16 else ""


# how many of the micro-batches that fit are listed
_FEW = 3
# flags that change the training itself
_CHANGES = ("precision", "freeze", "lora")


def ways(run: Workload, row: Card, pulled: bool = False) -> tuple[Way, ...]:
    """Every other way to run a workload's batch on a card, in its half precision and by its
    attention kernels; if the user has ``pulled`` levers, also the ways that keep their flags.

    Ways that keep the training the same come first, then the ways with fewer executed FLOPs; among
    equals, the way that changes least.

    >>> from vitcost.hardware.specs import card
    >>> base = resolve("vit_base_patch16_224").config
    >>> found = ways(workload(base, Scenario(batch=64, mode="train")), card("l4"))
    >>> found[0].flags, found[0].keeps
    ((('checkpointing', 'selective'),), True)
    """
    ordered = sorted(_ways(run, row, pulled), key=lambda pair: pair[0])
    return tuple(way for _, way in ordered)


def _ways(
    run: Workload, row: Card, pulled: bool
) -> Iterator[tuple[tuple[bool, int, int, int], Way]]:
    scenario = run.scenario
    asked_flops = executed_flops(run.under(on_card(scenario, row)))
    # micro-batches change the statistics of a batch norm, and the pairs of a contrastive loss
    whole = run.shares_loss or _normalizes_batches(run.rows())
    others = [*kernels(scenario, half(row)), *(levers(run) if pulled else ())]
    for other in dict.fromkeys(others):
        if other == scenario:
            continue
        try:
            runs = run.under(on_card(other, row))
            flops, needed = executed_flops(runs), need(runs).total_bytes
        except (NotCovered, UnknownName):
            # a kernel may not exist in every precision, a trace covers only some scenarios, and a
            # model may have no layers for adapters
            continue
        flags = _changed(scenario, other)
        changes = {name for name, _ in flags}
        keeps = (
            not changes & set(_CHANGES)
            and not (whole and "accumulate" in changes)
            and OPTIMIZERS[other.optimizer].kept is OPTIMIZERS[scenario.optimizer].kept
        )
        flops = flops * other.accumulate // scenario.accumulate
        way = Way(
            other.precision, other.attention, other.checkpointing, needed, 0, flops,
            flops / asked_flops if asked_flops else None, flags=flags, keeps=keeps,
        )  # fmt: skip
        yield (not keeps, flops, len(flags), needed), way


def _normalizes_batches(row: Layer) -> bool:
    return row.type.startswith("BatchNorm") or any(map(_normalizes_batches, row.children))


def _changed(scenario: Scenario, other: Scenario) -> tuple[tuple[str, str | int | bool], ...]:
    names = scenario.__dataclass_fields__
    pairs = ((name, getattr(scenario, name), getattr(other, name)) for name in names)
    return tuple((name, now) for name, was, now in pairs if was != now)


def smaller(model: Resolved, run: Workload, row: Card, limit: int) -> tuple[Way, ...]:
    """The largest square image, of at least half the model's own side, with which the batch needs
    no more bytes than ``limit``; empty if the model's own image is not square, or if it is fed
    another size.

    >>> from vitcost.hardware.specs import card
    >>> base = resolve("vit_base_patch16_224")
    >>> run = workload(base.config, Scenario(batch=64, mode="train"))
    >>> [way.flags for way in smaller(base, run, card("l4"), 8_730_708_904)]
    [(('img_size', 224),)]
    """
    config, scenario = model.config, on_card(run.scenario, row)
    if not isinstance(config, ViTConfig) or config.input_size is not None:
        return ()
    if len(set(config.img_size)) > 1:
        return ()
    try:
        side = largest_sizes("img_size", model, scenario, [limit])[limit]
        if 2 * side < config.img_size[0]:
            return ()
        runs = workload(resolve(model, img_size=side).config, scenario)
    except VitcostError:
        # its rules refuse every size, or no size fits
        return ()
    asked_flops, flops = executed_flops(run.under(scenario)), executed_flops(runs)
    way = Way(
        scenario.precision, run.scenario.attention, scenario.checkpointing,
        need(runs).total_bytes, 0, flops, flops / asked_flops if asked_flops else None,
        flags=(("img_size", side),), keeps=False,
    )  # fmt: skip
    return (way,)


def fitting(offered: Sequence[Way], headroom: Callable[[int], int]) -> tuple[Way, ...]:
    """The ways whose tensors fit, each with its ``headroom``; of ways that differ only in the
    micro-batch, the one with the largest.

    >>> sizes = {"bf16": 4, "fp32": 9}
    >>> found = [Way(name, "sdpa", "none", size, 0, 1, 1.0) for name, size in sizes.items()]
    >>> [(way.precision, way.headroom_bytes) for way in fitting(found, lambda used: 8 - used)]
    [('bf16', 4)]
    """
    ways = (way._replace(headroom_bytes=headroom(way.used_bytes)) for way in offered)
    fits = [way for way in ways if way.headroom_bytes >= 0]
    parts = [way for way in fits if _parts(way)]
    few = sorted(parts, key=_parts)[:_FEW]
    return tuple(way for way in fits if not _parts(way) or way in few)


def _parts(way: Way) -> int:
    """The number of micro-batches of a step, for a way that changes it; else 0."""
    return int(dict(way.flags).get("accumulate", 0))


def telling(offered: Sequence[Way]) -> tuple[Way, ...]:
    """The ways, without each way that changes more flags than another but neither holds more images
    nor is faster.

    >>> flags = ("precision", "bf16"), ("checkpointing", "block")
    >>> one, both = (Way("bf16", "sdpa", "", 4, 0, 1, 1.0, flags=flags[:n]) for n in (1, 2))
    >>> telling([one, both]) == (one,)
    True
    """
    return tuple(way for way in offered if not any(_idle(way, other) for other in offered))


def _idle(way: Way, other: Way) -> bool:
    """Whether a way has all flags of another and more, but neither holds more images nor is
    faster."""
    if not set(other.flags) < set(way.flags):
        return False
    holds = (way.largest_batch or 0) > (other.largest_batch or 0)
    return not holds and (way.seconds or 0.0) >= (other.seconds or 0.0)


def _under(way: Way, model: Resolved, scenario: Scenario) -> tuple[Config, Scenario]:
    """The model and the scenario of a way."""
    flags, fields = apart(dict(way.flags))
    config = resolve(model, **fields).config if fields else model.config
    return config, replace(scenario, **flags)


def sized(
    offered: Sequence[Way], model: Resolved, run: Workload, row: Card, limit: int
) -> tuple[Way, ...]:
    """The ways, each with the largest batch of a step that needs no more bytes than ``limit``.
    Raises ``NotCovered`` as ``need`` does.

    >>> from vitcost.hardware.specs import card
    >>> base, l4 = resolve("vit_base_patch16_224"), card("l4")
    >>> run = workload(base.config, Scenario(batch=64, mode="train"))
    >>> block = Way("fp32", "sdpa", "block", 0, 0, 0, 1.0, flags=(("checkpointing", "block"),))
    >>> sized([block], base, run, l4, 8_730_708_904)[0].largest_batch > 2 * 64
    True
    """
    ways = []
    for way in offered:
        config, other = _under(way, model, run.scenario)
        other = on_card(other, row)
        runs = run.under(other) if config is model.config else workload(config, other)
        most = largest_batches(runs, needs(runs), [limit])[limit]
        parts = other.accumulate // run.scenario.accumulate
        ways.append(way._replace(largest_batch=most * parts))
    return tuple(ways)


def timed(
    offered: Sequence[Way], model: Resolved, scenario: Scenario, row: Card
) -> tuple[Way, ...]:
    """The ways with their predicted times, fastest first in each group; unchanged if the card has
    no prediction. A micro-batch is timed as a whole step, including the optimizer.

    >>> from vitcost.hardware.specs import card
    >>> base, scenario = resolve("vit_base_patch16_224"), Scenario(batch=64, mode="train")
    >>> block = Way("fp32", "sdpa", "block", 0, 0, 0, 1.0, flags=(("checkpointing", "block"),))
    >>> timed([block], base, scenario, card("l4"))[0].relative_seconds > 1.2  # 4 passes for 3
    True
    """
    # without a named card no time is predicted, so this is not imported
    from vitcost.hardware.roofline import predict

    times = []
    try:
        asked = predict(
            model.config, replace(scenario, policy="none", grad_scaler=False), row
        ).seconds
        for way in offered:
            config, other = _under(way, model, scenario)
            # a time is that of one card, so the sharding policy of its rank does not matter
            time = predict(config, replace(other, policy="none", grad_scaler=False), row)
            seconds = time.seconds * other.accumulate / scenario.accumulate
            times.append(
                way._replace(seconds=seconds, basis=time.basis, relative_seconds=seconds / asked)
            )
    except NotCovered:
        return tuple(offered)
    return tuple(sorted(times, key=lambda way: (not way.keeps, way.seconds or 0.0)))
