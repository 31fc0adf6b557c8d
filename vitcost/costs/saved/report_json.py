"""The JSON of a report as types; a part with the same fields as a type is that type."""

from typing import Annotated, Literal, NotRequired, TypedDict, get_type_hints

from vitcost.config.scenario import Scenario
from vitcost.config.text_config import ClipConfig, TextConfig
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.memory_types import Inference, Training
from vitcost.costs.report_types import InferenceRow, Layer
from vitcost.costs.saved.generate import Also
from vitcost.costs.thumb import RuleOfThumb
from vitcost.hardware.roofline import Time

__all__ = ["Report"]


class Model(TypedDict):
    name: str
    source: str
    basis: Literal["formula", "traced"]
    config: "ViTConfig | TextConfig | ClipConfig | TracedInput"


class TracedInput(TypedDict):
    notes: list[str]  # notes on how a module was built, and which inputs and loss were taken
    torch: NotRequired[str]
    hash: NotRequired[str]
    digest: NotRequired[str]  # the library of the name, if a stored trace answered
    num_classes: NotRequired[int]  # only for a name with a digest


class Params(TypedDict):
    total: int
    trainable: int
    torchsummary: int | None
    by_part: dict[str, int]


class Flops(TypedDict):
    forward: int
    backward: int | None
    train_step: int | None
    forward_executed: int
    train_step_executed: int | None
    macs_forward: int
    # null for a traced module with an operator that has no rule
    pointwise_forward: int | None


class BytesMoved(TypedDict):
    forward: int | None


class BesideTensors(TypedDict):
    # null if no card is named
    workspace_bytes: int | None
    context_bytes: int | None
    slack_bytes: int | None


class Memory(TypedDict):
    rule_of_thumb: RuleOfThumb
    inference: Annotated[Inference, Also(total_bytes=int)]
    inference_by_precision: list[
        Annotated[
            InferenceRow,
            Also(memory=None, asked=None, total_bytes=int, **get_type_hints(Inference)),
        ]
    ]
    # null for a module without a training step
    training: Annotated[Training, Also(saved_activations_bytes=int | None)]
    beside_tensors: BesideTensors


class Report(TypedDict):
    """The JSON of a report in schema ``vitcost.report/1``, from which its schema is generated."""

    schema: Literal["vitcost.report/1"]
    model: Model
    scenario: Annotated[Scenario, Also(gpu=list[str], attention_kernel=list[str])]
    tokens: int | None
    params: Params
    flops: Flops
    bytes_moved: BytesMoved
    memory: Memory
    time: list[
        Annotated[
            Time,
            Also(
                turning=None,
                beside=None,
                beyond_overhead_batch=int | None,
                compute_batch=int | None,
            ),
        ]
    ]
    layers: list[Layer]
