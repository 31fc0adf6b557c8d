"""Files that describe models: against transformers and open_clip, and what is refused."""

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from counting_support import config_class, counted, model_json, tower, transformer
from timm_support import timm
from torch.utils.flop_counter import FlopCounterMode

from vitcost import ConfigError, NotCovered, VitcostError, from_torch, report
from vitcost.cli import run
from vitcost.config.text_config import ClipConfig
from vitcost.config.vit_config import ViTConfig
from vitcost.zoo import Resolved, resolve
from vitcost.zoo.families import FAMILIES
from vitcost.zoo.huggingface_text import PAIRS, TEXTS

# the classes that are the same for a file; ViTMAEForPreTraining is its encoder
CLASSES = [
    (kind, name)
    for kind, family in FAMILIES.items()
    for name in family.classes
    if name != "ViTMAEForPreTraining"
]
REQUIRED = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
# what a key may be besides its default
CHOICES: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu", "gelu_pytorch_tanh", "quick_gelu", "silu", "relu"),
    "num_channels": (1, 3, 4),
    "mask_ratio": (0.0, 0.3, 0.75),
    "num_register_tokens": (0, 1, 4),
    "mlp_ratio": (2, 3, 4),
    "layer_scale_init_value": (0.0, 0.1),
    "layerscale_value": (0.0, 1.0),
    "drop_path_rate": (0.0, 0.1),
    "pooler_output_size": (None, 24),
    "projection_dim": (16, 40),
    "hidden_dropout_prob": (0.0, 0.1),
    "attention_probs_dropout_prob": (0.0, 0.1),
    "attention_dropout": (0.0, 0.1),
}


def drawn(kind: str, seed: int) -> dict[str, Any]:
    """Keys of a tiny model: every boolean and every choice at random."""
    rng = random.Random(f"{kind} {seed}")
    heads = rng.choice((1, 2, 3))
    keys: dict[str, Any] = {
        "hidden_size": heads * rng.choice((8, 12)),
        "num_hidden_layers": rng.choice((1, 2, 7)),
        "num_attention_heads": heads,
        "intermediate_size": rng.choice((20, 48)),
        # the patch need not divide the image
        "image_size": rng.choice((24, 32, 37)),
        "patch_size": rng.choice((4, 8)),
    }
    defaults = FAMILIES[kind].keys
    for key, default in defaults.items():
        if key in CHOICES:
            keys[key] = rng.choice(CHOICES[key])
        elif isinstance(default, bool):
            keys[key] = rng.choice((False, True))
    if kind == "dinov3_vit":
        q, k = rng.choice(((True, False), (True, True), (False, False)))
        keys |= {"query_bias": q, "key_bias": k, "value_bias": q}
        keys["mlp_bias"] = keys["proj_bias"]
    return {key: value for key, value in keys.items() if key in defaults}


def write(path: Path, data: Any) -> str:
    file = path / "config.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return str(file)


def agree(path: str, model: Any) -> None:
    found = report(path)
    config = found.model.config
    assert isinstance(config, ViTConfig)
    params, flops = counted(model, 1, config.in_chans, *config.img_size)
    assert (found.params, found.flops.forward) == (params, flops)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("kind", "name"), CLASSES)
def test_a_random_model_of_transformers(kind: str, name: str, seed: int, tmp_path: Path) -> None:
    keys = drawn(kind, seed)
    model = transformer(kind, name, **keys, num_labels=5)
    # as save_pretrained writes it
    model.config.architectures = [name]
    model.config.save_pretrained(tmp_path)
    agree(str(tmp_path / "config.json"), model)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_default_model_of_transformers(kind: str, tmp_path: Path) -> None:
    name = next(iter(FAMILIES[kind].classes))
    data = config_class(kind)().to_json_string(use_diff=False)
    agree(write(tmp_path, data), transformer(kind, name))


@pytest.mark.parametrize("kind", FAMILIES)
def test_defaults_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    fields = config_class(kind).__dataclass_fields__
    family = FAMILIES[kind]
    assert family.keys == {key: fields[key].default for key in family.keys}
    # a file without them says which it leaves to transformers
    given = {key: value for key, value in REQUIRED.items() if key in family.keys}
    path = write(tmp_path, {"model_type": kind, **given})
    name = next(iter(family.classes))
    agree(path, transformer(kind, name, **given))
    source = resolve(path).source
    left = [key for key in family.keys if key not in given and family.keys[key] is not None]
    assert source.startswith(f"{path}: {name} of transformers")
    assert [key for key in left if f" {key} {family.keys[key]}" not in source] == []
    assert source.endswith("; no architectures, so the bare model")


def test_positions_that_do_not_train(tmp_path: Path) -> None:
    """ViTMAEModel's sines and cosines, and those of open_clip's sin_cos_2d, have no gradient."""
    mae = transformer("vit_mae", "ViTMAEModel", **REQUIRED)
    data = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 2, "width": 64, "patch_size": 8, "image_size": 32},
    }
    data["vision_cfg"]["pos_embed_type"] = "sin_cos_2d"  # type: ignore[index]
    for model, keys in (
        (mae, {"model_type": "vit_mae", "architectures": ["ViTMAEModel"], **REQUIRED}),
        (tower(data), data),
    ):
        path = write(tmp_path, keys)
        agree(path, model)
        trained = [p for p in model.parameters() if p.requires_grad]
        assert len(trained) == sum(1 for _ in model.parameters()) - 1
        numbers = sum(p.numel() for p in trained)
        # two moments of each, and a counter of steps for each tensor
        found = report(path).training
        assert found.gradients_bytes == 4 * numbers
        assert found.optimizer_bytes == 8 * numbers + 4 * len(trained)


def test_registers_as_the_hub_has_them(tmp_path: Path) -> None:
    """facebook/dinov2-with-registers-* name how positions are resampled, which nothing reads."""
    kind, name = "dinov2_with_registers", "Dinov2WithRegistersModel"
    keys = {key: value for key, value in REQUIRED.items() if key != "intermediate_size"}
    keys |= {"mlp_ratio": 4, "num_register_tokens": 4}
    published = {"interpolate_antialias": True, "interpolate_offset": 0.0, "apply_layernorm": True}
    data = {"model_type": kind, "architectures": [name], **keys, **published}
    agree(write(tmp_path, data), transformer(kind, name, **keys))


@pytest.mark.parametrize(
    ("kind", "tower_kind"), [("clip", "clip_vision_model"), ("siglip", "siglip_vision_model")]
)
def test_the_vision_tower_of_a_file_of_two(kind: str, tower_kind: str, tmp_path: Path) -> None:
    name = next(iter(FAMILIES[tower_kind].classes))
    keys = drawn(tower_kind, 0)
    data = {
        "model_type": kind,
        "architectures": [name],
        "text_config": {"vocab_size": 99},
        "vision_config": {"model_type": tower_kind, **keys},
    }
    agree(write(tmp_path, data), transformer(tower_kind, name, **keys))
    # a tower that says nothing is transformers' own
    data["vision_config"] = {}
    assert (
        resolve(write(tmp_path, data)).config
        == resolve(
            write(tmp_path, {"model_type": tower_kind, **config_class(tower_kind)().to_dict()})
        ).config
    )


def drawn_text(kind: str, seed: int) -> dict[str, Any]:
    """Keys of a tiny text tower."""
    rng = random.Random(f"{kind} {seed}")
    heads = rng.choice((1, 2, 3))
    width = {"clip": "projection_dim", "siglip": "projection_size"}[kind.partition("_")[0]]
    return {
        "vocab_size": rng.choice((100, 333)),
        "hidden_size": heads * rng.choice((8, 12)),
        "intermediate_size": rng.choice((20, 48)),
        "num_hidden_layers": rng.choice((1, 2, 7)),
        "num_attention_heads": heads,
        "max_position_embeddings": rng.choice((5, 16)),
        "hidden_act": rng.choice(CHOICES["hidden_act"]),
        "attention_dropout": rng.choice((0.0, 0.1)),
        width: rng.choice((16, 40)),
    }


def agree_on_text(path: str, model: Any, *, both: bool = False) -> None:
    """The counts of a model that reads as many tokens as it has positions."""
    found = report(path, seq_len=5)
    inputs: dict[str, Any] = {"input_ids": torch.zeros(1, 5, dtype=torch.long, device="meta")}
    if both:
        config = found.model.config
        assert isinstance(config, ClipConfig)
        shape = 1, config.vision.in_chans, *config.vision.img_size
        inputs["pixel_values"] = torch.empty(*shape, device="meta")
    with FlopCounterMode(display=False) as counter:
        model.eval().requires_grad_(False)(**inputs)
    params = sum(p.numel() for p in model.parameters())
    assert (found.params, found.flops.forward) == (params, counter.get_total_flops())
    # the module says the same as its file
    module = from_torch(model)
    assert isinstance(module, Resolved)
    assert resolve(module, seq_len=5).config == found.model.config


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, text in TEXTS.items() for name in text.classes]
)
def test_a_random_text_tower(kind: str, name: str, seed: int, tmp_path: Path) -> None:
    model = transformer(kind, name, **drawn_text(kind, seed))
    model.config.architectures = [name]
    model.config.save_pretrained(tmp_path)
    agree_on_text(str(tmp_path / "config.json"), model)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", PAIRS)
def test_a_random_pair_of_towers(kind: str, seed: int, tmp_path: Path) -> None:
    vision = {**drawn(f"{kind}_vision_model", seed), "vision_use_head": True}
    text = drawn_text(kind, seed)
    keys: dict[str, Any] = {"projection_dim": 24}
    if kind == "siglip":
        keys, text = {}, {**text, "projection_size": vision["hidden_size"]}
    else:
        del vision["vision_use_head"]
    name = PAIRS[kind].name
    model = transformer(kind, name, **keys, vision_config=vision, text_config=text)
    model.config.architectures = [name]
    model.config.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    agree_on_text(str(path), model, both=True)
    # the text tower of the same file
    tower = next(iter(TEXTS[PAIRS[kind].text].classes))
    data = {**json.loads(path.read_text()), "architectures": [tower]}
    agree_on_text(write(tmp_path, data), transformer(PAIRS[kind].text, tower, **text))


@pytest.mark.parametrize("kind", [*TEXTS, *PAIRS])
def test_the_default_model_that_reads_text(kind: str, tmp_path: Path) -> None:
    name = PAIRS[kind].name if kind in PAIRS else next(iter(TEXTS[kind].classes))
    data = json.loads(config_class(kind)().to_json_string(use_diff=False))
    agree_on_text(write(tmp_path, data), transformer(kind, name), both=kind in PAIRS)
    if kind in TEXTS:
        fields = config_class(kind).__dataclass_fields__
        assert TEXTS[kind].keys == {key: fields[key].default for key in TEXTS[kind].keys}
    else:
        # and where a file leaves it all to transformers, the source says so
        bare = {"model_type": kind, "vision_config": {}, "text_config": {}}
        found = resolve(write(tmp_path, bare))
        assert found.config == resolve(write(tmp_path, data)).config
        assert "vision: left to its defaults: hidden_size 768" in found.source
        assert "text: left to its defaults: vocab_size" in found.source


def test_what_old_files_of_clip_put_on_top(tmp_path: Path) -> None:
    # as in the file of openai/clip-vit-large-patch14
    text = {"hidden_size": 24, "num_attention_heads": 3, "projection_dim": 16}
    vision = {"hidden_size": 32, "num_attention_heads": 2, "patch_size": 14, "dropout": 0.0}
    data = {
        "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 16,
        "text_config": {"hidden_size": 48}, "vision_config": {"hidden_size": 64},
        "text_config_dict": text, "vision_config_dict": vision,
    }  # fmt: skip
    keys = {key: value for key, value in data.items() if key not in ("model_type", "architectures")}
    agree_on_text(write(tmp_path, data), transformer("clip", "CLIPModel", **keys), both=True)


def test_the_encoder_of_vit_mae(tmp_path: Path) -> None:
    keys = {**REQUIRED, "mask_ratio": 0.5}
    path = write(
        tmp_path, {"model_type": "vit_mae", "architectures": ["ViTMAEForPreTraining"], **keys}
    )
    agree(path, transformer("vit_mae", "ViTMAEModel", **keys))
    assert "its encoder alone" in resolve(path).source
    # 4 · 4 patches, half of them, and the class token
    assert resolve(path).config.tokens == 8 + 1
    assert resolve(path, mask_ratio=0.0).config.tokens == 16 + 1


def test_labels_are_counted(tmp_path: Path) -> None:
    def classes(**labels: Any) -> int:
        base = {"model_type": "vit", "architectures": ["ViTForImageClassification"], **REQUIRED}
        found: int = resolve(write(tmp_path, {**base, **labels})).config.num_classes
        return found

    assert classes(id2label={"0": "cat", "1": "dog", "2": "owl"}) == 3
    assert classes(num_labels=7) == 7
    assert classes() == 2
    with pytest.raises(ConfigError, match="num_labels is 7, but id2label names 1"):
        classes(num_labels=7, id2label={"0": "cat"})


def vit(**changes: Any) -> dict[str, Any]:
    """A file of a tiny ViT with some keys changed; None takes a key out."""
    data = {"model_type": "vit", "architectures": ["ViTModel"], **REQUIRED, **changes}
    return {key: value for key, value in data.items() if value is not None}


def clip(**vision: Any) -> dict[str, Any]:
    """A file of CLIP with some keys of its vision tower."""
    model = {"model_type": "clip", "architectures": ["CLIPVisionModel"]}
    return {**model, "vision_config": vision}


def pair(**text: Any) -> dict[str, Any]:
    """A file of CLIP with some keys of its text tower."""
    return {"model_type": "clip", "vision_config": {}, "text_config": text}


DINO = {key: value for key, value in REQUIRED.items() if key != "intermediate_size"}
HEAD = ["ViTForImageClassification"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (vit(model_type="vlt"), "model_type 'vlt' is not covered; did you mean 'vit'?"),
        (vit(model_type="swin"), "model_type 'swin' is not covered"),
        (vit(model_type=3), "model_type must be text, got 3"),
        (vit(hidden_size=None), "hidden_size is missing; transformers would take 768"),
        (vit(hidden_size="32"), "hidden_size must be an integer, got '32'"),
        (vit(hidden_size=32.0), "hidden_size must be an integer, got 32.0"),
        (vit(hidden_size=True), "hidden_size must be an integer, got True"),
        (vit(hidden_size=-32), "hidden_size must be between 1 and 1,000,000, got -32"),
        (vit(image_size=[32]), "image_size must be an integer or two, got [32]"),
        (vit(qkv_bias=1), "qkv_bias must be true or false, got 1"),
        (vit(hidden_activation="gelu"), "hidden_activation is not known here, and may change"),
        (vit(hidden_act="mish"), "hidden_act 'mish' is not covered; covered: gelu"),
        (vit(hidden_act=["gelu"]), "hidden_act must be text, got ['gelu']"),
        (vit(attention_probs_dropout_prob="0"), "attention_probs_dropout_prob must be a number"),
        (vit(attention_probs_dropout_prob=1.5), "attention_probs_dropout_prob must be at least 0"),
        (vit(num_attention_heads=3), "hidden_size 32 is not divisible by num_attention_heads 3"),
        (vit(image_size=4), "image_size 4 is smaller than patch_size 8"),
        (vit(architectures="ViTModel"), "architectures must be a list of one name"),
        (vit(architectures=["ViTFor"]), "architectures: 'ViTFor' is not covered; covered: ViTM"),
        (vit(pruned_heads={"0": [1]}), "pruned_heads must be {}, got {'0': "),
        (vit(is_decoder=True), "is_decoder must be False, got True"),
        (vit(is_decoder=0), "is_decoder must be False, got 0"),
        (vit(auto_map={"AutoModel": "x.Y"}), "auto_map is not known here, and may change the mod"),
        (vit(quantization_config={}), "quantization_config is not known here"),
        (vit(head_dim=8), "head_dim is not known here"),
        (vit(hiden_dropout_prob=0.1), "did you mean 'hidden_dropout_prob'?"),
        (vit(pooler_act="gelu"), "pooler_act must be 'tanh', got 'gelu'"),
        (vit(id2label=["cat"], architectures=HEAD), "id2label must be a table, got ['cat']"),
        ({"model_type": "dinov2", **REQUIRED}, "intermediate_size is not known here"),
        (
            {"model_type": "dinov2", **DINO, "drop_path_rate": 0.1},
            "drop_path_rate must be 0.0, got 0.1: transformers drops every block's path at this",
        ),
        ({"model_type": "clip"}, "vision_config is missing"),
        ({**pair(), "text_config": None}, "text_config must be a table, got None"),
        ({**pair(), "projection_dim": "8"}, "projection_dim must be an integer, got '8'"),
        (pair(hidden_size=7), "text_config.hidden_size 7 is not divisible by text_config.num_att"),
        (pair(vocab_size=0), "text_config.vocab_size must be between 1 and"),
        (pair(width=7), "text_config.width is not known here"),
        (pair(model_type="siglip_text_model"), "text_config.model_type must be 'clip_text_model'"),
        ({**pair(), "architectures": ["CLIPForImageClassification"]}, "architectures: 'CLIPForI"),
        ({"model_type": "clip_text_model", "vocab_size": 9}, "hidden_size is missing; transform"),
        (
            {
                "model_type": "siglip",
                "vision_config": {"vision_use_head": False},
                "text_config": {},
            },
            "vision_config.vision_use_head must be True where features are compared",
        ),
        (
            {"model_type": "siglip", "vision_config": {}, "text_config": {"projection_size": 8}},
            "the towers do not meet: image features are 768 wide, text features 8",
        ),
        ({"model_type": "clip", "architectures": ["CLIPVisionModel"]}, "vision_config is missing"),
        (clip(width=8), "vision_config.width is not known here"),
        (clip(hidden_size="8"), "vision_config.hidden_size must be an integer, got '8'"),
        (
            clip(hidden_size=7),
            "vision_config.hidden_size 7 is not divisible by vision_config.num_attention_heads 12",
        ),
        ({**clip(), "quantization_config": {}}, "quantization_config is not known here"),
        (
            {**clip(), "vision_config_dict": {"width": 3}},
            "vision_config_dict.width is not known here",
        ),
        ({**clip(), "vision_config_dict": []}, "vision_config_dict must be a table, got []"),
        (clip(dropout=0.1), "vision_config.dropout must be 0.0, got 0.1"),
        (clip(model_type="vit"), "vision_config.model_type must be 'clip_vision_model'"),
        ({"embed_dim": 8}, "img_size is missing; an own file gives it, or a base"),
        ({"embed_dims": 8}, "unknown key 'embed_dims'; did you mean 'embed_dim'?"),
        ({"zzz": 8}, "unknown key 'zzz'; other files are told by 'model_type' or 'vision_cfg'"),
        ({"base": "vit_tiny_patch16_225"}, "base: unknown model 'vit_tiny_patch16_225'; did you"),
        ({"base": "gpt2"}, "gpt2 reads text, and a model of images is asked for"),
        ({"base": 3}, "base must be a model's name, got 3"),
        ({"base": "vit_tiny_patch16_224", "depth": "12"}, "depth must be an integer, got '12'"),
        ({"base": "vit_tiny_patch16_224", "num_heads": 5}, "192 is not divisible by num_heads 5"),
        ({"vision_cfg": {}}, "embed_dim is missing"),
        ({"embed_dim": 8, "vision_cfg": []}, "vision_cfg must be a table, got []"),
        ({"embed_dim": 8, "vision_cfg": {}}, "vision_cfg.layers is missing; open_clip would take"),
    ],
)
def test_what_is_refused(
    data: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the readers of formulas: where transformers is installed, its own models are traced."""
    monkeypatch.setattr("vitcost.zoo.tracing.find_spec", lambda name: None)
    path = write(tmp_path, data)
    with pytest.raises((ConfigError, NotCovered)) as caught:
        resolve(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{}", "holds no keys"),
        ("[1, 2]", "holds [1, 2], not a table of keys"),
        ('{"model_type": "vit"', "not JSON: Expecting"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "not JSON: the key 'c' occurs twice"),
        ('{"a": NaN}', "not JSON: NaN is no number"),
        ('{"a": -Infinity}', "not JSON: -Infinity is no number"),
        ('{"a": 1e999}', "not JSON: 1e999 is no number"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
        ('{"a": ' + "[" * 20 + "]" * 20 + "}", "nested deeper than 16 levels"),
        ('{"a": ' + "[" * 500_000, "nested deeper than 16 levels"),
        ('{"a":' * 200_000, "nested deeper than 16 levels"),
        ('{"a": "' + "x" * 5_000_000 + '"}', "larger than 4,194,304 bytes"),
    ],
    ids=lambda text: text[:24],
)
def test_a_file_that_is_no_config(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        resolve(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {message}")
    assert len(said) < len(path) + 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "not TOML: "),
        ("a = 1\na = 2", "not TOML: "),
        ("a = nan", "not TOML: nan is no number"),
        ("depth = 2\nembed_dim = inf", "not TOML: inf is no number"),
        ("a = " + "[" * 5_000, "nested deeper than 16 levels"),
        ("a." * 30_000 + "a = 1", "nested deeper than 16 levels"),
        ("x = {" + "a." * 30_000 + "a = 1}", "nested deeper than 16 levels"),
        ("a." * 20 + "a = 1", "nested deeper than 16 levels"),
        ("#" * 100_000, "larger than 65,536 bytes"),
        ("depth = 1979-05-27", "img_size is missing"),
    ],
    ids=lambda text: text[:24],
)
def test_a_toml_file_that_is_no_config(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(str(path))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.json"
    os.mkfifo(fifo)
    latin = tmp_path / "latin.json"
    latin.write_bytes('{"a": "é"}'.encode("latin-1"))
    (tmp_path / "weights.bin").write_bytes(b"{}")
    cases = {
        tmp_path / "none.json": "no such file",
        tmp_path / "no" / "none.toml": "no such file",
        tmp_path: "is a directory$",
        fifo: "is not a regular file",
        latin: "not UTF-8 at byte 7",
        tmp_path / "weights.bin": "a model's file ends in .json or .toml",
        Path("/dev/zero"): "is not a regular file",
    }
    for path, message in cases.items():
        with pytest.raises(ConfigError, match=message):
            resolve(str(path))
    write(tmp_path, {})
    with pytest.raises(ConfigError, match=r"is a directory; it holds .*config\.json"):
        resolve(str(tmp_path))


def test_own_files(tmp_path: Path) -> None:
    toml = tmp_path / "model.toml"
    toml.write_text(
        "img_size = [32, 48]\npatch_size = 8\nembed_dim = 24\ndepth = 2\nnum_heads = 3\n"
        "mlp_ratio = 2\nnum_classes = 5\n"
    )
    config = ViTConfig(
        img_size=(32, 48), patch_size=(8, 8), embed_dim=24, depth=2, num_heads=3, mlp_dim=48,
        num_classes=5,
    )  # fmt: skip
    found = resolve(str(toml))
    assert (found.config, found.name) == (config, str(toml))
    # a ratio follows a width that is put on top
    assert resolve(str(toml), embed_dim=48).config.mlp_dim == 96
    assert resolve(write(tmp_path, config.to_dict())).config == config

    toml.write_text('base = "vit_tiny_patch16_224"\nreg_tokens = 4\n')
    assert resolve(str(toml)).config == resolve("vit_tiny_patch16_224", reg_tokens=4).config
    toml.write_text('base = "facebook/dinov2-small"\nmlp_ratio = 3\n')
    assert resolve(str(toml)).config == resolve("facebook/dinov2-small", mlp_dim=3 * 384).config


def test_what_report_says_of_a_model_is_a_file_of_it(tmp_path: Path) -> None:
    for name in ("vit_huge_patch14_224", "beit_base_patch16_224", "facebook/dinov2-giant"):
        said = report(name).to_dict()["model"]["config"]
        assert resolve(write(tmp_path, said)).config == resolve(name).config


def test_the_file_that_the_hub_keeps_of_timm(tmp_path: Path) -> None:
    data = {"architecture": "vit_tiny_patch16_224", "num_classes": 21843, "num_features": 192,
            "global_pool": "token", "pretrained_cfg": {"tag": "augreg_in21k"}}  # fmt: skip
    assert (
        resolve(write(tmp_path, data)).config == resolve("vit_tiny_patch16_224.augreg_in21k").config
    )
    for changes, message in {
        ("num_features", 384): "num_features is 384, not 192",
        ("num_classes", "5"): "num_classes must be an integer, got '5'",
        ("architecture", "vit_tiny"): "architecture: unknown model 'vit_tiny'",
        ("model_args", "{}"): "model_args must be a table, got '{}'",
        ("pool", "avg"): "pool is not known here",
    }.items():
        path = write(tmp_path, {**data, changes[0]: changes[1]})
        with pytest.raises((ConfigError, NotCovered)) as caught:
            resolve(path)
        assert str(caught.value).startswith(f"{path}: {message}")


def drawn_tower(seed: int) -> dict[str, Any]:
    """An open_clip model JSON with every choice of its VisionTransformer."""
    rng = random.Random(seed)
    vision = {
        "layers": rng.choice((1, 3)),
        "head_width": 8,
        "width": 8 * rng.choice((1, 2, 3)),
        "mlp_ratio": rng.choice((4.0, 2.5, 4.9231)),
        "patch_size": rng.choice((4, 8)),
        "image_size": rng.choice((32, 37, [32, 24])),
        "ls_init_value": rng.choice((None, 0.0, 1e-5)),
        "no_ln_pre": rng.choice((False, True)),
        "final_ln_after_pool": rng.choice((False, True)),
        "pool_type": rng.choice(("tok", "avg", "none")),
        "qk_norm": rng.choice((False, True)),
        "scale_attn_inner": rng.choice((False, True)),
        "scale_fc": rng.choice((False, True)),
    }
    return {"embed_dim": 10, "quick_gelu": rng.choice((False, True)), "vision_cfg": vision}


@pytest.mark.parametrize("seed", range(24))
def test_a_random_tower_of_open_clip(seed: int, tmp_path: Path) -> None:
    data = drawn_tower(seed)
    path = write(tmp_path, {**data, "text_cfg": {"width": 8}})
    model = tower(data)
    found = report(f"{path}:vision")
    config = found.model.config
    assert isinstance(config, ViTConfig)
    params, flops = counted(model, 1, 3, *config.img_size)
    assert (found.params, found.flops.forward) == (params, flops)


def test_the_file_that_the_hub_keeps_of_open_clip(tmp_path: Path) -> None:
    data = model_json("ViT-B-32")
    path = write(tmp_path, {"model_cfg": data, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}})
    assert resolve(path).config == resolve("ViT-B-32").config
    with pytest.raises(ConfigError, match=r"model_cfg\.vision_cfg\.width must be an integer"):
        resolve(
            write(
                tmp_path,
                {"model_cfg": {**data, "vision_cfg": {**data["vision_cfg"], "width": "8"}}},
            )
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [3, 4, 6, 3]}, "ModifiedResNet"),
        ({"attentional_pool": True}, "attentional_pool must be False"),
        ({"scale_heads": True}, "scale_heads must be False"),
        ({"patch_dropout": 0.5}, "patch_dropout must be 0.0"),
        ({"pool_type": "max"}, "pool_type must be one of tok, avg, none"),
        ({"pos_embed_type": "rope"}, "pos_embed_type must be one of learnable, sin_cos_2d"),
        (
            {"pos_embed_type": "sin_cos_2d", "image_size": [32, 64]},
            "pos_embed_type sin_cos_2d needs a square image",
        ),
        ({"block_type": "default", "qk_norm": True}, "block_type 'default' has no use"),
        ({"timm_model_name": "convnext_base"}, "timm_model_name: not covered: ConvNeXt"),
        ({"timm_model_name": "vit_tiny_patch16_224", "timm_proj": "mlp"}, "timm_proj 'mlp'"),
        ({"timm_model_name": "vit_tiny_patch16_384"}, "image_size 224: open_clip builds"),
        ({"timm_model_name": "vit_tiny_patch16_224"}, "timm_pool 'avg' in place of"),
        ({"timm_model_name": 3}, "timm_model_name must be text"),
        ({"pool": "avg"}, "vision_cfg.pool is not known here"),
    ],
)
def test_what_is_refused_of_open_clip(changes: Any, message: str, tmp_path: Path) -> None:
    data = model_json("ViT-B-32")
    data["vision_cfg"] |= changes
    with pytest.raises(VitcostError) as caught:
        resolve(write(tmp_path, data))
    assert message in str(caught.value)


# what a file of timm's may say of its model, beside the architecture
TIMM_FILES: tuple[dict[str, Any], ...] = (
    # the size of pretrained_cfg holds where it is fixed
    {
        "architecture": "vit_small_patch14_reg4_dinov2", "num_classes": 0, "num_features": 384,
        "global_pool": "token",
        "pretrained_cfg": {"custom_load": True, "input_size": [3, 252, 252],
                           "fixed_input_size": True, "num_classes": 0},
    },
    {
        "architecture": "vit_small_patch16_dinov3", "num_classes": 3,
        "pretrained_cfg": {"input_size": [3, 320, 320], "fixed_input_size": False},
    },
    # an architecture whose own function gives its size keeps it
    {
        "architecture": "eva02_tiny_patch14_224", "num_classes": 7,
        "pretrained_cfg": {"input_size": [3, 336, 336], "fixed_input_size": True},
    },
    {
        "architecture": "vit_tiny_patch16_224", "num_classes": 1000,
        "model_args": {"img_size": 384, "in_chans": 1, "depth": 3, "init_values": 1e-5,
                       "reg_tokens": 4, "no_embed_class": True, "num_classes": 5},
        "pretrained_cfg": {"input_size": [3, 224, 224], "fixed_input_size": True},
    },
    # as in the files of pathology models: a wider MLP, no pool, images of any size
    {
        "architecture": "vit_tiny_patch16_224", "num_features": 192,
        "model_args": {"mlp_ratio": 5.5, "global_pool": "", "num_classes": 0,
                       "dynamic_img_size": True, "qkv_bias": False},
        "pretrained_cfg": {"input_size": [1, 256, 256], "fixed_input_size": True},
    },
    {
        "architecture": "vit_base_patch16_siglip_224", "num_classes": 0,
        "model_args": {"depth": 2, "img_size": 230},
        "pretrained_cfg": {"input_size": [3, 224, 224], "fixed_input_size": True},
    },
)  # fmt: skip


@pytest.mark.parametrize("data", TIMM_FILES, ids=[str(i) for i in range(len(TIMM_FILES))])
def test_what_timm_builds_from_its_file(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(data))
    with torch.device("meta"):
        model = timm().create_model(f"local-dir:{tmp_path}")
    found = report(str(tmp_path / "config.json"))
    config = found.model.config
    assert isinstance(config, ViTConfig)
    assert config.img_size == model.patch_embed.img_size
    params, flops = counted(model, 1, config.in_chans, *_fed(config))
    found = report(str(tmp_path / "config.json"), input_size=_fed(config))
    assert (found.params, found.flops.forward) == (params, flops)


def _fed(config: ViTConfig) -> tuple[int, int]:
    """An image that the model takes: whole patches, where its positions are resampled."""
    (H, W), (p_h, p_w) = config.img_size, config.patch_size
    return (H // p_h * p_h, W // p_w * p_w) if config.dynamic_img_size else (H, W)


def test_architectures_that_keep_their_size() -> None:
    """Their own function gives an ``img_size``, which comes before that of ``pretrained_cfg``."""
    from inspect import getsource

    from vitcost.zoo.timm import hub, names

    timm()
    from timm.models import model_entrypoint

    for name in names():
        own = re.search(r"\bimg_size\b", getsource(model_entrypoint(name))) is not None
        assert own == hub.is_sized(name), name


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"patch_drop_rate": 0.5}, "model_args.patch_drop_rate 0.5 has no field here"),
        ({"embed_layer": "hybrid"}, "model_args.embed_layer 'hybrid' has no field here"),
        ({"window": 7}, "model_args.window 7 has no field here"),
        ({"depth": "3"}, "depth must be an integer, got '3'"),
        ({"img_size": [1, 2, 3]}, "img_size must be N or (height, width)"),
    ],
)
def test_arguments_of_timm_that_are_refused(
    args: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, {"architecture": "vit_tiny_patch16_224", "model_args": args})
    with pytest.raises(VitcostError) as caught:
        resolve(path)
    assert message in str(caught.value)


# image towers as the files of language models have them
LANGUAGE = {
    "llava": ("clip_vision_model", "CLIPVisionModel", {
        "hidden_size": 24, "image_size": 32, "intermediate_size": 48, "num_attention_heads": 2,
        "num_hidden_layers": 2, "patch_size": 8, "projection_dim": 12, "vocab_size": 32000,
    }),
    "gemma3": ("siglip_vision_model", "SiglipVisionModel", {
        "hidden_size": 24, "image_size": 32, "intermediate_size": 48, "num_attention_heads": 2,
        "num_hidden_layers": 2, "patch_size": 8, "vision_use_head": False,
    }),
    "paligemma": ("siglip_vision_model", "SiglipVisionModel", {
        "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
        "num_hidden_layers": 2, "patch_size": 14, "vision_use_head": False,
        "num_image_tokens": 256, "projection_dim": 2048, "projector_hidden_act": "gelu_fast",
    }),
    "some_vlm": ("dinov2", "Dinov2Model", {
        "hidden_size": 24, "image_size": 28, "num_attention_heads": 2, "num_hidden_layers": 2,
    }),
}  # fmt: skip


@pytest.mark.parametrize("kind", LANGUAGE)
def test_the_vision_tower_of_a_language_model(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tower_kind, name, keys = LANGUAGE[kind]
    data = {
        "model_type": kind, "architectures": ["SomeForConditionalGeneration"],
        "text_config": {"model_type": "llama", "hidden_size": 4096},
        "vision_config": {"model_type": tower_kind, **keys},
    }  # fmt: skip
    path = write(tmp_path, data)
    found = report(path)
    config = found.model.config
    assert isinstance(config, ViTConfig)
    known = {k: v for k, v in keys.items() if k not in ("num_image_tokens", "projector_hidden_act")}
    model = transformer(tower_kind, name, **known)
    assert (found.params, found.flops.forward) == counted(model, 1, 3, *config.img_size)
    assert f"the vision tower alone of a model of type {kind}" in found.model.source
    assert run(["report", path]) == 0
    assert "the vision tower alone of a model of type" in capsys.readouterr().out


def test_a_tower_of_an_unknown_kind_is_no_tower(tmp_path: Path) -> None:
    data = {"model_type": "some_vlm", "vision_config": {"model_type": "some_tower"}}
    with pytest.raises(NotCovered, match="model_type 'some_vlm' is not covered"):
        resolve(write(tmp_path, data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depths": [1000] * 4}, "a model of more than 3,000 modules is not built from a file"),
        ({"depths": "x"}, "building it with transformers"),
        ({"hidden_act": "x" * 5000}, "on the meta device: KeyError"),
        ({"num_labels": 10**9}, "is not covered"),
    ],
    ids=str,
)
def test_a_file_that_transformers_builds_is_bounded(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """A file may be anybody's: no class of it that is no model, no label of a billion, no layer
    too many, and nothing on the CPU."""
    path = write(tmp_path, {"model_type": "resnet", **changes})
    with pytest.raises(VitcostError) as caught:
        report(path)
    assert said in str(caught.value)
    assert len(str(caught.value)) < len(path) + 500


@pytest.mark.parametrize("architectures", [["pipeline"], {"a": 1}, [3], "x"], ids=str)
def test_what_is_no_class_of_a_model_is_not_called(architectures: Any, tmp_path: Path) -> None:
    """The model of the kind, without a head, is what such a file is of."""
    keys = {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [8, 8], "embedding_size": 8}
    path = write(tmp_path, {**keys, "architectures": architectures})
    assert "ResNetModel" in report(path).model.source
