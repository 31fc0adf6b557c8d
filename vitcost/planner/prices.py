"""Prices of cards as a user gives them: one for all, one for each card, or a file of them."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from vitcost.config.fields import ABOVE_0, as_python, within
from vitcost.errors import ConfigError
from vitcost.hardware.cards import Card
from vitcost.hardware.specs import card
from vitcost.outside.arguments import listed, text
from vitcost.outside.reading import PRICES, read_toml
from vitcost.planner.job import parse_price

__all__ = ["Price", "Prices", "prices"]

Price: TypeAlias = "float | str | Mapping[str, float | str] | list[str | float]"

# the key for the price of all cards that have no price of their own
_ALL = ""


class Prices:
    """Prices of an hour of cards, in the currency in which they were given.

    ``named`` are prices of single cards, ``filed`` prices from files and mappings, which may list
    cards that the question does not name.
    """

    def __init__(self, named: Mapping[str, float], filed: Mapping[str, float]) -> None:
        self.named, self.filed = named, filed

    @property
    def cards(self) -> tuple[str, ...]:
        """The names of the cards that have a price of their own."""
        return tuple(name for name in {**self.filed, **self.named} if name != _ALL)

    def of(self, row: Card) -> float | None:
        """The price of a card itself, else of the catalogue's card that it is based on, else the
        price of all; None: there is none."""
        return self.of_names(row.name, row.kin)

    def of_names(self, *names: str) -> float | None:
        """The price of the first of these names that has one, else the price of all cards."""
        known = {**self.filed, **self.named}
        prices = (known.get(name) for name in (*names, _ALL))
        return next((each for each in prices if each is not None), None)

    def check(self, rows: "tuple[Card, ...]", others: Iterable[str] = ()) -> None:
        """Raises ``ConfigError`` for a price for a card that is not in the question; ``others`` are
        names of further cards in it."""
        asked = {name for row in rows for name in (row.name, row.kin)} | set(others)
        for name in self.named:
            if name not in (*asked, _ALL):
                raise ConfigError(
                    f"price of {name}, which is not among the cards: "
                    f"{', '.join([*(row.name for row in rows), *others])}"
                )


def prices(price: "Price | None", users_cards: Mapping[str, Card]) -> Prices:
    """Prices per hour: a number for all cards, ``CARD=2.5/h``, a mapping, or the path of a TOML
    file with a table ``[price]``; or a list of several.

    Raises ``ConfigError`` for a price that is no number, or that is given twice; ``UnknownName``
    for an unknown card.

    >>> from vitcost.hardware.specs import card
    >>> found = prices(["l4=0.8/h", "2.5"], {})
    >>> found.of(card("l4")), found.of(card("h100-sxm"))
    (0.8, 2.5)
    """
    named: dict[str, float] = {}
    filed: dict[str, float] = {}
    for each in [price] if isinstance(price, Mapping) else listed("price", price):
        if isinstance(each, Mapping):
            _add(filed, each, users_cards)
        elif isinstance(each, str) and each.lower().endswith(".toml"):
            _add(filed, _table(each), users_cards)
        elif isinstance(each, str) and "=" in each:
            name, _, amount = each.rpartition("=")
            _add(named, {name: amount}, users_cards)
        else:
            _add(named, {_ALL: each}, users_cards)
    return Prices(named, filed)


def _add(
    by_card: dict[str, float], more: Mapping[str, Any], users_cards: Mapping[str, Card]
) -> None:
    for key, amount in more.items():
        name = text("a card", key)
        # a name followed by figures defines a card of the user's own
        plain = "," in name or name == _ALL
        priced = name if plain else card(name.strip(), users_cards).name
        if priced in by_card:
            raise ConfigError(f"two prices of {priced}" if priced else "two prices of all cards")
        by_card[priced] = _amount(priced, amount)


def _table(path: str) -> Mapping[str, Any]:
    document = read_toml(path, PRICES)
    table = document.get("price")
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{path}: no prices; they are a table, [price], with CARD = 2.5")
    return table


def _amount(name: str, amount: Any) -> float:
    value = as_python(amount)
    if isinstance(value, str):
        try:
            value = parse_price(value)
        except ConfigError:
            value = None
    of = f"price of {name}" if name else "price"
    must = f"{of} must be above 0, of a card and hour, such as 2.5 or 2.5/h"
    return within(value, ABOVE_0, 1e12, must, amount)
