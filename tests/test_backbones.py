"""Convolutional backbones: their rows, and their layers against timm's own models."""

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from alive import declared_peak, forward_peak, looks
from timm_support import timm
from torch import nn
from torch_support import image, saved_bytes

from vitcost import ConfigError, ViTConfig, from_torch, report
from vitcost.check import check, step_witnesses
from vitcost.check.counters import by_torch
from vitcost.check.expected import expected
from vitcost.config.backbones import BACKBONES, features, map_sizes
from vitcost.config.vit_config import FIELDS, configure
from vitcost.engine.cost import fold
from vitcost.engine.live import peak
from vitcost.engine.lower import Mode, lower
from vitcost.engine.step_trace import step_trace
from vitcost.engine.structure import sizes_of, structure_of
from vitcost.formulas.symbols import meaning
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import Resolved, resolve
from vitcost.zoo import timm as zoo

with (Path(__file__).parent / "data/timm_vit.csv").open(encoding="utf-8", newline="") as file:
    HYBRIDS = [row for row in csv.DictReader(file) if row["d_hybrid_backbone"]]
# one of each way to wire a backbone, and one whose stages all have equal blocks
KINDS = (
    "vit_base_mci_224",
    "vit_small_r26_s32_224",
    "vit_small_resnet50d_s16_224",
    "vit_tiny_r_s16_p8_224",
    "vitamin_small_224",
)
PRECISIONS = {"fp32": torch.float32, "amp": torch.float32, "half": torch.bfloat16}


def test_the_choices_are_the_rows() -> None:
    assert FIELDS["backbone"][1].choices == ("", *BACKBONES)
    used = {resolve(row["model"]).config.backbone for row in HYBRIDS}
    assert used == set(BACKBONES)


@pytest.mark.parametrize("row", HYBRIDS, ids=[row["model"] for row in HYBRIDS])
def test_features(row: dict[str, str]) -> None:
    config = resolve(row["model"]).config
    backbone = BACKBONES[config.backbone]
    assert backbone.source
    assert backbone.width == int(row["d_hybrid_feature_dim"])
    assert "x".join(map(str, config.features)) == row["d_hybrid_feature_hw"]
    assert config.grid == (int(row["d_grid_h"]), int(row["d_grid_w"]))
    assert (config.feature_tokens == 0) == (row["d_patch_proj"] == "conv")


def halved(side: int, kernel: int = 3, padding: int = 1) -> int:
    """torch's rule for the output of a convolution or pool of stride 2."""
    return (side + 2 * padding - kernel) // 2 + 1


@pytest.mark.parametrize("name", BACKBONES)
def test_the_side_of_each_map(name: str) -> None:
    row = BACKBONES[name]
    for side in range(33, 70):
        sizes = map_sizes(name, (side, 2 * side))
        if row.kind == "convs":
            maps = [(side - 4) // 4 + 1, (side // 4 - 2) // 2 + 1, (side // 8 - 2) // 2 + 1]
        else:
            times = len(row.strides)
            maps = [reduce(lambda n, _: halved(n), range(i + 1), side) for i in range(times)]
        assert [sizes[f"H{i + 1}"] for i in range(len(row.strides))] == maps
        assert features(name, (side, 2 * side)) == (maps[-1], sizes[f"W{len(maps)}"])
        # TensorFlow's rule: so much that a kernel of 7 meets ceil(side / 2) strides
        if row.kind != "convs":
            assert sizes["H_7"] == side + max((-(-side // 2) - 1) * 2 + 7 - side, 0)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("vit_small_r26_s32_224", {"patch_size": 2}, "features of resnetv2_26, side 7 is not div"),
    ("vit_tiny_r_s16_p8_224", {"img_size": 16}, "side 4 is smaller than patch_size 8"),
    ("vit_base_mci_224", {"img_size": 8}, "side 0 is smaller than patch_size 1"),
    ("vit_base_mci_224", {"patch_size": 2}, "are the tokens: embed_dim 768 and patch_size 1, got"),
    ("vitamin_small_224", {"embed_dim": 768}, "are the tokens: embed_dim 384 and"),
    ("vit_small_r26_s32_224", {"patch_norm": True}, "has no patch_norm"),
    ("eva02_tiny_patch14_224", {"backbone": "mci"}, "needs model_class VisionTransformer"),
    ("vit_tiny_patch16_224", {"backbone": "resnet50"}, "did you mean 'resnet50d'"),
]


@pytest.mark.parametrize(("name", "override", "message"), REFUSED)
def test_what_cannot_be(name: str, override: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(name, **override)


def test_other_peoples_names() -> None:
    for name, base in (
        ("R+ViT-Ti_16", "vit_tiny_r_s16_p8_224"),
        ("R26+ViT-S_32", "vit_small_r26_s32_224"),
        ("R26+ViT-B_32", "vit_base_r26_s32_224"),
        ("R50+ViT-B_16", "vit_base_r50_s16_224"),
        ("R50+ViT-L_32", "vit_large_r50_s32_224"),
        ("vit_base_resnet50_384", "vit_base_r50_s16_384"),
    ):
        (row,) = (row for row in HYBRIDS if row["model"] == base)
        assert report(name).params == int(row["params_total_nc1000"])


def test_the_papers_hybrids() -> None:
    """21,843 classes, and in the first paper a layer as wide as the model before them."""
    classes = 21843 - 1000
    for name, width, layer in (
        ("vit_tiny_r_s16_p8_224", 192, 0),
        ("vit_small_r26_s32_224", 384, 0),
        ("vit_large_r50_s32_224", 1024, 0),
        ("vit_base_r50_s16_224", 768, 768 * 768 + 768),
    ):
        more = report(f"{name}_in21k").params - report(name).params
        assert more == classes * (width + 1) + layer
    first, second = (report(f"vit_base_{name}_224_in21k") for name in ("r50_s16", "resnet50"))
    assert first.flops == second.flops


def test_a_page_and_a_formula_say_what_a_map_is() -> None:
    lead = report("vit_small_r26_s32_224").page().lead
    assert "image 224×224, patch 1×1 of features of resnetv2_26, 50 tokens" in lead
    assert meaning("W3") == "width of map 3 of the backbone"


def test_a_plain_model_loads_no_backbone() -> None:
    def loads(name: str) -> set[str]:
        code = f"import sys, vitcost; vitcost.report({name!r}); print(*sys.modules)"
        command = [sys.executable, "-c", code]
        return set(subprocess.run(command, capture_output=True, text=True).stdout.split())

    own = {"vitcost.config.backbones", "vitcost.engine.backbone_layers", "vitcost.engine.convs"}
    assert not own & loads("vit_tiny_patch16_224")
    assert own <= loads("vit_tiny_r_s16_p8_224")


def test_pointwise_work_of_a_stem() -> None:
    """Each norm and each ReLU writes its map, and a standardized weight is a norm's too."""
    config = resolve("vit_tiny_r_s16_p8_224").config
    found = {e.path: e.cost.pointwise for e in expected(config, 2)}
    weight, written = 64 * 3 * 7 * 7, 2 * 64 * 112 * 112
    assert found["patch_embed.backbone.conv"] == weight
    assert found["patch_embed.backbone.norm"] == 2 * written
    assert found["patch_embed"] == weight + 2 * written


def model(name: str, **options: Any) -> Any:
    return timm().create_model(name, num_classes=5, **options)


def unfused(made: nn.Module) -> nn.Module:
    for module in made.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return made


def calls(config: ViTConfig, batch: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for each in expected(config, batch):
        if each.path.startswith("patch_embed"):
            yield each.path, each.type, tuple(each.shape)


@pytest.mark.parametrize("name", KINDS)
def test_every_module_as_timm_calls_it(name: str) -> None:
    """Order, path, type and output shape of every call, and the parameters of each; odd maps."""
    options = {"img_size": (205, 240), "in_chans": 4, "depth": 1}
    if name.endswith("p8_224"):
        options["img_size"] = (253, 288)
    with torch.device("meta"):
        made = model(name, **options).eval()
    config = resolve(name, num_classes=5, **options).config
    shape = (2, 4, *config.img_size)
    seen = [call for call in by_torch(made, shape).calls if call.path.startswith("patch_embed")]
    assert list(calls(config, 2)) == [tuple(call) for call in seen]
    params = {
        path: sum(p.numel() for p in module.parameters())
        for path, module in made.patch_embed.named_modules(prefix="patch_embed")
    }
    ours = {e.path: e.cost.params for e in expected(config, 2) if e.path in params}
    assert ours == params


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_check(name: str) -> None:
    """FLOPs forward and backward and bytes kept, module by module."""
    (found,) = check([name], batch=2, depth=1).models
    assert found.ok
    assert found.comparisons["backward_flops"] > 20
    assert found.comparisons["saved_bytes_eager_amp"] > 20
    reasons = {d.explained_by for d in found.differences if d.quantity == "backward_flops"}
    # ViTamin's depthwise convolutions
    grouped = "torch counts the gradient of a grouped convolution's weight as if it had one group"
    assert reasons == ({grouped} if name == "vitamin_small_224" else set())


def small(name: str) -> dict[str, Any]:
    return {"img_size": (64, 96), "depth": 2}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", KINDS)
def test_bytes_of_real_tensors(name: str, precision: str) -> None:
    """What is alive in inference, and what autograd keeps in training."""
    kind, autocast = PRECISIONS[precision], precision == "amp"
    made = unfused(model(name, **small(name))).to(kind)
    config = resolve(name, num_classes=5, **small(name)).config
    for batch in (1, 2):
        x, sizes = image(config, batch).to(kind), sizes_of(config, batch)
        eval_tree, train_tree = (
            lower(structure_of(config, batch, training), Mode("eager", precision, "cpu"))
            for training in (False, True)
        )
        real = forward_peak(made.eval(), x, torch.bfloat16 if autocast else None)
        assert declared_peak(eval_tree, sizes, in_place=False).peak_bytes == real
        saved = fold(train_tree, sizes).cost.saved_bytes
        assert saved == saved_bytes(made.train(), x, autocast)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", KINDS)
def test_peak_of_a_training_step(name: str, precision: str) -> None:
    kind = PRECISIONS[precision]
    made = unfused(model(name, **small(name))).to(kind).train()
    config = resolve(name, num_classes=5, **small(name)).config
    trace = step_trace(structure_of(config, 2, True), Mode("eager", precision, "cpu"), False)
    autocast = torch.bfloat16 if precision == "amp" else None
    step = step_witnesses.Step(
        made, image(config, 2).to(kind), step_witnesses.optimizer("sgd"), autocast
    )
    assert peak(trace, sizes_of(config, 2)).peak_bytes == max(looks(step))


@pytest.mark.parametrize("name", KINDS)
def test_a_module_is_read_back(name: str) -> None:
    with torch.device("meta"):
        made = model(name, in_chans=2)
    found = from_torch(made)
    assert isinstance(found, Resolved)
    named = resolve(name, num_classes=5, in_chans=2).config
    assert found.config.backbone == named.backbone
    assert report(found).flops == report(named).flops


def _other_stride(network: Any) -> None:
    network.stages[1].blocks[0].conv2.stride = (1, 1)


def _other_padding(network: Any) -> None:
    network.stem.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)


def _one_block_less(network: Any) -> None:
    del network.stages[3].blocks[1]


@pytest.mark.parametrize("change", [_other_stride, _other_padding, _one_block_less])
def test_a_network_of_another_shape_is_measured(change: Callable[[Any], None]) -> None:
    with torch.device("meta"):
        made = model("vit_small_r26_s32_224")
        assert isinstance(from_torch(made), Resolved)
        change(made.patch_embed.backbone)
    found = from_torch(made)
    assert isinstance(found.config, TracedModel)
    assert "of another shape" in found.config.reason


def test_features_of_another_size_are_measured() -> None:
    with torch.device("meta"):
        made = model("vit_small_r26_s32_224")
    made.patch_embed.feature_size = (8, 8)
    assert isinstance(from_torch(made).config, TracedModel)


# overrides, and what they do to parameters and tokens, written out
OVERRIDES: list[tuple[str, dict[str, Any], int, int]] = [
    # 12 · 12 features in place of 7 · 7, each with a position
    ("vit_small_r26_s32_224", {"img_size": 384}, (144 - 49) * 384, 144 - 49),
    # ceil(225 / 32) = 8
    ("vit_small_r26_s32_224", {"img_size": 225}, (64 - 49) * 384, 64 - 49),
    # the first convolution reads another channel
    ("vit_small_r26_s32_224", {"in_chans": 4}, 64 * 7 * 7, 0),
    # floor(250 / 4 / 2 / 2) = 15
    ("vit_base_mci_224", {"img_size": 250}, (225 - 196) * 768, 225 - 196),
    # 56 features a side in patches of 14 instead of 8: 16 tokens, and a larger kernel
    (
        "vit_tiny_r_s16_p8_224",
        {"patch_size": 14},
        64 * (14**2 - 8**2) * 192 - (49 - 16) * 192,
        16 - 49,
    ),
    # a norm in front of the blocks, which makes the bias of the projection superfluous
    ("vit_small_r26_s32_224", {"pre_norm": True}, 2 * 384 - 384, 0),
    # features padded to whole patches, positions made for those that are whole
    (
        "vit_tiny_r_s16_p8_224",
        {"img_size": 230, "dynamic_img_size": True, "dynamic_img_pad": True},
        0,
        8 * 8 - 49,
    ),
]


@pytest.mark.parametrize(("name", "override", "params", "tokens"), OVERRIDES)
def test_override(name: str, override: dict[str, Any], params: int, tokens: int) -> None:
    fields = zoo.lookup(name)
    assert fields is not None
    plain, other = (configure(fields[1], **each) for each in ({}, override))
    assert other.tokens - plain.tokens == tokens
    assert report(other).params - report(plain).params == params
