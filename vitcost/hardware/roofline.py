"""The time of a step on a card: what it rests on, how far off it may be, and what bounds it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered
from vitcost.hardware.attention import on_card
from vitcost.hardware.calibrations import shipped
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import MOST_LAUNCHING, Calibration, Sheet, sheet_of
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
from vitcost.hardware.work import Setup, Work, kernels_of, setup_of, total, work
from vitcost.scenario import Scenario
from vitcost.zoo import resolve

__all__ = [
    "Anchor",
    "Part",
    "Time",
    "TurningPoints",
    "check_half",
    "parse_anchor",
    "predict",
    "turning_points",
]

_LARGER = "batches above 1 were measured on no processor"
_MEASURED_VENDORS = ("NVIDIA",)


class Anchor(NamedTuple):
    """One measurement on a card: a model in the mode of a prediction, in a scenario that may have
    another batch and checkpointing; None: in the prediction's own."""

    model: str
    images_per_second: float
    scenario: Scenario | None = None


class Part(NamedTuple):
    """A part of the model: its time, and what most of that is."""

    name: str
    seconds: float
    bound: str


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of one step on one card.

    ``basis`` says what it rests on: ``calibrated`` (this card and mode were fitted), ``anchored``
    (something was measured on this card), ``spec_sheet`` (nothing was). ``low_seconds`` and
    ``high_seconds`` are its band, ``attention_kernel`` the kernels of this card that compute its
    attentions, ``peak_share`` the model's FLOPs over what the sheet allows in that time, ``notes``
    what was not validated, ``turning`` the batches at which the bound changes (``timed`` looks for
    them, ``predict`` does not).
    """

    gpu: str
    mode: str
    seconds: float
    images_per_second: float
    bound: str
    basis: str
    low_seconds: float
    high_seconds: float
    software: str
    peak_share: float | None
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    turning: "TurningPoints | None" = None
    attention_kernel: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The row of a report's ``time``."""
        turning = self.turning or TurningPoints(None, None)
        return {
            "gpu": self.gpu,
            "mode": self.mode,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "bound": self.bound,
            "basis": self.basis,
            "low_seconds": self.low_seconds,
            "high_seconds": self.high_seconds,
            "software": self.software,
            "attention_kernel": list(self.attention_kernel),
            "peak_share": self.peak_share,
            **turning._asdict(),
            "parts": [part._asdict() for part in self.parts],
            "notes": list(self.notes),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """The step and its parts as flat rows, as a report's layers have theirs."""
        row = self.to_dict()
        del row["parts"], row["notes"]
        yield {"path": "", "type": "Time", **row}
        for part in self.parts:
            cells = {"gpu": self.gpu, "mode": self.mode, **part._asdict()}
            yield {"path": cells.pop("name"), "type": "Time", **cells}


class TurningPoints(NamedTuple):
    """The smallest batches at which launches no longer bound a step, and at which compute does.

    None: none up to 65,536.
    """

    beyond_overhead_batch: int | None
    compute_batch: int | None


def predict(
    config: Config,
    scenario: Scenario,
    gpu: "str | Card",
    *,
    anchors: Sequence[Anchor] = (),
    own: Mapping[str, Card] | None = None,
    calibrations: Sequence[Calibration] = (),
) -> Time:
    """The time of one step: a sum over its kernels' work, by the constants of the card.

    The scenario's software is by default the newest that the card was measured with;
    ``calibrations`` are the user's own, which come before the shipped ones. Raises ``UnknownName``
    for a card that nobody knows, ``NotCovered`` where its sheet lacks a figure.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> time = predict(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> time.basis, time.bound, 2400 < time.images_per_second < 3200
    ('calibrated', 'compute', True)
    >>> predict(config, Scenario(batch=256, precision="amp-bf16"), "h100-sxm").basis
    'spec_sheet'
    """
    row = card(gpu, own)
    if row.vendor == "CPU":
        scenario = replace(scenario, platform="cpu")
    elif scenario.platform == "cpu":
        raise NotCovered(f"{row.name} is no processor, and the platform is cpu")
    check_half(row, scenario)
    known = [*calibrations, *shipped(row)]
    setup = _setup(scenario, row, known)
    _check_fused(scenario, setup)
    scenario = on_card(scenario, row)
    anchors = [a._replace(scenario=on_card(a.scenario or scenario, row)) for a in anchors]
    sheet = sheet_of(row, setup)
    rates = widened(rates_of(row, setup, known), kind_of(config), setup.platform)
    parts = work(config, scenario, setup)
    seconds, shares = seconds_of(total(parts), sheet, setup, rates.constants)
    batches = [anchor.scenario.batch for anchor in anchors if anchor.scenario]
    overhead = shares["overhead"] / seconds
    unmeasured = _unmeasured(scenario, row, overhead, [rates.least_batch, *batches])
    if anchors:
        rates = _anchored(rates, scenario, setup, sheet, anchors)
    elif unlike := _unlike(config, scenario, setup, row):
        rates = rates._replace(band=max(rates.band, ANCHORED)).unlike(*unlike)
    checked = _checked(rates, scenario, row, unmeasured)
    time = _time(row, scenario, setup, sheet, checked, parts)
    return replace(time, attention_kernel=kernels_of(config, scenario, setup))


def check_half(row: Card, scenario: Scenario) -> None:
    """Refuses a half precision that the card's sheet has no peak for, where it has the other."""
    wanted = scenario.precision.removeprefix("amp-")
    if wanted in ("bf16", "fp16") and getattr(row.peaks, wanted) is None:
        other = {"bf16": "fp16", "fp16": "bf16"}[wanted]
        if getattr(row.peaks, other) is not None:
            precision = scenario.precision.replace(wanted, other)
            raise NotCovered(f"no source states a {wanted} peak of {row.name}; it has {precision}")


def _check_fused(scenario: Scenario, setup: Setup) -> None:
    """Refuses a fused attention that is asked for by name of a torch that had none."""
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
    told = tuple(_part(name, done, sheet, setup, rates) for name, done in parts.items())
    everything = total(parts)
    seconds, shares = seconds_of(everything, sheet, setup, rates.constants)
    flops = everything.flops * (3 if setup.training else 1)
    return Time(
        gpu=row.name,
        mode=setup.mode,
        seconds=seconds,
        images_per_second=scenario.batch / seconds,
        bound=max(shares, key=lambda name: shares[name]),
        basis=rates.basis,
        low_seconds=seconds * (1 - rates.band),
        high_seconds=seconds * (1 + rates.band),
        software=f"torch {setup.torch[0]}.{setup.torch[1]}" + (", compiled" * setup.compiled),
        peak_share=None if setup.platform == "cpu" else flops / seconds / sheet.flops_per_second,
        parts=told,
        notes=rates.notes,
    )


def _unmeasured(
    scenario: Scenario, row: Card, overhead: float, batches: Sequence[int]
) -> tuple[str, ...]:
    """Where a prediction leaves what was measured; ``overhead`` is the share of launches in it,
    ``batches`` the smallest that were measured, and those of anchors."""
    found = []
    if row.vendor == "CPU":
        most = max([1, *batches[1:]])
        return () if scenario.batch <= most else (_LARGER,)
    if scenario.batch < min(batches):
        found.append(f"batches below {min(batches)} were measured on no GPU")
    if overhead > MOST_LAUNCHING:
        found.append(f"launches, {overhead:.0%} of the time here, were measured on no GPU")
    return tuple(found)


def _unlike(config: Config, scenario: Scenario, setup: Setup, row: Card) -> tuple[str, ...]:
    """What of a step no file of measurements has, whose card and mode were measured."""
    found = []
    kernels, usual = (
        kernels_of(config, each, setup)
        for each in (scenario, on_card(replace(scenario, attention="sdpa"), row))
    )
    if kernels != usual:
        found.append(f"attention {', '.join(kernels)} was not measured in this software")
    if setup.training and scenario.checkpointing != "none":
        found.append("checkpointing was measured on no card")
    if setup.training and (scenario.freeze != "none" or scenario.lora):
        found.append("training of a part was measured on no card")
    return tuple(found)


def _checked(rates: Rates, scenario: Scenario, row: Card, unmeasured: tuple[str, ...]) -> Rates:
    """What a prediction rests on, and what there is to say about it."""
    notes = (*rates.notes, *unmeasured)
    if unmeasured:
        rates = rates._replace(basis="spec_sheet", band=SPEC_SHEET)
    if row.vendor not in ("", "CPU", *_MEASURED_VENDORS):
        notes = (*notes, f"no card of {row.vendor} was measured")
    if scenario.mode == "train" and scenario.recipe != "torch":
        notes = (*notes, f"the update is torch's, not that of {scenario.recipe}")
    return rates._replace(notes=notes)


def _part(name: str, done: Work, sheet: Sheet, setup: Setup, rates: Rates) -> Part:
    seconds, shares = seconds_of(done, sheet, setup, rates.constants)
    return Part(name, seconds, max(shares, key=lambda name: shares[name]))


def _setup(scenario: Scenario, row: Card, known: Sequence[Calibration]) -> Setup:
    """How the step runs: by default in the newest software that this was measured with."""
    setup = setup_of(scenario)
    if scenario.software:
        return setup
    measured = [c.setup.torch for c in known if c.gpu == row.name and same_mode(c.setup, setup)]
    return setup._replace(torch=max(measured)) if measured else setup


def _anchored(
    rates: Rates, scenario: Scenario, setup: Setup, sheet: Sheet, anchors: Sequence[Anchor]
) -> Rates:
    """The constants, all longer or shorter by what the anchors show."""
    factors = []
    for anchor in anchors:
        own = replace(anchor.scenario or scenario, platform=setup.platform)
        done = total(work(resolve(anchor.model).config, own, setup))
        seconds, shares = seconds_of(done, sheet, setup, rates.constants)
        measured = own.batch / anchor.images_per_second
        factors.append((measured - shares["overhead"]) / (seconds - shares["overhead"]))
    factor = sum(factors) / len(factors)
    if factor <= 0:
        raise ConfigError("an anchor is faster than the launches of its kernels alone")
    band = min(rates.band, ANCHORED)
    scaled = tuple(constant * factor for constant in rates.constants)
    return Rates(scaled, "anchored", band, rates.notes)


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
        raise ConfigError(f"an anchor is MODEL=IMAGES_PER_SECOND, got {text!r}")
    return anchor


def turning_points(
    config: Config, scenario: Scenario, gpu: "str | Card", **given: Any
) -> TurningPoints:
    """The batch from which launches no longer bound a step, and from which compute does.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> turning_points(config, Scenario(precision="amp-bf16"), "rtx4090").beyond_overhead_batch
    2
    """

    def first(wanted: tuple[str, ...]) -> int | None:
        low, high = 0, 1
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

    def bound(batch: int) -> str:
        return predict(config, replace(scenario, batch=batch), gpu, **given).bound

    return TurningPoints(first(("memory", "compute")), first(("compute",)))
