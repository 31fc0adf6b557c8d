"""Wherever a peak of a training step is shown, it says whether it is exact or a bound."""

import csv
import io
import json
from pathlib import Path

import pytest

from vitcost import fit, report
from vitcost.cli import run

# with a scaled loss a digest has a bound, a formula an exact peak
EXACT, BOUNDED = "vit_tiny_patch16_224", "resnet18"
SCALED = {"batch": 64, "precision": "amp-fp16", "grad_scaler": True}
FLAGS = ("--batch", "64", "--precision", "amp-fp16", "--grad-scaler")
SAID = "at most: no exact peak is known"


def out(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    assert run(args) == code
    return capsys.readouterr().out


def test_the_two_are_what_they_are_said_to_be() -> None:
    assert report(EXACT, mode="train", **SCALED).training.peak_is == "exact"
    assert report(BOUNDED, mode="train", **SCALED).training.peak_is == "bounded"


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ("compare", EXACT, BOUNDED, *FLAGS)
    rows = json.loads(out(capsys, *ask, "--json"))["rows"]
    assert [row["peak_is"] for row in rows] == ["exact", "bounded"]
    lines = list(csv.DictReader(io.StringIO(out(capsys, *ask, "--format", "csv"))))
    assert [line["peak_is"] for line in lines] == ["exact", "bounded"]
    for form in ("table", "markdown", "html"):
        assert f"{SAID}, and report lists the assumptions; of {BOUNDED}" in out(
            capsys, *ask, "--format", form
        )
    assert SAID not in out(capsys, "compare", EXACT, *FLAGS)
    # no peak is shown
    assert SAID not in out(capsys, *ask, "--quantities", "params")
    assert "peak_is" not in out(capsys, *ask, "--quantities", "params", "--json")


@pytest.mark.parametrize("values", ["1:3:+1", "1:2000:+1"])
def test_a_sweep(values: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Row by row, and as arrays."""
    vary = ("--quantities", "train-memory", "--vary", f"batch={values}")
    for recipe, said in (("torch", "exact"), ("megatron-bf16", "bounded")):
        ask = ("compare", EXACT, "--depth", "2", "--recipe", recipe, *vary)
        rows = json.loads(out(capsys, *ask, "--json"))["rows"]
        assert {row["peak_is"] for row in rows} == {said}
        assert ("at most" in out(capsys, *ask)) == (said == "bounded")


def test_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = (
        f'[[tool.vitcost.budget]]\nmodel = "{name}"\ntrain_memory = "1 MiB"\n'
        'batch = 64\nprecision = "amp-fp16"\ngrad_scaler = true\n'
        for name in (EXACT, BOUNDED)
    )
    Path("pyproject.toml").write_text("".join(tables))
    checks = json.loads(out(capsys, "budget", "--json", code=1))["checks"]
    assert [check["peak_is"] for check in checks] == ["exact", "bounded"]
    for form in ("table", "markdown", "csv"):
        said = out(capsys, "budget", "--format", form, code=1)
        assert ("bounded" if form == "csv" else SAID) in said
    annotated = out(capsys, "budget", "--format", "github", code=1)
    assert "train_memory is at most" in annotated


# in their library's own forward: operators of its own, or the pool of one weight
EXACT_OWN = (
    "facebook/dinov3-vits16-pretrain-lvd1689m",
    "microsoft/beit-base-patch16-224",
    "facebook/vit-mae-base",
    "google/siglip-base-patch16-224:vision",
    "google/siglip-base-patch16-224",
)


@pytest.mark.parametrize("name", EXACT_OWN)
def test_a_library_s_own_forward(name: str) -> None:
    """Its tensors are those of its operators: test_libraries.py holds them against the modules."""
    assert report(name, batch=8).training.peak_is == "exact"
    (row,) = fit(name, gpu="l4").found
    assert row.used_is == "exact"
