"""A comparison over a grid: by the formulas of its structures, on arrays, if numpy is installed and
the grid is large; else by a report on each combination."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from vitcost.costs.quantities import values
from vitcost.costs.quantity import NO_TERMS
from vitcost.errors import MissingExtra, UnknownName, VitcostError
from vitcost.hardware.columns import Times
from vitcost.planner.arrays import load
from vitcost.planner.chunk import Chunk
from vitcost.planner.compared import Compared, layer_numbers, slowest
from vitcost.planner.comparison_question import Wanted
from vitcost.planner.evaluate import Evaluator
from vitcost.planner.grid import reason
from vitcost.planner.many import Many
from vitcost.planner.structures import DESCRIBED
from vitcost.zoo import Model, described

__all__ = ["gridded", "reported", "row_of"]

# keywords that decide which model it is
_TOWER = {"tower", "input", "loss"}
# for fewer combinations, loading numpy takes longer than it saves
_FEW = 64

Tell: TypeAlias = Callable[[], None]


def gridded(
    model: Model, wanted: Wanted, many: Many, skipped: "Counter[str]", tell: Tell
) -> Iterator[Compared]:
    """The rows of a model, one for each valid combination, in order; ``tell`` is called for each.
    Raises ``VitcostError`` if the model itself is refused, or a combination has an unknown name.

    >>> from vitcost.planner.grid import grid
    >>> from vitcost.planner.comparison_question import asked_for
    >>> wanted = asked_for(grid({"depth": [12, 24]}), {}, ["params"], None)
    >>> rows = gridded("vit_base_patch16_224", wanted, Many(), Counter(), lambda: None)
    >>> one, two = (row.quantities["params"] for row in rows)
    >>> two - one == 12 * (12 * 768**2 + 13 * 768)  # 12 blocks
    True
    """
    # an unknown name is an error of the whole call; it is not counted as an impossible combination
    base = described(model)
    alone = wanted.why or hasattr(base.base, "workload") or bool(wanted.flags.get("anchor"))
    if not alone and wanted.varied.points >= _FEW and not _TOWER & wanted.flags.keys():
        with suppress(MissingExtra):
            load()
            evaluator = Evaluator(base, wanted.varied, wanted.flags, wanted.every, wanted.cards)
            if 2 * DESCRIBED * evaluator.blocks <= wanted.varied.points:
                yield from _on_arrays(evaluator, wanted, skipped, tell)
                return
    for index in range(wanted.varied.points):
        yield from reported(model, wanted, many, skipped, wanted.varied.point(index))
        tell()


def reported(
    model: Model,
    wanted: Wanted,
    many: Many,
    skipped: "Counter[str]",
    point: Mapping[str, Any],
    may_lack: bool = True,
) -> Iterator[Compared]:
    """The row of a combination of values, from a report on it. Without a report it is counted as
    skipped if the model ``may_lack`` it, and refused else.

    >>> from vitcost.planner.grid import grid
    >>> from vitcost.planner.comparison_question import asked_for
    >>> wanted, skipped = asked_for(grid(None), {}, ["params"], None), Counter()
    >>> list(reported("vit_base_patch16_224", wanted, Many(), skipped, {"num_heads": 7}))
    []
    >>> skipped.total()
    1
    """
    try:
        row = row_of(many.report(model, **wanted.flags, **point).to_dict(), wanted)
    except VitcostError as error:
        if isinstance(error, UnknownName) or not may_lack:
            raise
        skipped[reason(error)] += 1
    else:
        yield row._replace(varied=point)


def row_of(data: Mapping[str, Any], wanted: Wanted) -> Compared:
    """The row of a comparison, from the JSON of a report.

    >>> from vitcost import report
    >>> from vitcost.planner.grid import grid
    >>> from vitcost.planner.comparison_question import asked_for
    >>> wanted = asked_for(grid(None), {}, ["params"], None)
    >>> row_of(report("vit_base_patch16_224").to_dict(), wanted).quantities["params"]
    86567656
    """
    terms = NO_TERMS if wanted.cards is None else wanted.cards.terms
    return Compared(
        data["model"]["name"],
        {},
        values(data, wanted.every, terms),
        layer_numbers(data) if wanted.why else {},
        slowest(data["time"]),
        2 if "vision" in data["model"]["config"] else 1,
        data["memory"]["training"]["peak_is"],
        origin=_origin(data["model"]["config"]),
    )


def _origin(config: Mapping[str, Any]) -> str:
    return f"torch {config['torch']} and {config['digest']}" if "digest" in config else ""


def _on_arrays(
    evaluator: Evaluator, wanted: Wanted, skipped: "Counter[str]", tell: Tell
) -> Iterator[Compared]:
    grid = wanted.varied
    chunk = evaluator.chunk(grid.indices(load().arange(grid.points)), grid.points)
    skipped.update(chunk.skipped)
    towers = 2 if hasattr(evaluator.base.base, "vision") else 1
    for row in _rows(chunk, wanted):
        yield row._replace(towers=towers)
    for _ in range(grid.points):
        tell()


def _rows(chunk: Chunk, wanted: Wanted) -> Iterator[Compared]:
    axes = wanted.varied.axes
    indices = zip(*(chunk.varied[axis.name].tolist() for axis in axes), strict=True)
    numbers = zip(*(chunk.quantities[name].tolist() for name in wanted.every), strict=True)
    times: Iterator[Times | None] = iter([None] * chunk.rows)
    if chunk.timing is not None:
        times = map(Times, *(column.tolist() for column in chunk.timing))
    rows = zip(indices, numbers, times, chunk.peak_is.tolist(), strict=True)
    for index, each, time, peak_is in rows:
        varied = {axis.name: axis.value(i) for axis, i in zip(axes, index, strict=True)}
        quantities = dict(zip(wanted.every, each, strict=True))
        yield Compared(chunk.model, varied, quantities, {}, time, peak_is=peak_is)
