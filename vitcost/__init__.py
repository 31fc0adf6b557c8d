"""The cost of a Vision Transformer before anyone runs it: parameters, FLOPs, memory, time."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vitcost.outside.version import VERSION

if TYPE_CHECKING:
    from vitcost.config.scenario import Scenario
    from vitcost.config.vit_config import ViTConfig
    from vitcost.costs.models import models
    from vitcost.costs.report import Report, report
    from vitcost.costs.summary import summary
    from vitcost.errors import ConfigError, MissingExtra, NotCovered, UnknownName, VitcostError
    from vitcost.formulas.explain import explain
    from vitcost.hardware.catalogue import gpus
    from vitcost.hardware.measurement_files import calibrate, check_throughput
    from vitcost.planner.budget import assert_budget, budget
    from vitcost.planner.compare import Comparison, compare
    from vitcost.planner.diff import diff
    from vitcost.planner.fit import fit
    from vitcost.planner.plan import plan
    from vitcost.planner.serve import serve
    from vitcost.planner.sweep import Sweep, sweep
    from vitcost.web import web
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
    "diff",
    "explain",
    "fit",
    "from_torch",
    "gpus",
    "models",
    "plan",
    "report",
    "serve",
    "summary",
    "sweep",
    "web",
]
__version__ = VERSION


# the module of each public name, imported when somebody asks for the name: help and version need
# none
_HOMES = {
    "config.scenario": "Scenario",
    "config.vit_config": "ViTConfig",
    "costs.models": "models",
    "costs.report": "Report report",
    "costs.summary": "summary",
    "errors": "ConfigError MissingExtra NotCovered UnknownName VitcostError",
    "formulas.explain": "explain",
    "hardware.catalogue": "gpus",
    "hardware.measurement_files": "calibrate check_throughput",
    "planner.budget": "assert_budget budget",
    "planner.compare": "Comparison compare",
    "planner.diff": "diff",
    "planner.fit": "fit",
    "planner.plan": "plan",
    "planner.serve": "serve",
    "planner.sweep": "Sweep sweep",
    "web": "web",
    "zoo.modules": "from_torch",
}
_HOME = {name: f"vitcost.{home}" for home, names in _HOMES.items() for name in names.split()}


class _Package(ModuleType):
    """The package module. It finds public names by the table, and keeps functions that share their
    name with a module: ``vitcost.web`` is the function, even after the module of that name was
    imported."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'vitcost' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_HOME[name]), name)
        super().__setattr__(name, value)
        return value

    def __dir__(self) -> list[str]:
        """The public names, imported or not, and none that the package uses only itself."""
        return sorted([*__all__, *(name for name in vars(self) if name.startswith("__"))])

    def __setattr__(self, name: str, value: object) -> None:
        # the import system sets each imported module as an attribute of its package
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
