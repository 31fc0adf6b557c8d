"""Uses a digest of traces as a model and as a workload, for a report, a fit or a plan.

For a scenario that the digest does not hold, the model is traced if its library is installed.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.cost import Cost, Row
from vitcost.engine.live import Event, Place
from vitcost.engine.ops import Size, Sizes, Tensor
from vitcost.engine.parameters import Parameter
from vitcost.engine.workload import Alive, Workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.alive import changes, tensors
from vitcost.traced.batch_sizes import Polynomial, plus, value
from vitcost.traced.classifier import OtherClasses, ambiguous, with_classes
from vitcost.traced.digest import Digest, Run, Scenes
from vitcost.traced.trace import How, how_of
from vitcost.traced.traced_model import TracedModel
from vitcost.traced.traced_workload import Traced, Traces

__all__ = ["Digested", "DigestedModel"]

# a digest holds, for every precision, the trace with all other flags at their defaults
_HELD = How()
# fields that a new trace of the module can have other values of
_FIELDS = ("num_classes", "img_size", "input_size", "in_chans", "input", "loss")


class DigestedModel(TracedModel):
    """A module whose costs come from the digest of its traces. ``tracer`` traces the same module
    for every question that the digest cannot answer; it returns None if a library is not installed.
    """

    def __init__(
        self, name: str, digest: Digest, reason: str, tracer: Callable[[], TracedModel | None]
    ) -> None:
        self.name, self.kind, self.reason = name, digest.entry.kind, reason
        self.digest, self.tracer = digest, tracer
        self._events: dict[int, tuple[Event, ...]] = {}

    @cached_property
    def traces(self) -> Traces:  # type: ignore[override]
        """Whole traces of the module. A digest has none, so the module is built and traced here."""
        return self._traced("module by module").traces

    @property
    def precisions(self) -> tuple[str, ...]:
        return self.digest.precisions

    @property
    def reference(self) -> str:
        index = self.digest.index
        return (
            f"the digest of a trace of every operator and storage by torch {index.torch} and "
            f"{index.library}: sizes at a few batches, and the polynomials through them"
        )

    def takes(self, side: int) -> bool:
        """Whether it was traced on square images of this side."""
        return self._own("img_size") == side

    def workload(self, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
        batch = scenario.batch if sizes is None else sizes["b"]
        return self.run(scenario, batch, searched=sizes is not None)

    def run(self, scenario: Scenario, batch: Size, searched: bool) -> Workload:
        """The model under a scenario, from its digest if the digest holds that scenario, else from
        a trace. Raises ``NotCovered`` for a single image if the model cannot run one."""
        how = how_of(scenario)._replace(onto=scenario.keeps_gradients, sharded=False, casts=False)
        one = isinstance(batch, int) and batch == 1
        scenes = self.digest.scenes(how.precision, one)
        if scenes is not None and _holds(how, scenes, self.name):
            traced = scenes.step if scenario.mode == "train" else scenes.inference
            if traced is not None and scenario.compile and ambiguous(traced):
                return self._whole(how, scenario, batch, searched)
            return Digested(self, scenario, batch, scenes)
        if how._replace(precision="fp32") == _HELD and how.precision in self.precisions:
            raise NotCovered(f"{self.name} runs no single image under {how.said()}: give a batch")
        return self._whole(how, scenario, batch, searched)

    def _whole(self, how: How, scenario: Scenario, batch: Size, searched: bool) -> Workload:
        """A trace of the module, if its library is installed here."""
        flags = f"{how.said()} --compile" if scenario.compile else how.said()
        traces = self._traced(f"under {flags}").traces
        return Traced(traces, self.kind, scenario, batch, searched)

    def events(self, run: Run) -> tuple[Event, ...]:
        """The looks of a pass as the changes from each look to the next."""
        if run.number not in self._events:
            places = [Place(*place) for place in run.places]
            self._events[run.number] = tuple(changes(run.looks, places))
        return self._events[run.number]

    def with_fields(self, overrides: Mapping[str, Any]) -> TracedModel:
        """The same module with other fields: by a rule, or traced anew where it can be built here.
        Raises ``ConfigError`` for a field that a traced module has not.
        """
        asked = {field: value for field, value in overrides.items() if self._own(field) != value}
        if not asked:
            return self
        ruled = None
        if [*asked] == ["num_classes"]:
            ruled = with_classes(self.digest, asked["num_classes"])
        if ruled is not None:
            tracer = partial(_with_fields, self.tracer, asked)
            return DigestedModel(self.name, ruled, self.reason, tracer)
        for field in asked:
            if field not in _FIELDS:
                raise ConfigError(
                    f"{self.name} is traced, so that it has no field {field}: it has "
                    f"{', '.join(_FIELDS)}"
                )
        return self._traced(f"with another {', '.join(asked)}").with_fields(asked)

    def _own(self, field: str) -> object:
        """The value of a field with which the digest was made."""
        channels, *image = self.digest.entry.image
        if field in ("img_size", "input_size"):
            return image[0] if len({*image}) == 1 else tuple(image)
        return {"num_classes": self.digest.classes or None, "in_chans": channels}.get(field)

    def to_dict(self) -> dict[str, Any]:
        """The config of a report."""
        index = self.digest.index
        rules = f"{self.origin} under a card's rules: of one image, and as lines in larger batches"
        digest = {"digest": index.library, "torch": index.torch}
        classes = {"num_classes": self.digest.classes} if self.digest.classes else {}
        return {"notes": [rules, *self.digest.notes], **digest, **classes}

    @property
    def input_size(self) -> tuple[int, ...]:
        """The shape of the image that the model is traced on."""
        return self.digest.entry.image[-2:]

    @property
    def origin(self) -> str:
        """Where the numbers come from, as a page shows it."""
        index = self.digest.index
        return f"from the digest of a trace with torch {index.torch} and {index.library}"

    def _traced(self, asked: str) -> TracedModel:
        model = self.tracer()
        if model is None:
            library = self.digest.index.library.partition(" ")[0]
            raise NotCovered(
                f"{self.name} {asked}: the digest of its trace holds {', '.join(self.precisions)} "
                "under a card's rules with torch's own attention, by top-level module; "
                f"pip install 'vitcost[torch]' {library} traces the rest"
            )
        return model


def _with_fields(
    tracer: Callable[[], TracedModel | None], fields: Mapping[str, Any]
) -> TracedModel | None:
    model = tracer()
    return None if model is None else model.with_fields(fields)


def _holds(how: How, scenes: Scenes, name: str) -> bool:
    """Whether a digested trace is valid for a scenario. A module that never calls
    scaled_dot_product_attention runs the same with eager attention."""
    if how._replace(precision="fp32", attention="sdpa") != _HELD:
        return False
    passes = (scenes.inference, scenes.step)
    if how.attention == "sdpa" or any(run is not None and run.kernels for run in passes):
        return how.attention == "sdpa"
    if how.attention != "eager":
        raise NotCovered(
            f"attention {how.attention} of {name}, which calls no scaled_dot_product_attention"
        )
    return True


class Digested(Workload):
    """A model under a scenario that its digest holds; its only axis is the batch."""

    def __init__(
        self, model: DigestedModel, scenario: Scenario, batch: Size, scenes: Scenes
    ) -> None:
        self.model, self.digest, self.kind = model, model.digest, model.kind
        self.scenario, self.batch, self.scenes = scenario, batch, scenes
        self.sizes = Sizes(b=batch)

    @property
    def has_letters(self) -> bool:
        """Whether formulas are known. At batch 1 only if its pass equals the polynomials of larger
        batches."""
        if self.batch != 1:
            return True
        one, more = self.scenes, self.digest.scenes(self.scenario.precision, one=False)
        if more is None:
            return False
        return _alike(one.inference, more.inference) and _alike(one.step, more.step)

    @property
    def passed(self) -> Run:
        """The pass of the scenario's mode, training or inference."""
        return self._run(self.training)

    @property
    def family(self) -> str:  # type: ignore[override]
        return self.kind

    @property
    def left_out(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.passed.left_out

    @property
    def no_step(self) -> str:
        return "" if self.scenes.step is not None else self.scenes.missing

    @property
    def unknown(self) -> frozenset[str]:
        return frozenset(self.passed.unknown)

    @property
    def least_batch(self) -> int:
        """1; or 2 if the module does not train on a single image."""
        one = self.digest.scenes(self.scenario.precision, one=True)
        return 2 if one is None or (self.training and one.step is None) else 1

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        step = self.scenes.step if self.training else None
        return tensors((step or self.scenes.inference).batch_bytes)

    def at(self, batch: int) -> Workload:
        return self.model.run(self.scenario, batch, searched=True)

    def under(self, scenario: Scenario) -> Workload:
        same = scenario.batch == self.scenario.batch
        return self.model.run(scenario, self.batch if same else scenario.batch, searched=True)

    def at_most(self, training: bool) -> str:
        digest = self.digest
        if training and self.scenario.grad_scaler:
            return (
                "a digest does not say which looks have the scaled loss: with its gradient 8 bytes"
            )
        if not isinstance(digest, OtherClasses):
            return ""
        return digest.at_most(self._run(training), self.batch)

    def rows(self) -> Row:
        run = self.passed
        paths = [(top.path, top.last, top.type, top.repeat) for top in run.tops]
        rows = [
            Row(*label, self._values(shape), Cost(*self._values(cost)), ())
            for label, shape, cost in zip(
                [*paths, ("", "", self.kind, 1)], run.shapes, run.costs, strict=True
            )
        ]
        return rows[-1]._replace(children=tuple(rows[:-1]))

    def parameters(self) -> tuple[Parameter, ...]:
        return _parameters(self.digest, self.scenes.param_bytes, bool(self.scenes.reached))

    def inference(self) -> tuple[Event, ...]:
        return self.model.events(self.scenes.inference)

    def step(self, in_place: bool = True) -> tuple[Event, ...]:
        if not in_place:
            raise NotCovered(
                "gradients added out of place are not covered: a trace adds them in place"
            )
        if self.sharding is not None:
            raise NotCovered(
                "the peak of a fully sharded step from a digest, which has top-level modules "
                f"alone: timm.models:{self.model.name.partition('.')[0]} is traced in full"
            )
        if self.scenario.optimizer_in_backward:
            raise NotCovered(
                "the peak of a step with optimizer_in_backward is not covered by a digest"
            )
        return self.model.events(self._run(training=True))

    def whole_step(self) -> tuple[Event, ...]:
        raise NotCovered(
            "the memory over a step: a digest has its peak alone, and a trace every moment"
        )

    def alive(self, look: int | None, training: bool) -> tuple[Alive, ...]:
        parts = self._run(training).looks[-1 if look is None else look]
        named = zip(("saved", "gradients", "temporary"), parts, strict=True)
        return tuple(Alive(part, "", value(size, self.batch)) for part, size in named if any(size))

    def attention(self) -> tuple[str, ...]:
        return self.passed.attention

    @property
    def param_bytes(self) -> int:
        how = self.scenario
        return how.param_bytes if how.sharded_in_fp32 else self.scenes.param_bytes

    @property
    def buffers_bytes(self) -> int:
        return self.scenes.buffers_bytes

    @property
    def step_buffers_bytes(self) -> int:
        return self.scenes.step_buffers_bytes

    @property
    def weights_bytes(self) -> int:
        return self.scenes.weights_bytes

    def _values(self, polynomials: tuple[Polynomial, ...]) -> tuple[Size, ...]:
        return tuple([value(each, self.batch) for each in polynomials])

    def _run(self, training: bool) -> Run:
        if not training:
            return self.scenes.inference
        if self.scenes.step is None:
            raise NotCovered(self.scenes.missing)
        return _scaled(self.scenes.step) if self.scenario.grad_scaler else self.scenes.step


def _scaled(step: Run) -> Run:
    """The step with a scaled loss: every look also holds that loss and its gradient, 4
    bytes each."""
    *looks, end = step.looks
    more = [(saved, grads, plus(rest, (8,))) for saved, grads, rest in looks]
    return step._replace(number=-1 - step.number, looks=(*more, end))


# cached, since one report asks for these five times
@lru_cache(maxsize=4)
def _parameters(digest: Digest, size: int, any_reached: bool) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            Tensor(f"a parameter of {top}", shape, "param", itemsize=size),
            "linear" if linear else "parameter",
            top,
            (),
            reached and any_reached,
        )
        for shape, linear, reached, top in digest.parameters
    )


def _alike(one: Run | None, more: Run | None) -> bool:
    """Whether the polynomials of larger batches also hold for a single image, with the same looks
    as possible peaks."""
    if one is None or more is None:
        return one is more
    if (one.tops, one.places) != (more.tops, more.places):
        return False
    both = zip((*one.costs, *one.looks), (*more.costs, *more.looks), strict=True)
    return all(value(a, 1) == value(b, 1) for p, q in both for a, b in zip(p, q, strict=True))
