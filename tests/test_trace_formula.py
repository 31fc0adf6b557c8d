"""Formula = trace: names of timm, of each class and of most of its fields.

``tests/bench/trace_formula.py`` has all names in every precision, on both platforms.
"""

import pytest
from traced_formula import both, differences

# names whose formula has a state of the trace for every look, in order
LOOK_BY_LOOK = (
    "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224",
    "vit_tiny_r_s16_p8_224", "vit_small_patch16_18x2_224", "vit_base_patch16_rope_mixed_224",
    "vit_xsmall_patch16_clip_224", "test_vit3", "vit_pe_core_tiny_patch16_384",
    "deit3_small_patch16_224", "vit_wee_patch16_reg1_gap_256", "vit_small_patch16_dinov3_qkvb",
    "vit_dwee_patch16_reg1_gap_256", "test_vit4", "beit_base_patch16_224", "vitamin_small_224",
    # linear layers of rows that lie apart: turned, a part of the tokens, one query of all images
    "vit_base_patch16_rpn_224", "vit_so150m_patch16_reg4_map_256",
    # gradients of a fused attention that are cast; a norm that widens queries; no prefix tokens
    "vit_base_patch16_xp_224", "vit_base_patch16_sapiens2", "vit_pe_lang_gigantic_patch14_448",
    # the peak lies at a product that no module of its own runs
    "eva_giant_patch14_224",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOK_BY_LOOK)
@pytest.mark.parametrize(
    "case",
    [("amp-bf16", "cuda", 3), ("bf16", "cpu", 1), ("fp32", "cuda", 3)],
    ids=["card", "cpu", "plain"],
)
def test_a_formula_is_what_a_trace_of_the_real_model_says(
    name: str, case: tuple[str, str, int]
) -> None:
    pytest.importorskip("timm")
    formula, model = both(name, depth=2)
    assert differences(formula, model, *case) == []
