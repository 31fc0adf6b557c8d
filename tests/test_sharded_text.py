"""The peak of fully sharded steps of models that read text, against torch's own tracker."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip_support import MODELS as PAIRS
from open_clip_support import Case, built, config_of
from sharded_text_support import sharded
from test_text_memory import MODELS, TOKENS, Real, every_token

from vitcost import report
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak, training, with_peak
from vitcost.engine.workload import workload
from vitcost.errors import NotCovered
from vitcost.zoo import resolve

# all of them: tests/bench/sharded_text_peaks.py
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    # rows of Conv1D's weights are its inputs, which five ranks do not divide
    ("GPT-2", "sdpa", {"precision": "bf16", "zero": 3, "ranks": 5, "batch": 40}),
    ("GPT-2, dropout", "eager", {"precision": "amp-bf16", "zero": 2, "ranks": 3, "batch": 3}),
    # the tokens outlive the projection
    ("CLIP's text", "sdpa", {"precision": "amp-bf16", "zero": 2, "ranks": 3, "batch": 3}),
    ("SigLIP's text", "sdpa", {"precision": "bf16", "policy": "reduce-fp32", "zero": 3, "ranks": 8,
                               "batch": 3, "checkpointing": "block"}),
    ("open_clip's text", "sdpa", {"precision": "fp32", "zero": 3, "ranks": 7, "batch": 2}),
)  # fmt: skip


def real_of(name: str, attention: str, folder: Path) -> Real:
    """A model of transformers, or open_clip's own text tower."""
    if name in MODELS:
        return MODELS[name](attention, folder)
    case = Case("CLIP", PAIRS["CLIP"], "text", Scenario())

    def loss(model: Any, given: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = model(*given.values())
        return features.mean()

    return Real(built(case), config_of(case, folder), loss)


def given_to(real: Real, batch: int, **where: Any) -> dict[str, Any]:
    ids = torch.zeros(batch, TOKENS, dtype=torch.long, device=where.get("device"))
    return {"input_ids": ids}


def peaks(name: str, attention: str, flags: dict[str, Any], folder: Path) -> tuple[int, int]:
    """The formulas' and torch's."""
    how = Scenario(mode="train", attention=attention, **{"optimizer": "sgd", **flags})
    real = real_of(name, attention, folder)
    run = workload(real.config, how)
    own = step_peak(states(run, 0), run, in_place=False)
    vectors = how.batch * TOKENS * (real.loss is every_token)
    torchs = sharded(real.model, how, partial(given_to, real), real.loss, vectors)
    return own.total_bytes, torchs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "attention", "flags"), CASES, ids=str)
def test_the_peak_is_torchs(
    name: str, attention: str, flags: dict[str, Any], tmp_path: Path
) -> None:
    own, torchs = peaks(name, attention, flags, tmp_path)
    assert own == torchs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("policy", "zero", "ranks", "batch"), [("reduce-fp32", 2, 2, 40), ("reduce-half", 3, 3, 1)]
)
def test_a_tower_that_casts_by_itself_has_a_bound_under_a_policy(
    policy: str, zero: int, ranks: int, batch: int, tmp_path: Path
) -> None:
    """open_clip casts norms and tokens to the type of the stream, which a policy casts too."""
    how = Scenario(
        mode="train", optimizer="sgd", precision="bf16", policy=policy, zero=zero, ranks=ranks,
        batch=batch,
    )  # fmt: skip
    real = real_of("open_clip's text", "sdpa", tmp_path)
    run = workload(real.config, how)
    step = training(real.config, how)
    with pytest.raises(NotCovered, match="open_clip's towers, fully sharded under a policy"):
        step_peak(states(run, 0), run)
    torchs = sharded(real.model, how, partial(given_to, real), real.loss, 0)
    bound = with_peak(step, run)
    assert bound.peak_is == "bounded"
    assert bound.peak_bytes is not None
    assert torchs <= bound.peak_bytes


def test_rows_of_a_rank_by_arithmetic() -> None:
    """GPT-2's Conv1D has a row for each input: of 768 rows each of 5 ranks has 154, and so many of
    outputs none."""
    config = resolve("gpt2").config
    run = workload(config, Scenario(mode="train", zero=3, ranks=5))
    matrices = 154 * 2304 + 154 * 768 + 154 * 3072 + 615 * 768
    vectors = 461 + 154 + 615 + 154 + 4 * 154
    assert run.sizes["unit 0"] == matrices + vectors


def test_every_text_model_is_exact() -> None:
    for name in ("gpt2", "gpt2-xl", "ViT-B-16:text", "openai/clip-vit-base-patch32:text"):
        own = report(name, mode="train", batch=4, zero=3, ranks=8, precision="amp-bf16").training
        assert own.peak_is == "exact"


def test_torch_shards_no_pair() -> None:
    """The scale of the logits is a scalar, which fully_shard refuses."""
    for name in ("ViT-B-16", "openai/clip-vit-base-patch32"):
        with pytest.raises(NotCovered, match="fully_shard takes no scalar parameter: logit_scale"):
            training(resolve(name).config, Scenario(mode="train", zero=3, ranks=8))
