"""A report: the types of its numbers; a renderer reads nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vitcost.config.records import Record, immutable
from vitcost.config.scenario import Scenario
from vitcost.costs import memory_types
from vitcost.costs.thumb import RuleOfThumb
from vitcost.engine.ops import Size
from vitcost.render.result import Result
from vitcost.zoo import Resolved

if TYPE_CHECKING:
    from vitcost.costs.moments import Moment
    from vitcost.hardware.roofline import Time

__all__ = ["Flops", "InferenceRow", "Layer", "Memory", "Part", "Report"]

SCHEMA = "vitcost.report/1"


class Flops(Record):
    """FLOPs of the whole batch: those of the definition, and those executed, with recomputation."""

    forward: Size
    backward: Size | None  # None: the model has no training step under the scenario
    forward_executed: Size
    backward_executed: Size | None
    pointwise_forward: Size | None  # None: an operator of a traced module has no rule

    @property
    def macs_forward(self) -> Size:
        """Multiply-adds of the forward: ``forward / 2``."""
        return self.forward // 2

    @property
    def train_step(self) -> Size | None:
        """``forward + backward``; None if there is no training step."""
        return None if self.backward is None else self.forward + self.backward

    @property
    def train_step_executed(self) -> Size | None:
        """FLOPs of a training step as kernels run it, including recomputation."""
        backward = self.backward_executed
        return None if backward is None else self.forward_executed + backward


class Part(Record):
    """A part of the model, summed over its modules."""

    name: str
    params: Size
    macs: Size
    pointwise: Size
    moved_bytes: Size
    saved_bytes: Size


class Layer(Record):
    """A module; a run of equal modules is one row, with the numbers of one module and the count
    ``repeat``."""

    path: str
    paths: tuple[str, str]
    type: str
    repeat: Size
    output_shape: tuple[Size, ...]
    params: Size
    flops: Size
    pointwise: Size
    saved_bytes: Size
    children: "tuple[Layer, ...]"


class InferenceRow(Record):
    """Inference memory in one precision and with one choice of attention kernels."""

    precision: str
    attention_kernel: tuple[str, ...]
    memory: memory_types.Inference
    asked: bool  # whether it is the scenario's own choice

    def to_dict(self) -> dict[str, Any]:
        """A row of ``memory.inference_by_precision`` in a report's JSON."""
        kernels = list(self.attention_kernel)
        row = {"precision": self.precision, "attention_kernel": kernels}
        return {**row, **_inference_dict(self.memory)}


class Memory(Record):
    """The memory numbers, named as in the JSON."""

    rule_of_thumb: RuleOfThumb
    inference: memory_types.Inference
    inference_by_precision: tuple[InferenceRow, ...]
    training: memory_types.Training
    beside_tensors: Mapping[str, int | None]


@immutable
class Report(Result):
    """The costs of a model under a scenario; counts are exact integers."""

    model: Resolved
    scenario: Scenario
    attention_kernel: tuple[str, ...]  # every attention kernel that runs, most used first
    tokens: Size | None  # None for a traced module
    params: Size
    trainable_params: Size
    torchsummary_params: Size | None
    flops: Flops
    moved_bytes: Size | None  # None: an operator has no rule, as for pointwise work
    rule_of_thumb: RuleOfThumb
    inference: memory_types.Inference
    training: memory_types.Training
    parts: tuple[Part, ...]
    layers: tuple[Layer, ...]
    # a row with eager and one with torch's fused attention in each precision, and the scenario's
    # own
    inference_by_precision: tuple[InferenceRow, ...] = ()
    time: "tuple[Time, ...]" = ()

    @property
    def memory(self) -> "Memory":
        """The memory numbers at the paths of the JSON: ``r.memory.training.peak_bytes``."""
        by_precision = self.inference_by_precision
        return Memory(
            self.rule_of_thumb, self.inference, by_precision, self.training, self._beside()
        )

    @property
    def basis(self) -> str:
        """``formula``, or ``traced`` if a module takes the place of a config."""
        return "traced" if hasattr(self.model.config, "workload") else "formula"

    @property
    def left_out(self) -> str:
        """Operators that the FLOPs of a traced module leave out; empty if all are counted."""
        notes = self.model.config.to_dict().get("notes", ()) if self.basis == "traced" else ()
        return next((note for note in notes if note.startswith("FLOPs leave out")), "")

    def moments(self) -> "tuple[Moment, ...]":
        """The bytes in memory at every moment of a training step, the peak among them.

        Raises ``NotCovered`` if the exact peak is not known.

        >>> from vitcost import report
        >>> reported = report("vit_base_patch16_224", batch=64)
        >>> max(m.total_bytes for m in reported.moments()) == reported.training.peak_bytes
        True
        """
        # imported only for pages with pictures
        from vitcost.costs.moments import moments
        from vitcost.engine.workload import workload

        return moments(workload(self.model.config, self.scenario), self.training)

    def to_dict(self) -> dict[str, Any]:
        """The report in the JSON schema ``vitcost.report/1``."""
        flops, infer, train = self.flops, self.inference, self.training
        return {
            "schema": SCHEMA,
            "model": {
                "name": self.model.name,
                "source": self.model.source,
                "basis": self.basis,
                "config": self.model.config.to_dict(),
            },
            "scenario": {
                **asdict(self.scenario),
                "gpu": [time.gpu for time in self.time],
                "attention_kernel": list(self.attention_kernel),
            },
            "tokens": self.tokens,
            "params": {
                "total": self.params,
                "trainable": self.trainable_params,
                "torchsummary": self.torchsummary_params,
                "by_part": {part.name: part.params for part in self.parts},
            },
            "flops": {
                "forward": flops.forward,
                "backward": flops.backward,
                "train_step": flops.train_step,
                "forward_executed": flops.forward_executed,
                "train_step_executed": flops.train_step_executed,
                "macs_forward": flops.macs_forward,
                "pointwise_forward": flops.pointwise_forward,
            },
            "bytes_moved": {"forward": self.moved_bytes},
            "memory": {
                "rule_of_thumb": self.rule_of_thumb._asdict(),
                "inference": _inference_dict(infer),
                "inference_by_precision": [row.to_dict() for row in self.inference_by_precision],
                "training": train.to_dict(),
                "beside_tensors": self._beside(),
            },
            "time": [time.to_dict() for time in self.time],
            "layers": [_layer_dict(layer) for layer in self.layers],
        }

    def _beside(self) -> dict[str, int | None]:
        """The bytes beside tensors on the first card; None if no card is named."""
        names = ("workspace_bytes", "context_bytes", "slack_bytes")
        of = self.time[0].beside if self.time else None
        if of is not None:
            return of._asdict()
        return dict.fromkeys(names, 0 if self.scenario.platform == "cpu" else None)

    def totals(self) -> dict[str, Any]:
        """The report as one flat row: the model, every flag, every quantity in base units.

        ``pandas.DataFrame(report(name).totals() for name in names)`` is a table of models.

        >>> from vitcost import report
        >>> row = report("vit_base_patch16_224", batch=2).totals()
        >>> row["model"], row["batch"], row["params"]
        ('vit_base_patch16_224', 2, 86567656)
        """
        from vitcost.costs.quantities import QUANTITIES

        data = self.to_dict()
        numbers = {quantity.key(name): quantity.read(data) for name, quantity in QUANTITIES.items()}
        training = data["memory"]["training"]
        return {
            "model": self.model.name,
            **asdict(self.scenario),
            **numbers,
            "trainable_params": self.trainable_params,
            "peak_is": training["peak_is"],
            "peak_at": training["peak_at"],
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every layer as a flat row, then every time: ``pandas.DataFrame(report.rows())``."""
        for layer in self.layers:
            yield from _flat(layer)
        for time in self.time:
            yield from time.rows()


def _inference_dict(of: memory_types.Inference) -> dict[str, Any]:
    return {**of._asdict(), "total_bytes": of.total_bytes}


def _layer_dict(layer: Layer) -> dict[str, Any]:
    return {
        **layer._asdict(),
        "paths": list(layer.paths),
        "output_shape": list(layer.output_shape),
        "children": [_layer_dict(child) for child in layer.children],
    }


def _flat(layer: Layer) -> Iterator[dict[str, Any]]:
    row = layer._asdict()
    del row["children"]
    yield row
    for child in layer.children:
        yield from _flat(child)
