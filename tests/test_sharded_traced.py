"""The peak of a fully sharded step of a traced module: torch's own tracker, the formula of the same
model, and a file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sharded_traced_support import Case, Own, of_formula, of_trace, predicted, tracked
from torch import nn

from vitcost import fit, from_torch, plan, report
from vitcost.cli import run
from vitcost.traced.apply_flags import blocks
from vitcost.zoo.trace_file import trace

# all 67 of them: tests/bench/sharded_traced_peaks.py
CASES = (
    Case("own", {"frozen": 2}, {"batch": 2, "zero": 3, "ranks": 64, "precision": "bf16"}),
    Case("own", {"tied": True}, {"batch": 2, "zero": 2, "ranks": 8, "precision": "amp-bf16"}),
    Case("own", {"together": 2, "scaled": True}, {
        "batch": 3, "zero": 3, "ranks": 7, "precision": "bf16", "policy": "reduce-fp32",
    }),
    Case("swin", {}, {"batch": 2, "zero": 3, "ranks": 8, "checkpointing": "block"}),
    Case("own", {"unused": True}, {"batch": 1, "zero": 2, "ranks": 2, "platform": "cpu",
                                   "accumulate": 2}),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.flags}")
def test_the_peak_is_torchs(case: Case) -> None:
    assert predicted(case).total_bytes == tracked(case)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_tiny_r_s16_p8_224",
        "eva02_tiny_patch14_224", "vitamin_small_224", "vit_wee_patch16_reg1_gap_256",
    ],
)  # fmt: skip
def test_the_peak_is_that_of_the_formula(name: str) -> None:
    """The same bytes at the same place, whose parts have one origin each."""
    for zero, ranks, precision in ((3, 7, "amp-bf16"), (2, 64, "fp32")):
        flags = {"batch": 3, "zero": zero, "ranks": ranks, "precision": precision}
        one, two = (peak(Case(name, {}, flags)) for peak in (of_formula, of_trace))
        assert (one.total_bytes, one.at) == (two.total_bytes, two.at)


def test_a_linear_layer_by_arithmetic() -> None:
    """1000 rows among 3 ranks are 334 each, 1002 in all; the model alone is wrapped."""
    head = from_torch(nn.Linear(768, 1000, bias=False), inputs="768")
    shard, batch = 4 * 334 * 768, 2 * (768 * 4 + 8)
    own = report(head, batch=2, zero=3, ranks=3, optimizer="sgd").training
    assert own.weights_bytes == own.gradients_bytes == shard
    assert own.peak_at == "reduction of the model"
    # the shard; the gradient, which is 2 rows short, the buffer that it is copied to, and the sum's
    # shard; the loss, and the gradient that backward() began with
    assert own.peak_bytes == shard + 4 * 1000 * 768 + 3 * shard + shard + batch + 4 + 4


def test_a_file_has_it_for_any_ranks(tmp_path: Path) -> None:
    model = from_torch(Own(), inputs="3x64x64")
    file = tmp_path / "own.json"
    trace(model, str(file), [{}, {"zero": 3}])
    for flags in ({"zero": 2, "ranks": 5}, {"zero": 3, "ranks": 64}, {}):
        live, read = (report(each, batch=6, **flags).training for each in (model, str(file)))
        assert live.peak_bytes is not None
        assert live == read
    trace(model, str(file))
    old = report(str(file), batch=6, zero=3, ranks=8).training
    assert old.peak_bytes is None
    assert "has no trace under --zero 3" in str(old.missing)


class _Shared(Own):
    def __init__(self) -> None:
        super().__init__()
        first, last = self.blocks[0], self.blocks[2]
        last.up.weight = first.up.weight  # type: ignore[union-attr]


class _Reads(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + self.blocks[0].up.weight.sum()  # type: ignore[union-attr]


class _Half(Own):
    def __init__(self) -> None:
        super().__init__()
        self.blocks[0].to(torch.bfloat16).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            Own(same=2),
            "a fully sharded step is not covered for blocks.0, which runs more than once",
        ),
        (_Shared(), "refuses a parameter that blocks.0 shares with blocks.2"),
        (_Reads(), "the model reads a weight of blocks.0"),
        (_Half(), "blocks.0.norm.weight has bfloat16"),
    ],
)
def test_a_step_that_fully_shard_has_not_is_null(model: nn.Module, reason: str) -> None:
    own = report(from_torch(model, inputs="3x64x64"), batch=2, zero=3, ranks=4).training
    assert own.peak_bytes is None
    assert reason in str(own.missing)
    # and has its states
    assert own.weights_bytes > 0


def test_weights_of_several_types_are_divided_by_type() -> None:
    """Frozen in bf16: each tensor's rows in its own type."""
    model = _Half()
    own = report(from_torch(model, inputs="3x64x64"), zero=2, ranks=4).training
    rows = [(-(-p.shape[0] // 4), p) for p in model.parameters()]
    each = [n * p[0].numel() * p.element_size() for n, p in rows]
    assert own.weights_bytes == sum(each)


def test_a_digest_says_what_is_traced_in_full() -> None:
    own = report("convnext_tiny", zero=3, ranks=8).training
    assert own.peak_bytes is None
    assert "timm.models:convnext_tiny is traced in full" in str(own.missing)


def test_questions_above_answer() -> None:
    model = from_torch(Own(), inputs="3x64x64")
    flags: dict[str, Any] = {"zero": 3, "ranks": 8}
    (row,) = fit(model, gpu="rtx4090", **flags).found
    assert row.used_is == "exact"
    assert row.largest_batch is not None
    at_most = report(model, batch=row.largest_batch, mode="train", **flags).training
    assert at_most.peak_bytes == row.used_bytes
    best = plan(model, samples=10**6, gpu="a100-sxm-80gb", cards=8, node_size=8, zero=3).best
    assert best is not None
    micro = best.micro_batch
    each = report(model, batch=micro, precision="amp-bf16", mode="train", **flags).training
    assert each.peak_bytes == best.memory_bytes


def test_of_two_classes_with_as_many_parameters_the_outer_is_the_layer() -> None:
    """A layer whose parameters all stand in a list of its own: the list has as many."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4)) for _ in range(2))

    model = nn.ModuleList(Layer() for _ in range(2))
    assert list(blocks(model)) == ["0", "1"]


def test_a_peak_that_is_not_known_is_no_missing_step(capsys: Any) -> None:
    flags = ["--mode", "train", "--zero", "3", "--ranks", "8", "--brief"]
    assert run(["report", "convnext_atto", *flags]) == 0
    assert "peak of a training step not known" in capsys.readouterr().out
    assert run(["report", "vit_tiny_patch16_224", "--freeze", "all", "--brief"]) == 0
    assert "no training step" in capsys.readouterr().out
