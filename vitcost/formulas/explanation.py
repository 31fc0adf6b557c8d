"""A quantity explained: the formula, the same with numbers put in, its result and its source."""

from collections.abc import Callable, Iterator, Mapping
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
    spelled = _of_symbols(row, resolved.config, scenario) if known is None else _of_text(known)
    return Explanation(
        model=resolved.name,
        quantity=quantity,
        unit=f"{row.unit}, {spelled.how}" if spelled.how else row.unit,
        formula=spelled.formula,
        substituted=spelled.substituted,
        value=spelled.value,
        reference=getattr(resolved.config, "reference", row.reference),
        terms=spelled.terms,
        letters=spelled.letters,
        latex=_latex(quantity, spelled) if latex else None,
        towers=2 if hasattr(resolved.config, "vision") else 1,
        note="; ".join(filter(None, (note, spelled.note))),
    )


class _Spelled(NamedTuple):
    """A formula as text, from either source."""

    formula: str
    substituted: str
    value: Value
    terms: tuple[Term, ...]
    letters: tuple[Letter, ...]
    how: str = ""
    note: str = ""


def _of_text(known: Fixed) -> _Spelled:
    """The formula as the textbook spells it."""
    compares = isinstance(known.value, tuple)
    shown = {name: f"O({text})" if compares else text for name, text in known.terms.items()}
    numbers = {name: put_in(text, known.numbers) for name, text in known.rounded.items()}
    letters = tuple(
        Letter(name, known.meanings.get(name, meaning(name)), known.numbers[name])
        for name in sorted(known.letters, key=in_order)
    )
    return _Spelled(
        known.whole or _together(shown, compares),
        put_in(known.whole, known.numbers) if known.whole else _together(numbers, compares),
        known.value,
        tuple(Term(name, shown[name], numbers[name], known.values[name]) for name in shown),
        letters,
    )


def _together(texts: Mapping[str, str], compares: bool) -> str:
    if compares:
        return "; ".join(f"{name}: {text}" for name, text in texts.items())
    return " + ".join(texts.values())


def _of_symbols(row: Formula, config: Any, scenario: Scenario) -> _Spelled:
    """The formula from the engine, with letters for sizes."""
    load()
    terms = RULES[row.rule](row, config, scenario)
    return _Spelled(
        _joined(terms, _formula),
        _joined(terms, _substituted),
        terms.value,
        tuple(_term(terms, name, expr) for name, expr in terms.terms.items()),
        _letters(terms),
        terms.how,
        terms.note,
    )


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


def _compares(terms: Found) -> bool:
    """Whether the terms are cells of a comparison, not summands."""
    return isinstance(terms.value, tuple)


def _joined(terms: Found, spell: Callable[[Found, Expr], str]) -> str:
    if _compares(terms):
        return "; ".join(f"{name}: {spell(terms, expr)}" for name, expr in terms.terms.items())
    shown = terms.terms.values() if terms.whole is None else [terms.whole]
    # a sum without terms is 0: SGD keeps no states
    return " + ".join(spell(terms, expr) for expr in shown) or "0"


def _formula(terms: Found, expr: Expr) -> str:
    return f"O({text(growth(expr))})" if _compares(terms) else text(expr)


def _substituted(terms: Found, expr: Expr) -> str:
    return text(expr, lambda letter: str(terms.numbers[letter]))


def _term(terms: Found, name: str, expr: Expr) -> Term:
    return Term(name, _formula(terms, expr), _substituted(terms, expr), value(expr, terms.numbers))


def _letters(terms: Found) -> tuple[Letter, ...]:
    used: set[str] = set()
    for expr in terms.terms.values():
        used.update(each.name for each in load().sympify(expr).free_symbols)
    return tuple(
        Letter(name, terms.meanings.get(name, meaning(name)), terms.numbers[name])
        for name in sorted(used, key=in_order)
    )
