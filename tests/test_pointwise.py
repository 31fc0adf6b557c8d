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
