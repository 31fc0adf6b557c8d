"""Time as a user asks for it: cards by name, figures and file, in every format; what is refused."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.hardware.calibrate import calibrate, to_toml
from vitcost.hardware.cards import CARDS
from vitcost.hardware.measured_rows import read
from vitcost.hardware.measurements import covered
from vitcost.hardware.specs import asked_cards
from vitcost.page import shown
from vitcost.render import render

DATA = Path(__file__).parent / "data"
BASE = "vit_base_patch16_224"
ROW: dict[str, Any] = {"batch": 256, "precision": "amp-bf16"}
Captured = pytest.CaptureFixture[str]


def report(**given: Any) -> vitcost.Report:
    return vitcost.report(BASE, **{**ROW, **given})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a pyproject.toml of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_card_there_is_no_time() -> None:
    found = report()
    assert found.time == ()
    assert found.to_dict()["time"] == []
    assert found.to_dict()["scenario"]["gpu"] == []
    assert not any("Time" in table.title for table in found.page().tables)


def test_the_row_has_the_keys_of_the_contract() -> None:
    found = report(gpu="rtx4090").to_dict()
    (row,) = found["time"]
    wanted = [
        "gpu", "mode", "seconds", "images_per_second", "bound", "basis", "low_seconds",
        "high_seconds",
    ]  # fmt: skip
    assert list(row)[: len(wanted)] == wanted
    assert (row["gpu"], row["mode"], row["basis"]) == ("rtx4090", "infer", "calibrated")
    assert row["seconds"] * row["images_per_second"] == pytest.approx(256)
    assert row["low_seconds"] < row["seconds"] < row["high_seconds"]
    # 2,787.5 images a second were measured: benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv
    assert row["low_seconds"] < 256 / 2787.5 < row["high_seconds"]
    assert row["peak_share"] == pytest.approx(
        256 * 35_127_656_448 / row["seconds"] / 165.2e12, rel=1e-12
    )
    assert sum(part["seconds"] for part in row["parts"]) == pytest.approx(row["seconds"])
    assert found["scenario"]["gpu"] == ["rtx4090"]


def test_every_format_has_the_time() -> None:
    found = report(gpu=["rtx4090", "h100-sxm"])
    times = [shown(time.seconds, "seconds") for time in found.time]
    for form in ("table", "markdown", "html"):
        text = render(found, form).replace("&nbsp;", " ")
        assert all(time in text for time in times), form
        for words in ("calibrated", "blocks.mlp", "launches no longer bound it", "validated"):
            assert words in text.replace("\\_", "_"), (form, words)
    assert [row["gpu"] for row in json.loads(render(found, "json"))["time"]] == [
        "rtx4090",
        "h100-sxm",
    ]
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    timed = [row for row in rows if row["type"] == "Time"]
    steps = [row for row in timed if not row["path"]]
    assert [float(row["seconds"]) for row in steps] == [time.seconds for time in found.time]
    assert [row["basis"] for row in steps] == ["calibrated", "of_its_kind"]
    parts = [float(r["seconds"]) for r in timed if r["path"] and r["gpu"] == "h100-sxm"]
    assert sum(parts) == pytest.approx(found.time[1].seconds)


def test_the_flags_are_the_keywords(capsys: Captured) -> None:
    args = ["report", BASE, "-b", "64", "--precision", "amp-bf16", "--compile", "--json"]
    assert run([*args, "-g", "rtx4090", "-g", "4090", "--software", "2.4.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(
        render(
            report(batch=64, compile=True, software="2.4.1", gpu=("rtx4090", "4090")),
            "json",
        )
    )
    assert [row["software"] for row in found["time"]] == ["torch 2.4, compiled"] * 2
    assert found["scenario"]["compile"] is True


def test_compiling_changes_the_time_alone() -> None:
    eager, compiled = report(gpu="rtx4090"), report(gpu="rtx4090", compile=True)
    assert compiled.time[0].seconds < eager.time[0].seconds
    assert compiled.inference == eager.inference
    assert any(
        "memory is that of the eager model" in n for t in compiled.page().tables for n in t.notes
    )


def test_an_anchor_is_met() -> None:
    (time,) = report(gpu="a100-sxm-40gb", anchor=f"{BASE}=1500").time
    assert time.images_per_second == pytest.approx(1500)
    assert time.basis == "anchored"
    assert time.high_seconds <= 1.25 * time.seconds + 1e-12


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"gpu": "rtx4099"}, UnknownName, "did you mean rtx4090"),
        ({"gpu": "H100"}, UnknownName, "it is 3 cards, name one: h100-sxm, h100-pcie, h100-nvl"),
        ({"gpu": "l4,power=60"}, UnknownName, "power_w"),
        ({"gpu": "l4,power_w"}, ConfigError, "NAME=NUMBER"),
        ({"gpu": "l4,power_w=much"}, ConfigError, "above 0, got 'much'"),
        ({"gpu": "mine,like=l44"}, UnknownName, "did you mean"),
        ({"gpu": "mine,power_w=60"}, NotCovered, "peak of mine"),
        ({"gpu": "rtx4090", "anchor": BASE}, ConfigError, "MODEL=IMAGES_PER_SECOND"),
        ({"gpu": ["l4", "t4"], "anchor": f"{BASE}=9"}, ConfigError, "one card; 2 are asked for"),
        ({"anchor": f"{BASE}=9"}, ConfigError, "give a gpu"),
        ({"calibration": "x.toml"}, ConfigError, "give a gpu"),
        ({"gpu": "l4", "calibration": "x.toml"}, ConfigError, "x.toml: no such file"),
        ({"gpu": "l4", "gpu_file": "x.toml"}, ConfigError, "x.toml: no such file"),
        ({"gpu": 3}, ConfigError, "gpu must be text, or several of them, got 3"),
        ({"gpu": ["t4", None]}, ConfigError, "gpu must be text, .*, got None"),
        ({"gpu": "t4", "anchor": 3}, ConfigError, "anchor must be text"),
        ({"gpu": "t4", "calibration": [1]}, ConfigError, "calibration must be text"),
        ({"gpu": "t4", "gpu_file": 2.5}, ConfigError, "gpu_file must be text"),
        ({"software": "new"}, ConfigError, "such as 2.9 or 2.4.0"),
        ({"compile": 1}, ConfigError, "true or false"),
        ({"gpu": "rtx4090", "platform": "cpu"}, NotCovered, "no processor"),
        ({"gpu": "v100-sxm2"}, NotCovered, "bf16 peak of v100-sxm2; it has amp-fp16"),
        ({"gpu": "tpu-v4", "precision": "fp16"}, NotCovered, "it has bf16"),
        (
            {"gpu": "cpu-i9_10940x", "precision": "fp32"},
            NotCovered,
            "not measured in infer, fp32, eager: it was in infer, fp32, compiled",
        ),
    ],
)
def test_what_cannot_be_asked(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        report(**given)


def test_a_wrong_card_is_one_line_and_exit_code_2(capsys: Captured) -> None:
    assert run(["report", BASE, "-g", "rtx4099"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unknown gpu 'rtx4099'; did you mean rtx4090" in captured.err


def test_cards_of_the_project(elsewhere: Path) -> None:
    (elsewhere / "pyproject.toml").write_text(
        "[tool.vitcost.gpu.mine]\nlike = 'rtx4090'\n"
        "[tool.vitcost.gpu.half]\nlike = 'mine'\nbandwidth_gbps = 504\n"
        "[[tool.vitcost.budget]]\nmodel = 'vit_tiny_patch16_224'\nparams = '6 M'\n"
    )
    mine, half = report(gpu=["mine", "half"]).time
    # the silicon that was measured under another name, and a sheet that nobody measured
    assert (mine.basis, half.basis) == ("calibrated", "of_its_kind")
    assert half.seconds > mine.seconds
    # and the budgets of the same file stand
    assert vitcost.budget().ok


def test_cards_of_a_file_and_of_a_flag_are_one(elsewhere: Path) -> None:
    (elsewhere / "cards.toml").write_text("[gpu.mine]\nbf16_tflops = 100\nbandwidth_gbps = 500\n")
    (file,) = report(gpu="mine", gpu_file="cards.toml").time
    (flag,) = report(gpu="mine,bf16_tflops=100,bandwidth_gbps=500").time
    assert file == flag
    (elsewhere / "none.toml").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="no card"):
        report(gpu="mine", gpu_file="none.toml")


def test_a_changed_card_is_not_the_one_that_was_measured() -> None:
    (changed,) = asked_cards("rtx4090,bandwidth_gbps=2016")
    assert changed == CARDS["rtx4090"]._replace(
        name="rtx4090,bandwidth_gbps=2016", bandwidth_gbps=2016, source="given", like="rtx4090"
    )
    (time,) = report(gpu=changed).time
    assert time.basis == "of_its_kind"
    # nor is one that keeps the name
    (time,) = report(gpu=changed._replace(name="rtx4090")).time
    assert time.basis == "of_its_kind"


def test_a_calibration_of_ones_own(elsewhere: Path) -> None:
    rows = [r for r in read(DATA / "throughput.csv") if "pt240-cu124-rtx4090.csv" in r.file]
    measured, _ = covered([r for r in rows if "nchw" in r.file])
    mine = [m._replace(card=m.card._replace(name="h100-pcie")) for m in measured]
    (elsewhere / "mine.toml").write_text(to_toml(calibrate(mine, "mine")))
    (time,) = report(gpu="h100-pcie", calibration="mine.toml").time
    assert time.basis == "calibrated"
    assert report(gpu="h100-pcie").time[0].basis == "of_its_kind"


def test_what_is_not_validated_is_printed(capsys: Captured) -> None:
    for gpu, words in (
        ("rtx4090", "batches below 16 were timed on other cards and hosts"),
        ("mi300x", "times the usual constants, as mi210"),
        ("rtx4090", "one card alone: several at once, and their links, are not validated"),
    ):
        assert run(["report", BASE, "--precision", "amp-bf16", "-g", gpu]) == 0
        assert words in capsys.readouterr().out


def test_what_was_measured_otherwise_is_said() -> None:
    (old,) = report(gpu="rtx4090", software="1.13").time
    assert old.notes == ("constants measured with torch 2.4, nchw",)
    assert (old.basis, old.high_seconds / old.seconds) == ("anchored", pytest.approx(1.25))
    (cpu,) = report(gpu="cpu-i9_10940x", precision="fp32", compile=True, batch=8).time
    assert cpu.basis == "spec_sheet"
    assert "no CPU benchmark has a batch above 1" in cpu.notes


def test_the_scenario_knows_compile_and_software() -> None:
    scenario = Scenario(compile=True, software="2.4.0")
    assert (scenario.compile, scenario.software) == (True, "2.4.0")


def loaded(code: str) -> set[str]:
    out = subprocess.check_output(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], text=True
    )
    return set(out.splitlines()[-1].split())


@pytest.mark.parametrize("card", [[], ["-g", "rtx4090"]])
def test_the_hardware_is_loaded_for_a_time_alone(card: list[str]) -> None:
    args = ["report", BASE, "-o", "x", "--precision", "amp-bf16", *card]
    names = loaded(f"from vitcost.cli import run\nassert run({args!r}) == 0")
    assert ("vitcost.hardware.roofline" in names) == bool(card)
    assert any(name.startswith("vitcost.hardware") for name in names) == bool(card)
    assert not {"numpy", "scipy", "torch", "sympy"} & names


# a time that is limited, and compared

BUDGET = """\
[tool.vitcost.gpu.edge]
bf16_tflops = 20
bandwidth_gbps = 200

[[tool.vitcost.budget]]
model = "vit_tiny_patch16_224"
batch = 64
precision = "amp-bf16"
gpu = ["edge", "rtx4090"]
step_time = "{limit}"
"""


def test_a_time_has_a_budget(elsewhere: Path, capsys: Captured) -> None:
    path = elsewhere / "limits.toml"
    path.write_text(BUDGET.format(limit="1 s"))
    found = vitcost.budget("limits.toml")
    (check,) = found.checks
    tiny = vitcost.report(
        "vit_tiny_patch16_224",
        batch=64,
        precision="amp-bf16",
        gpu=["edge", "rtx4090"],
        gpu_file="limits.toml",
    )
    # the slower of the two is limited
    assert check.value == tiny.time[0].seconds > tiny.time[1].seconds
    assert (check.limit, check.ok) == (1.0, True)
    assert run(["budget", "--config", "limits.toml", "--update"]) == 0
    kept = json.loads((elsewhere / "vitcost-baseline.json").read_text())
    (budget,) = kept["budgets"].values()
    assert budget["quantities"]["step_time"] == check.value
    assert vitcost.budget("limits.toml").checks[0].baseline == check.value
    path.write_text(BUDGET.format(limit="1 ms"))
    capsys.readouterr()
    assert run(["budget", "--config", "limits.toml"]) == 1
    assert "over the limit of 1.0 ms" in capsys.readouterr().out


def test_a_time_without_a_card_has_no_figure() -> None:
    with pytest.raises(
        NotCovered,
        match=r"step_time of .* is known on a card only: give a gpu",
    ):
        vitcost.assert_budget(BASE, step_time="1 s")
    vitcost.assert_budget(BASE, step_time="1 s", gpu="l4", precision="amp-bf16")
    with pytest.raises(AssertionError):
        vitcost.assert_budget(BASE, step_time=1e-6, gpu="l4", precision="amp-bf16")
    for wrong in ("1 GiB", "fast", "-1 s", True):
        with pytest.raises(ConfigError, match="step_time"):
            vitcost.assert_budget(BASE, step_time=wrong, gpu="l4")


def test_models_are_compared_in_time(capsys: Captured) -> None:
    args = ["compare", BASE, "vit_base_patch32_224", "-b", "256", "--precision", "amp-bf16"]
    assert run([*args, "-g", "rtx4090", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["step_time_seconds"] == report(gpu="rtx4090").time[0].seconds
    assert rows[0]["relative_step_time"] > 2
    assert rows[1]["relative_step_time"] == 1
    assert run([*args, "-g", "rtx4090"]) == 0
    assert "time" in capsys.readouterr().out
