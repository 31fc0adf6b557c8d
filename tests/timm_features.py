"""What timm's Vision Transformers are made of, one feature at a time, as tiny constructor calls."""

from typing import Any

from timm_support import fused_attention, timm
from torch import nn

VIT, DEIT, EVA, BEIT = "VisionTransformer", "VisionTransformerDistilled", "Eva", "Beit"
BASE: dict[str, Any] = {
    "img_size": (4, 6), "patch_size": 2, "in_chans": 3, "num_classes": 5, "embed_dim": 16,
    "depth": 2, "num_heads": 2, "mlp_ratio": 2.0, "qkv_bias": True,
}  # fmt: skip
_RATES = ("drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate")
DROPS = dict.fromkeys(_RATES, 0.1)
_ROPE = {"use_rot_pos_emb": True}
_GROUPED = {"attn_type": "rope", "qkv_fused": False, "num_kv_heads": 1}
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (VIT, {}),
    "average pool": (VIT, {"global_pool": "avg"}),
    "average pool, no norm behind": (VIT, {"global_pool": "avg", "fc_norm": False}),
    "average pool of all": (VIT, {"global_pool": "avg", "pool_include_prefix": True}),
    "average pool, no class token": (VIT, {"global_pool": "avg", "class_token": False}),
    "max pool": (VIT, {"global_pool": "max"}),
    "max pool, no class token": (VIT, {"global_pool": "max", "class_token": False}),
    "average and max pool": (VIT, {"global_pool": "avgmax"}),
    "attention pool": (VIT, {"global_pool": "map"}),
    "attention pool, no class token": (VIT, {"global_pool": "map", "class_token": False}),
    "no pool": (VIT, {"global_pool": ""}),
    "refined patches": (VIT, {"global_pool": "prr"}),
    "refined patches, no class token": (VIT, {"global_pool": "prr", "class_token": False}),
    "registers": (VIT, {"reg_tokens": 2}),
    "registers, average pool": (VIT, {"reg_tokens": 2, "global_pool": "avg"}),
    "positions of patches": (VIT, {"no_embed_class": True}),
    "no positions": (VIT, {"pos_embed": "none"}),
    "norm before the blocks": (VIT, {"pre_norm": True}),
    "no last norm": (VIT, {"final_norm": False}),
    "rms norm": (VIT, {"norm_layer": "rmsnorm"}),
    "norm of q and k": (VIT, {"qk_norm": True}),
    "rms norm of q and k": (VIT, {"qk_norm": True, "norm_layer": "rmsnorm"}),
    "norm in attention": (VIT, {"scale_attn_norm": True}),
    "norm in the MLP": (VIT, {"scale_mlp_norm": True}),
    "no biases behind": (VIT, {"proj_bias": False}),
    "no qkv bias": (VIT, {"qkv_bias": False}),
    "gate": (VIT, {"mlp_layer": "SwiGLU"}),
    "gate in one layer": (VIT, {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}),
    "gate and norm": (VIT, {"mlp_layer": "SwiGLU", "scale_mlp_norm": True}),
    "layer scale": (VIT, {"init_values": 1e-5}),
    "two branches": (VIT, {"block_fn": "ParallelThingsBlock"}),
    "two branches, layer scale": (VIT, {"block_fn": "ParallelThingsBlock", "init_values": 1e-5}),
    "norm behind": (VIT, {"block_fn": "ResPostBlock"}),
    "parallel": (VIT, {"block_fn": "ParallelScalingBlock"}),
    "parallel, no qkv bias": (VIT, {"block_fn": "ParallelScalingBlock", "qkv_bias": False}),
    "parallel, layer scale": (VIT, {"block_fn": "ParallelScalingBlock", "init_values": 1e-5}),
    "differential": (VIT, {"attn_layer": "diff"}),
    "differential, parallel": (VIT, {"block_fn": "DiffParallelScalingBlock"}),
    "quick gelu": (VIT, {"act_layer": "quick_gelu"}),
    "tanh gelu": (VIT, {"act_layer": "gelu_tanh"}),
    "distilled": (DEIT, {}),
    "eva": (EVA, {}),
    "rope": (EVA, _ROPE),
    "rope, attention of its own": (EVA, {**_ROPE, "attn_type": "rope"}),
    "rope of DINOv3": (EVA, {**_ROPE, "rope_type": "dinov3", "attn_type": "rope"}),
    "learned rope": (EVA, {**_ROPE, "rope_type": "mixed"}),
    "learned rope, attention of its own": (
        EVA, {**_ROPE, "rope_type": "mixed", "attn_type": "rope"},
    ),
    "rope in three axes": (EVA, {**_ROPE, "rope_type": "mrope", "attn_type": "rope"}),
    "rope, no class token": (EVA, {**_ROPE, "class_token": False}),
    "three projections": (EVA, {"qkv_fused": False}),
    "eva, gate": (EVA, {"swiglu_mlp": True}),
    "eva, gate and norm": (EVA, {"swiglu_mlp": True, "scale_mlp": True}),
    "eva, norm behind": (EVA, {"use_post_norm": True}),
    "eva, norm in attention": (EVA, {"scale_attn_inner": True}),
    "eva, attention pool": (EVA, {"global_pool": "map"}),
    "eva, norm before the blocks": (EVA, {"use_pre_transformer_norm": True}),
    "eva, no class token": (EVA, {"class_token": False}),
    "eva, patches alone": (EVA, {"class_token": False, "use_abs_pos_emb": False}),
    "eva, registers": (EVA, {"num_reg_tokens": 2}),
    "eva, no positions": (EVA, {"use_abs_pos_emb": False}),
    "eva, norm of q and k": (EVA, {"attn_type": "rope", "qk_norm": True}),
    "grouped queries": (EVA, _GROUPED),
    "grouped queries, rope": (EVA, {**_ROPE, **_GROUPED}),
    "beit": (BEIT, {}),
    "relative bias": (BEIT, {"use_rel_pos_bias": True}),
    "shared relative bias": (BEIT, {"use_shared_rel_pos_bias": True}),
    "beit, no positions": (BEIT, {"use_abs_pos_emb": False}),
    "beit, layer scale": (BEIT, {"init_values": 1e-5}),
    "beit, gate": (BEIT, {"swiglu_mlp": True}),
    "beit, gate and norm": (BEIT, {"swiglu_mlp": True, "scale_mlp": True}),
}  # fmt: skip


def build(model_class: str, kwargs: dict[str, Any], fused: bool) -> nn.Module:
    """A timm model in training mode, with torch's attention kernels or with plain products."""
    package = timm()
    models = package.models
    classes = {
        VIT: models.vision_transformer.VisionTransformer,
        DEIT: models.deit.VisionTransformerDistilled,
        EVA: models.eva.Eva,
        BEIT: models.beit.Beit,
    }
    homes = {"block_fn": models.vision_transformer, "mlp_layer": package.layers}
    named = {key: getattr(home, kwargs[key]) for key, home in homes.items() if key in kwargs}
    with fused_attention(fused):
        model: nn.Module = classes[model_class](**{**kwargs, **named})
    return model.train()
