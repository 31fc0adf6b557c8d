"""Parquet: a sweep row by row in one file, written as it is computed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vitcost.costs.quantities import FLOATS, QUANTITIES
from vitcost.errors import ConfigError, MissingExtra
from vitcost.hardware.columns import Times
from vitcost.outside.writing import whole
from vitcost.planner.arrays import load
from vitcost.planner.chunk import Chunk
from vitcost.planner.grid import Axis, Skipped, skips

__all__ = ["write", "write_rows"]

# rows in a group, which a reader loads at once: eight columns of them are 16 MiB
_GROUP = 262_144


def write(
    chunks: Iterable[Chunk],
    axes: Sequence[Axis],
    names: Sequence[str],
    path: str,
    marks: "Callable[[Chunk], Sequence[bool]] | None" = None,
    timed: bool = False,
) -> tuple[Skipped, ...]:
    """Writes a sweep to a temporary file, then moves it to ``path``; returns the combinations that
    were skipped.

    Fields are columns as JSON has them, sizes as text, ``224x224``; ``marks`` says of each row
    whether it is on the Pareto front, ``timed``: whether rows have the time of a card. Raises
    ``ConfigError`` for a number that 64 bits do not hold, ``MissingExtra`` without pyarrow.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy
    >>> import pyarrow.parquet
    >>> index, params = numpy.array([0, 1]), numpy.array([86_567_656, 171_622_120])
    >>> chunk = Chunk("vit", 2, {"depth": index}, {"params": params}, Counter(), index)
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/sweep.parquet"
    ...     skipped = write([chunk], [Axis("depth", (12, 24))], ["params"], path)
    ...     pyarrow.parquet.read_table(path).to_pylist()[1]
    {'model': 'vit', 'depth': 24, 'params': 171622120}
    """
    arrow, _ = _load()
    skipped: Counter[str] = Counter()
    types = {"model": arrow.string(), **{axis.name: _type(axis) for axis in axes}}
    numbers = {QUANTITIES[name].key(name): _kind(name) for name in names}
    if "train_memory" in names:
        numbers["peak_is"] = arrow.string()
    if timed:
        for name in Times._fields:
            kind = arrow.float64() if name.endswith("seconds") else arrow.string()
            numbers[f"step_time_{name}"] = kind
    marked = {} if marks is None else {"pareto": arrow.bool_()}
    schema = arrow.schema([*types.items(), *numbers.items(), *marked.items()])

    def batches() -> Iterator[Any]:
        for chunk in chunks:
            skipped.update(chunk.skipped)
            if chunk.rows:
                columns = list(_columns(chunk, axes, names))
                if marks is not None:
                    columns.append(arrow.array(marks(chunk), arrow.bool_()))
                yield arrow.RecordBatch.from_arrays(columns, schema=schema)

    _write(path, schema, batches())
    return skips(skipped)


def write_rows(rows: Iterable[Mapping[str, Any]], path: str) -> None:
    """Writes flat rows; sizes are text. Raises ``MissingExtra`` without pyarrow, ``ConfigError``
    where the file cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> import pyarrow.parquet
    >>> with TemporaryDirectory() as folder:
    ...     write_rows([{"model": "vit", "img_size": (224, 192)}], f"{folder}/rows.parquet")
    ...     pyarrow.parquet.read_table(f"{folder}/rows.parquet").to_pylist()
    [{'model': 'vit', 'img_size': '224x192'}]
    """
    arrow, _ = _load()
    table = arrow.Table.from_pylist([{k: _spelled(v) for k, v in row.items()} for row in rows])
    _write(path, table.schema, table.to_batches())


def _load() -> Any:
    """pyarrow. Raises ``MissingExtra``, with the command that installs it, if it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "sweep", "Parquet") from None
    return pyarrow, pyarrow.parquet


def _columns(chunk: Chunk, axes: Sequence[Axis], names: Sequence[str]) -> Iterator[Any]:
    """The columns of a chunk: the values of every field, looked up by index, then the
    quantities."""
    arrow, _ = _load()
    yield arrow.repeat(chunk.model, chunk.rows)
    for axis in axes:
        index = chunk.varied[axis.name]
        if isinstance(axis.values, range) and _type(axis) == arrow.int64():
            yield arrow.array(axis.values.start + index * axis.values.step)
            continue
        # a range may have more values than the chunk has rows, so only the used ones are built
        used, index = load().unique(index, return_inverse=True)
        values = [_spelled(axis.value(i)) for i in used.tolist()]
        yield arrow.array(values, _type(axis)).take(arrow.array(index))
    for name in names:
        try:
            yield arrow.array(chunk.quantities[name], _kind(name))
        except (OverflowError, arrow.ArrowInvalid):
            raise ConfigError(
                f"{name} is larger than 64 bits hold, which is what Parquet has; "
                "JSON and CSV hold any integer"
            ) from None
    if "train_memory" in names:
        yield arrow.array(chunk.peak_is.tolist(), arrow.string())
    for column in chunk.timing or ():
        yield arrow.array(column.tolist())


def _kind(name: str) -> Any:
    """The type of a quantity's column; counts are exact integers."""
    arrow, _ = _load()
    return arrow.float64() if QUANTITIES[name].unit in FLOATS else arrow.int64()


def _type(axis: Axis) -> Any:
    """The type of a field's column, from its values."""
    arrow, _ = _load()
    values = axis.values[:1] if isinstance(axis.values, range) else axis.values
    kinds = {type(_spelled(axis.value(i))) for i in range(len(values))} - {type(None)}
    if kinds <= {int, float}:
        return arrow.float64() if float in kinds else arrow.int64()
    return arrow.bool_() if kinds == {bool} else arrow.string()


def _spelled(value: Any) -> Any:
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else value


def _write(name: str, schema: Any, batches: Iterable[Any]) -> None:
    """Writes record batches in groups of rows."""
    arrow, parquet = _load()
    with whole(name) as path, parquet.ParquetWriter(path, schema) as writer:
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(batch)
            if sum(each.num_rows for each in waiting) >= _GROUP:
                writer.write_table(arrow.Table.from_batches(waiting))
                waiting = []
        if waiting:
            writer.write_table(arrow.Table.from_batches(waiting))
