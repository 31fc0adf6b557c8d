"""What a Vision Transformer costs before anyone runs it: parameters, FLOPs, memory."""

from typing import TYPE_CHECKING, Any

from vitcost.budget import assert_budget, budget
from vitcost.config import ViTConfig
from vitcost.errors import ConfigError, MissingExtra, NotCovered, UnknownName, VitcostError
from vitcost.explain import explain
from vitcost.models import models
from vitcost.report import Report, report
from vitcost.scenario import Scenario
from vitcost.summary import summary

if TYPE_CHECKING:
    from vitcost.zoo.modules import from_torch

__all__ = [
    "ConfigError",
    "MissingExtra",
    "NotCovered",
    "Report",
    "Scenario",
    "UnknownName",
    "ViTConfig",
    "VitcostError",
    "assert_budget",
    "budget",
    "explain",
    "from_torch",
    "models",
    "report",
    "summary",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # readers of modules are not needed by names
    if name == "from_torch":
        from vitcost.zoo.modules import from_torch

        return from_torch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
