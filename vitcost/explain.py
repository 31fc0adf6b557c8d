"""``explain``: a formula, the same with numbers put in, its result and where it comes from.

No formula is written down for it: the engine and the textbook are run on symbols in place of sizes,
and what comes out is printed.
"""

from typing import TYPE_CHECKING, Any

from vitcost.zoo import Model

if TYPE_CHECKING:
    from vitcost.formulas.explanation import Explanation

__all__ = ["explain"]


def explain(
    model: Model, quantity: str, *, batch: int = 1, latex: bool = False, **overrides: Any
) -> "Explanation":
    """The formula of a quantity, with the numbers of a model put in, and its exact result.

    Raises ``UnknownName`` for a quantity or model, ``NotCovered`` for a model that lacks what is
    asked for, ``MissingExtra`` without sympy.

    >>> base = explain("vit_base_patch16_224", "params", num_classes=5)
    >>> base.formula
    'c*p**2*h + h + h + s*h + L*(12*h**2 + 13*h) + 2*h + K*h + K'
    >>> base.value
    85802501
    """
    # only who asks for a formula loads what makes one: every other command starts without
    from vitcost.formulas.explanation import explained

    return explained(model, quantity, batch, latex, overrides)
