"""Which tensors live in the forwards of other libraries than timm, against their own models."""

from collections import Counter

import pytest
import saved_support as support
from library_support import (
    Make,
    Run,
    adams_states,
    alive_in_inference,
    allocated_in_inference,
    of_open_clip,
    of_torchvision,
    of_transformers,
    on_card,
    on_cpu,
)

from vitcost.config.scenario import Scenario
from vitcost.engine.parameters import one_by_one
from vitcost.engine.workload import workload

TORCHVISION: dict[str, Make] = {
    "plain": of_torchvision(),
    "one head": of_torchvision(num_heads=1),
    "one layer": of_torchvision(num_layers=1),
    "dropout": of_torchvision(dropout=0.1),
    "attention dropout": of_torchvision(attention_dropout=0.1),
    "representation": of_torchvision(representation_size=7),
    "a wide MLP": of_torchvision(mlp_dim=200, num_layers=7),
}
# a layer scale's weights widen the stream of halves; norms of queries are not torch's own attention
OPEN_CLIP: dict[str, Make] = {
    "plain": of_open_clip(),
    "seven layers": of_open_clip(layers=7),
    "layer scale": of_open_clip(ls_init_value=0.1),
    "average pool": of_open_clip(pool_type="avg", final_ln_after_pool=True),
    "norms of q and k": of_open_clip(qk_norm=True),
    "norms inside": of_open_clip(scale_attn_inner=True, scale_fc=True),
    "no norm before": of_open_clip(no_ln_pre=True),
}
_TEACHER = "DeiTForImageClassificationWithTeacher"
_BEIT, _D2V = "BeitForImageClassification", "Data2VecVisionForImageClassification"
_DROPS = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
TRANSFORMERS: dict[str, Make] = {
    "ViT": of_transformers("vit", "ViTForImageClassification"),
    "ViT, pooler": of_transformers("vit", "ViTModel"),
    "ViT, dropout": of_transformers("vit", "ViTForImageClassification", **_DROPS),
    "ViT, one head": of_transformers("vit", "ViTForImageClassification", num_attention_heads=1),
    "ViT, seven layers": of_transformers("vit", "ViTForImageClassification", num_hidden_layers=7),
    "MSN": of_transformers("vit_msn", "ViTMSNForImageClassification"),
    "DeiT": of_transformers("deit", "DeiTForImageClassification"),
    "DeiT, distilled": of_transformers("deit", _TEACHER),
    "BEiT": of_transformers("beit", _BEIT, use_mean_pooling=False),
    "BEiT, positions": of_transformers("beit", _BEIT, use_absolute_position_embeddings=True),
    "BEiT, no drop path": of_transformers("beit", _BEIT, drop_path_rate=0.0),
    "Data2Vec": of_transformers("data2vec-vision", _D2V),
    "Data2Vec, bare": of_transformers("data2vec-vision", "Data2VecVisionModel"),
    "DINOv2": of_transformers("dinov2", "Dinov2ForImageClassification"),
    "DINOv2, gated": of_transformers("dinov2", "Dinov2Model", use_swiglu_ffn=True),
    "DINOv2, registers": of_transformers(
        "dinov2_with_registers", "Dinov2WithRegistersForImageClassification"
    ),
    "CLIP": of_transformers("clip_vision_model", "CLIPVisionModelWithProjection", projection_dim=5),
    "CLIP, bare": of_transformers("clip_vision_model", "CLIPVisionModel"),
    "DINOv3": of_transformers("dinov3_vit", "DINOv3ViTModel"),
    "DINOv3, gated": of_transformers(
        "dinov3_vit", "DINOv3ViTModel", use_gated_mlp=True, key_bias=True, num_register_tokens=4
    ),
    "MAE": of_transformers("vit_mae", "ViTMAEModel"),
    "MAE, most seen": of_transformers("vit_mae", "ViTMAEModel", mask_ratio=0.25),
}
_RELATIVE = {"use_relative_position_bias": True}
_SHARED = {"use_shared_relative_position_bias": True}
BIASED: dict[str, Make] = {
    "BEiT, relative": of_transformers("beit", _BEIT, **_RELATIVE),
    "BEiT, one head": of_transformers("beit", _BEIT, **_RELATIVE, num_attention_heads=1),
    "BEiT, shared": of_transformers("beit", _BEIT, **_SHARED),
    "BEiT, both": of_transformers("beit", _BEIT, **_RELATIVE, **_SHARED),
    "Data2Vec, relative": of_transformers("data2vec-vision", _D2V, **_RELATIVE),
    "Data2Vec, shared": of_transformers("data2vec-vision", _D2V, **_SHARED),
}
# the pool has one weight, whose parts are read
POOLED: dict[str, Make] = {"SigLIP": of_transformers("siglip_vision_model", "SiglipVisionModel")}
CPU_RUNS = (
    Run("fp32", "sdpa", 2),
    Run("amp-bf16", "sdpa", 2),
    Run("bf16", "sdpa", 1),
    Run("bf16", "math", 3),
)
CARD_RUNS = (
    Run("fp32", "efficient", 2),
    Run("amp-bf16", "flash", 2),
    Run("amp-fp16", "math", 2),
    Run("bf16", "cudnn", 3),
    Run("fp16", "efficient", 1),
)
needs_a_fake_card = pytest.mark.skipif(
    not support.has_fake_cards(), reason="private symbols of torch 2.13 on a machine without a card"
)
# plain products are another forward in transformers, and none in torchvision
EAGER_RUNS = (Run("fp32", "eager", 2), Run("amp-bf16", "eager", 2), Run("bf16", "eager", 1))
CARD_EAGER_RUNS = (
    Run("amp-fp16", "eager", 2),
    Run("amp-bf16", "eager", 1),
    Run("bf16", "eager", 2),
    Run("fp16", "eager", 2),
)


@pytest.mark.parametrize("libraries", [TORCHVISION, OPEN_CLIP, TRANSFORMERS, BIASED, POOLED])
def test_shapes_of_parameters(libraries: dict[str, Make]) -> None:
    """Ranks divide the first axis of each."""
    for name, make in libraries.items():
        model, config = make("sdpa")
        run = workload(config, Scenario(mode="train", batch=2))
        each = one_by_one(run.parameters(), run.sizes)
        shapes = Counter(tuple(run.sizes[axis] for axis in p.tensor.axes) for p in each)
        real = Counter(tuple(p.shape) for p in model.parameters())
        assert shapes == real, name


@pytest.mark.parametrize("libraries", [TORCHVISION, OPEN_CLIP, TRANSFORMERS, BIASED, POOLED])
def test_states_of_an_optimizer(libraries: dict[str, Make]) -> None:
    """A parameter without a gradient has none, and an empty one has its step."""
    for name, make in libraries.items():
        states = adams_states(make)
        assert states.formula == states.real, name


@pytest.mark.parametrize("run", CPU_RUNS, ids=lambda run: "-".join(map(str, run)))
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str, run: Run) -> None:
    for found in on_cpu(TORCHVISION[name], run):
        assert found.formula == found.real, found


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clip(name: str) -> None:
    for run in (*CPU_RUNS, Run("amp-bf16", "sdpa", 1)):
        for found in on_cpu(OPEN_CLIP[name], run):
            assert found.formula == found.real, (run, found)


@pytest.mark.parametrize(("heads", "image_size", "batch"), [(2, 32, 2), (2, 64, 1), (4, 96, 3)])
def test_the_fast_forward_of_torchs_own_attention(heads: int, image_size: int, batch: int) -> None:
    """An even number of heads in eval: one operator, seen by the CPU's allocator alone. Where the
    MLP is narrow the peak lies in it."""
    make = of_torchvision(num_heads=heads, image_size=image_size, mlp_dim=48)
    assert allocated_in_inference(make, batch) == alive_in_inference(make, batch)


@needs_a_fake_card
@pytest.mark.parametrize("run", CARD_RUNS, ids=lambda run: "-".join(map(str, run)))
def test_open_clip_on_a_card(run: Run) -> None:
    for name, make in OPEN_CLIP.items():
        for found in on_card(make, run):
            assert found.formula == found.real, (name, found)


@pytest.mark.parametrize("name", [*TRANSFORMERS, *BIASED])
def test_transformers(name: str) -> None:
    for run in (*EAGER_RUNS, *CPU_RUNS[:3]):
        for found in on_cpu({**TRANSFORMERS, **BIASED}[name], run):
            assert found.formula == found.real, (run, found)


@needs_a_fake_card
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_on_a_card(name: str) -> None:
    for run in (*CARD_EAGER_RUNS, *CARD_RUNS[:2]):
        for found in on_card(TRANSFORMERS[name], run):
            assert found.formula == found.real, (run, found)


@needs_a_fake_card
@pytest.mark.parametrize("run", CARD_RUNS, ids=lambda run: "-".join(map(str, run)))
def test_torchvision_on_a_card(run: Run) -> None:
    for name, make in TORCHVISION.items():
        for found in on_card(make, run):
            assert found.formula == found.real, (name, found)


POOLED: Make = of_transformers("siglip_vision_model", "SiglipVisionModel")


def test_a_pool_by_torchs_own_attention() -> None:
    # at 64 images the step peaks in the pool
    for run in (*EAGER_RUNS, *CPU_RUNS[:2], Run("fp32", "sdpa", 64)):
        for found in on_cpu(POOLED, run):
            assert found.formula == found.real, (run, found)


@needs_a_fake_card
def test_a_pool_by_torchs_own_attention_on_a_card() -> None:
    for run in (*CARD_EAGER_RUNS, *CARD_RUNS[:2]):
        for found in on_card(POOLED, run):
            assert found.formula == found.real, (run, found)


# fused kernels of a card have no mask, or no gradient of one
@needs_a_fake_card
@pytest.mark.parametrize("name", BIASED)
def test_biases_of_positions_on_a_card(name: str) -> None:
    for run in (*CARD_EAGER_RUNS, CARD_RUNS[0], CARD_RUNS[4]):
        for found in on_card(BIASED[name], run):
            assert found.formula == found.real, (run, found)
