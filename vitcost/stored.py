"""Weights stored for inference alone, in fewer bytes than a model computes with."""

from vitcost.engine.ops import Size, Sizes
from vitcost.engine.parameters import parameters
from vitcost.engine.tree import Node
from vitcost.errors import ConfigError
from vitcost.scenario import PRECISIONS, Scenario

__all__ = ["STORAGES", "stored_weights"]

# bytes of an element of a stored matrix, by how a model is stored for inference
STORAGES = {"int8": 1}


def stored_weights(tree: Node, sizes: Sizes, scenario: Scenario, storage: str) -> Size:
    """Weights stored for inference alone: the matrices of linear layers as integers, with a scale
    for each output channel in the scenario's precision; everything else stays as it is.

    Source: weight-only quantization of ``nn.Linear`` by output channel, as torchao's
    ``Int8WeightOnlyConfig`` has it.
    """
    if storage not in STORAGES:
        raise ConfigError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}")
    e = PRECISIONS[scenario.precision].param_bytes
    total: Size = 0
    for parameter in parameters(tree):
        axes = parameter.tensor.axes
        one = e * parameter.numel(sizes)
        if parameter.kind == "linear" and len(axes) == 2:
            one = STORAGES[storage] * parameter.numel(sizes) + e * sizes[axes[0]]
        total = total + parameter.repeat(sizes) * one
    return total
