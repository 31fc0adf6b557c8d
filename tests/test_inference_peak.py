"""The activations alive in inference, against the tensors of a real forward pass."""

import pytest
import torch
from alive import declared_peak, forward_peak
from hypothesis import given, settings
from hypothesis import strategies as st
from timm_features import BASE, EVA, FEATURES
from timm_features import build as built
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_support import configs, image

from vitcost import report
from vitcost.check.reference import build
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine.cost import fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.structure import sizes_of, structure_of
from vitcost.zoo.timm.args import fields_of

PRECISIONS = {"fp32": torch.float32, "amp": torch.float32, "half": torch.bfloat16}


def engine(config: ViTConfig, batch: int, kernel: str, precision: str = "fp32") -> int:
    mode = Mode(kernel, precision, "cpu")
    tree = lower(structure_of(config, batch), mode)
    return declared_peak(tree, sizes_of(config, batch), in_place=False).peak_bytes


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kernel", ["eager", "flash"])
@settings(deadline=None, database=None, derandomize=True, max_examples=25)
# with heads of width 1 torch merges heads by another view, and its linear layer by another kernel
@given(configs(head_dims=(2, 8)), st.integers(1, 3))
def test_peak_is_that_of_real_tensors(
    kernel: str, precision: str, config: ViTConfig, batch: int
) -> None:
    kind = PRECISIONS[precision]
    model = build(config, kernel == "flash").to(kind)
    real = forward_peak(
        model, image(config, batch).to(kind), torch.bfloat16 if precision == "amp" else None
    )
    assert engine(config, batch, kernel, precision) == real


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("name", FEATURES)
def test_autocast_reaches_each_operand_of_the_math_kernel(name: str) -> None:
    """Queries, keys and values are cast one by one, though they may be one tensor."""
    model_class, options = FEATURES[name]
    kwargs = {**BASE, **options}
    config = configure(fields_of(model_class, kwargs))
    with sdpa_kernel(SDPBackend.MATH):
        real = forward_peak(
            built(model_class, kwargs, True).eval(), image(config, 2), torch.bfloat16
        )
    assert engine(config, 2, "math", "amp") == real


@pytest.mark.parametrize("kernel", ["flash", "efficient", "math"])
def test_a_kernel_scales_by_itself(kernel: str) -> None:
    """Whether scores or queries are scaled in plain products is nothing to a kernel."""
    costs = []
    for scale_query in (False, True):
        config = ViTConfig(global_pool="map", depth=1, scale_query=scale_query)
        tree = lower(structure_of(config, 2, True), Mode(kernel, "amp", "cuda"))
        costs.append(fold(tree, sizes_of(config, 2)).cost)
    assert costs[0] == costs[1]


@pytest.mark.parametrize("size", [(13, 17), (21, 26)])
@pytest.mark.parametrize("precision", ["fp32", "amp"])
def test_positions_of_a_padded_image_are_made_before_those_that_turn(
    precision: str, size: tuple[int, int]
) -> None:
    """The patches of an odd side are filled up, and both tables of positions with them."""
    rope = {"use_rot_pos_emb": True, "rope_type": "mixed"}
    padded = {"dynamic_img_size": True, "dynamic_img_pad": True, "img_size": size}
    kwargs = {**BASE, **rope, **padded, "mlp_ratio": 0.25, "num_heads": 1}
    config = configure(fields_of(EVA, kwargs))
    autocast = torch.bfloat16 if precision == "amp" else None
    real = forward_peak(built(EVA, kwargs, True).eval(), image(config, 1), autocast)
    assert engine(config, 1, "sdpa", precision) == real


@pytest.mark.parametrize("batch", [1, 2])
def test_vit_base(batch: int) -> None:
    """In a block after the first: the stream as the model, the block and its norm hold it, then

    - in attention qkv, and the scores before and after scaling;
    - in the MLP the block's sum, and the hidden layer before and after the GELU.
    """
    bsh, bsm, abss = batch * 197 * 768, batch * 197 * 3072, 12 * batch * 197 * 197
    eager, mlp = 6 * bsh + 2 * abss, 4 * bsh + 2 * bsm
    assert eager > mlp
    assert engine(ViTConfig(), batch, "eager") == 4 * eager
    assert engine(ViTConfig(), batch, "flash") == 4 * mlp


def test_freezing_the_first_layers_changes_no_peak_of_a_forward() -> None:
    """A run of layers that is split in two keeps the uncast arguments of its ops alive, as a run
    that is whole does: parameters that do not train are read as before."""
    scenario = {"batch": 8, "precision": "amp-bf16", "attention": "eager"}
    whole, split = (
        report("microsoft/beit-base-patch16-224", freeze=freeze, **scenario).memory.inference
        for freeze in ("none", "first:1")
    )
    assert whole.activations_bytes == split.activations_bytes
