"""The JSON of a report as types; a part that is a type's own fields is that type."""

from typing import Annotated, Literal, NotRequired, TypedDict, get_type_hints

from vitcost.config import ViTConfig
from vitcost.hardware.roofline import Time
from vitcost.memory import Inference, Training
from vitcost.reported import InferenceRow, Layer
from vitcost.saved.generate import Also, Unknown
from vitcost.scenario import Scenario
from vitcost.text import ClipConfig, TextConfig
from vitcost.thumb import RuleOfThumb

__all__ = ["Report"]


class Model(TypedDict):
    name: str
    source: str
    basis: Literal["formula", "measured"]
    config: "ViTConfig | TextConfig | ClipConfig | MeasuredInput"
    # of a model that was measured
    reason: NotRequired[str]
    uncounted: NotRequired[list[str]]
    unread: NotRequired[list[str]]


class MeasuredInput(TypedDict):
    input_shape: list[int]


class Params(TypedDict):
    total: int
    trainable: int
    torchsummary: int | None
    by_part: dict[str, int]


class Flops(TypedDict):
    forward: int | None
    backward: int | None
    train_step: int | None
    forward_executed: int | None
    train_step_executed: int | None
    macs_forward: int | None
    pointwise_forward: int | None


class BytesMoved(TypedDict):
    forward: int | None


class MeasuredInference(TypedDict):
    weights_bytes: int
    input_bytes: None
    activations_bytes: None
    total_bytes: None


class Memory(TypedDict):
    rule_of_thumb: RuleOfThumb
    inference: Annotated[Inference, Also(total_bytes=int)] | MeasuredInference
    # empty where it is measured
    inference_by_precision: list[
        Annotated[
            InferenceRow,
            Also(memory=None, asked=None, total_bytes=int, **get_type_hints(Inference)),
        ]
    ]
    training: Training | Annotated[Training, Unknown()]


class Report(TypedDict):
    schema: Literal["vitcost.report/1"]
    model: Model
    scenario: Annotated[Scenario, Also(gpu=list[str], attention_kernel=list[str] | None)]
    tokens: int | None
    params: Params
    flops: Flops
    bytes_moved: BytesMoved
    memory: Memory
    time: list[
        Annotated[
            Time,
            Also(turning=None, beyond_overhead_batch=int | None, compute_batch=int | None),
        ]
    ]
    layers: list[Annotated[Layer, Also(pointwise=int | None, saved_bytes=int | None)]]
