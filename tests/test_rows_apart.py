"""A linear layer of rows that lie apart: the operators that torch runs, and the engine's ops."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from vitcost.engine.forward_trace import Forward, Ledger
from vitcost.engine.live import Place, peak
from vitcost.engine.ops import Sizes, Tensor, axes
from vitcost.engine.trainable import freeze
from vitcost.engine.tree import Module, Node, linear, ops_of
from vitcost.engine.unroll import unroll
from vitcost.engine.walk import Walk

# torch's operators of a linear layer, by the kind of op that the engine has
KINDS = {
    "_to_copy": "cast", "clone": "copy", "mm": "linear", "addmm": "linear", "bmm": "linear",
    "add": "bias",
}  # fmt: skip
B, N, H = 3, 4, 8


def whole(x: torch.Tensor) -> torch.Tensor:
    return x


# the rows of a layer: in torch of an image's patches, and in the engine
ROWS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[Module], Tensor]]] = {
    "whole": (whole, lambda m: Tensor("x", axes("b n h"), "input")),
    "turned": (
        lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
        lambda m: m.view(
            Tensor("map", axes("b h g_h g_w"), "input"), axes("b n h"), kind="channels last"
        ),
    ),
    "a part of the tokens": (
        lambda x: torch.cat([x, x], 1)[:, N:],
        lambda m: m.view(Tensor("x", axes("b s h"), "input"), axes("b n h"), kind="slice"),
    ),
    "one token of all images": (
        lambda x: x[:1, :1].expand(len(x), -1, -1),
        lambda m: m.view(m.parameter("token", 1, 1, "h"), axes("b 1 h"), kind="expand"),
    ),
    "tokens of all images": (
        lambda x: x[:1].expand(len(x), -1, -1),
        lambda m: m.view(m.parameter("tokens", 1, "n", "h"), axes("b n h"), kind="expand"),
    ),
}


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


def layer(rows: str, frozen: bool) -> Node:
    m = Module("", "Model")
    y = linear(m, "fc", ROWS[rows][1](m), "h")
    return freeze(m.end(y), "all") if frozen else m.end(y)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("batch", [1, B])
@pytest.mark.parametrize("frozen", [False, True], ids=["trains", "frozen"])
@pytest.mark.parametrize("precision", ["fp32", "amp"])
@pytest.mark.parametrize("rows", ROWS)
def test_the_ops_of_a_layer_are_torchs_operators(
    rows: str, precision: str, frozen: bool, batch: int, training: bool
) -> None:
    """Copies, casts, the product and the sum with the bias, in the order that they run."""
    fc = nn.Linear(H, H).requires_grad_(not frozen)
    x = ROWS[rows][0](torch.randn(batch, N, H))
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "amp")
    with torch.set_grad_enabled(training), autocast, Operators() as seen:
        fc(x)
    walk = Walk(training=training, one_image=batch == 1, precision=precision, platform="cpu")
    ops = [op.kind for op in ops_of(walk.node(layer(rows, frozen)))]
    ran = [KINDS[name] for name in seen.names if name in KINDS]
    # a batched product adds a bias to its result as well, where it lies
    if "bmm" in seen.names:
        ran.remove("bias")
    assert [kind for kind in ops if kind in KINDS.values()] == ran


def test_a_bias_is_added_where_the_product_lies() -> None:
    """Real tensors: add_; under a dispatch mode torch makes another tensor of the same size."""
    fc, x = nn.Linear(H, H), ROWS["turned"][0](torch.randn(B, N, H))
    with profile(activities=[ProfilerActivity.CPU]) as real:
        fc(x)
    names = {event.name for event in real.events()}
    assert "aten::add_" in names
    assert "aten::add" not in names
    with Operators() as seen:
        fc(x)
    assert "add" in seen.names
    tree = unroll(Walk(training=True).node(layer("turned", frozen=False)))
    peaks = []
    for in_place in (True, False):
        ledger = Ledger()
        Forward(ledger, training=True, in_place=in_place).node(tree, Place("forward", ""))
        peaks.append(peak(ledger.trace, Sizes(b=B, n=N, h=H, g_h=2, g_w=2)).peak_bytes)
    # rows and product, and the sum beside them
    assert peaks == [2 * 4 * B * N * H, 3 * 4 * B * N * H]
