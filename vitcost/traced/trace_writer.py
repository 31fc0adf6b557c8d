"""Writes schema ``vitcost.trace/1``, which ``traced.file`` reads."""

import json
from collections.abc import Sequence
from typing import Any

from vitcost.outside.writing import whole
from vitcost.traced.batch_sizes import Polynomial
from vitcost.traced.file import SCHEMA, TraceFile, checksum
from vitcost.traced.touched import packed_touched
from vitcost.traced.trace import (
    BORN,
    LOOK,
    Array,
    How,
    Module,
    Operator,
    Pass,
    Returned,
    Trace,
    decoded,
)

__all__ = ["packed", "write"]


def write(path: str, traces: TraceFile) -> None:
    """Writes a file, gzipped where its name ends in ``.gz``.

    >>> from tempfile import TemporaryDirectory
    >>> from torch import nn
    >>> from vitcost.traced.file import read
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000)
    >>> made = trace(head, inputs_of(head, "768"), (2, 3, 4))
    >>> with TemporaryDirectory() as folder:
    ...     write(f"{folder}/head.json.gz", TraceFile("head", "", "", ((How(), made),)))
    ...     read(f"{folder}/head.json.gz").traces[0][1] == made
    True
    """
    text = json.dumps(packed(traces), separators=(",", ":"), ensure_ascii=False) + "\n"
    content = text.encode()
    if path.endswith(".gz"):
        # imported only for gzipped files
        import gzip

        content = gzip.compress(content, mtime=0)
    with whole(path) as part:
        part.write_bytes(content)


def packed(traces: TraceFile) -> dict[str, Any]:
    """The JSON data of a file.

    >>> list(packed(TraceFile("head", "", "", ())))
    ['schema', 'name', 'source', 'hash', 'scenarios', 'tables', 'checksum']
    """
    tables = _Tables()
    data = {
        "schema": SCHEMA,
        "name": traces.name,
        "source": traces.source,
        "hash": traces.hash,
        "scenarios": [_packed_trace(how, trace, tables) for how, trace in traces.traces],
        "tables": tables.to_dict(),
    }
    return {**data, "checksum": checksum(data)}


class _Table(dict[Any, int]):
    """A table of values by their index, in the order in which they first occurred."""

    def at(self, value: Any) -> int:
        return self.setdefault(value, len(self))


class _Tables:
    """The tables that all passes of a file share."""

    def __init__(self) -> None:
        self.polynomials, self.arrays, self.operators = _Table(), _Table(), _Table()
        self.paths, self.modules, self.weights = _Table(), _Table(), _Table()
        self.returns = _Table()

    def array(self, array: Array) -> int:
        strides = None if array.strides is None else self.sides(array.strides)
        return self.arrays.at((array.dtype, self.sides(array.shape), strides))

    def operator(self, o: Operator) -> int:
        reads, writes = (tuple(map(self.array, each)) for each in (o.reads, o.writes))
        flops = self.sides((o.flops, o.defined, o.defined_backward))
        return self.operators.at((o.name, o.phase, reads, writes, *flops))

    def module(self, m: Module) -> int:
        rest = m.calls, m.hooks, m.elements, m.trains
        return self.modules.at((m.path, m.type, self.sides(m.shape), *rest))

    def returned(self, r: Returned, path: int) -> int:
        return self.returns.at((path, r.many, tuple(map(self.sides, r.shapes))))

    def sides(self, polynomials: Sequence[Polynomial]) -> tuple[int, ...]:
        return tuple(map(self.polynomials.at, polynomials))

    def to_dict(self) -> dict[str, Any]:
        return {name: list(table) for name, table in vars(self).items()}


def _packed_trace(how: How, trace: Trace, tables: _Tables) -> dict[str, Any]:
    buffers = trace.step_buffers
    return {
        "how": how._asdict(),
        "batches": trace.batches,
        "torch": trace.torch,
        "notes": trace.notes,
        "missing": trace.missing,
        "weights": [tables.weights.at(w) for w in trace.weights],
        "buffers": [tables.weights.at(w) for w in trace.buffers],
        "inference": _packed_pass(trace.inference, tables),
        "step": None if trace.step is None else _packed_pass(trace.step, tables),
        # stored only if the buffers in training differ
        **({} if buffers is None else {"step_buffers": [tables.weights.at(w) for w in buffers]}),
    }


def _packed_pass(run: Pass, tables: _Tables) -> dict[str, Any]:
    operators = [tables.operator(o) for o in run.operators]
    paths = [tables.paths.at(p) for p in run.paths]
    marks = [number for m in run.marks for number in (m.event, m.kind, paths[m.path])]
    return {
        "calls": [operators[operator] for operator, _ in run.calls],
        "paths": [paths[path] for _, path in run.calls],
        "sizes": tables.sides(run.sizes),
        "events": _packed_events(run.events),
        "touched": packed_touched(run),
        "saved": [storage for storage, _ in run.saved_by],
        "saved_by": [paths[path] for _, path in run.saved_by],
        "modules": [tables.module(m) for m in run.modules],
        "batch_bytes": tables.polynomials.at(run.batch_bytes),
        "kernels": run.kernels,
        "inputs": [tables.array(a) for a in run.inputs],
        "returns": [tables.returned(r, paths[r.path]) for r in run.returns],
        **({"marks": marks} if marks else {}),
    }


def _packed_events(events: Sequence[int]) -> list[int]:
    """An allocation always means the next storage; other events say how many storages were
    allocated since theirs."""
    born, packed_events = 0, []
    for event in events:
        kind, storage = decoded(event)
        born += kind == BORN
        packed_events.append(kind if kind in (LOOK, BORN) else 4 * (born - storage) + kind)
    return packed_events
