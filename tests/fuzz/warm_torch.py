"""What a torch module costs the first time is done once, so that no fork pays for it."""

from torch import nn

from vitcost import from_torch, report
from vitcost.render import render

__all__ = ["warm"]


def warm() -> None:
    render(report(from_torch(nn.Sequential(nn.Linear(224, 4)))), "table")
