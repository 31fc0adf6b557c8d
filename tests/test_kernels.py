"""The list of kernels against the calls that torch makes on a fake card, byte by byte."""

import csv
from pathlib import Path

import pytest
import torch
from timm_support import timm

from vitcost.check.trace import trace
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.ops import flops
from vitcost.hardware.kernels import layout, one_pass_softmax
from vitcost.hardware.steps import flatten, moved, times
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


def listed(name: str) -> tuple[int, int, int]:
    """FLOPs, bytes and launches of the list, in eager autocast with images channel by channel."""
    config = resolve(name, depth=DEPTH).config
    sizes = sizes_of(config, IMAGES)
    tree = lower(structure_of(config, IMAGES), Mode("flash", "amp", "cuda"))
    steps = [s for s in one_pass_softmax(layout(flatten(tree))) if not s.view]
    return (
        sum(times(step, sizes) * flops(step.op, sizes) for step in steps),
        sum(times(step, sizes) * moved(step, sizes) for step in steps),
        sum(times(step, sizes) for step in steps),
    )


def traced(name: str) -> tuple[int, int, int]:
    with torch.device("meta"):
        model = timm().create_model(name, num_classes=1000, depth=DEPTH).eval()
    found = trace(model, (IMAGES, 3, *resolve(name).config.img_size))
    return found.flops, found.bytes, sum(found.launches.values())


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
    assert listed(name) == traced(name)


@pytest.mark.parametrize("name", [n for n, why in EXPLAINED.items() if why is not _HEADS])
def test_an_explained_difference_is_one(name: str) -> None:
    """One that went away leaves the table."""
    ours, theirs = listed(name), traced(name)
    assert ours[0] == theirs[0]
    assert ours != theirs


@pytest.mark.parametrize("name", [n for n, why in EXPLAINED.items() if why is _HEADS])
def test_what_cannot_be_traced(name: str) -> None:
    with pytest.raises(RuntimeError, match="normalized_shape"):
        traced(name)
