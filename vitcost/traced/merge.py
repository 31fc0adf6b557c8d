"""Merges runs at a few batches into one pass whose sizes are polynomials in the batch."""

from collections import Counter
from collections.abc import Callable, Sequence

from vitcost.errors import NotCovered
from vitcost.traced.batch_sizes import Polynomial, through
from vitcost.traced.fake_run import Run
from vitcost.traced.operators import ATTENTION
from vitcost.traced.record import Called
from vitcost.traced.replayed import Spec
from vitcost.traced.trace import LOOK, Array, Mark, Module, Operator, Pass, Returned, ordered

__all__ = ["merged"]


def merged(runs: Sequence[Run], batches: Sequence[int]) -> Pass:
    """One pass from the runs at these batches; a single run gives constants.

    Raises ``NotCovered`` with the operator that differs between the runs in more than sizes, or
    that has a size which is no polynomial.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.fake_run import run
    >>> from vitcost.traced.trace import How
    >>> head = nn.Linear(768, 1000)
    >>> runs = [run(head, inputs_of(head, "768"), b, How(), None, "head") for b in (2, 3, 4)]
    >>> merged(runs, (2, 3, 4)).operators[0].flops  # 2 · 768 · 1000 an image
    (0, 1536000)
    """
    first = runs[0]
    _same(runs, batches)
    fit = _fitting(batches)
    numbers: dict[Operator, int] = {}
    paths: dict[str, int] = {}
    calls = []
    # equal calls are fitted to polynomials once
    seen: dict[tuple[Called, ...], int] = {}
    for together in zip(*(run.recorder.calls for run in runs), strict=True):
        key = tuple(call._replace(path="") for call in together)
        if key not in seen:
            operator = _operator(together, fit)
            seen[key] = numbers.setdefault(operator, len(numbers))
        calls.append((seen[key], paths.setdefault(together[0].path, len(paths))))
    sizes = _sizes(runs, fit)
    saved_by = tuple(
        (storage, paths.setdefault(path, len(paths)))
        for storage, path in first.recorder.saved_by.items()
    )
    returns = _returns(runs, fit, paths)
    events: list[int] = []
    marks = []
    for event in ordered(first.recorder.events):
        if event >= LOOK:
            events.append(event)
        else:
            kind, path = first.recorder.marks[-1 - event]
            marks.append(Mark(len(events), kind, paths.setdefault(path, len(paths))))
    return Pass(
        tuple(numbers),
        tuple(calls),
        tuple(paths),
        sizes,
        tuple(events),
        saved_by,
        _modules(runs, fit),
        fit([run.batch_bytes for run in runs], "the caller's batch"),
        _kernels(first),
        _inputs(runs, fit),
        returns,
        tuple(first.recorder.touched),
        tuple(marks),
    )


_Fit = Callable[[Sequence[int], str], Polynomial]


def _fitting(batches: Sequence[int]) -> _Fit:
    known: dict[tuple[int, ...], Polynomial] = {}

    def fit(sizes: Sequence[int], what: str) -> Polynomial:
        key = tuple(sizes)
        if key not in known:
            polynomial = through(batches, key)
            if polynomial is None:
                raise NotCovered(
                    f"{what} is no polynomial in the batch: {', '.join(map(str, key))} at batches "
                    f"{', '.join(map(str, batches))}"
                )
            known[key] = polynomial
        return known[key]

    return fit


def _same(runs: Sequence[Run], batches: Sequence[int]) -> None:
    """Checks that the runs call the same operators, and allocate and free in the same order."""
    first = runs[0].recorder
    events = list(ordered(first.events))
    for run, batch in zip(runs[1:], batches[1:], strict=True):
        other = run.recorder
        here = f"batches {batches[0]} and {batch} run other operators"
        for one, two in zip(first.calls, other.calls, strict=False):
            if (one.phase, one.path, one.name) != (two.phase, two.path, two.name):
                raise NotCovered(f"{here}: {_at(one)}, and {_at(two)}")
            ranks = [[len(s[0]) for s in (*c.reads, *c.writes)] for c in (one, two)]
            if ranks[0] != ranks[1]:
                raise NotCovered(f"{here}: {_at(one)} on tensors of other dimensions")
        if len(first.calls) != len(other.calls):
            raise NotCovered(f"{here}: {len(first.calls):,} calls, and {len(other.calls):,}")
        if events != list(ordered(other.events)) or first.marks != other.marks:
            at = _differing(events, list(ordered(other.events)))
            raise NotCovered(
                f"batches {batches[0]} and {batch} allocate in another order after "
                f"{_at(first.calls[at]) if at < len(first.calls) else 'the end'}"
            )


def _differing(events: Sequence[int], others: Sequence[int]) -> int:
    looks = 0
    for one, two in zip(events, others, strict=False):
        if one != two:
            return max(looks - 1, 0)
        looks += one == 0
    return looks


def _at(call: Called) -> str:
    return f"{call.name} in {call.path or 'the model'}, {call.phase}"


def _operator(calls: tuple[Called, ...], fit: _Fit) -> Operator:
    one = calls[0]
    noun = f"a size of {_at(one)}"

    def arrays(specs: Sequence[tuple[Spec, ...]]) -> tuple[Array, ...]:
        return tuple(_array(together, fit, noun) for together in zip(*specs, strict=True))

    return Operator(
        one.name,
        one.phase,
        arrays([call.reads for call in calls]),
        arrays([call.writes for call in calls]),
        fit([call.flops for call in calls], noun),
        fit([call.defined for call in calls], noun),
        fit([call.defined_backward for call in calls], noun),
    )


def _array(specs: tuple[Spec, ...], fit: _Fit, noun: str) -> Array:
    _, dtype, strides = specs[0]
    shapes = [spec[0] for spec in specs]
    apart = [spec[2] for spec in specs]
    steps = None
    if strides is not None and all(each is not None for each in apart):
        steps = tuple(fit(s, noun) for s in zip(*(each or () for each in apart), strict=True))
    return Array(dtype, tuple(fit(s, noun) for s in zip(*shapes, strict=True)), steps)


def _sizes(runs: Sequence[Run], fit: _Fit) -> tuple[Polynomial, ...]:
    every = [run.recorder.sizes for run in runs]
    noun = "bytes of a storage"
    return tuple(fit(sizes, noun) for sizes in zip(*every, strict=True))


def _modules(runs: Sequence[Run], fit: _Fit) -> tuple[Module, ...]:
    """Every module, in the order in which they first return; modules that never ran come last."""
    first = runs[0].recorder
    kinds = {row[0]: row[1:] for row in runs[0].modules}
    order = dict.fromkeys([*first.shapes, *kinds])
    rows = []
    for path in order:
        if path not in kinds:
            continue
        shapes = [run.recorder.shapes.get(path, ()) for run in runs]
        same = len({len(shape) for shape in shapes}) == 1
        sides = zip(*shapes, strict=True) if same else ()
        shape = tuple(fit(side, f"the output of {path}") for side in sides)
        kind, hooks, elements, trains = kinds[path]
        calls = first.called.get(path, 0)
        rows.append(Module(path, kind, shape, calls, hooks, elements, trains))
    return tuple(rows)


def _inputs(runs: Sequence[Run], fit: _Fit) -> tuple[Array, ...]:
    if len({len(run.inputs) for run in runs}) > 1:
        raise NotCovered("another batch has another number of inputs")
    every = zip(*(run.inputs for run in runs), strict=True)
    return tuple(_array(together, fit, "a side of an input") for together in every)


def _returns(runs: Sequence[Run], fit: _Fit, paths: dict[str, int]) -> tuple[Returned, ...]:
    """The shapes that every call of a module returned."""
    returned: list[Returned] = []
    if len({tuple(path for path, *_ in run.recorder.returns) for run in runs}) > 1:
        return ()
    for together in zip(*(run.recorder.returns for run in runs), strict=True):
        path, many, _ = together[0]
        every = list(zip(*(shapes for *_, shapes in together), strict=True))
        alike = all(len({len(shape) for shape in shapes}) == 1 for shapes in every)
        shapes = tuple(
            tuple(fit(sides, f"the output of {path}") for sides in zip(*each, strict=True))
            for each in every
        )
        number = paths.setdefault(path, len(paths))
        returned.append(Returned(number, many, shapes if alike else ()))
    return tuple(returned)


def _kernels(run: Run) -> tuple[str, ...]:
    """The attention kernels of the forward, most used first."""
    counted = Counter(
        ATTENTION[call.name]
        for call in run.recorder.calls
        if call.phase == "forward" and call.name in ATTENTION
    )
    return tuple(name for name, _ in counted.most_common())
