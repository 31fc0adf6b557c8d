"""Reads schema ``vitcost.trace/1``: traces of one module in a JSON file, without torch.

Repeated values are stored once: polynomials, arrays and operators stand in tables, and all else
refers to them by their index.
"""

import json
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zlib import crc32

from vitcost.errors import ConfigError, shown
from vitcost.outside.reading import Kind, read_json
from vitcost.traced.batch_sizes import Polynomial
from vitcost.traced.touched import unpacked_touched
from vitcost.traced.trace import (
    BORN,
    ITEMSIZE,
    LOOK,
    MARKS,
    SAVED,
    Array,
    How,
    Mark,
    Module,
    Operator,
    Pass,
    Returned,
    Trace,
    Weight,
    decoded,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SCHEMA", "TRACE", "TraceFile", "checksum", "read"]

SCHEMA = "vitcost.trace/1"
# a scenario of the largest model of timm takes 400 kB
TRACE = Kind("trace", 32 * 2**20)

# torch counts the elements, bytes and operations of one call in 64 bits
_MOST = 2**63 - 1

T = TypeVar("T")


class TraceFile(NamedTuple):
    """One module under several scenarios, and a hash of the traced module."""

    name: str
    source: str
    hash: str
    traces: tuple[tuple[How, Trace], ...]

    def batches(self) -> str:
        """The scenarios in the file, for a message."""
        return "; ".join(
            f"{how.said()} at batch{'es' if len(t.batches) > 1 else ''} "
            + ("from 2 on" if len(t.batches) > 1 else str(t.batches[0]))
            for how, t in self.traces
        )


def read(path: "str | Path") -> TraceFile:
    """The traces of a file. Raises ``ConfigError`` for a file that is not a trace, has another
    version, or is damaged.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "old.json")
    ...     _ = file.write_text('{"schema": "vitcost.trace/0"}')
    ...     read(file)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: ...: schema 'vitcost.trace/0', and this vi...
    """
    return unpacked(read_json(path, TRACE), str(path))


def checksum(data: dict[str, Any]) -> int:
    """CRC-32 of the compact JSON text of everything but the checksum.

    >>> checksum({"schema": "vitcost.trace/1"}) == crc32(b'{"schema":"vitcost.trace/1"}')
    True
    """
    return crc32(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())


def unpacked(data: dict[str, Any], path: str) -> TraceFile:
    """A trace file from its JSON data."""
    if data.get("schema") != SCHEMA:
        raise ConfigError(
            f"{path}: schema {shown(data.get('schema'))}, and this vitcost reads {SCHEMA}: "
            "trace the module again"
        )
    try:
        summed = {key: value for key, value in data.items() if key != "checksum"}
        if data["checksum"] != checksum(summed):
            raise ValueError("its checksum is another")
        tables = _tables(data["tables"])
        scenarios = tuple(_unpacked_trace(each, tables) for each in data["scenarios"])
        name, source, digest = (_is(str, data[key]) for key in ("name", "source", "hash"))
        if not scenarios:
            raise ValueError("no scenarios")
        return TraceFile(name, source, digest, scenarios)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: a damaged trace ({type(error).__name__}: {error}): trace the module again"
        ) from None


def _unpacked_events(events: Sequence[int], storages: int) -> tuple[int, ...]:
    born, unpacked_events = 0, []
    for event in events:
        if event < 2:
            unpacked_events.append(LOOK if event == LOOK else 4 * born + BORN)
            born += event
            continue
        back, kind = divmod(event - 1, 4)
        storage = born - back
        if not 0 <= storage < born:
            raise ValueError("an event of a storage that is not there")
        unpacked_events.append(4 * storage + kind + 1)
    if born > storages:
        raise ValueError("a storage without a size")
    return tuple(unpacked_events)


class _Read(NamedTuple):
    """The decoded shared tables."""

    polynomials: tuple[Polynomial, ...]
    operators: tuple[Operator, ...]
    paths: tuple[str, ...]
    modules: tuple[Module, ...]
    weights: tuple[Weight, ...]
    arrays: tuple[Array, ...]
    returns: tuple[Returned, ...]


def _tables(data: dict[str, Any]) -> _Read:
    polynomials = _all(_polynomial, data["polynomials"])

    def sides(places: Any) -> tuple[Polynomial, ...]:
        return _picked(polynomials, places)

    def array(row: Any) -> Array:
        dtype, shape, strides = row
        return Array(_text(dtype), sides(shape), None if strides is None else sides(strides))

    arrays = _all(array, data["arrays"])

    def operator(row: Any) -> Operator:
        name, phase, reads, writes, *flops = row
        one, two, three = sides(flops)
        operands = _picked(arrays, reads), _picked(arrays, writes)
        return Operator(_text(name), _text(phase), *operands, one, two, three)

    def module(row: Any) -> Module:
        path, kind, shape, *counts, trains = row
        calls, hooks, elements = map(_count, counts)
        named = _text(path), _text(kind), sides(shape)
        return Module(*named, calls, hooks, elements, _is(bool, trains))

    def returned(row: Any) -> Returned:
        path, many, shapes = row
        return Returned(_count(path), _is(bool, many), _all(sides, shapes))

    return _Read(
        polynomials,
        _all(operator, data["operators"]),
        _all(_text, data["paths"]),
        _all(module, data["modules"]),
        _all(_weight, data["weights"]),
        arrays,
        _all(returned, data["returns"]),
    )


def _unpacked_trace(data: dict[str, Any], tables: _Read) -> tuple[How, Trace]:
    # a file of an older version has no flags of sharded weights
    flags = {**_LATER, **data["how"]}
    how = How(**{k: _is(type(v), flags[k]) for k, v in How()._asdict().items()})
    step, step_buffers = data["step"], data.get("step_buffers")
    return how, Trace(
        _picked(tables.weights, data["weights"]),
        _picked(tables.weights, data["buffers"]),
        _unpacked_pass(data["inference"], tables),
        None if step is None else _unpacked_pass(step, tables),
        _text(data["missing"]),
        _all(_text, data["notes"]),
        _all(_count, data["batches"]),
        _text(data["torch"]),
        None if step_buffers is None else _picked(tables.weights, step_buffers),
    )


def _unpacked_pass(data: dict[str, Any], tables: _Read) -> Pass:
    """A pass with tables of its own: the rows of the shared tables that it uses."""
    operators, numbers = _own(tables.operators, data["calls"])
    returns = _picked(tables.returns, data["returns"])
    marks = data.get("marks", [])
    wrapped = _all(_count, marks[2::3])
    named = [*data["paths"], *data["saved_by"], *(each.path for each in returns), *wrapped]
    paths, places = _own(tables.paths, named)
    calls = tuple(zip(numbers, places, strict=False))
    sizes = _picked(tables.polynomials, data["sizes"])
    events = _unpacked_events(_all(_count, data["events"]), len(sizes))
    if sum(event == LOOK for event in events) != len(calls) or len(data["paths"]) != len(calls):
        raise ValueError("there are not as many looks as calls")
    end = len(calls) + len(data["saved_by"])
    by = places[len(calls) : end]
    rest = end + len(returns)
    returns = tuple(r._replace(path=p) for r, p in zip(returns, places[end:rest], strict=True))
    saved_by = tuple(zip(_all(_count, data["saved"]), by, strict=True))
    if {s for k, s in map(decoded, events) if k == SAVED} - {s for s, _ in saved_by}:
        raise ValueError("a saved storage without a module")
    return Pass(
        operators,
        calls,
        paths,
        sizes,
        events,
        saved_by,
        _picked(tables.modules, data["modules"]),
        tables.polynomials[_count(data["batch_bytes"])],
        _all(_text, data["kernels"]),
        _picked(tables.arrays, data["inputs"]),
        returns,
        unpacked_touched(
            _all(_count, data["touched"]), events, [operators[number] for number in numbers]
        ),
        _marks(marks, places[rest:], len(events)),
    )


_LATER = {"sharded": False, "casts": False}


def _marks(marks: Any, paths: Sequence[int], events: int) -> tuple[Mark, ...]:
    each = zip(_all(_count, marks[::3]), _all(_count, marks[1::3]), paths, strict=True)
    read = tuple(Mark(*mark) for mark in each)
    if any(mark.event > events or mark.kind >= len(MARKS) for mark in read):
        raise ValueError("a mark of an event that is not there")
    return read


def _own(table: tuple[T, ...], places: Any) -> tuple[tuple[T, ...], list[int]]:
    """The rows at these places of a table, and for each place the index of its row among them."""
    order = {place: i for i, place in enumerate(dict.fromkeys(_all(_count, places)))}
    return tuple(table[place] for place in order), [order[place] for place in places]


def _picked(table: tuple[T, ...], places: Any) -> tuple[T, ...]:
    return tuple([table[_count(place)] for place in places])


def _all(read_one: Callable[[Any], T], values: Any) -> tuple[T, ...]:
    return tuple(map(read_one, _is(list, values)))


def _is(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError(f"{shown(value)} is no {kind.__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise TypeError(f"{shown(value)} is no count")
    return value


def _text(value: Any) -> str:
    return _is(str, value)


def _polynomial(row: Any) -> Polynomial:
    return _all(_coefficient, row)


def _coefficient(value: Any) -> int:
    if type(value) is not int or abs(value) > _MOST:
        raise TypeError(f"{shown(value)} is no coefficient")
    return value


def _weight(row: Any) -> Weight:
    path, shape, dtype, trains, reached = row
    flags = _is(bool, trains), _is(bool, reached)
    sides = _all(_count, shape)
    # the number of elements must be a valid count too
    _count(prod(sides))
    if _is(str, dtype) not in ITEMSIZE:
        raise ValueError(f"{shown(dtype)} is no type of numbers")
    return Weight(_is(str, path), sides, dtype, *flags)
