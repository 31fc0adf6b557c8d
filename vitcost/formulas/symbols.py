"""Expressions over symbols: makes them, simplifies them, and writes them as text.

This is the only module that imports sympy, and only when a formula is asked for.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.engine.ops import Size
from vitcost.engine.polynomial import Largest, Polynomial
from vitcost.errors import MissingExtra

if TYPE_CHECKING:
    import sympy

__all__ = [
    "LETTERS",
    "Expr",
    "expression",
    "growth",
    "in_order",
    "largest_of",
    "load",
    "meaning",
    "symbol",
    "text",
    "tidy",
    "value",
]

Expr: TypeAlias = "sympy.Expr"

# the meanings of a formula's letters, in the order in which a product lists them
LETTERS = {
    "Φ": "parameters",
    "L": "depth",
    "b": "batch",
    "K": "classes",
    "V": "vocabulary",
    "P": "positions",
    "O": "width of the projection",
    "k": "width of a convolution's kernel",
    "a": "attention heads",
    "n": "patches",
    "t": "register tokens",
    "u": "tokens without registers",
    "kept": "patches that the blocks see",
    "s": "tokens",
    "c": "image channels",
    "H": "height of the image",
    "W": "width of the image",
    "p": "side of a patch",
    "p_h": "height of a patch",
    "p_w": "width of a patch",
    "h": "width",
    "m": "width of the MLP",
    "r": "width of the representation layer",
    "d": "width of a head",
    "d_2": "half the width of a head",
    "d_4": "a quarter of the width of a head",
    "w": "entries of a table of relative positions",
}

_SIDES = {"H": "height", "W": "width"}

# axes that have the same size in many models: if the sizes agree, the left axis is written as the
# right one
_EQUAL = (
    ("e_s", "s"), ("e_u", "u"), ("e_n", "n"),
    ("two_a", "2*a"), ("two_d", "2*d"), ("two_h", "2*h"), ("two_m", "2*m"),
    ("h_m", "h + m"), ("q_m", "3*h + m"), ("q", "3*h"), ("q", "3*a*d"),
    ("a*d", "h"), ("pool_a*pool_d", "h"), ("g_h*g_w", "n"), ("p_h*p_w", "p**2"),
    ("m", "4*h"), ("pool_m", "4*h"),
)  # fmt: skip


def load() -> Any:
    """sympy. Raises ``MissingExtra``, with the command that installs it, if it is missing.

    >>> load().Integer(12)
    12
    """
    try:
        import sympy
    except ImportError:
        raise MissingExtra("sympy", "explain", "explain") from None
    return sympy


def symbol(name: object) -> Any:
    """A size as a symbol: a positive integer.

    >>> 12 * symbol("h") ** 2, symbol("h").is_positive
    (12*h**2, True)
    """
    return load().Symbol(str(name), integer=True, positive=True)


# in a model of two towers, the axes of the text tower begin with this prefix
_TOWERS = ("", "text_")


@cache
def _equal() -> tuple[tuple[Expr, Expr], ...]:
    """The pairs of equal axes as expressions, for each tower."""
    names = {name for pair in _EQUAL for side in pair for name in re.findall(r"[A-Za-z_]+", side)}
    towers = [{name: symbol(tower + name) for name in names} for tower in _TOWERS]
    return tuple(
        (load().sympify(left, letters), load().sympify(right, letters))
        for letters in towers
        for left, right in _EQUAL
    )


def expression(size: "Size | Expr") -> Expr:
    """A polynomial in sizes that the engine computed, as an expression.

    >>> from vitcost.engine.polynomial import symbol
    >>> expression(symbol("h") * symbol("h") + 2 * symbol("m"))
    h**2 + 2*m
    """
    sp = load()
    if not isinstance(size, Polynomial):
        return sp.sympify(size)
    products = (
        sp.Mul(n, *(symbol(axis) ** times for axis, times in Counter(product).items()))
        for product, n in size.terms.items()
    )
    return sp.Add(*products)


def value(expr: "Size | Expr", numbers: Mapping[str, Size]) -> int:
    """The integer value of an expression with numbers put in.

    >>> value(12 * symbol("h") ** 2 + 13 * symbol("h"), {"h": 768})
    7087872
    """
    if isinstance(expr, Polynomial):
        # with all numbers put in, only a constant is left
        return expr.put_in(numbers).terms.get((), 0)
    sp = load()
    expr = sp.sympify(expr)
    return int(expr.xreplace({each: sp.Integer(numbers[each.name]) for each in expr.free_symbols}))


def tidy(expr: "Size | Expr", numbers: Mapping[str, Size]) -> Expr:
    """The expression in as few letters as the numbers allow, with the cost of a block factored out.

    >>> a, d, h, m = map(symbol, "adhm")
    >>> tidy(2 * a * d * m, {"a": 12, "d": 64, "h": 768, "m": 3072})
    8*h**2
    """
    expr = expression(expr)
    equal = (pair for pair in _equal() if _agrees(*pair, numbers))
    return _rewritten(expr, tuple(equal))


def _agrees(left: Expr, right: Expr, numbers: Mapping[str, Size]) -> bool:
    names = {letter.name for letter in left.free_symbols | right.free_symbols}
    return names <= numbers.keys() and value(left, numbers) == value(right, numbers)


@lru_cache(maxsize=1024)
def _rewritten(expr: Expr, equal: tuple[tuple[Expr, Expr], ...]) -> Expr:
    """Rewrites equal axes; cached, as models of one structure have one formula whatever their
    sizes."""
    for left, right in equal:
        if left.free_symbols <= expr.free_symbols:
            expr = expr.subs(left, right)
    depths = [each for each in expr.free_symbols if _bare(each.name).startswith("L")]
    return load().collect(load().expand(expr), sorted(depths, key=str))


def growth(expr: Expr) -> Expr:
    """An expression without rounding, which an order of growth leaves out.

    >>> growth(load().ceiling(symbol("s") / symbol("r")))
    s/r
    """
    sp = load()
    return sp.sympify(expr).replace(sp.ceiling, lambda argument: argument)


def largest_of(size: Size, numbers: Mapping[str, Size]) -> Size:
    """A size in letters; of several candidates, the one that is the largest with the numbers.

    >>> from vitcost.engine import polynomial
    >>> from vitcost.engine.ops import largest
    >>> h, m = polynomial.symbol("h"), polynomial.symbol("m")
    >>> expression(largest_of(largest(2 * h, m), {"h": 768, "m": 3072}))
    m
    """
    if not isinstance(size, Largest):
        return size
    return max(size.of, key=lambda each: value(each, numbers))


def in_order(name: str) -> tuple[int, str]:
    """A sort key for the letters of a product; axes without a letter come last.

    >>> sorted(["h", "zeta", "b", "L"], key=in_order)
    ['L', 'b', 'h', 'zeta']
    """
    order, letter = list(LETTERS), _bare(name)
    return (order.index(letter) if letter in order else len(order), name)


def meaning(name: str) -> str:
    """The meaning of a letter.

    >>> meaning("s"), meaning("text_s"), meaning("H1"), meaning("zeta")
    ('tokens', 'tokens, of the text', 'height of map 1 of the backbone', 'size of axis zeta')
    >>> meaning("s32")
    'tokens, filled up to a multiple of 32'
    """
    letter = _bare(name)
    known = LETTERS.get(letter, f"size of axis {letter}")
    padded = re.fullmatch(r"(\D+)(8|32)", letter)
    if padded and padded[1] in LETTERS and padded[1] not in _SIDES:
        known = f"{LETTERS[padded[1]]}, filled up to a multiple of {padded[2]}"
    side = re.fullmatch(r"([HW])(\d+)", letter)
    if side:
        known = f"{_SIDES[side[1]]} of map {side[2]} of the backbone"
    return known if letter == name else f"{known}, of the text"


def _bare(name: str) -> str:
    """A letter without the prefix of its tower."""
    return name.removeprefix(_TOWERS[1])


def text(expr: Expr, spell: Callable[[str], str] = str) -> str:
    """An expression in Python's spelling, with products in the order of the papers' letters.

    >>> b, s, h = map(symbol, "bsh")
    >>> text(24 * h**2 * b * s + 4 * h * b * s**2)
    '24*b*s*h**2 + 4*b*s**2*h'
    >>> text(12 * h**2 + 13 * h, {"h": "768"}.__getitem__)
    '12*768**2 + 13*768'
    """
    expr = load().sympify(expr)
    if expr.is_Symbol:
        return spell(expr.name)
    if expr.is_Add:
        return " + ".join(text(term, spell) for term in expr.as_ordered_terms())
    if expr.is_Pow:
        return f"{text(expr.base, spell)}**{text(expr.exp, spell)}"
    if expr.is_Mul:
        spelled = (
            f"({text(each, spell)})" if each.is_Add else text(each, spell)
            for each in sorted(expr.args, key=_place)
            if not _divides(each)
        )
        under = (text(1 / each, spell) for each in expr.args if _divides(each))
        return "/".join(["*".join(spelled), *under])
    if expr.is_Function:
        return f"{expr.func.__name__}({', '.join(text(arg, spell) for arg in expr.args)})"
    return str(expr)


def _place(factor: Expr) -> tuple[int, tuple[int, str]]:
    """A sort key: numbers come first, then letters, then sums."""
    kind = 0 if factor.is_Number else 2 if factor.is_Add else 1
    return kind, in_order(getattr(factor.as_base_exp()[0], "name", ""))


def _divides(factor: Expr) -> bool:
    return bool(factor.is_Pow and factor.exp.is_negative)
