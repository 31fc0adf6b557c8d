"""Steps of open_clip's own text towers and pairs, under its own losses, against torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from open_clip_support import MODELS, Case, alive_in_eval, config_of, predicted, traced, tracked

from vitcost.config.scenario import Scenario
from vitcost.costs.memory import inference
from vitcost.engine.workload import workload

pytestmark = pytest.mark.filterwarnings("ignore")
# the rest is compared by tests/bench/open_clip_peaks.py
CASES = (
    ("CLIP", "both", {"precision": "amp-bf16", "batch": 2}),
    # a batch whose pairs need the most
    ("CLIP", "both", {"precision": "fp32", "batch": 400}),
    ("SigLIP", "both", {"precision": "bf16", "batch": 400}),
    ("24 tokens", "text", {"precision": "bf16", "batch": 3, "checkpointing": "block"}),
    ("CLIPA", "text", {"precision": "fp32", "batch": 1}),
    # an image tower without a head, and one of convolutions and blocks
    ("SigLIP", "vision", {"precision": "bf16", "batch": 8}),
    ("ViTamin", "vision", {"precision": "bf16", "batch": 1}),
)


def case_of(name: str, tower: str, flags: dict[str, Any]) -> Case:
    return Case(name, MODELS[name], tower, Scenario(mode="train", optimizer="sgd", **flags))


@pytest.mark.parametrize(("name", "tower", "flags"), CASES, ids=str)
def test_a_step(name: str, tower: str, flags: dict[str, Any], tmp_path: Path) -> None:
    case = case_of(name, tower, flags)
    config = config_of(case, tmp_path)
    assert predicted(case, config) == tracked(case, config)
    if case.how.precision == "bf16":
        own, by_trace = traced(case, config)
        assert own == by_trace


@pytest.mark.parametrize("name", ["CLIP", "24 tokens", "CLIPA"])
def test_a_text_in_inference(name: str, tmp_path: Path) -> None:
    """Under autocast torch's own attention has no other forward in eval."""
    case = case_of(name, "text", {"precision": "amp-bf16", "batch": 2})
    config = config_of(case, tmp_path)
    run = workload(config, replace(case.how, mode="infer"))
    assert inference(run).activations_bytes == alive_in_eval(case, config)
