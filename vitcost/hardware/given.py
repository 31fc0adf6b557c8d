"""Cards as the user knows them: own figures, constants that were fitted, measured times."""

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
    """Cards and constants of the user's files. A calibration of a card of the user's own has the
    card beside its constants; a file of cards comes before it.

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
    """Anchors as they are, or as they are typed; ``ConfigError`` for one that is neither.

    >>> [anchor.images_per_second for anchor in anchors_of("vit_base_patch16_224=2787")]
    [2787.0]
    """
    measured = several("anchor", anchors, str, Anchor)
    return [parse_anchor(each) if isinstance(each, str) else each for each in measured]
