"""Text transformers and two-tower models against the real ones of transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from timm_support import transformers as load
from torch.utils.flop_counter import FlopCounterMode

from vitcost import report
from vitcost.cli import run
from vitcost.config.text_config import ClipConfig, TextConfig, configure_text
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import Cost, fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import Config, sizes_of, structure_of
from vitcost.errors import ConfigError, UnknownName
from vitcost.zoo import resolve

transformers = load()


def cost(config: Config, batch: int = 1, *, training: bool = False) -> Cost:
    tree = lower(structure_of(config, batch, training), Mode())
    return fold(tree, sizes_of(config, batch)).cost


def measured(model: Any, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters, each counted once, and FLOPs of a forward."""
    with FlopCounterMode(display=False) as counter:
        model.eval().requires_grad_(False)(**inputs)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()


GPT2 = [
    # width, depth, heads, vocabulary, positions, tokens, batch
    (64, 2, 4, 101, 32, 32, 1),
    (96, 3, 3, 1000, 77, 40, 2),
    (48, 1, 1, 50257, 1024, 1024, 3),
]


@pytest.mark.parametrize("case", GPT2)
def test_gpt2(case: tuple[int, ...]) -> None:
    h, depth, heads, vocab, positions, tokens, batch = case
    config = TextConfig(
        embed_dim=h, depth=depth, num_heads=heads, vocab_size=vocab,
        context_length=positions, seq_len=tokens, act_layer="gelu_tanh",
    )  # fmt: skip
    theirs = transformers.GPT2Config(
        n_embd=h, n_layer=depth, n_head=heads, vocab_size=vocab, n_positions=positions,
        attn_implementation="eager", use_cache=False,
    )  # fmt: skip
    # small, and real: its causal mask asks for values, which meta tensors do not have
    model = transformers.GPT2LMHeadModel(theirs)
    ids = torch.zeros(batch, tokens, dtype=torch.long)
    ours = cost(config, batch)
    assert measured(model, {"input_ids": ids}) == (ours.params, ours.flops)


CLIP = [
    # image, patch, width, depth, heads, mlp; text width, depth, heads, mlp; projection; batch
    (32, 16, 64, 2, 4, 256, 48, 3, 3, 96, 40, 1),
    (48, 8, 32, 1, 2, 64, 64, 2, 4, 256, 24, 3),
]


@pytest.mark.parametrize("case", CLIP)
def test_clip(case: tuple[int, ...]) -> None:
    H, p, h, L, a, m, t_h, t_L, t_a, t_m, width, batch = case
    config = ClipConfig(
        vision=ViTConfig(
            img_size=H, patch_size=p, embed_dim=h, depth=L, num_heads=a, mlp_dim=m,
            num_classes=0, pre_norm=True, act_layer="quick_gelu",
        ),
        text=TextConfig(
            family="open_clip", embed_dim=t_h, depth=t_L, num_heads=t_a, mlp_dim=t_m,
            vocab_size=500, context_length=20, head="projection", projection_dim=width,
            act_layer="quick_gelu",
        ),
        projection_dim=width,
    )  # fmt: skip
    theirs = transformers.CLIPConfig(
        vision_config={
            "image_size": H, "patch_size": p, "hidden_size": h, "num_hidden_layers": L,
            "num_attention_heads": a, "intermediate_size": m,
        },
        text_config={
            "hidden_size": t_h, "num_hidden_layers": t_L, "num_attention_heads": t_a,
            "intermediate_size": t_m, "vocab_size": 500, "max_position_embeddings": 20,
        },
        projection_dim=width, attn_implementation="eager",
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.CLIPModel(theirs)
        inputs = {
            "input_ids": torch.zeros(batch, 20, dtype=torch.long),
            "pixel_values": torch.zeros(batch, 3, H, H),
        }
        assert measured(model, inputs) == (cost(config, batch).params, cost(config, batch).flops)


@pytest.mark.parametrize("case", CLIP)
def test_siglip(case: tuple[int, ...]) -> None:
    H, p, h, L, a, m, _, t_L, _, t_m, _, batch = case
    config = ClipConfig(
        vision=ViTConfig(
            img_size=H, patch_size=p, embed_dim=h, depth=L, num_heads=a, mlp_dim=m,
            num_classes=0, class_token=False, global_pool="map", act_layer="gelu_tanh",
        ),
        text=TextConfig(
            family="open_clip", embed_dim=h, depth=t_L, num_heads=a, mlp_dim=t_m,
            vocab_size=300, context_length=16, head="linear", projection_dim=h,
            act_layer="gelu_tanh",
        ),
        logit_bias=True,
    )  # fmt: skip
    theirs = transformers.SiglipConfig(
        vision_config={
            "image_size": H, "patch_size": p, "hidden_size": h, "num_hidden_layers": L,
            "num_attention_heads": a, "intermediate_size": m,
        },
        text_config={
            "hidden_size": h, "num_hidden_layers": t_L, "num_attention_heads": a,
            "intermediate_size": t_m, "vocab_size": 300, "max_position_embeddings": 16,
            "projection_size": h,
        },
        attn_implementation="eager",
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.SiglipModel(theirs)
        inputs = {
            "input_ids": torch.zeros(batch, 16, dtype=torch.long),
            "pixel_values": torch.zeros(batch, 3, H, H),
        }
        assert measured(model, inputs) == (cost(config, batch).params, cost(config, batch).flops)


def test_published_sizes() -> None:
    # 124,439,808: the checkpoint's tensors, wte 50257·768 + wpe 1024·768 + 12·7,087,872 + 1,536
    gpt2 = TextConfig()
    assert cost(gpt2).params == 50257 * 768 + 1024 * 768 + 12 * 7_087_872 + 1_536 == 124_439_808
    # l(24bsh² + 4bs²h) + 2bshV, Narayanan et al. 2021, §5.1
    b, s, h, L, V = 2, 1024, 768, 12, 50257
    forward = L * (24 * b * s * h**2 + 4 * b * s**2 * h) + 2 * b * s * h * V
    assert cost(gpt2, b).flops == forward
    # every product has two factors that need a gradient: the embedding is one of them
    assert cost(gpt2, b, training=True).backward_flops == 2 * forward


def test_what_an_override_of_a_text_model_takes_along() -> None:
    # a width of four times the model's stays that, another stays what it is
    assert resolve("gpt2", embed_dim=1024, num_heads=16).config.mlp_dim == 4096
    assert resolve("siglip_so400m_text", embed_dim=1280).config.mlp_dim == 4304
    assert resolve("gpt2", mlp_ratio=2).config.mlp_dim == 1536
    # a context is full unless it is said how much of it is
    assert resolve("gpt2", context_length=512).config.seq_len == 512
    assert resolve("gpt2", context_length=512, seq_len=100).config.seq_len == 100


def test_what_does_not_go_together() -> None:
    with pytest.raises(
        ConfigError, match="seq_len must be at most 1,024, the context_length; got 2,000"
    ):
        TextConfig(seq_len=2000)
    with pytest.raises(ConfigError, match="embed_dim 768 is not divisible by num_heads 7"):
        TextConfig(num_heads=7)
    with pytest.raises(ConfigError, match="head 'lm' does not go with projection_dim 5"):
        TextConfig(projection_dim=5)
    text = TextConfig(head="projection", projection_dim=512)
    with pytest.raises(ConfigError, match="the towers do not meet: image features are 768 wide"):
        ClipConfig(vision=ViTConfig(num_classes=0), text=text)
    clip = ClipConfig(vision=ViTConfig(num_classes=0), text=text, projection_dim=512)
    assert configure_text(clip, img_size=32, seq_len=5).text.seq_len == 5
    # a width is taken before a ratio
    wide = configure_text(TextConfig(), mlp_dim=100, mlp_ratio=2)
    assert isinstance(wide, TextConfig)
    assert wide.mlp_dim == 100
    # fields go to the image tower, those that the text tower alone has to that
    deeper = configure_text(clip, depth=3, vocab_size=100)
    assert isinstance(deeper, ClipConfig)
    assert (deeper.vision.depth, deeper.text.depth, deeper.text.vocab_size) == (3, 12, 100)
    for field, value in {"num_classes": 5, "mask_ratio": 0.5, "representation_size": 8}.items():
        with pytest.raises(ConfigError, match=f"{field} is for one tower alone: pair:vision, or"):
            configure_text(clip, "pair", **{field: value})
    with pytest.raises(UnknownName, match="did you mean img_size"):
        configure_text(clip, img_siz=3)


# parameters as the papers and the checkpoints have them, to the digits that they print
PUBLISHED = [
    # Radford et al. 2019: the checkpoints' tensors, 1.5 B being 1,557,611,200
    ("gpt2", 124_439_808),
    ("gpt2-medium", 354_823_168),
    ("gpt2-large", 774_030_080),
    ("gpt2-xl", 1_557_611_200),
    # openai/clip-vit-*: the checkpoints' tensors
    ("clip_vit_base_patch32", 151_277_313),
    ("clip_vit_base_patch16", 149_620_737),
    ("clip_vit_large_patch14", 427_616_513),
    # google/siglip-base-patch16-224, siglip-large-patch16-256, siglip-so400m-patch14-384
    ("siglip_base_patch16_224", 203_155_970),
    ("siglip_large_patch16_256", 652_150_786),
    ("siglip_so400m_patch14_384", 877_960_498),
]


@pytest.mark.parametrize(("name", "params"), PUBLISHED)
def test_named_models(name: str, params: int) -> None:
    assert cost(resolve(name).config).params == params


@pytest.mark.parametrize(
    ("name", "billions"),
    # Brown et al. 2020, table 2.1, to two digits
    [("gpt3-small", 0.125), ("gpt3-medium", 0.35), ("gpt3-large", 0.76), ("gpt3-xl", 1.3),
     ("gpt3-2.7b", 2.7), ("gpt3-6.7b", 6.7), ("gpt3-13b", 13.0), ("gpt3-175b", 175.0)],
)  # fmt: skip
def test_gpt3_is_what_its_name_says(name: str, billions: float) -> None:
    assert abs(cost(resolve(name).config).params / 1e9 / billions - 1) < 0.025


def test_the_efficient_kernel_pads_a_text_too() -> None:
    """aten's attention.cu: a log-sum-exp in fp32 for every query and head, 32 queries at a time
    in the efficient kernel; 16 bytes of random state beside it, 24 beside the flash kernel's."""
    b, a, s, L = 2, 12, 77, 3
    run: dict[str, Any] = {"batch": b, "precision": "amp-bf16", "mode": "train"}
    efficient, flash = (
        report("gpt2", context_length=s, depth=L, attention=kernel, **run).to_dict()
        for kernel in ("efficient", "flash")
    )
    saved = [r["memory"]["training"]["saved_activations_bytes"] for r in (efficient, flash)]
    assert saved[0] - saved[1] == L * (4 * b * a * (96 - s) + 16 - 24)


FIRST = "2 towers; the vision tower alone: ViT-B-32:vision"


@pytest.mark.parametrize(
    "command",
    [
        ["report", "ViT-B-32"],
        ["report", "ViT-B-32", "--format", "markdown"],
        ["fit", "ViT-B-32", "-g", "l4"],
        ["compare", "ViT-B-32", "vit_tiny_patch16_224"],
        ["compare", "ViT-B-32", "--vary", "batch=1,2"],
        ["explain", "ViT-B-32", "params"],
    ],
)
def test_the_first_line_says_that_there_are_two_towers(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 0
    assert FIRST in capsys.readouterr().out.strip().splitlines()[0]
    # of one tower it says nothing
    index = command.index("ViT-B-32")
    flag = [] if "vit_tiny_patch16_224" in command else [["ViT-B-32", "--tower", "vision"]]
    for one in (["ViT-B-32:vision"], *flag):
        assert run([*command[:index], *one, *command[index + 1 :]]) == 0
        out = capsys.readouterr().out
        assert "2 towers" not in out
        assert "ViT-B-32:vision" in out


def test_a_plan_refuses_two_towers_and_answers_one(capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "plan",
        "ViT-B-32",
        "--samples",
        "1M",
        "-g",
        "l4",
        "--gpus",
        "1",
        "--global-batch",
        "8",
    ]
    assert run(command) == 2
    assert "MODEL:vision" in capsys.readouterr().err
    assert run([*command, "--tower", "vision"]) == 0
    assert "ViT-B-32:vision" in capsys.readouterr().out


def test_a_budget_of_two_towers_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "pyproject.toml"
    row = '[[tool.vitcost.budget]]\nmodel = "ViT-B-32"\nparams = "152 M"\n'
    file.write_text(row)
    assert run(["budget", "--config", str(file)]) == 0
    assert FIRST in capsys.readouterr().out.splitlines()[0]
    # 151,277,313 in both, and 87,849,216 in the image tower with its projection
    file.write_text(row.replace("152 M", "88 M") + 'tower = "vision"\n')
    assert run(["budget", "--config", str(file)]) == 0
    assert "2 towers" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ViT-B-32", "--num-classes", "5"], "num_classes is for one tower alone: ViT-B-32:vision"),
        (["openai/clip-vit-base-patch32", "--mask-ratio", "0.5"], "mask_ratio is for one tower"),
        (["vit_tiny_patch16_224", "--tower", "vision"], "is a single tower"),
        (["vit_tiny_patch16_224:text"], "is a single tower"),
        (["ViT-B-32", "--tower", "image"], "unknown tower 'image'"),
        (["roberta-ViT-B-32"], "the vision tower alone: roberta-ViT-B-32:vision"),
        (["roberta-ViT-B-32:text"], "a text tower of transformers' has no formula here"),
    ],
)
def test_what_two_towers_refuse(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_names_a_hyphen_apart_are_near() -> None:
    with pytest.raises(UnknownName) as caught:
        report("ViT-B-_16")
    assert "ViT-B-16" in str(caught.value)
    assert "ViT-B_16" in str(caught.value)
