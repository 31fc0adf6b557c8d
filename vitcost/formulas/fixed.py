"""Formulas of a plain Vision Transformer as the textbook spells them, for which sympy is not
needed.

A formula is used only if it gives the engine's numbers part by part, for the model itself, for
another depth, for another number of classes and for another batch.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from vitcost import textbook
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.costs.quantity import Formula
from vitcost.engine.ops import Size
from vitcost.engine.workload import workload
from vitcost.errors import VitcostError
from vitcost.formulas.terms import summands, window_of

__all__ = ["FIXED", "Fixed", "fixed", "put_in"]

_RULE = {
    "half weights": "2*Φ", "full weights": "4*Φ", "half gradients": "2*Φ",
    "full gradients": "4*Φ", "first moments": "4*Φ", "second moments": "4*Φ",
}  # fmt: skip
# Vaswani et al. 2017, Table 1: the order of growth; then the rounded number, if it is rounded
_COMPLEXITY = {
    "self-attention, work": ("s**2*h", ""),
    "self-attention, sequential": ("1", ""),
    "self-attention, path": ("1", ""),
    "recurrent, work": ("s*h**2", ""),
    "recurrent, sequential": ("s", ""),
    "recurrent, path": ("s", ""),
    "convolutional, work": ("k*s*h**2", ""),
    "convolutional, sequential": ("1", ""),
    "convolutional, path": ("log(s)/log(k)", "ceiling(log(s)/log(k))"),
    "restricted self-attention, work": ("s*h*r", ""),
    "restricted self-attention, sequential": ("1", ""),
    "restricted self-attention, path": ("s/r", "ceiling(s/r)"),
}
_GROWTH = {name: growth for name, (growth, _) in _COMPLEXITY.items()}
# each term of a quantity; the row with an empty name is their sum, if that reads better than the
# terms
FIXED: Mapping[str, Mapping[str, str]] = {
    "params": {
        "patch_embed": "c*p**2*h + h",
        "tokens": "h",
        "pos_embed": "s*h",
        "blocks": "L*(12*h**2 + 13*h)",
        "norm": "2*h",
        "head": "K*h + K",
    },
    "macs": {
        "patch_embed": "b*n*c*p**2*h",
        "blocks": "L*(12*b*s*h**2 + 2*b*s**2*h)",
        "head": "b*K*h",
    },
    "flops": {
        "patch_embed": "2*b*n*c*p**2*h",
        "blocks": "L*(24*b*s*h**2 + 4*b*s**2*h)",
        "head": "2*b*K*h",
    },
    "backward_flops": {
        "patch_embed": "2*b*n*c*p**2*h",
        "blocks": "L*(48*b*s*h**2 + 8*b*s**2*h)",
        "head": "4*b*K*h",
    },
    "train_flops": {
        "patch_embed": "4*b*n*c*p**2*h",
        "blocks": "L*(72*b*s*h**2 + 12*b*s**2*h)",
        "head": "6*b*K*h",
    },
    "attention_flops": {
        "attn.qkv": "6*L*b*s*h**2",
        "attn.proj": "2*L*b*s*h**2",
        "attn products": "4*L*b*s**2*h",
        "": "L*(8*b*s*h**2 + 4*b*s**2*h)",
    },
    "mlp_flops": {
        "mlp.fc1": "8*L*b*s*h**2",
        "mlp.fc2": "8*L*b*s*h**2",
        "": "16*L*b*s*h**2",
    },
    "rule_of_thumb_inference": {"weights": "2*Φ"},
    "rule_of_thumb_training": _RULE,
    "complexity": _GROWTH,
}


class Fixed(NamedTuple):
    """Terms in letters, and their values. Terms of a comparison are orders of growth, whose values
    ``rounded`` has as text."""

    terms: Mapping[str, str]
    rounded: Mapping[str, str]
    values: Mapping[str, int]
    numbers: Mapping[str, Size]
    value: Any
    meanings: Mapping[str, str] = {}
    whole: str = ""  # the sum of the terms, if it reads better than the list of terms

    @property
    def letters(self) -> set[str]:
        """Every letter of the terms."""
        used = (re.findall(r"[^\W\d]\w*", text) for text in self.terms.values())
        return {name for names in used for name in names} - {"log", "ceiling"}


def fixed(quantity: str, of: Formula, config: Any, scenario: Scenario) -> Fixed | None:
    """The textbook's terms of a quantity for a model; None if no exact terms are known.

    >>> from vitcost.costs.quantities import EXPLAINED
    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> params = fixed("params", EXPLAINED["params"], config, Scenario())
    >>> params.terms["blocks"], params.values["blocks"] == 12 * (12 * 768**2 + 13 * 768)
    ('L*(12*h**2 + 13*h)', True)
    """
    if quantity not in FIXED or type(config) is not ViTConfig:
        return None
    terms = _at(quantity, of, config, scenario)
    if terms is None or of.rule != "cost":
        return terms
    try:
        other = configure(config, depth=config.depth + 1, num_classes=config.num_classes + 3)
        again = _at(quantity, of, other, replace(scenario, batch=scenario.batch + 1))
    except VitcostError:
        return None
    return terms if again is not None else None


def _at(quantity: str, of: Formula, config: ViTConfig, scenario: Scenario) -> Fixed | None:
    """The terms with one model's numbers; None if the engine's parts differ."""
    run = workload(config, scenario).at(scenario.batch)
    if of.rule == "thumb":
        numbers: dict[str, Size] = {"Φ": run.rows().cost.params}
        terms = FIXED[quantity]
        values = {name: value_of(text, numbers) for name, text in terms.items()}
        return Fixed(terms, terms, values, numbers, sum(values.values()))
    if of.rule == "complexity":
        return _compared(run.axis("s"), run.axis("h"))
    numbers, parts = summands(run, of)
    named = {name: text for name, text in FIXED[quantity].items() if name}
    try:
        values = {name: value_of(text, numbers) for name, text in named.items()}
    except KeyError:
        return None
    known = {name: n for name, n in values.items() if n}
    if known != {name: n for name, n in parts.items() if n}:
        return None
    terms = {name: text for name, text in named.items() if values[name]}
    whole = FIXED[quantity].get("", "")
    return Fixed(terms, terms, values, numbers, sum(values.values()), whole=whole)


def _compared(s: Size, h: Size) -> Fixed:
    numbers, meanings = window_of(s, h)
    rows = textbook.layer_complexities(*numbers.values())
    values = {
        f"{row.layer}, {column}": number
        for row in rows
        for column, number in zip(row._fields[1:], row[1:], strict=True)
    }
    rounded = {name: whole or growth for name, (growth, whole) in _COMPLEXITY.items()}
    return Fixed(FIXED["complexity"], rounded, values, numbers, rows, meanings)


def put_in(formula: str, numbers: Mapping[str, Size]) -> str:
    """A formula with numbers in place of its letters.

    >>> put_in("12*h**2 + log(h)", {"h": 768})
    '12*768**2 + log(768)'
    """
    return re.sub(r"[^\W\d]\w*", lambda letter: str(numbers.get(letter[0], letter[0])), formula)


def value_of(formula: str, numbers: Mapping[str, Size]) -> int:
    """The integer value of a sum of products. Raises ``KeyError`` for a letter without a number.

    >>> value_of("L*(12*h**2 + 13*h)", {"L": 2, "h": 10})
    2660
    """
    return _value(ast.parse(formula, mode="eval").body, numbers)


def _value(node: ast.expr, numbers: Mapping[str, Size]) -> int:
    if isinstance(node, ast.Constant):
        return int(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return numbers[node.id]
    assert isinstance(node, ast.BinOp), node
    left, right = _value(node.left, numbers), _value(node.right, numbers)
    if isinstance(node.op, ast.Add):
        return left + right
    return left**right if isinstance(node.op, ast.Pow) else left * right
