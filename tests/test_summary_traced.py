"""The table of a traced module against a run of torchsummary's own hooks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from traced_modules import CASES

import vitcost
from vitcost.costs.summary import summarize
from vitcost.errors import NotCovered
from vitcost.zoo.trace_file import trace


def hooked(model: nn.Module, *inputs: torch.Tensor) -> list[tuple[str, Any, int, bool | None]]:
    """The rows of torchsummary 1.5.1 by its rules (torchsummary.py, register_hook): every module
    that ``apply`` comes to, no Sequential, no ModuleList, and not the model itself."""
    rows: list[tuple[str, Any, int, bool | None]] = []
    handles = []

    def hook(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, list | tuple):
            shape: Any = [[-1, *o.size()[1:]] for o in output]
        else:
            shape = [-1, *output.size()[1:]]
        params, trains = 0, None
        for name in ("weight", "bias"):
            own = getattr(module, name, None)
            if hasattr(own, "size"):
                params += own.numel()
                trains = own.requires_grad if name == "weight" else trains
        kind = str(module.__class__).split(".")[-1].split("'")[0]
        rows.append((kind, shape, params, trains))

    def register(module: nn.Module) -> None:
        if not isinstance(module, nn.Sequential | nn.ModuleList) and module is not model:
            handles.append(module.register_forward_hook(hook))

    model.apply(register)
    with torch.no_grad():
        model.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return rows


class Shared(nn.Module):
    """A layer of two parents, an activation that is called twice, outputs in a tuple, a frozen
    layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)
        self.act = nn.ReLU()
        self.wrapped = nn.ModuleDict({"again": self.one})
        self.norm = nn.LayerNorm(6).requires_grad_(False)
        self.split = Split()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.split(self.act(self.norm(self.act(self.one(x)))))
        return functional.relu(a + b)


class Split(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.chunk(2, 1)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Shared, (6,)),
        (CASES["U-shaped segmenter"].make, (3, 16, 16)),
        (CASES["frozen backbone"].make, (3, 32, 32)),
        (CASES["convnext"].make, (3, 64, 64)),
    ],
    ids=["shared", "segmenter", "frozen", "convnext"],
)
def test_rows_are_those_of_torchsummary(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    model = make()
    rows = hooked(model, torch.zeros(2, *shape))
    found = vitcost.from_torch(model, inputs="x".join(map(str, shape)))
    lines = vitcost.summary(found).splitlines()
    assert lines[3 : 3 + len(rows)] == [
        f"{f'{kind}-{i}':>20}  {sizes!s:>25} {params:>15,}"
        for i, (kind, sizes, params, _) in enumerate(rows, 1)
    ]
    total, trainable = sum(r[2] for r in rows), sum(r[2] for r in rows if r[3])
    assert f"Total params: {total:,}" in lines
    assert f"Trainable params: {trainable:,}" in lines
    assert f"Non-trainable params: {total - trainable:,}" in lines


def test_the_end_is_that_of_torchsummary(tmp_path: Path) -> None:
    """Its sums: outputs twice, 4 bytes each, and the batch that was asked for."""
    found = vitcost.from_torch(nn.Sequential(nn.Linear(1000, 2000), nn.ReLU()), inputs="1000")
    text = vitcost.summary(found, batch=8)
    assert f"{'Linear-1':>20}  {'[8, 2000]':>25} {'2,002,000':>15}" in text
    assert f"Input size (MB): {1000 * 8 * 4 / 2**20:.2f}" in text
    assert f"Forward/backward pass size (MB): {2 * 2 * 8 * 2000 * 4 / 2**20:.2f}" in text
    file = trace(found, str(tmp_path / "x.json"))
    assert vitcost.summary(file.path, batch=8) == text
    assert "the model has 2,002,000" in summarize(file.path).notes[0]


def test_where_torchsummary_stops_is_said() -> None:
    class Named(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": x}

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.layer = Named(), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.inner(x)["y"])

    with pytest.raises(NotCovered, match=re.escape("torchsummary stops at inner, a Named")):
        vitcost.summary(vitcost.from_torch(Outer(), inputs="3"))
