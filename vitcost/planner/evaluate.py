"""The numbers of a grid: its valid combinations, sorted by structure, and the cost of each.

A grid is read in chunks of rows. In a chunk, ``at`` has for each axis the index of its value in
every row; ``rows`` are row numbers. Values that change the structure (``outside``) divide the rows
into blocks; the sizes (``inside``) of a block are columns. Rules on columns drop the combinations
that no model can have; the structure of a row follows from its sizes. All rows of one structure are
computed at once, by formulas from a report on symbols; if a structure has few rows, each gets a
report.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from vitcost.config.flags import FLAGS, apart, mode_of
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
from vitcost.zoo import Base, Resolved, completed, resolve

__all__ = ["Evaluator"]

# keywords that are not fields of a config
_ASIDE = {*FLAGS, *ON_CARD}
_DEPTHS = int(FIELDS["depth"][1].high) + 1


class _Block(NamedTuple):
    """The values that all rows of a block share: fields and flags that are not columns, and the
    card for its times."""

    number: int
    fields: Mapping[str, Any]
    scenario: Scenario
    card: Card | None = None


class Evaluator:
    """One model over a grid; the formulas of a structure are kept for later chunks."""

    def __init__(
        self,
        base: Base,
        grid: Grid,
        keywords: Mapping[str, Any],
        names: tuple[str, ...],
        cards: Cards | None = None,
    ) -> None:
        self.base, self.cards = base, cards
        self.names = tuple(name for name in names if name not in TIMED)
        self.timed = tuple(name for name in names if name in TIMED)
        self.flags = {name: value for name, value in keywords.items() if name in _ASIDE}
        self.fields = {name: value for name, value in keywords.items() if name not in _ASIDE}
        vary = {axis.name: axis.values for axis in grid.axes}
        inside = {*column_fields(base, self.fields, vary), "batch"}
        self.inside = [axis for axis in grid.axes if axis.name in inside]
        self.outside = [axis for axis in grid.axes if axis.name not in inside]
        self._arrays = {axis.name: _array(axis) for axis in self.inside}
        self._blocks: dict[int, _Block | str] = {}
        self._structures: dict[tuple[int, int], Structure | str | None] = {}
        # sizes up to which 64 bits hold every number of a structure
        self._safe: dict[tuple[int, int], Mapping[str, int]] = {}
        # how many rows without formulas each structure has had so far
        self._reported: Counter[tuple[int, int]] = Counter()
        self._refusals: dict[tuple[int, int], str] = {}

    @property
    def of_blocks(self) -> list[Axis]:
        """The axes whose values cannot be arrays: fields that change the structure, and the depth
        where a flag counts layers (``every:2``). Each combination of them is a block of its own."""
        flags = {**self.base.flags, **self.flags}
        of_model = [[flags.get(name)] for name in ("checkpointing", "freeze")]
        varied = [axis.values for axis in self.outside if axis.name in ("checkpointing", "freeze")]
        counted = any(":" in str(value) for values in (*of_model, *varied) for value in values)
        return [*self.outside, *(axis for axis in self.inside if counted and axis.name == "depth")]

    @property
    def blocks(self) -> int:
        """The number of blocks: the combinations of the values of ``of_blocks``."""
        return prod(len(axis.values) for axis in self.of_blocks)

    def chunk(self, at: Mapping[str, Any], rows: int) -> Chunk:
        """The rows of a chunk; ``at`` has for each axis the index of its value in every row."""
        np = load()
        filled = Filled(self.names, self.timed, self.cards is not None, rows)
        number: Any = 0
        for axis in self.outside:
            number = number * len(axis.values) + at[axis.name]
        for block_number, rows_of_block in _by_code(number, np.arange(rows)):
            self._block(block_number, rows_of_block, at, filled)
        return filled.chunk(self.base.name, at)

    def _block(self, number: int, rows: Any, at: Mapping[str, Any], filled: Filled) -> None:
        """Fills in the rows of one block."""
        if number not in self._blocks:
            self._blocks[number] = self._block_of(number, rows[0], at)
        block = self._blocks[number]
        if isinstance(block, str):
            filled.skipped[block] += rows.size
            return
        every = rows.size == filled.done.size
        index = at if every else {axis.name: at[axis.name][rows] for axis in self.inside}
        columns = {
            axis.name: _column(axis, self._arrays[axis.name], index[axis.name])
            for axis in self.inside
        }
        batch = columns.pop("batch", block.scenario.batch)
        config = self._config(block, columns)
        allowed = self._allowed(block, config, rows, at, filled)
        if not allowed.size:
            return
        if block.scenario.zero:
            self._put_reports(block, rows[allowed], at, filled)
            return
        sizes, facts = columns_of(config, batch)
        code = structures(facts)
        if block.scenario.counts_layers:
            code = code * _DEPTHS + sizes["L"]
        for structure_code, same in _by_code(code, allowed):
            key = block.number, structure_code
            formulas = self._structure(block, key, rows[same], at)
            if formulas is None:
                self._put_reports(block, rows[same], at, filled)
            elif isinstance(formulas, str):
                filled.skipped[formulas] += same.size
            else:
                chosen = slice(None) if same.size == rows.size else same
                of_rows = Sizes({axis: taken(size, chosen) for axis, size in sizes.items()})
                batches = taken(batch, chosen)
                self._put_formulas(key, formulas, of_rows, batches, rows[same], filled)

    def _put_formulas(
        self,
        key: tuple[int, int],
        formulas: Structure,
        sizes: Sizes,
        batch: Any,
        rows: Any,
        filled: Filled,
    ) -> None:
        """Fills in rows of one structure by its formulas."""
        columns = {axis: sizes[axis] for axis in formulas.plan.axes}
        for name, column in self._evaluated(key, formulas.plan, columns).items():
            filled.put(name, rows, column)
        if formulas.clock is not None and self.cards is not None:
            times = formulas.clock.times(sizes, batch)
            self.cards.put(times, batch, rows, self.timed, filled)
        filled.done[rows] = True
        filled.peak_is[rows] = formulas.peak_is

    def _put_reports(self, block: _Block, rows: Any, at: Mapping[str, Any], filled: Filled) -> None:
        """Fills in each row by a report of its own. This is for structures with few rows, and for
        ZeRO: ranks round up each tensor and distribute tensors by size, so no polynomial gives
        these numbers."""
        for row in rows.tolist():
            model, scenario = self._asked(block, row, at)
            try:
                data = report_on(model, workload(model.config, scenario)).to_dict()
                if self.cards is not None and block.card is not None:
                    times = self.cards.one(model.config, scenario, block.card)
                    self.cards.put(times, scenario.batch, row, self.timed, filled)
            except VitcostError as error:
                filled.skipped[reason(error)] += 1
                continue
            for name in self.names:
                filled.put(name, row, QUANTITIES[name].read(data))
            filled.done[row] = True
            filled.peak_is[row] = data["memory"]["training"]["peak_is"]

    def _asked(self, block: _Block, row: int, at: Mapping[str, Any]) -> tuple[Resolved, Scenario]:
        """The model and the scenario of one row."""
        sizes = {axis.name: axis.value(int(at[axis.name][row])) for axis in self.inside}
        batch = int(sizes.pop("batch", block.scenario.batch))
        model = resolve(self.base, **block.fields, **sizes)
        return model, replace(block.scenario, batch=batch)

    def _block_of(self, number: int, row: int, at: Mapping[str, Any]) -> _Block | str:
        """The block of a row, or the reason why its flags contradict each other."""
        values = {axis.name: axis.value(int(at[axis.name][row])) for axis in self.outside}
        flags = {**self.flags, **{k: value for k, value in values.items() if k in _ASIDE}}
        fields_of_model = {name: value for name, value in values.items() if name not in _ASIDE}
        flags.update(mode_of("compare", flags))
        try:
            scenario = Scenario.of(**apart(flags)[0]).added_to(self.base.flags)
            block = _Block(number, {**self.fields, **fields_of_model}, scenario, self._card(flags))
            self._config(block, {axis.name: _one(axis) for axis in self._sizes()})
        except UnknownName:
            # an unknown name is an error in the question, not in one combination
            raise
        except VitcostError as error:
            return reason(error)
        return block

    def _card(self, flags: Mapping[str, Any]) -> Card | None:
        """The card for a block's times; None if no time is asked for."""
        named = flags.get(CARD)
        if self.cards is None or not named:
            return None
        return self.cards.card(named[0] if isinstance(named, list | tuple) else named)

    def _sizes(self) -> list[Axis]:
        return [axis for axis in self.inside if axis.name != "batch"]

    def _config(self, block: _Block, columns: Mapping[str, Any]) -> Any:
        """The config of a block, with columns in place of the sizes that vary."""
        if not columns:
            return resolve(self.base, **block.fields).config
        assert isinstance(self.base.base, ViTConfig | Mapping)
        fields_of_model = completed(self.base, block.fields)
        return Columns(**merged(self.base.base, {**fields_of_model, **columns}))

    def _allowed(
        self, block: _Block, config: Any, rows: Any, at: Mapping[str, Any], filled: Filled
    ) -> Any:
        """The rows that every rule allows; each other row is counted under the first rule that it
        breaks."""
        np = load()
        ok = np.ones(rows.size, bool)
        for rule, broken in enumerate(getattr(config, "broken", ())):
            if broken is False:
                continue
            bad = ok & broken
            count = int(np.count_nonzero(bad))
            if count:
                key = block.number, rule
                if key not in self._refusals:
                    self._refusals[key] = self._refused(block, rows[np.flatnonzero(bad)[0]], at)
                filled.skipped[self._refusals[key]] += count
                ok &= ~bad
        return np.flatnonzero(ok)

    def _refused(self, block: _Block, row: int, at: Mapping[str, Any]) -> str:
        """The message of a report on a combination that a rule forbids."""
        try:
            self._asked(block, row, at)
        except VitcostError as error:
            return reason(error)
        raise AssertionError("a sweep refuses what a report takes")

    def _structure(
        self, block: _Block, key: tuple[int, int], rows: Any, at: Mapping[str, Any]
    ) -> "Structure | str | None":
        """The formulas of the structure of some rows, or the reason why it has none; None if each
        row gets a report, which takes less time while the structure has few rows."""
        if key in self._structures:
            return self._structures[key]
        self._reported[key] += rows.size
        if self._reported[key] < DESCRIBED:
            return None
        model, scenario = self._asked(block, rows[0], at)
        constants = self._constants(block, scenario.batch)
        formulas = structure(model, scenario, self.names, constants, self.cards, block.card)
        self._structures[key] = formulas
        return formulas

    def _constants(self, block: _Block, batch: int) -> dict[str, int]:
        """The sizes that all rows of a block share."""
        columns = {axis.name: _one(axis) for axis in self._sizes()}
        of: Any = batch
        if any(axis.name == "batch" for axis in self.inside):
            of = load().ones(1, "int64")
        sizes, _ = columns_of(self._config(block, columns), of)
        return {str(axis): size for axis, size in sizes.items() if not is_column(size)}

    def _evaluated(
        self, key: tuple[int, int], plan: Plan, sizes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The quantities of rows, in 64-bit integers if no intermediate number can be larger, else
        in Python's integers."""
        most = {axis: int(size.max()) for axis, size in sizes.items()}
        safe = self._safe.get(key, {})
        if any(size > safe.get(axis, -1) for axis, size in most.items()):
            if plan.bound(most) > INT64:
                return plan.values({axis: size.astype(object) for axis, size in sizes.items()})
            self._safe[key] = most
        return plan.values(sizes)


def _by_code(codes: Any, rows: Any) -> Iterator[tuple[int, Any]]:
    """The rows of each code; ``codes`` is an array, or one code for all rows."""
    if not is_column(codes):
        yield int(codes), rows
        return
    codes = codes[rows]
    first, last = int(codes.min()), int(codes.max())
    if first == last:
        yield first, rows
        return
    for code in load().unique(codes):
        yield int(code), rows[codes == code]


def _array(axis: Axis) -> Any:
    """The values of an axis as an array; a range stays a range, whatever its length."""
    values = axis.values
    return values if isinstance(values, range) else load().array(values, "int64")


def _column(axis: Axis, values: Any, index: Any) -> Any:
    """The values of an axis at some indices, as a column; the sides of a pair are two columns."""
    ranged = isinstance(values, range)
    column = values.start + index * values.step if ranged else values[index]
    if isinstance(axis.value(0), tuple):
        return (column, column) if column.ndim == 1 else (column[:, 0], column[:, 1])
    return column


def _one(axis: Axis) -> Any:
    return _column(axis, _array(axis._replace(values=axis.values[:1])), load().zeros(1, "int64"))
