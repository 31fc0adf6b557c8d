"""The peak of fully sharded steps of models that read text, against torch's own tracker."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from library_support import of_transformers
from open_clip_support import MODELS as PAIRS
from open_clip_support import Case, built, config_of
from sharded_text_support import sharded
from test_text_memory import MODELS, TOKENS, Real, every_token
from torch.nn import functional

from vitcost import report
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak, training
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
    # tokens are embedded in the type of the shards, and blocks cast them and the mask
    ("open_clip's text", "sdpa", {"precision": "bf16", "policy": "reduce-half", "zero": 2,
                                  "ranks": 2, "batch": 40}),
    ("open_clip's text", "sdpa", {"precision": "bf16", "policy": "reduce-fp32", "zero": 3,
                                  "ranks": 3, "batch": 1, "checkpointing": "block"}),
    # ranks divide neither side of the projection
    ("open_clip's vision", "sdpa", {"precision": "bf16", "policy": "reduce-fp32", "zero": 3,
                                    "ranks": 7, "batch": 2}),
)  # fmt: skip


def real_of(name: str, attention: str, folder: Path) -> Real:
    """A model of transformers, or one of open_clip's own towers, whose features have a class."""
    if name in MODELS:
        return MODELS[name](attention, folder)
    tower = "text" if name.endswith("text") else "vision"
    case = Case("CLIP", PAIRS["CLIP"], "both", Scenario())
    config_of(case, folder)
    config: Any = resolve(f"{folder / 'config.json'}:{tower}").config
    if tower == "vision":
        return Real(built(case).visual, config, classified, images=True)
    return Real(built(case._replace(tower="text")), config, averaged)


def classified(model: Any, given: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(model(*given.values()), targets)


def averaged(model: Any, given: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    return torch.mean(model(*given.values()))


def given_to(real: Real, batch: int, **where: Any) -> dict[str, Any]:
    if real.images:
        config: Any = real.config
        return {"images": torch.zeros(batch, 3, *config.img_size, **where)}
    ids = torch.zeros(batch, TOKENS, dtype=torch.long, device=where.get("device"))
    return {"input_ids": ids}


def peaks(name: str, attention: str, flags: dict[str, Any], folder: Path) -> tuple[int, int]:
    """The formulas' and torch's."""
    how = Scenario(mode="train", attention=attention, **{"optimizer": "sgd", **flags})
    real = real_of(name, attention, folder)
    run = workload(real.config, how)
    own = step_peak(states(run, 0), run, in_place=False)
    vectors = how.batch * {every_token: TOKENS, classified: 1}.get(real.loss, 0)
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


@pytest.mark.filterwarnings("ignore")
def test_autocast_keeps_no_copy_of_a_part_of_a_weight() -> None:
    """SigLIP's pool splits its biases: the copy of a part goes behind its layer, where copies of
    leaves last as long as autocast."""
    model, config = of_transformers("siglip_vision_model", "SiglipVisionModel")("sdpa")
    scenario = Scenario(
        mode="train", precision="amp-bf16", zero=2, ranks=7, batch=16, optimizer="sgd"
    )
    run = workload(config, scenario)

    def images(batch: int, **where: Any) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.zeros(batch, 3, *config.img_size, **where)}

    def loss(module: Any, given: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
        return torch.mean(module(**given).pooler_output)

    # features have no targets
    torchs = sharded(model, scenario, images, loss, 0)
    own = step_peak(states(run, 0), run, in_place=False)
    assert (own.at, own.total_bytes) == ("forward of attn_pool.kv", torchs)
