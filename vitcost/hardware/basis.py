"""The basis of a prediction of a step's time at any batch: constants, setup and notes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.hardware.calibrations import shipped
from vitcost.hardware.card_attention import on_card, on_platform
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import HOST_SECONDS, Calibration, Sheet, host_of, sheet_of
from vitcost.hardware.map_classes import is_apart
from vitcost.hardware.measurements import kind_of
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
from vitcost.hardware.work import kernels_of, run_of, work
from vitcost.hardware.work_classes import Setup, setup_of, total
from vitcost.zoo import resolve

__all__ = ["Anchor", "Basis", "basis_of", "check_half", "parse_anchor"]


class Anchor(NamedTuple):
    """One measurement on a card: a model in the mode of a prediction, in a scenario that may differ
    in batch and checkpointing; None: in the scenario of the prediction."""

    model: str
    images_per_second: float
    scenario: Scenario | None = None


class Basis(NamedTuple):
    """A model on a card: the scenario as the card runs it, and the constants of its time.

    ``least_batch`` is the smallest batch that was measured, ``most_batch`` the largest one that was
    measured on a processor.
    """

    card: Card
    scenario: Scenario
    setup: Setup
    sheet: Sheet
    rates: Rates
    kernels: tuple[str, ...]
    least_batch: int
    most_batch: int


def basis_of(
    config: Config,
    scenario: Scenario,
    gpu: "str | Card",
    *,
    anchors: Sequence[Anchor] = (),
    users_cards: Mapping[str, Card] | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Basis:
    """The constants of a model's time on a card.

    ``users_cards`` are by name; ``calibrations`` are the user's constants, which are preferred to
    the shipped ones; ``anchors`` are the user's timings on the card.

    Raises ``UnknownName`` for an unknown card, ``NotCovered`` where its sheet lacks a figure or the
    software has no such step, ``ConfigError`` for an anchor that no card could have.

    >>> config = resolve("vit_base_patch16_224").config
    >>> on = basis_of(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> on.rates.basis, on.kernels, on.least_batch
    ('calibrated', ('flash',), 16)
    """
    row = card(gpu, users_cards)
    scenario = on_platform(scenario, row)
    check_half(row, scenario)
    known = [*calibrations, *shipped(row)]
    setup = _setup(scenario, row, known)
    _check_software(scenario, setup)
    scenario = on_card(scenario, row)
    anchors = [a._replace(scenario=on_card(a.scenario or scenario, row)) for a in anchors]
    sheet = sheet_of(row, setup)
    run = run_of(config, scenario, setup)
    apart = is_apart(run.family, setup)
    rates = widened(rates_of(row, setup, known), kind_of(config), setup, apart)
    if names := run.left_out:
        reason = f"the products of {', '.join(names)} are not in it: no rule counts their FLOPs"
        rates = rates.spread(*SPEC_SHEET).unlike(reason)._replace(basis="spec_sheet")
    kernels = kernels_of(config, scenario, setup)
    if anchors:
        rates = _anchored(rates, scenario, setup, sheet, anchors)
    elif unlike := _unlike(config, scenario, setup, row, kernels):
        rates = rates.spread(ANCHORED, ANCHORED).unlike(*unlike)
    batches = [anchor.scenario.batch for anchor in anchors if anchor.scenario]
    least, most = min([rates.least_batch, *batches]), max([1, *batches])
    return Basis(row, scenario, setup, sheet, rates, kernels, least, most)


def check_half(row: Card, scenario: Scenario) -> None:
    """Raises ``NotCovered`` for a half precision without a peak on the card's sheet, if the other
    half precision has one.

    >>> check_half(card("t4"), Scenario(precision="bf16"))
    Traceback (most recent call last):
    vitcost.errors.NotCovered: no source states a bf16 peak of t4; it has fp16
    """
    wanted = scenario.precision.removeprefix("amp-")
    if wanted in ("bf16", "fp16") and getattr(row.peaks, wanted) is None:
        other = {"bf16": "fp16", "fp16": "bf16"}[wanted]
        if getattr(row.peaks, other) is not None:
            precision = scenario.precision.replace(wanted, other)
            raise NotCovered(f"no source states a {wanted} peak of {row.name}; it has {precision}")


def _check_software(scenario: Scenario, setup: Setup) -> None:
    """Refuses a named fused attention in a torch that had none, and a training step in an inference
    engine."""
    if setup.engine and setup.training:
        raise NotCovered(f"{setup.engine} runs no training step; torch does")
    if setup.torch < (2, 0) and scenario.attention not in ("sdpa", "eager"):
        torch = ".".join(map(str, setup.torch))
        raise NotCovered(f"torch {torch} has no {scenario.attention} attention: eager alone")


def _unlike(
    config: Config, scenario: Scenario, setup: Setup, row: Card, kernels: tuple[str, ...]
) -> tuple[str, ...]:
    """The flags of a step that no file of measurements has, for a card and a mode that were
    measured."""
    reasons = []
    usual = on_card(replace(scenario, attention="sdpa"), row)
    if usual != scenario and kernels != kernels_of(config, usual, setup):
        reasons.append(f"attention {', '.join(kernels)} has no measurement in this software")
    if setup.training and scenario.checkpointing != "none":
        reasons.append("no measurement covers checkpointing")
    if setup.training and (scenario.freeze != "none" or scenario.lora):
        reasons.append("no measurement covers partly frozen training")
    return tuple(reasons)


def _setup(scenario: Scenario, row: Card, known: Sequence[Calibration]) -> Setup:
    """How the step runs: by default in the newest software with which the card was measured."""
    setup = setup_of(scenario)
    if scenario.software:
        return setup
    measured = [
        c.setup.torch
        for c in known
        if c.gpu == row.name
        # published timings are from old software, so a user must ask for it by name
        and c.factor is None
        and same_mode(c.setup, setup._replace(attention=c.setup.attention))
        and not (c.setup.torch < (2, 0) and scenario.attention not in ("sdpa", "eager"))
    ]
    if not measured:
        return setup
    torch = max(measured)
    # torch before 2.0 had no fused attention
    attention = "eager" if torch < (2, 0) else setup.attention
    return setup._replace(torch=torch, attention=attention)


def _anchored(
    rates: Rates, scenario: Scenario, setup: Setup, sheet: Sheet, anchors: Sequence[Anchor]
) -> Rates:
    """The constants, scaled by the times of the anchors."""
    factors, hosts = [], []
    for anchor in anchors:
        measured_in = replace(anchor.scenario or scenario, platform=setup.platform)
        done = total(work(resolve(anchor.model).config, measured_in, setup))
        if not done.launches:
            raise ConfigError(f"an anchor needs a model that launches kernels, got {anchor.model}")
        seconds, shares = seconds_of(done, sheet, setup, rates.constants, 0.0)
        measured = measured_in.batch / anchor.images_per_second
        # a step takes at least as long as its host takes to launch it
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
    """A measured model from its spelling, ``MODEL=IMAGES_PER_SECOND``; else ``ConfigError``.

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
