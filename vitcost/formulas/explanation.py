"""A quantity explained: the formula, the same with numbers put in, its result and its source."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vitcost.engine.ops import Size
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.formulas.symbols import Expr, growth, in_order, latex, load, meaning, text, value
from vitcost.formulas.terms import RULES, Found, Value
from vitcost.quantities import EXPLAINED, QUANTITIES, RENAMED
from vitcost.result import Result
from vitcost.scenario import Scenario
from vitcost.zoo import Model, resolve

__all__ = ["Explanation", "Letter", "Term", "explained"]


class Term(NamedTuple):
    """One summand of a formula, or one cell of a comparison."""

    name: str
    formula: str
    substituted: str
    value: Size


class Letter(NamedTuple):
    """What a letter of the formula stands for, and its number."""

    letter: str
    meaning: str
    value: Size


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation(Result):
    """A quantity of a model: formula, numbers put in, result."""

    model: str
    quantity: str
    unit: str
    formula: str
    substituted: str
    value: Value
    reference: str
    terms: tuple[Term, ...]
    letters: tuple[Letter, ...]
    latex: str | None = None
    note: str = ""  # of a quantity by a name that it had, and of a formula that is large
    towers: int = 1

    def pairs(self) -> tuple[str, ...]:
        """The model, where it is of two towers."""
        return (self.model,) if self.towers == 2 else ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.explain/1``; ``latex`` and ``note`` where there are any."""
        rows = self.value
        return {
            "schema": "vitcost.explain/1",
            "model": self.model,
            "quantity": self.quantity,
            "unit": self.unit,
            "formula": self.formula,
            "substituted": self.substituted,
            "value": [row._asdict() for row in rows] if isinstance(rows, tuple) else rows,
            "reference": self.reference,
            "terms": [term._asdict() for term in self.terms],
            "letters": {each.letter: each.value for each in self.letters},
            **({} if self.latex is None else {"latex": self.latex}),
            **({"note": self.note} if self.note else {}),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every term as a flat row."""
        for term in self.terms:
            yield term._asdict()


def explained(
    model: Model, quantity: str, latex: bool, flags: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Explanation:
    """The explanation that ``vitcost.explain`` returns."""
    quantity, note = RENAMED.get(quantity.replace("-", "_"), (quantity.replace("-", "_"), ""))
    if quantity in QUANTITIES and quantity not in EXPLAINED:
        raise NotCovered(f"{quantity} is a fit of measured constants, and no formula in sizes")
    if quantity not in EXPLAINED:
        raise UnknownName("quantity", quantity, EXPLAINED, f"known: {', '.join(EXPLAINED)}")
    load()
    row = EXPLAINED[quantity]
    for flag in flags:
        if flag not in row.flags:
            hint = f"{quantity} depends on {', '.join(row.flags)}"
            raise ConfigError(f"{flag} has no part in the formula of {quantity}; {hint}")
    # one that depends on the mode is of a forward pass in eval unless it is told
    mode = {} if "mode" in row.flags else {"mode": "train"}
    resolved = resolve(model, **overrides)
    scenario = Scenario.of(**{**mode, **flags}).added_to(resolved.flags)
    found = RULES[row.rule](row, resolved.config, scenario)
    return Explanation(
        model=resolved.name,
        quantity=quantity,
        unit=f"{row.unit}, {found.how}" if found.how else row.unit,
        formula=_joined(found, _formula),
        substituted=_joined(found, _substituted),
        value=found.value,
        reference=getattr(resolved.config, "reference", row.reference),
        terms=tuple(_term(found, name, expr) for name, expr in found.terms.items()),
        letters=_letters(found),
        latex=_joined(found, _latex) if latex else None,
        towers=2 if hasattr(resolved.config, "vision") else 1,
        note="; ".join(filter(None, (note, found.note))),
    )


def _compares(found: Found) -> bool:
    """Whether the terms are cells of a comparison, and no summands."""
    return isinstance(found.value, tuple)


def _joined(found: Found, spell: Callable[[Found, Expr], str]) -> str:
    if _compares(found):
        return "; ".join(f"{name}: {spell(found, expr)}" for name, expr in found.terms.items())
    shown = found.terms.values() if found.whole is None else [found.whole]
    return " + ".join(spell(found, expr) for expr in shown)


def _formula(found: Found, expr: Expr) -> str:
    return f"O({text(growth(expr))})" if _compares(found) else text(expr)


def _substituted(found: Found, expr: Expr) -> str:
    return text(expr, lambda letter: str(found.numbers[letter]))


def _latex(found: Found, expr: Expr) -> str:
    return rf"O\left({latex(growth(expr))}\right)" if _compares(found) else latex(expr)


def _term(found: Found, name: str, expr: Expr) -> Term:
    return Term(name, _formula(found, expr), _substituted(found, expr), value(expr, found.numbers))


def _letters(found: Found) -> tuple[Letter, ...]:
    used: set[str] = set()
    for expr in found.terms.values():
        used.update(each.name for each in load().sympify(expr).free_symbols)
    return tuple(
        Letter(name, found.meanings.get(name, meaning(name)), found.numbers[name])
        for name in sorted(used, key=in_order)
    )
