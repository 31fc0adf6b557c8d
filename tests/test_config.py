"""``ViTConfig``: every field from text and JSON, every refusal with its words."""

import json
from typing import Any

import pytest

from vitcost.config.fields import parse, parse_size
from vitcost.config.rules import RULES
from vitcost.config.vit_config import FIELDS, RATIOS, Field, ViTConfig, configure
from vitcost.costs.report import report
from vitcost.errors import ConfigError, UnknownName, VitcostError
from vitcost.zoo import resolve
from vitcost.zoo import timm as zoo


def parse_field(name: str, text: str) -> Any:
    """A field, or a ratio of widths, as the command line reads it."""
    kind, field = (float | None, Field("ratio")) if name in RATIOS else FIELDS[name]
    return parse(name, kind, field, text)


def spelled(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_reads_its_own_spelling(name: str) -> None:
    config = ViTConfig(num_kv_heads=12, attn_layer="rope", qkv_fused=False)
    value = getattr(config, name)
    assert getattr(configure(config, **{name: parse_field(name, spelled(value))}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("img_size", "256x192", (256, 192)),
        ("img_size", "224", 224),
        ("num_kv_heads", "16,8,16", (16, 8, 16)),
        ("num_kv_heads", "4", 4),
        ("num_kv_heads", "none", None),
        ("fc_norm", "None", None),
        ("fc_norm", "false", False),
        ("class_token", "True", True),
        ("global_pool", "none", ""),
        ("global_pool", "avg", "avg"),
        ("pos_embed", "none", "none"),
        ("init_values", "1e-5", 1e-5),
        ("drop_rate", "0.5", 0.5),
        ("representation_size", "768", 768),
        ("mlp_ratio", "2.6667", 2.6667),
        ("attn_pool_mlp_ratio", "4", 4.0),
    ],
)
def test_text(name: str, text: str, value: Any) -> None:
    assert parse_field(name, text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("depth", "1.5", "depth must be an integer, got '1.5'"),
        ("depth", "", "depth must be an integer, got ''"),
        ("depth", "none", "depth must be an integer, got 'none'"),
        ("class_token", "yes", "class_token must be true or false, got 'yes'"),
        ("fc_norm", "1", "fc_norm must be true or false, got '1'"),
        ("drop_rate", "much", "drop_rate must be a number, got 'much'"),
        ("img_size", "224x224x3", "img_size must be N or HxW, got '224x224x3'"),
        ("img_size", "big", "img_size must be N or HxW, got 'big'"),
        ("num_kv_heads", "8,,8", "num_kv_heads must be an integer, or one a block, got '8,,8'"),
    ],
)
def test_text_that_is_none(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_field(name, text)
    assert str(raised.value) == message


def test_a_size() -> None:
    assert (parse_size("224"), parse_size("256X192")) == (224, (256, 192))


@pytest.mark.parametrize("name", ["vit_base_patch16_224", *zoo.names()[::5]])
def test_json_and_back(name: str) -> None:
    found = zoo.lookup(name)
    assert found is not None
    config = configure(found[1])
    as_json = json.loads(json.dumps(config.to_dict()))
    assert list(as_json) == list(FIELDS)
    assert ViTConfig(**as_json) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_heads": 0}, "num_heads must be between 1 and 1,000,000, got 0"),
        ({"num_classes": -1}, "num_classes must be between 0 and 1,000,000,000, got -1"),
        ({"depth": 10**9}, "depth must be between 1 and 100,000, got 1,000,000,000"),
        ({"depth": 1.5}, "depth must be an integer, got 1.5"),
        ({"depth": True}, "depth must be an integer, got True"),
        ({"depth": None}, "depth must be an integer, got None"),
        ({"class_token": 1}, "class_token must be true or false, got 1"),
        ({"fc_norm": 0}, "fc_norm must be true or false, got 0"),
        ({"img_size": (224,)}, "img_size must be N or (height, width), got (224,)"),
        ({"img_size": "224"}, "img_size must be N or (height, width), got '224'"),
        ({"img_size": (224, "224")}, "img_size must be an integer, got '224'"),
        ({"patch_size": 0}, "patch_size must be between 1 and 1,000,000, got 0"),
        ({"drop_rate": 1}, "drop_rate must be at least 0 and below 1, got 1"),
        ({"drop_rate": "a"}, "drop_rate must be a number, got 'a'"),
        ({"init_values": "a"}, "init_values must be a number, got 'a'"),
        ({"num_kv_heads": [4, "a"]}, "num_kv_heads must be an integer, got 'a'"),
        ({"num_kv_heads": "4"}, "num_kv_heads must be an integer, or one a block, got '4'"),
        ({"mlp_ratio": 0}, "mlp_ratio must be above 0 and at most 1,000,000, got 0"),
        ({"mlp_ratio": "4"}, "mlp_ratio must be a number, got '4'"),
        ({"mlp_ratio": 1e-9}, "mlp_dim must be between 1 and 1,000,000, got 0"),
        (
            {"attn_pool_mlp_ratio": -1},
            "attn_pool_mlp_ratio must be above 0 and at most 1,000,000, got -1",
        ),
        ({"norm_layer": "x"}, "norm_layer must be one of layernorm, rmsnorm, got 'x'"),
        ({"pos_embed": 1}, "pos_embed must be one of learn, fixed, none, got 1"),
        (
            {"norm_layer": "layer_norm"},
            "norm_layer must be one of layernorm, rmsnorm, got 'layer_norm'; "
            "did you mean 'layernorm'?",
        ),
        ({"img_size": 8}, "img_size 8 is smaller than patch_size 16"),
        (
            {"img_size": 225},
            "img_size 225 is not divisible by patch_size 16; nearest: 224 or 240; "
            "floor_img_size (--floor-img-size) drops the rest, as timm does",
        ),
        ({"img_size": (224, 9)}, "img_size 9 is smaller than patch_size 16"),
    ],
)
def test_a_value_that_is_not_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ViTConfig(**fields)
    assert str(raised.value) == message


KV = {"attn_layer": "rope", "qkv_fused": False}
# what breaks each rule, in the rules' order of meaning
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"num_heads": 7}, "embed_dim 768 is not divisible by num_heads 7"),
    ({"model_class": "Eva", "global_pool": "prr"}, "global_pool 'prr' does not exist in Eva"),
    ({"model_class": "Beit", "global_pool": "map"}, "global_pool 'map' does not exist in Beit"),
    ({"class_token": False}, "global_pool 'token' reads the class token, which class_token=False"),
    ({"global_pool": "map", "attn_pool_num_heads": 7}, "divisible by attn_pool_num_heads 7"),
    ({"dist_token": True, "reg_tokens": 1}, "dist_token needs global_pool 'token'"),
    ({"dist_token": True, "global_pool": "avg"}, "dist_token needs global_pool 'token'"),
    ({"dist_token": True, "fc_norm": True}, "dist_token needs global_pool 'token'"),
    ({"dist_token": True, "pos_embed": "none"}, "dist_token needs global_pool 'token'"),
    ({"dist_token": True, "no_embed_class": True}, "dist_token needs global_pool 'token'"),
    (
        {"dynamic_img_pad": True, "img_size": 225},
        "dynamic_img_pad needs dynamic_img_size where a patch does not divide the image",
    ),
    (
        {"floor_img_size": True, "dynamic_img_size": True, "img_size": 225},
        "img_size 225 is not divisible by patch_size 16; nearest: 224 or 240",
    ),
    (
        {"mlp_layer": "GluMlp", "mlp_ratio": 0.5, "embed_dim": 30, "num_heads": 2},
        "which a gate cannot halve",
    ),
    ({**KV, "num_kv_heads": (6, 6)}, "not one number for each of depth 12 blocks: (6, 6)"),
    ({**KV, "num_kv_heads": 5}, "num_heads 12 is not divisible by num_kv_heads 5"),
    ({"num_kv_heads": 6}, "needs attn_layer 'rope' and qkv_fused=False"),
    ({**KV, "qkv_fused": True, "num_kv_heads": 6}, "needs attn_layer 'rope' and qkv_fused=False"),
    ({"rope_type": "cat", "block_fn": "ParallelScalingBlock"}, "rope_type 'cat' is not for"),
    ({"rope_type": "cat", "attn_layer": "diff"}, "rope_type 'cat' is not for"),
    ({"rope_type": "cat", "num_heads": 128}, "needs embed_dim / num_heads divisible by 4"),
    ({"attn_layer": "diff", "num_heads": 256}, "differential attention needs embed_dim"),
    ({"attn_layer": "diff", "qkv_fused": False}, "differential attention needs qkv_fused"),
    ({"block_fn": "DiffParallelScalingBlock", "num_heads": 256}, "differential attention needs"),
    ({"block_fn": "ParallelScalingBlock", "scale_mlp_norm": True}, "has no scale_attn_norm"),
    ({"block_fn": "ParallelScalingBlock", "scale_attn_norm": True}, "has no scale_attn_norm"),
    ({"use_rel_pos_bias": True, "reg_tokens": 1}, "a relative position bias needs a class token"),
    ({"use_shared_rel_pos_bias": True, "dynamic_img_size": True}, "a relative position bias needs"),
    ({"use_rel_pos_bias": True, "attn_layer": "diff"}, "a relative position bias needs"),
    (
        {"model_class": "Eva", "block_fn": "ResPostBlock", "qk_norm": True},
        "qk_norm, num_kv_heads and attn_only_layer_scale do not exist in Eva's post-norm block",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BROKEN)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ViTConfig(**fields)
    assert message in str(raised.value)


def test_no_rule_holds_for_nothing() -> None:
    assert not any(broken(ViTConfig()) for broken, _ in RULES)


def test_an_unknown_field() -> None:
    with pytest.raises(UnknownName, match="unknown field 'embed_dims'; did you mean embed_dim"):
        configure({}, embed_dims=3)
    with pytest.raises(UnknownName, match="unknown field 'depht'; did you mean depth"):
        configure({}, depht=3)


def test_widths_that_follow() -> None:
    row = {"embed_dim": 192, "num_heads": 3, "mlp_ratio": 3.5, "global_pool": "map"}
    # int(384 · 3.5), and the pool's MLP with it
    wide = configure(row, embed_dim=384)
    assert (wide.mlp_dim, wide.attn_pool_mlp_dim) == (1344, 1344)
    assert configure(row, attn_pool_mlp_ratio=2).attn_pool_mlp_dim == 384
    assert configure(row, mlp_dim=700).attn_pool_mlp_dim == 700
    assert configure({**row, "mlp_dim": 100}, mlp_ratio=2).mlp_dim == 384
    # a config holds the integer: it stays when the width changes, and a new ratio replaces it
    built = ViTConfig(**row)
    assert built.mlp_dim == 672
    assert configure(built, embed_dim=384).mlp_dim == 672
    assert configure(built, embed_dim=384, mlp_ratio=2).mlp_dim == 768
    # without the pool there is no pool MLP, and with it again there is
    without = configure(built, global_pool="avg")
    assert without.attn_pool_mlp_dim == 0
    assert configure(without, global_pool="map").attn_pool_mlp_dim == 672


def test_ratios_are_not_fields() -> None:
    assert set(RATIOS).isdisjoint(FIELDS)
    assert set(RATIOS).isdisjoint(ViTConfig(mlp_ratio=2).to_dict())


def test_kv_heads() -> None:
    assert ViTConfig(depth=2).kv_heads == (12, 12)
    assert ViTConfig(depth=2, num_kv_heads=6, **KV).kv_heads == (6, 6)
    assert ViTConfig(depth=2, num_kv_heads=[12, 4], **KV).kv_heads == (12, 4)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("batch", True, "batch must be an integer, got True"),
        ("batch", 10**5000, "batch must be between 1 and 1,000,000,000, got an integer of 16,610"),
        ("lora", "8", "lora must be an integer, got '8'"),
        ("recipe", ["torch"], r"recipe must be text, got \['torch'\]"),
        ("freeze", 3, "freeze must be text, got 3"),
        ("precision", "", "unknown precision ''; allowed: fp32"),
        ("compile", 1, "compile must be true or false, got 1"),
        ("depth", 10**5000, "depth must be between 1 and 100,000, got an integer of 16,610 bits"),
        ("act_layer", 10**5000, "act_layer must be one of .*, got an integer of 16,610 bits"),
        ("mlp_ratio", float("inf"), "mlp_ratio must be above 0 and at most 1,000,000, got inf"),
        (
            "checkpointing",
            "every:²",
            "checkpointing must be none, selective, block, every:K, first:K or last:K",
        ),
        ("checkpointing", "every:" + "9" * 5000, "checkpointing must be none, .*, got 'every:9"),
        ("freeze", "first:²", "freeze must be none, all, backbone, first:K or all-but-last:K, got"),
    ],
    # pytest cannot print the largest
    ids=map(str, range(13)),
)
def test_a_keyword_of_a_wrong_kind(keyword: str, value: Any, message: str) -> None:
    with pytest.raises(VitcostError, match=f"^{message}"):
        report("vit_tiny_patch16_224", **{keyword: value})


def test_a_model_that_is_a_number() -> None:
    with pytest.raises(ConfigError, match="a path or a config, got an integer of 16,610 bits"):
        report(10**5000)  # type: ignore[call-overload]


def test_adapters_on_a_layer_that_is_not_there() -> None:
    with pytest.raises(UnknownName, match="unknown lora_layers 'prjo'; did you mean proj"):
        report("vit_tiny_patch16_224", lora=8, lora_layers="qkv,prjo")
    # queries, keys and values have a layer each: 12 blocks, rank 8, 384 wide
    with pytest.raises(UnknownName, match="lora_layers 'qkv'; linear layers: q_proj, k_proj, v_pr"):
        report("facebook/dinov2-small", lora=8)
    plain, adapted = (
        report("facebook/dinov2-small", lora=rank, lora_layers="q_proj,v_proj") for rank in (0, 8)
    )
    assert adapted.params - plain.params == 12 * 2 * 8 * (384 + 384)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        # arguments of torchvision 0.29's VisionTransformer: no registers, no stochastic depth
        ("vit_b_16", {"reg_tokens": 4}),
        ("vit_b_16", {"drop_path_rate": 0.1}),
        # keys of ViTConfig in transformers 5.23
        ("google/vit-base-patch16-224", {"drop_path_rate": 0.1}),
        ("google/vit-base-patch16-224", {"qk_norm": True}),
        # a Dinov2 reads the class token, and beside it the mean of the patches alone
        ("facebook/dinov2-base", {"num_classes": 10, "global_pool": "avg"}),
        # fields of open_clip's CLIPVisionCfg
        ("ViT-B-16:vision", {"rope_type": "cat"}),
        ("ViT-B-16:vision", {"dynamic_img_size": True}),
    ],
)
def test_a_library_has_no_argument_for_it(model: str, fields: dict[str, Any]) -> None:
    name = list(fields)[-1]
    config = resolve(model).config
    with pytest.raises(ConfigError, match=f"^code {config.code} has no {name}, got "):
        resolve(model, **fields)
    assert getattr(resolve(model, code="timm", **fields).config, name) == fields[name]
