"""Gradients that outlive a step, or are added up over several: torch's own memory tracker, on fake
tensors, and its averaged copy of a model."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel
from torch_support import image

import vitcost
from vitcost.check.reference import build
from vitcost.config.vit_config import ViTConfig

PRECISIONS = {"fp32": torch.float32, "amp-bf16": torch.float32, "bf16": torch.bfloat16}


def batch_of(config: ViTConfig, batch: int, precision: str) -> tuple[nn.Module, Tensor, Tensor]:
    kind = PRECISIONS[precision]
    torch.set_default_dtype(kind)
    try:
        model = build(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model, image(config, batch).to(kind), torch.zeros(batch, dtype=torch.long)


def tracked(
    config: ViTConfig, batch: int, precision: str, *, accumulate: int, set_to_none: bool
) -> int:
    """The peak of a step by MemTracker, after a step of the same kind."""
    with FakeTensorMode():
        model, images, targets = batch_of(config, batch, precision)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        tracker = MemTracker()

        def backward() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "amp-bf16"):
                loss = cross_entropy(model(images), targets)
            loss.backward()

        def step() -> None:
            optimizer.zero_grad(set_to_none)
            for _ in range(accumulate):
                backward()
                tracker.reset_mod_stats()
            optimizer.step()

        step()
        optimizer.zero_grad(set_to_none)
        tracker.track_external(model, optimizer, images, targets)
        with tracker:
            step()
        peak = tracker.get_tracker_snapshot("peak")
        return sum(device["Total"] for device in peak.values())


def peak(config: ViTConfig, batch: int, precision: str, **flags: object) -> int | None:
    found = vitcost.report(
        config,
        batch=batch,
        precision=precision,
        attention="eager",
        platform="cpu",
        optimizer="sgd-momentum",
        **flags,
    ).training
    if found.peak_parts is not None:
        assert sum(found.peak_parts) == found.peak_bytes
    return found.peak_bytes


CONFIG = ViTConfig(img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=3, num_classes=5)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("accumulate", "zero_grad", "batch"),
    [(2, "none", 1), (4, "none", 3), (1, "zeros", 1), (1, "zeros", 3)],
)
def test_peak_is_torchs(accumulate: int, zero_grad: str, batch: int, precision: str) -> None:
    real = tracked(CONFIG, batch, precision, accumulate=accumulate, set_to_none=zero_grad == "none")
    mine = peak(CONFIG, batch, precision, accumulate=accumulate, zero_grad=zero_grad)
    assert mine == real
    # by a first set of gradients more than a step of one batch
    assert mine > (peak(CONFIG, batch, precision) or 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_averages_are_torchs(precision: str) -> None:
    model, *_ = batch_of(CONFIG, 1, precision)
    averages = [AveragedModel(model) for _ in range(2)]
    copies = sum(p.nbytes for each in averages for p in each.parameters())
    flags = {"optimizer": "sgd", "precision": precision}
    without = vitcost.report(CONFIG, **flags).training
    found = vitcost.report(CONFIG, ema=2, **flags).training
    assert found.ema_bytes == copies
    assert found.peak_bytes is not None
    assert without.peak_bytes is not None
    assert found.peak_bytes - without.peak_bytes == copies
    assert found.sum_bytes - without.sum_bytes == copies
