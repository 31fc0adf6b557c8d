"""``compare``: models side by side, each cost relative to the least."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeAlias, cast

from vitcost.config.flags import TRAINING
from vitcost.costs import saved
from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.costs.report import Report
from vitcost.errors import ConfigError, NotCovered
from vitcost.outside.arguments import called, flag, listed, optional, takes
from vitcost.planner.changes import changes
from vitcost.planner.compared import Compared, Why, label, plain, relative, spelled
from vitcost.planner.comparison_question import SCHEMA, Wanted, asked_for
from vitcost.planner.grid import Skipped, Vary, check_apart, skips
from vitcost.planner.gridded import gridded, reported, row_of
from vitcost.planner.many import Many
from vitcost.planner.named import Candidate, named
from vitcost.planner.pareto import front, oriented
from vitcost.planner.plot import conditions, picture_of, plot
from vitcost.render.result import Result
from vitcost.zoo import Model

__all__ = ["Comparison", "Progress", "compare", "spelled_flag"]

# a function that is called with the number of finished combinations, and the number of all
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """Models side by side."""

    compared: tuple[Compared, ...]
    names: tuple[str, ...]  # the names of the quantities
    shown: tuple[str, ...]  # the quantities of a page, in the order in which they were named
    explained: bool = False
    pareto: tuple[str, str] | None = None
    # combinations of values that no model can have, with the reason
    skipped: tuple[Skipped, ...] = ()
    # flags of training, which the times of inference in the same table ignore
    aside: tuple[str, ...] = ()
    # the keywords of the call, as the caller gave them
    asked: tuple[str, ...] = ()
    # names of reports that were made before; the flags apply to the other models
    reports: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.compare/1``."""
        data: dict[str, Any] = {"schema": SCHEMA, "rows": list(self.rows())}
        if self.skipped:
            data["skipped"] = [each._asdict() for each in self.skipped]
        if self.explained:
            data["why"] = [
                {**why._asdict(), "changed": [each._asdict() for each in why.changed]}
                for why in self.why()
            ]
        return data

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each model, with its relative numbers last:
        ``pandas.DataFrame(found.rows())``."""
        best = {name: self.ratios(name) for name in self.names}
        timed = any(name in TIMED for name in self.names)
        front = self.front()
        for i, each in enumerate(self.compared):
            yield {
                "model": each.model,
                **{name: plain(value) for name, value in each.varied.items()},
                **{QUANTITIES[name].key(name): each.quantities[name] for name in self.names},
                **({"peak_is": each.peak_is} if "train_memory" in self.names else {}),
                **({} if each.time is None or not timed else each.time.told()),
                **{f"relative_{name}": best[name][i] for name in self.names},
                **({} if self.pareto is None else {"pareto": i in front}),
            }

    def ratios(self, name: str) -> list[float | None]:
        """A quantity of each model over the best of all."""
        return relative((each.quantities[name] for each in self.compared), QUANTITIES[name].more)

    def plot(self, path: str, **parts: str | None) -> None:
        """Draws quantities of the models in a PNG, SVG or PDF file: ``x``, ``y``, ``size`` and
        ``color`` name them, and the front of ``pareto`` is drawn if it was asked for."""
        picture = picture_of(parts, self.pareto, self.shown)
        varied = tuple(self.compared[0].varied)
        under = conditions(self.asked, varied, picture.timed)
        title = "as reported" if all(each.file for each in self.compared) else under
        # an axis of the picture may be any quantity of a report, not only the columns of the table
        rows = replace(self, names=picture.names, pareto=None).rows()
        plot(rows, picture._replace(varied=varied, title=title), path)

    def pairs(self) -> tuple[str, ...]:
        """The names of the models that have two towers, one for images and one for text."""
        return tuple(dict.fromkeys(each.model for each in self.compared if each.towers == 2))

    def front(self) -> frozenset[int]:
        """The rows of the Pareto front: no other row is better in one of the two quantities and at
        least as good in the other."""
        if self.pareto is None:
            return frozenset()
        x, y = self.pareto
        points = ((each.quantities[x], each.quantities[y]) for each in self.compared)
        return front(oriented(self.pareto, points))

    def why(self) -> Iterator[Why]:
        """The layers that explain how each model differs from the first."""
        first, *others = self.compared
        for each in others:
            changed = tuple(changes(first.layers, each.layers))
            yield Why(label(each), label(first), changed)


@takes(
    why=flag,
    all_timm=flag,
    quantities=optional(listed),
    pareto=optional(listed),
    progress=optional(called),
    gpu=listed,
)
def compare(
    *models: Candidate,
    vary: "Vary | None" = None,
    all_timm: bool = False,
    why: bool = False,
    quantities: Sequence[str] | None = None,
    pareto: Sequence[str] | None = None,
    progress: Progress | None = None,
    **flags: Any,
) -> Comparison:
    """Models side by side, each quantity also relative to the best of all: 1.00 is the best.

    A model is what ``report`` takes, a report, the path of a saved ``report --json``, or a pattern
    over names, ``swin*``; ``all_timm`` adds every architecture of timm. ``flags`` are the keywords
    of ``report``, the same for all but the reports, which were made under their own. ``quantities``
    are shown in the order in which they are named, followed by the time of a card; quantities of
    costs need a ``price`` of a card and hour, as for ``serve``, or the ``samples`` (and ``epochs``)
    of a run. ``why`` explains the differences to the first model by layer. ``vary`` compares every
    combination of some fields' values too, as ``sweep`` has them, up to a thousand, and of
    ``model`` and ``gpu``, of which several are a row each. Combinations that no model can have, and
    names from a pattern without an answer, are counted in ``skipped``. ``pareto`` names two
    quantities whose front is marked. Raises ``VitcostError`` for an unknown name or quantity, and
    for a field with a value that is not allowed.

    >>> found = compare("vit_base_patch16_224", "vit_large_patch16_224", quantities=["params"])
    >>> [(row["params"], round(row["relative_params"], 2)) for row in found.rows()]
    [(86567656, 1.0), (304326632, 3.52)]
    """
    rows_of = named(models, vary, all_timm)
    finished = [_reported(model) for model in rows_of.models]
    cards = dict.fromkeys(time["gpu"] for data in finished if data for time in data["time"])
    any_finished = any(data is not None for data in finished)
    wanted = asked_for(
        rows_of.varied, flags, quantities, pareto, cards if any_finished else None, why=why
    )
    rows_of = rows_of._replace(varied=wanted.varied)
    points = rows_of.points
    if points > rows_of.most:
        raise ConfigError(
            f"{points:,} combinations are more than the {rows_of.most:,} that are laid side by "
            "side; vitcost.sweep computes them"
        )
    check_apart(wanted.varied, wanted.flags)
    skipped: Counter[str] = Counter()
    each_done, many = count(1), Many(None if wanted.cards is None else wanted.cards.known)

    def tell() -> None:
        if progress is not None:
            progress(next(each_done), points, "combinations")

    # the flags apply to models; a finished report keeps the flags that it was made under
    kept = any_finished and None in finished and not wanted.varied
    rows = [
        each
        for model, data in zip(rows_of.models, finished, strict=True)
        for each in _rows(model, data, wanted, kept, many, skipped, tell, rows_of.may_lack(model))
    ]
    rows = _told_apart(rows)
    if not rows:
        raise ConfigError(f"no combination is valid: {', '.join(skipped)}")
    _check_modes(rows, wanted)
    timed = any(each.time is not None and each.time.mode == "infer" for each in rows)
    flagged = {*flags, *(axis.name for axis in wanted.varied.axes)}
    aside = tuple(flag for flag in TRAINING if timed and flag in flagged)
    reports = tuple(each.model for each in rows if each.file) if kept and flags else ()
    asked = tuple(spelled_flag(name, value) for name, value in wanted.given.items())
    return Comparison(
        tuple(rows), wanted.names, wanted.shown, why, wanted.pair, skips(skipped), aside, asked,
        reports,
    )  # fmt: skip


def _rows(
    model: Candidate,
    data: Mapping[str, Any] | None,
    wanted: Wanted,
    kept: bool,
    many: Many,
    skipped: "Counter[str]",
    tell: Callable[[], None],
    may_lack: bool,
) -> Iterator[Compared]:
    """The rows of a model, one for each valid combination; ``tell`` is called after each. ``data``
    is the JSON of a finished report; with ``kept`` the flags apply only to the other models, else
    they are refused beside it. A model that ``may_lack`` the scenario is counted as skipped if it
    does."""
    flags = wanted.flags
    if data is not None:
        change = next(iter([*flags, *(axis.name for axis in wanted.varied.axes)]), None)
        if change is not None and not kept:
            subject = f"{model!r:.80}" if isinstance(model, str) else data["model"]["name"]
            raise ConfigError(f"{subject} is a finished report, which {change} cannot change")
        yield row_of(data, wanted)._replace(file=model if isinstance(model, str) else "a report")
    elif wanted.varied:
        yield from gridded(cast(Model, model), wanted, many, skipped, tell)
        return
    else:
        yield from reported(cast(Model, model), wanted, many, skipped, {}, may_lack)
    tell()


def _check_modes(rows: Sequence[Compared], wanted: Wanted) -> None:
    """Refuses a quantity that exists only in a mode which no row has."""
    modes = {each.time.mode for each in rows if each.time is not None}
    for name in wanted.names:
        mode = TIMED[name].mode if name in TIMED else ""
        if modes and mode not in ("", *modes):
            raise NotCovered(
                f"{name} exists in mode {mode} only, and the mode is {', '.join(modes)}"
            )


def spelled_flag(name: str, value: Any) -> str:
    """A flag as a person types it.

    >>> spelled_flag("img_size", (224, 192)), spelled_flag("compile", True)
    ('img size 224x192', 'compile')
    """
    if value is True:
        return name.replace("_", " ")
    words = isinstance(value, list | tuple) and any(isinstance(each, str) for each in value)
    text = ", ".join(map(str, value)) if words or isinstance(value, list) else spelled(value)
    return f"{name.replace('_', ' ')} {text}"


def _told_apart(rows: list[Compared]) -> list[Compared]:
    """Rows with the same name get the file from which each report was read."""
    times = Counter(each.model for each in rows)
    return [
        each._replace(model=f"{each.model} ({each.file})")
        if each.file and times[each.model] > 1
        else each
        for each in rows
    ]


def _reported(model: Candidate) -> dict[str, Any] | None:
    """The JSON of a report, or of a saved one; None for any other model."""
    if isinstance(model, str):
        return saved.read(model) if model.lower().endswith(".json") else None
    return model.to_dict() if isinstance(model, Report) else None
