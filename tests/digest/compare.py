"""Every answer of a digest against that of the whole trace, with ``==``."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.costs import memory, memory_types
from vitcost.costs.report import report_on
from vitcost.engine import live
from vitcost.engine.workload import Workload
from vitcost.errors import VitcostError
from vitcost.hardware.work import kernels_of, run_of, work
from vitcost.hardware.work_classes import Setup, setup_of, total
from vitcost.traced.file import TraceFile
from vitcost.traced.traced_model import Filed, TracedModel
from vitcost.zoo import Resolved, resolve

__all__ = ["differences"]

BATCHES = (1, 2, 7, 64, 4096)
# training beside the defaults: what goes over parameters one by one, and over ranks
TRAINED: Sequence[dict[str, Any]] = (
    *({"optimizer": name} for name in OPTIMIZERS),
    {"ema": 1},
    {"ranks": 8},
    {"ranks": 8, "zero": 1},
    {"ranks": 3, "zero": 1, "optimizer": "sgd"},
    {"ranks": 8, "zero": 3},
    {"ranks": 8, "buckets": "views"},
)
PRECISIONS = ("fp32", "amp-bf16", "bf16", "amp-fp16", "fp16")


def differences(
    name: str,
    file: TraceFile,
    precisions: Sequence[str] = (),
    batches: Sequence[int] = BATCHES,
    of: Resolved | None = None,
) -> Iterator[str]:
    """The answers in which a digest differs from the traces of a file: that of a name, or another
    one. A number that the digest says to be a bound must not be below the trace's."""
    digest = resolve(name) if of is None else of
    model: Any = digest.config
    # what a digest has not is not traced here
    model.tracer = lambda: None
    whole: Any = TracedModel(file.name, file.source, Filed(file, name))
    other = Resolved(digest.name, digest.source, whole)
    held = {how.precision for how, _ in file.traces}
    for precision in precisions or [p for p in PRECISIONS if p in held]:
        for batch, mode in product(batches, ("infer", "train")):
            scenario = Scenario.of(batch=batch, mode=mode, precision=precision)
            said = f"{precision}, batch {batch}, {mode}"
            for what, one, two in _pairs(digest, other, scenario):
                # both refuse, each in its own words
                if one != two and not (isinstance(one, str) and isinstance(two, str)):
                    yield f"{what} at {said}: {_first(one, two)}"


def _pairs(digest: Resolved, whole: Resolved, scenario: Scenario) -> Iterator[tuple[str, Any, Any]]:
    runs = [_or_reason(partial(m.config.workload, scenario)) for m in (digest, whole)]
    if any(isinstance(run, str) for run in runs):
        # a batch of one that neither has
        yield "there is none", *(isinstance(run, str) for run in runs)
        return
    yield "report", *(_report(m, run) for m, run in zip((digest, whole), runs, strict=True))
    yield "inference", *(_looked(run, training=False) for run in runs)
    for question in (_least, _facts):
        yield question.__name__, *(_or_reason(partial(question, run)) for run in runs)
    for setup in _setups(scenario):
        yield f"work {setup}", *(_or_reason(partial(_work, m, scenario, setup))
                                 for m in (digest, whole))  # fmt: skip
    if scenario.mode == "infer":
        return
    yield "step", *(_looked(run, training=True) for run in runs)
    if scenario.batch in (1, 7) and scenario.precision in ("fp32", "bf16"):
        for flags in TRAINED:
            asked = replace(scenario, **flags)
            yield (
                f"training {flags}",
                *(_or_reason(partial(_trained, r, asked)) for r in runs),
            )


def _first(one: Any, two: Any, at: str = "") -> str:
    """The first place at which two answers differ."""
    keys: Any = ()
    if isinstance(one, dict) and isinstance(two, dict):
        keys = dict.fromkeys([*one, *two])
        one, two = ({key: each.get(key) for key in keys} for each in (one, two))
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        keys = range(len(one))
    for key in keys:
        if one[key] != two[key]:
            return _first(one[key], two[key], f"{at}.{key}")
    return f"{at} is {one}, and the trace says {two}"


def _or_reason(question: Any) -> Any:
    try:
        return question()
    except VitcostError as reason:
        return str(reason)


def _report(model: Resolved, run: Workload) -> Any:
    data = _or_reason(lambda: report_on(model, run).to_dict())
    if isinstance(data, str):
        return data
    data["model"] = None
    _mark_bounds(data["memory"])
    for layer in data["layers"]:
        # a digest has the top-level modules
        layer["children"] = []
    return {**data, "layers": _merged(data["layers"])}


class AtMost(int):
    """A number that another one does not exceed."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and int(other) <= int(self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(int(self))


class Anything:
    """A number that follows from a bound."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def _mark_bounds(data: dict[str, Any]) -> None:
    """The numbers of a report's memory that are bounds, as such."""
    training, rule = data["training"], data["rule_of_thumb"]
    if training["peak_is"] == "bounded":
        training["peak_bytes"] = AtMost(training["peak_bytes"])
        for key in ("peak_is", "peak_at", "peak_parts", "missing"):
            training[key] = Anything()
        rule["training_error"] = Anything()
    for own in (data["inference"], *data["inference_by_precision"]):
        if own["activations_are"] == "bounded":
            own["activations_are"] = Anything()
            for key in ("activations_bytes", "total_bytes"):
                own[key] = AtMost(own[key])
            rule["inference_error"] = Anything()


def _merged(layers: list[dict[str, Any]]) -> Any:
    """Layers by part: a whole trace opens a container of equal ones."""
    found: dict[str, list[int]] = {}
    for layer in layers:
        top = layer["path"].partition(".")[0]
        own = found.setdefault(top, [0, 0, 0])
        for i, key in enumerate(("params", "flops", "pointwise")):
            own[i] += layer["repeat"] * layer[key]
    return found


def _looked(run: Workload, training: bool) -> Any:
    """The highest look, and the bytes that are alive there and at the end."""

    def looked() -> Any:
        peak = live.peak(run.step() if training else run.inference(), run.sizes)
        if run.at_most(training):
            return Bound(peak.peak_bytes, peak.left)
        return peak._replace(look=0)

    return _or_reason(looked)


class Bound(NamedTuple):
    """Bytes that a peak does not exceed, and those that are alive at the end of the pass."""

    most: int
    left: live.Live

    def __eq__(self, other: object) -> bool:
        held = isinstance(other, live.Peak) and other.peak_bytes <= self.most
        return held and other.left == self.left

    def __ne__(self, other: object) -> bool:
        return not self == other


def _least(run: Workload) -> Any:
    return run.least_batch, run.no_step, run.has_letters


def _facts(run: Workload) -> Any:
    rows = run.rows()
    own = [(r.path, r.last, r.type, r.repeat, r.shape, r.cost) for r in (*rows.children, rows)]
    sizes = run.param_bytes, run.weights_bytes, run.buffers_bytes, run.step_buffers_bytes
    inputs = [(t.itemsize, t.axes) for t in run.inputs]
    parameters = [(p.tensor.axes, p.kind, p.top, p.trains) for p in run.parameters()]
    return own, sizes, inputs, parameters, run.attention(), run.unknown


def _trained(run: Workload, scenario: Scenario) -> Any:
    found = memory.step(run.under(scenario))
    if scenario.zero > 1:
        # each has a reason of its own why there is no peak
        return _without_peak(found)
    return Trained(found) if found.peak_is == "bounded" and not run.has_bound else found


class Trained:
    """A step whose peak is a bound."""

    def __init__(self, own: memory_types.Training) -> None:
        self.own = own

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, memory_types.Training):
            return NotImplemented
        held = (other.peak_bytes or 0) <= (self.own.peak_bytes or 0)
        return held and _without_peak(other) == _without_peak(self.own)

    def __hash__(self) -> int:
        return hash(self.own)


def _without_peak(own: memory_types.Training) -> memory_types.Training:
    return own._replace(peak_bytes=0, peak_at="", peak_parts=None, peak_is="", missing="")


def _setups(scenario: Scenario) -> Iterator[Setup]:
    yield setup_of(scenario)
    yield setup_of(replace(scenario, compile=True))
    yield setup_of(replace(scenario, software="1.13"))


def _work(model: Resolved, scenario: Scenario, setup: Setup) -> Any:
    own = work(model.config, scenario, setup)
    run = run_of(model.config, scenario, setup)
    return total(own), run.family, kernels_of(model.config, scenario, setup), run.left_out
