"""What can be explained: how its terms are found by running engine or textbook on symbols."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from vitcost import textbook
from vitcost.engine.cost import Cost, Row, fold
from vitcost.engine.kernels import attention_kernels
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import AnyStructure, Config, sizes_of, structure_of
from vitcost.engine.ops import Axis, Size, Sizes, numel
from vitcost.engine.parts import by_part
from vitcost.engine.tree import Node
from vitcost.engine.workload import mode_of
from vitcost.errors import NotCovered
from vitcost.formulas.symbols import Expr, largest_of, load, symbol, tidy
from vitcost.memory import Training, loss_bytes, moment, states, step_peak
from vitcost.scenario import Scenario

__all__ = ["FLAGS", "QUANTITIES", "Found", "Quantity", "Value"]

Value: TypeAlias = "Size | tuple[textbook.LayerComplexity, ...]"

# a kernel three wide, and the 7 x 7 windows of Swin Transformer (Liu et al. 2021, arXiv 2103.14030)
_KERNEL, _WINDOW = 3, 49


class Found(NamedTuple):
    """Named expressions, the number and meaning of each of their letters, and the exact answer."""

    terms: Mapping[str, Expr]
    numbers: Mapping[str, Size]
    value: Value
    # the terms added up, where their sum reads better than the terms in a row
    whole: "Expr | None" = None
    # of letters that this quantity uses in its own way
    meanings: Mapping[str, str] = {}
    how: str = ""  # the scenario that it is of, and where a peak is reached


class Quantity(NamedTuple):
    """A row of the table: how the terms are found, the unit, who says so, and the flags of a
    scenario that it depends on."""

    find: Callable[[Config, Scenario], Found]
    unit: str
    reference: str
    flags: tuple[str, ...] = ("batch",)


def _engine(
    cost: Callable[[Cost], Size],
    config: Config,
    scenario: Scenario,
    *,
    module: str = "",
    training: bool = False,
) -> Found:
    """A cost, part by part of the model; or that of all modules of one name, child by child."""
    batch = scenario.batch
    structure, sizes = structure_of(config, batch, training), sizes_of(config, batch)
    exact = _summands(fold(lower(structure, Mode()), sizes), cost, module)
    terms = _summands(_in_symbols(structure, tuple(sizes)), cost, module)
    if not exact:
        raise NotCovered(f"this model has no module named {module!r} to explain")
    numbers = {_letter(axis): size for axis, size in sizes.items()}
    numbers["p"] = numbers.get("p_h", 1)
    tidied = {name: tidy(terms[name], numbers) for name, value in exact.items() if value}
    whole = tidy(sum(tidied.values()), numbers) if module else None
    return Found(tidied, numbers, sum(exact.values()), whole)


@lru_cache(maxsize=64)
def _in_symbols(structure: AnyStructure, axes: tuple[Axis, ...]) -> Row:
    return fold(lower(structure, Mode()), Sizes({axis: symbol(_letter(axis)) for axis in axes}))


def _letter(axis: Axis) -> str:
    """An axis as Python can read it: the text tower's axes are text.s, text.h, ..."""
    return str(axis).replace(".", "_")


def _summands(root: Row, cost: Callable[[Cost], Size], module: str) -> dict[str, Size]:
    """Summands of a cost by name, in the order of the forward."""
    if not module:
        parts = by_part(root.children, cost)
        return {**parts, "model": cost(root.cost) - sum(parts.values())}
    found: dict[str, Size] = {}
    for row, times in _rows(root):
        if _name(row) == module:
            inner = [(f"{module}.{_name(x)}", x.repeat * cost(x.cost)) for x in row.children]
            own = cost(row.cost) - sum(value for _, value in inner)
            for name, value in (*inner, (f"{module} products", own)):
                found[name] = found.get(name, 0) + times * value
    return found


def _rows(row: Row, times: Size = 1) -> Iterator[tuple[Row, Size]]:
    """Every row below one, with how often it runs."""
    for child in row.children:
        yield child, times * child.repeat
        yield from _rows(child, times * child.repeat)


def _name(row: Row) -> str:
    return row.path.rpartition(".")[2]


def _rule_of_thumb(
    terms: Callable[[Size], Mapping[str, Size]], config: Config, scenario: Scenario
) -> Found:
    """So many bytes a parameter, on the exact count of parameters."""
    batch = scenario.batch
    params = fold(lower(structure_of(config, batch), Mode()), sizes_of(config, batch)).cost.params
    return Found(terms(symbol("Φ")), {"Φ": params}, sum(terms(params).values()))


def _weights(params: Size) -> dict[str, Size]:
    return {"weights": textbook.inference_bytes(params)}


def _model_states(params: Size) -> dict[str, Size]:
    states = textbook.training_bytes(params)
    return {name.replace("_", " "): value for name, value in states._asdict().items()}


def _complexity(config: Config, scenario: Scenario) -> Found:
    """Four types of layer on the sequence of this model."""
    sp = load()
    sizes = sizes_of(config, scenario.batch)
    numbers = {"s": sizes["s"], "h": sizes["h"], "k": _KERNEL, "r": min(_WINDOW, sizes["s"])}
    letters = [symbol(letter) for letter in numbers]
    symbolic = textbook.layer_complexities(*letters, log=_log)
    terms = {
        # the textbook rounds up as -(-n // r)
        f"{row.layer}, {column}": sp.sympify(expr).rewrite(sp.ceiling)
        for row in symbolic
        for column, expr in zip(row._fields[1:], row[1:], strict=True)
    }
    meanings = {"r": "neighbours that restricted attention sees"}
    return Found(terms, numbers, textbook.layer_complexities(*numbers.values()), None, meanings)


def _log(n: Any, k: Any) -> Any:
    sp = load()
    return sp.ceiling(sp.log(n) / sp.log(k))


def _forward_and_backward(cost: Cost) -> Size:
    return cost.flops + cost.backward_flops


def _saved(config: Config, scenario: Scenario) -> Found:
    """What autograd holds after the loss, part by part."""
    tree, sizes, _ = _trained(config, scenario)
    exact, symbolic = (_kept(config, scenario, tree, over) for over in (sizes, _symbols(sizes)))
    numbers = _numbers(sizes)
    tidied = {name: tidy(symbolic[name], numbers) for name, value in exact.items() if value}
    return Found(tidied, numbers, sum(exact.values()), how=_how(config, scenario))


def _kept(config: Config, scenario: Scenario, tree: Node, sizes: Sizes) -> dict[str, Size]:
    loss = loss_bytes(config, numel(tree.output.axes, sizes), scenario)
    parts = _summands(fold(tree, sizes), attrgetter("saved_bytes"), "")
    return {**parts, "loss": loss}


def _peak(config: Config, scenario: Scenario) -> Found:
    """The moment that wins with the numbers, and what lies in memory then, in letters."""
    tree, sizes, mode = _trained(config, scenario)
    structure = structure_of(config, scenario.batch, True)

    def own(over: Sizes) -> Training:
        return states(tree, over, sum(_kept(config, scenario, tree, over).values()), scenario)

    try:
        top = step_peak(own(sizes), structure, sizes, scenario, mode)
    except NotCovered as reason:
        raise NotCovered(f"no peak-memory: {reason}") from None
    assert top.parts is not None
    over, numbers = _symbols(sizes), _numbers(sizes)
    symbolic = moment(own(over), structure, over, scenario, mode, top.look)
    tidied = {
        name.removesuffix("_bytes").replace("_", " "): tidy(largest_of(expr, numbers), numbers)
        for name, expr, value in zip(top.parts._fields, symbolic, top.parts, strict=True)
        if value
    }
    how = f"{_how(config, scenario)}, optimizer {scenario.optimizer}: {top.at}"
    return Found(tidied, numbers, top.total_bytes, how=how)


def _trained(config: Config, scenario: Scenario) -> tuple[Node, Sizes, Mode]:
    """A model as a training step runs it, and what its axes measure."""
    mode = mode_of(config, scenario)
    structure = structure_of(config, scenario.batch, True)
    return lower(structure, mode), sizes_of(config, scenario.batch), mode


def _how(config: Config, scenario: Scenario) -> str:
    """What of a scenario is not as it always is."""
    tree, sizes, _ = _trained(config, scenario)
    kernels = ", ".join(attention_kernels(tree, sizes))
    said = [scenario.precision, scenario.platform, f"attention {kernels}"]
    for name in _STEP_FLAGS[4:]:
        given = getattr(scenario, name)
        if name not in ("optimizer", "lora_layers") and given != getattr(Scenario(), name):
            said.append(f"{name} {given}")
    return ", ".join(said)


def _symbols(sizes: Sizes) -> Sizes:
    return Sizes({axis: symbol(_letter(axis)) for axis in sizes})


def _numbers(sizes: Sizes) -> dict[str, Size]:
    numbers = {_letter(axis): size for axis, size in sizes.items()}
    numbers["p"] = numbers.get("p_h", 1)
    return numbers


# what autograd keeps depends on, and what the peak of a step does besides
_MEMORY_FLAGS = (
    "batch", "precision", "platform", "attention",
    "checkpointing", "freeze", "lora", "lora_layers",
)  # fmt: skip
_STEP_FLAGS = (*_MEMORY_FLAGS, "optimizer", "ema", "accumulate", "zero_grad")
_NARAYANAN = "Narayanan et al. 2021, arXiv 2104.04473"

QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity(
        partial(_engine, attrgetter("params")),
        "parameters",
        f"a block with m = 4h is 12h² + 13h: {_NARAYANAN}, section 5.1; patches, tokens and head "
        "of an image model: Dosovitskiy et al. 2021, arXiv 2010.11929, section 3",
    ),
    "flops": Quantity(
        partial(_engine, attrgetter("flops")),
        "FLOPs of a forward pass",
        f"2 a multiply-add; a block with m = 4h is 24bsh² + 4bs²h: {_NARAYANAN}, appendix",
    ),
    "train-flops": Quantity(
        partial(_engine, _forward_and_backward, training=True),
        "FLOPs of a forward and a backward pass",
        f"backward is twice the forward ({_NARAYANAN}, appendix), but once for a patch "
        "embedding: the image needs no gradient",
    ),
    "attention-flops": Quantity(
        partial(_engine, attrgetter("flops"), module="attn"),
        "FLOPs of a forward pass",
        "qkv 6bsh², scores 2bs²h, weighted sum 2bs²h, output 2bsh² a block: "
        f"{_NARAYANAN}, appendix",
    ),
    "mlp-flops": Quantity(
        partial(_engine, attrgetter("flops"), module="mlp"),
        "FLOPs of a forward pass",
        f"16bsh² a block with m = 4h: {_NARAYANAN}, appendix",
    ),
    "pointwise": Quantity(
        partial(_engine, attrgetter("pointwise")),
        "elements written in a forward pass",
        "one for each element that a norm, softmax, activation, scale or residual add writes, "
        "unfused; never added to FLOPs",
    ),
    "saved-activations": Quantity(
        _saved,
        "bytes that autograd holds after the loss",
        "torch's derivatives.yaml says what each op keeps; in half precision, eager and without "
        "dropout 32sbh + 2as²b a block: Korthikanti et al. 2022, arXiv 2205.05198, equation 1",
        _MEMORY_FLAGS,
    ),
    "peak-memory": Quantity(
        _peak,
        "bytes of tensors at the peak of a training step",
        "a walk over the operations, backward included: born where it is written, dead after its "
        "last reader (torch/csrc/autograd/engine.cpp); what is kept: Korthikanti et al. 2022, "
        "arXiv 2205.05198",
        _STEP_FLAGS,
    ),
    "inference-memory": Quantity(
        partial(_rule_of_thumb, _weights),
        "bytes of weights in half precision",
        "2 bytes a parameter, no activations: Rajbhandari et al. 2020, arXiv 1910.02054, section 3",
    ),
    "training-memory": Quantity(
        partial(_rule_of_thumb, _model_states),
        "bytes of model states in mixed precision with AdamW",
        "20 bytes a parameter: weights 2 + 4, gradients 2 + 4, moments 4 + 4, no activations; "
        "Megatron Core, distributed optimizer guide: fp16 parameters, fp16 gradients",
    ),
    "complexity": Quantity(
        _complexity,
        "leading terms: work a layer, sequential operations, longest path",
        "Vaswani et al. 2017, arXiv 1706.03762, Table 1",
    ),
}
# every flag of a scenario that some quantity depends on
FLAGS = tuple(dict.fromkeys(flag for row in QUANTITIES.values() for flag in row.flags))
