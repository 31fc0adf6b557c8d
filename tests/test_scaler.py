"""A step with torch.amp.GradScaler against torch's trackers: of every optimizer on real tensors, of
models on fake ones, on one rank and fully sharded; and against a trace."""

from typing import Any

import losses_support
import pytest
import sharded_support
import torch
from saved_support import most_alive
from scaler_support import Ending
from sharded_support import Case, predicted
from test_stepping import of
from torch import Tensor, nn

import vitcost
from vitcost.check import reference
from vitcost.check.step_witnesses import Apart, Step, optimizer
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak, training
from vitcost.costs.scaler import scaled
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError
from vitcost.planner.levers import kernels, levers

pytestmark = [pytest.mark.filterwarnings("ignore")]

TINY = "vit_tiny_patch16_224"
SMALL = {"depth": 3, "img_size": 64}


class Scaled(Step):
    """A step by a scaler; an optimizer for matrices and the rest are two."""

    def __init__(self, how: Scenario, *given: Any, **more: Any) -> None:
        self.ending = Ending(how, "cpu")
        super().__init__(*given, **more)

    def run(self) -> None:
        whole = self.optimizer
        each = whole.parts if isinstance(whole, Apart) else (whole,)
        for one in each:
            one.zero_grad()
        with torch.autocast("cpu", self.autocast):
            loss = self.loss(self.model(self.images), self.targets)
        self.ending.backward(loss)
        self.ending.step(*each)
        if whole is not each[0]:
            for one in each:
                whole.state.update(one.state)

    @property
    def lasting(self) -> list[Tensor]:
        return [*super().lasting, *self.ending.lasting]


@pytest.mark.parametrize("name", [n for n, row in OPTIMIZERS.items() if "cpu" in row.platforms])
def test_a_step_of_every_optimizer_is_torchs(name: str) -> None:
    """The classes make all of a small model that its peak lies in the optimizer's step."""
    config = of(num_classes=700, depth=1)
    how = Scenario(
        batch=1, mode="train", precision="amp-fp16", attention="eager", platform="cpu",
        optimizer=name, grad_scaler=True,
    )  # fmt: skip
    model = reference.build(config, fused=False)
    step = Scaled(how, model, torch.zeros(1, 3, *config.img_size), optimizer(name), torch.float16)
    step.run()
    step.optimizer.zero_grad()
    most = most_alive(step)
    own = step_peak(training(config, how), workload(config, how), in_place=False)
    assert own.total_bytes == most
    if OPTIMIZERS[name].step not in ("in place", "fused"):
        assert own.at == "optimizer step"


ON_ONE = (
    {"batch": 16, "precision": "amp-fp16", "optimizer": "sgd"},
    {"batch": 1, "precision": "amp-fp16", "optimizer": "adamw-foreach"},
    {"batch": 2, "precision": "fp16", "optimizer": "adamw-fused"},
)
WHERE = (
    # the loss of features is a number in half precision
    {**SMALL, "num_classes": 0},
    # the peak lies in the backward of the loss
    {**SMALL, "num_classes": 21843, "global_pool": "", "class_token": False},
    SMALL,
)


@pytest.mark.parametrize("flags", ON_ONE, ids=str)
@pytest.mark.parametrize("fields", WHERE, ids=str)
def test_the_peak_is_torchs(fields: dict[str, Any], flags: dict[str, Any]) -> None:
    case = Case(TINY, fields, {**flags, "grad_scaler": True})
    assert predicted(case).total_bytes == losses_support.tracked(case)


# where the optimizer's step needs the most: gradients are unscaled, and the ranks agree on them
NARROW = {"depth": 12, "img_size": 32, "embed_dim": 96}


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        (SMALL, {"batch": 16, "zero": 2, "precision": "amp-fp16", "optimizer": "adamw-foreach"}),
        (SMALL, {"batch": 1, "zero": 3, "precision": "fp16", "policy": "reduce-fp32"}),
        (NARROW, {"batch": 1, "zero": 3, "precision": "amp-fp16", "optimizer": "adamw-fused"}),
    ],
    ids=str,
)
def test_the_peak_of_ranks_is_torchs(fields: dict[str, Any], flags: dict[str, Any]) -> None:
    case = Case(TINY, fields, {"ranks": 3, "optimizer": "sgd", "grad_scaler": True, **flags})
    assert predicted(case).total_bytes == sharded_support.tracked(case)


class Head(nn.Module):
    """A module that is traced."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


@pytest.mark.parametrize("loss", [None, lambda y: y.sum(), lambda y: y.pow(2).mean()[None]])
@pytest.mark.parametrize(("outputs", "batch"), [(1000, 1), (5, 1), (5, 64)])
def test_a_traced_step_is_torchs(loss: Any, outputs: int, batch: int) -> None:
    how = Scenario(
        batch=batch, mode="train", precision="amp-fp16", platform="cpu", optimizer="sgd",
        grad_scaler=True,
    )  # fmt: skip
    model = Head(outputs)
    given: dict[str, Any] = {} if loss is None else {"loss": loss}
    traced: Any = vitcost.from_torch(model, inputs="64", **given)
    run = workload(traced.config, how)
    own = step_peak(states(run, None), run)
    criterion = Step.__init__.__defaults__[1] if loss is None else lambda y, _: loss(y)
    step = Scaled(how, model, torch.zeros(batch, 64), optimizer("sgd"), torch.float16, criterion)
    step.optimizer.zero_grad()
    most = most_alive(step)
    targets = 0 if loss is None else step.targets.nbytes
    assert own.total_bytes == most - targets


def test_parts_by_arithmetic() -> None:
    """The scale and a counter with the states; in the backward pass the scaled loss beside the
    gradient that this begins with, which is there without a scaler too."""
    flags: dict[str, Any] = {"batch": 64, "mode": "train", "precision": "amp-fp16"}
    plain, own = (
        vitcost.report(TINY, **flags, grad_scaler=scaled).training for scaled in (False, True)
    )
    assert plain.peak_parts is not None
    assert own.peak_parts is not None
    assert own.peak_at == plain.peak_at == "backward of blocks.11.mlp.fc2"
    assert own.optimizer_bytes == plain.optimizer_bytes + 4 + 4
    assert own.peak_parts.temporary_bytes == plain.peak_parts.temporary_bytes + 4
    assert own.peak_bytes == (plain.peak_bytes or 0) + 12


def test_bytes_of_a_step_by_arithmetic() -> None:
    """Scale and inverse, in float64 or twice in float32, and on sharded ranks what they agree on;
    found_inf of each optimizer, and a fused one is handed scale and found_inf."""
    flags: dict[str, Any] = {"mode": "train", "precision": "amp-fp16", "ranks": 2}
    config = vitcost.report(TINY).model.config
    one, dealt, shards = (
        workload(config, Scenario(**flags, zero=zero, grad_scaler=True)) for zero in (0, 1, 3)
    )
    sgd, fused = OPTIMIZERS["sgd"], OPTIMIZERS["adamw-fused"]
    assert [scaled(0, sgd, run, 0) for run in (one, dealt, shards)] == [16, 16, 16 + 4]
    assert scaled(1, sgd, one, 1000) == 4 + 4 + 1000
    # ZeroRedundancyOptimizer hides the fused optimizer in it
    assert [scaled(0, fused, run, 1000) for run in (one, dealt)] == [4 + 8 + 1000, 4 + 1000]


def test_a_pair_over_ranks_by_arithmetic() -> None:
    flags: dict[str, Any] = {"batch": 256, "mode": "train", "precision": "amp-fp16", "ranks": 8}
    plain, own = (
        vitcost.report("ViT-B-16-SigLIP", **flags, grad_scaler=scaled).training
        for scaled in (False, True)
    )
    assert own.peak_is == "exact"
    assert own.peak_bytes == (plain.peak_bytes or 0) + 8 + 4


def test_a_digest_has_a_bound() -> None:
    """Of 8 bytes above what is alive without a scaler, and 8 that it keeps."""
    flags: dict[str, Any] = {"batch": 64, "mode": "train", "precision": "amp-fp16"}
    plain = vitcost.report("resnet18", **flags).training
    own = vitcost.report("resnet18", **flags, grad_scaler=True).training
    assert (plain.peak_is, own.peak_is) == ("exact", "bounded")
    assert "8 bytes" in (own.missing or "")
    assert own.peak_bytes == (plain.peak_bytes or 0) + 8 + 8


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({}, "needs precision amp-fp16, or fp16 with a policy or a fused optimizer"),
        ({"precision": "amp-bf16"}, "got precision amp-bf16"),
        ({"precision": "fp16"}, "got precision fp16"),
        ({"recipe": "zero"}, "got precision fp16, recipe zero"),
        (
            {"precision": "amp-fp16", "optimizer_in_backward": True},
            "optimizer_in_backward contradicts grad_scaler True: it looks for infinite numbers",
        ),
    ],
    ids=str,
)
def test_where_torch_refuses_it(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Scenario.of(**flags, grad_scaler=True)


def test_torch_refuses_gradients_in_fp16() -> None:
    """A fused optimizer takes these; any other stops."""
    for fused in (False, True):
        model = nn.Linear(4, 4).half()
        made = torch.optim.AdamW(model.parameters(), fused=fused)
        ending = Ending(Scenario(precision="amp-fp16", grad_scaler=True), "cpu")
        ending.backward(model(torch.zeros(2, 4).half()).sum())
        if fused:
            ending.step(made)
        else:
            with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
                ending.step(made)


def test_other_ways_to_run_have_no_scaler() -> None:
    how = Scenario(mode="train", batch=8, precision="amp-fp16", grad_scaler=True)
    for narrow in ("bf16", "fp16"):
        for other in kernels(how, narrow):
            assert other.grad_scaler == (other.precision == "amp-fp16")
    run = workload(vitcost.report(TINY).model.config, how)
    assert all(other.grad_scaler for other in levers(run))
