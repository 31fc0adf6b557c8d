"""The question of a planner: a model under a scenario, from the keywords that ``report`` takes."""

from collections.abc import Mapping
from typing import Any

from vitcost.config.flags import apart, check_layout
from vitcost.config.scenario import RECIPES, Scenario
from vitcost.errors import NotCovered
from vitcost.hardware.cards import Card
from vitcost.hardware.default_precision import AUTO
from vitcost.zoo import Model, Resolved, resolve

__all__ = ["asked", "check_stated"]

# torch's own bytes of model states; this recipe leaves the precision free
_TORCH = RECIPES["torch"]


def asked(
    model: Model, keywords: Mapping[str, Any], *, automatic: str = "", **fixed: Any
) -> tuple[Resolved, Scenario]:
    """The model and the scenario that keywords describe; ``fixed`` keywords overrule them. Without
    a precision, or with ``auto``, the precision is ``automatic``; a recipe, a module, and a file of
    traces in one precision keep their own. Raises ``VitcostError`` for an unknown name, field or
    value.

    >>> found, scenario = asked("vit_base_patch16_224", {"img_size": 384, "mode": "train"}, batch=8)
    >>> found.config.img_size, scenario.mode, scenario.batch
    ((384, 384), 'train', 8)
    """
    flags, overrides = apart(keywords)
    resolved = resolve(model, **overrides)
    named = flags.get("precision")
    if automatic and (named is None or (isinstance(named, str) and named == AUTO)):
        fixed_precision = (
            "precision" in resolved.flags or RECIPES.get(flags.get("recipe", "torch")) != _TORCH
        )
        held: tuple[str, ...] = getattr(resolved.config, "precisions", ())
        # a file of traces in one precision cannot be asked in another
        automatic = held[0] if len(held) == 1 else automatic
        flags["precision"] = None if fixed_precision else automatic
    scenario = Scenario.of(**{**flags, **fixed})
    check_layout(resolved.config, scenario)
    return resolved, scenario.added_to(resolved.flags)


def check_stated(card: Card, figure: float | None, name: str) -> None:
    """Refuses a card without a figure that the question needs: it is asked for, not guessed.

    >>> from vitcost.hardware.specs import own_card
    >>> check_stated(own_card("mine", {"memory_gb": 24}), None, "link_gbps")
    Traceback (most recent call last):
    vitcost.errors.NotCovered: no source states link_gbps of mine; give it: -g 'mine,link_gbps=…'
    """
    if figure is None:
        raise NotCovered(
            f"no source states {name} of {card.name}; give it: -g '{card.name},{name}=…'"
        )
