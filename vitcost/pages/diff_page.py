"""The page of a difference: the costs of each model before and now, and the reasons; layers are
folded below."""

from collections.abc import Iterator

from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.costs.quantity import Amount
from vitcost.page import Column, Page, Row, Table, shown
from vitcost.planner.changes import Changed
from vitcost.planner.diff import Diff, Difference, ModelDiff

__all__ = ["diff_page"]

# up to this many models are described one by one above the tables; and the most reasons for a
# number
_SAID, _REASONS = 3, 2
# how many letters of a commit's hash are shown
_HASH = 7

# units of the numbers of a layer
_OF = {"params": "params", "flops": "FLOPs", "pointwise": "elements", "saved_bytes": "saved"}

_COLUMNS = (
    Column("quantity"),
    Column("previous", "count"),
    Column("new", "count"),
    Column("difference", "count"),
    Column("%", "count", optional=True),
    Column("why"),
)
_LAYERS = (
    Column("layer"),
    Column("number"),
    Column("previous", "count"),
    Column("new", "count"),
    Column("difference", "count"),
)


def diff_page(result: Diff) -> Page:
    """One table for each model with the usual quantities; other quantities, and layers, are
    folded."""
    base = result.base
    named = f" ({base.hash[:_HASH]})" if base.hash else ""
    tables = [table for each in result.models for table in _tables(each, result.shown)]
    return Page(
        f"Cost against {base.name}{named}", tables=tuple(tables), answer=tuple(_answer(result))
    )


def _answer(result: Diff) -> Iterator[str]:
    """The models whose costs changed, and by how much."""
    same = 0
    lines: list[str] = []
    for each in result.models:
        changed = [d for d in each.differences() if d.changed and d.quantity in result.shown]
        if each.was is None and each.now is not None:
            lines.append(f"{each.name} is new")
        elif each.now is None:
            lines.append(f"{each.name}: no answer")
        elif not changed and not any(d.changed for d in each.differences()):
            same += 1
        else:
            first = changed or [d for d in each.differences() if d.changed]
            lines.append(f"{each.name}: {', '.join(map(_said, first[:_SAID]))}")
    if same or not lines:
        one = "model costs" if same == 1 else "models cost"
        lines.append(f"{same:,} {one} what {'it' if same == 1 else 'they'} did")
    yield from lines[:_SAID]
    if len(lines) > _SAID:
        yield f"and {len(lines) - _SAID:,} more"


def _said(each: Difference) -> str:
    unit = QUANTITIES[each.quantity].unit
    share = f" ({signed(each.relative, 'ratio')})" if each.relative is not None else ""
    return f"{each.quantity} {shown(each.previous, unit)} → {shown(each.new, unit)}{share}"


def _tables(model: ModelDiff, names: tuple[str, ...]) -> Iterator[Table]:
    rows = list(model.differences())
    # a latency follows from the time of a step, which is shown already
    timed = [d.quantity for d in rows if d.quantity in TIMED and not TIMED[d.quantity].mode]
    usual = [d for d in rows if d.quantity in (*names, *timed)]
    places = (*names, *timed)
    usual.sort(key=lambda d: places.index(d.quantity))
    notes = [f"{field}: {was} → {now}" for field, was, now in model.facts()]
    notes += [f"no previous numbers: {model.missing}"] if model.missing and model.now else []
    notes += [f"no answer: {model.missing}"] if model.now is None else []
    if any(side and side.peak_is == "bounded" for side in (model.was, model.now)):
        notes.append("train_memory is at most this: no exact peak is known")
    yield Table(model.name, _COLUMNS, tuple(_row(d, model) for d in usual), tuple(notes))
    others = [d for d in rows if d not in usual and d.changed]
    if others and model.was and model.now:
        title = f"{model.name}: other quantities that changed"
        rest = (_row(d, model)._replace(kind="") for d in others)
        yield Table(title, _COLUMNS, tuple(rest), folded=True)
    layers = model.layers()
    if layers:
        yield _layers(model.name, layers)


def _row(each: Difference, model: ModelDiff) -> Row:
    unit = QUANTITIES[each.quantity].unit
    cells = (
        each.quantity,
        each.previous,
        each.new,
        signed(each.difference, unit),
        signed(each.relative, "ratio"),
        ", ".join(_why(each.quantity, model.layers())) if each.changed else "",
    )
    return Row(cells, "marked" if each.changed and each.previous is not None else "", unit=unit)


def _why(quantity: str, layers: tuple[Changed, ...]) -> Iterator[str]:
    """The layers whose change explains that of a quantity, the largest change first."""
    for column in QUANTITIES[quantity].layers:
        of_column = [each for each in layers if each.number == column]
        deciding = sorted(_deciding(of_column), key=lambda each: -abs(each.more))
        for each in deciding[:_REASONS]:
            more = f"{signed(each.more, each.unit)} {_OF[column]}".replace(" FLOPs", "FLOPs")
            yield f"{each.layer or 'model and loss'} {more}"
        if deciding:
            return


def _deciding(layers: list[Changed]) -> Iterator[Changed]:
    """The outermost layers that changed. If a layer inside accounts for the whole change, it is
    listed instead."""
    named = {each.layer for each in layers}
    for each in layers:
        if any(each.layer.startswith(f"{other}.") for other in named if other):
            continue
        inside = each
        while True:
            below = [x for x in layers if x.layer.startswith(f"{inside.layer}.") and inside.layer]
            same = [x for x in below if x.more == inside.more]
            if not same:
                break
            inside = same[0]
        yield inside


def _layers(name: str, layers: tuple[Changed, ...]) -> Table:
    """Each number of each layer, before and now."""
    rows = tuple(
        Row(
            (each.layer or "model and loss", each.number, each.was, each.now,
             signed(each.more, each.unit)),
            unit=each.unit,
        )
        for each in layers
        if not _passed_on(each, layers)
    )  # fmt: skip
    notes = ("* stands for every layer of a run; a layer's numbers include the modules inside it",)
    return Table(f"{name}: layers that changed", _LAYERS, rows, notes, folded=True)


def _passed_on(each: Changed, layers: tuple[Changed, ...]) -> bool:
    """Whether one layer inside accounts for the whole change of a number."""
    return any(
        x.layer.startswith(f"{each.layer}.") and (x.number, x.more) == (each.number, each.more)
        for x in layers
        if each.layer
    )


def signed(value: Amount | None, unit: str) -> str:
    """A difference with its sign.

    >>> signed(111936, "count"), signed(-0.25, "ratio"), signed(0, "bytes"), signed(None, "count")
    ('+111,936', '-25.0 %', '0', '–')
    """
    if value is None:
        return "–"
    if not value:
        return "0"
    return f"{'+' if value > 0 else '-'}{shown(abs(value), unit)}"
