"""``plan``: what a run is by arithmetic, how a step is divided, and what cannot be asked."""

import json
import re
from typing import Any

import pytest

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError
from vitcost.hardware.specs import own_card
from vitcost.page import shown
from vitcost.planner.choose import PlanRow
from vitcost.planner.communication import Fabric, all_gather, all_reduce, reduce_scatter, send
from vitcost.planner.job import parse_days, parse_rate
from vitcost.planner.plan import Plan
from vitcost.planner.strategies import ZERO, divisors
from vitcost.render import render

Captured = pytest.CaptureFixture[str]
BASE = "vit_base_patch16_224"
PHI = 86_567_656
# ViT-B/16 at 224: 196 patches of 768 numbers, 12 blocks of 24 s h² + 4 s² h, 1000 classes
S, H = 197, 768
PATCHES = 2 * 196 * 768 * H
FORWARD = PATCHES + 12 * (24 * S * H * H + 4 * S * S * H) + 2 * H * 1000
# the image needs no gradient
TRAIN = 3 * FORWARD - PATCHES
ASKED: dict[str, Any] = {"samples": "1.28M", "epochs": 300, "gpu": "h100-sxm"}


def planned(**asked: Any) -> Plan:
    return vitcost.plan(BASE, **{**ASKED, **asked})


def only(**asked: Any) -> PlanRow:
    """The one way that is left where the user decides everything."""
    decided = {"zero": 0, "tensor_parallel": 1, "checkpointing": "none"}
    (row,) = planned(**{**decided, **asked}).found
    return row


# --- the run


def test_the_run_by_arithmetic() -> None:
    totals = planned().totals
    assert totals.samples == 1_280_000 * 300
    assert totals.steps == 93_750
    assert totals.tokens == 384_000_000 * S
    assert totals.params == PHI
    assert totals.rule_flops == 6 * PHI * 384_000_000 * S
    assert totals.model_flops == 384_000_000 * TRAIN
    # a last batch may be short
    assert planned(samples=4097, epochs=1, global_batch=4096, gpus=1).totals.steps == 2


def test_a_step_of_a_given_efficiency_by_hand() -> None:
    """On one card a step is its executed FLOPs over the peak's share, and seven passes of Adam."""
    row = only(gpus=1, global_batch=256, micro_batch=256, efficiency=0.5)
    executed = vitcost.report(BASE, batch=256).flops.train_step_executed
    compute = executed / (0.5 * 67e12)
    update = 7 * 4 * PHI / 3350e9
    assert row.compute_seconds == pytest.approx(compute)
    assert row.step_seconds == pytest.approx(compute + update)
    assert row.mfu == pytest.approx(256 * TRAIN / (compute + update) / 67e12)
    assert row.hfu == pytest.approx(executed / (compute + update) / 67e12)
    assert row.limit == "compute"
    assert row.strategy == "one card"
    assert (row.sent_bytes, row.exposed_seconds, row.bubble_seconds) == (0, 0, 0)


def test_hours_energy_and_cost_follow_from_the_step() -> None:
    row = only(price=2.5, gpus=4)
    assert row.step_seconds is not None
    seconds = 93_750 * row.step_seconds
    assert row.run_seconds == pytest.approx(seconds)
    assert row.gpu_hours == pytest.approx(4 * seconds / 3600)
    assert row.energy_joules == pytest.approx(4 * 700 * seconds)
    assert row.cost == pytest.approx(2.5 * 4 * seconds / 3600)
    assert row.samples_per_second == pytest.approx(4096 / row.step_seconds)
    assert only(gpus=4).cost is None


def test_the_time_is_the_predicted_one() -> None:
    row = only(gpus=1, global_batch=128, micro_batch=128, precision="amp-bf16")
    (time,) = vitcost.report(
        BASE, batch=128, mode="train", precision="amp-bf16", gpu="h100-sxm"
    ).time
    assert row.step_seconds == pytest.approx(time.seconds)
    assert row.mfu == pytest.approx(128 * TRAIN / time.seconds / 989e12)
    # the band is of the passes, the update is bytes
    half = (time.high_seconds - time.low_seconds) / 2 / time.seconds
    assert row.compute_seconds < time.seconds
    assert row.low_seconds == pytest.approx(time.seconds - half * row.compute_seconds)
    assert row.high_seconds == pytest.approx(time.seconds + half * row.compute_seconds)
    assert planned(gpus=1, precision="amp-bf16").basis == time.basis == "spec_sheet"


def test_accumulation_repeats_the_passes_and_updates_once() -> None:
    once = only(gpus=1, global_batch=64, micro_batch=64, efficiency=0.4)
    four = only(gpus=1, global_batch=256, micro_batch=64, efficiency=0.4)
    assert (once.accumulation, four.accumulation) == (1, 4)
    assert four.compute_seconds == pytest.approx(4 * (once.compute_seconds or 0))
    assert four.update_seconds == once.update_seconds


def test_an_anchor_scales_the_time() -> None:
    measured = {"anchor": f"{BASE}=500", "precision": "amp-fp16", "gpu": "v100-sxm2"}
    p = planned(gpus=1, global_batch=128, **measured, micro_batch=128, checkpointing="none")
    assert p.basis == "anchored"
    assert p.found[0].samples_per_second == pytest.approx(500, rel=0.001)


def test_an_anchor_was_measured_without_checkpointing_unless_that_is_fixed() -> None:
    """What is computed again comes on top of it: a block's forward but for its last layer."""
    measured = {"anchor": f"{BASE}=900", "precision": "amp-bf16", "gpu": "rtx4090", "gpus": 1}
    rows = {row.checkpointing: row for row in planned(**measured, micro_batch=256).found}
    assert 4096 / (rows["none"].compute_seconds or 0) == pytest.approx(900, rel=0.05)
    # 0.17 of the step's FLOPs again at least, and all of the forward, a third, at most
    again = (rows["block"].compute_seconds or 0) / (rows["none"].compute_seconds or 1)
    assert 1.17 < again < 1.34
    fixed = planned(**measured, micro_batch=256, checkpointing="block").found[0]
    assert fixed.compute_seconds == pytest.approx(rows["none"].compute_seconds, rel=0.02)


def test_the_basis_is_that_of_the_micro_batch() -> None:
    measured = {"precision": "amp-bf16", "gpu": "rtx3090", "gpus": 1, "layout": "nhwc"}
    assert planned(**measured, micro_batch=64).basis == "calibrated"
    # below 16 nothing was measured
    small = planned(**measured, micro_batch=8)
    assert small.basis == "spec_sheet"
    assert "time: predicted for one card, spec_sheet; " in " ".join(small.assumptions)


# --- memory


@pytest.mark.parametrize(("zero", "ranks"), [(0, 8), (1, 8), (0, 4), (1, 2)])
def test_memory_is_that_of_one_rank_of_a_report(zero: int, ranks: int) -> None:
    row = only(zero=zero, gpus=ranks, global_batch=32 * ranks, micro_batch=32)
    report = vitcost.report(BASE, batch=32, mode="train", zero=zero, ranks=ranks)
    assert row.memory_bytes == report.training.peak_bytes
    assert row.headroom_bytes == 80 * 2**30 - row.memory_bytes


def test_accumulated_gradients_stay() -> None:
    row = only(gpus=2, global_batch=256, micro_batch=32, zero=1)
    assert row.accumulation == 4
    asked = {"zero": 1, "ranks": 2, "accumulate": 4}
    report = vitcost.report(BASE, batch=32, mode="train", **asked)
    assert row.memory_bytes == report.training.peak_bytes
    once = only(gpus=2, global_batch=64, micro_batch=32, zero=1)
    assert once.memory_bytes < row.memory_bytes <= once.memory_bytes + 4 * PHI


def test_fully_sharded_weights_are_gathered_beside_the_shards() -> None:
    """All weights in stage 2; in stage 3 two blocks and what is outside; gradients of a block."""
    block = 12 * H * H + 13 * H
    outside = PHI - 12 * block
    for zero, gathered in ((2, PHI), (3, outside + 2 * block)):
        row = only(zero=zero, gpus=8, global_batch=256, micro_batch=32)
        kept = vitcost.report(BASE, batch=32, mode="train", zero=zero, ranks=8).training
        assert row.memory_bytes == kept.sum_bytes + 4 * (gathered + block)
        assert row.memory_basis == "sum"


def test_the_best_micro_batch_of_all() -> None:
    """The search finds what trying every divisor finds."""
    for checkpointing, share in (("none", 768), ("block", 9216)):
        asked = {"gpu": "t4", "gpus": 2, "global_batch": 2 * share, "checkpointing": checkpointing}
        found = only(**asked)
        tried = [only(**asked, micro_batch=b) for b in divisors(share)]
        assert {row.micro_batch * row.accumulation for row in tried} == {share}
        fitting = [row for row in tried if row.fits]
        assert 0 < len(fitting) < len(tried)
        assert found.step_seconds == min(row.step_seconds or 0 for row in fitting)


def test_what_fits_comes_first_fastest_first() -> None:
    found = planned(gpu="a10", gpus=4, global_batch=256).found
    fits = [row.fits for row in found]
    assert fits == sorted(fits, reverse=True)
    seconds = [row.step_seconds for row in found if row.fits]
    assert seconds == sorted(seconds, key=lambda s: s or 0)
    assert {row.zero for row in found} == {0, 1, 2, 3}
    assert {row.checkpointing for row in found} == {"none", "selective", "block"}


def test_nothing_fits(capsys: Captured) -> None:
    args = ["plan", "gpt3-175b", "--samples", "1M", "--gpus", "8", "--efficiency", "0.5"]
    assert run([*args, "-g", "h100-sxm", "--precision", "bf16"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "nothing fits" in out
    result = vitcost.plan("gpt3-175b", samples=10, gpu="h100-sxm", efficiency=0.5, global_batch=8)
    assert result.best is None
    assert all(row.limit == "memory" and row.step_seconds is None for row in result.found)
    assert all(row.headroom_bytes < 0 for row in result.found)


# --- exchange


def test_rings_and_trees_by_hand() -> None:
    node, V = Fabric(8, 1, 100e9, 0), 10**9
    ring = 8.4e-6 + 14 * 3.4e-6 + 2 * 7 / 8 * V / 100e9
    assert all_reduce(V, node) == pytest.approx(ring)
    assert all_gather(V, node) == pytest.approx(8.4e-6 + 7 * 3.4e-6 + 7 / 8 * V / 100e9)
    assert reduce_scatter(V, node) == all_gather(V, node)
    # over 4 nodes a ring goes 3 times to the next one, and through the slower link
    wide = Fabric(32, 4, 100e9, 25e9)
    ring = 8.4e-6 + 2 * (28 * 3.4e-6 + 3 * 9.6e-6) + 2 * 31 / 32 * V / 25e9
    assert all_reduce(V, wide) == pytest.approx(ring)
    # where nothing is to be carried, a tree over many nodes has fewer steps than a ring
    far = Fabric(1024, 128, 100e9, 25e9)
    tree = 2 * (7 * 28e-6 + 7 * 50e-6) + 2 * 1000 / (0.9 * 25e9)
    assert all_reduce(1000, far) == pytest.approx(tree)
    assert tree < 8.4e-6 + 2 * (896 * 3.4e-6)
    assert all_reduce(V, Fabric(1, 1, 1, 1)) == all_gather(V, Fabric(1, 1, 1, 1)) == 0
    assert send(V, node) == pytest.approx(3.4e-6 + V / 100e9)
    assert send(V, wide) == pytest.approx(9.6e-6 + V / 25e9)


@pytest.mark.parametrize(("zero", "passes"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_what_data_parallel_ranks_send(zero: int, passes: int) -> None:
    """Rajbhandari et al. 2020, section 7: 2Φ, and 3Φ where weights are divided."""
    row = only(zero=zero, gpus=8, global_batch=256, micro_batch=32)
    assert row.sent_bytes == passes * 4 * PHI * 7 // 8
    # fully sharded ranks exchange for every micro-batch
    twice = only(zero=zero, gpus=8, global_batch=512, micro_batch=32)
    assert twice.sent_bytes == row.sent_bytes * (2 if zero > 1 else 1)
    half = only(zero=zero, gpus=8, global_batch=256, micro_batch=32, precision="bf16")
    assert half.sent_bytes == passes * 2 * PHI * 7 // 8
    assert ZERO[zero].source


def test_data_parallel_hides_behind_the_backward_pass() -> None:
    """What is left of an all-reduce after two thirds of the passes of the last micro-batch."""
    slow = own_card("slow", {"like": "h100-sxm", "link_gbps": 1})
    asked = {"gpu": slow, "gpus": 8, "global_batch": 256, "micro_batch": 32, "efficiency": 0.5}
    exchange = all_reduce(4 * PHI, Fabric(8, 1, 1e9, 0))
    row = only(**asked)
    assert row.compute_seconds is not None
    assert row.exposed_seconds == pytest.approx(exchange - row.compute_seconds * 2 / 3)
    assert row.limit == "data exchange"
    half = only(**asked, overlap=0.5)
    assert half.exposed_seconds == pytest.approx(exchange - row.compute_seconds / 3)
    assert only(**asked, overlap=0).exposed_seconds == pytest.approx(exchange)
    # a fast link is hidden whole
    fast = only(**{**asked, "gpu": "h100-sxm"})
    assert fast.exposed_seconds == 0


def test_what_sharded_ranks_wait_for() -> None:
    """Stage 1 hides its reduce-scatter behind a backward pass, and its all-gather behind nothing;
    stages 2 and 3 exchange for each micro-batch, behind all of it, and gather once or twice."""
    slow = own_card("slow", {"like": "h100-sxm", "link_gbps": 1})
    asked = {"gpu": slow, "gpus": 8, "global_batch": 512, "micro_batch": 32, "efficiency": 0.5}
    one = all_gather(4 * PHI, Fabric(8, 1, 1e9, 0))
    each = (only(**asked).compute_seconds or 0) / 2
    assert only(**asked, zero=1).exposed_seconds == pytest.approx(one - each * 2 / 3 + one)
    assert only(**asked, zero=2).exposed_seconds == pytest.approx(2 * (2 * one - each))
    assert only(**asked, zero=3).exposed_seconds == pytest.approx(2 * (3 * one - each))
    half = only(**asked, zero=3, overlap=0.5)
    assert half.exposed_seconds == pytest.approx(2 * (3 * one - each / 2))
    # megatron-bf16 sends fp32 gradients and bf16 weights
    mixed = only(**asked, zero=1, recipe="megatron-bf16", overlap=0)
    gathered = all_gather(2 * PHI, Fabric(8, 1, 1e9, 0))
    assert mixed.exposed_seconds == pytest.approx(one + gathered)
    assert mixed.sent_bytes == (4 + 2) * PHI * 7 // 8


def test_ranks_of_a_layer_reduce_their_own_part_over_nodes() -> None:
    """Four cards share a layer, and four such groups lie on two nodes: each of them reduces whole
    embeddings, head and norms, and a quarter of the rest."""
    row = only(
        gpus=8, nodes=2, network="10 GB/s", global_batch=64, micro_batch=16, efficiency=0.5,
        overlap=0, tensor_parallel=4, sequence_parallel=False,
    )  # fmt: skip
    assert (row.data, row.tensor, row.accumulation) == (4, 4, 1)
    # weights 12h², biases of qkv and fc1 3h + 4h; biases of proj and fc2 h + h, norms 4h
    divided, kept = 12 * (12 * H * H + 7 * H), 12 * (2 * H + 4 * H)
    own = divided // 4 + kept + PHI - divided - kept
    stream = 4 * 16 * S * H
    exchange = 4 * 12 * all_reduce(stream, Fabric(4, 1, 450e9, 0))
    reduced = all_reduce(4 * own, Fabric(4, 2, 450e9, 10e9))
    assert row.exposed_seconds == pytest.approx(exchange + reduced)
    assert row.sent_bytes == 2 * 4 * own * 3 // 4 + 4 * 12 * 2 * stream * 3 // 4


@pytest.mark.parametrize(("gpus", "nodes"), [(4, 1), (2, 2)])
def test_stages_send_to_the_next_one(gpus: int, nodes: int) -> None:
    """The stream and its gradient, 16 micro-batches of 4 images; over nodes by their network."""
    row = only(
        gpus=gpus, nodes=nodes, network="10 GB/s", global_batch=64, micro_batch=4, efficiency=0.5,
        pipeline_parallel=4,
    )  # fmt: skip
    between = send(4 * 4 * S * H, Fabric(2, nodes, 450e9, 10e9))
    assert row.exposed_seconds == pytest.approx(16 * 2 * between)


def test_the_band_is_that_of_computing() -> None:
    row = only(gpus=8, global_batch=1024, micro_batch=128, precision="amp-bf16", zero=1)
    assert row.step_seconds is not None
    assert row.compute_seconds is not None
    # nothing was measured on an H100: 40 % either way
    assert row.low_seconds == pytest.approx(row.step_seconds - 0.4 * row.compute_seconds)
    assert row.high_seconds == pytest.approx(row.step_seconds + 0.4 * row.compute_seconds)


@pytest.mark.parametrize(("checkpointing", "passes"), [("none", 4), ("selective", 4), ("block", 6)])
@pytest.mark.parametrize("sequence", [False, True])
def test_what_tensor_parallel_ranks_exchange(
    checkpointing: str, passes: int, sequence: bool
) -> None:
    """Four all-reduces of b·s·h in half precision a block, two more for a forward that runs again;
    Shoeybi et al. 2019, section 3. A ring sends 2 (t - 1)/t of each."""
    asked = {
        "gpus": 4, "global_batch": 64, "micro_batch": 32, "precision": "amp-bf16", "zero": 0,
        "efficiency": 0.5, "tensor_parallel": 4, "sequence_parallel": sequence,
        "checkpointing": checkpointing,
    }  # fmt: skip
    (row,) = planned(**asked).found
    stream, node = 2 * 32 * S * H, Fabric(4, 1, 450e9, 0)
    one = all_gather(stream, node) + reduce_scatter(stream, node)
    one = one if sequence else all_reduce(stream, node)
    assert (row.data, row.tensor, row.accumulation) == (1, 4, 2)
    assert row.exposed_seconds == pytest.approx(2 * 12 * passes * one)
    assert row.sent_bytes == 2 * 12 * passes * 2 * stream * 3 // 4
    alone = only(gpus=1, **{n: v for n, v in asked.items() if n not in ("gpus", "tensor_parallel",
                 "sequence_parallel")})  # fmt: skip
    assert row.compute_seconds == pytest.approx((alone.compute_seconds or 0) / 4)
    assert row.update_seconds == pytest.approx((alone.update_seconds or 0) / 4)


def test_sharded_states_are_updated_by_their_part() -> None:
    asked = {"gpus": 8, "global_batch": 256, "micro_batch": 32, "efficiency": 0.5}
    whole = only(**asked).update_seconds or 0
    for zero in (1, 2, 3):
        assert only(**asked, zero=zero).update_seconds == pytest.approx(whole / 8)


def test_adapters_alone_are_exchanged() -> None:
    """LoRA of rank 8 on qkv and proj: 8 (h + 3h) + 8 (h + h) a block, and the head trains."""
    row = only(gpus=8, global_batch=256, micro_batch=32, lora=8)
    trained = 12 * 8 * (4 * H + 2 * H) + 1000 * H + 1000
    assert row.sent_bytes == 2 * 4 * trained * 7 // 8


def test_a_pipeline_waits_for_its_first_and_last_micro_batch() -> None:
    """p - 1 of a + p - 1 turns: Narayanan et al. 2021, section 2.2.1."""
    asked = {"gpus": 4, "global_batch": 64, "efficiency": 0.5, "checkpointing": "none", "zero": 0}
    row = only(**asked, pipeline_parallel=4, micro_batch=8)
    assert (row.data, row.pipeline, row.accumulation) == (1, 4, 8)
    turns = (row.compute_seconds or 0) + (row.exposed_seconds or 0)
    assert row.bubble_seconds == pytest.approx(turns * 3 / 8)
    # the stream to the next stage and its gradient back, 8 images of s tokens in fp32
    assert row.sent_bytes == 8 * 2 * 4 * 8 * S * H
    one = only(**{**asked, "gpus": 1}, micro_batch=8)
    assert row.compute_seconds == pytest.approx((one.compute_seconds or 0) / 4)


@pytest.mark.parametrize(("micro_batch", "flights"), [(8, 4), (32, 2), (64, 1)])
def test_a_stage_keeps_what_is_in_flight(micro_batch: int, flights: int) -> None:
    """A quarter of the blocks with embedding and head, and the activations of as many micro-batches
    as there are stages behind it, or as there are at all."""
    row = only(
        gpus=4, global_batch=64, efficiency=0.5, pipeline_parallel=4, micro_batch=micro_batch
    )
    accumulate = min(64 // micro_batch, 2)
    stage = vitcost.report(
        BASE, depth=3, batch=micro_batch, mode="train", accumulate=accumulate
    ).training
    if flights == 1:
        assert row.memory_bytes == stage.peak_bytes
    else:
        more = (flights - 1) * stage.saved_activations_bytes
        assert row.memory_bytes == stage.sum_bytes + more


def test_what_is_decided_is_not_searched() -> None:
    assert {row.zero for row in planned(recipe="apex-o2").found} == {0}
    assert {row.zero for row in planned(recipe="megatron-bf16").found} == {0, 1}
    assert {row.zero for row in planned(pipeline_parallel=4).found} == {0, 1}
    assert {row.tensor for row in planned(gpus=8).found} == {1, 2, 4}
    shared = planned(sequence_parallel=True).found
    assert {row.sequence for row in shared} == {True}
    assert {row.tensor for row in shared} == {2, 4}
    assert {row.checkpointing for row in planned(checkpointing="every:4").found} == {"every:4"}


def test_states_that_ranks_divide_leave_ranks_to_divide_them() -> None:
    # 12 heads and 4 cards: by 4 a layer would be divided among all of them
    assert {(row.data, row.tensor) for row in planned(zero=1, gpus=4).found} == {(4, 1), (2, 2)}
    assert {(row.data, row.tensor) for row in planned(gpus=4).found} == {(4, 1), (2, 2), (1, 4)}
    assert planned(zero=2, gpus=4, precision="amp-bf16", deadline="30h").best is not None


def test_several_nodes_share_a_network() -> None:
    asked = {"gpus": 8, "global_batch": 1024, "micro_batch": 64, "efficiency": 0.5, "overlap": 0}
    row = only(**asked, nodes=2, network="10 GB/s")
    assert row.exposed_seconds == pytest.approx(all_reduce(4 * PHI, Fabric(16, 2, 450e9, 10e9)))


# --- deadline


@pytest.mark.parametrize("hours", [8, 14, 40])
def test_the_fewest_cards(hours: int) -> None:
    asked = {"gpus": 8, "precision": "amp-bf16", "global_batch": 4096}
    found = planned(**asked, deadline=f"{hours}h")
    assert found.best is not None
    assert (found.best.run_seconds or 0) <= 3600 * hours
    assert "deadline: kept by the predicted time, the middle of its band" in found.assumptions
    for fewer in divisors(4096):
        if fewer < found.job.cards:
            best = planned(**{**asked, "gpus": fewer}).best
            assert best is None or (best.run_seconds or 0) > 3600 * hours


def test_a_card_that_keeps_a_deadline_is_alone() -> None:
    """5,040 samples are cut in 60 ways: the small micro-batches are slower than the one that is
    best, by which more cards would seem to be needed."""
    asked = {"global_batch": 5040, "precision": "amp-bf16"}
    alone = planned(**asked, gpus=1).best
    assert alone is not None
    assert alone.micro_batch > 500
    deadline = 1.001 * (alone.run_seconds or 0)
    assert planned(**asked, gpus=8, deadline=deadline).job.cards == 1
    # a hair less time than that, and there are two
    assert planned(**asked, gpus=8, deadline=0.999 * (alone.run_seconds or 0)).job.cards == 2


def test_a_deadline_by_an_anchor() -> None:
    asked = {"precision": "amp-bf16", "anchor": f"{BASE}=900", "micro_batch": 256}
    # 384 M images at 900 a second take 118.5 hours, by two of them half of that
    assert planned(**asked, gpus=4, deadline="120h").job.cards == 1
    assert planned(**asked, gpus=4, deadline="61h").job.cards == 2


def test_a_deadline_over_nodes() -> None:
    asked = {"precision": "amp-bf16", "deadline": "1h"}
    with pytest.raises(ConfigError, match="needs network"):
        planned(**asked)
    found = planned(**asked, network="50 GB/s")
    assert (found.job.gpus, found.job.nodes > 1) == (8, True)
    with pytest.raises(ConfigError, match=r"needs \d+,\d+ cards at least") as error:
        planned(precision="amp-bf16", deadline="1s", network="50 GB/s")
    # no fewer cards than there are seconds of them, if nobody waited for another
    told = int(re.sub(r".* needs ([\d,]+) cards.*", r"\1", str(error.value)).replace(",", ""))
    alone = planned(precision="amp-bf16", gpus=8).best
    assert alone is not None
    assert 0.9 < told / (8 * (alone.run_seconds or 0)) <= 1


# --- what cannot be


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"gpus": 0}, ConfigError, "gpus must be between 1 and"),
        ({"nodes": 0}, ConfigError, "nodes must be between 1 and"),
        ({"gpus": 10**9}, ConfigError, "gpus must be between 1 and"),
        ({"epochs": 1.5}, ConfigError, "epochs must be an integer"),
        ({"samples": 0}, ConfigError, "samples must be between 1 and"),
        ({"samples": "many"}, ConfigError, "expected a count"),
        ({"samples": "900T", "epochs": 100}, ConfigError, "more than"),
        ({"global_batch": 100}, ConfigError, "100 is not divisible by 8 data-parallel ranks"),
        ({"micro_batch": 3}, ConfigError, "micro_batch 3 does not divide the 512 samples"),
        (
            {"tensor_parallel": 5},
            ConfigError,
            "tensor_parallel 5 does not divide heads and mlp_dim, which 12",
        ),
        ({"pipeline_parallel": 3}, ConfigError, "pipeline_parallel 3 does not divide 8 cards"),
        ({"pipeline_parallel": 8}, ConfigError, "pipeline_parallel 8 does not divide depth 12"),
        ({"zero": 4}, ConfigError, "zero must be"),
        ({"zero": 1, "gpus": 1}, ConfigError, "zero 1 divides states .* there is 1 of them"),
        (
            {"zero": 1, "gpus": 8, "tensor_parallel": 4, "pipeline_parallel": 2},
            ConfigError,
            "zero 1 divides states among ranks",
        ),
        (
            {"gpu": "v100-sxm2", "precision": "bf16", "efficiency": 0.5},
            NotCovered,
            "no source states a bf16 peak of v100-sxm2; it has fp16",
        ),
        ({"checkpointing": "all"}, ConfigError, "checkpointing must be none"),
        ({"price": 0}, ConfigError, "price must be above 0, got 0"),
        ({"price": float("nan")}, ConfigError, "price must be above 0"),
        ({"efficiency": 0}, ConfigError, "efficiency must be above 0 and at most 1"),
        ({"anchor": f"{BASE}=9"}, ConfigError, "give it as micro_batch"),
        ({"global_batch": 100}, ConfigError, "with tensor_parallel 2 it would be"),
        ({"global_batch": 4097}, ConfigError, r"by 8 data-parallel ranks$"),
        ({"efficiency": 0.5, "anchor": f"{BASE}=9"}, ConfigError, "two accounts of one time"),
        ({"overlap": 1.5}, ConfigError, "overlap must be"),
        ({"deadline": "soon"}, ConfigError, "deadline must be a duration"),
        ({"deadline": "0h"}, ConfigError, "deadline must be above 0"),
        ({"nodes": 2}, ConfigError, "several nodes need network"),
        ({"network": "0 GB/s"}, ConfigError, "network must be above 0"),
        ({"gpu": ["t4", "l4"]}, ConfigError, "one kind of card; 2 are asked for"),
        ({"gpu": ()}, ConfigError, "one kind of card; 0 are asked for"),
        ({"gpu": "h100"}, UnknownName, "h100-sxm"),
        ({"gpu": "tpu-v7x", "precision": "bf16"}, NotCovered, "bandwidth"),
        (
            {"gpu": own_card("x", {"like": "l4"})._replace(memory_gb=None, usable_bytes=None)},
            NotCovered,
            "memory_gb of x; give it",
        ),
        ({"gpu": "rtx4090"}, NotCovered, "link_gbps of rtx4090; give it"),
        ({"recipe": "apex-o2", "zero": 1}, ConfigError, "divides nothing"),
        ({"sequence_parallel": True, "gpus": 1}, ConfigError, "needs tensor_parallel ranks"),
        ({"batch": 8}, ConfigError, "a plan decides batch; give global_batch"),
        ({"mode": "infer"}, ConfigError, "a plan decides mode; it is always train"),
        ({"depht": 3}, UnknownName, "unknown field 'depht'"),
    ],
    ids=str,
)
def test_bad_input(asked: dict[str, Any], error: type[VitcostError], says: str) -> None:
    with pytest.raises(error, match=says):
        planned(**asked)


def test_layers_that_ranks_cannot_share_are_divided_by_data_alone() -> None:
    asked = {**ASKED, "efficiency": 0.4}
    found = vitcost.plan("vit_dpwee_patch16_reg1_gap_256", **asked)
    assert found.found
    assert {row.tensor for row in found.found} == {1}
    (why,) = (said for said in found.assumptions if said.startswith("tensor parallel"))
    assert "of type DiffParallelScalingBlock is not covered" in why


def test_what_the_command_line_needs(capsys: Captured) -> None:
    for args, says in (
        ([BASE, "-g", "t4"], "no --samples given"),
        ([BASE, "--samples", "1M"], "no --gpu given"),
        ([BASE, "--samples", "1M", "-g", "t4", "--price", "0"], "price must be above 0"),
        (["clip_vit_base_patch32", "--samples", "1M", "-g", "h100-sxm"], "one tower"),
    ):
        assert run(["plan", *args]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert says in err
        assert "Traceback" not in err


def test_many_cards_and_many_divisors_take_no_time() -> None:
    """What is evaluated grows with the logarithm of a micro-batch's divisors."""
    from vitcost.planner import choose

    calls = 0
    real = choose.rank_need

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "rank_need", counted)
        planned(global_batch=735_134_400, gpus=8, checkpointing="none", zero=0, tensor_parallel=1)
    assert len(divisors(735_134_400 // 8)) > 700
    assert calls < 30


def test_spellings() -> None:
    assert parse_days("90min") == 5400
    assert parse_days(" 2 D ") == 172_800
    assert parse_rate("400 MB/s") == parse_rate("400 MB") == 4e8
    assert divisors(1) == [1]
    assert shown(3.14e23, "si") == "314.0 Z"


# --- what is printed


def test_json(capsys: Captured) -> None:
    args = ["plan", BASE, "--samples", "1.28M", "--epochs", "300", "-g", "h100-sxm", "--json"]
    assert run(args) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads(json.dumps(planned().to_dict()))
    assert data["schema"] == "vitcost.plan/1"
    assert data["rows"][0]["fits"] is True
    assert data["totals"]["model_flops"] == 384_000_000 * TRAIN


def test_every_assumption_is_printed() -> None:
    p = planned(nodes=2, network="50 GB/s", price=2, reserve="2 GiB", precision="amp-bf16")
    text = render(p)
    for assumption in p.assumptions:
        assert assumption in text
    for word in ("450 GB/s", "50 GB/s from a card to other nodes", "2.00 GiB reserved", "700 W"):
        assert any(word in each for each in p.assumptions)
    assert "989 TFLOP/s" in text
    unpowered = planned(gpu="a40", gpus=1)
    assert any("no source states the power" in each for each in unpowered.assumptions)
    assert unpowered.best is not None
    assert unpowered.best.energy_joules is None


@pytest.mark.parametrize("format", ["csv", "markdown", "html", "table"])
def test_every_format(format: str) -> None:
    assert "ZeRO-3" in render(planned(gpus=2), format)
    assert "ZeRO-3" in planned(gpus=2)._repr_html_()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_holds_it(width: int) -> None:
    assert max(map(len, render(planned(price=2), width=width).splitlines())) <= width
