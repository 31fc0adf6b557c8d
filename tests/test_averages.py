"""Moving averages of a model: timm's ModelEmaV3 on real modules, its copies and its update."""

from typing import Any

import pytest
import timm
import torch
from alive import Alive
from timm.utils import ModelEmaV3

import vitcost
from vitcost.errors import ConfigError

TYPES = {"model": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TINY = "vit_tiny_patch16_224"
# tables of int64 beside biases in the model's type, positions, a hybrid; and a digest
SHALLOW = (
    TINY, "beit_base_patch16_224", "eva02_tiny_patch14_224", "vit_small_r26_s32_224",
)  # fmt: skip
NAMES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {"depth": 2}) for name in SHALLOW),
    ("swin_tiny_patch4_window7_224", {}),
)


def copied(ema: ModelEmaV3) -> int:
    return sum(t.nbytes for t in (*ema.module.parameters(), *ema.module.buffers()))


@pytest.mark.parametrize(("name", "fields"), NAMES)
def test_averages_are_timms(name: str, fields: dict[str, Any]) -> None:
    model = timm.create_model(name, num_classes=1000, **fields)
    for precision in ("fp32", "bf16"):
        model.to(TYPES[precision])
        for dtype in TYPES:
            ema = ModelEmaV3(model, dtype=TYPES[dtype])
            asked: dict[str, Any] = {"ema_dtype": dtype, "precision": precision, **fields}
            assert vitcost.report(name, ema=1, **asked).training.ema_bytes == copied(ema)
            away = vitcost.report(name, ema=2, ema_device="cpu", **asked).training
            least = vitcost.report(name, precision=precision, **fields).training
            assert (away.ema_bytes, away.peak_bytes) == (0, least.peak_bytes)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_update_allocates_what_timms_does(dtype: str) -> None:
    """Behind an optimizer that allocates nothing, gradients and a loss are there."""
    fields: dict[str, Any] = {"img_size": 32, "num_classes": 2}
    model = timm.create_model(TINY, **fields)
    ema = ModelEmaV3(model, dtype=TYPES[dtype])
    alive = Alive([*model.parameters(), *ema.module.parameters()])
    with alive:
        ema.update(model)
    asked: dict[str, Any] = {"optimizer": "sgd", **fields}
    own = vitcost.report(TINY, ema=1, ema_dtype=dtype, **asked).training
    least = vitcost.report(TINY, **asked).training
    assert least.peak_bytes is not None
    if dtype == "bf16":
        weights = sum(p.nbytes for p in model.parameters())
        images = 4 * 3 * 32 * 32 + 8
        # of one image the class token's gradient is a view of that of all 5 tokens
        gradients = weights + 4 * (5 - 1) * 192
        behind = weights + gradients + images + copied(ema) + 4 + max(alive.seen)
        assert (own.peak_bytes, own.peak_at) == (behind, "optimizer step")
    else:
        assert max(alive.seen) == 0
        assert own.peak_bytes == least.peak_bytes + copied(ema)


def test_buffers_in_the_chunks_are_a_bound() -> None:
    asked: dict[str, Any] = {"optimizer": "sgd", "ema": 1, "ema_dtype": "bf16", "num_classes": 2}
    own = vitcost.report("beit_base_patch16_224", img_size=32, **asked).training
    said = "buffers are in the chunks in which averages are rounded"
    assert (own.peak_at, own.peak_is, own.missing) == ("optimizer step", "bounded", said)


def test_averages_of_shards_and_of_masters() -> None:
    whole = vitcost.report(TINY, precision="bf16").training.weights_bytes // 2
    shards: dict[str, Any] = {"precision": "bf16", "ranks": 2, "zero": 3, "ema": 1}
    own = vitcost.report(TINY, **shards).training
    assert own.ema_bytes == own.weights_bytes
    assert vitcost.report(TINY, ema_dtype="fp32", **shards).training.ema_bytes == 2 * own.ema_bytes
    masters: dict[str, Any] = {"recipe": "megatron-bf16", "ema": 1}
    assert vitcost.report(TINY, **masters).training.ema_bytes == 4 * whole
    assert vitcost.report(TINY, ema_dtype="bf16", **masters).training.ema_bytes == 2 * whole


def test_the_memory_of_a_processor_is_one() -> None:
    with pytest.raises(ConfigError, match="ema_device cpu is beside the model on platform cpu"):
        vitcost.report(TINY, ema=1, ema_device="cpu", platform="cpu")
