"""The attention kernels of a card: torch's choice differs by architecture and precision.

aten's ``cuda/sdp_utils.cpp``: flash and cuDNN's kernel want compute capability 8.0, the efficient
kernel 5.0, and 8.0 for bf16; AMD's kernels are AOTriton's, built for gfx90a, gfx942 and gfx950.
"""

import json

import pytest

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.errors import NotCovered
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import CARDS
from vitcost.hardware.specs import own_card

BASE = "vit_base_patch16_224"


def chosen(name: str, precision: str) -> str:
    """torch's choice for a plain attention on a card, written out."""
    row = CARDS[name]
    half, bf16 = precision not in ("fp32", "tf32"), precision.endswith("bf16")
    if row.vendor == "AMD" and name == "mi100":
        return "math"
    if row.vendor == "NVIDIA" and name.startswith(("v100", "t4")) and half:
        return "math" if bf16 else "efficient"
    return "flash" if half else "efficient"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", CARDS)
def test_each_row_has_the_kernel_of_its_card(name: str, precision: str) -> None:
    peaks = "fp32_tflops=10,tf32_tflops=10,fp16_tflops=20,bf16_tflops=20"
    own = f"{name},{peaks},bandwidth_gbps=100,memory_gb=16"
    run_as = {"batch": 2, "precision": precision, "mode": "train"}
    (time,) = vitcost.report(BASE, gpu=own, **run_as).to_dict()["time"]
    assert time["attention_kernel"] == [chosen(name, precision)]
    # the bytes are those of that kernel
    forced = vitcost.fit(
        BASE, gpu="mi325x,memory_gb=16", attention=chosen(name, precision), reserve=0, **run_as
    )
    fitted = vitcost.fit(BASE, gpu=own, reserve=0, **run_as)
    assert fitted.found[0].largest_batch == forced.found[0].largest_batch
    assert fitted.found[0].used_bytes == forced.found[0].used_bytes


def test_two_cards_of_one_page_have_kernels_of_their_own() -> None:
    found = vitcost.report(BASE, gpu=["v100-sxm2", "l4"], precision="amp-fp16", batch=8).to_dict()
    assert [time["attention_kernel"] for time in found["time"]] == [["efficient"], ["flash"]]
    # without a card: the newer ones'
    assert found["scenario"]["attention_kernel"] == ["flash"]
    # a difference of a few bytes a query, and of many where math runs: 12 heads of 197 queries
    used = {
        row.gpu: row.used_bytes
        for row in vitcost.fit(
            BASE, gpu=["t4,memory_gb=1000", "l4,memory_gb=1000"], precision="bf16", mode="train"
        ).found
    }
    assert len(set(used.values())) == 2


@pytest.mark.parametrize("command", ["report", "fit"])
@pytest.mark.parametrize(
    ("kernel", "gpu", "precision"),
    [
        ("flash", "v100-sxm2", "amp-fp16"),
        ("flash", "t4", "fp16"),
        ("cudnn", "t4", "fp16"),
        ("efficient", "v100-pcie,bf16_tflops=10", "amp-bf16"),
        ("flash", "mi100", "fp16"),
        ("cudnn", "mi300x", "bf16"),
        ("flash", "mine,architecture=7.5,like=l4", "fp16"),
    ],
)
def test_a_kernel_that_the_card_has_not_is_refused(
    command: str, kernel: str, gpu: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--attention", kernel, "--precision", precision, "-g", gpu]
    assert run([command, BASE, *asked]) == 2
    said = capsys.readouterr().err
    assert f"has no {kernel} attention kernel in {precision}" in said
    assert "math" in said
    # where it is there, it is answered
    assert run([command, BASE, *asked[:-1], "h100-sxm", "--json"]) in (0, 1)


def test_a_whole_catalogue_names_the_cards_that_lack_the_kernel(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["fit", BASE, "--attention", "flash", "--precision", "fp16", "--json"]) == 0
    rows = {row["gpu"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(CARDS) == set(rows)
    without = {name for name, row in rows.items() if row["memory"] == "no kernel"}
    assert without == {"v100-sxm2", "v100-pcie", "t4", "mi100"}
    assert all(rows[name]["fits"] is False for name in without)


def test_a_plan_is_in_the_kernels_of_its_card() -> None:
    given = {"samples": 10**6, "precision": "fp16", "global_batch": 64, "gpus": 1}
    with pytest.raises(NotCovered, match="no flash"):
        vitcost.plan(BASE, gpu="t4,memory_gb=64", attention="flash", **given)
    old, asked = (
        vitcost.plan(BASE, gpu="t4,memory_gb=64", attention=kernel, **given).best
        for kernel in ("sdpa", "efficient")
    )
    assert old == asked


def test_a_torch_without_fused_attention_is_not_asked_for_one() -> None:
    with pytest.raises(NotCovered, match=r"torch 1\.13 has no flash attention"):
        vitcost.report(BASE, gpu="rtx3090", attention="flash", software="1.13", precision="fp16")


def test_a_card_of_no_known_architecture_has_the_newer_ones_kernels() -> None:
    mine = own_card("mine", {"bf16_tflops": 10})
    scenario = Scenario(precision="bf16")
    assert on_card(scenario, mine) is scenario
