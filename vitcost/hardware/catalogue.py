"""``gpus``: the known cards, the measurements of each, and the source of each figure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vitcost.errors import UnknownName
from vitcost.hardware.calibrations import shipped
from vitcost.hardware.cards import ALIASES, CARDS, Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.measurement_files import calibration_row
from vitcost.hardware.specs import card_dict, matching, own_cards
from vitcost.outside.arguments import listed, takes, text
from vitcost.render.result import Result

__all__ = ["Gpus", "gpus", "measured_on"]


@dataclass(frozen=True, slots=True)
class Gpus(Result):
    """The cards that a query found."""

    found: tuple[Card, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.gpus/1``."""
        return {"schema": "vitcost.gpus/1", "rows": list(self.rows())}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each card: ``pandas.DataFrame(gpus().rows())``."""
        for row in self.found:
            measured = [calibration_row(c) for c in measured_on(row)]
            yield {**card_dict(row), "measured": measured}


@takes(query=text, gpu_file=listed)
def gpus(query: str = "", *, gpu_file: "str | Iterable[str]" = ()) -> Gpus:
    """The cards whose name, alias or vendor contains the query; the user's own are among them.

    Raises ``UnknownName`` with the nearest names if there is none, ``ConfigError`` for a file
    without cards.

    >>> [row.name for row in gpus("h200").found]
    ['h200-sxm', 'h200-nvl']
    """
    users_cards = own_cards(gpu_file)
    cards = matching(query, users_cards)
    if not cards:
        raise UnknownName(
            "gpu", query, [*users_cards, *CARDS, *ALIASES], "`vitcost gpus` lists all"
        )
    return Gpus(tuple(cards))


def measured_on(row: Card) -> list[Calibration]:
    """The shipped constants of a card, if it, or the card from which it is made, was measured.

    >>> from vitcost.hardware.specs import card
    >>> {row.gpu for row in measured_on(card("rtx4090"))}, measured_on(card("h200-nvl"))
    ({'rtx4090'}, [])
    """
    return [c for c in shipped(row) if c.gpu == row.name]
