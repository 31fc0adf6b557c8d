"""The bound of a training step's peak: never below what a step needs, seldom far above it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from alive import looks
from timm_features import BASE, build
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.testing._internal.distributed.fake_pg import FakeStore

from vitcost import report
from vitcost.check import reference
from vitcost.check.checkpointed import checkpointed
from vitcost.check.step_witnesses import Step, optimizer
from vitcost.config.scenario import RECIPES, Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.costs.bounded import gathered_bytes
from vitcost.costs.memory import step_bound, training
from vitcost.costs.memory_types import StepPeak, Training
from vitcost.engine.model import Config, structure_of
from vitcost.engine.workload import workload
from vitcost.errors import NotCovered
from vitcost.zoo import names, resolve
from vitcost.zoo.timm.args import fields_of


def bound(config: Config, how: Scenario, own: Training) -> StepPeak:
    return step_bound(own, workload(config, how))


# --- what is known, hidden

HIDDEN = (
    "vit_tiny_patch16_224", "vit_large_patch14_dinov2", "deit_small_distilled_patch16_224",
    "beit_base_patch16_224", "eva02_tiny_patch14_336", "vit_base_r50_s16_224",
    "vit_base_patch16_siglip_gap_224", "vit_pwee_patch16_reg1_gap_256",
    "vit_dpwee_patch16_reg1_gap_256",
)  # fmt: skip
HOW: tuple[dict[str, Any], ...] = (
    {},
    {"zero": 1, "ranks": 4, "precision": "amp-bf16"},
    {"ranks": 8, "buckets": "views", "checkpointing": "block"},
    {"accumulate": 3, "precision": "amp-bf16", "checkpointing": "block"},
    {"zero": 1, "ranks": 3, "precision": "bf16", "checkpointing": "every:3", "attention": "math"},
    {"freeze": "first:1", "platform": "cpu", "precision": "amp-bf16", "attention": "eager"},
    {"checkpointing": "selective", "attention": "eager", "optimizer": "sgd-momentum"},
)


@pytest.mark.parametrize("flags", HOW, ids=str)
@pytest.mark.parametrize("name", HIDDEN)
def test_the_bound_of_a_known_peak(name: str, flags: dict[str, Any]) -> None:
    """At most 15 % above it, where activations are over half of it."""
    for classes in (1, 1000):
        config = resolve(name, num_classes=classes).config
        for batch in (1, 2, 8, 64):
            how = Scenario(batch=batch, mode="train", **flags)
            own = training(config, how)
            assert own.peak_is == "exact"
            assert own.peak_bytes is not None
            assert own.peak_parts is not None
            at_most = bound(config, how, own)
            assert at_most.total_bytes >= own.peak_bytes
            assert at_most.parts is not None
            assert at_most.total_bytes == sum(at_most.parts)
            alive = own.peak_parts.saved_activations_bytes + own.peak_parts.temporary_bytes
            if 2 * alive > own.peak_bytes:
                assert at_most.total_bytes <= 1.15 * own.peak_bytes


# --- every model, every recipe


def test_every_model_has_a_peak_or_a_bound() -> None:
    """DINOv2 without a head, two towers, text: none has the bare sum of its parts, and no
    step needs less than its optimizer."""
    seen = set()
    for name in names():
        try:
            config = resolve(name).config
        except NotCovered:
            continue
        structure = structure_of(config, 2, True)
        if structure in seen:
            continue
        seen.add(structure)
        own = training(config, Scenario(batch=2))
        assert own.peak_is in ("exact", "bounded"), name
        assert (own.missing is None) == (own.peak_is == "exact") == (not own.assumed)
        assert own.peak_bytes is not None
        # foreach copies the parameters while gradients and states are there: 4 + 4 + 8 + 4 bytes
        trained = own.gradients_bytes
        assert own.peak_bytes >= own.weights_bytes + 2 * trained + own.optimizer_bytes
        assert own.peak_bytes >= own.weights_bytes + own.saved_activations_bytes
    assert len(seen) > 60


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        (name, {"recipe": recipe, "zero": zero, "ranks": 1 + zero})
        for name in ("vit_base_patch16_224", "gpt2")
        for recipe, row in RECIPES.items()
        for zero in range(row.stages + 1)
        if recipe != "torch"
    ],
    ids=str,
)
def test_what_a_bound_holds(name: str, flags: dict[str, Any]) -> None:
    """It rises with the batch, and says why there is no peak and what it takes for granted."""
    before = 0
    for batch in (2, 8, 64):
        own = report(name, batch=batch, mode="train", **flags).training
        assert (own.peak_is, bool(own.missing), bool(own.assumed)) == ("bounded", True, True)
        assert own.peak_bytes is not None
        states = own.weights_bytes + own.gradients_bytes + own.optimizer_bytes
        assert own.peak_bytes > states
        assert own.peak_bytes > own.weights_bytes + own.saved_activations_bytes
        assert own.peak_bytes >= before
        before = own.peak_bytes


def test_a_peak_without_classes_by_arithmetic() -> None:
    """ViT-B/14 at 518 pixels, checkpointed by block, 229 images: the class that is left out is 769
    parameters; 1,370 tokens of 768 floats a block are 12 · 4.2 MB an image."""
    flags: dict[str, Any] = {
        "batch": 229, "mode": "train", "precision": "amp-bf16", "checkpointing": "block",
    }  # fmt: skip
    known = report("vit_base_patch14_dinov2", num_classes=1, **flags).training
    headless = report("vit_base_patch14_dinov2", num_classes=0, **flags).training
    assert (known.peak_is, headless.peak_is) == ("exact", "exact")
    assert known.peak_bytes is not None
    assert headless.peak_bytes is not None
    # the class has 769 weights, gradients and two moments of 4 bytes, and a copy in half precision
    assert 0 <= known.peak_bytes - headless.peak_bytes < 2**16
    assert headless.peak_bytes > 229 * 12 * 4 * 1370 * 768


# --- against torch


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda y: y.float().sum(),
    "squared error": lambda y: functional.mse_loss(y.float(), torch.zeros(y.shape)),
    "classes": lambda y: functional.cross_entropy(
        y.flatten(0, -2), torch.zeros(y.shape[:-1].numel(), dtype=torch.long)
    ),
}


class Lossy(Step):
    """A step under a loss of its own, forward and backward."""

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        loss: Callable[[Tensor], Tensor],
        autocast: torch.dtype | None,
    ) -> None:
        self.of_outputs = loss
        super().__init__(model, images, optimizer("sgd"), autocast)

    def run(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast is not None):
            loss = self.of_outputs(self.model(self.images))
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "feature",
    [
        {}, {"global_pool": ""}, {"global_pool": "avg"}, {"init_values": 1e-5},
        {"global_pool": "max", "class_token": False, "num_classes": 5},
        {"global_pool": "avgmax", "class_token": False}, {"global_pool": "", "num_classes": 5},
    ],
    ids=str,
)  # fmt: skip
def test_no_step_needs_more(feature: dict[str, Any], loss: str) -> None:
    """The most that is alive after any operator of a real step on the CPU."""
    kwargs = {
        **BASE,
        "img_size": (16, 24),
        "num_classes": 0,
        "embed_dim": 24,
        "depth": 4,
        **feature,
    }
    config = configure(fields_of("VisionTransformer", kwargs))
    for batch in (1, 3):
        for precision, fused in (("fp32", False), ("amp-bf16", True), ("bf16", True)):
            model = build("VisionTransformer", kwargs, fused)
            if precision == "bf16":
                model = model.to(torch.bfloat16)
            images = torch.zeros(batch, 3, 16, 24, dtype=next(model.parameters()).dtype)
            autocast = torch.bfloat16 if precision == "amp-bf16" else None
            step = Lossy(model, images, LOSSES[loss], autocast)
            real = sum(t.untyped_storage().nbytes() for t in step.lasting) + max(looks(step))
            how = Scenario(
                batch=batch, mode="train", precision=precision, platform="cpu", optimizer="sgd",
                attention="sdpa" if fused else "eager",
            )  # fmt: skip
            own = training(config, how)
            assert real <= bound(config, how, own).total_bytes <= 1.15 * real


@contextmanager
def ranks(number: int) -> Iterator[Any]:
    dist.init_process_group("fake", rank=0, world_size=number, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (number,))
    finally:
        dist.destroy_process_group()


def sharded(config: ViTConfig, how: Scenario) -> int:
    """The peak of the second step under fully_shard, by torch's tracker, on fake tensors."""
    half = torch.bfloat16 if how.precision == "bf16" else torch.float32
    with ranks(how.ranks) as mesh, torch.device("meta"):
        model = reference.build(config, True).to(half)
    with ranks(how.ranks) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        model = checkpointed(model.to_empty(device="cpu").train(), how.checkpointing)
        for block in (*model.blocks, model):
            fully_shard(block, mesh=mesh, reshard_after_forward=how.zero == 3)
        adam = torch.optim.AdamW(model.parameters(), foreach=True)
        images = torch.rand(how.batch, 3, *config.img_size, dtype=half)
        targets = torch.zeros(how.batch, dtype=torch.long)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=how.precision == "amp-bf16"):
                loss = functional.cross_entropy(model(images), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            adam.zero_grad()

        step()
        tracker = FSDPMemTracker(model, adam)
        tracker.track_inputs((images, targets))
        with tracker:
            step()
        peak = tracker.get_tracker_snapshot("peak")
        return sum(device["Total"] for device in peak.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero", "number", "precision"),
    [(2, 2, "amp-bf16"), (2, 8, "fp32"), (3, 2, "fp32"), (3, 8, "bf16")],
)
def test_no_sharded_step_needs_more(zero: int, number: int, precision: str) -> None:
    config = resolve("vit_tiny_patch16_224", depth=5, img_size=96, embed_dim=96).config
    assert isinstance(config, ViTConfig)
    for batch, checkpointing in ((1, "none"), (48, "none"), (48, "block")):
        how = Scenario(
            batch=batch, mode="train", precision=precision, platform="cpu", zero=zero,
            ranks=number, optimizer="adamw-foreach", checkpointing=checkpointing,
        )  # fmt: skip
        own, real = training(config, how), sharded(config, how)
        assert own.peak_bytes is not None
        assert own.peak_parts is not None
        assert own.peak_bytes >= real
        if 2 * own.saved_activations_bytes > real:
            assert own.peak_bytes <= 1.15 * real


@pytest.mark.parametrize("number", [2, 3])
def test_what_fully_shard_gathers(number: int) -> None:
    """ViT-Ti, 4 bytes each: shares come as they lie, a row of one filled up to as many as ranks.
    Stage 3: outside of the layers, a layer and its buffer, and that of the one fetched ahead."""
    config = resolve("vit_tiny_patch16_224", num_classes=6).config
    h, layer = 192, 12 * 192 * 192 + 13 * 192
    # 192, 576 and 768 rows divide evenly by 2 and 3; class token and positions are rows of one
    outside = (3 * 16 * 16 * h + h) + number * (h + 197 * h) + 2 * h + (6 * h + 6)
    three = gathered_bytes(workload(config, Scenario(zero=3, ranks=number)))
    assert three == (4 * (outside + 3 * layer), 4 * (outside + 3 * layer))
    two = gathered_bytes(workload(config, Scenario(zero=2, ranks=number)))
    assert two == (4 * (outside + 12 * layer + 2 * layer), three.gradients)
    assert gathered_bytes(workload(config, Scenario(ranks=number))) == (0, 0)
