"""What a torch module costs the first time is done once, so that no fork pays for it.

torch's autograd has threads of its own, which a fork does not take along: no backward runs here.
"""

import pkgutil
from importlib import import_module

import torch
from torch import nn

import vitcost.traced

__all__ = ["warm"]


def warm() -> None:
    for info in pkgutil.iter_modules(vitcost.traced.__path__, "vitcost.traced."):
        import_module(info.name)
    with torch.no_grad(), torch.device("meta"):
        nn.Sequential(nn.Conv2d(3, 4, 4), nn.Linear(5, 4), nn.GELU())(torch.empty(1, 3, 8, 8))
