"""``plan``: the time, the cost and the best division of a training run on given cards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, UnknownName, VitcostError
from vitcost.hardware.basis import Anchor
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.default_precision import precision_on
from vitcost.hardware.roofline import predict
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.users_cards import anchors_of, known
from vitcost.outside.arguments import between, flag, listed, optional, takes, text
from vitcost.planner.assumptions import assumptions
from vitcost.planner.choose import PlanRow, planned, simplest
from vitcost.planner.deadline import Late, fewest_cards
from vitcost.planner.from_keywords import asked, check_stated
from vitcost.planner.job import Job, job
from vitcost.planner.nodes import check_node, nodes_of
from vitcost.planner.pace import pace_of, step_cost
from vitcost.planner.prices import Price, prices
from vitcost.planner.reserve import Reserve, parse_reserve
from vitcost.planner.strategies import Fixed
from vitcost.render.result import Result
from vitcost.zoo import Model, Resolved

__all__ = ["DECIDED", "OnCard", "Plan", "PlanRow", "Totals", "plan"]

SCHEMA = "vitcost.plan/1"
# fields of a scenario that the division of a step decides, and the keyword to give instead
DECIDED = {
    "batch": "give global_batch, or micro_batch",
    "mode": "it is always train",
    "ranks": "give cards, or a deadline",
    "accumulate": "give micro_batch",
    "optimizer_in_backward": "its gradients are added up and summed over cards",
    "policy": "its shards have the type that it computes in",
    "gather": "it takes no pair of towers, whose loss gathers features",
    "grad_scaler": "each card has a precision of its own, and report the 24 bytes of a scaler",
}


class OnCard(NamedTuple):
    """The simplest of the fastest ways on one of several kinds of card; if there is none,
    ``missing`` says why."""

    gpu: str
    precision: str | None
    cards: int | None
    basis: str | None
    best: PlanRow | None
    missing: str | None


class Totals(NamedTuple):
    """The totals of a run, the same on any cards; counts are exact.

    ``rule_flops`` are 6 for each parameter and token: Kaplan et al. 2020, arXiv 2001.08361, section
    2.1. ``model_flops`` are the FLOPs of the model's definition. A model without tokens has neither
    these nor the rule's FLOPs.
    """

    samples: int
    steps: int
    tokens: int | None
    params: int
    rule_flops: int | None
    model_flops: int


@dataclass(frozen=True, slots=True)
class Plan(Result):
    """A training run on given cards; ``found`` has the ways that fit, fastest first, then the rest.

    If several kinds of card were asked for, the plan is for the best kind, and ``beside`` has a row
    for each: if there is a price the cheapest comes first, else the kind that keeps a deadline with
    the fewest cards, else the fastest. ``full``: whether a page has every way and every reference.
    ``late`` is set if no number of cards keeps the deadline, and describes the closest one.
    ``basis`` is the evidence for the time of the first way: ``calibrated``, ``anchored``,
    ``of_its_kind``, ``spec_sheet``, or ``given``.
    """

    model: Resolved
    scenario: Scenario
    job: Job
    card: Card
    reserve: Reserve
    totals: Totals
    basis: str
    assumptions: tuple[str, ...]
    found: tuple[PlanRow, ...]
    full: bool = False
    beside: tuple[OnCard, ...] = ()
    late: Late | None = None

    @property
    def best(self) -> PlanRow | None:
        """The fastest way that fits."""
        return next((row for row in self.found if row.fits), None)

    @property
    def ok(self) -> bool:
        """Whether a way fits and keeps the deadline."""
        return self.best is not None and self.late is None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.plan/1``."""
        scenario = asdict(self.scenario)
        # a strategy decides these fields
        for name in (*DECIDED, "checkpointing", "zero"):
            del scenario[name]
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "scenario": scenario,
            "gpu": self.card.name,
            "job": {**self.job._asdict(), "cards": self.job.cards},
            "totals": self.totals._asdict(),
            "reserve": str(self.reserve),
            "basis": self.basis,
            "assumptions": list(self.assumptions),
            "ok": self.ok,
            "late": None if self.late is None else self.late._asdict(),
            "beside": [
                {**each._asdict(), "best": None if each.best is None else each.best._asdict()}
                for each in self.beside
            ],
            "rows": list(self.rows()),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each strategy: ``pandas.DataFrame(plan(...).rows())``."""
        for row in self.found:
            yield row._asdict()


@takes(
    gpu=listed,
    zero=optional(between(0, 3)),
    tensor_parallel=optional(between(1, 2**17)),
    sequence_parallel=optional(flag),
    pipeline_parallel=optional(between(1, 2**17)),
    checkpointing=optional(text),
    micro_batch=optional(between(1, 10**9)),
    gpu_file=listed,
    cards=optional(between(1, 2**17)),
    node_size=optional(between(1, 2**17)),
    gpus=optional(between(1, 2**17)),
    nodes=optional(between(1, 2**17)),
    all=flag,
    calibration=listed,
    anchor=listed,
)
def plan(
    model: Model,
    *,
    samples: int | str,
    gpu: "str | Card | Sequence[str | Card]",
    epochs: int = 1,
    global_batch: int = 4096,
    cards: int | None = None,
    node_size: int | None = None,
    nodes: int | None = None,
    gpus: int | None = None,
    network: float | str | None = None,
    price: "Price | None" = None,
    kwh_price: float | None = None,
    pue: float = 1.0,
    co2: float | None = None,
    all: bool = False,
    deadline: float | str | None = None,
    efficiency: float | None = None,
    overlap: float = 1.0,
    reserve: int | str = "auto",
    zero: int | None = None,
    tensor_parallel: int | None = None,
    sequence_parallel: bool | None = None,
    pipeline_parallel: int | None = None,
    checkpointing: str | None = None,
    micro_batch: int | None = None,
    gpu_file: "str | Sequence[str]" = (),
    calibration: "str | Sequence[str]" = (),
    anchor: "str | Anchor | Sequence[str | Anchor]" = (),
    **given: Any,
) -> Plan:
    """Step time, days, GPU-hours, energy and cost of a training run, by parallel strategy.

    ``samples`` in each of ``epochs`` epochs are images, or sequences; a step takes ``global_batch``
    of them. ``cards`` are those of the whole run, by default one node; ``node_size`` is the number
    of cards of a node, by default 8 or the most that a node with this card has (``gpus`` is another
    name for it); ``nodes`` may stand in place of ``cards``; ``network`` is the bandwidth of one
    card to other nodes in bytes per second, in one direction. ``price`` is for one card and one
    hour, as in ``serve``; ``kwh_price`` for one kilowatt hour, ``pue`` the power usage
    effectiveness of the site, ``co2`` kilograms per kilowatt hour. ``deadline`` (``"3d"``), in
    place of ``cards``, finds the fewest cards that keep it, or the closest number and how late it
    is. Several cards in ``gpu`` are planned side by side. ``efficiency`` is the FLOP/s of one card
    over its peak, in place of a predicted time, ``overlap`` the share of the work beside which
    data-parallel communication can hide, ``reserve`` the memory of a card that stays free: bytes,
    or as typed. ``zero``, ``tensor_parallel``, ``sequence_parallel``, ``pipeline_parallel``,
    ``checkpointing`` and ``micro_batch`` fix what is searched otherwise (stages of a pipeline are
    not: 1). ``given``: fields of the scenario and of the config, as for ``report``; ``precision``
    is ``auto`` unless given: that of a ``recipe`` or of the module, else autocast in bf16 where the
    card has it, in fp16 where it has that alone, else fp32. An ``anchor`` was measured at the
    ``micro_batch``, without checkpointing unless that is fixed. Raises ``VitcostError`` for a run
    that cannot be.

    >>> p = plan("vit_base_patch16_224", samples="1.28M", epochs=300, gpu="h100-sxm")
    >>> p.totals.steps, p.totals.model_flops, p.best.strategy, p.scenario.precision
    (93750, 40378275201024000000, 'ZeRO-2', 'amp-bf16')
    """
    _undecided(given)
    fixed = Fixed(
        zero, tensor_parallel, sequence_parallel, pipeline_parallel, checkpointing, micro_batch
    )
    if (checkpointing or "").partition(":")[0] in ("first", "last"):
        raise ConfigError(
            f"a plan checkpoints all blocks or none: none, selective, block or every:K, got "
            f"{checkpointing!r:.80}"
        )
    users_cards, constants = known(gpu_file, calibration)
    rows = tuple(dict.fromkeys(asked_cards(gpu, users_cards)))
    if not rows:
        raise ConfigError("no card: name one or several, gpu")
    costs = prices(price, users_cards)
    costs.check(rows)
    kept = parse_reserve(reserve)
    question = _Question(model, given, fixed, all, kept, constants, anchors_of(anchor))

    def on(card: Card) -> Plan:
        node, count = nodes_of(card, cards, node_size if gpus is None else gpus, nodes, deadline)
        wanted = job(
            samples=samples, epochs=epochs, global_batch=global_batch, gpus=node, nodes=count,
            network=network, price=costs.of(card), deadline=deadline, efficiency=efficiency,
            overlap=overlap, kwh_price=kwh_price, pue=pue, co2=co2,
        )  # fmt: skip
        return _planned(question, card, wanted)

    if gpus is not None and node_size is not None:
        raise ConfigError("gpus is another name of node_size: give one")
    if len(rows) == 1:
        return on(rows[0])
    return _side_by_side(rows, on)


class _Question(NamedTuple):
    """The part of the question that is the same for every card."""

    model: Model
    given: Mapping[str, Any]
    fixed: Fixed
    full: bool
    reserve: Reserve
    calibrations: list[Calibration]
    anchors: list[Anchor]


def _planned(question: _Question, card: Card, wanted: Job) -> Plan:
    """The plan for one kind of card, by default in the precision that suits the card."""
    efficiency, fixed, kept = wanted.efficiency, question.fixed, question.reserve
    automatic = precision_on(card, training=True)
    resolved, scenario = asked(
        question.model, question.given, automatic=automatic, mode="train", batch=1
    )
    check_node(card, wanted.gpus)
    time = partial(
        predict,
        resolved.config,
        gpu=card,
        anchors=_anchors(question.anchors, scenario, fixed, efficiency),
        calibrations=question.calibrations,
    )
    run = workload(resolved.config, scenario)
    # many batches will be asked for, and some modules cannot run a single image
    run = run.at(run.least_batch)
    pace = pace_of(run.under(on_card(scenario, card)), card, efficiency, time)
    check_stated(card, card.capacity_bytes, "memory_gb")
    if wanted.cards > 1:
        check_stated(card, card.link, "link_gbps")
    late = None
    if wanted.deadline_seconds is None:
        rows = planned(pace, wanted, fixed, kept)
    else:
        wanted, rows, late = fewest_cards(pace, wanted, fixed, kept)
    totals = _totals(run, wanted)
    assumed = tuple(assumptions(pace, wanted, kept, rows))
    basis = pace.micro(rows[0].micro_batch, rows[0].checkpointing).basis
    return Plan(
        resolved,
        scenario,
        wanted,
        card,
        kept,
        totals,
        basis,
        assumed,
        rows,
        question.full,
        late=late,
    )


def _side_by_side(cards: Sequence[Card], on: Callable[[Card], Plan]) -> Plan:
    """The plan of the best kind of card, with a row for each kind."""
    plans: list[Plan] = []
    refused: list[OnCard] = []
    for card in cards:
        try:
            plans.append(on(card))
        except UnknownName:
            raise
        except VitcostError as error:
            refused.append(OnCard(card.name, None, None, None, None, str(error)))
    if not plans:
        raise ConfigError("; ".join(f"{each.gpu}: {each.missing}" for each in refused))
    plans.sort(key=_order)
    rows = (
        OnCard(
            each.card.name,
            each.scenario.precision,
            each.job.cards,
            each.basis,
            simplest(each.found),
            _missing(each),
        )
        for each in plans
    )
    return replace(plans[0], beside=(*rows, *refused))


def _missing(plan: Plan) -> str | None:
    """The reason why a card cannot be planned."""
    if plan.best is None:
        return "nothing fits"
    return None if plan.late is None else "no number of cards that was tried keeps the deadline"


def _order(plan: Plan) -> tuple[bool, bool, float]:
    """A sort key: cards that do come first, then the cheapest, the fewest for a deadline, the
    fastest."""
    best = plan.best
    if best is None or plan.late is not None:
        return True, best is None, 0.0 if best is None else best.run_seconds or 0.0
    if best.cost is not None:
        return False, False, best.cost
    by = best.run_seconds if plan.job.deadline_seconds is None else float(plan.job.cards)
    return False, True, by or 0.0


def _anchors(
    anchors: list[Anchor],
    scenario: Scenario,
    fixed: Fixed,
    efficiency: float | None,
) -> list[Anchor]:
    """The anchors with their scenario: the given micro-batch; no checkpointing unless fixed."""
    if anchors and efficiency is not None:
        raise ConfigError("efficiency and anchor are two accounts of one time; give one")
    if not all(each.scenario for each in anchors) and fixed.micro_batch is None:
        raise ConfigError("an anchor was measured at one batch: give it as micro_batch")
    scenario_measured = replace(
        scenario, batch=fixed.micro_batch or 1, checkpointing=fixed.checkpointing or "none"
    )
    return [each._replace(scenario=each.scenario or scenario_measured) for each in anchors]


def _undecided(keywords: Mapping[str, Any]) -> None:
    """Refuses a flag that the plan itself decides."""
    for name, instead in DECIDED.items():
        if name in keywords:
            raise ConfigError(f"a plan decides {name}; {instead}")


def _totals(run: Workload, job: Job) -> Totals:
    cost, tokens = step_cost(run, run.batch), None
    if "s" in run.sizes:
        tokens = job.total_samples * run.sizes["s"]
    return Totals(
        job.total_samples,
        job.steps,
        tokens,
        cost.params,
        None if tokens is None else 6 * cost.params * tokens,
        job.total_samples * (cost.flops + cost.backward_flops) // run.batch,
    )
