"""The quantities of a report that can have a limit: one row each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vitcost.engine.ops import Size
from vitcost.errors import ConfigError
from vitcost.report import Report
from vitcost.units import parse_bytes, parse_count

__all__ = ["QUANTITIES", "Quantity", "parse_limit"]


class Quantity(NamedTuple):
    """How a quantity is read, its unit, and the columns of a layer that it grows with.

    A report that has no exact figure for it answers None.
    """

    read: Callable[[Report], Size | None]
    unit: str  # count | si | bytes, as a page has them
    layers: tuple[str, ...]


_ALIVE = ("params", "saved_bytes")

QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity(lambda r: r.params, "count", ("params",)),
    "torchsummary_params": Quantity(lambda r: r.torchsummary_params, "count", ("params",)),
    "tokens": Quantity(lambda r: r.tokens, "count", ()),
    "macs": Quantity(lambda r: r.flops.macs_forward, "si", ("flops",)),
    "flops": Quantity(lambda r: r.flops.forward, "si", ("flops",)),
    "train_flops": Quantity(lambda r: r.flops.train_step, "si", ("flops",)),
    "train_flops_executed": Quantity(lambda r: r.flops.train_step_executed, "si", ("flops",)),
    "pointwise": Quantity(lambda r: r.flops.pointwise_forward, "si", ("pointwise",)),
    "bytes_moved": Quantity(lambda r: r.moved_bytes, "bytes", ("params", "flops", "pointwise")),
    "inference_memory": Quantity(lambda r: r.inference.total_bytes, "bytes", ("params",)),
    "activations": Quantity(lambda r: r.inference.activations_bytes, "bytes", ("pointwise",)),
    "weights": Quantity(lambda r: r.training.weights_bytes, "bytes", ("params",)),
    "gradients": Quantity(lambda r: r.training.gradients_bytes, "bytes", ("params",)),
    "optimizer_states": Quantity(lambda r: r.training.optimizer_bytes, "bytes", ("params",)),
    "saved_activations": Quantity(
        lambda r: r.training.saved_activations_bytes, "bytes", ("saved_bytes",)
    ),
    "train_memory": Quantity(lambda r: r.training.peak_bytes, "bytes", _ALIVE),
}

_PARSERS = {"count": parse_count, "si": parse_count, "bytes": parse_bytes}


def parse_limit(quantity: str, value: Any) -> int:
    """A limit from its spelling: a number in base units, or text with a unit.

    >>> parse_limit("params", "86.6 M"), parse_limit("train_memory", "24 GiB")
    (86600000, 25769803776)
    >>> parse_limit("weights", 4096)
    4096
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number and not isinstance(value, str):
        raise ConfigError(f"{quantity} must be a number or text with a unit, got {value!r:.80}")
    parse = _PARSERS[QUANTITIES[quantity].unit]
    try:
        # the bytes of a plain number have no unit
        return (parse_count if number else parse)(str(value))
    except ConfigError as error:
        raise ConfigError(f"{quantity}: {error}") from None
