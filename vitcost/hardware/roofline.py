"""The time of a step on a card: what it rests on, how far off it may be, and what bounds it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.hardware.attention import on_card, on_platform
from vitcost.hardware.calibrations import shipped
from vitcost.hardware.cards import Card
from vitcost.hardware.classes import Setup, Work, setup_of, total
from vitcost.hardware.constants import (
    HOST_SECONDS,
    HOST_SPREAD,
    Calibration,
    Sheet,
    host_of,
    host_seconds,
    sheet_of,
)
from vitcost.hardware.families import APART
from vitcost.hardware.measurements import kind_of
from vitcost.hardware.predicted import Part, Time, TurningPoints
from vitcost.hardware.rates import (
    ANCHORED,
    SPEC_SHEET,
    Rates,
    rates_of,
    same_mode,
    seconds_of,
    widened,
)
from vitcost.hardware.specs import card
from vitcost.hardware.work import family, kernels_of, left_out, work
from vitcost.scenario import Scenario
from vitcost.zoo import resolve

__all__ = [
    "Anchor",
    "Asked",
    "Part",
    "Time",
    "TurningPoints",
    "check_half",
    "parse_anchor",
    "predict",
    "predicted",
    "turning_points",
]

# a processor's band where batches are larger than any that was timed
_PROCESSOR = 0.40
_LARGER = "batches above 1 were measured on no processor"


class Anchor(NamedTuple):
    """One measurement on a card: a model in the mode of a prediction, in a scenario that may have
    another batch and checkpointing; None: in the prediction's own."""

    model: str
    images_per_second: float
    scenario: Scenario | None = None


class Asked(NamedTuple):
    """What a prediction asks of a model: its work and attention kernels in a scenario and setup,
    which kind it is of, the class of a traced module, and operators whose work is not known."""

    parts: Callable[[Scenario, Setup], Mapping[str, Work]]
    kernels: Callable[[Scenario, Setup], tuple[str, ...]]
    kind: str
    family: Callable[[Scenario, Setup], str]
    left_out: Callable[[Scenario, Setup], tuple[str, ...]]


def predict(config: Config, scenario: Scenario, gpu: "str | Card", **given: Any) -> Time:
    """The time of one step: a sum over its kernels' work, by the constants of the card.

    ``given`` is as for ``predicted``. The scenario's software is by default the newest torch that
    the card was measured with. Raises ``UnknownName`` for a card that nobody knows, ``NotCovered``
    where its sheet lacks a figure.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> time = predict(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> time.basis, time.bound, 2400 < time.images_per_second < 3200
    ('calibrated', 'compute', True)
    >>> predict(config, Scenario(batch=256, precision="amp-bf16"), "h100-sxm").basis
    'of_its_kind'
    """
    asked = Asked(
        partial(work, config),
        partial(kernels_of, config),
        kind_of(config),
        partial(family, config),
        partial(left_out, config),
    )
    return predicted(asked, scenario, gpu, **given)


def predicted(
    asked: Asked,
    scenario: Scenario,
    gpu: "str | Card",
    *,
    anchors: Sequence[Anchor] = (),
    own: Mapping[str, Card] | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Time:
    """The time of one step of any model whose work is known.

    ``own`` are the user's cards by name, ``calibrations`` the user's constants, which come before
    the shipped ones, ``anchors`` what the card was measured to do.
    """
    row = card(gpu, own)
    scenario = on_platform(scenario, row)
    check_half(row, scenario)
    known = [*calibrations, *shipped(row)]
    setup = _setup(scenario, row, known)
    _check_software(scenario, setup)
    scenario = on_card(scenario, row)
    anchors = [a._replace(scenario=on_card(a.scenario or scenario, row)) for a in anchors]
    sheet = sheet_of(row, setup)
    apart = asked.family(scenario, setup) in APART
    rates = widened(rates_of(row, setup, known), asked.kind, setup, apart)
    parts = asked.parts(scenario, setup)
    if names := asked.left_out(scenario, setup):
        said = f"the products of {', '.join(names)} are not in it: no rule counts their FLOPs"
        rates = rates.spread(*SPEC_SHEET).unlike(said)._replace(basis="spec_sheet")
    if anchors:
        rates = _anchored(rates, scenario, setup, sheet, anchors)
    elif unlike := _unlike(asked, scenario, setup, row):
        rates = rates.spread(ANCHORED, ANCHORED).unlike(*unlike)
    batches = [anchor.scenario.batch for anchor in anchors if anchor.scenario]
    if setup.platform == "cpu":
        rates = _by_processor(rates, scenario, max([1, *batches]))
    else:
        least = min([rates.least_batch, *batches])
        rates = _by_host(rates, scenario, setup, total(parts), sheet, least)
    time = _time(row, scenario, setup, sheet, _checked(rates, scenario), parts)
    return replace(time, attention_kernel=asked.kernels(scenario, setup))


def check_half(row: Card, scenario: Scenario) -> None:
    """Refuses a half precision that the card's sheet has no peak for, where it has the other."""
    wanted = scenario.precision.removeprefix("amp-")
    if wanted in ("bf16", "fp16") and getattr(row.peaks, wanted) is None:
        other = {"bf16": "fp16", "fp16": "bf16"}[wanted]
        if getattr(row.peaks, other) is not None:
            precision = scenario.precision.replace(wanted, other)
            raise NotCovered(f"no source states a {wanted} peak of {row.name}; it has {precision}")


def _check_software(scenario: Scenario, setup: Setup) -> None:
    """Refuses a fused attention that is asked for by name of a torch that had none, and a training
    step of an engine."""
    if setup.engine and setup.training:
        raise NotCovered(f"{setup.engine} runs no training step; torch does")
    if setup.torch < (2, 0) and scenario.attention not in ("sdpa", "eager"):
        torch = ".".join(map(str, setup.torch))
        raise NotCovered(f"torch {torch} has no {scenario.attention} attention: eager alone")


def _time(
    row: Card,
    scenario: Scenario,
    setup: Setup,
    sheet: Sheet,
    rates: Rates,
    parts: Mapping[str, Work],
) -> Time:
    everything = total(parts)
    seconds, shares = seconds_of(everything, sheet, setup, rates.constants, rates.host)
    if not seconds:
        raise NotCovered("the time of a model that launches no kernel")
    device, _ = seconds_of(everything, sheet, setup, rates.constants, 0.0)
    told = tuple(
        _part(name, done, sheet, setup, rates, seconds / device) for name, done in parts.items()
    )
    flops = everything.flops * (3 if setup.training else 1)
    return Time(
        gpu=row.name,
        mode=setup.mode,
        seconds=seconds,
        images_per_second=scenario.batch / seconds,
        bound=_bound(everything, shares, setup, rates),
        basis=rates.basis,
        low_seconds=seconds * (1 - rates.below),
        high_seconds=seconds * (1 + rates.band),
        software=_software(setup),
        peak_share=None if setup.platform == "cpu" else flops / seconds / sheet.flops_per_second,
        parts=told,
        notes=rates.notes,
        fitted_rows=rates.rows,
        held_out=rates.held_out,
        source=rates.source,
        sheet_flops_per_second=None if setup.platform == "cpu" else sheet.flops_per_second,
        sheet_bytes_per_second=None if setup.platform == "cpu" else sheet.bytes_per_second,
    )


def _software(setup: Setup) -> str:
    """What runs a step, in words."""
    torch = f"torch {setup.torch[0]}.{setup.torch[1]}" + ", compiled" * setup.compiled
    return setup.engine or torch


def _by_processor(rates: Rates, scenario: Scenario, most: int) -> Rates:
    """The rates of a processor, which was timed at batches up to ``most``."""
    if scenario.batch <= most:
        return rates
    wide = rates.spread(_PROCESSOR, _PROCESSOR)
    return wide._replace(basis="spec_sheet", notes=(*rates.notes, _LARGER))


def _by_host(
    rates: Rates, scenario: Scenario, setup: Setup, done: Work, sheet: Sheet, least: int
) -> Rates:
    """The rates with what is said, and how far off a time may be, below the batches that were
    measured and where the host is slower than the card; ``least`` is the smallest such batch."""
    below, above = HOST_SPREAD[host_of(setup)]
    device, _ = seconds_of(done, sheet, setup, rates.constants, 0.0)
    waits = host_seconds(done, setup, rates.host) > device
    small = scenario.batch < least
    if not (small or waits):
        return rates
    notes = []
    if small:
        notes.append(f"batches below {least} were timed on other cards and hosts")
    if waits:
        own = HOST_SECONDS[host_of(setup)] if rates.host is None else rates.host
        notes.append(
            f"bound by the host, at {1e6 * own:.0f} µs for each of {done.launches:,} launches; "
            "hosts differ by a factor of three"
        )
    if waits and rates.host is not None and not small:
        return rates._replace(notes=(*rates.notes, *notes))
    return rates.spread(1 - below, above - 1).unlike(*notes)


def _bound(done: Work, shares: Mapping[str, float], setup: Setup, rates: Rates) -> str:
    """What a step waits for most; the host, where that takes longer than the card."""
    # what the card waits for the host is in the shares: their sum is the host's time but for the
    # last digit, which another Python rounds otherwise
    if sum(shares.values()) <= host_seconds(done, setup, rates.host) * (1 + 1e-9):
        return "overhead"
    return max(shares, key=lambda name: shares[name])


def _unlike(asked: Asked, scenario: Scenario, setup: Setup, row: Card) -> tuple[str, ...]:
    """What of a step no file of measurements has, whose card and mode were measured."""
    found = []
    kernels, usual = (
        asked.kernels(each, setup)
        for each in (scenario, on_card(replace(scenario, attention="sdpa"), row))
    )
    if kernels != usual:
        found.append(f"attention {', '.join(kernels)} was not measured in this software")
    if setup.training and scenario.checkpointing != "none":
        found.append("checkpointing was measured on no card")
    if setup.training and (scenario.freeze != "none" or scenario.lora):
        found.append("training of a part was measured on no card")
    return tuple(found)


def _checked(rates: Rates, scenario: Scenario) -> Rates:
    """The rates with what else there is to say about a prediction."""
    notes = rates.notes
    if scenario.mode == "train" and scenario.recipe != "torch":
        notes = (*notes, f"the update is torch's, not that of {scenario.recipe}")
    return rates._replace(notes=notes)


def _part(name: str, done: Work, sheet: Sheet, setup: Setup, rates: Rates, longer: float) -> Part:
    """A part, as much longer than the card needs as the whole step is."""
    seconds, shares = seconds_of(done, sheet, setup, rates.constants, 0.0)
    bound = _bound(done, shares, setup, rates)
    return Part(name, longer * seconds, bound, done.run_flops, done.run_bytes)


def _setup(scenario: Scenario, row: Card, known: Sequence[Calibration]) -> Setup:
    """How the step runs: by default in the newest software that this was measured with."""
    setup = setup_of(scenario)
    if scenario.software:
        return setup
    measured = [
        c.setup.torch
        for c in known
        if c.gpu == row.name
        # printed timings are of old software, which nobody asks for unsaid
        and c.factor is None
        and same_mode(c.setup, setup._replace(attention=c.setup.attention))
        and not (c.setup.torch < (2, 0) and scenario.attention not in ("sdpa", "eager"))
    ]
    if not measured:
        return setup
    torch = max(measured)
    # before torch 2.0 no attention was fused
    attention = "eager" if torch < (2, 0) else setup.attention
    return setup._replace(torch=torch, attention=attention)


def _anchored(
    rates: Rates, scenario: Scenario, setup: Setup, sheet: Sheet, anchors: Sequence[Anchor]
) -> Rates:
    """The constants, all longer or shorter by what the anchors show."""
    factors, hosts = [], []
    for anchor in anchors:
        own = replace(anchor.scenario or scenario, platform=setup.platform)
        done = total(work(resolve(anchor.model).config, own, setup))
        if not done.launches:
            raise ConfigError(f"an anchor of {anchor.model}, which launches no kernel")
        seconds, shares = seconds_of(done, sheet, setup, rates.constants, 0.0)
        measured = own.batch / anchor.images_per_second
        # a host is no slower than the step that it prepared
        hosts.append(measured / done.launches)
        factors.append((measured - shares["overhead"]) / (seconds - shares["overhead"]))
    factor = sum(factors) / len(factors)
    if factor <= 0:
        raise ConfigError("an anchor is faster than the launches of its kernels alone")
    scaled = tuple(constant * factor for constant in rates.constants)
    usual = HOST_SECONDS[host_of(setup)] if rates.host is None else rates.host
    host = None if usual <= min(hosts) else min(hosts)
    return Rates(
        scaled, "anchored", min(rates.band, ANCHORED), rates.notes, rates.least_batch,
        min(rates.below, ANCHORED), len(anchors), None, "anchors", host,
    )  # fmt: skip


def parse_anchor(text: str) -> Anchor:
    """A measured model as it is typed, ``MODEL=IMAGES_PER_SECOND``.

    >>> parse_anchor("vit_base_patch16_224=2787")[:2]
    ('vit_base_patch16_224', 2787.0)
    """
    model, _, rate = text.partition("=")
    try:
        anchor = Anchor(model.strip(), float(rate))
    except ValueError:
        anchor = Anchor("", 0)
    if not anchor.model or not 0 < anchor.images_per_second < 1e12:
        raise ConfigError(f"an anchor is MODEL=IMAGES_PER_SECOND, got {shown(text)}")
    return anchor


def turning_points(
    config: Config, scenario: Scenario, gpu: "str | Card", **given: Any
) -> TurningPoints:
    """The batch from which launches no longer bound a step, and from which compute does; of a trace
    that has no batch of one, from two on.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> turning_points(config, Scenario(precision="amp-bf16"), "rtx4090").beyond_overhead_batch
    14
    """

    def first(wanted: tuple[str, ...]) -> int | None:
        low, high = least - 1, least
        while high <= 2**16:
            if bound(high) in wanted:
                break
            low, high = high, high * 2
        else:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bound(middle) in wanted else (middle, high)
        return high

    @cache
    def bound(batch: int) -> str:
        return predict(config, replace(scenario, batch=batch), gpu, **given).bound

    try:
        bound(least := 1)
    except NotCovered:
        bound(least := 2)
    return TurningPoints(first(("memory", "compute")), first(("compute",)))
