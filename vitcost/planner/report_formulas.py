"""Formulas of a report's quantities, from the same report with symbols in place of sizes."""

from collections.abc import Iterable, Mapping
from functools import reduce
from math import gcd, prod
from typing import Any, NamedTuple, TypeAlias, cast

from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES
from vitcost.costs.report import report_on
from vitcost.engine.ops import Sizes, largest
from vitcost.engine.polynomial import Polynomial, Product, candidates, symbol, undominated
from vitcost.engine.structure import MANY
from vitcost.engine.workload import workload
from vitcost.zoo import Resolved

__all__ = ["Formulas", "Plan", "formulas"]

# a quantity is the maximum of its polynomials, for example of the moments of a peak; None: it is
# not exact
Formulas: TypeAlias = Mapping[str, tuple[Polynomial, ...] | None]

Numbers: TypeAlias = Any  # an integer, or an array of integers


def formulas(model: Resolved, scenario: Scenario, names: Iterable[str]) -> Formulas:
    """The quantities as polynomials in the axes of a model; they hold for every model of its
    structure. Raises ``VitcostError`` for a scenario that is not covered.

    >>> from vitcost.zoo import resolve
    >>> formulas(resolve("vit_base_patch16_224"), Scenario(), ["tokens"])
    {'tokens': (1*s,)}
    """
    sizes = workload(model.config, scenario).sizes
    letters = Sizes(cast(Any, {axis: symbol(str(axis)) for axis in sizes}))
    data = report_on(model, workload(model.config, scenario, letters)).to_dict()
    expressions: dict[str, Any] = {name: QUANTITIES[name].read(data) for name in names}
    return {
        name: None if value is None else undominated(candidates(value), _least(map(str, letters)))
        for name, value in expressions.items()
    }


def _least(axes: Iterable[str]) -> dict[str, int]:
    """The least value of each axis that counts blocks: a structure has such an axis only for many
    blocks."""
    return {axis: MANY for axis in axes if axis.startswith("L")}


class Plan:
    """Formulas with constant sizes put in, ready to be computed from columns of the other sizes.

    Terms that all candidates of a maximum share are added once; a sum of which several quantities
    are multiples is computed once.

    >>> h, s = symbol("h"), symbol("s")
    >>> plan = Plan({"most": (h * s + 2 * h, h * s + 3 * s), "none": None}, {"h": 5})
    >>> plan.values({"s": 7}), plan.values({"s": 2}), sorted(plan.axes)
    ({'most': 56, 'none': None}, {'most': 20, 'none': None}, ['s'])
    """

    def __init__(self, formulas: Formulas, constants: Mapping[str, int]) -> None:
        # the index of each sum in ``_sums``
        self._index: dict[Polynomial, int] = {}
        self._parts = {
            name: None if of is None else self._listed([each.put_in(constants) for each in of])
            for name, of in formulas.items()
        }
        self._sums = list(self._index)
        self.axes = {axis for each in self._sums for product in each.terms for axis in product}

    def _listed(self, of: list[Polynomial]) -> "tuple[_Multiple, tuple[_Multiple, ...]]":
        shared, differing = _shared(of)
        return self._multiple(shared), tuple(map(self._multiple, differing))

    def _multiple(self, of: Polynomial) -> "_Multiple":
        factor = gcd(*of.terms.values()) or 1
        return _Multiple(factor, self._index.setdefault(of // factor, len(self._index)))

    def bound(self, most: Mapping[str, int]) -> int:
        """An upper bound of every intermediate number of a quantity, for sizes up to ``most``."""
        sums = [_bound(each, most) for each in self._sums]
        highest = 0
        for parts in self._parts.values():
            if parts is not None:
                shared, *differing = (each.times * sums[each.of] for each in (parts[0], *parts[1]))
                highest = max(highest, shared + max(differing, default=0))
        return highest

    def values(self, sizes: Mapping[str, Numbers]) -> dict[str, Numbers]:
        """The quantities for the sizes of all axes; None: not exact."""
        products: dict[Product, Numbers] = {(): 1}
        sums: dict[int, Numbers] = {}

        def value(part: _Multiple) -> Numbers:
            if part.of not in sums:
                sums[part.of] = _sum(self._sums[part.of], sizes, products)
            return part.times * sums[part.of] if part.times > 1 else sums[part.of]

        numbers: dict[str, Numbers] = {}
        for name, parts in self._parts.items():
            numbers[name] = None
            if parts is not None:
                shared, differing = parts
                numbers[name] = value(shared)
                if differing:
                    numbers[name] = numbers[name] + reduce(largest, map(value, differing))
        return numbers


class _Multiple(NamedTuple):
    """A multiple of a sum: the factor, and the index of the sum."""

    times: int
    of: int


def _bound(of: Polynomial, most: Mapping[str, int]) -> int:
    return sum(
        abs(n) * prod(max(most[axis], 1) for axis in product) for product, n in of.terms.items()
    )


def _shared(of: list[Polynomial]) -> tuple[Polynomial, tuple[Polynomial, ...]]:
    """The terms that all candidates share, and the other terms of each candidate."""
    axes = {axis for each in of for product in each.terms for axis in product}
    left = undominated(of, _least(axes))
    if len(left) == 1:
        return left[0], ()
    shared = Polynomial(
        {
            product: min(each.terms.get(product, 0) for each in left)
            for product in {product for each in left for product in each.terms}
        }
    )
    return shared, tuple(each - shared for each in left)


def _sum(of: Polynomial, sizes: Mapping[str, Numbers], known: dict[Product, Numbers]) -> Numbers:
    total: Numbers = 0
    for product, n in of.terms.items():
        term = n * _product(product, sizes, known)
        if isinstance(total, int):
            total = total + term
        else:
            total += term
    return total


def _product(
    product: Product, sizes: Mapping[str, Numbers], known: dict[Product, Numbers]
) -> Numbers:
    """A product of sizes; ``known`` caches the products computed before."""
    if product not in known:
        known[product] = _product(product[:-1], sizes, known) * sizes[product[-1]]
    return known[product]
