"""Bytes that autograd keeps of timm's models: every feature and every name, on real tensors."""

import itertools
from typing import Any

import pytest
from saved_support import (
    Recipe,
    block_of,
    folded,
    held_bytes,
    image,
    prepared,
    running,
    scenario,
    treated,
)
from timm_features import BASE, BEIT, DROPS, EVA, FEATURES, VIT, build
from timm_support import fused_attention, timm
from torch import Tensor, nn

from vitcost.config.vit_config import configure
from vitcost.zoo import resolve
from vitcost.zoo import timm as zoo
from vitcost.zoo.timm.args import fields_of

# torch says so where it takes a norm of halves with a weight in fp32 apart
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

FEATURE_RUNS = (
    # precision, dropouts, batch, heads
    ("fp32", False, 2, 2),
    ("fp32", True, 1, 2),
    ("amp-bf16", True, 2, 2),
    ("amp-bf16", False, 2, 1),
    ("bf16", True, 2, 1),
    ("fp16", False, 1, 2),
)
NAME_RUNS = (
    # attention, batch, precision
    ("eager", 2, "fp32"),
    ("sdpa", 2, "fp32"),
    ("eager", 1, "amp-bf16"),
    ("sdpa", 3, "bf16"),
)


def timm_saved(model: nn.Module, x: Tensor, precision: str) -> int:
    def run() -> Any:
        with running(precision, "sdpa"):
            return model(x)

    return held_bytes(run, [x, *model.parameters(), *model.buffers()])


@pytest.mark.parametrize("fused", [False, True], ids=["eager", "fused"])
@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_of_timm(name: str, fused: bool) -> None:
    model_class, options = FEATURES[name]
    for precision, drops, batch, heads in FEATURE_RUNS:
        if heads == 1 and "num_kv_heads" in options:
            continue
        kwargs = {**BASE, **options, **(DROPS if drops else {}), "num_heads": heads}
        config = configure(fields_of(model_class, kwargs))
        how = scenario(batch, precision, "sdpa" if fused else "eager")
        model = prepared(build(model_class, kwargs, fused), precision)
        expected = timm_saved(model, image(config, how), precision)
        assert folded(config, how)[0].cost.saved_bytes == expected, (kwargs, how)


def tiny(name: str) -> dict[str, Any]:
    """Overrides that make a model small and leave what it is made of."""
    options: dict[str, Any] = {
        "img_size": (8, 12), "patch_size": 4, "mlp_ratio": 2.0, "num_classes": 5,
    }  # fmt: skip
    config = resolve(name).config
    if config.backbone:
        # its stages are what they are
        return {"img_size": (64, 96), "depth": 1, "num_classes": 5}
    if isinstance(config.num_kv_heads, tuple):
        # so many for each block
        return {**options, "num_heads": config.num_heads, "embed_dim": 8 * config.num_heads}
    return {**options, "num_heads": 4, "embed_dim": 64, "depth": 2}


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_every_name_of_timm(family: str) -> None:
    # two of the four runs for each name, by turns
    turns = itertools.cycle((NAME_RUNS[::3], NAME_RUNS[1:3]))
    pairs = [(name, run) for name in zoo.table(family).rows for run in next(turns)]
    for name, (attention, batch, precision) in pairs:
        options = tiny(name)
        config = resolve(name, **options).config
        how = scenario(batch, precision, attention)
        with fused_attention(attention == "sdpa"):
            model = prepared(timm().create_model(name, **options).train(), precision)
        expected = timm_saved(model, image(config, how), precision)
        assert folded(config, how)[0].cost.saved_bytes == expected, (name, how)


def test_a_backbone_does_not_run_again() -> None:
    """What is checkpointed are the Transformer's blocks."""
    name = "vit_small_r26_s32_224"
    options, recipe = tiny(name), Recipe("block")
    config, how = resolve(name, **options).config, scenario(2, "fp32", "sdpa", recipe)
    model = treated(timm().create_model(name, **options), recipe)
    expected = timm_saved(model, image(config, how), "fp32")
    assert folded(config, how)[0].cost.saved_bytes == expected


def test_an_image_that_is_padded() -> None:
    """10 × 13 pixels in patches of 4: three rows of four."""
    sizes = {"img_size": (10, 13), "patch_size": 4}
    kwargs = {**BASE, **sizes, "dynamic_img_size": True, "dynamic_img_pad": True}
    config, how = configure(fields_of(VIT, kwargs)), scenario(2, "fp32", "eager")
    row, _ = folded(config, how)
    blocks = next(child for child in row.children if child.path == "blocks")
    assert blocks.shape == (2, 3 * 4 + 1, 16)
    model = build(VIT, kwargs, fused=False)
    assert row.cost.saved_bytes == timm_saved(model, image(config, how), "fp32")


def test_blocks_have_timms_types() -> None:
    for model_class, options in ((VIT, {}), (EVA, {}), (EVA, {"use_post_norm": True}), (BEIT, {})):
        kwargs = {**BASE, **options}
        row, _ = folded(configure(fields_of(model_class, kwargs)), scenario(1, "fp32", "eager"))
        blocks: Any = build(model_class, kwargs, fused=False).blocks
        assert block_of(row).type == type(blocks[0]).__name__
