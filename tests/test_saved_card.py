"""Bytes that autograd keeps on a card, by torch's own rules for one that is not there."""

from typing import Any

import pytest
import saved_support as support
import torch
from saved_support import HALF, folded, held_bytes, model_of, prepared
from test_saved import MODELS, small
from timm_features import BASE, DROPS, FEATURES, build
from torch import nn

from vitcost.config import ViTConfig, configure
from vitcost.scenario import Scenario
from vitcost.zoo.timm.args import fields_of

pytestmark = pytest.mark.skipif(
    not support.has_fake_cards(), reason="private symbols of torch 2.13 on a machine without a card"
)
RUNS = [
    (precision, kernel)
    for precision in ("fp32", "amp-bf16", "amp-fp16", "bf16")
    for kernel in ("eager", "math", "flash", "efficient", "cudnn")
    # aten's flash and cudnn kernels take halves alone
    if not (precision == "fp32" and kernel in ("flash", "cudnn"))
]
FEATURE_RUNS = (
    # precision, kernel, batch, heads
    ("amp-bf16", "eager", 2, 2),
    ("amp-bf16", "eager", 1, 2),
    ("amp-bf16", "flash", 2, 2),
    ("amp-fp16", "efficient", 2, 2),
    ("fp32", "efficient", 1, 2),
    ("bf16", "cudnn", 2, 2),
    ("amp-bf16", "math", 2, 1),
)
# torch takes a root-mean-square norm apart where no card has its kernel, and the fake flash kernel
# answers in the width of its queries, not of its values
NOT_ON_A_FAKE_CARD = ("rms norm", "rms norm of q and k", "differential", "differential, parallel")


def card_saved(model: nn.Module, shape: tuple[int, ...], precision: str, kernel: str) -> int:
    with support.fake_card(precision):
        model = support.move(model)
        x = torch.empty(*shape, dtype=HALF.get(precision, torch.float32), device="cuda")

        def run() -> Any:
            if kernel in ("eager", "math"):
                return model(x)
            with support.card_attention(kernel):
                return model(x)

        return held_bytes(run, [x, *model.parameters(), *model.buffers()])


def on_a_card(config: ViTConfig, batch: int, precision: str, kernel: str) -> int:
    how = Scenario(batch=batch, mode="train", precision=precision, attention=kernel)
    return folded(config, how)[0].cost.saved_bytes


@pytest.mark.parametrize(("precision", "kernel"), RUNS)
def test_a_model_on_a_card(precision: str, kernel: str) -> None:
    for i, options in enumerate(MODELS):
        config, batch = small(**options), 1 + i % 2
        model = prepared(model_of(config, kernel != "eager"), precision)
        shape = (batch, config.in_chans, *config.img_size)
        expected = card_saved(model, shape, precision, kernel)
        assert on_a_card(config, batch, precision, kernel) == expected, (config, batch)


@pytest.mark.parametrize("name", [name for name in FEATURES if name not in NOT_ON_A_FAKE_CARD])
def test_a_feature_of_timm_on_a_card(name: str) -> None:
    model_class, options = FEATURES[name]
    for precision, kernel, batch, heads in FEATURE_RUNS:
        # flash and cudnn kernels take no mask that trains
        if any("rel_pos_bias" in key for key in options) and kernel in ("flash", "cudnn"):
            continue
        if heads == 1 and "num_kv_heads" in options:
            continue
        kwargs = {**BASE, **options, **DROPS, "num_heads": heads}
        config = configure(fields_of(model_class, kwargs))
        model = prepared(build(model_class, kwargs, kernel != "eager"), precision)
        expected = card_saved(model, (batch, 3, *config.img_size), precision, kernel)
        assert on_a_card(config, batch, precision, kernel) == expected, (kwargs, kernel)
