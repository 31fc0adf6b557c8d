"""``fit``: the largest batch that a card holds, and changes that make a batch fit."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from vitcost.config.flags import settled
from vitcost.config.scenario import Scenario
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.hardware.beside import verdict_on
from vitcost.hardware.card_attention import Kernels, kernels_on, on_card, on_platform
from vitcost.hardware.cards import Card
from vitcost.hardware.specs import asked_cards, matching, own_cards
from vitcost.outside.arguments import between, listed, optional, takes, text
from vitcost.planner.from_keywords import asked
from vitcost.planner.largest import LARGEST, largest_batches, largest_sizes, needs
from vitcost.planner.need import Need
from vitcost.planner.reserve import Reserve, parse_reserve
from vitcost.planner.ways import Way, fitting, half, sized, smaller, telling, timed, ways
from vitcost.render.result import Result
from vitcost.zoo import Model, Resolved

__all__ = ["LARGEST", "Fit", "FitRow", "Way", "fit"]

SCHEMA = "vitcost.fit/1"


class FitRow(NamedTuple):
    """A card, and the largest batch that it holds (None if its memory is not known).

    ``largest_batch`` leaves the reserve free, ``largest_batch_bare`` leaves nothing free.
    ``used_bytes`` are the tensors of ``largest_batch``, or of one image if no batch fits;
    ``headroom_bytes`` of ``capacity_bytes`` are left after these and ``reserve_bytes``. ``used_is``
    is ``exact``, or ``bounded``: the true need is not larger if ``assumed`` holds. ``fits``:
    whether the wanted batch fits beside the reserve; ``verdict``: ``fits``, ``tight`` (fits only
    without the reserve) or ``no``. ``memory`` is ``stated`` (bytes that a process may use, by a
    source), ``sheet`` (the sheet's number in GiB), ``unknown``, or ``no kernel``: the card lacks
    the attention kernel that is asked for by name.
    """

    gpu: str
    largest_batch: int | None = None
    largest_batch_bare: int | None = None
    used_bytes: int | None = None
    headroom_bytes: int | None = None
    fits: bool | None = None
    verdict: str | None = None
    capacity_bytes: int | None = None
    reserve_bytes: int | None = None
    memory: str = "unknown"
    peak_at: str = ""
    used_is: str | None = None
    assumed: tuple[str, ...] = ()
    largest_img_size: int | None = None
    largest_depth: int | None = None
    ways: tuple[Way, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit(Result):
    """The largest batch on each card, for a model under a scenario.

    ``wanted`` is the batch that ``fits`` refers to; ``named``: whether the user chose the cards.
    """

    model: Resolved
    scenario: Scenario
    wanted: int
    named: bool
    reserve: Reserve
    largest: tuple[str, ...]
    found: tuple[FitRow, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the wanted batch fits: on every card that was named, or else on any card of the
        catalogue."""
        verdicts = [row.fits is True for row in self.found]
        return all(verdicts) if self.named else any(verdicts)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.fit/1``."""
        rows = (
            {
                **row._asdict(),
                "assumed": list(row.assumed),
                "ways": [w._asdict() for w in row.ways],
            }
            for row in self.found
        )
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "scenario": {**asdict(self.scenario), "batch": self.wanted},
            "reserve": str(self.reserve),
            "ok": self.ok,
            "rows": list(rows),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each card: ``pandas.DataFrame(fit(...).rows())``."""
        for row in self.found:
            flat = {"model": self.model.name, **row._asdict(), "ways": len(row.ways)}
            flat["assumed"] = "; ".join(row.assumed)
            if row.ways:
                cheapest = row.ways[0]
                flat["cheapest_way"] = " ".join(f"{name}={value}" for name, value in cheapest.flags)
            yield flat


@takes(
    batch=between(1, 10**9),
    gpu=listed,
    gpu_file=listed,
    # ``require`` becomes the batch, and the scenario checks its range
    require=optional(between(-(10**18), 10**18)),
    largest=listed,
)
@settled("fit")
def fit(
    model: Model,
    *,
    gpu: "str | Card | Sequence[str | Card]" = (),
    gpu_file: "str | Sequence[str]" = (),
    require: int | None = None,
    reserve: int | str = "auto",
    largest: str | Sequence[str] = (),
    **given: Any,
) -> Fit:
    """The largest batch that each card holds, exactly: it fits, and the next one does not.

    The bytes are a report's bytes of tensors: ``total_bytes`` in inference, ``peak_bytes`` in
    training. ``gpu`` names the cards (by default all), ``gpu_file`` has the user's own cards.
    ``reserve`` is the memory that a card keeps free beside tensors: by default (``"auto"``) the
    workspace of its matrix library, a context and the allocator's slack, as
    ``vitcost.hardware.beside`` computes them; else bytes or a share (``"1 GiB"``, ``"5 %"``, 0).
    ``require`` is the batch that is wanted, else ``batch``; ``largest`` asks for the largest
    ``img_size`` and ``depth`` with it. ``given``: fields of the scenario and of the config, as for
    ``report``; a flag of training makes the mode ``train``, and is refused beside ``infer``. Raises
    ``VitcostError`` for a question that is not possible.

    >>> row = fit("vit_base_patch16_224", gpu="h100-sxm", mode="train", require=512).found[0]
    >>> row.largest_batch, row.fits, row.memory
    (688, True, 'stated')
    """
    wanted: dict[str, Any] = {} if require is None else {"batch": require}
    if require is not None and given.get("batch", require) != require:
        raise ConfigError(f"batch {given['batch']} contradicts require {require}")
    resolved, scenario = asked(model, given, **wanted)
    users_cards = own_cards(gpu_file)
    named = tuple(dict.fromkeys(asked_cards(gpu, users_cards)))
    _check(scenario, bool(named))
    kept = parse_reserve(reserve)
    sizes = tuple(dict.fromkeys(text("largest", each) for each in largest))
    run = workload(resolved.config, scenario)
    if run.least_batch > scenario.batch and not wanted and "batch" not in given:
        # the user did not ask for batch 1, and a module or a trace file may not have it
        scenario = replace(scenario, batch=run.least_batch)
        run = run.under(scenario)
    question = Fit(resolved, scenario, scenario.batch, bool(named), kept, sizes)
    return replace(question, found=_rows(question, run, named or matching("", users_cards)))


def _check(scenario: Scenario, named: bool) -> None:
    """Refuses compiled kernels, whose bytes are not known, and a CPU unless a processor is
    named."""
    if scenario.compile:
        raise NotCovered(
            "the bytes of compiled kernels are not known: leave out compile, for "
            "those of eager kernels"
        )
    if scenario.platform == "cpu" and not named:
        raise ConfigError(
            "platform cpu: the catalogue has cards alone; describe a processor, "
            "gpu 'mine,vendor=CPU,memory_gb=64'"
        )


def _rows(question: Fit, run: Workload, cards: Sequence[Card]) -> tuple[FitRow, ...]:
    """One row for each card, with the attention kernels that the card has."""
    groups: dict[Scenario | None, list[Card]] = {}
    for row in cards:
        groups.setdefault(_runs(run.scenario, row, question.named), []).append(row)
    by_card: dict[Card, FitRow] = {}
    for runs, group in groups.items():
        if runs is None:
            rows = [FitRow(row.name, fits=False, memory="no kernel") for row in group]
        else:
            rows = _alike(question, run, runs, group)
        by_card.update(zip(group, rows, strict=True))
    return tuple(by_card[row] for row in cards)


def _runs(scenario: Scenario, row: Card, named: bool) -> Scenario | None:
    """The scenario with the attention kernels of a card; None if a card of the catalogue lacks the
    kernel that is asked for."""
    try:
        return on_card(on_platform(scenario, row), row)
    except NotCovered:
        if named:
            raise
        return None


def _alike(question: Fit, run: Workload, runs: Scenario, cards: Sequence[Card]) -> list[FitRow]:
    """The rows of all cards that run the same kernels, those of ``runs``."""
    model, reserve, on_card_run = question.model, question.reserve, run.under(runs)
    of = needs(on_card_run)
    limits = {
        row: (reserve.leaves(row, runs.software), row.capacity_bytes)
        for row in cards
        if row.capacity_bytes
    }
    batches = largest_batches(on_card_run, of, {each for both in limits.values() for each in both})
    beside_reserve = {limit for limit, _ in limits.values()}
    sizes = {name: largest_sizes(name, model, runs, beside_reserve) for name in question.largest}
    others: dict[tuple[str, Kernels], tuple[Way, ...]] = {}
    rows = []
    for row in cards:
        if row not in limits:
            rows.append(FitRow(row.name))
            continue
        limit, bare = limits[row]
        offered: tuple[Way, ...] = ()
        if of(question.wanted).total_bytes > limit:
            kind = half(row), kernels_on(row)
            if kind not in others:
                others[kind] = ways(run, row, pulled=question.named)
            offered = others[kind]
            if question.named and run.training:
                offered = (*offered, *smaller(model, run, row, limit))
            offered = fitting(offered, partial(reserve.headroom, row, software=runs.software))
            if question.named:
                offered = timed(offered, model, run.scenario, row)
                offered = telling(sized(offered, model, run, row, limit))
        asked_sizes: dict[str, Any] = {
            f"largest_{name}": each[limit] for name, each in sizes.items()
        }
        used = of(batches[limit] or on_card_run.least_batch)
        rows.append(
            _row(row, used, of(question.wanted), reserve, runs.software)._replace(
                largest_batch=batches[limit],
                largest_batch_bare=batches[bare],
                ways=offered,
                **asked_sizes,
            )
        )
    return rows


def _row(row: Card, used: Need, wanted: Need, reserve: Reserve, software: str) -> FitRow:
    kept = reserve.kept(row, wanted.total_bytes, software)
    verdict, _ = verdict_on(row, wanted.total_bytes, kept) or (None, None)
    return FitRow(
        row.name,
        used_bytes=used.total_bytes,
        headroom_bytes=reserve.headroom(row, used.total_bytes, software),
        fits=verdict == "fits",
        verdict=verdict,
        capacity_bytes=row.capacity_bytes,
        reserve_bytes=reserve.kept(row, used.total_bytes, software),
        memory="sheet" if row.usable_bytes is None else "stated",
        peak_at=used.at,
        used_is=used.basis,
        assumed=used.assumed,
    )
