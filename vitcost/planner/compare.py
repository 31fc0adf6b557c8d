"""``compare``: models side by side, and what each costs in terms of the least."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, TypeAlias, cast

from vitcost import saved
from vitcost.arguments import called, flag, listed, optional, takes
from vitcost.errors import ConfigError, UnknownName, VitcostError
from vitcost.flags import TRAINING
from vitcost.hardware.cards import Card
from vitcost.planner.grid import (
    CARD,
    Axis,
    Grid,
    Skipped,
    Vary,
    check_apart,
    grid,
    reason,
    skips,
)
from vitcost.planner.many import Many
from vitcost.planner.pareto import front, pair_of
from vitcost.planner.plot import conditions, picture_of, plot
from vitcost.quantities import NUMBERS, QUANTITIES, Amount, Changed, Numbers, changes, known, values
from vitcost.report import Report
from vitcost.result import Result
from vitcost.zoo import Model, described

__all__ = [
    "COMPARED",
    "MOST_COMPARED",
    "Compared",
    "Comparison",
    "compare",
    "label",
    "relative",
    "spelled_flag",
]

SCHEMA = "vitcost.compare/1"

# what is compared unless somebody asks for other quantities
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
# and what a page shows of them: its columns are few
SHOWN = ("params", "flops", "inference_memory", "train_memory")

Candidate: TypeAlias = "Model | Report"
# is told how many combinations are done, of how many
Progress: TypeAlias = Callable[[int, int, str], None]


# more combinations are read better from a file, and computed on arrays
MOST_COMPARED = 1000


class Compared(NamedTuple):
    """One of the models, under one scenario.

    ``layers`` has what the layers of one name cost together: ``blocks.*.attn`` stands for the
    attention of every block.
    """

    model: str
    source: str
    varied: Mapping[str, Any]
    quantities: Mapping[str, Amount | None]
    layers: Numbers
    time: "TimeOf | None" = None  # None: of no card
    towers: int = 1
    peak_is: str | None = None  # of its training step: exact, or bounded
    file: str = ""  # where a finished report was read


class TimeOf(NamedTuple):
    """What a time is of, the slowest of the cards, and what it rests on."""

    gpu: str
    mode: str
    basis: str
    low_seconds: float
    high_seconds: float
    seconds: float

    @property
    def band(self) -> str:
        """What it may be off by, as shares: ``±10%``, or ``-40% +70%``."""
        below = f"{1 - self.low_seconds / self.seconds:.0%}"
        above = f"{self.high_seconds / self.seconds - 1:.0%}"
        return f"±{above}" if below == above else f"-{below} +{above}"


class Why(NamedTuple):
    """What the layers of a model cost more, or less, than those of the first one."""

    model: str
    against: str
    changed: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """Models side by side."""

    compared: tuple[Compared, ...]
    names: tuple[str, ...]  # of the quantities
    shown: tuple[str, ...]  # the quantities of a page: those that were named, in that order
    explained: bool = False
    pareto: tuple[str, str] | None = None
    # combinations that cannot be, by reason
    skipped: tuple[Skipped, ...] = ()
    # flags of training beside times of inference
    aside: tuple[str, ...] = ()
    # every flag as it was given
    asked: tuple[str, ...] = ()
    # finished reports beside models that flags are of
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
        """A flat row a model, its relative numbers behind: ``pandas.DataFrame(found.rows())``."""
        best = {
            name: relative(each.quantities[name] for each in self.compared) for name in self.names
        }
        front = self.front()
        for i, each in enumerate(self.compared):
            yield {
                "model": each.model,
                **{name: _plain(value) for name, value in each.varied.items()},
                **{QUANTITIES[name].key(name): each.quantities[name] for name in self.names},
                **({"peak_is": each.peak_is} if "train_memory" in self.names else {}),
                **_told(each.time if "step_time" in self.names else None),
                **{f"relative_{name}": best[name][i] for name in self.names},
                **({} if self.pareto is None else {"pareto": i in front}),
            }

    def plot(self, path: str, **parts: str | None) -> None:
        """Draws quantities of the models in a PNG, SVG or PDF file: ``x``, ``y``, ``size`` and
        ``color`` name them, the front of ``pareto`` is drawn where one was asked for."""
        picture = picture_of(parts, self.pareto, self.shown)
        varied = tuple(self.compared[0].varied)
        under = conditions(self.asked, varied, picture.timed)
        title = "as reported" if all(each.file for each in self.compared) else under
        # every quantity of a report is at hand
        rows = replace(self, names=picture.names, pareto=None).rows()
        plot(rows, picture._replace(varied=varied, title=title), path)

    def pairs(self) -> tuple[str, ...]:
        """The models of two towers among them."""
        return tuple(dict.fromkeys(each.model for each in self.compared if each.towers == 2))

    def front(self) -> frozenset[int]:
        """Those that no other beats in one of two quantities without losing in the other."""
        if self.pareto is None:
            return frozenset()
        x, y = self.pareto
        return front((each.quantities[x], each.quantities[y]) for each in self.compared)

    def why(self) -> Iterator[Why]:
        """The layers that make the difference, of every model to the first."""
        first, *others = self.compared
        for each in others:
            changed = tuple(changes(first.layers, each.layers))
            yield Why(label(each), label(first), changed)


@takes(
    why=flag,
    quantities=optional(listed),
    pareto=optional(listed),
    progress=optional(called),
    gpu=listed,
)
def compare(
    *models: Candidate,
    vary: "Vary | None" = None,
    why: bool = False,
    quantities: Sequence[str] | None = None,
    pareto: Sequence[str] | None = None,
    progress: Progress | None = None,
    **flags: Any,
) -> Comparison:
    """Models side by side, each quantity also relative to the least of all: 1.00 is the best.

    A model is what ``report`` takes, a report, or the path of a saved ``report --json``. ``flags``
    are the keywords of ``report``, the same for all but the reports, which were made under their
    own. ``quantities`` are shown in the order in which
    they are named, the time of a card behind them. ``why`` explains the differences to the first
    model by layer. ``vary`` compares every combination of some fields' values too, as ``sweep`` has
    them, up to a thousand, and of ``gpu``, of which several are a row each. Those that cannot be
    are counted in ``skipped``. ``pareto`` names two quantities whose front is marked. Raises
    ``VitcostError``: an unknown name or quantity, a field that cannot be.

    >>> found = compare("vit_base_patch16_224", "vit_large_patch16_224", quantities=["params"])
    >>> [(row["params"], round(row["relative_params"], 2)) for row in found.rows()]
    [(86567656, 1.0), (304326632, 3.52)]
    """
    if not models:
        raise ConfigError("no model to compare")
    pair = pair_of(pareto)
    varied = _over_cards(models, grid(vary), flags)
    # a card is named for its time
    cards = flags.get("gpu") or any(axis.name == CARD for axis in varied.axes)
    more = (*(["step_time"] if cards else []), *(pair or ()))
    names = known([*(COMPARED if quantities is None else quantities), *more])
    shown = names if quantities is not None else known([*SHOWN, *more])
    points = len(models) * varied.points
    if points > MOST_COMPARED:
        raise ConfigError(
            f"{points:,} combinations are more than the {MOST_COMPARED:,} that are laid side by "
            "side; vitcost.sweep computes them"
        )
    check_apart(varied, flags)
    skipped: Counter[str] = Counter()
    finished = [_reported(model) is not None for model in models]
    each_done, many = count(1), Many()

    def tell() -> None:
        if progress is not None:
            progress(next(each_done), points, "combinations")

    # flags are of the models beside a report, which was made under its own
    kept = any(finished) and not all(finished) and not varied
    found = [
        _of_file(each, model) if done else each
        for model, done in zip(models, finished, strict=True)
        for each in _varied(model, {} if kept and done else flags, varied, skipped, many, tell)
    ]
    found = _told_apart(found)
    if not found:
        raise ConfigError(f"no combination can be: {', '.join(skipped)}")
    timed = any(each.time is not None and each.time.mode == "infer" for each in found)
    named = {*flags, *(axis.name for axis in varied.axes)}
    aside = tuple(flag for flag in TRAINING if timed and flag in named)
    reports = tuple(each.model for each in found if each.file) if kept and flags else ()
    given = tuple(spelled_flag(name, value) for name, value in flags.items())
    skips_ = skips(skipped)
    return Comparison(tuple(found), names, shown, why, pair, skips_, aside, given, reports)


def spelled_flag(name: str, value: Any) -> str:
    """A flag as a person types it."""
    if value is True:
        return name.replace("_", " ")
    text = ", ".join(map(str, value)) if isinstance(value, list) else _spelled(value)
    return f"{name.replace('_', ' ')} {text}"


def _of_file(each: Compared, model: Candidate) -> Compared:
    return each._replace(file=model if isinstance(model, str) else "a report")


def _told_apart(found: list[Compared]) -> list[Compared]:
    """Reports of one model by the files that they were read from."""
    times = Counter(each.model for each in found)
    return [
        each._replace(model=f"{each.model} ({each.file})")
        if each.file and times[each.model] > 1
        else each
        for each in found
    ]


def _over_cards(models: Sequence[Candidate], varied: Grid, flags: dict[str, Any]) -> Grid:
    """The grid with several cards as a field that varies; a finished report has its cards."""
    if len(flags.get("gpu", ())) < 2 or any(_reported(model) is not None for model in models):
        return varied
    check_apart(varied, flags)
    return Grid((*varied.axes, Axis(CARD, tuple(dict.fromkeys(flags.pop(CARD))))))


def relative(numbers: Iterable[int | float | None]) -> list[float | None]:
    """Each number in terms of the least.

    >>> relative([4, 2, None])
    [2.0, 1.0, None]
    """
    numbers = list(numbers)
    least = min((number for number in numbers if number is not None), default=None)
    return [number / least if number is not None and least else None for number in numbers]


def _varied(
    model: Candidate,
    flags: Mapping[str, Any],
    varied: Grid,
    skipped: "Counter[str]",
    many: Many,
    tell: Callable[[], None],
) -> Iterator[Compared]:
    """A model in every combination that can be; ``tell`` is called behind each."""
    if not varied:
        yield _compared(model, flags, many)
        tell()
        return
    if _reported(model) is None:
        # an unknown name is no combination that cannot be
        described(cast(Model, model))
    for index in range(varied.points):
        point = varied.point(index)
        try:
            found = _compared(model, {**flags, **point}, many)
        except UnknownName:
            raise
        except VitcostError as error:
            skipped[reason(error)] += 1
            continue
        finally:
            tell()
        yield found._replace(varied=point)


def _told(time: TimeOf | None) -> dict[str, Any]:
    return {} if time is None else {f"step_time_{k}": v for k, v in time._asdict().items()}


def _slowest(times: Sequence[Mapping[str, Any]]) -> TimeOf | None:
    """What the time of a report is of, which is the longest."""
    if not times:
        return None
    longest = max(times, key=lambda time: float(time["seconds"]))
    gpu, mode, basis = (str(longest[name]) for name in TimeOf._fields[:3])
    low, high, seconds = (float(longest[name]) for name in TimeOf._fields[3:])
    return TimeOf(gpu, mode, basis, low, high, seconds)


def label(each: Compared) -> str:
    """A model, and what it varies in."""
    varied = ", ".join(f"{name} {_spelled(value)}" for name, value in each.varied.items())
    return f"{each.model} ({varied})" if varied else each.model


def _spelled(value: Any) -> str:
    if isinstance(value, Card):
        return value.name
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Card):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def _compared(model: Candidate, flags: Mapping[str, Any], many: Many) -> Compared:
    data = _reported(model)
    if data is None:
        data = many.report(cast(Model, model), **flags).to_dict()
    elif flags:
        what = f"{model!r:.80}" if isinstance(model, str) else data["model"]["name"]
        raise ConfigError(f"{what} is a finished report, which {next(iter(flags))} cannot change")
    name, source = data["model"]["name"], data["model"]["source"]
    towers = 2 if "vision" in data["model"]["config"] else 1
    numbers = values(data), layer_numbers(data)
    peak_is = data["memory"]["training"]["peak_is"]
    return Compared(name, source, {}, *numbers, _slowest(data["time"]), towers, peak_is)


def _reported(model: Candidate) -> dict[str, Any] | None:
    """The JSON of what is a report already, saved or not."""
    if isinstance(model, str):
        return saved_report(model)
    return model.to_dict() if isinstance(model, Report) else None


def saved_report(path: str) -> dict[str, Any] | None:
    """The JSON of a saved report, or None for what is none."""
    return saved.read(path) if path.lower().endswith(".json") else None


def layer_numbers(data: Mapping[str, Any]) -> Numbers:
    """What the layers of a report cost together by name, each inside the one above."""
    found: dict[str, dict[str, int]] = {}
    for layer in data["layers"]:
        _add(layer, 1, found)
    return found


def _add(layer: Mapping[str, Any], times: int, found: dict[str, dict[str, int]]) -> None:
    times = times * layer["repeat"]
    names = ("*" if name.isdigit() else name for name in layer["path"].split("."))
    numbers = found.setdefault(".".join(names), dict.fromkeys(NUMBERS, 0))
    for column in NUMBERS:
        numbers[column] += times * (layer[column] or 0)
    for child in layer["children"]:
        _add(child, times, found)
