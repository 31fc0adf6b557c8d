"""The formulas' numbers for every single module call, in the order in which the calls return."""

from collections.abc import Iterator
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import Cost, Row
from vitcost.engine.workload import workload

__all__ = ["Expected", "expected", "folded", "written_out"]


_PRECISIONS = {"fp32": "fp32", "amp": "amp-bf16", "half": "bf16"}


class Expected(NamedTuple):
    """One module call; or a parameter that sits on no layer (type ``Parameter``)."""

    path: str
    type: str
    shape: tuple[int, ...]
    cost: Cost


def folded(config: ViTConfig, batch: int, training: bool, kernel: str, precision: str) -> Row:
    """The engine's rows for a run on a CPU, where the witnesses count."""
    how = Scenario(
        batch=batch,
        mode="train" if training else "infer",
        precision=_PRECISIONS[precision],
        attention=kernel,
        platform="cpu",
    )
    return workload(config, how).rows()


def expected(
    config: ViTConfig,
    batch: int,
    training: bool = False,
    kernel: str = "eager",
    precision: str = "fp32",
) -> tuple[Expected, ...]:
    """Every call, one by one; a run of equal layers is written out.

    >>> [call.path for call in expected(ViTConfig(depth=2), 1)][-3:]
    ['pre_logits', 'head', '']
    """
    return tuple(written_out(folded(config, batch, training, kernel, precision)))


def written_out(row: Row, path: str = "") -> Iterator[Expected]:
    """The calls inside a row, then the call of the row itself; ``path`` is its module path."""
    for child in row.children:
        first, last = (p.rpartition(".")[2] for p in (child.path, child.last))
        names = [first] if first == last else [str(int(first) + i) for i in range(child.repeat)]
        for each in names:
            yield from written_out(child, f"{path}.{each}" if path else each)
    yield Expected(path, row.type, row.shape, row.cost)
