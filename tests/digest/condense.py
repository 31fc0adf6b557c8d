"""A trace file in small: ``named`` keeps of it what ``vitcost.traced.digest`` reads.

Every number is taken from the answers of the whole trace, at a few batches that are far apart, and
must be the polynomial through them; of looks, those stay that are the highest at some batch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from classes import by_class, layer_of
from encode import Taken, encoded
from peaks import Refused, trimmed, winners

from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.engine.cost import Cost
from vitcost.engine.live import PARTS
from vitcost.hardware.calls import Call
from vitcost.hardware.lowered import amount, launched, way_of
from vitcost.hardware.work_classes import Setup, Work
from vitcost.traced.alive import Look, looks, place
from vitcost.traced.batch_sizes import Polynomial, through, value
from vitcost.traced.digest import BY_CLASS, Head
from vitcost.traced.file import TraceFile
from vitcost.traced.module_rows import rows, uncounted
from vitcost.traced.trace import How, Pass, Trace
from vitcost.traced.traced_model import Filed, TracedModel
from vitcost.traced.traced_workload import Traced, alike

__all__ = ["Named", "named", "squares"]

# a line needs two batches, the third shows that it is one; squares need two more
FEW, MORE = (2, 3, 1021), (2, 3, 5, 257, 1021)
# how a pass is launched: as it was traced, by a compiler, by a torch without fused attention, and
# by one whose attention by plain products is as narrow as q, k and v
WAYS = {
    "eager": Setup("fp32"),
    "compiled": Setup("fp32", compiled=True),
    "unfused": Setup("fp32", torch=(1, 13)),
    "eager, narrow": Setup("fp32", torch=(2, 4)),
    "compiled, narrow": Setup("fp32", compiled=True, torch=(2, 4)),
}


class _Table(dict[Any, int]):
    def at(self, value: Any) -> int:
        return self.setdefault(value, len(self))


class Named(NamedTuple):
    """A name: its row in the index of a digest, and its block."""

    kind: str
    image: tuple[int, ...]
    params: int
    macs: int
    block: Mapping[str, Any]


def named(file: TraceFile) -> Named:
    """The digest of a trace file."""
    how, first = next((each for each in file.traces if each[1].batches == (1,)), file.traces[0])
    images = first.batches[0]
    model = TracedModel(file.name, file.source, Filed(file, file.name))
    root = model.workload(Scenario.of(batch=images, precision=how.precision)).rows()
    image = tuple(value(side, images) for side in first.inference.inputs[0].shape[1:])
    params, macs = int(root.cost.params), int(root.cost.flops) // 2 // images
    return Named(root.type, image, params, macs, condensed(file))


def condensed(file: TraceFile) -> dict[str, Any]:
    """The block of a name, as JSON has it."""
    tables = {name: _Table() for name in ("names", "tops", "weights", "fields")}
    model = TracedModel(file.name, file.source, Filed(file, file.name))
    passes: list[Taken] = []
    layer: Head | None = None
    traces = []
    first: Traced | None = None
    curved = any(squares(trace) for _, trace in file.traces)
    for how, trace in file.traces:
        one = len(trace.batches) == 1
        if how != How(precision=how.precision) or (one and trace.batches != (1,)):
            raise Refused(f"a trace under {how.said()} at {trace.batches}")
        if curved and len(trace.batches) == 2:
            raise Refused(f"two batches under {how.said()}, of which some sizes are squares")
        own = Scenario.of(mode="infer", precision=how.precision, batch=1 if one else 2)
        run: Any = model.workload(own)
        if first is None:
            first = run
        own_parameters = _parameters(run)
        layer = layer_of(own_parameters, trace) if first is run else layer
        # without a step no backward pass reaches any
        reached = any(trains for *_, trains, _ in own_parameters)
        alike = [(s, li, trains and reached, top) for s, li, trains, top in _parameters(first)]
        if own_parameters != alike:
            raise Refused(f"other parameters under {how.said()}")
        numbers = []
        others = _others(file, how, one)
        for taken, other in zip((trace.inference, trace.step), others, strict=True):
            numbers.append(-1 if taken is None else len(passes))
            if taken is not None:
                head = layer and layer._replace(
                    engine=PRECISIONS[how.precision].engine, training=taken is trace.step
                )
                kept = _kept(taken, other, one, head)
                passes.append(_by_few(taken, trace, how.precision, kept, tables, head))
        buffers = run.buffers_bytes, run.step_buffers_bytes
        sizes = run.param_bytes, run.weights_bytes, *buffers
        facts = int(one), int(reached), *sizes
        traces.append([how.precision, *facts, trace.missing, *numbers])
    assert first is not None
    names = tables["names"]
    counted = [
        (names.at(top), tables["weights"].at((shape, linear, reached)))
        for shape, linear, reached, top in _parameters(first)
    ]
    return {
        "notes": [note for note in file.traces[0][1].notes if not note.startswith(_BEFORE)],
        "same": _same(file),
        "parameters": _repeated(counted),
        "traces": traces,
        "passes": list(encoded(passes)),
        **{name: list(table) for name, table in tables.items()},
    }


def squares(trace: Trace) -> bool:
    """Whether some size of a trace is no line in the batch."""
    return any(
        len(size) > 2
        for run in (trace.inference, trace.step)
        if run is not None
        for size in (*run.sizes, *(o.flops for o in run.operators))
    )


# older files say so of FLOPs that are read otherwise now
_BEFORE = "backward FLOPs are torch's count"


def _others(file: TraceFile, how: How, one: bool) -> tuple[Pass | None, Pass | None]:
    """The passes of the trace of one image for those of more, and the other way round."""
    found = (t for own, t in file.traces if own == how and (len(t.batches) == 1) != one)
    trace = next(found, None)
    return (None, None) if trace is None else (trace.inference, trace.step)


def _kept(run: Pass, other: Pass | None, one: bool, head: Head | None) -> list[Look]:
    """The looks that a digest keeps; a pass of one image that runs what larger ones run has the
    same, so that letters stand for both. Of looks that grow alike with the classes the highest are
    the highest for any number of classes."""
    lines, single = (other, run) if one else (run, other)
    if other is not None and lines is not None and alike(single, lines):
        numbers = {look.number for look in _highest(lines, head, lambda own: winners(own, 1))}
        return [look for look in looks(run) if look.number in numbers]
    if not one:
        return _highest(run, head, lambda own: winners(own, 2))
    return _highest(run, head, lambda own: [max(own[:-1], key=_height), own[-1]])


def _highest(run: Pass, head: Head | None, of: Callable[[list[Look]], list[Look]]) -> list[Look]:
    """The highest looks of each group that grows alike with the classes, and the end."""
    every = list(looks(run))
    more = by_class(run, head)
    groups: dict[Polynomial, list[Look]] = {}
    for look in every[:-1]:
        groups.setdefault(trimmed(more[look.number].total) if more else (0,), []).append(look)
    kept = [look for own in groups.values() for look in of([*own, every[-1]])[:-1]]
    return [*sorted(kept, key=lambda look: look.number), every[-1]]


def _height(look: Look) -> tuple[int, int]:
    return look.total[0], -look.number


# CUDA takes such an operator on fp16 and its cast to fp32 in one kernel, and on bf16 in two
_SOFTMAX = {"_softmax", "_log_softmax", "_safe_softmax"}
_AS = {"amp-fp16": "amp-bf16", "fp16": "bf16"}


def as_bf16(traces: Sequence[tuple[How, Trace]], precision: str) -> str | None:
    """The precision in bf16 that runs the same operators: there is one where the model casts no
    input of a softmax to float32. None where fp16 has to be traced."""
    of = _AS.get(precision)
    every = [trace for how, trace in traces if how.precision == of]
    fused = any(
        _cast(trace) & {o.reads[0].shape for o in trace.inference.operators if o.name in _SOFTMAX}
        for trace in every
    )
    return of if every and not fused else None


def _cast(trace: Trace) -> set[object]:
    """The shapes that a model casts to float32."""
    return {
        o.writes[0].shape
        for o in trace.inference.operators
        if o.name == "_to_copy" and o.writes[0].dtype == "float32"
    }


def _same(file: TraceFile) -> dict[str, str]:
    """The precisions of a file that have no trace of their own, and the one that each equals."""
    traced = {how.precision for how, _ in file.traces}
    same = {own: as_bf16(file.traces, own) for own in _AS if own not in traced}
    return {own: of for own, of in same.items() if of is not None}


def _parameters(run: Traced) -> list[tuple[tuple[int, ...], bool, bool, str]]:
    return [(tuple(p.tensor.axes), p.kind == "linear", p.trains, p.top) for p in run.parameters()]  # type: ignore[misc]


def _repeated(rows: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows as columns, with how often each is repeated."""
    found: list[list[int]] = []
    for top, kind in rows:
        if found and found[-1][:2] == [top, kind]:
            found[-1][2] += 1
        else:
            found.append([top, kind, 1])
    return [list(column) for column in zip(*found, strict=True)]


def _by_few(run: Pass, trace: Trace, *given: Any) -> Taken:
    """A pass by as few batches as confirm its polynomials."""
    if len(trace.batches) == 1:
        return _taken(run, trace, trace.batches, *given)
    try:
        return _taken(run, trace, FEW, *given)
    except Refused:
        return _taken(run, trace, MORE, *given)


def _taken(
    run: Pass,
    trace: Trace,
    batches: tuple[int, ...],
    precision: str,
    kept: Sequence[Look],
    tables: Mapping[str, _Table],
    head: Head | None,
) -> Taken:
    names = tables["names"]
    columns: dict[str, dict[object, Polynomial]] = {}
    root = [rows(run, trace.weights, batch) for batch in batches]
    every = [[*each.children, each] for each in root]
    tops = [
        -1 if row is every[0][-1] else tables["tops"].at((row.path, row.last, row.type, row.repeat))
        for row in every[0]
    ]
    if any([r[:4] for r in each] != [r[:4] for r in every[0]] for each in every):
        raise Refused("rows that differ by batch")
    for field in Cost._fields:
        columns[field] = {
            top: _through([getattr(each[i].cost, field) for each in every], batches, field)
            for i, top in enumerate(tops)
        }
    columns["shape"] = {
        (top, side): _through([each[i].shape[side] for each in every], batches, "a side")
        for i, top in enumerate(tops)
        for side in range(len(every[0][i].shape))
    }
    columns["batch"] = {0: run.batch_bytes}
    places = [
        (names.at(found.phase), names.at(found.path))
        for found in (place(run, look.number) for look in kept[:-1])
    ]
    seen: dict[object, int] = {}
    keys: list[object] = []
    for own in places:
        seen[own] = seen.get(own, 0) + 1
        keys.append((*own, seen[own]))
    for part, name in enumerate(PARTS):
        columns[name] = {
            key: trimmed(look.parts[part]) for key, look in zip([*keys, -1], kept, strict=True)
        }
    more = by_class(run, head)
    for part, name in enumerate(PARTS if more else ()):
        columns[name + BY_CLASS] = {
            key: trimmed(more[look.number].parts[part])
            for key, look in zip([*keys, -1], kept, strict=True)
        }
    sums = {}
    training = run is trace.step
    for way, setup in WAYS.items():
        if way_of(setup, run.kernels) != way:
            continue
        setup = setup._replace(precision=PRECISIONS[precision].engine, training=training)
        kernels = cache(lambda batch, setup=setup: list(launched(run, batch, setup)))
        for start, some in _stretches(kernels, batches, setup):
            own = way if start <= 2 else f"{way}@{start}"
            sums[own] = _sums(kernels, some, setup, own, tables, columns)
    skeleton = {
        "tops": tops[:-1],
        "ranks": [len(row.shape) for row in every[0]],
        "places": places,
        **_facts(run, trace, training),
        "sums": sums,
    }
    return Taken(len(batches) == 1, skeleton, columns)


def _facts(run: Pass, trace: Trace, training: bool) -> dict[str, Any]:
    only = trace._replace(inference=run, step=run)
    scenario = Scenario.of(mode="train" if training else "infer")
    workload = Traced(_Alone(only), "", scenario, 2)
    return {
        "attention": workload.attention(),
        "kernels": run.kernels,
        "unknown": sorted(workload.unknown),
        "left_out": uncounted(run),
    }


class _Alone:
    """A single trace under whatever scenario."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def at(self, how: How, batch: int) -> Trace:
        return self.trace


def _through(values: Sequence[int], batches: tuple[int, ...], what: str) -> Polynomial:
    if len(set(values)) == 1:
        return (values[0],)
    found = through(batches, values)
    if found is None:
        raise Refused(f"{what} is no polynomial: {values} at {batches}")
    return found


# the work of a kernel of no class, by the first of its amounts
_PLAIN = {
    "gemm_flops": "linear",
    "attention_flops": "attention",
    "conv_flops": "patches",
    "strided_bytes": "strided",
    "stream_bytes": "stream",
}


# the kernels of a pass at a batch, and how often each runs
Kernels = Callable[[int], list[tuple[Call, int]]]


def _stretches(
    kernels: Kernels, batches: tuple[int, ...], setup: Setup
) -> list[tuple[int, tuple[int, ...]]]:
    """Batches between which no kernel is of another class than before: where each stretch starts,
    and those of it that are looked at."""
    if len(batches) == 1:
        return [(1, batches)]

    def classes(batch: int) -> list[str]:
        return [amount(call, setup)[0] for call, _ in kernels(batch)]

    starts, last = [batches[0]], batches[-1]
    while classes(starts[-1]) != classes(last):
        # the first batch at which one of them is another
        before, low, high = classes(starts[-1]), starts[-1], last
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if classes(middle) == before else (low, middle)
        starts.append(high)
    if len(starts) == 1:
        return [(starts[0], batches)]
    ends = [start - 1 for start in starts[1:]]
    found = [
        (start, tuple(sorted({*range(start, min(start + 4, end)), (start + end) // 2, end})))
        for start, end in zip(starts, ends, strict=False)
    ]
    return [*found, (starts[-1], (*range(starts[-1], starts[-1] + 4), last))]


def _sums(
    kernels: Kernels,
    batches: tuple[int, ...],
    setup: Setup,
    way: str,
    tables: Mapping[str, _Table],
    columns: dict[str, dict[object, Polynomial]],
) -> list[list[int]]:
    """The work of a pass summed by class, into columns of their own."""
    by_class: dict[tuple[str, bool], list[Work]] = {}
    known: dict[object, Any] = {}
    together = [kernels(batch) for batch in batches]
    if len({len(each) for each in together}) > 1:
        raise Refused("other kernels at another batch")
    for calls in zip(*together, strict=True):
        # of equal operators all tensors are equal too
        key = tuple((call.name, call.phase, call.reads, call.writes) for call, _ in calls)
        if key not in known:
            known[key] = _amount([call for call, _ in calls], setup)
        own, done = known[key]
        before = by_class.get(own, [Work()] * len(batches))
        by_class[own] = [a + b.times(calls[0][1]) for a, b in zip(before, done, strict=True)]
    found = []
    for (kind, back), works in sorted(by_class.items()):
        fields = tuple(f for f in Work._fields if any(getattr(work, f) for work in works))
        number = tables["names"].at(kind)
        found.append([number, int(back), tables["fields"].at(fields)])
        for field in fields:
            column = columns.setdefault(f"{way}.{field}", {})
            values = [getattr(work, field) for work in works]
            column[number, int(back)] = _through(values, batches, f"{field} of {kind}")
    return found


def _amount(calls: Sequence[Any], setup: Setup) -> tuple[tuple[str, bool], list[Work]]:
    """The class of a kernel, and its work at each batch."""
    done = [amount(call, setup) for call in calls]
    if len({kind for kind, _ in done}) > 1:
        raise Refused(f"{calls[0].name} is of another class at another batch")
    kind, work = done[0]
    works = [each for _, each in done]
    if kind:
        return (kind, calls[0].backward), works
    plain = next((word for field, word in _PLAIN.items() if getattr(work, field)), "stream")
    return (plain, False), works
