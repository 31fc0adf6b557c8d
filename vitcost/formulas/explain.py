"""``explain``: a formula, the same with numbers put in, its result and its source. No formula is
stored for it: the engine and the textbook run on symbols in place of sizes.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vitcost.config.flags import apart
from vitcost.errors import UnknownName
from vitcost.outside.arguments import flag, takes, text
from vitcost.zoo import Model

if TYPE_CHECKING:
    from vitcost.formulas.explanation import Explanation

__all__ = ["LANGUAGES", "explain"]

# languages of the text around a formula
LANGUAGES = ("en", "zh")


@takes(quantity=text, latex=flag, lang=text)
def explain(
    model: Model, quantity: str, *, latex: bool = False, lang: str = "en", **flags: Any
) -> "Explanation":
    """The formula of a quantity, with the numbers of a model put in, and its exact result.

    ``flags`` are fields of the config (``num_classes=5``) and of the scenario (``batch=8``,
    ``precision="amp-bf16"``), as ``report`` takes them; a flag on which the quantity does not
    depend is refused. ``lang`` is the language of the text around the formula, ``en`` or ``zh``.

    Raises ``UnknownName`` for a quantity or model, ``NotCovered`` for a model that does not have
    the quantity, ``ConfigError`` for a flag, ``MissingExtra`` without sympy.

    >>> base = explain("vit_base_patch16_224", "params", num_classes=5)
    >>> base.formula
    'c*p**2*h + h + h + s*h + L*(12*h**2 + 13*h) + 2*h + K*h + K'
    >>> base.value
    85802501
    >>> explain("vit_base_patch16_224", "saved-activations", batch=8, precision="bf16").value
    470862050
    """
    # imported only for a formula, since sympy is slow to import
    from vitcost.formulas.explanation import explained

    flags_of_scenario, overrides = apart(flags)
    if lang not in LANGUAGES:
        raise UnknownName("language", lang, LANGUAGES, f"allowed: {', '.join(LANGUAGES)}")
    return replace(explained(model, quantity, latex, flags_of_scenario, overrides), lang=lang)
