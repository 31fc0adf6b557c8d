"""``sweep``: every combination of a grid, or a random sample of them, computed on arrays."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, cast

from vitcost.config.fields import integer
from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES, check_terms
from vitcost.costs.quantity import NO_TERMS, Amount
from vitcost.errors import ConfigError, NotCovered
from vitcost.outside.arguments import flag, listed, optional, takes
from vitcost.planner.arrays import load
from vitcost.planner.chunk import Chunk
from vitcost.planner.compare import Progress, spelled_flag
from vitcost.planner.comparison_question import SCHEMA, asked_for
from vitcost.planner.evaluate import Evaluator
from vitcost.planner.grid import MOST_POINTS, Grid, Skipped, Vary, bounded, check_apart, skips
from vitcost.planner.named import named
from vitcost.planner.pareto import front, oriented
from vitcost.planner.plot import conditions, picture_of, plot
from vitcost.planner.structures import DESCRIBED
from vitcost.planner.timing import Cards
from vitcost.render.result import Result
from vitcost.zoo import Base, Model, described

__all__ = ["MOST_LISTED", "Extremes", "Sweep", "sweep"]

# combinations that are computed at a time: their columns fit into the processor's cache
CHUNK = 8192
# the most structures that are described one by one; each takes a hundredth of a second
MOST_BLOCKS = 10_000
# the most combinations for a page, computed in some seconds
MOST_STREAMED = 2 * 10**6
# the most rows of an answer as text, or of one that is computed row by row
MOST_LISTED = 100_000
# the most reports for one answer: more would keep a user waiting
MOST_REPORTS = 1000

Row: TypeAlias = dict[str, Any]
Marks: TypeAlias = Callable[[Chunk], "list[bool]"]
Pair: TypeAlias = "tuple[Amount | None, Amount | None]"


class Extremes(NamedTuple):
    """The result of a sweep: how many combinations there are, and how many are valid; for each
    quantity the rows with the least and the most of it; and the rows of the Pareto front."""

    points: int
    rows: int
    skipped: tuple[Skipped, ...]
    least: Mapping[str, Row]
    most: Mapping[str, Row]
    pareto: tuple[str, ...]
    front: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sweep(Result):
    """A grid whose combinations are computed while they are read: memory holds one chunk of
    them."""

    models: tuple[Base, ...]
    grid: Grid
    given: Mapping[str, Any]
    names: tuple[str, ...]  # names of the quantities
    cards: Cards | None = None  # the cards of a time, if it is asked for
    sample: int | None = None
    seed: int = 0
    pareto: tuple[str, str] | None = None
    progress: Progress | None = None  # is called with the number of finished combinations

    def __repr__(self) -> str:
        # showing the numbers would compute every combination
        return f"<Sweep of {self.points:,} combinations>"

    def pairs(self) -> tuple[str, ...]:
        """The names of the models that have two towers."""
        return tuple(model.name for model in self.models if hasattr(model.base, "vision"))

    @property
    def points(self) -> int:
        """The number of combinations, invalid ones included."""
        return len(self.models) * (self.grid.points if self.sample is None else self.sample)

    def evaluators(self) -> Iterator[Evaluator]:
        """One evaluator for each model."""
        for model in self.models:
            yield Evaluator(model, self.grid, self.given, self.names, self.cards)

    def one_by_one(self) -> bool:
        """Whether each combination needs a report of its own: if ranks divide the states."""
        varied = {axis.name: axis.values for axis in self.grid.axes}
        return any(varied.get("zero", (self.given.get("zero", Scenario().zero),)))

    def chunks(self) -> Iterator[Chunk]:
        """The valid combinations in order, as columns, some thousands at a time."""
        done = 0
        for evaluator in self.evaluators():
            for at, rows in _indices(self):
                yield evaluator.chunk(at, rows)
                done += rows
                if self.progress is not None:
                    self.progress(done, self.points, "combinations")

    def rows(self) -> Iterator[Row]:
        """Every valid combination as a flat row, in base units. With ``pareto`` a row says whether
        it is on the front, for which the grid is computed twice."""
        yield from self._marked(Counter())

    def _marked(self, skipped: Counter[str]) -> Iterator[Row]:
        marks = self._marks()
        for chunk in self.chunks():
            skipped.update(chunk.skipped)
            rows = self._rows(chunk, slice(None))
            if marks is None:
                yield from rows
                continue
            for row, marked in zip(rows, marks(chunk), strict=True):
                yield {**row, "pareto": marked}

    def _marks(self) -> Marks | None:
        """Whether each row of a chunk is on the front of the whole grid; None if no front is asked
        for."""
        if self.pareto is None:
            return None
        best: list[Pair] = []
        for chunk in replace(self, names=self.pareto, progress=None).chunks():
            pairs = list(dict.fromkeys([*best, *self._pairs(chunk)]))
            best = [pairs[i] for i in front(pairs)]
        ahead = frozenset(best)
        return lambda chunk: [pair in ahead for pair in self._pairs(chunk)]

    def _pairs(self, chunk: Chunk) -> Iterator[Pair]:
        x, y = (chunk.quantities[name].tolist() for name in self.pareto or ())
        yield from oriented(self.pareto or (), zip(x, y, strict=True))

    def _rows(self, chunk: Chunk, which: Any) -> Iterator[Row]:
        axes = self.grid.axes
        varied = (map(axis.value, chunk.varied[axis.name][which].tolist()) for axis in axes)
        numbers = [chunk.quantities[name][which].tolist() for name in self.names]
        keys = [*(axis.name for axis in axes), *(QUANTITIES[n].key(n) for n in self.names)]
        if "train_memory" in self.names:
            keys.append("peak_is")
            numbers.append(chunk.peak_is[which].tolist())
        if chunk.timing is not None:
            of = chunk.timing.taken(which)
            keys += [f"step_time_{name}" for name in of._fields]
            numbers += [column.tolist() for column in of]
        for cells in zip(*varied, *numbers, strict=True):
            cells = tuple(list(cell) if isinstance(cell, tuple) else cell for cell in cells)
            yield {"model": chunk.model, **dict(zip(keys, cells, strict=True))}

    def plot(self, path: str, **parts: str | None) -> None:
        """Draws quantities of the combinations in a PNG, SVG or PDF file, like
        ``Comparison.plot``."""
        picture = picture_of(parts, self.pareto, self.names)
        cards = self.cards
        names, terms = ((), NO_TERMS) if cards is None else (cards.names, cards.terms)
        check_terms(picture.names, names, terms)
        varied = tuple(axis.name for axis in self.grid.axes)
        asked = [spelled_flag(name, value) for name, value in self.given.items()]
        rows = replace(self, names=picture.names, pareto=None, progress=None).rows()
        plot(
            rows,
            picture._replace(varied=varied, title=conditions(asked, varied, picture.timed)),
            path,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.compare/1`` with every row, for a grid that fits into
        memory."""
        self.listed()
        skipped: Counter[str] = Counter()
        rows = list(self._marked(skipped))
        counted = [each._asdict() for each in skips(skipped)]
        return {"schema": SCHEMA, "rows": rows, **({"skipped": counted} if counted else {})}

    def listed(self) -> None:
        """Raises ``ConfigError`` if there are too many combinations for text."""
        self._at_most(MOST_LISTED, "text is for")

    def streamed(self) -> None:
        """Raises ``ConfigError`` if a page would keep a user waiting."""
        self._at_most(MOST_STREAMED, "a page goes through")

    def _at_most(self, most: int, what: str) -> None:
        self._waited_for()
        if self.points > most:
            raise ConfigError(
                f"{self.points:,} combinations are more than {most:,}, which is what {what}: "
                "write Parquet (-o FILE.parquet), or draw with --sample N"
            )

    def _waited_for(self) -> None:
        """Raises ``ConfigError`` if reports, or descriptions of structures, would keep a user
        waiting."""
        points = self.points // len(self.models)
        reports = 0
        for evaluator in self.evaluators():
            structures = min(points, evaluator.blocks)
            each = min(-(-points // structures), DESCRIBED)
            reports += points if self.one_by_one() else structures * each
        # one structure of each model may be described, however much varies
        if reports > max(MOST_REPORTS, DESCRIBED * len(self.models)):
            raise ConfigError(
                f"{self.points:,} combinations take as long as {reports:,} reports, and "
                f"{MOST_REPORTS:,} are the most for an answer in text: vary less, write Parquet "
                "(-o FILE.parquet), or draw fewer with --sample N"
            )

    def extremes(self) -> Extremes:
        """The least and the most of each quantity, from one pass over the grid, whatever
        its size."""
        skipped: Counter[str] = Counter()
        least: dict[str, Row] = {}
        most: dict[str, Row] = {}
        rows, best = 0, list[Row]()
        for chunk in self.chunks():
            skipped += chunk.skipped
            rows += chunk.rows
            if not chunk.rows:
                continue
            for name in self.names:
                column = chunk.quantities[name]
                if column.dtype == "object" and None in column:
                    continue
                self._better(chunk, name, int(column.argmin()), least, -1)
                self._better(chunk, name, int(column.argmax()), most, 1)
            if self.pareto is not None:
                best = self._front([*best, *self._rows(chunk, self._ahead(chunk))])
        return Extremes(
            self.points, rows, skips(skipped), least, most, self.pareto or (), tuple(best)
        )

    def _better(self, chunk: Chunk, name: str, i: int, best: dict[str, Row], sign: int) -> None:
        (value,) = chunk.quantities[name][i : i + 1].tolist()
        key = QUANTITIES[name].key(name)
        if name not in best or sign * value > sign * best[name][key]:
            (best[name],) = self._rows(chunk, slice(i, i + 1))

    def _ahead(self, chunk: Chunk) -> Any:
        """The rows of a chunk that are on the chunk's own front; no other row can be on the front
        of the grid."""
        np = load()
        return np.array(sorted(front(self._pairs(chunk))), np.int64)

    def _front(self, rows: list[Row]) -> list[Row]:
        pair = self.pareto or ()
        x, y = (QUANTITIES[name].key(name) for name in pair)
        ahead = front(oriented(pair, ((row[x], row[y]) for row in rows)))
        return [rows[i] for i in sorted(ahead)]

    def write_parquet(self, path: str) -> tuple[Skipped, ...]:
        """Writes every valid combination, chunk by chunk, and returns the skipped ones.

        Needs pyarrow (``vitcost[sweep]``). Fields and quantities are columns as JSON has them,
        sizes as text, ``224x224``. Raises ``ConfigError`` for a number that 64 bits do not hold.
        """
        from vitcost.planner.parquet import write

        return write(
            self.chunks(), self.grid.axes, self.names, path, self._marks(), self.cards is not None
        )


@takes(
    all_timm=flag,
    quantities=optional(listed),
    pareto=optional(listed),
    gpu=listed,
    anchor=listed,
)
def sweep(
    *models: Model,
    vary: Vary,
    all_timm: bool = False,
    quantities: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    pareto: Sequence[str] | None = None,
    **flags: Any,
) -> Sweep:
    """Every combination of some fields' values: exact, and millions of them in seconds.

    ``vary`` is ``{"depth": [12, 24], "batch": "1:512:x2"}`` or ``["depth=12,24", …]``: fields of
    the config or of the scenario, and ``gpu``, whose cards are a row each. A time is computed on
    arrays too, by the same operations as a single prediction. ``sample`` draws this many
    combinations at random, with ``seed``; a combination may be drawn twice. ``flags`` are the
    keywords of ``report``, and the keywords of costs that ``compare`` takes. Combinations that no
    model can have are left out, and counted by reason. Raises ``VitcostError``; ``MissingExtra``
    without numpy.

    >>> found = sweep("vit_base_patch16_224", vary={"depth": [6, 12], "patch_size": [15, 16]})
    >>> [(row["depth"], row["patch_size"], row["params"]) for row in found.rows()]
    [(6, [16, 16], 44040424), (12, [16, 16], 86567656)]
    """
    load()
    rows_of = named(models, vary, all_timm)
    if not rows_of.varied:
        raise ConfigError("a sweep needs a model and fields that vary: vary={FIELD: VALUES}")
    question = asked_for(rows_of.varied, flags, quantities, pareto)
    if flags.get("anchor"):
        raise NotCovered("an anchor was measured at one batch, and a sweep has many: use compare")
    pair, varied, names = question.pair, question.varied, question.names
    keywords = question.flags
    check_apart(varied, keywords)
    bases = [described(cast(Model, model)) for model in rows_of.models]
    for base in bases:
        if hasattr(base.base, "workload"):
            raise ConfigError(f"{base.name} is traced, so none of its fields can vary")
    sample = None if sample is None else integer("sample", sample, 1, MOST_POINTS)
    seed = integer("seed", seed, 0, 2**64 - 1)
    swept = Sweep(tuple(bases), varied, keywords, names, question.cards, sample, seed, pair)
    bounded(swept.points)
    for evaluator in swept.evaluators():
        _bounded_blocks(swept, evaluator)
    if swept.points > MOST_LISTED and swept.one_by_one():
        raise NotCovered(
            f"states that ranks divide (zero) are computed one by one, up to {MOST_LISTED:,} points"
        )
    return swept


def _bounded_blocks(sweep: Sweep, evaluator: Evaluator) -> None:
    """Raises ``ConfigError`` if describing the structures would keep a user waiting."""
    points = sweep.points // len(sweep.models)
    if min(points, evaluator.blocks) > MOST_BLOCKS or evaluator.blocks >= 2**62:
        names = ", ".join(axis.name for axis in evaluator.of_blocks)
        raise ConfigError(
            f"{evaluator.blocks:,} combinations of {names} are described one by one, and "
            f"{MOST_BLOCKS:,} are the most: vary less, or draw fewer with --sample N"
        )


def _indices(sweep: Sweep) -> Iterator[tuple[dict[str, Any], int]]:
    """The index of each field's value in every combination, chunk by chunk."""
    np = load()
    drawn = np.random.default_rng(sweep.seed)
    points = sweep.grid.points if sweep.sample is None else sweep.sample
    for start in range(0, points, CHUNK):
        rows = min(CHUNK, points - start)
        if sweep.sample is None:
            yield sweep.grid.indices(np.arange(start, start + rows)), rows
        else:
            sizes = {axis.name: len(axis.values) for axis in reversed(sweep.grid.axes)}
            yield {name: drawn.integers(size, size=rows) for name, size in sizes.items()}, rows
