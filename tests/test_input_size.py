"""Images of another size than the positions are made for: against timm's and transformers' models.

Parameters and FLOPs by torch on meta, saved bytes and peaks on real tensors.
"""

from typing import Any

import pytest
import torch
from counting_support import config_class, counted
from saved_support import held_bytes
from test_peak import check_inference, check_step
from timm_features import BASE, DEIT, DROPS, EVA, VIT, build
from timm_support import timm, transformers
from torch import Tensor, nn

from vitcost import (
    ConfigError,
    NotCovered,
    ViTConfig,
    compare,
    explain,
    from_torch,
    report,
    sweep,
)
from vitcost.check import check
from vitcost.cli import run
from vitcost.config.vit_config import configure
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import resolve
from vitcost.zoo.timm.args import fields_of

transformers()

# torch says so where it takes a norm of halves with a weight in fp32 apart
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4,
        "image_size": 24}  # fmt: skip
# kind, class, what is beside; whether its forward is told to resample
TRANSFORMERS: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("dinov2", "Dinov2Model", {}, False),
    ("dinov2", "Dinov2ForImageClassification", {"num_labels": 5}, False),
    ("dinov2_with_registers", "Dinov2WithRegistersModel", {}, False),
    ("dinov3_vit", "DINOv3ViTModel", {"num_register_tokens": 2}, False),
    ("beit", "BeitModel", {"use_absolute_position_embeddings": True}, False),
    ("beit", "BeitForImageClassification", {"num_labels": 5}, False),
    ("data2vec-vision", "Data2VecVisionModel", {"use_absolute_position_embeddings": True}, False),
    ("vit", "ViTForImageClassification", {"num_labels": 5}, True),
    ("deit", "DeiTForImageClassificationWithTeacher", {"num_labels": 5}, True),
    ("vit_msn", "ViTMSNModel", {}, True),
    ("clip_vision_model", "CLIPVisionModelWithProjection", {"projection_dim": 8}, True),
    ("siglip_vision_model", "SiglipVisionModel", {}, True),
)
# smaller, with pixels beyond the last patch, as many patches but not square, the own size
SIZES = [(12, 12), (27, 25), (16, 36), (24, 24)]


class Told(nn.Module):
    """A model of transformers that is told to resample its positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x, interpolate_pos_encoding=True)


def built_by_transformers(
    kind: str, name: str, keys: dict[str, Any], told: bool, device: str
) -> tuple[Any, nn.Module]:
    """The model, and what is fed: the model, or itself told to resample."""
    config = config_class(kind)(**{**TINY, **keys}, attn_implementation="eager")
    with torch.device(device):
        model = getattr(transformers(), name)(config)
    return model, Told(model) if told else model


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("row", TRANSFORMERS, ids=[row[1] for row in TRANSFORMERS])
def test_transformers(row: tuple[str, str, dict[str, Any], bool], size: tuple[int, int]) -> None:
    kind, name, keys, told = row
    model, fed = built_by_transformers(kind, name, keys, told, "meta")
    found = from_torch(model) if told else from_torch(model, img_size=size)
    flags = {"input_size": size, "interpolate_pos_encoding": "same"} if told else {}
    answer = report(found, **flags)  # type: ignore[arg-type]
    params, flops = counted(fed, 1, 3, *size)
    assert (answer.params, answer.flops.forward) == (params, flops)
    assert answer.to_dict()["model"]["config"]["input_size"] == list(size)
    assert answer.to_dict()["model"]["config"]["img_size"] == [24, 24]


@pytest.mark.parametrize(("row", "precision"), [(1, "fp32"), (1, "bf16"), (2, "bf16"), (7, "fp32")])
def test_bytes_of_transformers(row: int, precision: str) -> None:
    """A resampled table is a tensor beside the parameter, and autograd keeps neither."""
    kind, name, keys, told = TRANSFORMERS[row]
    model, fed = built_by_transformers(kind, name, keys, told, "cpu")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model.to(dtype).train()
    images = torch.zeros(2, 3, 16, 36, dtype=dtype)
    own = [images, *model.parameters(), *model.buffers()]
    given = {"interpolate_pos_encoding": "same"} if told else {}
    answer = report(from_torch(model), batch=2, platform="cpu", input_size=(16, 36), **given)  # type: ignore[arg-type]
    kept = held_bytes(lambda: fed(images), own)
    layers = answer.training.saved_activations_bytes - loss_bytes(answer)
    assert layers == kept


def loss_bytes(answer: Any) -> int:
    """What cross entropy keeps of two images: their log-softmax, and how many they are."""
    classes = answer.model.config.num_classes
    size = 2 if answer.scenario.precision == "bf16" else 4
    return (2 * classes + 1) * size if classes else 0


# features of timm that meet the positions
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (VIT, {}),
    "registers": (VIT, {"reg_tokens": 2}),
    "positions of patches": (VIT, {"no_embed_class": True, "reg_tokens": 1}),
    "patches alone": (VIT, {"class_token": False, "global_pool": "avg"}),
    "no positions": (VIT, {"pos_embed": "none"}),
    "distilled": (DEIT, {}),
    "eva": (EVA, {}),
    "rotary": (EVA, {"use_rot_pos_emb": True}),
    "mixed rotary": (EVA, {"use_rot_pos_emb": True, "rope_type": "mixed"}),
    "rotary alone": (EVA, {"use_abs_pos_emb": False, "use_rot_pos_emb": True,
                           "rope_type": "dinov3"}),
    "padded": (VIT, {"dynamic_img_pad": True}),
}  # fmt: skip
# precision, dropouts, batch, attention; the table, and the image that it is resampled to
RUNS = (
    ("fp32", False, 2, "eager", (4, 6), (8, 4)),
    ("fp32", True, 1, "sdpa", (20, 24), (4, 6)),
    ("amp", False, 2, "sdpa", (20, 24), (4, 6)),
    ("half", True, 1, "eager", (20, 24), (4, 6)),
    ("half", False, 3, "sdpa", (4, 6), (6, 4)),
)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_of_timm(name: str) -> None:
    model_class, options = FEATURES[name]
    for precision, drops, batch, attention, table, size in RUNS:
        # an odd side where patches may be filled up
        image = (size[0] - 1, size[1] + 1) if "pad" in name else size
        kwargs = {**BASE, **options, **(DROPS if drops else {}), "img_size": table,
                  "dynamic_img_size": True}  # fmt: skip
        config = configure(fields_of(model_class, kwargs), input_size=image)
        assert config.tokens == config.prefix_tokens + (-(-image[0] // 2)) * (-(-image[1] // 2))
        model = build(model_class, kwargs, attention == "sdpa")
        flops = report(config, batch=batch).flops.forward
        assert flops == of_torch(build(model_class, kwargs, False), config, batch)
        assert report(config).params == sum(p.numel() for p in model.parameters())
        model = model.to(torch.bfloat16) if precision == "half" else model
        check_inference(config, model, batch, precision, attention)
        check_step(name, config, model, batch, precision, attention)


def of_torch(model: nn.Module, config: ViTConfig, batch: int) -> int:
    return counted(model.to("meta"), batch, config.in_chans, *config.image)[1]


def test_figures_that_were_reported() -> None:
    """timm's ViT-S/16 at 448 x 448, and DINOv2-S at 224 x 224 of 518, by torch's counter."""
    with torch.device("meta"):
        model = timm().create_model("vit_small_patch16_224", dynamic_img_size=True)
        plain = timm().create_model("vit_small_patch16_224")
        keys = {"image_size": 518, "hidden_size": 384, "num_attention_heads": 6}
        dino = transformers().Dinov2Model(transformers().Dinov2Config(**keys))
    assert report(from_torch(model, img_size=448)).flops.forward == 45_158_301_696
    assert report(from_torch(dino, img_size=224)).flops.forward == 12_247_123_968
    base = report("facebook/dinov2-base", input_size=224)
    assert base.params == 86_580_480
    assert base.tokens == 1 + 16 * 16
    assert report("vit_base_patch16_224", input_size=448).params == 86_567_656
    with pytest.raises(ConfigError, match=r"takes images of its img_size alone, 224x224"):
        from_torch(plain, img_size=448)


def test_the_flag_has_timm_take_images_of_any_size_and_says_so() -> None:
    for name in (
        "vit_base_patch16_224",
        "vit_base_patch16_224.augreg_in1k",
        "timm/vit_base_patch16_224.augreg_in1k",
    ):
        found = resolve(name, input_size=448)
        assert isinstance(found.config, ViTConfig)
        assert found.config.dynamic_img_size
        assert found.source.endswith("; dynamic_img_size, for images of another size")
        assert found.config.tokens == 1 + 28 * 28
    # what is there already, and an image of the model's own size, ask for nothing
    for name, size in (("vit_small_patch16_dinov3", 224), ("vit_base_patch16_224", 224)):
        found = resolve(name, input_size=size)
        assert found.source == resolve(name).source
    plain = resolve("vit_base_patch16_224")
    assert resolve("vit_base_patch16_224", input_size=224).config == plain.config


REFUSED = (
    ("vit_b_16", {}, "images of its img_size alone, 224x224; --dynamic-img-size"),
    ("google/vit-base-patch16-224", {}, "--interpolate-pos-encoding same transformers"),
    ("beit_base_patch16_224", {}, "those of images of 224x224 alone; --img-size builds them anew"),
    ("microsoft/beit-base-patch16-224", {}, "those of images of 224x224 alone"),
    ("vit_base_patch16_224", {"dynamic_img_size": False}, "images of its img_size alone"),
    ("vit_base_patch16_224", {"input_size": 450}, "input_size 450 is not divisible by patch_size"),
    ("vit_base_patch16_224", {"input_size": 8}, "input_size 8 is smaller than patch_size 16"),
    ("facebook/dinov2-base", {"img_size": (518, 392)}, "resamples a square of positions alone"),
    ("facebook/dinov2-base", {"dynamic_img_size": True}, "dinov2 has no dynamic_img_size"),
    (
        "facebook/vit-mae-base",
        {"interpolate_pos_encoding": "same"},
        "mask_ratio is for images of img_size alone",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "message"), REFUSED)
def test_what_takes_no_such_image(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, NotCovered), match=message):
        report(name, **{"input_size": 448, **fields})


def test_a_model_without_a_table_takes_any_image() -> None:
    assert report(ViTConfig(pos_embed="none", input_size=448)).tokens == 785


def test_the_table_follows_img_size_and_the_image_input_size() -> None:
    found = resolve("facebook/dinov2-base", input_size=224, img_size=280)
    assert isinstance(found.config, ViTConfig)
    assert (found.config.table, found.config.grid) == ((20, 20), (16, 16))
    # pixels beyond the last whole patch are dropped: as many patches, and yet not square
    odd = resolve("facebook/dinov2-base", input_size=(518, 520)).config
    assert isinstance(odd, ViTConfig)
    assert odd.resampled
    square = resolve("facebook/dinov2-base", input_size=520).config
    assert isinstance(square, ViTConfig)
    assert not square.resampled


def test_other_questions_know_it_too() -> None:
    fields = {"input_size": 448}
    base = report("vit_base_patch16_224", **fields)  # type: ignore[arg-type]
    assert explain("vit_base_patch16_224", "params", **fields).value == base.params
    assert explain("vit_base_patch16_224", "flops", **fields).value == base.flops.forward
    both = compare("vit_base_patch16_224", vary={"input_size": [224, 448]})
    flops = [row["flops"] for row in both.rows()]
    assert flops == [report("vit_base_patch16_224").flops.forward, base.flops.forward]
    swept = sweep(
        "vit_base_patch16_224", vary={"input_size": [224, 448], "depth": [1, 2]},
        quantities=["params", "flops"],
    )  # fmt: skip
    rows = [row for chunk in swept.chunks() for row in zip(*chunk.quantities.values(), strict=True)]
    expected = [
        report("vit_base_patch16_224", depth=depth, input_size=size)
        for size in (224, 448)
        for depth in (1, 2)
    ]
    assert rows == [(each.params, each.flops.forward) for each in expected]


def test_check_builds_timms_model_with_the_flag() -> None:
    found = check(["vit_tiny_patch16_224"], depth=1, input_size=(32, 48))
    assert found.ok
    assert found.models[0].against.startswith("timm ")


def test_a_page_says_what_is_fed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "facebook/dinov2-base", "--input-size", "224x196"]) == 0
    line = "image 224×196, positions of 518×518, patch 14×14, 225 tokens"
    assert line in capsys.readouterr().out


def test_a_changed_module_is_traced_on_such_images() -> None:
    with torch.device("meta"):
        model = timm().create_model("vit_tiny_patch16_224", dynamic_img_size=True, depth=1)
    model.blocks[0].register_forward_hook(lambda *_: None)
    found = from_torch(model, img_size=32)
    assert isinstance(found.config, TracedModel)
    assert report(found).flops.forward == counted(model, 1, 3, 32, 32)[1]
    assert (
        report(found, input_size=64).to_dict()["flops"]["forward"]
        == (counted(model, 1, 3, 64, 64)[1])
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["facebook/dinov2-base", "--img-size", "224"], True),
        (["facebook/dinov2-base"], False),
        (["facebook/dinov2-base", "--input-size", "224"], False),
        (["facebook/dinov2-base", "--img-size", "518"], False),
        (["vit_base_patch16_224", "--img-size", "384"], False),
        (["facebook/dinov3-vits16-pretrain-lvd1689m", "--img-size", "384"], False),
    ],
)
def test_a_rebuilt_table_is_said(
    arguments: list[str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("report", "fit"):
        more = ["-g", "l4"] if command == "fit" else []
        assert run([command, *arguments, *more, "--json"]) == 0
        line = "--img-size 224: this rebuilds the position table, --input-size 224 keeps it\n"
        assert capsys.readouterr().err == (f"{arguments[0]}: {line}" if said else "")
