"""The torchsummary table, against what torchsummary itself printed."""

from pathlib import Path
from typing import Any

import pytest

from vitcost import ConfigError, NotCovered, ViTConfig, VitcostError, summary
from vitcost.costs.summary import summarize

CAPTURED = Path(__file__).parent / "data" / "torchsummary"
SMALL = ViTConfig(embed_dim=192, depth=2, num_heads=3)

# captured file -> the model, and the arguments of the call
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "vit_base_patch16_224_5_classes": ("vit_base_patch16_224", {"num_classes": 5}),
    "vit_base_patch32_224_5_classes": ("vit_base_patch32_224", {"num_classes": 5}),
    "vit_large_patch32_224_5_classes": ("vit_large_patch32_224", {"num_classes": 5}),
    "vit_huge_patch14_224_5_classes": ("vit_huge_patch14_224", {"num_classes": 5}),
    "distilled_d2_w192_1000_classes": (SMALL, {"dist_token": True}),
    "representation96_d2_w192_10_classes_batch4": (
        SMALL,
        {"representation_size": 96, "num_classes": 10, "drop_path_rate": 0.1, "batch": 4},
    ),
}


def test_every_captured_file_has_its_case() -> None:
    assert sorted(CASES) == sorted(path.stem for path in CAPTURED.glob("*.txt"))


@pytest.mark.parametrize("name", CASES)
def test_equals_torchsummary_character_for_character(name: str) -> None:
    model, keywords = CASES[name]
    printed = (CAPTURED / f"{name}.txt").read_text(encoding="utf-8")
    assert summary(model, **keywords) + "\n" == printed


def test_another_model_is_another_table() -> None:
    printed = (CAPTURED / "vit_base_patch32_224_5_classes.txt").read_text(encoding="utf-8")
    assert summary("vit_base_patch32_224", num_classes=6) + "\n" != printed
    assert summary("vit_base_patch32_224", num_classes=5, batch=2) + "\n" != printed


def test_image_size_changes_shapes_positions_and_sizes() -> None:
    text = summary("vit_base_patch32_224", img_size=(64, 96))
    # 2 x 3 patches and the class token
    assert "[-1, 7, 768]" in text
    # 4 bytes of 3 x 64 x 96 are 0.0703 MiB
    assert "Input size (MB): 0.07\n" in text


def test_the_notes_say_what_is_missed() -> None:
    notes = summarize("vit_base_patch32_224", num_classes=5).notes
    # a class token and 49 + 1 positions of width 768
    assert f"{768 + 50 * 768:,} parameters; the model has 87,459,077" in notes[0]
    assert "twice" in notes[1]
    assert "distillation token" in summarize(SMALL, dist_token=True).notes[0]


@pytest.mark.parametrize("batch", [0, -2, 1.5, True, "4"])
def test_a_batch_that_torchsummary_has_not(batch: Any) -> None:
    with pytest.raises(ConfigError, match="batch must be a positive integer, or -1"):
        summary(SMALL, batch=batch)


def test_a_model_that_the_plain_tree_does_not_express() -> None:
    with pytest.raises(NotCovered, match="differs in class_token"):
        summary(SMALL, class_token=False, global_pool="avg")
    with pytest.raises(NotCovered, match=r"the plain ViT only; this model reads text$"):
        summary("gpt2")


def test_a_table_of_a_million_rows_is_refused() -> None:
    with pytest.raises(VitcostError, match="longer than"):
        summary(SMALL, depth=100_000)
