"""What a Vision Transformer costs before anyone runs it: parameters, FLOPs, memory, time."""

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
    from vitcost.hardware.catalogue import gpus
    from vitcost.hardware.files import calibrate, check_throughput
    from vitcost.planner.compare import Comparison, compare
    from vitcost.planner.fit import fit
    from vitcost.planner.plan import plan
    from vitcost.planner.sweep import Sweep, sweep
    from vitcost.zoo.modules import from_torch

__all__ = [
    "Comparison",
    "ConfigError",
    "MissingExtra",
    "NotCovered",
    "Report",
    "Scenario",
    "Sweep",
    "UnknownName",
    "ViTConfig",
    "VitcostError",
    "assert_budget",
    "budget",
    "calibrate",
    "check_throughput",
    "compare",
    "explain",
    "fit",
    "from_torch",
    "gpus",
    "models",
    "plan",
    "report",
    "summary",
    "sweep",
]
__version__ = "0.1.0"


# what a report does without is loaded when it is asked for
_LATER = {
    "calibrate": "vitcost.hardware.files",
    "check_throughput": "vitcost.hardware.files",
    "Comparison": "vitcost.planner.compare",
    "Sweep": "vitcost.planner.sweep",
    "compare": "vitcost.planner.compare",
    "fit": "vitcost.planner.fit",
    "from_torch": "vitcost.zoo.modules",
    "gpus": "vitcost.hardware.catalogue",
    "sweep": "vitcost.planner.sweep",
    "plan": "vitcost.planner.plan",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
