"""The quantities that a report has one number for: what is limited and compared. One row each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vitcost.errors import ConfigError, UnknownName, shown
from vitcost.units import MOST, parse_bytes, parse_count, parse_seconds

if TYPE_CHECKING:
    from vitcost.result import Result

__all__ = [
    "NUMBERS",
    "QUANTITIES",
    "Amount",
    "Changed",
    "Numbers",
    "Quantity",
    "changes",
    "known",
    "parse_limit",
    "values",
]


Amount: TypeAlias = int | float


class Quantity(NamedTuple):
    """Where the JSON of a report has a quantity, its unit, and the columns of a layer that it
    grows with.

    A report that has no exact figure for it has null there, or an empty list; of several figures
    the largest is limited.
    """

    path: str
    unit: str  # count | si | bytes | seconds, as a page has them
    layers: tuple[str, ...]

    def key(self, name: str) -> str:
        """Its name in JSON, with the unit."""
        if self.unit in ("bytes", "seconds") and not name.startswith("bytes"):
            return f"{name}_{self.unit}"
        return name

    def read(self, report: "Result | Mapping[str, Any]") -> Amount | None:
        """The number of a report, or of its JSON.

        >>> from vitcost import report
        >>> QUANTITIES["flops"].read(report("vit_tiny_patch16_224"))
        2507366400
        """
        found: Any = report if isinstance(report, Mapping) else report.to_dict()
        for key in self.path.split("."):
            if isinstance(found, list):
                found = max((each[key] for each in found), default=None)
            else:
                found = found[key]
        number: Amount | None = found
        return number


_ALIVE = ("params", "saved_bytes")
_TRAINING = "memory.training."

QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity("params.total", "count", ("params",)),
    "torchsummary_params": Quantity("params.torchsummary", "count", ("params",)),
    "tokens": Quantity("tokens", "count", ()),
    "macs": Quantity("flops.macs_forward", "si", ("flops",)),
    "flops": Quantity("flops.forward", "si", ("flops",)),
    "flops_executed": Quantity("flops.forward_executed", "si", ("flops",)),
    "backward_flops": Quantity("flops.backward", "si", ("flops",)),
    "train_flops": Quantity("flops.train_step", "si", ("flops",)),
    "train_flops_executed": Quantity("flops.train_step_executed", "si", ("flops",)),
    "pointwise": Quantity("flops.pointwise_forward", "si", ("pointwise",)),
    "bytes_moved": Quantity("bytes_moved.forward", "bytes", ("params", "flops", "pointwise")),
    "inference_memory": Quantity("memory.inference.total_bytes", "bytes", ("params",)),
    "activations": Quantity("memory.inference.activations_bytes", "bytes", ("pointwise",)),
    "weights": Quantity(_TRAINING + "weights_bytes", "bytes", ("params",)),
    "gradients": Quantity(_TRAINING + "gradients_bytes", "bytes", ("params",)),
    "optimizer_states": Quantity(_TRAINING + "optimizer_bytes", "bytes", ("params",)),
    "saved_activations": Quantity(_TRAINING + "saved_activations_bytes", "bytes", ("saved_bytes",)),
    "train_memory": Quantity(_TRAINING + "peak_bytes", "bytes", _ALIVE),
    # of the slowest of the cards
    "step_time": Quantity("time.seconds", "seconds", ("flops", "pointwise")),
}

# the columns of a layer that quantities grow with, and their units
NUMBERS = {"params": "count", "flops": "si", "pointwise": "si", "saved_bytes": "bytes"}

Numbers = Mapping[str, Mapping[str, int]]  # by layer, then by column

_PARSERS: Mapping[str, Callable[[str], Amount]] = {
    "count": parse_count,
    "si": parse_count,
    "bytes": parse_bytes,
    "seconds": parse_seconds,
}


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names of quantities, all of them known; ``-`` in one is the same as ``_``.

    >>> known(["train-memory", "params"])
    ('train_memory', 'params')
    >>> known(["params", "flop"])
    Traceback (most recent call last):
    vitcost.errors.UnknownName: unknown quantity 'flop'; did you mean flops?
    """
    names = tuple(dict.fromkeys(name.replace("-", "_") for name in names))
    for name in names:
        if name not in QUANTITIES:
            hint = f"known: {', '.join(QUANTITIES)}"
            raise UnknownName("quantity", name, QUANTITIES, hint)
    return names


def values(report: "Result | Mapping[str, Any]") -> dict[str, Amount | None]:
    """Every quantity of a report, or of its JSON."""
    data = report if isinstance(report, Mapping) else report.to_dict()
    return {name: quantity.read(data) for name, quantity in QUANTITIES.items()}


class Changed(NamedTuple):
    """A number of a layer, or of a run of equal ones, as it was and is; None: there was none."""

    layer: str
    number: str
    unit: str
    was: int | None
    now: int | None

    @property
    def more(self) -> int:
        return (self.now or 0) - (self.was or 0)


def changes(was: Numbers, now: Numbers, columns: Iterable[str] = NUMBERS) -> Iterator[Changed]:
    """Every number of every layer that is not what it was, in the order of the layers.

    >>> list(changes({"head": {"params": 5}}, {"head": {"params": 7}}, ["params"]))
    [Changed(layer='head', number='params', unit='count', was=5, now=7)]
    """
    none: Mapping[str, int] = {}
    for layer in dict.fromkeys((*now, *was)):
        for column in columns:
            before = was.get(layer, none).get(column)
            after = now.get(layer, none).get(column)
            if (before or 0) != (after or 0):
                yield Changed(layer, column, NUMBERS[column], before, after)


def parse_limit(quantity: str, value: Any) -> Amount:
    """A limit from its spelling: text with a unit, or a number of what has none, or of seconds.

    A number of bytes says its unit, since 24 is read as GiB by whoever writes it.

    >>> parse_limit("params", "86.6 M"), parse_limit("train_memory", "24 GiB")
    (86600000, 25769803776)
    >>> parse_limit("tokens", 197), parse_limit("weights", "4096 B"), parse_limit("step_time", 0.1)
    (197, 4096, 0.1)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number and not isinstance(value, str):
        raise ConfigError(f"{quantity} must be a number or text with a unit, got {shown(value)}")
    unit = QUANTITIES[quantity].unit
    try:
        if number and not 0 <= value <= MOST:
            raise ConfigError(f"expected a number from 0 to 10^30, got {shown(value)}")
        if number and unit == "seconds":
            return float(value)
        return _PARSERS[unit](str(value))
    except ConfigError as error:
        raise ConfigError(f"{quantity}: {error}") from None
