"""The quantities of a report, one row each: they can be limited and compared."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vitcost.costs.quantity import (
    NO_TERMS,
    Amount,
    Formula,
    OfTime,
    Quantity,
    Terms,
    cost,
    cost_per_million_images,
    gpu_hours,
    images_per_second,
    step_time,
)
from vitcost.errors import ConfigError, NotCovered, UnknownName, shown
from vitcost.outside.arguments import text
from vitcost.units import (
    MOST,
    parse_amount,
    parse_bytes,
    parse_count,
    parse_per_second,
    parse_seconds,
)

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = [
    "EXPLAINED",
    "FLOATS",
    "QUANTITIES",
    "RENAMED",
    "TIMED",
    "check_terms",
    "check_used",
    "known",
    "parse_limit",
    "values",
]

_RUNS = ("flops", "pointwise")
_ALIVE = ("params", "saved_bytes")
_TRAINING = "memory.training."
# flags of a scenario that choose kernels, and flags that add parts to a step
_RUN_FLAGS = ("batch", "precision", "platform", "attention")
_PASS_FLAGS = ("checkpointing", "freeze", "lora", "lora_layers")
_STEP_FLAGS = (*_RUN_FLAGS, *_PASS_FLAGS)
_PEAK_FLAGS = (
    *_STEP_FLAGS, "optimizer", "ema", "ema_dtype", "ema_device", "optimizer_in_backward",
    "accumulate", "zero_grad", "grad_scaler",
)  # fmt: skip
_STATE_FLAGS = ("batch", "precision", "freeze", "lora", "lora_layers", "recipe")
_NARAYANAN = "Narayanan et al. 2021, arXiv 2104.04473"
_ALLOCATED = (
    "a walk over the operations, {}: a tensor is allocated where it is written, and freed after "
    "its last reader (torch 2.13, torch/csrc/autograd/engine.cpp)"
)
_STATES = (
    "of every parameter that trains: Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1; "
    "bytes of each by the recipe and torch.optim"
)

# every quantity
_TABLE: Mapping[str, Quantity] = {
    "params": Quantity(
        "params.total", "count", ("params",),
        Formula(
            "cost", ("params",), "parameters",
            f"a block with m = 4h is 12h² + 13h: {_NARAYANAN}, section 5.1; patches, tokens and "
            "head of an image model: Dosovitskiy et al. 2021, arXiv 2010.11929, section 3",
        ),
    ),
    "torchsummary_params": Quantity(
        "params.torchsummary", "count", ("params",),
        Formula(
            "torchsummary", ("params",), "parameters that torchsummary counts",
            "torchsummary 1.5.1, 2018: its hooks are on layers, and miss parameters that sit on "
            "none",
        ),
    ),
    "tokens": Quantity(
        "tokens", "count", (),
        Formula(
            "tokens", (), "tokens of an image or a text",
            "one a patch, and the tokens before them: Dosovitskiy et al. 2021, arXiv 2010.11929, "
            "section 3.1",
        ),
    ),
    "macs": Quantity(
        "flops.macs_forward", "si", ("flops",),
        Formula(
            "cost", ("macs",), "multiply-adds of a forward pass",
            f"half of the FLOPs; a block with m = 4h is 12bsh² + 2bs²h: {_NARAYANAN}, appendix",
        ),
    ),
    "flops": Quantity(
        "flops.forward", "si", ("flops",),
        Formula(
            "cost", ("flops",), "FLOPs of a forward pass",
            f"2 a multiply-add; a block with m = 4h is 24bsh² + 4bs²h: {_NARAYANAN}, appendix",
        ),
    ),
    "flops_executed": Quantity(
        "flops.forward_executed", "si", ("flops",),
        Formula(
            "cost", ("executed_flops",), "FLOPs that a forward pass executes",
            "FLOPs of the definition, and products that an attention kernel computes once more",
            _STEP_FLAGS,
        ),
    ),
    "backward_flops": Quantity(
        "flops.backward", "si", ("flops",),
        Formula(
            "cost", ("backward_flops",), "FLOPs of a backward pass",
            f"twice the forward ({_NARAYANAN}, appendix), but once for a patch embedding: the "
            "image needs no gradient",
            ("batch", "freeze", "lora", "lora_layers"),
        ),
    ),
    "train_flops": Quantity(
        "flops.train_step", "si", ("flops",),
        Formula(
            "cost", ("flops", "backward_flops"), "FLOPs of a forward and a backward pass",
            f"backward is twice the forward ({_NARAYANAN}, appendix), but once for a patch "
            "embedding: the image needs no gradient",
            ("batch", "freeze", "lora", "lora_layers"),
        ),
    ),
    "train_flops_executed": Quantity(
        "flops.train_step_executed", "si", ("flops",),
        Formula(
            "cost", ("executed_flops", "executed_backward_flops"),
            "FLOPs that a forward and a backward pass execute",
            "FLOPs of the definition, and recomputation: by a fused attention in its "
            "backward (Dao et al. 2022, arXiv 2205.14135), in checkpointed regions (Chen et al. "
            "2016, arXiv 1604.06174)",
            _STEP_FLAGS,
        ),
    ),
    "pointwise": Quantity(
        "flops.pointwise_forward", "si", ("pointwise",),
        Formula(
            "cost", ("pointwise",), "elements written in a forward pass",
            "one for each element that a norm, softmax, activation, scale or residual add writes, "
            "unfused; never added to FLOPs",
        ),
    ),
    "attention_flops": Quantity(
        "", "si", ("flops",),
        Formula(
            "cost", ("flops",), "FLOPs of a forward pass",
            "qkv 6bsh², scores 2bs²h, weighted sum 2bs²h, output 2bsh² a block: "
            f"{_NARAYANAN}, appendix",
            module="attn",
        ),
    ),
    "mlp_flops": Quantity(
        "", "si", ("flops",),
        Formula(
            "cost", ("flops",), "FLOPs of a forward pass",
            f"16bsh² a block with m = 4h: {_NARAYANAN}, appendix",
            module="mlp",
        ),
    ),
    "bytes_moved": Quantity(
        "bytes_moved.forward", "bytes", ("params", "flops", "pointwise"),
        Formula(
            "cost", ("moved_bytes",), "bytes read and written by a forward pass",
            "all tensors that an operation reads and writes, parameters included, nothing from a "
            "cache: Williams et al. 2009, doi 10.1145/1498765.1498785",
            ("mode", *_STEP_FLAGS),
        ),
    ),
    "inference_memory": Quantity(
        "memory.inference.total_bytes", "bytes", ("params",),
        Formula(
            "inference", (), "bytes of tensors at the peak of a forward pass in eval",
            f"weights, the caller's batch, and {_ALLOCATED.format('forward')}",
            _RUN_FLAGS,
        ),
    ),
    "activations": Quantity(
        "memory.inference.activations_bytes", "bytes", ("pointwise",),
        Formula(
            "inference", ("activations_bytes",), "bytes of activations alive at one time in eval",
            _ALLOCATED.format("forward"),
            _RUN_FLAGS,
        ),
    ),
    "weights": Quantity(
        _TRAINING + "weights_bytes", "bytes", ("params",),
        Formula("states", ("weights_bytes",), "bytes of weights in training", _STATES,
                _STATE_FLAGS),
    ),
    "gradients": Quantity(
        _TRAINING + "gradients_bytes", "bytes", ("params",),
        Formula("states", ("gradients_bytes",), "bytes of gradients", _STATES, _STATE_FLAGS),
    ),
    "optimizer_states": Quantity(
        _TRAINING + "optimizer_bytes", "bytes", ("params",),
        Formula("states", ("optimizer_bytes",), "bytes of the optimizer's states", _STATES,
                (*_STATE_FLAGS, "optimizer", "grad_scaler")),
    ),
    "saved_activations": Quantity(
        _TRAINING + "saved_activations_bytes", "bytes", ("saved_bytes",),
        Formula(
            "saved", (), "bytes that autograd holds after the loss",
            "torch's derivatives.yaml says what each op keeps; in half precision, eager and "
            "without dropout 32sbh + 2as²b a block: Korthikanti et al. 2022, arXiv 2205.05198, "
            "equation 1",
            _STEP_FLAGS,
        ),
    ),
    "train_memory": Quantity(
        _TRAINING + "peak_bytes", "bytes", _ALIVE,
        Formula(
            "peak", (), "bytes of tensors at the peak of a training step",
            f"{_ALLOCATED.format('backward included')}; saved tensors: Korthikanti et al. 2022, "
            "arXiv 2205.05198",
            _PEAK_FLAGS,
        ),
    ),
    "rule_of_thumb_inference": Quantity(
        "memory.rule_of_thumb.inference_bytes", "bytes", ("params",),
        Formula(
            "thumb", ("inference",), "bytes of weights in half precision",
            "2 bytes a parameter, no activations: Rajbhandari et al. 2020, arXiv 1910.02054, "
            "section 3",
        ),
    ),
    "rule_of_thumb_training": Quantity(
        "memory.rule_of_thumb.training_bytes", "bytes", ("params",),
        Formula(
            "thumb", ("training",), "bytes of model states in mixed precision with AdamW",
            "20 bytes a parameter: weights 2 + 4, gradients 2 + 4, moments 4 + 4, no activations; "
            "Megatron Core, distributed optimizer guide: fp16 parameters, fp16 gradients",
        ),
    ),
    "complexity": Quantity(
        "", "count", (),
        Formula(
            "complexity", (), "leading terms: work a layer, sequential operations, longest path",
            "Vaswani et al. 2017, arXiv 1706.03762, Table 1",
        ),
    ),
    # the time on the slowest card, from measured constants: it has no formula in sizes
    "step_time": Quantity("time", "seconds", _RUNS, None, OfTime(step_time)),
    "images_per_second": Quantity(
        "time", "rate", _RUNS, None, OfTime(images_per_second), more=True
    ),
    "latency": Quantity("time", "seconds", _RUNS, None, OfTime(step_time, mode="infer")),
    "cost_per_million_images": Quantity(
        "time", "money", _RUNS, None, OfTime(cost_per_million_images, ("price",))
    ),
    "gpu_hours": Quantity("time", "hours", _RUNS, None, OfTime(gpu_hours, ("samples",))),
    "cost": Quantity("time", "money", _RUNS, None, OfTime(cost, ("samples", "price"))),
}  # fmt: skip

# quantities with a number in a report: they can be compared, limited and swept
QUANTITIES = {name: row for name, row in _TABLE.items() if row.path}
# quantities that follow from the time of a step on a card
TIMED = {name: row.of_time for name, row in QUANTITIES.items() if row.of_time is not None}
# quantities with a formula: they can be explained
EXPLAINED = {name: row.formula for name, row in _TABLE.items() if row.formula is not None}
# former names of quantities in explain, each with the note beside its answer
RENAMED = {
    "peak_memory": ("train_memory", "peak-memory is called train_memory"),
    "training_memory": (
        "rule_of_thumb_training",
        "training-memory is called rule_of_thumb_training; the peak of a step is train_memory",
    ),
    "inference_memory": (
        "inference_memory",
        "the rule of thumb, 2 bytes a parameter, is called rule_of_thumb_inference",
    ),
}

# units of numbers that are not exact
FLOATS = ("seconds", "rate", "money", "hours")
_PARSERS: Mapping[str, Callable[[str], Amount]] = {
    "count": parse_count,
    "si": parse_count,
    "bytes": parse_bytes,
    "seconds": parse_seconds,
    "rate": parse_per_second,
    "money": parse_amount,
    "hours": parse_amount,
}


def known(names: Iterable[str]) -> tuple[str, ...]:
    """The names of quantities, checked; a ``-`` in a name is read as ``_``.

    Raises ``UnknownName`` for another name, with the nearest.

    >>> known(["train-memory", "params"])
    ('train_memory', 'params')
    >>> known(["params", "flop"])
    Traceback (most recent call last):
    vitcost.errors.UnknownName: unknown quantity 'flop'; did you mean flops?
    """
    names = tuple(dict.fromkeys(text("a quantity", name).replace("-", "_") for name in names))
    for name in names:
        if name not in QUANTITIES:
            hint = f"known: {', '.join(QUANTITIES)}"
            raise UnknownName("quantity", name, QUANTITIES, hint)
    return names


def values(
    report: "Result | Mapping[str, Any]",
    names: Iterable[str] = QUANTITIES,
    terms: Terms = NO_TERMS,
) -> dict[str, Amount | None]:
    """Quantities of a report, or of its JSON, by name.

    ``terms`` are the prices and samples that costs need. Raises ``KeyError`` for a name that is not
    a quantity: ``known`` checks names.

    >>> from vitcost import report
    >>> values(report("vit_base_patch16_224"), ["params", "macs"])
    {'params': 86567656, 'macs': 17563828224}
    """
    data = report if isinstance(report, Mapping) else report.to_dict()
    return {name: QUANTITIES[name].read(data, terms) for name in names}


def check_terms(names: Iterable[str], cards: Iterable[str], terms: Terms = NO_TERMS) -> None:
    """Refuses a quantity without the card, price or samples that it needs; ``cards`` are the cards
    with a time. Raises ``NotCovered`` without a card, ``ConfigError`` without the others.

    >>> check_terms(["cost"], ["l4"], Terms({"l4": 2.0}))
    Traceback (most recent call last):
    vitcost.errors.ConfigError: cost needs samples, the number of images of a run: give samples,
    such as 1.28M
    """
    cards = list(cards)
    for name in names:
        if name not in TIMED:
            continue
        if not cards:
            raise NotCovered(f"{name} is known on a card only: give a gpu")
        lacks = TIMED[name].lacks(terms, cards)
        if lacks:
            raise ConfigError(f"{name} needs {lacks}")


def check_used(terms: Iterable[str], names: Iterable[str]) -> None:
    """Raises ``ConfigError`` for a price or samples that no quantity needs.

    >>> check_used(["price"], ["cost"])
    >>> check_used(["samples"], ["params"])
    Traceback (most recent call last):
    vitcost.errors.ConfigError: samples is used by gpu_hours, cost, and none of these is asked for
    """
    needed = {need for name in names if name in TIMED for need in TIMED[name].needs}
    for term in terms:
        if term not in needed:
            users = ", ".join(name for name, row in TIMED.items() if term in row.needs)
            raise ConfigError(f"{term} is used by {users}, and none of these is asked for")


# the word that may follow a count, by the quantities that it belongs to
_COUNTED = {"macs": "MACs", "flops": "FLOPs", "params": "params"}


def _parsed(quantity: str, unit: str, text: str) -> Amount:
    if unit not in ("count", "si"):
        return _PARSERS[unit](text)
    word = next((noun for name, noun in _COUNTED.items() if name in quantity.split("_")), "")
    return parse_count(text, word)


def parse_limit(quantity: str, value: Any) -> Amount:
    """A limit from its spelling: text with a unit, or a bare number for seconds and counts.

    Bytes need a unit, as 24 may mean GiB. Raises ``ConfigError`` for other values.

    >>> parse_limit("params", "86.6 M"), parse_limit("train_memory", "24 GiB")
    (86600000, 25769803776)
    >>> parse_limit("flops", "35.2 GFLOPs"), parse_limit("macs", "18 GMACs")
    (35200000000, 18000000000)
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
        if number and unit in FLOATS:
            return float(value)
        return _parsed(quantity, unit, str(value))
    except ConfigError as error:
        raise ConfigError(f"{quantity}: {error}") from None
