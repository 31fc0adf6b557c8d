"""How the terms of a quantity are found: engine or textbook, run on symbols in place of sizes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from vitcost import memory, textbook
from vitcost.engine.cost import Cost, Row
from vitcost.engine.live import look_at, peak
from vitcost.engine.model import Config
from vitcost.engine.ops import Axis, Size, Sizes
from vitcost.engine.parts import by_part
from vitcost.engine.workload import Workload, workload
from vitcost.errors import NotCovered
from vitcost.formulas.symbols import Expr, largest_of, load, symbol, tidy
from vitcost.quantities import Formula
from vitcost.scenario import Scenario
from vitcost.summary import counted_params

__all__ = ["RULES", "Found", "Value"]

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


def _cost(of: Formula, config: Config, scenario: Scenario) -> Found:
    """A cost, part by part of the model; or that of all modules of one name, child by child."""
    exact, symbolic = _both(config, scenario)
    summands = _summands(exact, of)
    if not summands:
        raise NotCovered(f"this model has no module named {of.module!r} to explain")
    numbers, letters = _numbers(exact.sizes), _summands(symbolic, of)
    terms = {name: tidy(letters[name], numbers) for name, value in summands.items() if value}
    whole = tidy(sum(terms.values()), numbers) if of.module else None
    how = _how(exact, of) if "precision" in of.flags else ""
    return Found(terms, numbers, sum(summands.values()), whole, how=how)


def _summands(run: Workload, of: Formula) -> dict[str, Size]:
    """Summands of a cost by name, in the order of the forward."""

    def cost(row: Cost) -> Size:
        return sum(getattr(row, name) for name in of.of)

    root = run.rows()
    if not of.module:
        parts = by_part(root.children, cost)
        return {**parts, "model": cost(root.cost) - sum(parts.values())}
    found: dict[str, Size] = {}
    for row, times in _rows(root):
        if _name(row) == of.module:
            inner = [(f"{of.module}.{_name(x)}", x.repeat * cost(x.cost)) for x in row.children]
            own = cost(row.cost) - sum(value for _, value in inner)
            for name, value in (*inner, (f"{of.module} products", own)):
                found[name] = found.get(name, 0) + times * value
    return found


def _rows(row: Row, times: Size = 1) -> Iterator[tuple[Row, Size]]:
    """Every row below one, with how often it runs."""
    for child in row.children:
        yield child, times * child.repeat
        yield from _rows(child, times * child.repeat)


def _name(row: Row) -> str:
    return row.path.rpartition(".")[2]


def _torchsummary(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The parameters that sit on a layer, part by part."""
    exact, symbolic = (run.rows() for run in _both(config, scenario))
    value = counted_params(config, exact)
    if value is None:
        raise NotCovered("torchsummary's table is covered for the plain ViT only")
    layers, letters = (
        by_part((row for row in root.children if row.type != "Parameter"), lambda c: c.params)
        for root in (exact, symbolic)
    )
    numbers = _numbers(workload(config, scenario).sizes)
    terms = {name: tidy(letters[name], numbers) for name, value in layers.items() if value}
    return Found(terms, numbers, value)


def _tokens(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The patches that the blocks see, and the tokens before them; of a text its tokens."""
    sizes = workload(config, scenario).sizes
    before = sizes["s"] - sizes.get("kept", sizes["s"])
    patches = "kept" if sizes.get("kept") != sizes.get("n") else "n"
    terms = {"patches": symbol(patches)} if "kept" in sizes else {"tokens": symbol("s")}
    if before:
        terms["tokens before them"] = load().Integer(before)
    return Found(terms, _numbers(sizes), sizes["s"])


def _thumb(of: Formula, config: Config, scenario: Scenario) -> Found:
    """So many bytes a parameter, on the exact count of parameters."""
    params = workload(config, scenario).rows().cost.params

    def terms(params: Size) -> Mapping[str, Size]:
        if of.of == ("inference",):
            return {"weights": textbook.inference_bytes(params)}
        states = textbook.training_bytes(params)._asdict()
        return {name.replace("_", " "): value for name, value in states.items()}

    return Found(terms(symbol("Φ")), {"Φ": params}, sum(terms(params).values()))


def _complexity(of: Formula, config: Config, scenario: Scenario) -> Found:
    """Four types of layer on the sequence of this model."""
    sp = load()
    sizes = workload(config, scenario).sizes
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


def _inference(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The moment that wins with the numbers, and what lies in memory then, in letters."""
    exact, symbolic = _both(config, scenario)
    top = peak(exact.inference(), exact.sizes)
    alive = look_at(symbolic.inference(), symbolic.sizes, top.look).total
    both = memory.inference(exact, top.peak_bytes), memory.inference(symbolic, alive)
    value = both[0].total_bytes if not of.of else sum(getattr(both[0], name) for name in of.of)
    names = of.of or [name for name in both[0]._fields if not name.startswith("int8")]
    terms = _terms(names, both[0], both[1], _numbers(exact.sizes))
    return Found(terms, _numbers(exact.sizes), value, how=f"{_how(exact, of)}: {top.place}")


def _states(of: Formula, config: Config, scenario: Scenario) -> Found:
    """States of a training step, all parameters together."""
    exact, symbolic = _both(config, scenario)
    both = [_own(run) for run in (exact, symbolic)]
    terms = _terms(of.of, both[0], both[1], _numbers(exact.sizes))
    value = sum(getattr(both[0], name) for name in of.of)
    return Found(terms, _numbers(exact.sizes), value, how=_how(exact, of))


def _terms(
    names: Iterable[str], exact: object, symbolic: object, numbers: Mapping[str, Size]
) -> dict[str, Expr]:
    """The bytes of some names that are not zero, tidied."""
    return {
        name.removesuffix("_bytes").replace("_", " "): tidy(
            largest_of(getattr(symbolic, name), numbers), numbers
        )
        for name in names
        if getattr(exact, name)
    }


def _saved(of: Formula, config: Config, scenario: Scenario) -> Found:
    """What autograd holds after the loss, part by part."""
    exact, symbolic = _both(config, scenario)
    numbers, kept, letters = _numbers(exact.sizes), _kept(exact), _kept(symbolic)
    terms = {name: tidy(letters[name], numbers) for name, value in kept.items() if value}
    return Found(terms, numbers, sum(kept.values()), how=_how(exact, of))


def _kept(run: Workload) -> dict[str, Size]:
    root = run.rows()
    parts = by_part(root.children, lambda cost: cost.saved_bytes)
    rest = root.cost.saved_bytes - sum(parts.values())
    return {**parts, "model": rest, "loss": memory.loss_bytes(run)}


def _own(run: Workload) -> memory.Training:
    return memory.states(run, sum(_kept(run).values()))


def _peak(of: Formula, config: Config, scenario: Scenario) -> Found:
    """The moment that wins with the numbers, and what lies in memory then, in letters."""
    exact, symbolic = _both(config, scenario)
    try:
        top = memory.step_peak(_own(exact), exact)
    except NotCovered as reason:
        raise NotCovered(f"no exact train_memory: {reason}") from None
    assert top.parts is not None
    parts = memory.moment(_own(symbolic), symbolic, top.look)
    numbers = _numbers(exact.sizes)
    terms = _terms(top.parts._fields, top.parts, parts, numbers)
    how = f"{_how(exact, of)}, optimizer {scenario.optimizer}: {top.at}"
    return Found(terms, numbers, top.total_bytes, how=how)


# every way to find terms
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


def _both(config: Config, scenario: Scenario) -> tuple[Workload, Workload]:
    """A model under a scenario, and the same in letters."""
    exact = workload(config, scenario)
    letters = Sizes({axis: symbol(_letter(axis)) for axis in exact.sizes})
    return exact, workload(config, scenario, letters)


def _how(run: Workload, of: Formula) -> str:
    """What of a scenario is not as it always is."""
    scenario = run.scenario
    said = [scenario.precision, scenario.platform, f"attention {', '.join(run.attention())}"]
    for name in of.flags:
        given = getattr(scenario, name)
        known = ("batch", "precision", "platform", "attention", "optimizer", "lora_layers")
        if name not in known and given != getattr(Scenario(), name):
            said.append(f"{name} {given}")
    return ", ".join(said)


def _letter(axis: Axis) -> str:
    """An axis as Python can read it: the text tower's axes are text.s, text.h, ..."""
    return str(axis).replace(".", "_")


def _numbers(sizes: Sizes) -> dict[str, Size]:
    numbers = {_letter(axis): size for axis, size in sizes.items()}
    numbers["p"] = numbers.get("p_h", 1)
    return numbers
