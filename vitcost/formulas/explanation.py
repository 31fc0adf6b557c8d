"""A quantity explained: the formula, the same with numbers put in, its result and its source."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import EXPLAINED, QUANTITIES, RENAMED
from vitcost.costs.quantity import Formula
from vitcost.engine.ops import Size
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.formulas.fixed import Fixed, fixed, put_in
from vitcost.formulas.symbols import Expr, growth, in_order, load, meaning, text, value
from vitcost.formulas.terms import RULES, Found, Value
from vitcost.render.result import Result
from vitcost.render.tex import aligned, escaped, tex
from vitcost.zoo import Model, resolve

__all__ = ["Explanation", "Letter", "Term", "explained"]


class Term(NamedTuple):
    """One summand of a formula, or one cell of a comparison."""

    name: str
    formula: str
    substituted: str
    value: Size


class Letter(NamedTuple):
    """A letter of the formula, its meaning and its number."""

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
    note: str = ""  # notes on a renamed quantity, and on a large formula
    towers: int = 1
    lang: str = "en"  # the language of the text around the formula

    def pairs(self) -> tuple[str, ...]:
        """The name of the model, if it has two towers."""
        return (self.model,) if self.towers == 2 else ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.explain/1``; with ``latex`` and ``note`` if these are not
        empty."""
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
    """The explanation that ``vitcost.explain`` returns.

    >>> explained("vit_base_patch16_224", "params", False, {}, {"num_classes": 5}).value
    85802501
    """
    quantity, note = RENAMED.get(quantity.replace("-", "_"), (quantity.replace("-", "_"), ""))
    if quantity in QUANTITIES and quantity not in EXPLAINED:
        raise NotCovered(f"{quantity} is a fit of measured constants, and no formula in sizes")
    if quantity not in EXPLAINED:
        raise UnknownName("quantity", quantity, EXPLAINED, f"known: {', '.join(EXPLAINED)}")
    row = EXPLAINED[quantity]
    for flag in flags:
        if flag not in row.flags:
            hint = f"{quantity} depends on {', '.join(row.flags)}"
            raise ConfigError(f"{flag} has no part in the formula of {quantity}; {hint}")
    # a quantity that depends on the mode is, by default, that of a forward pass in eval
    mode = {} if "mode" in row.flags else {"mode": "train"}
    resolved = resolve(model, **overrides)
    scenario = Scenario.of(**{**mode, **flags}).added_to(resolved.flags)
    known = fixed(quantity, row, resolved.config, scenario)
    spelled, how, why = (
        _of_symbols(row, resolved.config, scenario) if known is None else (_of_text(known), "", "")
    )
    return Explanation(
        model=resolved.name,
        quantity=quantity,
        unit=f"{row.unit}, {how}" if how else row.unit,
        reference=getattr(resolved.config, "reference", row.reference),
        latex=_latex(quantity, spelled) if latex else None,
        towers=2 if hasattr(resolved.config, "vision") else 1,
        note="; ".join(filter(None, (note, why))),
        **spelled._asdict(),
    )


class _Spelled(NamedTuple):
    """A formula as text, from either source."""

    formula: str
    substituted: str
    value: Value
    terms: tuple[Term, ...]
    letters: tuple[Letter, ...]


def _of_text(known: Fixed) -> _Spelled:
    """The formula as the textbook spells it."""

    def term(name: str, formula: str, rounded: str, value: Size) -> Term:
        return Term(name, formula, put_in(rounded, known.numbers), value)

    shape = "O({})" if isinstance(known.value, tuple) else "{}"
    terms = tuple(
        term(name, shape.format(text), known.rounded[name], known.values[name])
        for name, text in known.terms.items()
    )
    whole = term("", known.whole, known.whole, known.value) if known.whole else None
    return _spelled(known, terms, whole, known.letters)


def _of_symbols(row: Formula, config: Any, scenario: Scenario) -> tuple[_Spelled, str, str]:
    """The formula from the engine, with letters for sizes; its scenario, and why letters are
    missing."""
    sp = load()
    found = RULES[row.rule](row, config, scenario)
    compares = isinstance(found.value, tuple)

    def term(name: str, expr: Expr) -> Term:
        numbers = found.numbers
        formula = f"O({text(growth(expr))})" if compares else text(expr)
        put = text(expr, lambda letter: str(numbers[letter]))
        return Term(name, formula, put, value(expr, numbers))

    terms = tuple(term(name, expr) for name, expr in found.terms.items())
    whole = None if found.whole is None else term("", found.whole)
    used = {each.name for x in found.terms.values() for each in sp.sympify(x).free_symbols}
    return _spelled(found, terms, whole, used), found.how, found.note


def _spelled(
    known: Fixed | Found, terms: tuple[Term, ...], whole: Term | None, letters: Iterable[str]
) -> _Spelled:
    """The terms one after another, or their sum in their place, with the letters of the terms."""
    shown = terms if whole is None else (whole,)
    compares = isinstance(known.value, tuple)
    return _Spelled(
        _joined({term.name: term.formula for term in shown}, compares),
        _joined({term.name: term.substituted for term in shown}, compares),
        known.value,
        terms,
        tuple(
            Letter(name, known.meanings.get(name, meaning(name)), known.numbers[name])
            for name in sorted(letters, key=in_order)
        ),
    )


def _joined(texts: Mapping[str, str], compares: bool) -> str:
    """Summands, or the cells of a comparison."""
    if compares:
        return "; ".join(f"{name}: {text}" for name, text in texts.items())
    # a sum without terms is 0: SGD keeps no states
    return " + ".join(texts.values()) or "0"


def _latex(quantity: str, spelled: _Spelled) -> str | None:
    """The formula, the numbers put in and the result, one below the other; a comparison has a line
    for each cell."""
    if not isinstance(spelled.value, tuple):
        return aligned([spelled.formula, spelled.substituted, f"{spelled.value:,}"], quantity)
    lines = []
    for term in spelled.terms:
        number = f"{term.value:,}".replace(",", "{,}")
        lines.append(rf"\text{{{escaped(term.name)}}} &= {tex(term.formula)} &&= {number}")
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"
