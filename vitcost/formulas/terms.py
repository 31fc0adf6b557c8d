"""Finds the terms of a quantity: the engine or the textbook runs on symbols in place of sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

from vitcost import textbook
from vitcost.config.scenario import Scenario
from vitcost.costs import memory, memory_types
from vitcost.costs.quantity import Formula
from vitcost.costs.summary import counted_params
from vitcost.engine.cost import Cost, Row
from vitcost.engine.live import length, look_at, peak
from vitcost.engine.model import Config
from vitcost.engine.ops import Axis, Size, Sizes
from vitcost.engine.parts import by_part
from vitcost.engine.polynomial import symbol as size_of
from vitcost.engine.workload import Alive, Workload, workload
from vitcost.errors import NotCovered
from vitcost.formulas.module_terms import by_module
from vitcost.formulas.symbols import Expr, expression, largest_of, load, symbol, tidy, value

__all__ = ["MOST_ALLOCATIONS", "MOST_MODULES", "RULES", "Found", "Value", "summands", "window_of"]

Value: TypeAlias = "Size | tuple[textbook.LayerComplexity, ...]"

# a kernel of width 3, and the 7 x 7 windows of Swin Transformer (Liu et al. 2021, arXiv 2103.14030)
_KERNEL, _WINDOW = 3, 49

# the most different modules, and the most allocations of a pass, that can be added up in letters
# within a second
MOST_MODULES, MOST_ALLOCATIONS = 4_000, 20_000


class Found(NamedTuple):
    """Named expressions, the number and the meaning of each of their letters, and the exact
    answer."""

    terms: Mapping[str, Expr]
    numbers: Mapping[str, Size]
    value: Value
    # the sum of the terms, if it reads better than the list of terms
    whole: "Expr | None" = None
    # meanings of letters that this quantity uses differently
    meanings: Mapping[str, str] = {}
    how: str = ""  # the scenario, and the place of a peak
    note: str = ""  # the reason why there are no letters


def _cost(of: Formula, config: Config, scenario: Scenario) -> Found:
    """A cost for each part of the model; or the cost of all modules with a name, for each of their
    children."""
    exact, symbolic, note = _both(config, _forward(of, config, scenario))
    numbers = _numbers(exact.sizes)
    summands, letters = _by_name(exact, symbolic, partial(_summands, of=of, numbers=numbers))
    if not summands:
        raise NotCovered(f"this model has no module named {of.module!r} to explain")
    terms = {name: tidy(letters[name], numbers) for name, amount in summands.items() if amount}
    whole = tidy(sum(terms.values()), numbers) if of.module else None
    how = _how(exact, of) if "precision" in of.flags else ""
    return Found(terms, numbers, sum(summands.values()), whole, how=how, note=note)


def _forward(of: Formula, config: Config, scenario: Scenario) -> Scenario:
    """The scenario of a forward pass, if the model has no training step and none is asked for."""
    if any("backward" in name for name in of.of) or not workload(config, scenario).no_step:
        return scenario
    return replace(scenario, mode="infer")


def _by_name(
    exact: Workload, symbolic: Workload, parts: Callable[[Workload], dict[str, Size]]
) -> tuple[dict[str, Size], dict[str, Size]]:
    """The parts of a model with its sizes, and in letters."""
    exact_parts, letters = parts(exact), parts(symbolic)
    numbers = _numbers(exact.sizes)
    if exact.has_parts or exact_parts == {
        name: value(expr, numbers) for name, expr in letters.items()
    }:
        return exact_parts, letters
    # batch 1 may run other operators, so numbers stand in place of letters
    return exact_parts, exact_parts


def _summands(run: Workload, of: Formula, numbers: Mapping[str, Size]) -> dict[str, Size]:
    """The summands of a cost by name, in the order of the forward."""

    def cost(row: Cost) -> Size:
        return sum(getattr(row, name) for name in of.of)

    root = run.rows()
    if not of.module and not run.has_parts:
        return by_module(root, cost, numbers)
    if not of.module:
        parts = by_part(root.children, cost)
        return {**parts, "model": cost(root.cost) - sum(parts.values())}
    amounts: dict[str, Size] = {}
    for row, times in _rows(root):
        if _name(row) == of.module:
            inner = [(f"{of.module}.{_name(x)}", x.repeat * cost(x.cost)) for x in row.children]
            rest = cost(row.cost) - sum(amount for _, amount in inner)
            for name, amount in (*inner, (f"{of.module} products", rest)):
                amounts[name] = amounts.get(name, 0) + times * amount
    return amounts


def summands(run: Workload, of: Formula) -> tuple[dict[str, Size], dict[str, Size]]:
    """The numbers of a model's letters, and the summands of a cost by name.

    >>> from vitcost.costs.quantities import EXPLAINED
    >>> from vitcost.zoo import resolve
    >>> run = workload(resolve("vit_base_patch16_224").config, Scenario())
    >>> numbers, parts = summands(run, EXPLAINED["params"])
    >>> numbers["h"], parts["head"] == 1000 * 768 + 1000
    (768, True)
    """
    numbers = _numbers(run.sizes)
    return numbers, _summands(run, of, numbers)


def _rows(row: Row, times: Size = 1) -> Iterator[tuple[Row, Size]]:
    """Every row below a row, with how often it runs."""
    for child in row.children:
        yield child, times * child.repeat
        yield from _rows(child, times * child.repeat)


def _name(row: Row) -> str:
    return row.path.rpartition(".")[2]


def _torchsummary(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The parameters that sit on a layer, for each part."""
    exact, symbolic = (run.rows() for run in _both(config, scenario)[:2])
    counted = counted_params(config, exact)
    if counted is None:
        raise NotCovered("torchsummary's table is covered for the plain ViT only")
    layers, letters = (
        by_part((row for row in root.children if row.type != "Parameter"), lambda c: c.params)
        for root in (exact, symbolic)
    )
    numbers = _numbers(workload(config, scenario).sizes)
    terms = {name: tidy(letters[name], numbers) for name, amount in layers.items() if amount}
    return Found(terms, numbers, counted)


def _tokens(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The patches that the blocks read, and the tokens before them; for a text its tokens."""
    run = workload(config, scenario)
    run.axis("s")
    sizes = run.sizes
    before = sizes["s"] - sizes.get("kept", sizes["s"])
    patches = "kept" if sizes.get("kept") != sizes.get("n") else "n"
    terms = {"patches": symbol(patches)} if "kept" in sizes else {"tokens": symbol("s")}
    if before:
        terms["tokens before them"] = load().Integer(before)
    return Found(terms, _numbers(sizes), sizes["s"])


def _thumb(of: Formula, config: Config, scenario: Scenario) -> Found:
    """A rule of thumb: a number of bytes for each parameter, times the exact number of
    parameters."""
    params = workload(config, _forward(of, config, scenario)).rows().cost.params

    def terms(params: Size) -> Mapping[str, Size]:
        if of.of == ("inference",):
            return {"weights": textbook.inference_bytes(params)}
        states = textbook.training_bytes(params)._asdict()
        return {name.replace("_", " "): value for name, value in states.items()}

    return Found(terms(symbol("Φ")), {"Φ": params}, sum(terms(params).values()))


def _complexity(of: Formula, config: Config, scenario: Scenario) -> Found:
    """Four types of layer, compared on the sequence of this model."""
    sp = load()
    run = workload(config, scenario)
    numbers, meanings = window_of(run.axis("s"), run.axis("h"))
    letters = [symbol(letter) for letter in numbers]
    symbolic = textbook.layer_complexities(*letters, log=_log)
    terms = {
        # the textbook rounds up by -(-n // r)
        f"{row.layer}, {column}": sp.sympify(expr).rewrite(sp.ceiling)
        for row in symbolic
        for column, expr in zip(row._fields[1:], row[1:], strict=True)
    }
    return Found(terms, numbers, textbook.layer_complexities(*numbers.values()), None, meanings)


def window_of(s: Size, h: Size) -> tuple[dict[str, Size], dict[str, str]]:
    """The sizes in Vaswani's Table 1 for a sequence, and the meaning of the letters that only this
    table has.

    >>> window_of(197, 768)[0]
    {'s': 197, 'h': 768, 'k': 3, 'r': 49}
    """
    numbers = {"s": s, "h": h, "k": _KERNEL, "r": min(_WINDOW, s)}
    return numbers, {"r": "neighbours that restricted attention sees"}


def _log(n: Any, k: Any) -> Any:
    sp = load()
    return sp.ceiling(sp.log(n) / sp.log(k))


def _inference(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The moment that is the peak with the numbers, and the bytes alive at it, in letters."""
    # in inference the caller holds no targets
    exact, symbolic, note = _both(config, replace(scenario, mode="infer"), memory=True)
    top = peak(exact.inference(), exact.sizes)
    alive = look_at(symbolic.inference(), symbolic.sizes, top.look).total
    both = memory.inference(exact, top.peak_bytes), memory.inference(symbolic, alive)
    amount = both[0].total_bytes if not of.of else sum(getattr(both[0], name) for name in of.of)
    names = of.of or [
        # weights that are stored in fewer bits have another answer
        name
        for name in both[0]._fields
        if name.endswith("_bytes") and "_weights" not in name
    ]
    terms = _terms(names, both[0], both[1], _numbers(exact.sizes))
    if not exact.has_parts:
        terms = _held(terms, {"activations": alive}, symbolic.alive(top.look, training=False))
    how = f"{_how(exact, of)}{_alone(exact)}: {top.place}"
    return Found(terms, _numbers(exact.sizes), amount, how=how, note=note)


def _states(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The states of a training step, for all parameters together."""
    exact, symbolic, note = _both(config, scenario)
    both = [_own(run) for run in (exact, symbolic)]
    terms = _terms(of.of, both[0], both[1], _numbers(exact.sizes))
    amount = sum(getattr(both[0], name) for name in of.of)
    return Found(terms, _numbers(exact.sizes), amount, how=_how(exact, of), note=note)


def _terms(
    names: Iterable[str], exact: object, symbolic: object, numbers: Mapping[str, Size]
) -> dict[str, Expr]:
    """The bytes of these names, without those that are zero, simplified."""
    return {
        name.removesuffix("_bytes").replace("_", " "): tidy(
            largest_of(getattr(symbolic, name), numbers), numbers
        )
        for name in names
        if getattr(exact, name)
    }


def _saved(of: Formula, config: Config, scenario: Scenario) -> Found:
    """Bytes that autograd holds after the loss is computed, for each part."""
    exact, symbolic, note = _both(config, scenario)
    numbers = _numbers(exact.sizes)
    kept, letters = _by_name(exact, symbolic, partial(_kept, numbers=numbers))
    terms = {name: tidy(letters[name], numbers) for name, amount in kept.items() if amount}
    return Found(terms, numbers, sum(kept.values()), how=_how(exact, of), note=note)


def _kept(run: Workload, numbers: Mapping[str, Size]) -> dict[str, Size]:
    root = run.rows()
    if not run.has_parts:
        parts = by_module(root, lambda cost: cost.saved_bytes, numbers)
        # the loss is computed inside one of the modules
        return {"model and loss" if name == "model" else name: n for name, n in parts.items()}
    parts = by_part(root.children, lambda cost: cost.saved_bytes)
    rest = root.cost.saved_bytes - sum(parts.values())
    return {**parts, "model": rest, "loss": memory.loss_bytes(run)}


def _own(run: Workload) -> memory_types.Training:
    return memory.states(run, run.rows().cost.saved_bytes + memory.loss_bytes(run))


def _peak(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The moment that is the peak with the numbers, and the bytes alive at it, in letters."""
    exact, symbolic, note = _both(config, scenario, memory=True)
    try:
        top = memory.step_peak(_own(exact), exact)
    except NotCovered as reason:
        raise NotCovered(f"no exact train_memory: {reason}") from None
    assert top.parts is not None
    parts = memory.moment(_own(symbolic), symbolic, top.look)
    numbers = _numbers(exact.sizes)
    terms = _terms(top.parts._fields, top.parts, parts, numbers)
    if not exact.has_parts:
        asked = {
            "saved activations": parts.saved_activations_bytes,
            "temporary": parts.temporary_bytes,
        }
        terms = _held(terms, asked, symbolic.alive(top.look, training=True))
    how = f"{_how(exact, of)}, optimizer {scenario.optimizer}{_alone(exact)}: {top.at}"
    return Found(terms, numbers, top.total_bytes, how=how, note=note)


def _held(
    terms: Mapping[str, Expr], asked: Mapping[str, Size], alive: Iterable[Alive]
) -> dict[str, Expr]:
    """Splits terms by the modules that made or saved the live tensors; the remainder of each term
    keeps its name."""
    sp = load()
    left = {name: expression(amount) for name, amount in asked.items()}
    opened: dict[str, dict[str, Expr]] = {name: {} for name in asked}
    for each in alive:
        if each.part == "gradients":
            continue
        name = each.part if each.part in asked else f"{each.part} activations"
        name = name if name in asked else next(iter(asked))
        size = opened[name][each.name] = expression(each.size_bytes)
        left[name] = left[name] - size
    opened_terms: dict[str, Expr] = {}
    for name, expr in terms.items():
        opened_terms.update(opened.get(name, {}))
        rest = sp.expand(left[name]) if name in left else expr
        if rest != 0:
            opened_terms["temporary, of the optimizer" if name == "temporary" else name] = rest
    return opened_terms


def _alone(exact: Workload) -> str:
    """The reason why a batch has no letters."""
    if exact.has_letters:
        return ""
    return ", one image, which runs otherwise than a batch (--batch 2 has letters)"


# every rule that finds terms
RULES: Mapping[str, Callable[[Formula, Config, Scenario], Found]] = {
    "cost": _cost,
    "torchsummary": _torchsummary,
    "tokens": _tokens,
    "thumb": _thumb,
    "complexity": _complexity,
    "inference": _inference,
    "states": _states,
    "saved": _saved,
    "peak": _peak,
}


def _both(
    config: Config, scenario: Scenario, memory: bool = False
) -> tuple[Workload, Workload, str]:
    """The workload of a model in numbers and in letters, and the reason if letters are missing. For
    memory, letters are used if the model has them and their sum takes no longer than a second; else
    numbers stand for both."""
    # the structure is that of any batch, even if batch 1 would have another
    exact = workload(config, scenario).at(scenario.batch)
    if memory and not exact.has_letters:
        return exact, exact, ""
    steps, most, noun = _length(exact, memory)
    if steps > most:
        note = f"the formula is large: {steps:,} {noun}, and letters are for up to {most:,}"
        return exact, exact, f"{note}; each term is a number"
    # adding up products takes a hundredth of the time that general expressions take
    letters = Sizes({axis: cast(Size, size_of(_letter(axis))) for axis in exact.sizes})
    return exact, workload(config, scenario, letters), ""


def _length(run: Workload, memory: bool) -> tuple[int, int, str]:
    """How many terms would be added up one by one, how many are allowed, and their kind."""
    if not memory:
        rows = sum(1 for _ in _rows(run.rows()))
        return rows, MOST_MODULES, "modules of blocks that differ"
    try:
        events = length(run.step() if run.training else run.inference())
    except NotCovered:
        # the peak itself gives the reason why there is none
        events = 0
    return events, MOST_ALLOCATIONS, "tensors are allocated or freed in blocks that differ"


def _how(run: Workload, of: Formula) -> str:
    """The flags of a scenario that are not at their defaults."""
    scenario = run.scenario
    conditions = [scenario.precision, scenario.platform]
    conditions += [f"attention {', '.join(run.attention())}"] if run.attention() else []
    for name in of.flags:
        chosen = getattr(scenario, name)
        known = ("batch", "precision", "platform", "attention", "optimizer", "lora_layers")
        if name not in known and chosen != getattr(Scenario(), name):
            conditions.append(f"{name} {chosen}")
    return ", ".join(conditions)


def _letter(axis: Axis) -> str:
    """An axis in a spelling that Python can read: the text tower's axes are text.s, text.h, ..."""
    return str(axis).replace(".", "_")


def _numbers(sizes: Sizes) -> dict[str, Size]:
    numbers = {_letter(axis): size for axis, size in sizes.items()}
    numbers["p"] = numbers.get("p_h", 1)
    return numbers
