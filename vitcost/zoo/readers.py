"""Reads back Vision Transformers of timm and torchvision as fields of a ``ViTConfig``."""

from collections.abc import Callable, Mapping
from typing import Any

from vitcost.zoo.read_layers import (
    CONV,
    VIT,
    Fields,
    exists,
    has_bias,
    linear,
    merge,
    name_of,
    need,
    norm_of,
    one,
    read_blocks,
    read_mlp,
)

__all__ = ["READERS"]

_ROPES = {
    "timm.layers.pos_embed_sincos.RotaryEmbeddingCat": "cat",
    "timm.layers.pos_embed_sincos.RotaryEmbeddingDinoV3": "dinov3",
    "timm.layers.pos_embed_sincos.RotaryEmbeddingMixed": "mixed",
    "timm.layers.pos_embed_sincos.RotaryEmbeddingMRope": "mrope",
}


def _patches(m: Any) -> Fields:
    """timm's PatchEmbed or HybridEmbed, and the tokens in front of the patches."""
    embed = m.patch_embed
    name = name_of(embed)
    hybrid = name == "timm.layers.hybrid_embed.HybridEmbed"
    need(hybrid or name == "timm.layers.patch_embed.PatchEmbed", f"patch_embed is {name}")
    projected = exists(embed.proj)
    plain = name_of(embed.proj) == CONV or (hybrid and not projected)
    need(plain, f"patch_embed.proj is {name_of(embed.proj)}")
    need(embed.img_size is not None, "patch_embed has no img_size")
    dynamic = bool(getattr(m, "dynamic_img_size", False))
    if projected:
        _cuts(embed.proj, tuple(embed.patch_size))
    need(embed.flatten != dynamic, "patch_embed lays its patches out otherwise than its model")
    leaves_rest = any(n % p for n, p in zip(embed.img_size, embed.patch_size, strict=True))
    registers = getattr(m, "reg_token", None)
    distilled = getattr(m, "dist_token", None) is not None
    prefix = (m.cls_token is not None) + distilled
    prefix += 0 if registers is None else registers.shape[1]
    need(m.num_prefix_tokens == prefix, f"num_prefix_tokens is {m.num_prefix_tokens}")
    return {
        "img_size": tuple(embed.img_size),
        "patch_size": tuple(embed.patch_size),
        "in_chans": embed.in_chans if hybrid else embed.proj.in_channels,
        "backbone": _backbone(embed) if hybrid else "",
        "patch_bias": embed.proj.bias is not None if projected else None,
        "patch_norm": exists(getattr(embed, "norm", None)),
        "dynamic_img_size": dynamic,
        "dynamic_img_pad": bool(embed.dynamic_img_pad),
        "floor_img_size": leaves_rest and not (dynamic or hybrid),
        "class_token": m.cls_token is not None,
        "dist_token": distilled,
        "reg_tokens": 0 if registers is None else registers.shape[1],
        "pos_embed": "none" if m.pos_embed is None else "learn",
        "no_embed_class": bool(getattr(m, "no_embed_class", False)),
        "pos_drop_rate": m.pos_drop.p,
        "norm_layer": norm_of(getattr(embed, "norm", None)),
    }


def _cuts(proj: Any, patch_size: tuple[int, ...]) -> None:
    """Refuses a convolution that does not cut an image into adjacent patches."""
    for name, value in (
        ("a stride", patch_size), ("a kernel", patch_size), ("padding", (0, 0)),
        ("dilation", (1, 1)), ("groups", 1),
    ):  # fmt: skip
        value_of = getattr(proj, _CONV_NAMES.get(name, name))
        need(value_of == value, f"patch_embed.proj has {name} of {value_of}")


_CONV_NAMES = {"a stride": "stride", "a kernel": "kernel_size"}


def _backbone(embed: Any) -> str:
    # imported only for hybrids
    from vitcost.zoo.read_backbones import backbone_of

    return backbone_of(embed)


def _head(m: Any) -> Fields:
    heads = [m.head, *([m.head_dist] if hasattr(m, "head_dist") else [])]
    there = [head for head in heads if exists(head)]
    fields: Fields = {"drop_rate": m.head_drop.p, "num_classes": 0}
    if there:
        bias = has_bias(*there)
        sizes = {head.out_features for head in there}
        need(len(there) == len(heads) and len(sizes) == 1, "two heads of different sizes")
        fields |= {"num_classes": sizes.pop(), "head_bias": bias}
    return fields


def _attention_pool(m: Any, act: str) -> Fields:
    pool = getattr(m, "attn_pool", None)
    need((pool is not None) == (m.global_pool in ("map", "prr")), "global_pool is not the pool's")
    if pool is None or m.global_pool == "prr":
        plain = pool is None or not any(True for _ in pool.parameters())
        need(plain, "an attention pool with norms")
        return {}
    latent = name_of(pool) == "timm.layers.attention_pool.AttentionPoolLatent"
    latent = latent and pool.latent_len == 1 and pool.pos_embed is None
    biased = latent and has_bias(pool.q, pool.kv)
    need(biased and not exists(pool.q_norm), "an attention pool of another kind")
    inner = read_mlp(pool.mlp)
    need(inner["mlp_layer"] == "Mlp" and not inner["scale_mlp_norm"], "a pool with another MLP")
    need(inner["act_layer"] == act, "an attention pool with another activation")
    return {
        "attn_pool_num_heads": pool.num_heads,
        "attn_pool_mlp_dim": inner["mlp_dim"],
        "norm_layer": norm_of(pool.norm),
    }


def _timm(m: Any, model_class: str) -> Fields:
    """The fields that timm's three classes share."""
    width = int(m.embed_dim)
    for name in ("patch_drop", "pre_logits"):
        need(not exists(getattr(m, name, None)), f"a model with {name}")
    blocks = read_blocks(m.blocks, width)
    rope = getattr(m, "rope", None)
    fields = {
        "model_class": model_class,
        "embed_dim": width,
        "scale_query": True,
        "global_pool": m.global_pool,
        "pool_include_prefix": bool(getattr(m, "pool_include_prefix", False)),
        "pre_norm": exists(getattr(m, "norm_pre", None)),
        "rope_type": "none" if rope is None else one(_ROPES, rope, "rope"),
        "use_shared_rel_pos_bias": getattr(m, "rel_pos_bias", None) is not None,
        "norm_layer": norm_of(m.norm, m.fc_norm, getattr(m, "norm_pre", None)),
    }
    # Eva's attention pool has a GELU, whatever activation its blocks have
    pool = _attention_pool(m, "gelu" if model_class == "Eva" else blocks["act_layer"])
    return merge(fields, _patches(m), blocks, _head(m), pool)


def _vision_transformer(m: Any) -> Fields:
    fields = _timm(m, "VisionTransformer")
    behind = exists(m.fc_norm)
    need(not (behind and exists(m.norm)), "norms before and behind the pool")
    return {**fields, "final_norm": behind or exists(m.norm), "fc_norm": behind}


def _eva(m: Any) -> Fields:
    return {**_timm(m, "Eva"), "final_norm": exists(m.norm), "fc_norm": exists(m.fc_norm)}


def _beit(m: Any) -> Fields:
    behind = exists(m.fc_norm)
    need(behind != exists(m.norm), "norms before and behind the pool, or none")
    return {**_timm(m, "Beit"), "fc_norm": behind}


def _torchvision(m: Any) -> Fields:
    """torchvision's VisionTransformer, whose attention is ``nn.MultiheadAttention``."""
    stem = name_of(m.conv_proj)
    need(stem == CONV, f"conv_proj is {stem}")
    layers = list(m.encoder.layers)
    block = "torchvision.models.vision_transformer.EncoderBlock"
    need(all(name_of(layer) == block for layer in layers), "a block of another kind")
    heads = list(m.heads) if "Sequential" in name_of(m.heads) else [m.heads]
    representation = m.representation_size if len(heads) == 3 else None
    need(len(heads) == 1 or representation is not None, "heads of another kind")
    last = heads[-1]
    return {
        "code": "torchvision",
        "img_size": m.image_size,
        "patch_size": m.patch_size,
        "in_chans": m.conv_proj.in_channels,
        "embed_dim": m.hidden_dim,
        "depth": len(layers),
        "num_heads": layers[0].num_heads,
        "mlp_dim": m.mlp_dim,
        "representation_size": representation,
        "num_classes": linear(last, "the head").out_features if exists(last) else 0,
        "head_bias": not exists(last) or has_bias(last),
        "pos_drop_rate": m.dropout,
        "proj_drop_rate": m.dropout,
        "attn_drop_rate": m.attention_dropout,
        "norm_layer": norm_of(m.encoder.ln, *(n for b in layers for n in (b.ln_1, b.ln_2))),
    }


def _reference(m: Any) -> Fields:
    fields: Fields = m.config.to_dict()
    return fields


READERS: Mapping[str, Callable[[Any], Fields]] = {
    VIT + "VisionTransformer": _vision_transformer,
    "timm.models.deit.VisionTransformerDistilled": _vision_transformer,
    "timm.models.eva.Eva": _eva,
    "timm.models.beit.Beit": _beit,
    "torchvision.models.vision_transformer.VisionTransformer": _torchvision,
    "vitcost.check.reference.VisionTransformer": _reference,
}
