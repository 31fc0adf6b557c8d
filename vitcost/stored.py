"""Weights stored for inference alone, in fewer bytes than a model computes with."""

from vitcost.engine.ops import Size
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError

__all__ = ["STORAGES", "stored_weights"]

# bytes of an element of a stored matrix, by how a model is stored for inference
STORAGES = {"int8": 1}


def stored_weights(run: Workload, storage: str) -> Size:
    """Weights stored for inference alone: the matrices of linear layers as integers, with a scale
    for each output channel in the parameters' precision; everything else stays as it is.

    Source: weight-only quantization of ``nn.Linear`` by output channel, as torchao's
    ``Int8WeightOnlyConfig`` has it.
    """
    if storage not in STORAGES:
        raise ConfigError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}")
    e, sizes = run.param_bytes, run.sizes
    total: Size = 0
    for parameter in run.parameters():
        axes = parameter.tensor.axes
        one = e * parameter.numel(sizes)
        if parameter.kind == "linear" and len(axes) == 2:
            one = STORAGES[storage] * parameter.numel(sizes) + e * sizes[axes[0]]
        total = total + parameter.repeat(sizes) * one
    return total
