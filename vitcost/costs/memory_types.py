"""The types of memory's answers: inference, a moment of a step, its peak, a training step."""

from typing import Any

from vitcost.config.records import Record
from vitcost.engine import live
from vitcost.engine.ops import Size

__all__ = ["Inference", "PeakParts", "StepPeak", "Training"]


class Inference(Record):
    """A forward pass in eval: ``activations_bytes`` is the largest sum alive at one time.

    ``activations_are`` is ``exact``, or ``bounded`` if they are an upper bound.
    ``int8_weights_bytes`` and its two neighbours are the bytes of weights stored in fewer bits
    (``stored_weights``); the total counts the weights in the precision of the computation.
    """

    weights_bytes: Size
    input_bytes: Size
    activations_bytes: Size
    int8_weights_bytes: Size | None
    buffers_bytes: Size = 0
    fp8_weights_bytes: Size | None = None
    int4_weights_bytes: Size | None = None
    activations_are: str = "exact"

    @property
    def total_bytes(self) -> Size:
        """``weights + buffers + inputs + activations``."""
        held = self.weights_bytes + self.buffers_bytes
        return held + self.input_bytes + self.activations_bytes


class PeakParts(Record):
    """The bytes in memory at one moment, by part."""

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size
    temporary_bytes: Size
    batch_bytes: Size
    ema_bytes: Size
    buckets_bytes: Size
    buffers_bytes: Size = 0

    def plus(self, alive: live.Live) -> "PeakParts":
        """The sum of the bytes that outlive a step, held here, and of the bytes ``alive`` at a
        moment of it."""
        return self._replace(
            gradients_bytes=self.gradients_bytes + alive.gradients,
            saved_activations_bytes=self.saved_activations_bytes + alive.saved,
            temporary_bytes=self.temporary_bytes + alive.temporary,
        )


class StepPeak(Record):
    """The most bytes in memory during a step, their place and their parts; sizes that are arrays or
    symbols have no single place."""

    total_bytes: Size
    at: str
    parts: PeakParts | None
    # the number of the look at which the peak is seen; None: it is in the optimizer's step
    look: int | None = None


class Training(Record):
    """A training step by the parts of a recipe, and its peak.

    With several ranks the bytes are those of one of them. ``ema_bytes`` are copies of the module
    that hold averages, and ``buckets_bytes`` copies of the gradients that data-parallel ranks
    reduce. ``peak_is`` says whether the peak is ``exact`` or ``bounded``, an upper bound. For a
    bound, ``missing`` says why no exact peak is known, and ``assumed`` has its assumptions; without
    a step the peak is None, and ``missing`` says why.
    """

    weights_bytes: Size
    gradients_bytes: Size
    optimizer_bytes: Size
    saved_activations_bytes: Size | None  # None: the model has no step
    ema_bytes: Size = 0
    buckets_bytes: Size = 0
    peak_bytes: Size | None = None
    peak_at: str | None = None
    peak_parts: PeakParts | None = None
    peak_is: str | None = None
    missing: str | None = None
    assumed: tuple[str, ...] = ()
    buffers_bytes: Size = 0

    @property
    def sum_bytes(self) -> Size:
        """The sum of all parts, though they do not peak at the same time."""
        lasting = self.weights_bytes + self.gradients_bytes + self.optimizer_bytes
        asked = self.ema_bytes + self.buckets_bytes + self.buffers_bytes
        # a traced model may have no step, and then no known saved bytes
        return lasting + asked + (self.saved_activations_bytes or 0)

    def to_dict(self) -> dict[str, Any]:
        """The object ``memory.training`` of a report's JSON."""
        parts = self.peak_parts
        return {
            **self._asdict(),
            "peak_parts": None if parts is None else parts._asdict(),
            "assumed": list(self.assumed),
        }
