"""The peak of a fully sharded step against torch's own tracker, and by arithmetic."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from sharded_support import Case, predicted, tracked

from vitcost import report
from vitcost.config.scenario import Scenario
from vitcost.costs import memory
from vitcost.costs.bounded import bound_of_passes
from vitcost.costs.memory import step_bound, training
from vitcost.engine.live import peak
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.zoo import resolve

SMALL = {"depth": 4, "img_size": 96}
TINY = "vit_tiny_patch16_224"
# all forty and more of them: tests/bench/sharded_peaks.py
CASES = (
    Case(TINY, SMALL, {"batch": 16, "zero": 3, "ranks": 3, "precision": "amp-bf16"}),
    Case(
        "deit_tiny_distilled_patch16_224",
        SMALL,
        {"batch": 2, "zero": 2, "ranks": 8, "freeze": "first:2", "accumulate": 2},
    ),
    Case(
        TINY,
        {**SMALL, "global_pool": "avg", "class_token": False},
        {
            "batch": 8, "zero": 3, "ranks": 64, "precision": "bf16", "policy": "reduce-fp32",
            "checkpointing": "block",
        },
    ),
    Case(TINY, SMALL, {"batch": 1, "zero": 3, "ranks": 2, "lora": 4, "platform": "cpu"}),
    # stages of several equal blocks are the model's own
    Case(
        "vitamin_small_224",
        {"depth": 2, "img_size": 64},
        {"batch": 2, "zero": 3, "ranks": 3, "precision": "amp-bf16"},
    ),
    Case(
        TINY,
        SMALL,
        {"batch": 4, "zero": 2, "ranks": 2, "precision": "bf16", "policy": "reduce-half"},
    ),
    Case(
        TINY,
        {"depth": 12, "img_size": 32, "embed_dim": 96},
        {"batch": 1, "zero": 3, "ranks": 5, "optimizer": "adamw-loop", "platform": "cpu"},
    ),
)  # fmt: skip


# small ones that take a second each: a table that blocks cast, both types of a reduction, the last
# gradient of a unit, gradients that are added to others
NARROW = {"depth": 3, "img_size": 32, "embed_dim": 48}
QUICK = (
    Case(
        "vit_small_patch16_rope_224",
        {"depth": 3, "img_size": 64, "embed_dim": 96, "num_heads": 3, "num_classes": 9},
        {
            "batch": 2, "zero": 2, "ranks": 4, "precision": "bf16", "policy": "reduce-half",
            "checkpointing": "block",
        },
    ),
    Case(
        TINY,
        {**NARROW, "depth": 1, "num_classes": 3000},
        {"batch": 1, "zero": 2, "ranks": 2, "precision": "bf16", "policy": "reduce-half"},
    ),
    Case(
        TINY,
        {**NARROW, "num_classes": 2000, "in_chans": 1},
        {
            "batch": 1, "zero": 3, "ranks": 2, "precision": "bf16", "policy": "reduce-fp32",
            "freeze": "backbone",
        },
    ),
    Case(TINY, NARROW, {"batch": 1, "zero": 3, "ranks": 3, "accumulate": 2}),
    # a layer's part of a table, taken before the layer is called
    Case(
        "vit_small_patch16_rope_mixed_224",
        {"depth": 3, "img_size": 64, "num_classes": 9},
        {"batch": 1, "zero": 3, "ranks": 64, "checkpointing": "first:2"},
    ),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", QUICK, ids=lambda case: str(case.flags))
def test_a_small_peak_is_torchs(case: Case) -> None:
    case = case._replace(flags={**case.flags, "optimizer": "sgd"})
    assert predicted(case).total_bytes == tracked(case)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.flags))
def test_the_peak_is_torchs(case: Case) -> None:
    assert predicted(case).total_bytes == tracked(case)


def test_units_by_arithmetic() -> None:
    """ViT-Ti, 6 classes, two ranks: a block has 12 · 192² + 13 · 192 parameters, of which each rank
    has half; outside of the blocks class token and positions are rows of one, which are whole."""
    config = resolve(TINY, num_classes=6).config
    run = workload(config, Scenario(mode="train", zero=3, ranks=2))
    h = 192
    assert run.sizes["N"] == 2
    assert run.sizes["unit 0"] == run.sizes["unit 0, trained"] == (12 * h * h + 13 * h) // 2
    patches, positions = 3 * 16 * 16 * h + h, 197 * h
    head = 3 * h + 3
    assert run.sizes["root"] == patches // 2 + h + positions + h + head
    frozen = workload(config, Scenario(mode="train", zero=3, ranks=2, freeze="backbone"))
    assert (frozen.sizes["unit 0, trained"], frozen.sizes["root, trained"]) == (0, head)


def test_blocks_keep_copies_of_a_buffer_under_a_policy() -> None:
    """A table of 14² patches by sines and cosines of 64 channels, a copy in bf16 for each of 12
    blocks; and the copy of two images of 3 · 224², which the convolution keeps."""
    flags: dict[str, Any] = {"batch": 2, "mode": "train", "zero": 3, "ranks": 8}
    plain, own = (
        report("vit_small_patch16_rope_224", precision="bf16", policy=policy, **flags).training
        for policy in ("none", "reduce-fp32")
    )
    more = own.saved_activations_bytes - plain.saved_activations_bytes
    assert more == 12 * 2 * 14**2 * 2 * 64 + 2 * 2 * 3 * 224**2
    # the buffers themselves stay in float32
    assert own.buffers_bytes > plain.buffers_bytes


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "eva02_tiny_patch14_224"])
def test_a_bias_with_a_buffer_is_refused_under_a_policy(name: str) -> None:
    """torch refuses it too: the keys' bias, a buffer in float32, widens that of queries and
    values."""
    config = resolve(name).config
    how = Scenario(mode="train", zero=3, ranks=8, precision="bf16", policy="reduce-fp32")
    with pytest.raises(NotCovered, match="attn under a policy of fully_shard: its forward joins"):
        training(config, how)
    x, weight, bias = (torch.zeros(*shape) for shape in ((1, 5, 8), (24, 8), (24,)))
    with pytest.raises(RuntimeError, match="same dtype"):
        torch.nn.functional.linear(x.bfloat16(), weight.bfloat16(), bias)


def test_towers_with_an_index_are_exact_under_a_policy() -> None:
    """An index of positions is no table, and SigLIP's pool takes its weights from one."""
    flags: dict[str, Any] = {"precision": "bf16", "policy": "reduce-fp32", "zero": 3, "ranks": 8}
    for name in ("openai/clip-vit-base-patch32", "google/siglip-base-patch16-224"):
        for tower in ("vision", "text"):
            own = report(f"{name}:{tower}", mode="train", batch=2, **flags).training
            assert own.peak_is == "exact"


def test_a_giant_in_the_optimizer_by_arithmetic() -> None:
    """One image and many ranks: the peak lies where weights are gathered, not in the optimizer."""
    config = resolve("vit_giant_patch14_224").config
    own = training(config, Scenario(mode="train", zero=3, ranks=2, batch=1))
    assert own.peak_at == "optimizer step"
    # 4 shards in fp32 and a copy of one: weights, gradients, two moments; counters, batch and loss
    shard = own.weights_bytes
    assert own.peak_bytes is not None
    assert 5 * shard < own.peak_bytes < 5.01 * shard


@pytest.mark.parametrize("zero", [2, 3])
@pytest.mark.parametrize("ranks", [2, 64, 1024])
def test_what_a_step_leaves_are_shards_of_gradients(zero: int, ranks: int) -> None:
    for flags in ({}, {"freeze": "first:3"}, {"precision": "bf16", "policy": "reduce-fp32"}):
        scenario = Scenario(mode="train", batch=4, zero=zero, ranks=ranks, **flags)
        run = workload(resolve(TINY).config, scenario)
        left = peak(run.step(), run.sizes).left
        own = memory.states(run, 0)
        assert left.gradients == own.gradients_bytes
        # and the loss
        assert left.saved == 0
        assert left.temporary == (2 if "policy" in flags else 4)


def test_trace_and_time_are_flat_in_depth_and_ranks() -> None:
    """Layers are counted, not walked: the events are as many for 12 blocks as for 48."""

    def events(depth: int, ranks: int) -> int:
        config = resolve(TINY, depth=depth).config
        return len(workload(config, Scenario(mode="train", zero=3, ranks=ranks)).step())

    assert events(12, 2) == events(48, 1024)


@pytest.mark.parametrize("checkpointing", ["none", "selective", "block"])
@pytest.mark.parametrize("zero", [2, 3])
def test_the_bound_lies_above(zero: int, checkpointing: str) -> None:
    config = resolve("vit_large_patch14_dinov2", num_classes=1).config
    for batch in (1, 2, 64):
        scenario = Scenario(
            mode="train", batch=batch, zero=zero, ranks=8, checkpointing=checkpointing,
            attention="eager",
        )  # fmt: skip
        own = training(config, scenario)
        assert own.peak_is == "exact"
        assert own.peak_bytes is not None
        at_most = step_bound(own, workload(config, scenario)).total_bytes
        assert own.peak_bytes <= at_most
        if batch == 64 and checkpointing != "block":
            assert at_most <= 1.15 * own.peak_bytes


def test_the_bound_by_arithmetic() -> None:
    """Of many ranks: the passes without gradients, the shards of these, and whole weights and
    gradients of the model and of its layers, with the buffers of both."""
    config = resolve("vit_large_patch16_224", num_classes=64).config
    how = Scenario(mode="train", batch=1, zero=3, ranks=64)
    run, h = workload(config, how), 1024
    layer = 12 * h * h + 13 * h
    # tables of one row are padded to 64
    root = 3 * 16 * 16 * h + h + 64 * h + 64 + 2 * h + 64 * (1 + 197) * h
    # a layer is gathered ahead; the largest buffer of weights is the model's
    weights, gradients = root + 2 * layer + root, root + layer + 2 * layer
    passes, shards = peak(run.bounding(onto=True), run.sizes), training(config, how).gradients_bytes
    own = bound_of_passes(run, shards).peak_bytes
    assert own == passes.peak_bytes + 4 * (weights + gradients) + shards


def test_more_ranks_need_no_more() -> None:
    """Apart from padding, which rows of one have as often as there are ranks."""
    flags: dict[str, Any] = {"mode": "train", "batch": 8, "zero": 3, "precision": "amp-bf16"}
    peaks = [report("vit_large_patch16_224", ranks=n, **flags).training.peak_bytes for n in (2, 8)]
    assert None not in peaks
    assert peaks[0] > peaks[1]


def test_a_policy_is_of_fully_shard() -> None:
    for given in ({}, {"zero": 1, "ranks": 2}, {"zero": 3, "ranks": 2, "recipe": "zero"}):
        with pytest.raises(
            ConfigError, match="policy reduce-fp32 is a setting of fully_shard: it needs"
        ):
            Scenario(precision="fp16", policy="reduce-fp32", **given)
    with pytest.raises(ConfigError, match="precision bf16 or fp16"):
        Scenario(precision="amp-bf16", policy="reduce-half", zero=2, ranks=2)
    whole = Scenario(mode="train", precision="bf16", zero=3, ranks=4)
    config = resolve(TINY).config
    bare, mixed = (training(config, how) for how in (whole, replace(whole, policy="reduce-fp32")))
    # shards, gradients and states in fp32 in place of bf16
    assert mixed.weights_bytes == 2 * bare.weights_bytes
    assert mixed.gradients_bytes == 2 * bare.gradients_bytes


def test_a_checkpointed_layer_that_begins_with_a_table_of_its_own() -> None:
    """transformers' BEiT makes an index first in each layer, an op that reads nothing and is no
    cast of what the layer is given: the report ended with an IndexError."""
    scenario = {"batch": 4, "mode": "train", "checkpointing": "block", "ranks": 8}
    whole, sharded = (
        report("microsoft/beit-base-patch16-224", zero=zero, **scenario).training.peak_bytes
        for zero in (1, 3)
    )
    assert 0 < (sharded or 0) < (whole or 0)
