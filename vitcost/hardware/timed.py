"""The times that a user asks for: cards by name or by figures, own files, anchors."""

from collections.abc import Iterable
from dataclasses import replace

from vitcost.engine.model import Config
from vitcost.errors import ConfigError
from vitcost.fields import several
from vitcost.hardware.calibrate import load_calibrations
from vitcost.hardware.cards import Card
from vitcost.hardware.roofline import Anchor, Time, parse_anchor, predict, turning_points
from vitcost.hardware.specs import asked_cards, load_cards, own_cards
from vitcost.scenario import Scenario

__all__ = ["timed"]


def timed(
    config: Config,
    scenario: Scenario,
    gpu: "str | Card | Iterable[str | Card]",
    *,
    gpu_file: "str | Iterable[str]" = (),
    calibration: "str | Iterable[str]" = (),
    anchor: "str | Anchor | Iterable[str | Anchor]" = (),
) -> tuple[Time, ...]:
    """The time of a step on each card that was asked for, with the batches at which it turns.

    ``gpu_file`` has cards of the user's own, ``calibration`` constants that ``calibrate`` wrote,
    ``anchor`` what one card was measured to do in this scenario, ``MODEL=IMAGES_PER_SECOND``.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> (time,) = timed(config, Scenario(batch=256, precision="amp-bf16"), "rtx4090")
    >>> time.basis, time.turning
    ('calibrated', TurningPoints(beyond_overhead_batch=14, compute_batch=14))
    """
    files = several("calibration", calibration, str)
    # a calibration of a card of one's own has it beside the constants
    beside = {name: row for path in files for name, row in load_cards(path).items()}
    cards = asked_cards(gpu, {**beside, **own_cards(gpu_file)})
    measured = several("anchor", anchor, str, Anchor)
    anchors = [each if isinstance(each, Anchor) else parse_anchor(each) for each in measured]
    anchors = [each._replace(scenario=each.scenario or scenario) for each in anchors]
    if anchors and len(cards) != 1:
        raise ConfigError(f"an anchor was measured on one card; {len(cards)} are asked for")
    own = [row for path in files for row in load_calibrations(path)]
    return tuple(
        replace(
            predict(config, scenario, card, anchors=anchors, calibrations=own),
            turning=turning_points(config, scenario, card, anchors=anchors, calibrations=own),
        )
        for card in cards
    )
