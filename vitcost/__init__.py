"""What a Vision Transformer costs before anyone runs it: parameters, FLOPs, memory."""

from vitcost.config import ViTConfig
from vitcost.errors import ConfigError, MissingExtra, NotCovered, UnknownName, VitcostError
from vitcost.explain import explain
from vitcost.report import Report, report
from vitcost.scenario import Scenario
from vitcost.summary import summary

__all__ = [
    "ConfigError",
    "MissingExtra",
    "NotCovered",
    "Report",
    "Scenario",
    "UnknownName",
    "ViTConfig",
    "VitcostError",
    "explain",
    "report",
    "summary",
]
__version__ = "0.1.0"
