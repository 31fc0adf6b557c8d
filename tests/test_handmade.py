"""Report, fit and plan ask a workload, whichever makes it: one made by hand answers all three."""

from typing import Any

import pytest
from handmade import HANDMADE

import vitcost
from vitcost.errors import NotCovered
from vitcost.hardware.specs import asked_cards

# 20 parameters of float32: weights, then AdamW's two moments and a counter for each of two tensors
WEIGHTS, STATES = 4 * 20, 2 * 4 * 20 + 4 * 2


def step_bytes(batch: int, kept: int = 0, buckets: int = 0) -> int:
    """The peak of a step: images of 3 numbers and class indices of 8 bytes last through it."""
    lasting = WEIGHTS + STATES + kept + buckets + batch * (4 * 3 + 8)
    gradients = 4 * 20
    looks = (
        # y, what the loss kept, its gradient
        3 * 4 * 5 * batch,
        # y, its gradient, those of the parameters
        2 * 4 * 5 * batch + gradients,
        # the optimizer copies all parameters at once, where gradients are
        (0 if kept else gradients) + WEIGHTS,
    )
    return lasting + max(looks)


@pytest.mark.parametrize("batch", [1, 2, 8, 64])
def test_a_report_is_by_its_list_of_events(batch: int) -> None:
    found = vitcost.report(HANDMADE, batch=batch, mode="train")
    assert (found.params, found.trainable_params, found.tokens) == (20, 20, None)
    assert found.flops.forward == 2 * batch * 3 * 5
    assert found.flops.train_step == 2 * found.flops.forward
    inference = found.inference
    assert inference.weights_bytes == WEIGHTS
    assert inference.input_bytes == 4 * 3 * batch
    assert inference.activations_bytes == 4 * 5 * batch
    training = found.training
    assert training.gradients_bytes == 4 * 20
    assert training.optimizer_bytes == STATES
    assert training.saved_activations_bytes == 4 * 3 * batch
    assert (training.peak_is, training.peak_bytes) == ("exact", step_bytes(batch))
    at = {1: "optimizer step", 2: "backward of fc"}
    assert training.peak_at == at.get(batch, "backward of loss")


def test_its_json_and_its_page_have_it() -> None:
    found = vitcost.report(HANDMADE, batch=8)
    data = found.to_dict()
    assert [row["path"] for row in data["layers"]] == ["fc"]
    assert data["params"]["by_part"] == {"fc": 20}
    assert "made by hand" in str(found.page())


@pytest.mark.parametrize(
    ("mode", "constant", "an_image"),
    [("infer", WEIGHTS, 4 * 3 + 4 * 5), ("train", WEIGHTS + STATES, 4 * 3 + 8 + 3 * 4 * 5)],
)
def test_a_fit_is_the_largest_batch_of_its_events(mode: str, constant: int, an_image: int) -> None:
    gpu = "mine,vendor=NVIDIA,memory_gb=1"
    (card,) = asked_cards(gpu)
    (row,) = vitcost.fit(HANDMADE, gpu=gpu, mode=mode, reserve=0, require=1000).found
    most = ((card.capacity_bytes or 0) - constant) // an_image
    assert row.largest_batch == most
    assert row.used_bytes == constant + most * an_image
    assert (row.fits, row.used_is) == (True, "exact")


def test_a_batch_that_does_not_fit_has_no_other_way_to_run() -> None:
    gpu = "mine,vendor=NVIDIA,memory_gb=1"
    (row,) = vitcost.fit(HANDMADE, gpu=gpu, mode="train", reserve=0, require=10**8).found
    assert (row.fits, row.ways) == (False, ())


ASKED: dict[str, Any] = {
    "precision": "fp32", "samples": 1000, "epochs": 3, "global_batch": 100, "gpu": "h100-sxm",
    "efficiency": 0.5,
    "checkpointing": "none", "zero": 0, "micro_batch": 25,
}  # fmt: skip


def test_a_plan_is_by_its_rows_and_events() -> None:
    found = vitcost.plan(HANDMADE, gpus=1, **ASKED)
    (row,) = found.found
    (card,) = asked_cards("h100-sxm")
    totals = found.totals
    assert (totals.steps, totals.params) == (30, 20)
    assert totals.model_flops == 3000 * 2 * 30
    # no tokens, and no rule by them
    assert (totals.tokens, totals.rule_flops) == (None, None)
    assert (row.micro_batch, row.accumulation, row.sent_bytes) == (25, 4, 0)
    # gradients of earlier micro-batches are there
    assert row.memory_bytes == step_bytes(25, kept=4 * 20)
    passes = 4 * 25 * 60 / (0.5 * 1e12 * (card.peaks.fp32 or 0))
    # seven passes over 20 parameters
    update = 7 * 4 * 20 / (card.bandwidth or 0)
    assert row.step_seconds == pytest.approx(passes + update, rel=1e-12)
    assert "tokens" in str(found.page())


def test_data_parallel_ranks_reduce_its_gradients() -> None:
    (row,) = vitcost.plan(HANDMADE, gpus=4, **ASKED).found
    assert (row.strategy, row.data, row.accumulation) == ("DDP", 4, 1)
    # an all-reduce of 20 gradients of 4 bytes in a ring: 2 · 3/4
    assert row.sent_bytes == 2 * 80 * 3 // 4
    # and a copy of them in buckets
    assert row.memory_bytes == step_bytes(25, buckets=4 * 20)


def test_layers_and_stages_that_it_has_not_are_refused_by_reason() -> None:
    told = vitcost.plan(HANDMADE, gpus=4, **ASKED).assumptions
    assert any(
        "tensor-parallel ranks cannot share the layers of this model" in each for each in told
    )
    for wanted, said in (("tensor_parallel", "axis a"), ("pipeline_parallel", "axis L")):
        with pytest.raises(NotCovered, match=said):
            vitcost.plan(HANDMADE, gpus=4, **{**ASKED, wanted: 2})


def test_time_is_not_predicted_without_kernels() -> None:
    with pytest.raises(NotCovered, match="kernels"):
        vitcost.report(HANDMADE, gpu="h100-sxm")
