"""Wherever a peak of a training step is shown, it says whether it is exact or a bound."""

import csv
import io
import json
from pathlib import Path

import pytest

from vitcost import fit, report
from vitcost.cli import run

# a model that reads text has a bound, and a Vision Transformer an exact peak
EXACT, BOUNDED = "vit_tiny_patch16_224", "gpt2"
SAID = "at most: no exact peak is known"


def out(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> str:
    assert run(args) == code
    return capsys.readouterr().out


def test_the_two_are_what_they_are_said_to_be() -> None:
    assert report(EXACT).training.peak_is == "exact"
    assert report(BOUNDED).training.peak_is == "bounded"


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ("compare", EXACT, BOUNDED)
    rows = json.loads(out(capsys, *ask, "--json"))["rows"]
    assert [row["peak_is"] for row in rows] == ["exact", "bounded"]
    lines = list(csv.DictReader(io.StringIO(out(capsys, *ask, "--format", "csv"))))
    assert [line["peak_is"] for line in lines] == ["exact", "bounded"]
    for form in ("table", "markdown", "html"):
        assert f"{SAID}, and report says what is assumed; of gpt2" in out(
            capsys, *ask, "--format", form
        )
    assert SAID not in out(capsys, "compare", EXACT)
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


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("facebook/dinov3-vits16-pretrain-lvd1689m", "turns queries and keys"),
        ("google/siglip-base-patch16-224:vision", "pools by nn.MultiheadAttention"),
        ("microsoft/beit-base-patch16-224", "makes relative positions"),
        ("facebook/vit-mae-base", "sorts noise"),
    ],
)
def test_a_library_s_own_forward(name: str, does: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it was not held against the formula, its peak is a bound, and says of what."""
    own, of_timm = (report(name, batch=8, **code).training for code in ({}, {"code": "timm"}))
    assert own.peak_is == "bounded"
    assert does in (own.missing or "")
    assert own.peak_bytes is not None
    assert own.saved_activations_bytes is not None
    assert of_timm.peak_bytes is not None
    assert own.peak_bytes >= of_timm.peak_bytes + own.saved_activations_bytes // 2
    page = out(capsys, "report", name)
    assert "activations are an estimate" in page
    assert does in page


# their library's own forward was not held against the formula
ESTIMATED = ("facebook/dinov3-vits16-pretrain-lvd1689m", "google/siglip-base-patch16-224:vision")


@pytest.mark.parametrize("name", ESTIMATED)
def test_a_batch_is_named_from_a_bound_of_inference(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(name, gpu="l4")
    assert found.inference.estimate
    (time,) = found.time
    assert time.headroom_bytes is not None
    assert "inference about" in out(capsys, "report", name, "--brief")
    assert "estimate" in found.to_dict()["memory"]["inference"]
    (row,) = fit(name, gpu="l4").found
    assert row.used_is == "bounded"
    assert "twice the activations" in row.assumed[0]
    assert "at most" in out(capsys, "fit", name, "-g", "l4")
    # a training step has a bound, and timm's own forward is exact
    assert report(name).training.peak_is == "bounded"
    of_timm = report(name, code="timm")
    assert of_timm.inference.estimate is None
    assert "estimate" not in of_timm.to_dict()["memory"]["inference"]
