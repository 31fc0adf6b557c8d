"""Weights that are stored for inference in fewer bytes than the model computes with."""

from collections.abc import Mapping

from vitcost.config.records import Record
from vitcost.engine.ops import Size
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError

__all__ = ["STORAGES", "Storage", "stored_weights"]


class Storage(Record):
    """How a matrix of a linear layer is stored: ``packed`` elements per byte; and, for each
    ``group`` of elements in a row (0: for each row), ``beside`` bytes and ``numbers`` numbers in
    the parameters' own type. A row that does not divide into whole groups is stored unchanged."""

    packed: int
    group: int
    beside: int
    numbers: int
    source: str


_TORCHAO = "torchao 0.18.0"
STORAGES: Mapping[str, Storage] = {
    "int8": Storage(1, 0, 5, 0, f"{_TORCHAO}, Int8WeightOnlyConfig: a scale in fp32, a zero point"),
    "fp8": Storage(1, 0, 4, 0, f"{_TORCHAO}, Float8WeightOnlyConfig: a scale in fp32"),
    "int4": Storage(2, 128, 0, 2, f"{_TORCHAO}, Int4WeightOnlyConfig: a scale and a zero point"),
}


def stored_weights(run: Workload, storage: str) -> Size | None:
    """Bytes of weights stored for inference: matrices of linear layers in fewer bits, with scales;
    everything else unchanged. A matrix of n elements in d rows takes ``n + beside · d``, in groups
    of g elements ``n / packed + n / g · (beside + e · numbers)``. None for groups if the length of
    rows is not an integer. Raises ``ConfigError`` for a storage that ``STORAGES`` does not have.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> tiny = workload(resolve("vit_tiny_patch16_224").config, Scenario(precision="bf16"))
    >>> [stored_weights(tiny, storage) for storage in ("int8", "fp8", "int4")]
    [6043096, 6021360, 8835920]
    """
    if storage not in STORAGES:
        raise ConfigError(f"storage must be one of {', '.join(STORAGES)}, got {storage!r}")
    how, e, sizes = STORAGES[storage], run.param_bytes, run.sizes
    total: Size = 0
    for parameter in run.parameters():
        axes = parameter.tensor.axes
        elements = parameter.numel(sizes)
        one = e * elements
        if parameter.kind == "linear" and len(axes) == 2:
            rows, columns = sizes[axes[0]], sizes[axes[1]]
            if how.group and not isinstance(columns, int):
                return None
            if not how.group:
                one = elements + how.beside * rows
            elif columns % how.group == 0:
                each = how.beside + e * how.numbers
                one = elements // how.packed + elements // how.group * each
        total = total + parameter.repeat(sizes) * one
    return total
