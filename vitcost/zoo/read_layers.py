"""Reads back the layers of timm's Vision Transformers as fields, from attributes and class names.

Nothing is imported, since the module brings its own classes. A module raises ``NotCovered`` with
the reason unless every layer is understood: otherwise counts would be wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from vitcost.config.activations import ACTIVATIONS
from vitcost.errors import NotCovered

__all__ = [
    "CONV",
    "VIT",
    "Fields",
    "exists",
    "has_bias",
    "linear",
    "merge",
    "name_of",
    "need",
    "norm_of",
    "one",
    "read_blocks",
    "read_mlp",
]

Fields: TypeAlias = dict[str, Any]

VIT = "timm.models.vision_transformer."
_IDENTITY = "torch.nn.modules.linear.Identity"
_LINEAR = "torch.nn.modules.linear.Linear"
CONV = "torch.nn.modules.conv.Conv2d"
_NORMS = {
    "torch.nn.modules.normalization.LayerNorm": "layernorm",
    "timm.layers.norm.LayerNorm": "layernorm",
    "timm.layers.norm.RmsNorm": "rmsnorm",
}
_ACTIVATIONS = {path: name for name, row in ACTIVATIONS.items() for path in row.classes}
_ATTENTIONS = {
    "timm.layers.attention.Attention": "attn",
    "timm.layers.attention.AttentionRope": "rope",
    "timm.layers.diff_attention.DiffAttention": "diff",
    "timm.models.eva.EvaAttention": "eva",
    "timm.models.beit.Attention": "eva",
}
_MLPS = {
    "timm.layers.mlp.Mlp": "Mlp",
    "timm.layers.mlp.GluMlp": "GluMlp",
    "timm.layers.mlp.SwiGLU": "SwiGLU",
    "timm.models.vitamin.GeGluMlp": "GeGluMlp",
}
# names of an MLP's first and last layers in classes that do not name them fc1 and fc2
_MLP_LAYERS = {
    "SwiGLU": (("fc1_g", "fc1_x"), "fc2"),
    "GeGluMlp": (("w0", "w1"), "w2"),
}


def name_of(thing: Any) -> str:
    """The full name of a module's class."""
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


def one(table: Mapping[str, str], module: Any, where: str) -> str:
    name = name_of(module)
    if name not in table:
        raise NotCovered(f"{where} is {name}, which has no formula here")
    return table[name]


def exists(module: Any) -> bool:
    return module is not None and name_of(module) != _IDENTITY


def need(true: bool, reason: str) -> None:
    if not true:
        raise NotCovered(reason)


def norm_of(*norms: Any) -> str:
    """The kind of some norms, which must all have the same kind."""
    there = [norm for norm in norms if exists(norm)]
    kinds = {one(_NORMS, norm, "a norm") for norm in there}
    need(len(kinds) < 2, f"norms of several kinds: {', '.join(sorted(kinds))}")
    for norm in there:
        biased = "rmsnorm" in kinds or getattr(norm, "bias", None) is not None
        need(norm.weight is not None and biased, "a norm without a weight or a bias")
    return kinds.pop() if kinds else ""


def _activation(module: Any) -> str:
    if name_of(module) == "torch.nn.modules.activation.GELU":
        return {"none": "gelu", "tanh": "gelu_tanh"}[module.approximate]
    return one(_ACTIVATIONS, module, "an activation")


def linear(module: Any, where: str) -> Any:
    need(name_of(module) == _LINEAR, f"{where} is {name_of(module)}, not a Linear")
    return module


def has_bias(*layers: Any) -> bool:
    """Whether layers have a bias; all must be alike."""
    biased = {linear(layer, "a projection").bias is not None for layer in layers}
    need(len(biased) == 1, "some projections have a bias and others have none")
    return biased.pop()


def _attention(m: Any, width: int) -> Fields:
    """An attention module of timm's."""
    kind = one(_ATTENTIONS, m, "an attention")
    need(getattr(m, "gate", None) is None, "attention with a gate")
    need(not getattr(m, "dual_lambda", False), "differential attention with two scalars")
    fused = getattr(m, "qkv", None) is not None
    layers = [m.qkv] if fused else [m.q_proj, m.k_proj, m.v_proj]
    d = width // m.num_heads
    head_dim = getattr(m, "head_dim", None)
    need(head_dim in (None, d // 2 if kind == "diff" else d), f"head_dim is {head_dim} of {d}")
    need(layers[0].out_features == (3 * width if fused else width), "heads of another width")
    fields: Fields = {
        "attn_layer": kind,
        "num_heads": m.num_heads,
        "qkv_fused": fused,
        "qk_norm": exists(getattr(m, "q_norm", None)),
        "scale_attn_norm": exists(getattr(m, "norm", None)),
        "proj_bias": has_bias(m.proj),
        "attn_drop_rate": m.attn_drop.p,
        "proj_drop_rate": m.proj_drop.p,
        "use_rel_pos_bias": getattr(m, "relative_position_bias_table", None) is not None,
        "norm_layer": norm_of(getattr(m, "q_norm", None), getattr(m, "norm", None)),
        "kv_heads": m.num_heads if fused else layers[1].out_features // d,
    }
    if kind == "eva":
        bias = m.q_bias is not None if fused else has_bias(m.q_proj, m.v_proj)
        need(not has_bias(*([m.qkv] if fused else [m.k_proj])), "an EVA attention with a key bias")
    else:
        bias = has_bias(*layers)
    if kind != "diff" and float(m.scale) != d**-0.5:
        fields["qk_scale"] = float(m.scale)
    return {**fields, "qkv_bias": bias}


def read_mlp(m: Any, where: str = "an MLP") -> Fields:
    """An MLP of timm's, with or without a gate."""
    kind = one(_MLPS, m, where)
    names, name = _MLP_LAYERS.get(kind, (("fc1",), "fc2"))
    first, last = [getattr(m, each) for each in names], getattr(m, name)
    if kind == "GluMlp" and not m.gate_last:
        kind = "SwiGLUPacked"
    width = linear(last, where).in_features
    fields: Fields = {
        "mlp_layer": kind,
        "mlp_dim": width,
        "act_layer": _activation(m.act),
        # ViTamin's MLP always has a norm
        "scale_mlp_norm": exists(m.norm) and kind != "GeGluMlp",
        "proj_bias": has_bias(*first, last),
        "proj_drop_rate": m.drop2.p,
        "norm_layer": norm_of(m.norm),
    }
    return fields if m.drop1.p == m.drop2.p else {**fields, "act_drop_rate": m.drop1.p}


def merge(*parts: Fields) -> Fields:
    """The fields of several modules together; fields that occur twice must agree."""
    merged: Fields = {}
    for part in parts:
        for key, value in part.items():
            # a part without a norm says nothing about the kind of norms
            if value == "" and key == "norm_layer":
                continue
            if merged.setdefault(key, value) != value:
                raise NotCovered(f"{key} is {merged[key]} in one place and {value} in another")
    return merged


def _layer_scale(module: Any) -> Fields:
    """Whether there is a layer scale; its initial value changes no cost."""
    if not exists(module):
        return {"init_values": None}
    names = ("timm.layers.layer_scale.LayerScale", VIT + "LayerScale")
    need(name_of(module) in names, f"a layer scale is {name_of(module)}")
    return {"init_values": 1.0}


def _block(b: Any, width: int) -> Fields:
    """timm's Block and ResPostBlock."""
    post = type(b).__name__ == "ResPostBlock"
    return merge(
        {"block_fn": type(b).__name__, "norm_layer": norm_of(b.norm1, b.norm2)},
        _attention(b.attn, width),
        read_mlp(b.mlp),
        *([{"init_values": None}] if post else [_layer_scale(b.ls1), _layer_scale(b.ls2)]),
    )


def _eva_block(b: Any, width: int) -> Fields:
    """EvaBlock, EvaBlockPostNorm and BEiT's Block: layer scale is a parameter of the block."""
    post = type(b).__name__ == "EvaBlockPostNorm"
    scales = [getattr(b, name, None) is not None for name in ("gamma_1", "gamma_2")]
    need(scales != [False, True], "a layer scale on the MLP alone")
    return merge(
        {"block_fn": "ResPostBlock" if post else "Block", "norm_layer": norm_of(b.norm1, b.norm2)},
        _attention(b.attn, width),
        read_mlp(b.mlp),
        {
            "init_values": 1.0 if scales[0] else None,
            "attn_only_layer_scale": scales == [True, False],
        },
    )


def _parallel_block(b: Any, width: int) -> Fields:
    """ViT-22B's block, and its differential form."""
    differential = type(b).__name__ == "DiffParallelScalingBlock"
    need(not getattr(b, "dual_lambda", False), "differential attention with two scalars")
    fused = getattr(b, "out_proj", None) is not None
    need(fused == differential, "a parallel block with one output projection")
    last = [b.out_proj] if fused else [b.attn_out_proj, b.mlp_out_proj]
    d = width // b.num_heads // (1 + differential)
    return {
        "block_fn": type(b).__name__,
        "num_heads": b.num_heads,
        "qkv_bias": has_bias(b.in_proj),
        "qk_norm": exists(b.q_norm),
        "qk_scale": None if float(b.scale) == d**-0.5 else float(b.scale),
        "mlp_dim": b.in_split[0],
        "act_layer": _activation(b.mlp_act),
        "proj_bias": has_bias(*last),
        "attn_drop_rate": b.attn_drop.p,
        "proj_drop_rate": b.mlp_drop.p,
        "norm_layer": norm_of(b.in_norm, b.q_norm),
        **_layer_scale(b.ls),
    }


def _things_block(b: Any, width: int) -> Fields:
    """Two attentions side by side, then two MLPs: arXiv 2203.09795."""
    need(len(b.attns) == len(b.ffns) == 2, "other than two parallel branches")
    return merge(
        {"block_fn": "ParallelThingsBlock"},
        *(_attention(branch.attn, width) for branch in b.attns),
        *(read_mlp(branch.mlp) for branch in b.ffns),
        *({"norm_layer": norm_of(branch.norm)} for branch in (*b.attns, *b.ffns)),
        *(_layer_scale(branch.ls) for branch in (*b.attns, *b.ffns)),
    )


_BLOCKS: Mapping[str, Callable[[Any, int], Fields]] = {
    VIT + "Block": _block,
    VIT + "ResPostBlock": _block,
    VIT + "ParallelScalingBlock": _parallel_block,
    VIT + "DiffParallelScalingBlock": _parallel_block,
    VIT + "ParallelThingsBlock": _things_block,
    "timm.models.eva.EvaBlock": _eva_block,
    "timm.models.eva.EvaBlockPostNorm": _eva_block,
    "timm.models.beit.Block": _eva_block,
}


def _drop_path(b: Any) -> float:
    rates = {m.drop_prob for m in b.modules() if type(m).__name__ == "DropPath"}
    need(len(rates) < 2, "a block with two rates of stochastic depth")
    return float(rates.pop()) if rates else 0.0


def read_blocks(blocks: Iterable[Any], width: int) -> Fields:
    """All blocks, which may differ only in key and value heads and in stochastic depth."""
    read, rates = [], []
    for i, block in enumerate(blocks):
        name = name_of(block)
        need(name in _BLOCKS, f"blocks.{i} is {name}, which has no formula here")
        read.append(_BLOCKS[name](block, width))
        rates.append(_drop_path(block))
    need(bool(read), "a model without blocks")
    kv = tuple(fields.pop("kv_heads", fields["num_heads"]) for fields in read)
    last = max(len(rates) - 1, 1)
    rising = all(abs(rate - rates[-1] * i / last) < 1e-6 for i, rate in enumerate(rates))
    need(rising, "stochastic depth that does not rise evenly")
    fields = merge(*read)
    if set(kv) != {fields["num_heads"]}:
        fields["num_kv_heads"] = kv
    return {**fields, "depth": len(read), "drop_path_rate": rates[-1]}
