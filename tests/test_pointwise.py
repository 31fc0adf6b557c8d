"""Pointwise work is the definition's: no kernel, precision or implementation changes it."""

import pytest

import vitcost

DIFFERENTIAL = vitcost.ViTConfig(
    attn_layer="diff", img_size=(6, 4), patch_size=2, embed_dim=16, depth=3, num_heads=2,
    mlp_dim=40, num_classes=0,
)  # fmt: skip


@pytest.mark.parametrize("attention", ["eager", "math", "sdpa", "flash"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
def test_pointwise_work_of_a_plain_vit(attention: str, precision: str) -> None:
    b, s, h, a, m, L = 2, 197, 768, 12, 3072, 12
    # two norms and two residual adds, scale and softmax of the scores, the GELU; the last norm
    block = 2 * b * s * h + 2 * b * s * h + 2 * b * a * s**2 + b * s * m
    expected = L * block + b * s * h
    # timm scales the queries instead of the scores: the same definition
    for model in ("vit_base_patch16_224", vitcost.ViTConfig()):
        report = vitcost.report(model, batch=b, attention=attention, precision=precision)
        assert report.flops.pointwise_forward == expected


@pytest.mark.parametrize("attention", ["eager", "math", "sdpa", "flash"])
@pytest.mark.parametrize("mode", ["infer", "train"])
def test_pointwise_work_of_a_difference_of_attentions(attention: str, mode: str) -> None:
    b, s, h, a, m, L = 2, 3 * 2 + 1, 16, 2, 40, 3
    # the scores of twice as many heads are scaled and softmaxed; the second half times lambda
    scores = 2 * (2 * b * a * s**2) + b * a * s**2
    # what comes of the heads is normed and scaled
    heads = 2 * b * s * h
    block = 2 * b * s * h + 2 * b * s * h + scores + heads + b * s * m
    report = vitcost.report(DIFFERENTIAL, batch=b, attention=attention, mode=mode, precision="bf16")
    assert report.flops.pointwise_forward == L * block + b * s * h


@pytest.mark.parametrize(
    ("attention", "more_forward", "more_backward"),
    # each half multiplies with all of v: a product more; a fused kernel computes both scores again
    [("eager", 0, 0), ("math", 1, 2), ("flash", 1, 3)],
)
def test_executed_work_of_a_difference_of_attentions(
    attention: str, more_forward: int, more_backward: int
) -> None:
    b, s, h, L = 2, 6 + 1, 16, 3
    flops = vitcost.report(DIFFERENTIAL, batch=b, attention=attention, mode="train").flops
    product = L * 2 * b * s**2 * h
    assert flops.forward_executed - flops.forward == more_forward * product
    assert flops.backward_executed - flops.backward == more_backward * product
