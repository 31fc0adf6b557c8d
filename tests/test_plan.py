"""``plan``: what a run is by arithmetic, how a step is divided, and what cannot be asked."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from plan_support import ASKED, BASE, PHI, TRAIN, S, only, planned

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError
from vitcost.hardware.cards import CARDS
from vitcost.hardware.node_sizes import NODES
from vitcost.hardware.specs import own_card
from vitcost.page import shown
from vitcost.planner.job import parse_days, parse_rate
from vitcost.planner.plan import Plan
from vitcost.planner.strategies import divisors
from vitcost.render import render
from vitcost.schemas import schema
from vitcost.zoo.trace_file import trace

Captured = pytest.CaptureFixture[str]


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
    below = 1 - time.low_seconds / time.seconds
    above = time.high_seconds / time.seconds - 1
    assert row.compute_seconds < time.seconds
    assert row.low_seconds == pytest.approx(time.seconds - below * row.compute_seconds)
    assert row.high_seconds == pytest.approx(time.seconds + above * row.compute_seconds)
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
    # below 16 nothing was measured on this card
    small = planned(**measured, micro_batch=8)
    assert small.basis == "anchored"
    assert "time: predicted for one card, anchored; " in " ".join(small.assumptions)


# --- memory


@pytest.mark.parametrize(("zero", "ranks"), [(0, 8), (1, 8), (0, 4), (1, 2)])
def test_memory_is_that_of_one_rank_of_a_report(zero: int, ranks: int) -> None:
    row = only(zero=zero, gpus=ranks, global_batch=32 * ranks, micro_batch=32)
    report = vitcost.report(BASE, batch=32, mode="train", zero=zero, ranks=ranks)
    assert row.memory_bytes == report.training.peak_bytes
    kept = 32 * 2**20 + 2**29 + max(2**29, row.memory_bytes * 2 // 100)
    assert row.headroom_bytes == 80 * 2**30 - row.memory_bytes - kept


def test_accumulated_gradients_stay() -> None:
    row = only(gpus=2, global_batch=256, micro_batch=32, zero=1)
    assert row.accumulation == 4
    asked = {"zero": 1, "ranks": 2, "accumulate": 4}
    report = vitcost.report(BASE, batch=32, mode="train", **asked)
    assert row.memory_bytes == report.training.peak_bytes
    once = only(gpus=2, global_batch=64, micro_batch=32, zero=1)
    assert once.memory_bytes < row.memory_bytes <= once.memory_bytes + 4 * PHI


def test_memory_of_fully_sharded_weights_is_the_reports() -> None:
    for zero in (2, 3):
        row = only(zero=zero, gpus=8, global_batch=256, micro_batch=32)
        kept = vitcost.report(BASE, batch=32, mode="train", zero=zero, ranks=8).training
        assert (row.memory_bytes, row.memory_basis) == (kept.peak_bytes, "exact")


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
    args = ["plan", "gpt3-175b", "--samples", "1M", "--node-size", "8", "--efficiency", "0.5"]
    assert run([*args, "-g", "h100-sxm", "--precision", "bf16"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "nothing fits" in out
    result = vitcost.plan("gpt3-175b", samples=10, gpu="h100-sxm", efficiency=0.5, global_batch=8)
    assert result.best is None
    assert all(row.limit == "memory" and row.step_seconds is None for row in result.found)
    assert all(row.headroom_bytes < 0 for row in result.found)


# --- deadline


@pytest.mark.parametrize("hours", [8, 14, 40])
def test_the_fewest_cards(hours: int) -> None:
    asked = {"precision": "amp-bf16", "global_batch": 4096}
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
    assert planned(**asked, deadline=deadline).job.cards == 1
    # a hair less time than that, and there are two
    assert planned(**asked, deadline=0.999 * (alone.run_seconds or 0)).job.cards == 2


def test_a_deadline_by_an_anchor() -> None:
    asked = {"precision": "amp-bf16", "anchor": f"{BASE}=900", "micro_batch": 256}
    # 384 M images at 900 a second take 118.5 hours, by two of them half of that
    assert planned(**asked, deadline="120h").job.cards == 1
    assert planned(**asked, deadline="61h").job.cards == 2


@pytest.mark.parametrize(
    ("card", "precision"),
    [("h100-sxm", "amp-bf16"), ("t4", "amp-fp16"), ("v100-sxm2", "amp-fp16")],
)
def test_a_run_is_in_autocast_where_nobody_names_a_precision(card: str, precision: str) -> None:
    """The H100 has bf16 matrix units, the T4 and the V100 those of fp16 alone."""
    asked: dict[str, Any] = {"samples": 10**6, "gpu": card, "gpus": 1, "global_batch": 64}
    found = vitcost.plan(BASE, **asked)
    assert found.scenario.precision == precision
    assert found.page().answer[0].endswith(f"batch 64, {precision}")
    same = vitcost.plan(BASE, **asked, precision="auto")
    assert same.to_dict() == found.to_dict()
    assert vitcost.plan(BASE, **asked, precision="fp32").scenario.precision == "fp32"
    # a recipe has one of its own
    assert vitcost.plan(BASE, **asked, recipe="megatron-fp16").scenario.precision == "fp16"
    with pytest.raises(ConfigError, match="precision fp32 contradicts recipe"):
        vitcost.plan(BASE, **asked, recipe="megatron-fp16", precision="fp32")


def test_a_deadline_over_nodes() -> None:
    asked = {"precision": "amp-bf16", "deadline": "1h"}
    node = planned(**asked)
    # one node is not enough: the page has the closest way, and what is missing
    assert not node.ok
    assert node.job.cards == 8
    assert node.late is not None
    assert node.best == planned(precision="amp-bf16", gpus=8).best
    assert node.best is not None
    seconds = node.best.run_seconds or 0
    assert node.late.late_seconds == seconds - 3600
    assert node.late.cards_at_pace == math.ceil(8 * seconds / 3600)
    assert node.late.needs_network
    text = render(node)
    assert "no number of cards that was tried keeps a deadline of" in text
    assert "more than a node of 8 needs network, the bandwidth of a card to other nodes" in text
    found = planned(**asked, network="50 GB/s")
    assert (found.job.gpus, found.job.nodes > 1) == (8, True)
    assert found.late is None
    late = planned(precision="amp-bf16", deadline="1s", network="50 GB/s").late
    assert late is not None
    # no fewer cards than there are seconds of them, if nobody waited for another
    assert 0.9 < late.least_cards / (8 * seconds) <= 1
    assert not late.needs_network


def test_a_deadline_that_nothing_keeps_is_exit_1(capsys: Captured) -> None:
    args = ("plan", BASE, "--samples", "1.28M", "-g", "h100-sxm", "--deadline", "1s")
    assert run([*args, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema("plan")).validate(data)
    assert data["late"]["late_seconds"] == data["rows"][0]["run_seconds"] - 1
    assert not data["ok"]


# --- adapters, and the nodes that there are


@pytest.mark.parametrize("flags", [{"lora": 16}, {"lora": 4, "lora_layers": "fc1,fc2"}])
def test_a_run_of_adapters_is_planned_on_whole_layers(flags: dict[str, Any]) -> None:
    found = planned(**flags)
    assert found.best is not None
    assert {row.tensor for row in found.found} == {1}
    assert any(
        "tensor parallel is left out: adapters are not covered" in said
        for said in found.assumptions
    )
    whole = planned(tensor_parallel=1)
    assert whole.best is not None
    # weights without a gradient are neither updated nor exchanged
    assert found.best.memory_bytes != whole.best.memory_bytes
    assert min(row.sent_bytes for row in found.found) < min(r.sent_bytes for r in whole.found) / 20
    assert planned(**flags, deadline="40h").best is not None


def test_every_card_has_a_largest_node_with_a_source() -> None:
    named = [name for node in NODES for name in node.cards]
    assert sorted(named) == sorted(CARDS)
    assert all(node.source and node.most >= 8 for node in NODES)
    # HGX boards have 8, Google's a2-megagpu-16g 16, an NVL72 rack 72, a pod of TPU v5e 256
    sizes = {name: node.most for node in NODES for name in node.cards}
    known = ("h100-sxm", "a100-sxm-40gb", "gb200", "tpu-v5e")
    assert [sizes[name] for name in known] == [8, 16, 72, 256]


def test_a_node_that_is_sold_is_planned() -> None:
    asked: dict[str, Any] = {"gpu": "gb200", "gpus": 64, "precision": "amp-bf16"}
    assert planned(**asked, efficiency=0.4).job.cards == 64
    # who describes a card of another name knows its nodes
    own = "mine,bf16_tflops=900,fp32_tflops=60,memory_gb=80,bandwidth_gbps=3000,link_gbps=400"
    assert planned(gpu=own, gpus=64).job.cards == 64


# --- cards in all, cards side by side, energy, the card's own precision


# what is decided is not searched
DECIDED: dict[str, Any] = {"zero": 0, "tensor_parallel": 1, "checkpointing": "none"}


def few(**asked: Any) -> Plan:
    return planned(**{**DECIDED, **asked})


def test_cards_in_all_are_whole_nodes() -> None:
    sixteen = few(cards=16, network="50 GB/s")
    assert sixteen == few(nodes=2, network="50 GB/s")
    assert sixteen == few(cards=16, node_size=8, network="50 GB/s")
    assert few(cards=4) == few(node_size=4) == few(gpus=4)
    assert (few(cards=6, global_batch=96).job.gpus, few().job.cards) == (6, 8)


def test_a_run_has_the_band_of_its_step() -> None:
    p = planned(price=2.5, kwh_price=0.25, pue=1.2, co2=0.4, precision="amp-bf16")
    row = p.best
    assert row is not None
    assert row.low_seconds is not None
    assert row.high_seconds is not None
    steps, hours = 93_750, 93_750 * 8 / 3600
    assert (row.run_low_seconds, row.run_high_seconds) == (
        steps * row.low_seconds,
        steps * row.high_seconds,
    )
    assert row.gpu_hours_high == pytest.approx(hours * row.high_seconds)
    assert row.cost_low == pytest.approx(2.5 * hours * row.low_seconds)
    # 8 cards of 700 W, and a fifth more for the site
    assert row.energy_high_joules == pytest.approx(8 * 700 * 1.2 * steps * row.high_seconds)
    assert row.energy_joules is not None
    kwh = row.energy_joules / 3.6e6
    assert row.energy_cost == pytest.approx(0.25 * kwh)
    assert row.co2_kg == pytest.approx(0.4 * kwh)
    assert "energy: 700 W of board power throughout, times a PUE of 1.2, as given" in p.assumptions


def test_cards_side_by_side() -> None:
    cards = ["l40s", "t4", "h100-sxm", "tpu-v7x"]
    found = few(gpu=cards, precision="auto")
    assert [each.gpu for each in found.beside] == ["h100-sxm", "l40s", "t4", "tpu-v7x"]
    for each in found.beside[:3]:
        alone = few(gpu=each.gpu, precision="auto")
        assert (each.best, each.precision) == (alone.best, alone.scenario.precision)
    assert found == replace(few(gpu="h100-sxm", precision="auto"), beside=found.beside)
    assert found.beside[3].best is None
    assert "no source states the memory bandwidth of tpu-v7x" in render(found)
    # by price: the fastest is not the cheapest
    priced = few(gpu=cards[:3], price={"l40s": 0.1, "t4": 1, "h100-sxm": 9}, precision="auto")
    assert [each.gpu for each in priced.beside] == ["l40s", "h100-sxm", "t4"]
    # of a deadline the fewest cards
    kept = few(gpu=["l40s", "h100-sxm"], deadline="40h", precision="auto")
    assert [each.gpu for each in kept.beside] == ["h100-sxm", "l40s"]
    assert [each.cards for each in kept.beside] == sorted(each.cards or 0 for each in kept.beside)
    late = few(gpu=["l4", "h100-sxm"], deadline="1min", precision="auto")
    assert not late.ok
    assert [each.gpu for each in late.beside] == ["h100-sxm", "l4"]
    assert {each.missing for each in late.beside} == {
        "no number of cards that was tried keeps the deadline"
    }


def test_ways_that_are_as_fast_are_folded() -> None:
    """The page has the simplest of those within two percent, and says which these are."""
    text = render(planned(precision="amp-bf16"))
    found = planned(precision="amp-bf16")
    best = found.best
    assert best is not None
    near = [
        row.strategy
        for row in found.found
        if row.fits and (row.step_seconds or 9) <= 1.02 * (best.step_seconds or 0)
    ]
    assert {"DDP", "ZeRO-2"} <= set(near)
    assert "as fast within 2 %, and no simpler: " in text
    table = text.partition("Fastest that fit")[2]
    assert [line for line in table.splitlines() if line.startswith("ZeRO-2 ")] == []
    assert "Every way to divide the step" not in text
    assert "Every way to divide the step" in render(planned(precision="amp-bf16", all=True))


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
        (
            {"zero": 1, "gpus": 1},
            ConfigError,
            "zero 1 divides states among ranks: give ranks above 1, got 1",
        ),
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
        ({"checkpointing": "first:2"}, ConfigError, "a plan checkpoints all blocks or none"),
        ({"price": 0}, ConfigError, "price must be above 0, of a card and hour"),
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
        ({"gpu": ()}, ConfigError, "no card: name one or several, gpu"),
        ({"gpu": ["t4", "l44"]}, UnknownName, "did you mean l4"),
        ({"price": "t4=1"}, ConfigError, "price of t4, which is not among the cards: h100-sxm"),
        ({"precision": "bf61"}, UnknownName, "did you mean bf16"),
        ({"cards": 12}, ConfigError, "12 are no whole nodes of 8: give 8 or 16, or node_size"),
        ({"cards": 16}, ConfigError, "several nodes need network"),
        ({"cards": 16, "nodes": 2}, ConfigError, "cards 16 and nodes both say how many there are"),
        ({"cards": 8, "deadline": "2d"}, ConfigError, "cards 8 and deadline both say how many"),
        ({"gpus": 8, "node_size": 8}, ConfigError, "gpus is another name of node_size: give one"),
        ({"kwh_price": 0}, ConfigError, "kwh_price must be above 0"),
        ({"pue": 0.9}, ConfigError, "pue must be from 1 to 10, such as 1.2, got 0.9"),
        ({"co2": -1}, ConfigError, "co2 must be above 0"),
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
        ({"gpus": 64}, ConfigError, "no node of h100-sxm has more than 8; give cards 64"),
        ({"gpu": "l4", "gpus": 64}, ConfigError, "no node of l4 has more than 20; give cards 80"),
        ({"gpu": "b200,power_w=900", "gpus": 9}, ConfigError, "b200,power_w=900 has more than 8"),
        ({"gpus": 64, "deadline": "2d"}, ConfigError, "node_size 64 contradicts deadline 2d"),
        ({"gpus": 8, "deadline": "2d"}, ConfigError, "node_size 8 contradicts deadline 2d"),
        ({"nodes": 2, "deadline": "2d"}, ConfigError, "nodes 2 contradicts deadline 2d"),
        (
            {"lora": 4, "tensor_parallel": 2},
            NotCovered,
            "adapters are not covered in layers that tensor-parallel",
        ),
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
    assert "does not cover layers of type DiffParallelScalingBlock" in why


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
    assert data == json.loads(json.dumps(planned(precision="auto").to_dict()))
    assert data["schema"] == "vitcost.plan/1"
    assert data["rows"][0]["fits"] is True
    assert data["totals"]["model_flops"] == 384_000_000 * TRAIN


def test_every_assumption_is_printed() -> None:
    asked = {"nodes": 2, "network": "50 GB/s", "price": 2, "reserve": "2 GiB"}
    p = planned(**asked, precision="amp-bf16", all=True)
    text = render(p)
    for assumption in p.assumptions:
        assert assumption in text
    for word in (
        "450 GB/s",
        "50 GB/s from a card to other nodes",
        "2.00 GiB of each card is kept free",
        "700 W",
    ):
        assert any(word in each for each in p.assumptions)
    assert "989 TFLOP/s" in text
    unpowered = planned(gpu="a40", gpus=1)
    assert any("no source states the power" in each for each in unpowered.assumptions)
    assert unpowered.best is not None
    assert unpowered.best.energy_joules is None


@pytest.mark.parametrize("format", ["csv", "markdown", "html", "table"])
def test_every_format(format: str) -> None:
    assert "ZeRO-3" in render(planned(gpus=2, all=True), format)
    assert "ZeRO-3" in planned(gpus=2, all=True)._repr_html_()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_holds_it(width: int) -> None:
    for full in (False, True):
        text = render(planned(price=2, kwh_price=0.2, co2=0.4, all=full), width=width)
        assert max(map(len, text.splitlines())) <= width


def test_a_distilled_model_has_two_heads_and_is_one_tower() -> None:
    found = vitcost.plan("deit_tiny_distilled_patch16_224", **{**ASKED, "gpus": 1})
    # a class token, a distillation token and 196 patches
    assert found.totals.tokens == 1_280_000 * 300 * 198


# --- traced models

CONVNEXT = "convnext_tiny_hnf.json.gz"
CONV_ARGS: dict[str, Any] = {"samples": "1.28M", "gpu": "h100-sxm", "precision": "amp-fp16"}


def test_a_file_of_traces_is_planned_without_torch() -> None:
    """Its file has batches from two on; what ranks of DDP and ZeRO-1 hold is what a report of so
    many ranks says, and the others are refused by name in the table."""
    file = str(Path(__file__).parent / "data" / "traces" / CONVNEXT)
    found = vitcost.plan(file, **CONV_ARGS)
    assert found.ok
    assert found.scenario.precision == "amp-fp16"
    divided = {(row.zero, row.checkpointing): row for row in found.found}
    for zero in (0, 1):
        row = divided[zero, "none"]
        report = vitcost.report(
            file, batch=row.micro_batch, mode="train", precision="amp-fp16", ranks=8, zero=zero
        )
        assert (row.fits, row.memory_basis) == (True, "exact")
        assert row.memory_bytes == report.training.peak_bytes
    assert "has no trace under --precision amp-fp16 --zero 3" in (divided[3, "none"].missing or "")
    assert "checkpointing selective" in (divided[0, "selective"].missing or "")
    assert "not covered, ZeRO-2, ZeRO-3: " in render(found)
    # FLOPs of a sample are half of those of two
    two = vitcost.report(file, batch=2, precision="amp-fp16").flops
    assert found.totals.model_flops == 640_000 * (two.train_step or 0)
    # the time is that of the traced model, with its band
    time = vitcost.report(file, batch=512, mode="train", precision="amp-fp16", gpu="h100-sxm").time[
        0
    ]
    assert found.basis == time.basis
    row = divided[0, "none"]
    assert row.micro_batch == 512
    assert row.step_seconds == pytest.approx(time.seconds, rel=0.01)
    assert row.high_seconds / row.step_seconds == pytest.approx(
        time.high_seconds / time.seconds, rel=0.01
    )
    # one precision is the file's own
    assert vitcost.plan(file, samples="1M", gpu="l4").scenario.precision == "amp-fp16"


def test_a_file_without_one_image_is_answered_from_two_on() -> None:
    file = str(Path(__file__).parent / "data" / "traces" / CONVNEXT)
    flags = {"gpu": "l4", "mode": "train", "precision": "amp-fp16"}
    found = vitcost.fit(file, **flags)
    (row,) = found.found
    assert found.wanted == 2
    assert row.largest_batch
    for batch, fits in ((row.largest_batch, True), (row.largest_batch + 1, False)):
        assert vitcost.fit(file, **flags, batch=batch).found[0].fits is fits
    with pytest.raises(NotCovered, match="no trace under --precision amp-fp16 at batch 1"):
        vitcost.fit(file, **flags, batch=1)
    with pytest.raises(NotCovered, match="at batch 1"):
        vitcost.plan(file, **CONV_ARGS, micro_batch=1)


def test_gradients_that_a_file_has_none_of_are_bounded(tmp_path: Path) -> None:
    """A module that is there is traced with gradients to add to; its file has none, and the bound
    is no less, by all gradients at most."""
    path = str(tmp_path / "m.json")
    model = vitcost.from_torch(layers(), inputs="196x64")
    trace(model, path)
    asked: dict[str, Any] = {"samples": 10**6, "gpu": "l4", "precision": "fp32", "cards": 2}
    asked |= {"micro_batch": 4, "global_batch": 32, "zero": 0, "checkpointing": "none"}
    exact, bound = (vitcost.plan(each, **asked).found[0] for each in (model, path))
    assert (exact.memory_basis, bound.memory_basis) == ("exact", "bounded")
    gradients = 4 * exact_params(model)
    assert 0 <= (bound.memory_bytes or 0) - (exact.memory_bytes or 0) <= gradients
    assert "gradients that are added up stand beside" in render(
        vitcost.plan(path, **asked, all=True)
    )


def exact_params(model: Any) -> int:
    return int(vitcost.report(model, batch=2).params)


def layers() -> Any:
    from torch import nn

    block = (nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
    return nn.Sequential(*block, *block)
