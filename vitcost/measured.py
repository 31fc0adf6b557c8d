"""The report on a torch module that no formula describes: measured on meta, and called so."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vitcost import memory
from vitcost.engine.ops import Size
from vitcost.result import Result
from vitcost.scenario import PRECISIONS, Scenario
from vitcost.thumb import rule_of_thumb
from vitcost.zoo.foreign import Foreign

if TYPE_CHECKING:
    from vitcost.check.measure import Measured, MeasuredModule

__all__ = ["MeasuredReport", "measured_report"]


@dataclass(frozen=True, slots=True)
class MeasuredReport(Result):
    """Parameters and forward FLOPs of a module; what only formulas know is None."""

    model: Foreign
    scenario: Scenario
    measured: "Measured"

    @property
    def params(self) -> Size:
        return self.measured.params

    @property
    def forward_flops(self) -> int | None:
        """FLOPs of the forward, of all operators that torch's counter knows; None where it stopped
        before its end."""
        return None if self.measured.stopped else self.measured.flops

    def to_dict(self) -> dict[str, Any]:
        """The report in the schema of a formula's, with null for what was not measured."""
        found, flops = self.measured, self.forward_flops
        # a precision that is asked for casts; else the parameters are as they are
        asked = PRECISIONS[self.scenario.precision].param_bytes * found.params
        weights = asked if self.scenario.precision in ("bf16", "fp16") else found.weights_bytes
        return {
            "schema": "vitcost.report/1",
            "model": {
                "name": self.model.name,
                "source": self.model.source,
                "basis": "measured",
                "config": {"input_shape": list(self.model.input_shape)},
                "reason": self.model.reason,
                "uncounted": list(found.uncounted),
                "unread": list(found.unread),
            },
            "scenario": {**asdict(self.scenario), "gpu": [], "attention_kernel": None},
            "tokens": None,
            "params": {
                "total": found.params,
                "trainable": found.trainable,
                "torchsummary": None,
                "by_part": dict(found.params_by_part),
            },
            "flops": {
                "forward": flops,
                "macs_forward": None if flops is None else flops // 2,
                **dict.fromkeys(
                    ("backward", "train_step", "forward_executed", "train_step_executed",
                     "pointwise_forward")
                ),
            },
            "bytes_moved": {"forward": None},
            "memory": {
                "rule_of_thumb": rule_of_thumb(found.params)._asdict(),
                "inference": {
                    "weights_bytes": weights,
                    **dict.fromkeys(("input_bytes", "activations_bytes", "total_bytes")),
                },
                "inference_by_precision": [],
                "training": dict.fromkeys(memory.Training._fields),
            },
            "time": [],
            "layers": [_nested(module) for module in found.layers],
        }  # fmt: skip

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every module as a flat row: ``pandas.DataFrame(report.rows())``."""
        for module in self.measured.layers:
            yield from _flat(module)


def measured_report(model: Foreign, scenario: Scenario) -> MeasuredReport:
    """Runs a module on meta, with the scenario's batch, and counts."""
    return MeasuredReport(model, scenario, model.measure(scenario.batch))


def _row(module: "MeasuredModule") -> dict[str, Any]:
    return {
        "path": module.path,
        "paths": [module.path, module.path],
        "type": module.type,
        "repeat": 1,
        "output_shape": list(module.shape),
        "params": module.params,
        "flops": module.flops,
        "pointwise": None,
        "saved_bytes": None,
    }


def _nested(module: "MeasuredModule") -> dict[str, Any]:
    return {**_row(module), "children": [_nested(child) for child in module.children]}


def _flat(module: "MeasuredModule") -> Iterator[dict[str, Any]]:
    yield _row(module)
    for child in module.children:
        yield from _flat(child)
