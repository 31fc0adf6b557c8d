"""The figures that started the project: what torchsummary prints for four models at 5 classes, and
beside them the true counts, from torch: sum(p.numel() for p in model.parameters())."""

import re

import pytest

import vitcost

# torchsummary's parameters and megabytes: forward/backward pass, parameters, estimated total
FIGURES = [
    ("vit_base_patch16_224", 85_650_437, 408.54, 326.73, 735.84, 85_802_501),
    ("vit_base_patch32_224", 87_419_909, 95.61, 333.48, 429.66, 87_459_077),
    ("vit_large_patch32_224", 305_463_301, 253.01, 1165.25, 1418.84, 305_515_525),
    ("vit_huge_patch14_224", 630_440_965, 2358.66, 2404.94, 4764.17, 630_771_205),
]


@pytest.mark.parametrize("figures", FIGURES, ids=lambda figures: figures[0])
def test_figures(figures: tuple[str, int, float, float, float, int]) -> None:
    name, counted, passes, params, total, true = figures
    text = vitcost.summary(name, num_classes=5)
    assert f"Total params: {counted:,}\n" in text
    assert f"Forward/backward pass size (MB): {passes}\n" in text
    assert f"Params size (MB): {params}\n" in text
    assert f"Estimated Total Size (MB): {total}\n" in text
    report = vitcost.report(name, num_classes=5)
    assert (report.params, report.torchsummary_params) == (true, counted)


def test_rows_of_base_32() -> None:
    text = vitcost.summary("vit_base_patch32_224", num_classes=5)
    assert re.findall(r"^ +\w+-(\d+) ", text, re.M) == [str(n) for n in range(1, 200)]


# the cost of a report must not grow with depth: the tree that is walked is the same
def test_equal_blocks_are_costed_once() -> None:
    shallow, deep = (vitcost.report("vit_base_patch16_224", depth=depth) for depth in (12, 10**5))
    assert [layer.path for layer in shallow.layers] == [layer.path for layer in deep.layers]
    blocks = next(layer for layer in deep.layers if layer.path == "blocks.0")
    assert (blocks.repeat, blocks.params) == (10**5, 7_087_872)
    assert deep.params - shallow.params == (10**5 - 12) * 7_087_872
