"""The rows of a sweep as columns, some thousands at a time."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vitcost.hardware.columns import Times
from vitcost.planner.arrays import is_column, load

__all__ = ["INT64", "Chunk", "Filled"]

INT64 = 2**63 - 1


class Chunk(NamedTuple):
    """Valid combinations, as columns.

    ``varied`` has, for each field, the index of its value in every row. ``quantities`` are 64-bit
    integers, or Python's if one is larger; floats for seconds and quantities computed from seconds;
    None if there is no figure. Invalid combinations are counted by reason. ``peak_is`` says of each
    row whether its peak of a training step is ``exact`` or ``bounded``; ``timing`` is set if a card
    is named.
    """

    model: str
    rows: int
    varied: Mapping[str, Any]
    quantities: Mapping[str, Any]
    skipped: "Counter[str]"
    peak_is: Any
    timing: Times | None = None


class Filled:
    """The columns of a chunk while its rows are filled in; the columns in ``floats`` are
    not exact."""

    def __init__(self, names: Iterable[str], floats: Iterable[str], timed: bool, rows: int) -> None:
        np = load()
        self.done = np.zeros(rows, bool)
        self.columns = {name: np.zeros(rows, np.int64) for name in names}
        for name in floats:
            self.columns[name] = np.zeros(rows) if timed else np.full(rows, None, object)
        self.peak_is = np.full(rows, None, object)
        kinds = [object] * 3 + [np.float64] * 3 if timed else []
        self.timing = Times(*(np.zeros(rows, kind) for kind in kinds)) if timed else None
        self.skipped: Counter[str] = Counter()

    def put(self, name: str, rows: Any, values: Any) -> None:
        """Stores the values of a quantity in some rows."""
        column = self.columns[name]
        if is_column(values) and values.size == self.done.size:
            self.columns[name] = values
            return
        # None, and integers that 64 bits cannot hold, are stored as Python objects
        if not is_column(values):
            large = values is None or (isinstance(values, int) and abs(values) > INT64)
        else:
            large = values.dtype == "object"
        if large and column.dtype != "object":
            self.columns[name] = column.astype(object)
        self.columns[name][rows] = values

    def time(self, rows: Any, values: Iterable[Any]) -> None:
        """Stores the times of some rows."""
        for column, value in zip(self.timing or (), values, strict=True):
            column[rows] = value

    def chunk(self, model: str, at: Mapping[str, Any]) -> Chunk:
        """The chunk of all rows that are filled in; ``at`` has the index of each field's value."""
        np = load()
        kept = slice(None) if self.done.all() else np.flatnonzero(self.done)
        return Chunk(
            model,
            int(np.count_nonzero(self.done)),
            {name: index[kept] for name, index in at.items()},
            {name: column[kept] for name, column in self.columns.items()},
            self.skipped,
            self.peak_is[kept],
            None if self.timing is None else self.timing.taken(kept),
        )
