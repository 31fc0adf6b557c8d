"""Bytes that autograd keeps, and those alive in inference, by torch's rules for a card that is not
there."""

from contextlib import nullcontext
from typing import Any

import pytest
import saved_support as support
import torch
from alive import Alive, declared_peak
from saved_support import HALF, folded, held_bytes, model_of, prepared
from test_saved import MODELS, small
from timm_features import BASE, DROPS, FEATURES, build
from torch import nn
from torch.nn import functional

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine.kinds import KINDS
from vitcost.engine.lower import lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.workload import mode_of
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


def card_peak(model: nn.Module, config: ViTConfig, batch: int, precision: str, kernel: str) -> int:
    """The most bytes of tensors alive after any operator of a forward pass on a card."""
    with support.fake_card(precision):
        model = support.move(model.eval())
        dtype = HALF.get(precision, torch.float32)
        x = torch.empty(batch, config.in_chans, *config.img_size, dtype=dtype, device="cuda")
        alive = Alive([x, *model.parameters(), *model.buffers()])
        kernels = nullcontext() if kernel in ("eager", "math") else support.card_attention(kernel)
        with alive, torch.no_grad(), kernels:
            model(x)
    return max(alive.seen)


def peak_of(config: ViTConfig, batch: int, precision: str, kernel: str) -> int:
    how = Scenario(batch=batch, precision=precision, attention=kernel)
    tree = lower(structure_of(config, batch), mode_of(config, how))
    return declared_peak(tree, sizes_of(config, batch), in_place=False).peak_bytes


@pytest.mark.parametrize("kernel", ["eager", "math"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "amp-fp16", "bf16", "fp16"])
def test_what_is_alive_on_a_card(precision: str, kernel: str) -> None:
    """A softmax of fp16 writes floats by itself there, and one of bf16 reads a copy in them."""
    for i, options in enumerate(MODELS):
        config, batch = small(**options), 1 + i % 2
        model = prepared(model_of(config, kernel != "eager"), precision)
        expected = card_peak(model, config, batch, precision, kernel)
        assert peak_of(config, batch, precision, kernel) == expected, (config, batch)


@pytest.mark.parametrize("name", [name for name in FEATURES if name not in NOT_ON_A_FAKE_CARD])
def test_what_is_alive_of_a_feature_of_timm_on_a_card(name: str) -> None:
    model_class, options = FEATURES[name]
    for precision, kernel, batch in (("amp-fp16", "eager", 2), ("amp-bf16", "eager", 1)):
        kwargs = {**BASE, **options}
        config = configure(fields_of(model_class, kwargs))
        model = prepared(build(model_class, kwargs, kernel != "eager"), precision)
        expected = card_peak(model, config, batch, precision, kernel)
        assert peak_of(config, batch, precision, kernel) == expected, (kwargs, kernel)


# what autocast for CUDA does with an op that it wants floats of, by the type that the op reads
WIDENED: dict[str, Any] = {
    "softmax": lambda x: x.softmax(-1),
    "sum": lambda x: x.sum(-1),
    "norm": lambda x: functional.layer_norm(x, x.shape[-1:]),
    "square": lambda x: x.pow(2),
    "cube": lambda x: x.pow(3),
    "exp": torch.exp,
    "rsqrt": torch.rsqrt,
    "root": lambda x: x.pow(0.5),
    "length": lambda x: x.norm(2, -1),
}


# the loss is lowered by itself, and its step is held against torch's tracker
LOSS = ("log_softmax", "nll")


@pytest.mark.parametrize("precision", ["amp-bf16", "amp-fp16"])
@pytest.mark.parametrize(
    "kind",
    [kind for kind, row in KINDS.items() if row.autocast == "float" and kind not in LOSS],
)
def test_which_kernels_of_a_card_cast_by_themselves(kind: str, precision: str) -> None:
    """Every kind that autocast runs in floats: whether halves are copied before it reads them."""
    half = support.AMP[precision]
    if kind in ("rms norm", "group norm"):
        # autocast casts for them by the same list, and a fake card takes the first apart
        assert KINDS[kind].widens == KINDS["norm"].widens
        return
    with support.fake_card(precision):
        x = torch.empty(2, 8, dtype=half, device="cuda")
        seen = Alive([x])
        with seen:
            written = WIDENED[kind](x)
    copied = max(seen.seen) > written.untyped_storage().nbytes() and 4 * x.numel() in seen.seen
    assert written.dtype == torch.float32
    assert copied == (precision.removeprefix("amp-") not in KINDS[kind].widens)
