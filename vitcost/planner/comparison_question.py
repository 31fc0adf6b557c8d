"""The question of a comparison or a sweep: quantities, cards and terms of costs, from keywords."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from vitcost.costs.quantities import QUANTITIES, TIMED, check_terms, check_used, known
from vitcost.costs.quantity import TERMS, Terms
from vitcost.errors import ConfigError
from vitcost.outside.arguments import listed
from vitcost.planner.grid import CARD, Axis, Grid, check_apart
from vitcost.planner.job import data_of
from vitcost.planner.pareto import pair_of
from vitcost.planner.timing import Cards, cards_of

__all__ = ["COMPARED", "SCHEMA", "SHOWN", "Wanted", "asked_for", "terms_of"]

SCHEMA = "vitcost.compare/1"
# the quantities of a comparison if the user names none
COMPARED: tuple[str, ...] = (
    "params",
    "flops",
    "train_flops",
    "inference_memory",
    "weights",
    "gradients",
    "optimizer_states",
    "saved_activations",
    "train_memory",
)
# the quantities on a page, which has room for few columns
SHOWN = ("params", "flops", "inference_memory", "train_memory")


class Wanted(NamedTuple):
    """The question: the grid, the keywords of a report, all keywords that hold for every row, the
    quantities, the quantities that a page shows, the two of a Pareto front, and the cards if a time
    is asked for. ``why``: whether layers are compared."""

    varied: Grid
    flags: Mapping[str, Any]
    given: Mapping[str, Any]
    names: tuple[str, ...]
    shown: tuple[str, ...]
    pair: tuple[str, str] | None
    cards: Cards | None
    why: bool = False

    @property
    def every(self) -> tuple[str, ...]:
        """Every quantity that exists; a picture may show any of them."""
        return tuple(dict.fromkeys((*self.names, *QUANTITIES)))


def asked_for(
    varied: Grid,
    keywords: Mapping[str, Any],
    quantities: Sequence[str] | None,
    pareto: Sequence[str] | None,
    timed: Iterable[str] | None = None,
    why: bool = False,
) -> Wanted:
    """The question behind keywords. Several cards vary like a field, except beside finished
    reports, whose cards are ``timed``. A card is named for a time, a price and samples for the cost
    of a run.

    Raises ``NotCovered`` or ``ConfigError`` for a quantity that needs a card, a price or samples
    that are not given, and for terms that no quantity needs; ``UnknownName`` for an unknown
    quantity.

    >>> from vitcost.planner.grid import grid
    >>> asked_for(grid(None), {"gpu": ["l4", "t4"]}, ["params"], None).names
    ('params', 'step_time')
    """
    flags = {name: value for name, value in keywords.items() if name not in TERMS}
    terms = {name: keywords[name] for name in TERMS if keywords.get(name) not in (None, (), [])}
    cards = flags.get(CARD) or ()
    if len(cards) > 1 and timed is None:
        check_apart(varied, flags)
        varied = Grid((*varied.axes, Axis(CARD, tuple(dict.fromkeys(flags.pop(CARD))))))
    kept = {name: value for name, value in keywords.items() if name in flags or name in terms}
    samples = _samples(terms)
    pair = pair_of(pareto)
    costs = () if quantities is not None else _costs(terms)
    named = known([*(COMPARED if quantities is None else quantities), *costs, *(pair or ())])
    on_card = bool(cards) or any(axis.name == CARD for axis in varied.axes)
    # naming a card asks for its time
    asked = quantities is not None and TIMED.keys() & {*named}
    time = ("step_time",) if on_card and not asked else ()
    names = known([*named, *time])
    shown = names if quantities is not None else known([*SHOWN, *costs, *time, *(pair or ())])
    check_used((name for name in ("price", "samples") if name in terms), names)
    cards_asked = None
    if on_card or timed:
        cards_asked = cards_of(flags, varied, terms.get("price"), samples, timed or ())
        check_terms(names, cards_asked.names, cards_asked.terms)
    else:
        check_terms(names, ())
    return Wanted(varied, flags, kept, names, shown, pair, cards_asked, why)


def terms_of(flags: Mapping[str, Any], keywords: Mapping[str, Any], names: Iterable[str]) -> Terms:
    """The terms of the costs among these quantities, on the cards in ``flags``. Raises
    ``ConfigError`` for a price or samples that are none, ``UnknownName`` for an unknown card.

    >>> dict(terms_of({"gpu": "l4"}, {"price": 0.8}, ["cost_per_million_images"]).prices)
    {'l4': 0.8}
    """
    samples = _samples(keywords)
    check_used((name for name in ("price", "samples") if name in keywords), names)
    cards = {**flags, CARD: listed(CARD, flags.get(CARD))}
    return cards_of(cards, Grid(()), keywords.get("price"), samples).terms


def _samples(terms: Mapping[str, Any]) -> int | None:
    """The number of samples of a run."""
    if "samples" in terms:
        return prod(data_of(terms["samples"], terms.get("epochs", 1)))
    if "epochs" in terms:
        raise ConfigError(
            "epochs need samples, the images of one epoch: give samples, such as 1.28M"
        )
    return None


def _costs(terms: Mapping[str, Any]) -> tuple[str, ...]:
    """The quantities for which terms of costs are given, if the user names no quantity."""
    return tuple(name for name, row in TIMED.items() if row.needs and {*row.needs} <= {*terms})
