"""Bytes of a model in inference and in training, by rules of thumb."""

from typing import NamedTuple

from vitcost.textbook.letters import Number, assume_text

__all__ = ["ModelStates", "block_activation_bytes", "inference_bytes", "training_bytes"]


def inference_bytes(Φ: Number) -> Number:
    """Bytes of weights in half precision: ``2Φ``. A rule of thumb, without activations.

    Rajbhandari 2020, section 3: 1.5 billion parameters take 3 GB.

    >>> inference_bytes(86_567_656)
    173135312
    """
    return 2 * Φ


class ModelStates(NamedTuple):
    """Bytes of model states in training, for any batch."""

    half_weights: Number
    full_weights: Number
    half_gradients: Number
    full_gradients: Number
    first_moments: Number
    second_moments: Number

    @property
    def weights(self) -> Number:
        """Weights in half precision, and their full-precision master copies: ``6Φ``."""
        return self.half_weights + self.full_weights

    @property
    def gradients(self) -> Number:
        """Gradients in half and in full precision: ``6Φ``."""
        return self.half_gradients + self.full_gradients

    @property
    def moments(self) -> Number:
        """AdamW's two moments in full precision: ``8Φ``."""
        return self.first_moments + self.second_moments

    @property
    def total(self) -> Number:
        """All model states; activations are not included: ``20Φ``."""
        return self.weights + self.gradients + self.moments


def training_bytes(Φ: Number) -> ModelStates:
    """Mixed precision with AdamW: ``20Φ`` bytes for Φ parameters, without activations.

    Weights 2 + 4 (half precision and full-precision master copies), gradients 2 + 4, moments 4 + 4.
    Megatron Core's distributed optimizer guide, "fp16 parameters, fp16 gradients: 20". Rajbhandari
    2020 keeps no full-precision gradients and has 16Φ.

    >>> states = training_bytes(86_567_656)
    >>> states.total == states.weights + states.gradients + states.moments == 20 * 86_567_656
    True
    """
    return ModelStates(2 * Φ, 4 * Φ, 2 * Φ, 4 * Φ, 4 * Φ, 4 * Φ)


def block_activation_bytes(
    b: Number, s: Number, h: Number, a: Number, *, dropout: bool = True, m: Number | None = None
) -> Number:
    """Bytes that one block saves for backward, in half precision: ``34sbh + 5as²b``.

    Without dropout, its masks and outputs are not saved: ``32sbh + 2as²b``. A rule of thumb:
    unfused attention, no norm statistics, no autocast copies. Raises ``NotCovered`` if m is not 4h.
    Korthikanti 2022, equation 1.

    >>> block_activation_bytes(1, 2048, 12288, 96)  # GPT-3
    2868903936
    """
    assume_text(h, m)
    inputs, masks = 32 * s * b * h, 2 * s * b * h
    scores, dropped = 2 * a * s**2 * b, 3 * a * s**2 * b
    return inputs + scores + (masks + dropped if dropout else 0)
