"""The list of kernels against the calls that torch makes on a fake card, byte by byte."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from kernel_calls import trace
from timm_support import timm
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vitcost
from vitcost import ViTConfig
from vitcost.check.trainable_models import adapted, frozen
from vitcost.engine.launches import Launches, flatten, moved, times
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.ops import executed_flops
from vitcost.hardware.work import steps
from vitcost.hardware.work_classes import Setup
from vitcost.zoo import resolve

IMAGES = 2
# the first block, one of those between, and the last
DEPTH = 3

_RMS = "an RMS norm, which torch takes apart on its way to a fake card: a real one has a kernel"
_BATCHED = "a linear layer over channel-major tokens is a product for each image"
_HEADS = "the fake flash kernel answers in the width of its queries, not of its values"
EXPLAINED = {
    "test_vit4": _RMS,
    "vit_base_patch16_rpn_224": _BATCHED,
    "vit_base_patch16_xp_224": _RMS,
    "vit_dlittle_patch16_reg1_gap_256": _HEADS,
    "vit_dpwee_patch16_reg1_gap_256": _HEADS,
    "vit_dwee_patch16_reg1_gap_256": _HEADS,
    "vit_huge_patch14_xp_224": _RMS,
    "vit_large_patch14_xp_224": _RMS,
    **{
        f"aimv2_{size}_patch14_{side}": _RMS
        for size in ("large", "huge", "1b", "3b")
        for side in (224, 336, 448)
    },
}


def plain() -> list[str]:
    """timm's VisionTransformers without a convolutional backbone."""
    with (Path(__file__).parent / "data" / "timm_vit.csv").open(newline="") as file:
        return [
            row["model"]
            for row in csv.DictReader(file)
            if row["class"] == "VisionTransformer" and not row["d_hybrid_backbone"]
        ]


def listed(config: ViTConfig) -> tuple[int, int, int]:
    """FLOPs, bytes and launches of the list, in eager autocast with images channel by channel."""
    sizes = sizes_of(config, IMAGES)
    tree = lower(structure_of(config, IMAGES), Mode("flash", "amp", "cuda"))
    found = steps(Launches(flatten(tree)), Setup("amp"), config.num_heads == 1)
    return (
        sum(times(step, sizes) * executed_flops(step.op, sizes) for step in found),
        sum(times(step, sizes) * moved(step, sizes) for step in found),
        sum(times(step, sizes) for step in found),
    )


def traced(model: nn.Module, config: ViTConfig) -> tuple[int, int, int]:
    found = trace(model.eval(), (IMAGES, config.in_chans, *config.img_size))
    return found.flops, found.bytes, sum(found.launches.values())


def both(name: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A name of few layers by the list, and as it is traced."""
    config = resolve(name, depth=DEPTH).config
    assert isinstance(config, ViTConfig)
    with torch.device("meta"):
        model = timm().create_model(name, num_classes=1000, depth=DEPTH)
    return listed(config), traced(model, config)


NAMES = plain()


def test_enough_names_have_no_exception() -> None:
    assert len(NAMES) == 175
    assert set(EXPLAINED) <= set(NAMES)
    assert len(NAMES) - len(EXPLAINED) >= 150


QUICK = ("vit_tiny_patch16_224", "vit_little_patch16_reg4_gap_256", "vit_base_patch16_siglip_224")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in NAMES
        if name not in EXPLAINED
    ],
)
def test_the_list_is_what_torch_launches(name: str) -> None:
    ours, theirs = both(name)
    assert ours == theirs


# what no name has: arguments of timm's constructor
OTHERS: dict[str, dict[str, Any]] = {
    "norms of queries and keys": {"qk_norm": True},
    "in a block of two branches": {"qk_norm": True, "block_fn": "ParallelScalingBlock"},
    "of one head": {"qk_norm": True, "num_heads": 1},
    "parallel things without a layer scale": {"block_fn": "ParallelThingsBlock"},
    "with one": {"block_fn": "ParallelThingsBlock", "init_values": 0.1, "qk_norm": True},
    "a norm of the class token": {"fc_norm": True, "global_pool": "token"},
    "norms inside": {"scale_attn_norm": True, "scale_mlp_norm": True, "act_layer": "silu"},
    "nothing but patches": {"class_token": False, "global_pool": "avg", "qk_norm": True},
    "an attention pool": {"global_pool": "map", "class_token": False, "mlp_layer": "SwiGLU"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_list_of_a_model_that_has_no_name(what: str) -> None:
    vit, layers = timm().models.vision_transformer, timm().layers
    given = {**OTHERS[what]}
    for key, home in (("block_fn", vit), ("mlp_layer", layers)):
        if key in given:
            given[key] = getattr(home, given[key])
    sizes = {"img_size": (32, 24), "patch_size": 4, "embed_dim": 24, "depth": 2, "num_classes": 5}
    with torch.device("meta"):
        model = vit.VisionTransformer(**{**sizes, "num_heads": 2, **given})
    config = vitcost.from_torch(model).config
    assert listed(config) == traced(model, config)


@pytest.mark.parametrize("name", [n for n, why in EXPLAINED.items() if why is not _HEADS])
def test_an_explained_difference_is_one(name: str) -> None:
    """One that went away leaves the table."""
    ours, theirs = both(name)
    assert ours[0] == theirs[0]
    assert ours != theirs


@pytest.mark.parametrize("name", [n for n, why in EXPLAINED.items() if why is _HEADS])
def test_what_cannot_be_traced(name: str) -> None:
    with pytest.raises(RuntimeError, match="normalized_shape"):
        both(name)


NAMED: dict[str, tuple[dict[str, Any], tuple[str, str, str, str]]] = {
    # by what the scores are given: on a card in fp32 and halves, on a CPU in inference and training
    "nothing": ({}, ("efficient", "flash", "flash", "flash")),
    # sdp_utils.cpp: the flash kernel of a card has no mask; sdp_utils_cpp.cpp: that of a CPU none
    # that trains, nor one of three axes
    "a bias a block": (
        {"use_rel_pos_bias": True, "pos_embed": "none"},
        ("efficient", "efficient", "flash", "math"),
    ),
    "a bias of all": (
        {"use_shared_rel_pos_bias": True, "pos_embed": "none"},
        ("efficient", "efficient", "math", "math"),
    ),
    # both want values as wide as queries
    "half the width": ({"attn_layer": "diff"}, ("efficient", "efficient", "math", "math")),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_report_names_the_kernel_that_runs(name: str) -> None:
    given, kernels = NAMED[name]
    model = "Beit" if "bias" in name else "VisionTransformer"
    config = vitcost.ViTConfig(
        model_class=model, img_size=(6, 4), patch_size=2, embed_dim=16, depth=2, num_heads=2,
        mlp_dim=40, **given,
    )  # fmt: skip
    found = []
    for platform, precision, mode in (
        ("cuda", "fp32", "train"),
        ("cuda", "amp-bf16", "train"),
        ("cpu", "fp32", "infer"),
        ("cpu", "fp32", "train"),
    ):
        run = {"platform": platform, "precision": precision, "mode": mode, "batch": 2}
        chosen = vitcost.report(config, **run).to_dict()
        found.append(chosen["scenario"]["attention_kernel"])
        forced = vitcost.report(config, attention=found[-1][0], **run).to_dict()
        assert chosen["bytes_moved"] == forced["bytes_moved"]
        if mode == "train":
            assert chosen["flops"] == forced["flops"]
            assert chosen["memory"]["training"] == forced["memory"]["training"]
    assert found == [[kernel] for kernel in kernels]


_TINY: dict[str, Any] = {
    "img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 5,
}  # fmt: skip
# models of timm whose attentions run by different kernels, small
_MIXED: Mapping[str, Callable[[], nn.Module]] = {
    "plain": lambda: timm().models.VisionTransformer(**_TINY),
    "dropout": lambda: timm().models.VisionTransformer(attn_drop_rate=0.1, **_TINY),
    "differential": lambda: timm().models.VisionTransformer(attn_layer="diff", **_TINY),
    "pooled by attention": lambda: timm().models.VisionTransformer(
        global_pool="map", class_token=False, **_TINY
    ),
    "a bias a block": lambda: timm().models.Beit(use_rel_pos_bias=True, **_TINY),
    "a bias of all": lambda: timm().models.Beit(use_shared_rel_pos_bias=True, **_TINY),
    "both biases": lambda: timm().models.Beit(
        use_rel_pos_bias=True, use_shared_rel_pos_bias=True, **_TINY
    ),
    "rotary": lambda: timm().models.Eva(use_rot_pos_emb=True, **_TINY),
}


class _Attentions(TorchDispatchMode):
    """Counts attentions by the kernel that a CPU runs: math alone has a softmax of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name == "_scaled_dot_product_flash_attention_for_cpu":
            self.calls["flash"] += 1
        elif name in ("_softmax", "_safe_softmax"):
            self.calls["math"] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("freeze", ["none", "first:1", "all-but-last:1", "backbone", "lora"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16"])
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("name", _MIXED)
def test_the_kernels_that_are_named_are_torchs(
    name: str, mode: str, precision: str, freeze: str
) -> None:
    model = _MIXED[name]().train(mode == "train")
    part = {"lora": 2} if freeze == "lora" else {"freeze": freeze}
    config = vitcost.from_torch(model)
    run = {"batch": 2, "mode": mode, "precision": precision, "platform": "cpu", **part}
    named = vitcost.report(config, **run).to_dict()["scenario"]["attention_kernel"]
    if freeze == "lora":
        frozen(model, "backbone")
        adapted(model, 2, "proj")
    else:
        frozen(model, freeze)
    counted = _Attentions()
    with (
        torch.set_grad_enabled(mode == "train"),
        torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"),
        counted,
    ):
        model(torch.zeros(2, 3, 16, 16))
    assert named == [kernel for kernel, _ in counted.calls.most_common()]
