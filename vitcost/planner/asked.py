"""What a planner is asked: a model under a scenario, from keywords as ``report`` has them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vitcost.flags import check_layout
from vitcost.scenario import Scenario
from vitcost.zoo import Model, Resolved, resolve

__all__ = ["asked"]


def asked(model: Model, given: Mapping[str, Any], **fixed: Any) -> tuple[Resolved, Scenario]:
    """The model and the scenario that keywords describe; ``fixed`` ones come before those given.

    >>> found, scenario = asked("vit_base_patch16_224", {"img_size": 384, "mode": "train"}, batch=8)
    >>> found.config.img_size, scenario.mode, scenario.batch
    ((384, 384), 'train', 8)
    """
    names = {field.name for field in fields(Scenario)}
    flags = {name: value for name, value in given.items() if name in names}
    overrides = {name: value for name, value in given.items() if name not in names}
    scenario = Scenario.of(**{**flags, **fixed})
    found = resolve(model, **overrides)
    check_layout(found.config, scenario)
    return found, scenario.added_to(found.flags)
