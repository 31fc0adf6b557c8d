"""The user's own knowledge of cards: figures, fitted constants, measured times."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vitcost.config.fields import several
from vitcost.hardware.basis import Anchor, parse_anchor
from vitcost.hardware.calibrate import load_calibrations
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.specs import load_cards, own_cards

__all__ = ["Known", "anchors_of", "known"]


class Known(NamedTuple):
    """The user's own cards by name, and constants of cards."""

    cards: Mapping[str, Card]
    calibrations: list[Calibration]


def known(gpu_file: "str | Iterable[str]", calibration: "str | Iterable[str]") -> Known:
    """Cards and constants of the user's files. A calibration file of the user's own card also
    describes the card; a file of cards overrules that description.

    Raises ``ConfigError`` for a file that cannot be read, ``UnknownName`` for a figure that no card
    has.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile("w", suffix=".toml") as file:
    ...     _ = file.write("gpu.mine = {like = 'l4', memory_gb = 48}")
    ...     file.flush()
    ...     [row.memory_gb for row in known(file.name, ()).cards.values()]
    [48]
    """
    files = several("calibration", calibration, str)
    carried = {name: row for path in files for name, row in load_cards(path).items()}
    return Known(
        {**carried, **own_cards(gpu_file)},
        [row for path in files for row in load_calibrations(path)],
    )


def anchors_of(anchors: "str | Anchor | Iterable[str | Anchor]") -> list[Anchor]:
    """Anchors, given as objects or as typed text; else ``ConfigError``.

    >>> [anchor.images_per_second for anchor in anchors_of("vit_base_patch16_224=2787")]
    [2787.0]
    """
    measured = several("anchor", anchors, str, Anchor)
    return [parse_anchor(each) if isinstance(each, str) else each for each in measured]
