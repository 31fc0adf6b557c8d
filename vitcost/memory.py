"""Memory in bytes: weights, what is alive in inference, the parts of a training step, its peak.

All of them are bytes of tensors. What an allocator adds is in none of them: workspace of kernels,
rounding of blocks, the context of a card.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from vitcost.engine import live
from vitcost.engine.lower import lower
from vitcost.engine.model import AnyStructure, Config
from vitcost.engine.ops import Size, Sizes, bytes_of, largest
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.step import step_trace
from vitcost.engine.tree import Node
from vitcost.engine.unroll import unroll
from vitcost.errors import ConfigError, NotCovered
from vitcost.scenario import OPTIMIZERS, PRECISIONS, RECIPES, Scenario

__all__ = [
    "STORAGES",
    "Inference",
    "PeakParts",
    "RuleOfThumb",
    "StepPeak",
    "Training",
    "inference",
    "loss_bytes",
    "rule_of_thumb",
    "step_peak",
    "stored_weights",
    "training",
    "with_peak",
]


class RuleOfThumb(NamedTuple):
    """What planners write on a napkin, Φ parameters."""

    inference_bytes: Size  # 2Φ: half precision weights
    training_bytes: Size  # 20Φ: fp16 mixed precision with Adam


class Inference(NamedTuple):
    """A forward pass in eval: ``activations_bytes`` is the largest sum alive at one time."""

    weights_bytes: Size
    input_bytes: Size
    activations_bytes: Size

    @property
    def total_bytes(self) -> Size:
        return self.weights_bytes + self.input_bytes + self.activations_bytes


class PeakParts(NamedTuple):
    """What lies in memory at one moment."""

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    temporary_bytes: Size
    batch_bytes: Size


class StepPeak(NamedTuple):
    """The most bytes in memory during a step, where that is, and what they are."""

    total_bytes: Size
    at: str
    parts: PeakParts


class Training(NamedTuple):
    """A training step by the parts of a recipe, and its peak.

    Where no exact peak is known, ``peak_missing`` says why and the others are None.
    """

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    peak_bytes: Size | None = None
    peak_at: str | None = None
    peak_parts: PeakParts | None = None
    peak_missing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        parts = self.peak_parts
        return {**self._asdict(), "peak_parts": None if parts is None else parts._asdict()}


def rule_of_thumb(params: Size) -> RuleOfThumb:
    """2Φ bytes to infer, 20Φ to train: weights 2 + 4, gradients 2 + 4, moments 4 + 4.

    >>> rule_of_thumb(632_045_800)
    RuleOfThumb(inference_bytes=1264091600, training_bytes=12640916000)
    """
    return RuleOfThumb(2 * params, 20 * params)


def inference(
    params: Size, input_bytes: Size, activations_bytes: Size, scenario: Scenario
) -> Inference:
    """Weights in the parameters' precision, the caller's batch, and the live activations."""
    return Inference(
        PRECISIONS[scenario.precision].param_bytes * params, input_bytes, activations_bytes
    )


def training(
    params: Size, trainable: Size, tensors: Size, saved_bytes: Size, scenario: Scenario
) -> Training:
    """Model states of the scenario's recipe, and what autograd holds after the loss.

    A parameter that does not train has no gradient and no state. ``tensors`` is the number of
    parameter tensors that do: torch's optimizers keep a step counter each.
    """
    recipe = RECIPES[scenario.recipe]
    weights = gradients = PRECISIONS[scenario.precision].param_bytes
    optimizer = OPTIMIZERS[scenario.optimizer]
    states, steps = optimizer.moments * weights, optimizer.step_bytes * tensors
    if recipe.weights:
        weights = recipe.weights + recipe.master
        gradients = recipe.gradients + recipe.main_gradients
        states, steps = recipe.moments, 0
    return Training(
        weights * params, gradients * trainable, states * trainable + steps, saved_bytes
    )


def with_peak(
    states: Training, structure: AnyStructure, sizes: Sizes, scenario: Scenario, config: Config
) -> Training:
    """The same with the peak of the step, or with the reason why it is not known."""
    try:
        peak = step_peak(states, structure, sizes, scenario, config)
    except NotCovered as reason:
        return states._replace(peak_missing=str(reason))
    return states._replace(peak_bytes=peak.total_bytes, peak_at=peak.at, peak_parts=peak.parts)


def step_peak(
    states: Training, structure: AnyStructure, sizes: Sizes, scenario: Scenario, config: Config
) -> StepPeak:
    """The peak of a steady training step, ``engine.step`` says which: the second of its kind,
    weights, optimizer states and the caller's images and targets included.

    Raises ``NotCovered`` for a model of which the backward is not known op by op, and for recipes
    other than torch's own, which move gradients and weights between copies.
    """
    if scenario.recipe != "torch":
        raise NotCovered(f"the peak of a step of recipe {scenario.recipe}: use recipe torch")
    mode = scenario.engine_mode(config, True)
    tree = lower(structure, mode)
    top = live.peak(step_trace(structure, mode), sizes)
    # class indices are 64-bit integers
    batch = sum(bytes_of(tensor, sizes) for tensor in tree.inputs) + 8 * sizes["b"]
    stepping = _step_temporaries(tree, sizes, scenario)
    moments = (
        (top.live, top.place),
        (top.left._replace(temporary=top.left.temporary + stepping), "optimizer step"),
    )
    found = [
        StepPeak(states.weights_bytes + states.optimizer_bytes + batch + alive.total, at, parts)
        for alive, at in moments
        for parts in [
            PeakParts(
                states.weights_bytes,
                alive.gradients,
                states.optimizer_bytes,
                alive.saved,
                alive.temporary,
                batch,
            )
        ]
    ]
    return max(found, key=lambda peak: peak.total_bytes)


# how many copies of a parameter an optimizer that takes one after the other makes of it: Adam the
# square root of the second moment and its quotient, Lion the sign of its update
_COPIES = {"loop": 2, "sign": 1}


def _step_temporaries(tree: Node, sizes: Sizes, scenario: Scenario) -> Size:
    """What ``optimizer.step`` allocates and frees: foreach a copy of all parameters, a loop copies
    of one beside what it left of the one before, a fused kernel nothing."""
    how = OPTIMIZERS[scenario.optimizer].steps(scenario.platform)
    e = PRECISIONS[scenario.precision].param_bytes
    if how == "foreach":
        return e * sum(p.repeat(sizes) * p.numel(sizes) for p in _trained(parameters(tree)))
    if how not in _COPIES:
        return 0
    most: Size = 0
    before: Size = 0
    for parameter in _trained(parameters(unroll(tree))):
        one = e * parameter.numel(sizes)
        most = largest(most, before + _COPIES[how] * one)
        before = one
    return most


def _trained(all_of_them: Iterable[Parameter]) -> list[Parameter]:
    return [parameter for parameter in all_of_them if parameter.trains]


# bytes of an element of a stored matrix, by how a model is stored for inference
STORAGES = {"int8": 1}


def stored_weights(tree: Node, sizes: Sizes, scenario: Scenario, storage: str) -> Size:
    """Weights stored for inference alone: the matrices of linear layers as integers, with a scale
    for each output channel in the scenario's precision; everything else stays as it is.

    Source: weight-only quantization of ``nn.Linear`` by output channel, as torchao's
    ``Int8WeightOnlyConfig`` has it.
    """
    if storage not in STORAGES:
        raise ConfigError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}")
    e = PRECISIONS[scenario.precision].param_bytes
    total: Size = 0
    for parameter in parameters(tree):
        axes = parameter.tensor.axes
        one = e * parameter.numel(sizes)
        if parameter.kind == "linear" and len(axes) == 2:
            one = STORAGES[storage] * parameter.numel(sizes) + e * sizes[axes[0]]
        total = total + parameter.repeat(sizes) * one
    return total


def loss_bytes(config: Config, logits: Size, scenario: Scenario) -> Size:
    """What a cross entropy on class indices keeps of its logits, for each that the loss has:
    log-probabilities and the total weight. Under CUDA's autocast the half-precision logits stay
    too.
    """
    precision = PRECISIONS[scenario.precision].engine
    e = 2 if precision == "half" else 4
    one = e * (logits + 1)
    if precision == "amp" and scenario.platform == "cuda":
        one = one + 2 * logits
    return config.losses * one
