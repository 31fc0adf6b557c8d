"""Predicts the time of a step on a card, its band, and the resource that bounds it."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.model import Config
from vitcost.errors import NotCovered
from vitcost.hardware.basis import Basis, basis_of
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import host_seconds
from vitcost.hardware.far import far, is_far, notes_on
from vitcost.hardware.predicted import Part, Time, TurningPoints
from vitcost.hardware.rates import Rates, seconds_of
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Setup, Work, total

__all__ = ["Part", "Time", "TurningPoints", "predict", "turning_points"]


def predict(config: Config, scenario: Scenario, gpu: "str | Card", **given: Any) -> Time:
    """The time of one step: ``max(Σ constant · term + fixed, host · launches)`` of its kernels'
    work, by the constants of the card (``terms``, ``seconds_of``).

    ``given`` are keywords of ``basis_of``. By default the software is the newest torch with which
    the card was measured. Raises ``UnknownName`` for an unknown card, ``NotCovered`` if its sheet
    lacks a figure, ``ConfigError`` for an anchor that no card could have.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> time = predict(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> time.basis, time.bound, 2400 < time.images_per_second < 3200
    ('calibrated', 'compute', True)
    >>> predict(config, Scenario(batch=256, precision="amp-bf16"), "h100-sxm").basis
    'of_its_kind'
    """
    on = basis_of(config, scenario, gpu, **given)
    parts = work(config, on.scenario, on.setup)
    return _time(on._replace(rates=_rates(on, total(parts))), parts)


def _time(on: Basis, parts: Mapping[str, Work]) -> Time:
    everything, setup, sheet, rates = total(parts), on.setup, on.sheet, on.rates
    seconds, shares = seconds_of(everything, sheet, setup, rates.constants, rates.host)
    if not seconds:
        raise NotCovered("a model that launches no kernel has no time")
    device, _ = seconds_of(everything, sheet, setup, rates.constants, 0.0)
    cpu = setup.platform == "cpu"
    flops = everything.flops * (3 if setup.training else 1)
    return Time(
        gpu=on.card.name,
        mode=setup.mode,
        seconds=seconds,
        images_per_second=on.scenario.batch / seconds,
        bound=_bound(everything, shares, on),
        basis=rates.basis,
        low_seconds=seconds * (1 - rates.below),
        high_seconds=seconds * (1 + rates.band),
        software=_software(setup),
        attention_kernel=on.kernels,
        peak_share=None if cpu else flops / seconds / sheet.flops_per_second,
        parts=tuple(_part(name, done, on, seconds / device) for name, done in parts.items()),
        notes=rates.notes,
        fitted_rows=rates.rows,
        held_out=rates.held_out,
        source=rates.source,
        sheet_flops_per_second=None if cpu else sheet.flops_per_second,
        sheet_bytes_per_second=None if cpu else sheet.bytes_per_second,
    )


def _software(setup: Setup) -> str:
    """The software of a step, in words."""
    torch = f"torch {setup.torch[0]}.{setup.torch[1]}" + ", compiled" * setup.compiled
    return setup.engine or torch


def _rates(on: Basis, done: Work) -> Rates:
    """The rates of a step, with notes on work outside of all measurements and on the optimizer's
    update."""
    notes = [*notes_on(on, done)]
    if on.scenario.mode == "train" and on.scenario.recipe != "torch":
        notes.append(f"the update is torch's, not that of {on.scenario.recipe}")
    rates = far(on) if is_far(on, done, on.scenario.batch) else on.rates
    return rates._replace(notes=(*on.rates.notes, *notes))


def _bound(done: Work, shares: Mapping[str, float], on: Basis) -> str:
    """The resource for which a step waits most: the host, if it takes longer than the card."""
    # the shares include the time that the card waits for the host, so their sum is the host's time
    # but for rounding, which differs between versions of Python
    if sum(shares.values()) <= host_seconds(done, on.setup, on.rates.host) * (1 + 1e-9):
        return "overhead"
    return max(shares, key=lambda name: shares[name])


def _part(name: str, done: Work, on: Basis, longer: float) -> Part:
    """The time of one part of the model. If the card waits for the host, the whole step takes
    ``longer`` times its time on the card, and each part is taken to be slowed by that factor."""
    seconds, shares = seconds_of(done, on.sheet, on.setup, on.rates.constants, 0.0)
    return Part(name, longer * seconds, _bound(done, shares, on), done.run_flops, done.run_bytes)


def turning_points(
    config: Config, scenario: Scenario, gpu: "str | Card", **given: Any
) -> TurningPoints:
    """The smallest batches at which launches no longer bound a step, and at which compute does; for
    a trace without batch 1 the search begins at 2. Raises ``UnknownName``, ``NotCovered`` and
    ``ConfigError`` as ``predict`` does.

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
        between = range(low + 1, high)
        return low + 1 + bisect_left(between, True, key=lambda batch: bound(batch) in wanted)

    @cache
    def bound(batch: int) -> str:
        return predict(config, replace(scenario, batch=batch), gpu, **given).bound

    try:
        bound(least := 1)
    except NotCovered:
        bound(least := 2)
    return TurningPoints(first(("memory", "compute")), first(("compute",)))
