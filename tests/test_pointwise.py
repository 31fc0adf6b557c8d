"""Pointwise work is the definition's: no kernel, precision or implementation changes it."""

import pytest

import vitcost


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
    config = vitcost.ViTConfig(
        attn_layer="diff", img_size=(6, 4), patch_size=2, embed_dim=h, depth=L, num_heads=a,
        mlp_dim=m, num_classes=0,
    )  # fmt: skip
    # the scores of twice as many heads are scaled and softmaxed; the second half times lambda
    scores = 2 * (2 * b * a * s**2) + b * a * s**2
    # what comes of the heads is normed and scaled
    heads = 2 * b * s * h
    block = 2 * b * s * h + 2 * b * s * h + scores + heads + b * s * m
    report = vitcost.report(config, batch=b, attention=attention, mode=mode, precision="bf16")
    assert report.flops.pointwise_forward == L * block + b * s * h
