"""Steps of open_clip's own text towers and pairs, under its own losses, against torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from open_clip_support import MODELS, Case, alive_in_eval, config_of, predicted, traced, tracked

from vitcost import fit, report
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import inference, training
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.render import render

pytestmark = pytest.mark.filterwarnings("ignore")
# the rest is compared by tests/bench/open_clip_peaks.py
CASES = (
    ("CLIP", "both", {"precision": "amp-bf16", "batch": 2}),
    # features of several ranks: lists of zeros at the peak, all products, products of one rank
    ("CLIP", "both", {"precision": "amp-bf16", "batch": 2, "ranks": 64, "gather": "local"}),
    ("CLIP", "both", {"precision": "fp32", "batch": 1, "ranks": 300}),
    ("CLIP", "both", {"precision": "amp-bf16", "batch": 200, "ranks": 4, "gather": "local-grad"}),
    ("CLIP", "both", {"precision": "bf16", "batch": 128, "ranks": 5, "gather": "all-grad",
                      "platform": "cpu"}),
    # texts that neighbours pass on: by one side alone, by both, by both many times and by one
    ("SigLIP", "both", {"precision": "fp32", "batch": 1, "ranks": 8}),
    ("SigLIP", "both", {"precision": "amp-bf16", "batch": 300, "ranks": 2}),
    ("SigLIP", "both", {"precision": "amp-fp16", "batch": 300, "ranks": 3}),
    ("SigLIP", "both", {"precision": "amp-bf16", "batch": 300, "ranks": 4}),
    ("SigLIP", "both", {"precision": "bf16", "batch": 200, "ranks": 16, "platform": "cpu"}),
    # a batch whose pairs need the most
    ("CLIP", "both", {"precision": "fp32", "batch": 400}),
    ("SigLIP", "both", {"precision": "bf16", "batch": 400}),
    ("24 tokens", "text", {"precision": "bf16", "batch": 3, "checkpointing": "block"}),
    ("CLIPA", "text", {"precision": "fp32", "batch": 1}),
    # an image tower without a head, and one of convolutions and blocks
    ("SigLIP", "vision", {"precision": "bf16", "batch": 8}),
    ("ViTamin", "vision", {"precision": "bf16", "batch": 1}),
)  # fmt: skip


def case_of(name: str, tower: str, flags: dict[str, Any]) -> Case:
    return Case(name, MODELS[name], tower, Scenario(mode="train", optimizer="sgd", **flags))


@pytest.mark.parametrize(("name", "tower", "flags"), CASES, ids=str)
def test_a_step(name: str, tower: str, flags: dict[str, Any], tmp_path: Path) -> None:
    case = case_of(name, tower, flags)
    config = config_of(case, tmp_path)
    assert predicted(case, config) == tracked(case, config)
    # a trace is of one rank
    if case.how.precision == "bf16" and case.how.ranks == 1:
        own, by_trace = traced(case, config)
        assert own == by_trace


@pytest.mark.parametrize("name", ["CLIP", "24 tokens", "CLIPA"])
def test_a_text_in_inference(name: str, tmp_path: Path) -> None:
    """Under autocast torch's own attention has no other forward in eval."""
    case = case_of(name, "text", {"precision": "amp-bf16", "batch": 2})
    config = config_of(case, tmp_path)
    run = workload(config, replace(case.how, mode="infer"))
    assert inference(run).activations_bytes == alive_in_eval(case, config)


def test_what_ranks_add_by_arithmetic(tmp_path: Path) -> None:
    """Log-probabilities of all pairs of 4 ranks of 8, twice; a number for each pair; and what the
    products keep."""
    case = case_of("CLIP", "both", {"precision": "fp32", "batch": 8, "ranks": 4})
    config = config_of(case, tmp_path)
    alone = workload(config, replace(case.how, ranks=1)).rows().cost.saved_bytes
    over = workload(config, case.how).rows().cost.saved_bytes
    b, pairs, width = 8, 32, 40
    # on one rank two products: features of both towers, and these times the scale
    own = 2 * 4 * b**2 + 8 * b + 4 * 4 * b * width
    # over ranks one product: gathered images, these times the scale, and gathered texts
    assert over - alone == 2 * 4 * pairs**2 + 8 * pairs + 3 * 4 * pairs * width - own


def test_what_neighbours_add_by_arithmetic(tmp_path: Path) -> None:
    """For each other rank its texts, images times the scale, signs, and these times the logits."""
    case = case_of("SigLIP", "both", {"precision": "fp32", "batch": 8, "ranks": 64})
    config = config_of(case, tmp_path)
    alone = workload(config, replace(case.how, ranks=1)).rows().cost
    over = workload(config, case.how).rows().cost
    b, width = 8, 48
    assert over.saved_bytes - alone.saved_bytes == 63 * 4 * (2 * b * width + 2 * b * b)
    assert over.flops - alone.flops == 63 * 2 * b * b * width
    assert training(config, case.how).peak_is == "exact"


def test_where_no_loss_gathers() -> None:
    with pytest.raises(ConfigError, match="gather local compares features of several ranks"):
        Scenario(gather="local")
    names = ("vit_tiny_patch16_224", "ViT-B-16-SigLIP", "openai/clip-vit-base-patch32", "resnet18")
    for name in names:
        with pytest.raises(ConfigError, match="gather local is of open_clip's ClipLoss"):
            report(name, ranks=2, gather="local")
    # transformers' own forward has the loss of the pairs of one rank
    one, two = (report(names[2], mode="train", ranks=n).training for n in (1, 2))
    assert two.peak_bytes == (one.peak_bytes or 0) + two.buckets_bytes


@pytest.mark.parametrize("freeze", ["backbone", "first:2", "all-but-last:2"])
@pytest.mark.parametrize("name", ["ViT-B-32", "openai/clip-vit-base-patch32"])
def test_a_part_of_two_towers_is_not_frozen(name: str, freeze: str) -> None:
    """Neither has a head, and layers are counted in one Transformer."""
    with pytest.raises(
        NotCovered, match="freezing a part of a model of two towers is not covered: NAME:vision"
    ):
        report(name, mode="train", freeze=freeze)
    assert report(f"{name}:vision", mode="train", freeze="first:2").training.peak_is == "exact"


def test_micro_batches_of_pairs_are_another_training() -> None:
    """A pair is compared with those of its micro-batch alone."""
    flags: dict[str, Any] = {"mode": "train", "precision": "amp-bf16", "gpu": "rtx4090"}
    for name, same in (("ViT-B-32", False), ("vit_base_patch16_224", True)):
        found = fit(name, **flags, require=1500).found[0].ways
        assert {way.keeps for way in found if "accumulate" in dict(way.flags)} == {same}
        assert ("backbone" in (dict(way.flags).get("freeze") for way in found)) == same


def test_the_page_says_which_pairs() -> None:
    for ranks, gather, said in (
        (1, "all", "the pairs of one rank"),
        (8, "all", "all features of all ranks, open_clip's default"),
        (8, "local-grad", "its own features with those of all ranks, with gradients for these"),
    ):
        page = render(report("ViT-B-32", mode="train", ranks=ranks, gather=gather))
        assert f"loss: the contrastive one of both towers, of {said}" in page
