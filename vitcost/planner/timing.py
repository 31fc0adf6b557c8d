"""The times of a sweep: the card of each row, and the quantities that follow from its time."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import TIMED
from vitcost.costs.quantity import Terms
from vitcost.engine.model import Config
from vitcost.hardware.cards import Card
from vitcost.hardware.columns import Clock, Times, clock
from vitcost.hardware.roofline import predict
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.users_cards import Known, known
from vitcost.planner.chunk import Filled
from vitcost.planner.grid import CARD, Grid
from vitcost.planner.prices import Price, prices

__all__ = ["ON_CARD", "Cards", "cards_of"]

# keywords that a time needs beside the scenario
ON_CARD = ("gpu", "gpu_file", "calibration", "anchor")


class Cards(NamedTuple):
    """The cards of a question by name, with prices and samples for their costs."""

    known: Known
    names: tuple[str, ...]
    terms: Terms

    def card(self, name: "str | Card") -> Card:
        """The card with a name; a card of the user's own is returned as it is."""
        (named,) = asked_cards([name], self.known.cards)
        return named

    def clock(self, config: Config, scenario: Scenario, card: Card) -> Clock | None:
        """A function for the time of all configs of a structure, made from one of them."""
        return clock(config, scenario, card, self.known.calibrations)

    def one(self, config: Config, scenario: Scenario, card: Card) -> Times:
        """The times of one row."""
        time = predict(config, scenario, card, calibrations=self.known.calibrations)
        return Times(*(getattr(time, name) for name in Times._fields))

    def put(self, time: Times, batch: Any, rows: Any, names: Iterable[str], to: Filled) -> None:
        """Stores the times of some rows, and the quantities that follow from them."""
        to.time(rows, time)
        for name in names:
            quantity = TIMED[name].at(time.mode, time.gpu, time.seconds, batch, self.terms)
            to.put(name, rows, quantity)


def cards_of(
    keywords: Mapping[str, Any],
    varied: Grid,
    price: "Price | None",
    samples: int | None,
    others: Iterable[str] = (),
) -> Cards:
    """The cards that keywords and a grid name, with their prices, for a run over ``samples``
    samples. ``others`` are names of cards in finished reports, which may have a price too.

    Raises ``UnknownName`` for an unknown card, ``ConfigError`` for a price that is none.

    >>> from vitcost.planner.grid import grid
    >>> cards = cards_of({"gpu": ["l4"]}, grid({"gpu": ["t4"]}), ["l4=0.8/h", "0.5"], None)
    >>> cards.names, dict(cards.terms.prices)
    (('l4', 't4'), {'l4': 0.8, 't4': 0.5})
    """
    files = known(keywords.get("gpu_file") or (), keywords.get("calibration") or ())
    names = [name for axis in varied.axes if axis.name == CARD for name in axis.values]
    rows = tuple(dict.fromkeys(asked_cards([*(keywords.get(CARD) or ()), *names], files.cards)))
    others = tuple(others)
    costs = prices(price, files.cards)
    costs.check(rows, others)
    priced = {name: costs.of_names(name) for name in others}
    priced.update({row.name: costs.of(row) for row in rows})
    terms = Terms({name: each for name, each in priced.items() if each is not None}, samples)
    return Cards(files, tuple(priced), terms)
