"""A quantity: its place in a report, how a formula or the time of a step gives it, and its unit."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = [
    "NO_TERMS",
    "TERMS",
    "Amount",
    "Formula",
    "OfTime",
    "Quantity",
    "Terms",
    "cost",
    "cost_per_million_images",
    "gpu_hours",
    "images_per_second",
    "step_time",
]

# keywords of a cost
TERMS = ("price", "samples", "epochs")
_HOUR = 3600

Amount: TypeAlias = int | float


class Formula(NamedTuple):
    """How ``explain`` finds a quantity: by a rule, run on symbols in place of sizes.

    ``of`` names the terms that the rule adds up: costs of the engine, modules with a name, or
    states.
    """

    rule: str  # one of formulas.terms.RULES
    of: tuple[str, ...]
    unit: str  # the unit of its number, in words
    reference: str
    flags: tuple[str, ...] = ("batch",)  # flags of a scenario that change it
    module: str = ""


class Terms(NamedTuple):
    """The facts of a cost beside its time: ``prices`` of an hour of each card, and the ``samples``
    of a run: images, or sequences of a model that reads text."""

    prices: Mapping[str, float] = MappingProxyType({})
    samples: int | None = None


NO_TERMS = Terms()


class Timed(NamedTuple):
    """A step's time on a card and the terms of its cost: numbers, or arrays."""

    seconds: Any
    batch: Any
    price: Any
    samples: Any


def step_time(step: Timed) -> Any:
    """Seconds of a step.

    >>> step_time(Timed(0.25, 500, None, None))
    0.25
    """
    return step.seconds


def images_per_second(step: Timed) -> Any:
    """Images a second: ``batch / seconds``.

    >>> images_per_second(Timed(0.25, 500, None, None))
    2000.0
    """
    return step.batch / step.seconds


def cost_per_million_images(step: Timed) -> Any:
    """Money for a million images: ``10⁶ / images_per_second / 3600 · price``, with the price of one
    card for one hour.

    >>> cost_per_million_images(Timed(0.25, 500, 7.2, None))  # 500 s of a card
    1.0
    """
    return 10**6 / images_per_second(step) / _HOUR * step.price


def gpu_hours(step: Timed) -> Any:
    """Hours of one card for a run: ``⌈samples / batch⌉ · seconds / 3600``. A last batch with fewer
    samples counts as a whole one.

    >>> gpu_hours(Timed(0.25, 500, None, 14_400_000))  # 28,800 steps
    2.0
    """
    return -(-step.samples // step.batch) * step.seconds / _HOUR


def cost(step: Timed) -> Any:
    """Money for a run: ``gpu_hours · price``.

    >>> cost(Timed(0.25, 500, 3.0, 14_400_000))
    6.0
    """
    return gpu_hours(step) * step.price


class OfTime(NamedTuple):
    """A quantity that follows from the time of a step: one of the functions above, the terms that
    it needs, and the mode in which it exists."""

    of: Callable[[Timed], Any]
    needs: tuple[str, ...] = ()  # price | samples
    mode: str = ""

    def lacks(self, terms: Terms, cards: Iterable[str]) -> str:
        """The first needed term that is not given, in words; empty: nothing is missing."""
        if "samples" in self.needs and terms.samples is None:
            return "samples, the number of images of a run: give samples, such as 1.28M"
        for card in cards if "price" in self.needs else ():
            if card not in terms.prices:
                return f"a price of {card}: give price, of a card and hour, such as 2.5 or 2.5/h"
        return ""

    def at(self, mode: str, card: str, seconds: Any, batch: Any, terms: Terms) -> Any:
        """The quantity of a step that takes ``seconds`` for ``batch`` images; None in another mode,
        or if a term is missing."""
        if self.mode not in ("", mode) or self.lacks(terms, (card,)):
            return None
        return self.of(Timed(seconds, batch, terms.prices.get(card), terms.samples))

    def read(self, data: Mapping[str, Any], terms: Terms) -> Iterator[Amount | None]:
        """The quantity on each card of a report's JSON."""
        batch = data["scenario"]["batch"]
        for row in data["time"]:
            yield self.at(row["mode"], row["gpu"], row["seconds"], batch, terms)


class Quantity(NamedTuple):
    """A number of a report, or of a formula: one row, with one name everywhere.

    ``path`` is its place in the JSON of a report; empty: it can only be explained. A report without
    an exact figure has null there, or an empty list. A limit is compared with the largest of
    several figures; with the least if more is better (``more``). ``layers`` are the columns of a
    layer that it depends on.
    """

    path: str
    unit: str  # count | si | bytes | seconds | rate | money | hours, as a page has them
    layers: tuple[str, ...]
    formula: Formula | None
    of_time: OfTime | None = None
    more: bool = False

    def key(self, name: str) -> str:
        """The key of the quantity in JSON, with the unit."""
        if self.unit in ("bytes", "seconds") and not name.startswith("bytes"):
            return f"{name}_{self.unit}"
        return name

    def read(self, report: "Result | Mapping[str, Any]", terms: Terms = NO_TERMS) -> Amount | None:
        """The number in a report, or in its JSON.

        >>> from vitcost import report
        >>> from vitcost.costs.quantities import QUANTITIES
        >>> QUANTITIES["flops"].read(report("vit_tiny_patch16_224"))
        2507366400
        """
        inside: Any = report if isinstance(report, Mapping) else report.to_dict()
        if self.of_time is not None:
            return self.worst(self.of_time.read(inside, terms))
        for key in self.path.split("."):
            inside = inside[key]
        number: Amount | None = inside
        return number

    def worst(self, numbers: Iterable[Amount | None]) -> Amount | None:
        """The worst of several figures: the largest, or the least if more is better."""
        known = [number for number in numbers if number is not None]
        return (min if self.more else max)(known) if known else None
