"""A trace as a workload: answers the questions of a report, a fit or a plan from a traced pass."""

from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from vitcost.config.scenario import Scenario
from vitcost.engine.cost import Row
from vitcost.engine.ops import Op, Size, Sizes, Tensor
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.tree import Node
from vitcost.engine.workload import Alive, Workload
from vitcost.errors import NotCovered
from vitcost.traced.alive import Held, all_events, held_at, tensors, upper
from vitcost.traced.batch_sizes import value
from vitcost.traced.module_rows import rows, uncounted
from vitcost.traced.operators import foreign
from vitcost.traced.pointwise import without_rule
from vitcost.traced.scaled import scaled
from vitcost.traced.sharded_step import parameter_op, sharded
from vitcost.traced.trace import ITEMSIZE, How, Pass, Trace, Weight, how_of

if TYPE_CHECKING:
    from vitcost.engine.live import Event

__all__ = ["Traced", "Traces"]


class Traces(Protocol):
    """The source of a model's traces."""

    def at(self, how: How, batch: int) -> Trace:
        """The trace of a scenario at this batch. Raises ``NotCovered`` if there is none."""

    def lines(self, how: How) -> Trace:
        """The trace of a scenario whose sizes are polynomials, for every batch from 2 on."""

    def any(self) -> Trace:
        """Any trace of the module, for facts that all scenarios share."""

    def precisions(self) -> tuple[str, ...]:
        """The precisions of its traces; empty where any precision can be traced."""
        return ()

    def with_fields(self, overrides: Mapping[str, Any]) -> "Traces":
        """The same module on other inputs; ``ConfigError`` for fields that its traces cannot
        change.
        """

    def to_dict(self) -> dict[str, Any]:
        """The config that a report shows."""


class Traced(Workload):
    """A module under one scenario, known by its trace: its only axis is the batch.

    ``searched``: whether many batches are asked for, so that the trace needs polynomials.
    """

    def __init__(
        self, traces: Traces, kind: str, scenario: Scenario, batch: Size, searched: bool = False
    ) -> None:
        self.traces, self.kind, self.searched = traces, kind, searched
        self.scenario, self.batch = scenario, batch
        self.sizes = Sizes(b=batch)
        # the reason why its trace has no hooks of fully_shard
        self._unsharded = ""

    @cached_property
    def trace(self) -> Trace:
        """The trace, made when it is first asked for; with the hooks of ``fully_shard`` if
        possible. Raises ``NotCovered`` where the module cannot be traced."""
        how = how_of(self.scenario)
        try:
            return self._trace(how)
        except NotCovered as reason:
            if not how.sharded:
                raise
            self._unsharded = str(reason)
            try:
                return self._trace(how._replace(sharded=False, casts=False))
            except NotCovered:
                raise reason from None

    def _trace(self, how: How) -> Trace:
        if not self.searched:
            return self.traces.at(how, self.batch)
        trace = self._lines(how._replace(attention="sdpa"))
        passes = (trace.inference, trace.step)
        if how.attention != "sdpa" and any(each is not None and each.kernels for each in passes):
            # the trace for a card's own attention kernel, if the module calls one
            trace = self._lines(how)
        return trace

    def _lines(self, how: How) -> Trace:
        traces = self.traces
        # a symbol stands for all batches that the polynomials cover
        one = isinstance(self.batch, int) and self.batch == 1
        return traces.at(how, 1) if one else traces.lines(how)

    @property
    def has_letters(self) -> bool:
        """Whether formulas are known. At batch 1 only if its trace equals the polynomials of larger
        batches."""
        if self.batch != 1:
            return True
        try:
            lines = Traced(self.traces, self.kind, self.scenario, 2, searched=True).trace
        except NotCovered:
            return False
        one = self.trace
        return alike(one.inference, lines.inference) and alike(one.step, lines.step)

    @property
    def passed(self) -> Pass:
        """The pass of the scenario's mode, training or inference."""
        return self._pass(self.training)

    @property
    def family(self) -> str:  # type: ignore[override]
        return next((module.type for module in self.passed.modules if not module.path), "")

    @property
    def left_out(self) -> tuple[str, ...]:  # type: ignore[override]
        return uncounted(self.passed)

    @property
    def no_step(self) -> str:
        return "" if self.trace.step is not None else self.trace.missing

    @property
    def unknown(self) -> frozenset[str]:
        names = without_rule(self._pass(self.training))
        moved = {"moved_bytes"} if any(map(foreign, names)) else set()
        return frozenset({"pointwise"} | moved if names else ())

    @property
    def least_batch(self) -> int:
        """1; or 2 if the module does not run on a single image, or its file has no such trace."""
        one = Traced(self.traces, self.kind, self.scenario, 1, searched=True)
        try:
            return 2 if self.training and one.no_step else 1
        except NotCovered:
            return 2

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        passes = self.trace.inference, self.trace.step
        return tensors((passes[self.training] or self.trace.inference).batch_bytes)

    def at(self, batch: int) -> Workload:
        return Traced(self.traces, self.kind, self.scenario, batch, searched=True)

    def under(self, scenario: Scenario) -> Workload:
        same = scenario.batch == self.scenario.batch
        batch = self.batch if same else scenario.batch
        return Traced(self.traces, self.kind, scenario, batch, self.searched)

    def rows(self) -> Row:
        return self._rows

    @cached_property
    def _rows(self) -> Row:
        return rows(self._pass(self.training), self.trace.weights, self.batch)

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return tuple(parameters(self.tree()))

    def inference(self) -> "tuple[Event, ...]":
        return upper(self.trace.inference)

    def step(self, in_place: bool = True) -> "tuple[Event, ...]":
        if not in_place:
            raise NotCovered(
                "gradients added out of place are not covered: a trace adds them in place"
            )
        if self.scenario.optimizer_in_backward:
            raise NotCovered(
                "the peak of a step with optimizer_in_backward is not covered for a traced model"
            )
        return upper(self._step)

    def whole_step(self) -> "tuple[Event, ...]":
        return all_events(self._step)

    @property
    def _step(self) -> Pass:
        """The step on one of the ranks that share it; with a scaled loss if the scenario has a
        GradScaler."""
        step, sharding = self._pass(training=True), self.sharding
        if sharding is not None:
            if self._unsharded:
                raise NotCovered(self._unsharded)
            step = sharded(step, self.trace.weights, sharding, self.scenario.ranks)
        return scaled(step) if self.scenario.grad_scaler else step

    def alive(self, look: int | None, training: bool) -> tuple[Alive, ...]:
        sizes: dict[tuple[str, str], int] = {}
        passed = self._step if training else self.trace.inference
        for held in held_at(passed, look):
            name = _place(held)
            size = value(held.size, self.batch)
            sizes[held.part, name] = sizes.get((held.part, name), 0) + size
        return tuple(Alive(part, name, size) for (part, name), size in sizes.items())

    def attention(self) -> tuple[str, ...]:
        passed = self._pass(self.training)
        if passed.kernels:
            return passed.kernels
        softmax = any(o.name == "_softmax" and o.phase == "forward" for o in passed.operators)
        return ("eager",) if softmax else ()

    @property
    def param_bytes(self) -> int:
        if self.scenario.sharded_in_fp32:
            return self.scenario.param_bytes
        types = {weight.dtype for weight in self.trace.weights if weight.trains}
        if len(types) > 1:
            raise NotCovered(
                f"states are not covered for parameters of several types: "
                f"{', '.join(sorted(types))}"
            )
        kind = next(iter(types), "float32")
        if kind not in _OF_STATES:
            raise NotCovered(f"states are not covered for parameters of type {kind}")
        return ITEMSIZE[kind]

    @property
    def buffers_bytes(self) -> int:
        """Bytes of buffers, and of tensors in plain attributes."""
        return sum(map(_bytes, self.trace.buffers))

    @property
    def step_buffers_bytes(self) -> int:
        buffers = self.trace.step_buffers
        return self.buffers_bytes if buffers is None else sum(map(_bytes, buffers))

    @property
    def weights_bytes(self) -> int:
        """Bytes of the parameters in their own types."""
        return sum(map(_bytes, self.trace.weights))

    def tree(self) -> Node:
        """The parameters as a tree of modules without operators, in the order of the module's
        ``parameters()``, which optimizers and sharding go through."""
        kinds = {m.path: m.type for m in self._pass(training=False).modules}
        tops: dict[str, list[Op | Node]] = {}
        for weight in self.trace.weights:
            linear = kinds.get(weight.path.rpartition(".")[0]) in _LINEAR
            op = parameter_op(weight, "linear" if linear else "parameter")
            tops.setdefault(weight.path.partition(".")[0], []).append(op)
        body = tuple(Node(top, "", tuple(ops), (), _NOTHING) for top, ops in tops.items())
        return Node("", self.kind, body, self.inputs, _NOTHING)

    def _pass(self, training: bool) -> Pass:
        if not training:
            return self.trace.inference
        if self.trace.step is None:
            raise NotCovered(self.trace.missing)
        return self.trace.step


def alike(one: Pass | None, lines: Pass | None) -> bool:
    """Whether the polynomials of larger batches also give the sizes of a single image."""
    if one is None or lines is None:
        return one is lines
    if one.events != lines.events or one.saved_by != lines.saved_by:
        return False
    return all(value(a, 1) == value(b, 1) for a, b in zip(one.sizes, lines.sizes, strict=True))


def _place(held: Held) -> str:
    """The origin of a storage, by module and operator. Modules in a list are counted together:
    ``blocks.3.mlp.fc1`` gives ``blocks.*``.

    Gradients of parameters are counted together, whichever operator made them.
    """
    parts = held.path.split(".")
    numbers = [i for i, name in enumerate(parts) if name.isdecimal()]
    where = ".".join([*parts[: numbers[-1]], "*"]) if numbers and numbers[-1] else held.path
    where = where or "the model itself"
    if held.part == "saved":
        return f"saved for {where}"
    return "" if held.part == "gradients" else f"{held.operator} of {where}"


_NOTHING = Tensor("nothing", (0,))
# names of the classes of linear layers
_LINEAR = ("Linear", "NonDynamicallyQuantizableLinear")
# types of the parameters that an optimizer can step
_OF_STATES = ("float32", "bfloat16", "float16")


def _bytes(weight: Weight) -> int:
    return ITEMSIZE[weight.dtype] * prod(weight.shape)
