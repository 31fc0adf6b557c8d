"""``serve``: how many cards carry a rate of images within a latency, in which batch, at
which cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from vitcost.config.flags import TRAINING
from vitcost.config.scenario import Scenario
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, UnknownName
from vitcost.hardware.basis import Anchor, check_half
from vitcost.hardware.card_attention import on_card, on_platform
from vitcost.hardware.cards import Card
from vitcost.hardware.default_precision import AUTO, AUTOMATIC, precision_on
from vitcost.hardware.roofline import predict
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.users_cards import anchors_of, known
from vitcost.outside.arguments import between, listed, optional, takes, text
from vitcost.planner.capacity import BATCHES
from vitcost.planner.from_keywords import asked, check_stated
from vitcost.planner.load import Load, load
from vitcost.planner.prices import Price, Prices, prices
from vitcost.planner.reserve import Reserve, parse_reserve
from vitcost.planner.serving import Question, ServeRow, row_of
from vitcost.render.result import Result
from vitcost.zoo import Model, Resolved

__all__ = ["DECIDED", "Serve", "ServeRow", "serve"]

SCHEMA = "vitcost.serve/1"
# fields of a scenario that the card decides, or that no result of ``serve`` depends on
DECIDED = ("batch", "mode", "precision", "platform", "ranks", *TRAINING)
_REFUSED = {
    "mode": "serving is inference",
    "platform": "it follows from the card",
    "ranks": "serving finds how many cards are enough",
    **dict.fromkeys(TRAINING, "only a training step has it, and serving is inference"),
}


@dataclass(frozen=True, slots=True)
class Serve(Result):
    """Cards for a load of images: the cheapest first; without prices, the card of which the fewest
    are needed."""

    model: Resolved
    scenario: Scenario
    precision: str  # the caller's precision; ``auto``: each card runs in its own
    batch: int | None  # the caller's batch, or None: several batches were tried
    load: Load
    reserve: Reserve
    found: tuple[ServeRow, ...]

    @property
    def best(self) -> ServeRow | None:
        """The first card that carries the load."""
        return next((row for row in self.found if row.cards is not None), None)

    @property
    def ok(self) -> bool:
        """Whether any card carries the load."""
        return self.best is not None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.serve/1``."""
        scenario = asdict(self.scenario)
        for name in DECIDED:
            del scenario[name]
        rows = (
            {
                **row._asdict(),
                "attention_kernel": list(row.attention_kernel),
                "notes": list(row.notes),
            }
            for row in self.found
        )
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "scenario": {**scenario, "precision": self.precision, "batch": self.batch},
            "load": self.load._asdict(),
            "reserve": str(self.reserve),
            "ok": self.ok,
            "rows": list(rows),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each card: ``pandas.DataFrame(serve(...).rows())``."""
        for row in self.found:
            flat = {"model": self.model.name, **row._asdict()}
            flat["attention_kernel"] = " ".join(row.attention_kernel)
            flat["notes"] = "; ".join(row.notes)
            yield flat


@takes(
    gpu=listed,
    gpu_file=listed,
    precision=text,
    batch=optional(between(1, 10**6)),
    calibration=listed,
    anchor=listed,
)
def serve(
    model: Model,
    *,
    rate: float | str,
    slo: float | str | None = None,
    percentile: float | str = 99,
    utilization: float | str = 0.7,
    gpu: "str | Card | Sequence[str | Card]" = (),
    price: "Price | None" = None,
    precision: str = AUTO,
    batch: int | None = None,
    reserve: int | str = "auto",
    gpu_file: "str | Sequence[str]" = (),
    calibration: "str | Sequence[str]" = (),
    anchor: "str | Anchor | Sequence[str | Anchor]" = (),
    **given: Any,
) -> Serve:
    """How many cards of a kind answer so many images a second within a latency, cheapest first.

    ``rate`` is images a second (``"5000/s"``, ``"20M/d"``), ``slo`` the seconds within which
    ``percentile`` percent of them have their answer (``"20ms"``; None: at any time),
    ``utilization`` the largest share of the time that a card may be busy. ``gpu`` names the cards;
    by default all cards with a price are taken. ``price`` is for one card and one hour: a number,
    ``"l4=0.8/h"``, a mapping, or the path of a TOML file with ``[price]``. ``precision`` is by
    default what each card is for (``vitcost.hardware.default_precision``). Batches of 1, 2, 3, 4,
    6, 8, … 1024 images are tried, or only ``batch``; the one that needs the fewest cards is taken,
    and among equals the one that answers sooner. ``reserve`` is the memory of a card that stays
    free: bytes, or as typed.

    Images arrive at random, one by one (Poisson). Consecutive images form a batch, which runs, when
    it is full, on the first free card. The latency is then exact (``vitcost.planner.queueing``),
    given a batch's time, which is a prediction: the cards keep the latency at the high end of its
    band. ``given``: fields of the scenario and of the config, as for ``report``; flags of training
    are refused. An ``anchor`` was measured at the ``batch``. Raises ``VitcostError`` for a question
    that is not possible.

    >>> found = serve("vit_base_patch16_224", rate="1000/s", slo="100ms", gpu=["l4", "h100-sxm"],
    ...               price={"l4": 0.8, "h100-sxm": 3})
    >>> [(row.gpu, row.cards, row.batch, row.precision) for row in found.found]
    [('h100-sxm', 1, 12, 'bf16'), ('l4', 4, 16, 'bf16')]
    """
    for name, why in _REFUSED.items():
        if name in given:
            raise ConfigError(f"serve takes no {name}: {why}")
    if precision not in AUTOMATIC:
        raise UnknownName("precision", precision, AUTOMATIC, f"allowed: {', '.join(AUTOMATIC)}")
    wanted = load(rate=rate, slo=slo, percentile=percentile, utilization=utilization)
    users_cards, constants = known(gpu_file, calibration)
    costs = prices(price, users_cards)
    cards = _cards(gpu, users_cards, costs)
    plain = "fp32" if precision == AUTO else precision
    resolved, scenario = asked(model, given, mode="infer", batch=batch or 1, precision=plain)
    kept = parse_reserve(reserve)
    time = partial(
        predict,
        resolved.config,
        anchors=_anchors(anchor, batch, cards),
        calibrations=constants,
    )
    tried = BATCHES if batch is None else (batch,)
    run = workload(resolved.config, scenario)
    question = Question(run, time, wanted, costs, kept, tried)
    rows = [row_of(question, row, _on(row, scenario, precision)) for row in cards]
    rows.sort(key=_order)
    return Serve(resolved, scenario, precision, batch, wanted, kept, tuple(rows))


def _on(card: Card, scenario: Scenario, precision: str) -> Scenario:
    """The scenario in the form in which a card runs it."""
    if precision == AUTO:
        scenario = replace(scenario, precision=precision_on(card, training=False))
    check_half(card, scenario)
    return on_card(on_platform(scenario, card), card)


def _order(row: ServeRow) -> tuple[bool, bool, float, int]:
    """A sort key: cards that carry the load come first, the cheapest first; then cards without a
    price, the fewest needed first."""
    cost = row.cost_per_million_images
    return row.cards is None, cost is None, cost or 0.0, row.cards or 0


def _cards(
    gpu: "str | Card | Sequence[str | Card]", users_cards: Mapping[str, Card], costs: Prices
) -> tuple[Card, ...]:
    """The cards that are asked for, each once; if none is named, every card with a price."""
    cards = tuple(dict.fromkeys(asked_cards(gpu or costs.cards, users_cards)))
    if not cards:
        raise ConfigError("no card: name one or several, gpu, or give prices, CARD=2.5/h")
    for row in cards:
        check_stated(row, row.capacity_bytes, "memory_gb")
    costs.check(cards)
    return cards


def _anchors(
    measured: "str | Anchor | Sequence[str | Anchor]", batch: int | None, cards: Sequence[Card]
) -> list[Anchor]:
    """The anchors with the scenario that they were measured in: their own batch, or the
    given one."""
    anchors = anchors_of(measured)
    if anchors and len(cards) != 1:
        raise ConfigError(f"an anchor was measured on one card; {len(cards)} are asked for")
    if batch is None and not all(each.scenario for each in anchors):
        raise ConfigError("an anchor was measured at one batch: give it as batch")
    return anchors
