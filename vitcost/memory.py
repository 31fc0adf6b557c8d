"""Memory in bytes: weights, what is alive in inference, and the parts of a training step."""

from typing import NamedTuple

from vitcost.engine.model import Config
from vitcost.engine.ops import Size
from vitcost.scenario import OPTIMIZERS, PRECISIONS, RECIPES, Scenario

__all__ = [
    "Inference",
    "RuleOfThumb",
    "Training",
    "inference",
    "loss_bytes",
    "rule_of_thumb",
    "training",
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


class Training(NamedTuple):
    """A training step by the parts of a recipe.

    ``peak_bytes`` and ``peak_at`` are None where no exact figure exists yet.
    """

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    peak_bytes: Size | None
    peak_at: str | None


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
    if recipe.weights:
        weights, gradients, states = recipe.weights, recipe.gradients, recipe.states
        steps: Size = 0
    else:
        weights = gradients = PRECISIONS[scenario.precision].param_bytes
        optimizer = OPTIMIZERS[scenario.optimizer]
        states = optimizer.moments * weights
        steps = optimizer.step_bytes * tensors
    return Training(
        weights * params, gradients * trainable, states * trainable + steps, saved_bytes, None, None
    )


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
