"""``plan``: how long a training run takes on some cards, what it costs, and how to divide it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from vitcost.arguments import between, flag, listed, optional, takes, text
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.fields import several
from vitcost.hardware.attention import on_card
from vitcost.hardware.calibrate import load_calibrations
from vitcost.hardware.cards import Card
from vitcost.hardware.nodes import most_of_a_node
from vitcost.hardware.precision import precision_on
from vitcost.hardware.roofline import Anchor, parse_anchor, predict
from vitcost.hardware.specs import asked_cards, own_cards
from vitcost.planner.asked import asked
from vitcost.planner.assumptions import assumptions
from vitcost.planner.choose import PlanRow, fewest_cards, planned
from vitcost.planner.job import Job, job
from vitcost.planner.pace import pace_of, step_cost
from vitcost.planner.reserve import Reserve, parse_reserve
from vitcost.planner.strategies import Fixed
from vitcost.result import Result
from vitcost.scenario import Scenario
from vitcost.zoo import Model, Resolved

__all__ = ["DECIDED", "Plan", "PlanRow", "Totals", "plan"]

SCHEMA = "vitcost.plan/1"
# fields of a scenario that follow from how a step is divided, and what is given instead
DECIDED = {
    "batch": "give global_batch, or micro_batch",
    "mode": "it is always train",
    "ranks": "give gpus and nodes, or a deadline",
    "accumulate": "give micro_batch",
    "policy": "its shards have the type that it computes in",
}


class Totals(NamedTuple):
    """What the run is, whatever it runs on: counts are exact.

    ``rule_flops`` are 6 for each parameter and token: Kaplan et al. 2020, arXiv 2001.08361,
    section 2.1. ``model_flops`` are those of the model's definition. A model that is no sequence of
    tokens has neither these nor the rule's FLOPs.
    """

    samples: int
    steps: int
    tokens: int | None
    params: int
    rule_flops: int | None
    model_flops: int


@dataclass(frozen=True, slots=True)
class Plan(Result):
    """A training run on some cards; ``found`` has the ways that fit, fastest first, then the rest.

    ``basis`` is what the time of the first rests on: ``calibrated``, ``anchored``, ``spec_sheet``,
    or ``given``.
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

    @property
    def best(self) -> PlanRow | None:
        """The fastest that fits."""
        return next((row for row in self.found if row.fits), None)

    @property
    def ok(self) -> bool:
        """Whether anything fits."""
        return self.best is not None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.plan/1``."""
        scenario = asdict(self.scenario)
        # a strategy decides these
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
            "rows": list(self.rows()),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """A flat row a strategy: ``pandas.DataFrame(plan(...).rows())``."""
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
    gpus: int | None = None,
    nodes: int | None = None,
    network: float | str | None = None,
    price: float | str | None = None,
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

    ``samples`` of an epoch are images, or sequences; ``gpus`` are the cards of a node, 8 unless
    given, ``nodes`` 1; ``network`` is what one card has to other nodes in bytes a second, one
    direction; ``price`` is of one card and hour. ``deadline`` (``"3d"``), in place of ``gpus`` and
    ``nodes``, finds the fewest cards that keep it, in nodes of 8. ``efficiency`` is the FLOP/s of
    one card over its peak, in place of a predicted time. ``zero``, ``tensor_parallel``,
    ``sequence_parallel``, ``pipeline_parallel``, ``checkpointing`` and ``micro_batch`` fix what is
    searched otherwise (stages of a pipeline are not: 1). ``given``: fields of the scenario and of
    the config, as for ``report``; ``precision`` is ``auto`` unless given: autocast in bf16 where
    the card has it, in fp16 where it has that alone, else fp32. An ``anchor`` was measured at
    the ``micro_batch``, without checkpointing unless that is fixed. Raises ``VitcostError`` for a
    run that cannot be.

    >>> p = plan("vit_base_patch16_224", samples="1.28M", epochs=300, global_batch=4096,
    ...          gpu="h100-sxm", precision="amp-bf16")
    >>> p.totals.steps, p.totals.model_flops, p.best.strategy
    (93750, 40378275201024000000, 'ZeRO-2')
    """
    _undecided(given)
    cards = asked_cards(gpu, own_cards(gpu_file))
    if len(cards) != 1:
        raise ConfigError(f"a run is planned on one kind of card; {len(cards)} are asked for")
    automatic = precision_on(cards[0], training=True)
    found, scenario = asked(model, given, automatic=automatic, mode="train", batch=1)
    wanted = job(
        samples=samples, epochs=epochs, global_batch=global_batch, gpus=gpus, nodes=nodes,
        network=network, price=price, deadline=deadline, efficiency=efficiency, overlap=overlap,
    )  # fmt: skip
    fixed = Fixed(
        zero, tensor_parallel, sequence_parallel, pipeline_parallel, checkpointing, micro_batch
    )
    if (checkpointing or "").partition(":")[0] in ("first", "last"):
        raise ConfigError(
            f"a plan checkpoints all blocks or none: none, selective, block or every:K, got "
            f"{checkpointing!r:.80}"
        )
    _of_a_node(cards[0], wanted.gpus)
    files = several("calibration", calibration, str)
    time = partial(
        predict,
        found.config,
        gpu=cards[0],
        anchors=_anchors(anchor, scenario, fixed, efficiency),
        calibrations=[row for path in files for row in load_calibrations(path)],
    )
    run = workload(found.config, scenario)
    pace = pace_of(run.under(on_card(scenario, cards[0])), cards[0], efficiency, time)
    kept = parse_reserve(reserve)
    _known(cards[0], wanted)
    if deadline is None:
        rows = planned(pace, wanted, fixed, kept)
    else:
        wanted, rows = fewest_cards(pace, wanted, fixed, kept)
    totals = _totals(run, wanted)
    said = tuple(assumptions(pace, wanted, kept, rows))
    basis = pace.micro(rows[0].micro_batch, rows[0].checkpointing).basis
    return Plan(found, scenario, wanted, cards[0], kept, totals, basis, said, rows)


def _anchors(
    given: "str | Anchor | Sequence[str | Anchor]",
    scenario: Scenario,
    fixed: Fixed,
    efficiency: float | None,
) -> list[Anchor]:
    """Anchors, measured at the micro-batch, and without checkpointing unless that is fixed."""
    measured = several("anchor", given, str, Anchor)
    found = [parse_anchor(each) if isinstance(each, str) else each for each in measured]
    if found and efficiency is not None:
        raise ConfigError("efficiency and anchor are two accounts of one time; give one")
    if not all(each.scenario for each in found) and fixed.micro_batch is None:
        raise ConfigError("an anchor was measured at one batch: give it as micro_batch")
    own = replace(
        scenario, batch=fixed.micro_batch or 1, checkpointing=fixed.checkpointing or "none"
    )
    return [each._replace(scenario=each.scenario or own) for each in found]


def _undecided(given: Mapping[str, Any]) -> None:
    """What a plan decides itself cannot be given under another name."""
    for name, instead in DECIDED.items():
        if name in given:
            raise ConfigError(f"a plan decides {name}; {instead}")


def _of_a_node(card: Card, gpus: int) -> None:
    """Refuses more cards in a node than any node of theirs has: they would need a network."""
    node = most_of_a_node(card)
    if node is not None and gpus > node.most:
        nodes = -(-gpus // node.most)
        raise ConfigError(
            f"gpus {gpus:,} are cards of one node, and no node of {card.name} has more than "
            f"{node.most:,}; give gpus {node.most:,}, nodes {nodes:,} and network"
        )


def _known(card: Card, job: Job) -> None:
    """A plan rests on figures of the card: those that it lacks are asked for, not guessed."""
    for figure, stated, needed in (
        (card.capacity_bytes, "memory_gb", True),
        (card.link, "link_gbps", job.cards > 1),
    ):
        if needed and figure is None:
            raise NotCovered(
                f"no source states {stated} of {card.name}; give it: -g '{card.name},{stated}=…'"
            )


def _totals(run: Workload, job: Job) -> Totals:
    cost, tokens = step_cost(run), None
    if "s" in run.sizes:
        tokens = job.total_samples * run.sizes["s"]
    return Totals(
        job.total_samples,
        job.steps,
        tokens,
        cost.params,
        None if tokens is None else 6 * cost.params * tokens,
        job.total_samples * (cost.flops + cost.backward_flops),
    )
