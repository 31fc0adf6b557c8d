"""What the cards of a run send each other, and how long they wait for it."""

import pytest
from plan_support import BASE, PHI, H, S, only, planned

import vitcost
from vitcost.hardware.specs import own_card
from vitcost.planner.communication import Fabric, all_gather, all_reduce, reduce_scatter, send
from vitcost.planner.strategies import ZERO


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
    # the band of a step on one card alone, and none of what the cards exchange
    (alone,) = vitcost.report(
        "vit_base_patch16_224", batch=128, precision="amp-bf16", mode="train", gpu="h100-sxm"
    ).time
    below, above = (abs(s / alone.seconds - 1) for s in (alone.low_seconds, alone.high_seconds))
    assert below > 0.1
    assert row.low_seconds == pytest.approx(row.step_seconds - below * row.compute_seconds)
    assert row.high_seconds == pytest.approx(row.step_seconds + above * row.compute_seconds)


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
    more = (flights - 1) * stage.saved_activations_bytes
    assert stage.peak_bytes is not None
    assert row.memory_bytes == stage.peak_bytes + more
    assert row.memory_basis == "bounded"


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
    assert planned(zero=2, precision="amp-bf16", deadline="30h").best is not None


def test_several_nodes_share_a_network() -> None:
    asked = {"gpus": 8, "global_batch": 1024, "micro_batch": 64, "efficiency": 0.5, "overlap": 0}
    row = only(**asked, nodes=2, network="10 GB/s")
    assert row.exposed_seconds == pytest.approx(all_reduce(4 * PHI, Fabric(16, 2, 450e9, 10e9)))
