"""Formulas of a model with its numbers put in, as sums of products: the engine's rules run on
letters in place of sizes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.ops import Sizes
from vitcost.engine.polynomial import Polynomial, Product, symbol
from vitcost.engine.workload import workload
from vitcost.errors import NotCovered
from vitcost.zoo import Resolved

__all__ = ["SHOWN", "formulas_of"]

# quantities whose formula takes only a line or two
SHOWN = {"params": "parameters", "flops": "FLOPs, forward"}


def formulas_of(model: Resolved, scenario: Scenario) -> dict[str, tuple[str, str, str]]:
    """For each quantity its formula, the formula with numbers put in, and the result; empty for a
    model without formulas.

    >>> from vitcost.zoo import resolve
    >>> formulas_of(resolve("vit_base_patch16_224"), Scenario())["params"][2]
    '86567656'
    """
    if hasattr(model.config, "workload"):
        return {}
    scenario = replace(scenario, mode="train")
    sizes: Mapping[str, Any] = workload(model.config, scenario).sizes  # type: ignore[assignment]
    symbols = Sizes({axis: symbol(str(axis)) for axis in sizes})  # type: ignore[misc]
    try:
        # only the rows are computed: the peaks of a whole report take twenty times as long in
        # letters
        cost: Any = workload(model.config, scenario, symbols).rows().cost
    except NotCovered:
        return {}
    answers = {}
    for name in SHOWN:
        polynomial: Polynomial = getattr(cost, name)
        terms = sorted(polynomial.terms.items(), key=lambda term: -_value(term[0], term[1], sizes))
        letters = " + ".join(_spelled(product, n, {}) for product, n in terms)
        numbers = " + ".join(_spelled(product, n, sizes) for product, n in terms)
        total = sum(_value(product, n, sizes) for product, n in terms)
        answers[name] = letters, numbers, str(total)
    return answers


def _value(product: Product, n: int, sizes: Mapping[str, Any]) -> int:
    return n * prod(int(sizes[axis]) for axis in product)


def _spelled(product: Product, n: int, sizes: Mapping[str, Any]) -> str:
    """A product of letters, or of their sizes; a repeated letter becomes a power.

    >>> _spelled(("L", "h", "h"), 12, {}), _spelled(("L", "h", "h"), 1, {"L": 12, "h": 768})
    ('12*L*h**2', '12*768**2')
    """
    powers = Counter(product)
    factors = [str(n)] if n != 1 or not product else []
    for axis, power in powers.items():
        base = str(sizes.get(axis, axis))
        factors.append(base if power == 1 else f"{base}**{power}")
    return "*".join(factors)
