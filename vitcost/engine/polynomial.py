"""Polynomials in the sizes of axes. The engine's rules return them if sizes are symbols, and they
are evaluated on integers or on whole arrays of sizes.

A sum of products of axes with whole coefficients, or the largest of several such sums, is all that
the engine makes of sizes. sympy would do, but takes a second to load and a hundred times as long.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

__all__ = ["Largest", "Polynomial", "Product", "candidates", "symbol", "undominated"]

# the axes of a product in order, each as often as it occurs
Product: TypeAlias = tuple[str, ...]


class Polynomial:
    """A sum of products of sizes, none of which is negative.

    >>> h, m = symbol("h"), symbol("m")
    >>> 2 * h * m + m * h + h - h
    3*h*m
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Product, int]) -> None:
        self.terms = {product: n for product, n in terms.items() if n}

    def __add__(self, other: Any) -> "Polynomial":
        if not isinstance(other, Polynomial | int):
            return NotImplemented
        if not other:
            # a sum begins with 0
            return self
        terms = dict(self.terms)
        for product, n in _terms(other).items():
            terms[product] = terms.get(product, 0) + n
        return Polynomial(terms)

    def __mul__(self, other: Any) -> "Polynomial":
        if not isinstance(other, Polynomial | int):
            return NotImplemented
        if isinstance(other, int):
            return Polynomial({product: n * other for product, n in self.terms.items()})
        terms: dict[Product, int] = {}
        for left, n in self.terms.items():
            for right, m in other.terms.items():
                product = tuple(sorted((*left, *right)))
                terms[product] = terms.get(product, 0) + n * m
        return Polynomial(terms)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> "Polynomial":
        return self * -1

    def __sub__(self, other: "Polynomial | int") -> "Polynomial":
        return self + -1 * other

    def __rsub__(self, other: int) -> "Polynomial":
        return other + -self

    def __floordiv__(self, other: int) -> "Polynomial":
        """Divides only without remainder, as a remainder would depend on the sizes."""
        if any(n % other for n in self.terms.values()):
            raise ArithmeticError(f"{self} is no multiple of {other}")
        return Polynomial({product: n // other for product, n in self.terms.items()})

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial | int) and self.terms == _terms(other)

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        terms = ("*".join((str(n), *product)) for product, n in sorted(self.terms.items()))
        return " + ".join(terms) or "0"

    def largest(self, other: Any) -> "Largest":
        """The larger of two polynomials; it depends on the sizes."""
        return Largest((self,)).largest(other)

    def put_in(self, numbers: Mapping[str, int]) -> "Polynomial":
        """The polynomial after the known sizes are put in.

        >>> (symbol("L") * symbol("h") + symbol("h")).put_in({"L": 12})
        13*h
        """
        terms: dict[Product, int] = {}
        for product, n in self.terms.items():
            for axis in product:
                n *= numbers.get(axis, 1)
            left = tuple(axis for axis in product if axis not in numbers)
            terms[left] = terms.get(left, 0) + n
        return Polynomial(terms)


class Largest:
    """The largest of several polynomials; sizes decide which of them it is."""

    __slots__ = ("of",)

    def __init__(self, of: Iterable[Polynomial]) -> None:
        self.of = tuple(dict.fromkeys(of))

    def __add__(self, other: Any) -> "Largest":
        if not isinstance(other, Polynomial | int):
            return NotImplemented
        return Largest(each + other for each in self.of)

    __radd__ = __add__

    def largest(self, other: Any) -> "Largest":
        return Largest((*self.of, *candidates(other)))


def symbol(axis: str) -> Polynomial:
    """The size of an axis as a letter."""
    return Polynomial({(axis,): 1})


def candidates(value: "Largest | Polynomial | int") -> tuple[Polynomial, ...]:
    """The polynomials among which a value is the largest."""
    if isinstance(value, Largest):
        return value.of
    return (Polynomial(_terms(value)),)


def undominated(of: Iterable[Polynomial], least: Mapping[str, int]) -> tuple[Polynomial, ...]:
    """The polynomials that may be the largest; every other one is nowhere larger than one of these.

    ``least`` has the least size of an axis, where it is more than 0. A difference without negative
    coefficients, in the sizes above their least, is nowhere negative.

    >>> L, h = symbol("L"), symbol("h")
    >>> undominated([L * h, 2 * L * h - 5 * h, 7 * h], {"L": 6})
    (2*L*h + -5*h,)
    """
    left: list[tuple[Polynomial, Polynomial]] = []
    for each in dict.fromkeys(of):
        above = _above(each, least)
        if any(_nowhere_above(above, other) for _, other in left):
            continue
        left = [(one, other) for one, other in left if not _nowhere_above(other, above)]
        left.append((each, above))
    return tuple(each for each, _ in left)


def _above(each: Polynomial, least: Mapping[str, int]) -> Polynomial:
    """The polynomial in the amounts by which sizes exceed their least values."""
    above = Polynomial({})
    for product, n in each.terms.items():
        term = Polynomial({tuple(axis for axis in product if axis not in least): n})
        for axis in product:
            if axis in least:
                term = term * (symbol(axis) + least[axis])
        above = above + term
    return above


def _nowhere_above(one: Polynomial, other: Polynomial) -> bool:
    more = other.terms
    return all(n <= more.get(product, 0) for product, n in one.terms.items()) and all(
        n >= 0 for product, n in more.items() if product not in one.terms
    )


def _terms(value: "Polynomial | int") -> Mapping[Product, int]:
    return value.terms if isinstance(value, Polynomial) else {(): value} if value else {}
