"""Steps under losses other than a classifier's, against torch's tracker and their trace."""

from typing import Any

import pytest
from losses_support import tracked
from sharded_support import Case, built, predicted

from vitcost import report
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import training
from vitcost.engine import live
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.traced.alive import upper
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How
from vitcost.traced.traces import trace
from vitcost.zoo import resolve

TINY = "vit_tiny_patch16_224"
HEADLESS = {"depth": 3, "img_size": 64, "num_classes": 0}
# all of them: tests/bench/loss_peaks.py
CASES = (
    Case(TINY, HEADLESS, {"batch": 16, "precision": "bf16"}),
    Case(TINY, {**HEADLESS, "global_pool": ""}, {"batch": 1, "precision": "amp-bf16"}),
    Case(
        "vit_small_patch14_reg4_dinov2",
        {**HEADLESS, "img_size": 56},
        {"batch": 16, "precision": "amp-bf16", "checkpointing": "block"},
    ),
    Case("deit_tiny_distilled_patch16_224", HEADLESS, {"batch": 16, "platform": "cpu"}),
    Case(
        TINY,
        {**HEADLESS, "num_classes": 150, "global_pool": ""},
        {"batch": 16, "precision": "amp-bf16"},
    ),
    Case(
        TINY,
        {**HEADLESS, "num_classes": 10, "global_pool": "max", "class_token": False},
        {"batch": 16, "precision": "amp-bf16"},
    ),
    Case("vit_base_patch16_rpn_224", {"depth": 2, "img_size": 64}, {"batch": 16}),
    Case("vitamin_small_224", {"depth": 2, "img_size": 64}, {"batch": 1, "precision": "amp-bf16"}),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["amp-bf16", "amp-fp16"])
def test_a_peak_in_the_loss_is_torchs(precision: str) -> None:
    """Scores of many classes in half precision and their logarithms in both types."""
    fields = {"depth": 1, "img_size": 32, "embed_dim": 48, "num_classes": 9000}
    case = Case(TINY, fields, {"batch": 64, "precision": precision, "optimizer": "sgd"})
    own = predicted(case)
    assert own.at.endswith("loss")
    assert own.total_bytes == tracked(case)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fields} {case.flags}")
def test_the_peak_is_torchs(case: Case) -> None:
    case = case._replace(flags={**case.flags, "optimizer": "sgd"})
    assert predicted(case).total_bytes == tracked(case)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_the_peak_is_the_traces(batch: int) -> None:
    """The same loss of a traced model."""
    case = Case(TINY, HEADLESS, {"batch": batch, "precision": "amp-bf16"})
    how = How(precision="amp-bf16", platform="cuda")
    mean = Loss(lambda features: features.mean(), "mean")
    model = built(case)
    found = trace(model, inputs_of(model), (batch,), how, mean, name="ViT-Ti").step
    assert found is not None
    run = workload(case.config, case.scenario)
    formula = live.peak(run.step(), run.sizes)
    assert live.peak(upper(found), Sizes(b=batch)).peak_bytes == formula.peak_bytes


def test_targets_are_of_vectors_of_scores() -> None:
    """8 bytes an index: none without scores, one an image, one a token."""

    def batch_bytes(**fields: Any) -> int:
        config = resolve(TINY, **fields).config
        parts = training(config, Scenario(batch=2, mode="train")).peak_parts
        assert parts is not None
        return int(parts.batch_bytes)

    images = 2 * 3 * 224 * 224 * 4
    assert batch_bytes(num_classes=0) == images
    assert batch_bytes(num_classes=5) == images + 2 * 8
    assert batch_bytes(num_classes=5, global_pool="") == images + 2 * 197 * 8


def test_scores_of_every_token_by_arithmetic() -> None:
    """Log-probabilities of 2 · 197 tokens and 150 classes, of 4 bytes each, and the total weight:
    what the loss keeps beside the features that the head keeps."""
    dense = report(TINY, num_classes=150, global_pool="", batch=2, mode="train").training
    features = report(TINY, num_classes=0, global_pool="", batch=2, mode="train").training
    assert (dense.peak_is, features.peak_is) == ("exact", "exact")
    assert dense.saved_activations_bytes is not None
    assert features.saved_activations_bytes is not None
    more = dense.saved_activations_bytes - features.saved_activations_bytes
    # the output of the norm, which the head's weight needs
    norm = 2 * 197 * 192 * 4
    assert more == 2 * 197 * 150 * 4 + 4 + norm
