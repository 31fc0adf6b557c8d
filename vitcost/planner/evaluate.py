"""A grid in numbers: which combinations can be, which share a structure, what each costs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from math import prod
from typing import Any, NamedTuple

from vitcost.config.flags import mode_of
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import FIELDS, ViTConfig, merged
from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.costs.report import report_on
from vitcost.engine.model import columns as columns_of
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.errors import UnknownName, VitcostError
from vitcost.hardware.cards import Card
from vitcost.planner.arrays import Columns, column_fields, is_column, load, structures, taken
from vitcost.planner.chunk import INT64, Chunk, Filled
from vitcost.planner.grid import CARD, Axis, Grid, reason
from vitcost.planner.report_formulas import Plan
from vitcost.planner.structures import DESCRIBED, Structure, structure
from vitcost.planner.timing import ON_CARD, Cards
from vitcost.zoo import Base, completed, resolve

__all__ = ["Evaluator"]

_FLAGS = {field.name for field in fields(Scenario)}
# keywords that are no fields of a config
_ASIDE = {*_FLAGS, *ON_CARD}
_DEPTHS = int(FIELDS["depth"][1].high) + 1


class _Block(NamedTuple):
    """The values that are the same in all rows of a block: fields and flags that are no columns,
    and the card of a time."""

    number: int
    fields: Mapping[str, Any]
    scenario: Scenario
    card: Card | None = None


class Evaluator:
    """One model over a grid; the formulas of a structure are kept for the next chunk."""

    def __init__(
        self,
        base: Base,
        grid: Grid,
        given: Mapping[str, Any],
        names: tuple[str, ...],
        cards: Cards | None = None,
    ) -> None:
        self.base, self.cards = base, cards
        self.names = tuple(name for name in names if name not in TIMED)
        self.timed = tuple(name for name in names if name in TIMED)
        self.flags = {name: value for name, value in given.items() if name in _ASIDE}
        self.fields = {name: value for name, value in given.items() if name not in _ASIDE}
        vary = {axis.name: axis.values for axis in grid.axes}
        inside = {*column_fields(base, self.fields, vary), "batch"}
        self.inside = [axis for axis in grid.axes if axis.name in inside]
        self.outside = [axis for axis in grid.axes if axis.name not in inside]
        self._values = {axis.name: _laid_out(axis) for axis in self.inside}
        self._blocks: dict[int, _Block | str] = {}
        self._known: dict[tuple[int, int], Structure | str | None] = {}
        self._safe: dict[tuple[int, int], Mapping[str, int]] = {}
        # rows so far of a structure that has no plan yet
        self._few: Counter[tuple[int, int]] = Counter()
        self._refusals: dict[tuple[int, int], str] = {}

    @property
    def apart(self) -> list[Axis]:
        """The axes whose values cannot be arrays: fields that change the structure, and the depth
        where a flag counts layers (``every:2``). Each combination of them is a model of its own."""
        flags = {**self.base.flags, **self.flags}
        given = [[flags.get(name)] for name in ("checkpointing", "freeze")]
        varied = [axis.values for axis in self.outside if axis.name in ("checkpointing", "freeze")]
        counted = any(":" in str(value) for values in (*given, *varied) for value in values)
        return [*self.outside, *(axis for axis in self.inside if counted and axis.name == "depth")]

    @property
    def blocks(self) -> int:
        """How many combinations are described alone."""
        return prod(len(axis.values) for axis in self.apart)

    def chunk(self, at: Mapping[str, Any], rows: int) -> Chunk:
        """The combinations at some indices of each field's values."""
        np = load()
        filled = Filled(self.names, self.timed, self.cards is not None, rows)
        number: Any = 0
        for axis in self.outside:
            number = number * len(axis.values) + at[axis.name]
        for each, where in _apart(number, np.arange(rows)):
            self._block(each, where, at, filled)
        return filled.chunk(self.base.name, at)

    def _block(self, number: int, where: Any, at: Mapping[str, Any], filled: Filled) -> None:
        """Rows with the same values outside the columns."""
        if number not in self._blocks:
            self._blocks[number] = self._described(number, where[0], at)
        block = self._blocks[number]
        if isinstance(block, str):
            filled.skipped[block] += where.size
            return
        whole = where.size == filled.done.size
        index = at if whole else {axis.name: at[axis.name][where] for axis in self.inside}
        columns = {
            axis.name: _values(axis, self._values[axis.name], index[axis.name])
            for axis in self.inside
        }
        batch = columns.pop("batch", block.scenario.batch)
        config = self._config(block, columns)
        rows = self._possible(block, config, where, at, filled)
        if not rows.size:
            return
        sizes, facts = columns_of(config, batch)
        code = structures(facts)
        if block.scenario.counts_layers:
            code = code * _DEPTHS + sizes["L"]
        if block.scenario.zero:
            self._one_by_one(block, where[rows], at, filled)
            return
        for each, same in _apart(code, rows):
            key = block.number, each
            alone = self._are_few(key, same.size)
            described = None if alone else self._structure(block, key, where[same[0]], at)
            if described is None:
                self._one_by_one(block, where[same], at, filled)
            elif isinstance(described, str):
                filled.skipped[described] += same.size
            else:
                some = slice(None) if same.size == where.size else same
                sizes_of_rows = Sizes({axis: taken(size, some) for axis, size in sizes.items()})
                self._put(key, described, sizes_of_rows, taken(batch, some), where[same], filled)

    def _put(
        self,
        key: tuple[int, int],
        described: Structure,
        sizes: Sizes,
        batch: Any,
        rows: Any,
        filled: Filled,
    ) -> None:
        """Puts the quantities of rows of one structure."""
        columns = {axis: sizes[axis] for axis in described.plan.axes}
        for name, column in self._evaluated(key, described.plan, columns).items():
            filled.put(name, rows, column)
        if described.clock is not None and self.cards is not None:
            self.cards.columns(described.clock, sizes, batch, rows, self.timed, filled)
        filled.done[rows] = True
        filled.peak_is[rows] = described.peak_is

    def _are_few(self, key: tuple[int, int], rows: int) -> bool:
        """Whether the rows of a structure are reported sooner than the structure is described."""
        if key not in self._known:
            self._few[key] += rows
        return key not in self._known and self._few[key] < DESCRIBED

    def _one_by_one(self, block: _Block, where: Any, at: Mapping[str, Any], filled: Filled) -> None:
        """Rows by a report each: there are few of their structure, or their states are divided
        among ranks, and what is rounded for each tensor, and dealt out by size, is no sum of
        products."""
        for row in where.tolist():
            model = resolve(self.base, **block.fields, **self._point(row, at))
            scenario = replace(block.scenario, batch=self._batch(block, row, at))
            try:
                data = report_on(model, workload(model.config, scenario)).to_dict()
                if self.cards is not None and block.card is not None:
                    self.cards.one(model.config, scenario, block.card, row, self.timed, filled)
            except VitcostError as error:
                filled.skipped[reason(error)] += 1
                continue
            for name in self.names:
                filled.put(name, row, QUANTITIES[name].read(data))
            filled.done[row] = True
            filled.peak_is[row] = data["memory"]["training"]["peak_is"]

    def _batch(self, block: _Block, row: int, at: Mapping[str, Any]) -> int:
        varied = [axis for axis in self.inside if axis.name == "batch"]
        batches = [int(axis.value(int(at[axis.name][row]))) for axis in varied]
        return batches[0] if batches else block.scenario.batch

    def _described(self, number: int, row: int, at: Mapping[str, Any]) -> _Block | str:
        """The block of a row, or why there is none: flags that contradict each other."""
        given = {axis.name: axis.value(int(at[axis.name][row])) for axis in self.outside}
        flags = {**self.flags, **{k: value for k, value in given.items() if k in _ASIDE}}
        fields_of_model = {name: value for name, value in given.items() if name not in _ASIDE}
        flags.update(mode_of("compare", flags))
        try:
            plain = {name: value for name, value in flags.items() if name in _FLAGS}
            scenario = Scenario.of(**plain).added_to(self.base.flags)
            block = _Block(number, {**self.fields, **fields_of_model}, scenario, self._card(flags))
            self._config(block, {axis.name: _one(axis) for axis in self._sizes()})
        except UnknownName:
            # an unknown name is no combination that cannot be
            raise
        except VitcostError as error:
            return reason(error)
        return block

    def _card(self, flags: Mapping[str, Any]) -> Card | None:
        """The card of a block, where there is one."""
        named = flags.get(CARD)
        if self.cards is None or not named:
            return None
        return self.cards.card(named[0] if isinstance(named, list | tuple) else named)

    def _sizes(self) -> list[Axis]:
        return [axis for axis in self.inside if axis.name != "batch"]

    def _config(self, block: _Block, columns: Mapping[str, Any]) -> Any:
        """The config of a block, with columns in place of sizes where there are any."""
        if not columns:
            return resolve(self.base, **block.fields).config
        assert isinstance(self.base.base, ViTConfig | Mapping)
        given = completed(self.base, block.fields)
        return Columns(**merged(self.base.base, {**given, **columns}))

    def _possible(
        self, block: _Block, config: Any, where: Any, at: Mapping[str, Any], filled: Filled
    ) -> Any:
        """The rows that no rule forbids; the others are counted under the first that does."""
        np = load()
        ok = np.ones(where.size, bool)
        for rule, broken in enumerate(getattr(config, "broken", ())):
            if broken is False:
                continue
            bad = ok & broken
            count = int(np.count_nonzero(bad))
            if count:
                key = block.number, rule
                if key not in self._refusals:
                    self._refusals[key] = self._refused(block, where[np.flatnonzero(bad)[0]], at)
                filled.skipped[self._refusals[key]] += count
                ok &= ~bad
        return np.flatnonzero(ok)

    def _point(self, row: int, at: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of one row."""
        return {axis.name: axis.value(int(at[axis.name][row])) for axis in self._sizes()}

    def _refused(self, block: _Block, row: int, at: Mapping[str, Any]) -> str:
        """Why a combination cannot be, as a single report says it."""
        try:
            resolve(self.base, **block.fields, **self._point(row, at))
        except VitcostError as error:
            return reason(error)
        raise AssertionError("a sweep refuses what a report takes")

    def _structure(
        self, block: _Block, key: tuple[int, int], row: int, at: Mapping[str, Any]
    ) -> "Structure | str | None":
        """How the rows of a structure are computed, or why they cannot be; None: each by itself."""
        if key in self._known:
            return self._known[key]
        model = resolve(self.base, **block.fields, **self._point(row, at))
        scenario = replace(block.scenario, batch=self._batch(block, row, at))
        constants = self._constants(block, scenario.batch)
        described = structure(model, scenario, self.names, constants, self.cards, block.card)
        self._known[key] = described
        return described

    def _constants(self, block: _Block, batch: int) -> dict[str, int]:
        """The sizes that are the same in all rows of a block."""
        columns = {axis.name: _one(axis) for axis in self._sizes()}
        of: Any = batch
        if any(axis.name == "batch" for axis in self.inside):
            of = load().ones(1, "int64")
        sizes, _ = columns_of(self._config(block, columns), of)
        return {str(axis): size for axis, size in sizes.items() if not is_column(size)}

    def _evaluated(
        self, key: tuple[int, int], plan: Plan, sizes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The quantities: in 64-bit integers where none on the way can be larger."""
        most = {axis: int(size.max()) for axis, size in sizes.items()}
        safe = self._safe.get(key, {})
        if any(size > safe.get(axis, -1) for axis, size in most.items()):
            if plan.bound(most) > INT64:
                return plan.values({axis: size.astype(object) for axis, size in sizes.items()})
            self._safe[key] = most
        return plan.values(sizes)


def _apart(code: Any, rows: Any) -> Iterator[tuple[int, Any]]:
    """Rows by the number that stands for what they share."""
    if not is_column(code):
        yield int(code), rows
        return
    code = code[rows]
    first, last = int(code.min()), int(code.max())
    if first == last:
        yield first, rows
        return
    for each in load().unique(code):
        yield int(each), rows[code == each]


def _laid_out(axis: Axis) -> Any:
    """The values of a field as an array; a range stays one, however long it is."""
    values = axis.values
    return values if isinstance(values, range) else load().array(values, "int64")


def _values(axis: Axis, values: Any, index: Any) -> Any:
    """The values of a field at some indices as a column; the sides of a pair as two."""
    ranged = isinstance(values, range)
    column = values.start + index * values.step if ranged else values[index]
    if _is_pair(axis):
        return (column, column) if column.ndim == 1 else (column[:, 0], column[:, 1])
    return column


def _one(axis: Axis) -> Any:
    return _values(axis, _laid_out(axis._replace(values=axis.values[:1])), load().zeros(1, "int64"))


def _is_pair(axis: Axis) -> bool:
    return isinstance(axis.value(0), tuple)
