"""The times that a user asks for: cards by name or by figures, the user's own files, anchors."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered
from vitcost.hardware.basis import Anchor
from vitcost.hardware.beside import beside, verdict_on
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import Card
from vitcost.hardware.predicted import TurningPoints
from vitcost.hardware.roofline import Time, predict, turning_points
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.users_cards import Known, anchors_of, known

__all__ = ["timed"]


def timed(
    config: Config,
    scenario: Scenario,
    gpu: "str | Card | Iterable[str | Card]",
    *,
    gpu_file: "str | Iterable[str]" = (),
    calibration: "str | Iterable[str]" = (),
    anchor: "str | Anchor | Iterable[str | Anchor]" = (),
    tensors: Callable[[Scenario], int | None] = lambda scenario: None,
    turning: bool = True,
    known: Callable[[Any, Any], Known] = known,
) -> tuple[Time, ...]:
    """The time of a step on each card; with ``turning`` also the smallest batches at which launches
    no longer bound it, and at which compute does: a search of up to fifty predictions.

    ``gpu_file`` has cards of the user's own, ``calibration`` constants that ``calibrate`` wrote,
    ``anchor`` is the measured speed of one card in this scenario, ``MODEL=IMAGES_PER_SECOND``;
    ``tensors`` gives the bytes that a scenario needs on a card, for the verdict; ``known`` reads
    the files. Raises ``ConfigError`` for an anchor beside several cards, and ``UnknownName``,
    ``NotCovered`` and ``ConfigError`` as ``predict`` does.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> (time,) = timed(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> time.basis, time.turning
    ('calibrated', TurningPoints(beyond_overhead_batch=14, compute_batch=14))
    """
    users_cards, constants = known(gpu_file, calibration)
    cards = asked_cards(gpu, users_cards)
    anchors = [each._replace(scenario=each.scenario or scenario) for each in anchors_of(anchor)]
    if anchors and len(cards) != 1:
        raise ConfigError(f"an anchor was measured on one card; {len(cards)} are asked for")
    measured: dict[str, Any] = {"anchors": anchors, "calibrations": constants}
    return tuple(
        replace(
            predict(config, scenario, card, **measured),
            turning=_turning(config, scenario, card, **measured) if turning else None,
            **_memory(card, scenario, tensors(on_card(scenario, card))),
        )
        for card in cards
    )


def _turning(config: Config, scenario: Scenario, card: Card, **given: Any) -> TurningPoints | None:
    """The turning points; None for a trace of a single batch, as it has no other batch."""
    try:
        return turning_points(config, scenario, card, **given)
    except NotCovered:
        if not hasattr(config, "workload"):
            raise
        return None


def _memory(card: Card, scenario: Scenario, tensor_bytes: int | None) -> dict[str, Any]:
    """Whether the step's tensors fit the card; nothing if their bytes are not known."""
    if tensor_bytes is None:
        return {}
    needs = beside(card, tensor_bytes, scenario.software)
    verdict, left = verdict_on(card, tensor_bytes, needs.total_bytes) or (None, None)
    fit_fields = {"verdict": verdict, "headroom_bytes": left, "beside": needs}
    return {**fit_fields, "tensor_bytes": tensor_bytes}
