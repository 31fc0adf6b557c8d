"""timm as witness for arguments at random: on top of its names, and in its constructors."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from timm_features import BEIT, DEIT, EVA, VIT
from timm_support import timm
from torch.utils.flop_counter import FlopCounterMode

from vitcost import ConfigError, NotCovered, ViTConfig, from_torch, report
from vitcost.zoo import resolve
from vitcost.zoo import timm as zoo
from vitcost.zoo.timm.args import fields_of

package = timm()
models = package.models
CLASSES: Mapping[str, Any] = {
    VIT: models.vision_transformer.VisionTransformer,
    DEIT: models.deit.VisionTransformerDistilled,
    EVA: models.eva.Eva,
    BEIT: models.beit.Beit,
}
YES, NO, EITHER = (True,), (False,), (False, True)
RATES = dict.fromkeys(
    ("drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate"), (0.1,)
)
VIT_POOLS = ("", "avg", "avgmax", "max", "token", "map", "prr")
# what a constructor takes beside the sizes, and what to draw from
ARGUMENTS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    VIT: {
        "global_pool": VIT_POOLS, "qk_norm": YES, "scale_attn_norm": YES, "scale_mlp_norm": YES,
        "proj_bias": NO, "init_values": (0, 0.1), "class_token": NO, "pos_embed": ("", "none"),
        "no_embed_class": YES, "reg_tokens": (1, 3), "pre_norm": YES, "final_norm": NO,
        "fc_norm": EITHER, "pool_include_prefix": YES, "dynamic_img_size": YES,
        "dynamic_img_pad": YES, "norm_layer": ("rmsnorm",), "embed_norm_layer": ("layernorm",),
        "act_layer": ("gelu_tanh", "quick_gelu", "silu", "relu"), "attn_layer": ("diff",),
        "mlp_layer": ("GluMlp", "SwiGLUPacked", "SwiGLU"),
        "block_fn": (
            "ResPostBlock", "ParallelScalingBlock", "ParallelThingsBlock",
            "DiffParallelScalingBlock",
        ),
    },
    DEIT: {
        "qk_norm": YES, "proj_bias": NO, "init_values": (0, 0.1), "no_embed_class": YES,
        "pre_norm": YES, "final_norm": NO, "dynamic_img_size": YES, "norm_layer": ("rmsnorm",),
        "mlp_layer": ("SwiGLU",), "block_fn": ("ResPostBlock", "ParallelThingsBlock"),
    },
    EVA: {
        "global_pool": VIT_POOLS[:-1], "num_kv_heads": (1, 2), "qkv_fused": NO, "qk_norm": YES,
        "swiglu_mlp": YES, "swiglu_align_to": (8, 64), "scale_mlp": YES, "scale_attn_inner": YES,
        "attn_type": ("rope",), "init_values": (0, 0.1), "attn_only_layer_scale": YES,
        "class_token": NO, "num_reg_tokens": (1, 4), "no_embed_class": YES, "use_abs_pos_emb": NO,
        "use_rot_pos_emb": YES, "rope_type": ("mixed", "dinov3"), "use_post_norm": YES,
        "use_pre_transformer_norm": YES, "use_post_transformer_norm": EITHER,
        "use_fc_norm": EITHER, "attn_pool_num_heads": (1, 2), "attn_pool_mlp_ratio": (1.5,),
        "dynamic_img_size": YES, "dynamic_img_pad": YES,
    },
    BEIT: {
        "global_pool": ("", "avg", "token"), "swiglu_mlp": YES, "scale_mlp": YES,
        "init_values": (0, 0.1), "use_abs_pos_emb": NO, "use_rel_pos_bias": YES,
        "use_shared_rel_pos_bias": YES, "use_fc_norm": EITHER,
    },
}  # fmt: skip
# what goes on top of a name, spelled alike here and in timm's constructors
OVERRIDES: Mapping[str, tuple[Any, ...]] = {
    "img_size": (224, (224, 448), 336), "patch_size": (14, 16, 28, 32), "in_chans": (1, 4),
    "num_classes": (0, 7, 21843), "global_pool": VIT_POOLS, "mlp_ratio": (2.0, 3.5),
    "class_token": EITHER, "no_embed_class": EITHER, "qkv_bias": EITHER, "init_values": (1e-3,),
    "dynamic_img_size": YES, "dynamic_img_pad": YES,
}  # fmt: skip
OWN_OVERRIDES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "VisionTransformer": {
        "reg_tokens": (0, 4), "fc_norm": EITHER, "final_norm": EITHER, "pre_norm": EITHER,
        "pool_include_prefix": EITHER, "pos_embed": ("learn", "none"), "qk_norm": EITHER,
        "proj_bias": EITHER,
    },
    "Eva": {
        "num_reg_tokens": (0, 4), "use_fc_norm": EITHER, "use_post_transformer_norm": EITHER,
        "use_pre_transformer_norm": EITHER, "scale_mlp": EITHER, "qk_norm": EITHER,
        "attn_pool_num_heads": (2,),
    },
    "Beit": {"use_fc_norm": EITHER, "use_rel_pos_bias": EITHER, "use_shared_rel_pos_bias": EITHER},
}  # fmt: skip
RENAMED = {
    "num_reg_tokens": "reg_tokens", "use_fc_norm": "fc_norm", "scale_mlp": "scale_mlp_norm",
    "use_post_transformer_norm": "final_norm", "use_pre_transformer_norm": "pre_norm",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.layers.config, "_USE_FUSED_ATTN", 0)


def some(rng: random.Random, table: Mapping[str, tuple[Any, ...]], share: float) -> dict[str, Any]:
    return {name: rng.choice(values) for name, values in table.items() if rng.random() < share}


def call(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A class of timm's and arguments of it."""
    model_class = rng.choice(list(ARGUMENTS))
    heads = rng.choice((1, 2, 4))
    sizes = {
        "img_size": rng.choice((16, (16, 24), 20, 33)),
        "patch_size": rng.choice((4, 8, (4, 8))),
        "in_chans": rng.choice((1, 3)),
        "num_classes": rng.choice((0, 5)),
        "embed_dim": heads * rng.choice((4, 8, 12)),
        "depth": rng.choice((1, 2, 7)),
        "num_heads": heads,
        "mlp_ratio": rng.choice((4.0, 2.5, 3.7362)),
        "qkv_bias": rng.choice(EITHER),
    }
    return model_class, {**sizes, **some(rng, ARGUMENTS[model_class] | RATES, 0.2)}


def built(model_class: str, kwargs: dict[str, Any]) -> Any:
    homes = {"block_fn": models.vision_transformer, "mlp_layer": package.layers}
    named = {key: getattr(home, kwargs[key]) for key, home in homes.items() if key in kwargs}
    with torch.device("meta"):
        return CLASSES[model_class](**{**kwargs, **named})


def counted(model: Any, batch: int = 1, *, training: bool = False) -> tuple[int, int]:
    """Parameters, and FLOPs of a forward or of a training step."""
    images = torch.empty(batch, model.in_chans, *model.patch_embed.img_size, device="meta")
    trains = [p.requires_grad for p in model.parameters()]
    model.train(training).requires_grad_(training)
    try:
        with FlopCounterMode(display=False) as counter:
            out = model(images)
            if training:
                logits = out if isinstance(out, tuple) else (out,)
                sum((y.sum() for y in logits), torch.zeros((), device="meta")).backward()
    finally:
        for parameter, before in zip(model.parameters(), trains, strict=True):
            parameter.requires_grad_(before)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()


def runs(model: Any) -> tuple[int, int] | None:
    """What torch counts, or None where timm's own forward does not go through."""
    try:
        return counted(model)
    except (RuntimeError, AssertionError):
        return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_a_constructor_call(seed: int) -> None:
    model_class, kwargs = call(random.Random(seed))
    try:
        model = built(model_class, kwargs)
    except AssertionError:
        # what timm refuses is refused here
        with pytest.raises((ConfigError, NotCovered)):
            ViTConfig(**fields_of(model_class, kwargs))
        return
    sides = model.patch_embed.img_size
    expected, found = runs(model), from_torch(model, img_size=sides, in_chans=model.in_chans)
    if expected is None:
        assert hasattr(found.config, "workload")
        return
    if hasattr(found.config, "workload"):
        # traced for want of a formula
        traced = report(found)
        assert (traced.params, traced.flops.forward) == expected
        return
    for read in (found, ViTConfig(**fields_of(model_class, kwargs))):
        counts = report(read, batch=2, mode="train")
        assert (counts.params, counts.flops.forward) == (expected[0], 2 * expected[1])
        assert counts.flops.train_step == counted(model, 2, training=True)[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_overrides_on_a_name(seed: int) -> None:
    rng = random.Random(seed)
    name = rng.choice(zoo.names())
    row = resolve(name).config
    assert isinstance(row, ViTConfig)
    kwargs = some(rng, {**OVERRIDES, **OWN_OVERRIDES[row.model_class]}, 0.15)
    if row.model_class == "Beit":
        for key in ("class_token", "no_embed_class", "dynamic_img_size", "dynamic_img_pad"):
            kwargs.pop(key, None)
    if not isinstance(row.num_kv_heads, tuple):
        kwargs["depth"] = rng.choice((1, 2))
    if rng.random() < 0.2:
        kwargs |= {"num_heads": 4, "embed_dim": 4 * rng.choice((32, 64))}
    try:
        with torch.device("meta"):
            model = package.create_model(name, **{"num_classes": 1000, **kwargs})
        expected = runs(model)
    except AssertionError:
        expected = None
    ours = {RENAMED.get(key, key): value for key, value in kwargs.items()}
    if expected is None:
        with pytest.raises(ConfigError):
            resolve(name, **ours)
        return
    embed = model.patch_embed
    if any(n % p for n, p in zip(embed.img_size, embed.patch_size, strict=True)):
        # a name is asked for its rest, which timm drops, unless it is known for it
        ours["floor_img_size"] = not model.dynamic_img_size
    counts = report(name, **ours)
    assert (counts.params, counts.flops.forward) == expected
    config = counts.model.config
    assert isinstance(config, ViTConfig)
    assert config.img_size == tuple(embed.img_size)
