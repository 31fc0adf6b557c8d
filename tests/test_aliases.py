"""The names of others: against their libraries, and against what is recorded of timm's models."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from counting_support import buffer_bytes, counted, model_json, tower, transformer
from open_clip import model as open_clip_model
from timm_support import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vitcost import ConfigError, NotCovered, UnknownName, report
from vitcost.zoo import aliases, names, resolve, timm
from vitcost.zoo.hub_ids import HUB
from vitcost.zoo.open_clip_models import MODELS

with (Path(__file__).parent / "data" / "timm_vit.csv").open(encoding="utf-8", newline="") as file:
    TIMM = {row["model"]: row for row in csv.DictReader(file)}
# models with a convolutional backbone, which a name here needs in timm's tables
KNOWN = frozenset(names())


def agree(name: str, model: Any) -> None:
    found = report(name)
    params, flops = counted(model, 1, 3, *found.model.config.img_size)
    assert (found.params, found.flops.forward) == (params, flops)


@pytest.mark.parametrize("name", ["vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"])
def test_torchvision(name: str) -> None:
    with torch.device("meta"):
        model = getattr(torchvision().models, name)()
    agree(name, model)


def test_torchvision_weights() -> None:
    for upper in ("ViT_B_16", "ViT_B_32", "ViT_L_16", "ViT_L_32", "ViT_H_14"):
        for weights in torchvision().models.get_model_weights(upper.lower()):
            found = report(f"{upper}_Weights.{weights.name}")
            assert found.params == weights.meta["num_params"]
            # in billions of multiply-adds
            assert round(found.flops.macs_forward / 1e9, 3) == weights.meta["_ops"]


# google-research's names and the papers', and timm's of the same model
SAME = {
    "ViT-Ti_16": "vit_tiny_patch16_224", "ViT-S_16": "vit_small_patch16_224",
    "ViT-S_32": "vit_small_patch32_224", "ViT-B_8": "vit_base_patch8_224",
    "ViT-B_16": "vit_base_patch16_224", "ViT-B_32": "vit_base_patch32_224",
    "ViT-L_16": "vit_large_patch16_224", "ViT-L_32": "vit_large_patch32_224",
    "ViT-H_14": "vit_huge_patch14_224", "ViT-Ti/16": "vit_tiny_patch16_224",
    "B/16": "vit_base_patch16_224", "ViT-L/32": "vit_large_patch32_224",
    "H/14": "vit_huge_patch14_224", "ViT-g/14": "vit_giant_patch14_224",
    "G/14": "vit_gigantic_patch14_224",
}  # fmt: skip


@pytest.mark.parametrize(("name", "row"), SAME.items())
def test_names_of_the_papers(name: str, row: str) -> None:
    found = report(name)
    assert found.params == int(TIMM[row]["params_total_nc1000"])
    assert found.flops.forward == int(TIMM[row]["flops_total_nc1000"])


def test_google_pools_the_patches_without_a_class_token() -> None:
    base = int(TIMM["vit_base_patch16_224"]["params_total_nc1000"])
    found = report("ViT-B_16-gap-norep")
    # neither the token nor its position
    assert (found.params, found.tokens) == (base - 2 * 768, 14 * 14)


def head(row: str, h: int, classes: int = 1000) -> int:
    """Parameters of a timm model without its head."""
    return int(TIMM[row]["params_total_nc1000"]) - (h + 1) * classes


# ids of the hub, and their parameters by those of timm's model without its head: what is added
ADDED = {
    # a linear layer and tanh behind the class token
    "google/vit-huge-patch14-224-in21k": ("vit_huge_patch14_224", 1280, 1280 * 1280 + 1280),
    "google/vit-large-patch32-384": ("vit_large_patch32_384", 1024, 1025 * 1000),
    "facebook/deit-base-distilled-patch16-384": ("vit_base_patch16_384", 768, 2 * 769000 + 2 * 768),
    "microsoft/beit-large-patch16-512": ("beit_large_patch16_512", 1024, 1025 * 1000),
    "microsoft/beit-large-patch16-224-pt22k-ft22k": (
        "beit_large_patch16_224", 1024, 1025 * 21841,
    ),
    # one table of relative positions for 24 blocks that had one each
    "facebook/data2vec-vision-large": (
        "beit_large_patch16_224", 1024, -23 * (27 * 27 + 3) * 16,
    ),
    "facebook/vit-mae-huge": ("vit_huge_patch14_224", 1280, 0),
    "facebook/vit-msn-large": ("vit_large_patch16_224", 1024, 0),
    # a mask token
    "facebook/dinov2-small": ("vit_small_patch14_dinov2", 384, 384),
    "facebook/dinov2-base": ("vit_base_patch14_dinov2", 768, 768),
    "facebook/dinov2-large": ("vit_large_patch14_dinov2", 1024, 1024),
    "facebook/dinov2-giant": ("vit_giant_patch14_dinov2", 1536, 1536),
    # and a head for the class token beside the mean
    "facebook/dinov2-giant-imagenet1k-1-layer": (
        "vit_giant_patch14_dinov2", 1536, 1536 + 3073 * 1000,
    ),
    # a mask token, and a position for the class token
    "facebook/dinov2-with-registers-large": ("vit_large_patch14_reg4_dinov2", 1024, 2 * 1024),
    "facebook/dinov2-with-registers-giant": ("vit_giant_patch14_reg4_dinov2", 1536, 2 * 1536),
    # timm's has no bias of q and v; a mask token
    "facebook/dinov3-vits16-pretrain-lvd1689m": (
        "vit_small_patch16_dinov3", 384, 12 * 2 * 384 + 384,
    ),
    "facebook/dinov3-vits16plus-pretrain-lvd1689m": (
        "vit_small_plus_patch16_dinov3", 384, 12 * 2 * 384 + 384,
    ),
    "facebook/dinov3-vitb16-pretrain-lvd1689m": (
        "vit_base_patch16_dinov3", 768, 12 * 2 * 768 + 768,
    ),
    "facebook/dinov3-vitl16-pretrain-lvd1689m": (
        "vit_large_patch16_dinov3", 1024, 24 * 2 * 1024 + 1024,
    ),
    "facebook/dinov3-vith16plus-pretrain-lvd1689m": (
        "vit_huge_plus_patch16_dinov3", 1280, 32 * 2 * 1280 + 1280,
    ),
    "facebook/dinov3-vit7b16-pretrain-lvd1689m": ("vit_7b_patch16_dinov3", 4096, 4096),
    # a projection without bias
    "openai/clip-vit-base-patch32": ("vit_base_patch32_clip_224", 768, 768 * 512),
    "openai/clip-vit-base-patch16": ("vit_base_patch16_clip_224", 768, 768 * 512),
    "openai/clip-vit-large-patch14": ("vit_large_patch14_clip_224", 1024, 1024 * 768),
    "openai/clip-vit-large-patch14-336": ("vit_large_patch14_clip_336", 1024, 1024 * 768),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": ("vit_huge_patch14_clip_224", 1280, 1280 * 1024),
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": ("vit_giant_patch14_clip_224", 1408, 1408 * 1024),
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": (
        "vit_gigantic_patch14_clip_224", 1664, 1664 * 1280,
    ),
    "google/siglip-large-patch16-384": ("vit_large_patch16_siglip_384", 1024, 0),
    "google/siglip-so400m-patch14-384": ("vit_so400m_patch14_siglip_384", 1152, 0),
    "google/siglip2-so400m-patch16-512": ("vit_so400m_patch16_siglip_512", 1152, 0),
    "google/siglip2-giant-opt-patch16-384": ("vit_giantopt_patch16_siglip_384", 1536, 0),
}  # fmt: skip


@pytest.mark.parametrize(("name", "by"), ADDED.items(), ids=list(ADDED))
def test_ids_of_the_hub_beside_timm(name: str, by: tuple[str, int, int]) -> None:
    row, h, added = by
    both = HUB[name].kind in ("clip", "siglip")
    assert report(f"{name}:vision" if both else name).params == head(row, h) + added


# one of each family and of each class, at the size at which it is small
@pytest.mark.parametrize(
    "name",
    [
        "google/vit-base-patch16-384",
        "google/vit-base-patch32-224-in21k",
        "facebook/dino-vits8",
        "facebook/deit-small-patch16-224",
        "facebook/deit-tiny-distilled-patch16-224",
        "microsoft/beit-base-patch16-224",
        "facebook/data2vec-vision-base",
        "facebook/data2vec-vision-base-ft1k",
        "facebook/vit-msn-base-4",
        "facebook/dinov2-small",
        "facebook/dinov2-small-imagenet1k-1-layer",
        "facebook/dinov2-with-registers-small",
        "facebook/dinov2-with-registers-small-imagenet1k-1-layer",
        "facebook/dinov3-vits16-pretrain-lvd1689m",
        "facebook/dinov3-vits16plus-pretrain-lvd1689m",
    ],
)
def test_ids_of_the_hub(name: str) -> None:
    entry = HUB[name]
    agree(name, transformer(entry.kind, entry.architecture, **entry.keys))


# transformers' classes of one tower, by the kind of a model of two
_TOWERS = {
    "clip": ("CLIPVisionModelWithProjection", "CLIPTextModelWithProjection"),
    "siglip": ("SiglipVisionModel", "SiglipTextModel"),
}


@pytest.mark.parametrize(
    "name",
    [
        "openai/clip-vit-base-patch32",
        "google/siglip-so400m-patch14-224",
        "google/siglip2-base-patch32-256",
        "google/siglip2-giant-opt-patch16-256",
    ],
)
def test_an_id_of_two_towers_is_both_and_either(name: str) -> None:
    entry = HUB[name]
    keys = {k: v for k, v in entry.keys.items() if k != "model_type"}
    both = transformer(entry.kind, entry.architecture, **keys)
    side = entry.keys["vision_config"]["image_size"]
    tokens = entry.keys["text_config"].get("max_position_embeddings", 77)
    inputs = {
        "pixel_values": torch.empty(1, 3, side, side, device="meta"),
        "input_ids": torch.zeros(1, tokens, dtype=torch.long, device="meta"),
    }
    agree_on(name, both, **inputs)
    vision, text = _TOWERS[entry.kind]
    width = {"projection_dim": keys["projection_dim"]} if entry.kind == "clip" else {}
    image = transformer(f"{entry.kind}_vision_model", vision, **keys["vision_config"], **width)
    agree_on(f"{name}:vision", image, pixel_values=inputs["pixel_values"])
    reads = transformer(f"{entry.kind}_text_model", text, **keys["text_config"], **width)
    agree_on(f"{name}:text", reads, input_ids=inputs["input_ids"])
    for one in ("vision", "text"):
        assert report(name, tower=one).params == report(f"{name}:{one}").params


def agree_on(name: str, model: nn.Module, more: int = 0, **inputs: torch.Tensor) -> None:
    """Parameters and FLOPs as torch counts them, but for products that a caller makes."""
    with FlopCounterMode(display=False) as counter:
        model.eval().requires_grad_(False)(**inputs)
    found = report(name)
    params = sum(p.numel() for p in model.parameters())
    assert (found.params, found.flops.forward) == (params, counter.get_total_flops() + more)
    assert found.inference.buffers_bytes == buffer_bytes(model)


# one of each kind; the others are their variants
_QUICK = (
    "ViT-S-32-alt", "ViT-B-16-quickgelu", "ViT-L-14-CLIPA", "ViT-B-16-SigLIP2", "MobileCLIP2-B",
    "ViT-SO400M-16-SigLIP-i18n-256", "EVA02-B-16", "PE-Core-T-16-384", "ViTamin-S", "coca_base",
    "nllb-clip-base",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in _QUICK else pytest.mark.slow) for name in MODELS],
)
def test_open_clip_s_own_model_of_both_towers(name: str) -> None:
    data = model_json(name)
    text = data["text_cfg"]
    if "hf_model_name" in text or "multimodal_cfg" in data:
        with pytest.raises(NotCovered, match=f"the vision tower alone: {name}:vision"):
            report(name)
        assert report(f"{name}:vision").params > 0
        return
    keys = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_bias")
    kind = open_clip_model.CustomTextCLIP if data.get("custom_text") else open_clip_model.CLIP
    with torch.device("meta"):
        model = kind(**{key: data[key] for key in keys if key in data})
    config: Any = resolve(name).config
    assert report(name).params == sum(p.numel() for p in model.parameters())
    assert report(name).inference.buffers_bytes == buffer_bytes(model)
    if config.vision.depth > 16 or config.vision.backbone or config.vision.img_size[0] > 240:
        # the blocks of a large tower are those of a small one, more often
        return
    # an image's and a text's features, and their product, which open_clip's loss makes
    agree_on(
        name,
        model,
        2 * data["embed_dim"],
        image=torch.empty(1, 3, *config.vision.img_size, device="meta"),
        text=torch.zeros(1, config.text.seq_len, dtype=torch.long, device="meta"),
    )


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "ViT-B-16"),
        ("hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "ViT-B-16"),
        ("hf-hub:apple/DFN5B-CLIP-ViT-H-14-378", "ViT-H-14-378-quickgelu"),
        ("hf-hub:timm/ViT-B-16-SigLIP2", "ViT-B-16-SigLIP2"),
        ("hf-hub:laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "ViT-H-14"),
    ],
)
def test_open_clip_s_ids_of_the_hub(name: str, model: str) -> None:
    assert report(name).params == report(model).params
    assert report(f"{name}:vision").params == report(f"{model}:vision").params


# as torch.hub builds them, from the sizes in the repositories
def test_names_of_torch_hub() -> None:
    # DINOv2's own class has one layer for q, k and v; its table is that of 518 x 518
    for letter, h, L in (("s", 384, 12), ("b", 768, 12), ("l", 1024, 24)):
        block = 12 * h * h + 13 * h + 2 * h
        patches, table, tokens = h * (3 * 14 * 14 + 1), 1370 * h, 2 * h
        params = L * block + patches + table + tokens + 2 * h
        assert report(f"dinov2_vit{letter}14").params == params
        assert report(f"dinov2_vit{letter}14_reg").params == params + 4 * h
        # DINOv3's has no table, a bias of keys, four registers and a mask token
        patches, tokens = h * (3 * 16 * 16 + 1), (1 + 4 + 1) * h
        params = L * block + patches + tokens + 2 * h
        assert report(f"dinov3_vit{letter}16").params == params
    assert report("dinov2_vitb14").params == 86_580_480
    assert report("dinov2_vitb14", input_size=224).tokens == 257
    assert report("dino_vits16").params == head("vit_small_patch16_224", 384)
    # timm's copy has neither a mask token nor a bias of keys
    copy = report("vit_large_patch16_dinov3_qkvb", num_classes=0).params
    assert report("dinov3_vitl16").params == copy + 1024 + 24 * 1024
    assert report("mae_vit_large_patch16").params == report("facebook/vit-mae-large").params
    assert "encoder alone" in report("mae_vit_large_patch16").model.source


def test_the_hub_s_vit_mae_is_its_encoder() -> None:
    agree("facebook/vit-mae-base", transformer("vit_mae", "ViTMAEModel"))


@pytest.mark.parametrize("name", MODELS)
def test_open_clip_s_tables_say_what_its_files_say(name: str) -> None:
    data = model_json(name)
    ours = {"quick_gelu": False, **MODELS[name]}
    assert ours["embed_dim"] == data["embed_dim"]
    assert ours["quick_gelu"] == data.get("quick_gelu", False)
    # SigLIP and what has no drop path say so in more words
    said = {k: v for k, v in data["vision_cfg"].items() if k not in ("timm_model_pretrained",)}
    known = {k: v for k, v in ours["vision_cfg"].items() if v != 0.0 or k in said}
    assert {k: v for k, v in said.items() if k in known} == known
    assert not {k for k, v in said.items() if k not in known} - {
        "timm_drop", "timm_drop_path", "output_tokens",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "ViT-B-32",
        "ViT-B-16-quickgelu",
        "ViT-B-16-plus-240",
        "ViT-M-16-alt",
        "ViT-L-14-336",
        "ViT-L-14-CLIPA",
        "ViT-g-14",
        "ViT-B-16-SigLIP2-256",
        "ViT-SO400M-14-SigLIP-384",
        "EVA02-B-16",
        "PE-Core-T-16-384",
    ],
)
def test_open_clip(name: str) -> None:
    agree(f"{name}:vision", tower(model_json(name)))


def test_every_name_is_a_model_with_a_source() -> None:
    others = aliases.names(set(timm.names()))
    assert len(others) == len(set(others))
    assert set(others) <= KNOWN
    assert not set(others) & set(timm.names())
    for name in others:
        assert resolve(name).source, name
    # what is left out needs a row with a backbone, which timm's tables do not have yet
    left_out = {*aliases.ROWS, *MODELS, *HUB} - set(others)
    assert {f"{name}:vision" for name in left_out} <= set(others)
    for name in left_out:
        with pytest.raises((NotCovered, UnknownName)):
            resolve(name)


def test_the_hub_s_copies_of_timm_s_weights() -> None:
    found = report("timm/vit_base_patch16_224.augreg_in21k")
    # 21,843 classes
    assert found.params == head("vit_base_patch16_224", 768) + 769 * 21843
    # as timm.create_model takes them from the hub
    for spelled in (
        "hf-hub:timm/vit_base_patch16_224.dino",
        "hf_hub:timm/vit_base_patch16_224.dino",
    ):
        assert report(spelled).params == head("vit_base_patch16_224", 768)
    with pytest.raises(UnknownName, match="unknown model 'vit_base_patch16_225'"):
        report("timm/vit_base_patch16_225")


def test_names_that_mean_several_models_are_refused() -> None:
    assert not set(aliases.AMBIGUOUS) & KNOWN
    for name, meant in aliases.AMBIGUOUS.items():
        with pytest.raises(ConfigError) as caught:
            report(name)
        assert str(caught.value) == f"{name!r} is ambiguous: {meant}"


def test_case_matters_and_neighbours_are_named() -> None:
    # open_clip's has a projection, Google's a head
    assert report("ViT-B-32").params != report("ViT-B_32").params
    for typed, meant in {
        "vit-b-32": "ViT-B-32",
        "vit_h14": "vit_huge_patch14_224",
        "Google/ViT-base-patch16-224": "google/vit-base-patch16-224",
        "facebook/dinov2-bas": "facebook/dinov2-base",
        "vit_b_17": "vit_b_16 (vit_base_patch16_224)",
    }.items():
        with pytest.raises(UnknownName) as caught:
            report(typed)
        assert meant in str(caught.value)


def test_fields_go_on_top() -> None:
    assert resolve("vit_b_16", num_classes=5, img_size=384).config.tokens == 24 * 24 + 1
    assert resolve("facebook/dinov2-base", img_size=224).config.tokens == 16 * 16 + 1
    assert resolve("ViT-B-32:vision", num_classes=0).config.num_classes == 0


@pytest.mark.parametrize(
    "name", ["dinov2_vitb14", "dinov3_vitl16", "dino_vits16", "mae_vit_base_patch16"]
)
def test_a_forward_that_is_taken_from_another_library_is_said(name: str) -> None:
    """torch.hub's own modules are not installed: no byte of theirs was compared."""
    assert "bytes alive by the forward of " in resolve(name).source


def test_dinov2_of_torch_hub_says_which_attention_it_has_without_xformers() -> None:
    """dinov2/layers/attention.py: MemEffAttention falls back to plain products."""
    assert "without xFormers --attention eager" in resolve("dinov2_vitl14_reg").source
    assert "xFormers" not in resolve("facebook/dinov2-large").source
