"""Budgets: a model that grows fails, says why and where, and passes when the growth is accepted.

The sample is a plain ViT whose parameters are written out in ``sample_params``.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitcost
from vitcost.cli import run
from vitcost.costs.quantities import QUANTITIES, parse_limit
from vitcost.costs.quantity import Terms
from vitcost.errors import ConfigError, NotCovered
from vitcost.page import Annotation, Case, Column, Page, Row, Table
from vitcost.planner.budget import Check
from vitcost.planner.budgets.declared import KEYS, keywords, read_budgets
from vitcost.render import FORMATS, render

Captured = pytest.CaptureFixture[str]
BASE = "vit_base_patch16_224"
MODEL = """\
img_size = 32
patch_size = 16
embed_dim = 64
depth = {depth}
num_heads = 2
num_classes = {classes}
"""
BUDGET = """\
[project]
name = "sample"

[[tool.vitcost.budget]]
name = "small"
model = "model.toml"
batch = 2
# what the phone holds
params = "1 M"
macs = "1 G"
saved_activations = "1 GiB"
"""


def sample_params(depth: int, classes: int) -> int:
    h = 64
    patches = 16 * 16 * 3 * h + h
    tokens = h + (1 + 2 * 2) * h
    block = 12 * h * h + 13 * h
    return patches + tokens + depth * block + 2 * h + classes * h + classes


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    grow(2, 10)
    Path("pyproject.toml").write_text(BUDGET, encoding="utf-8")
    return tmp_path


def grow(depth: int, classes: int) -> None:
    Path("model.toml").write_text(MODEL.format(depth=depth, classes=classes), encoding="utf-8")


def declare(text: str) -> None:
    Path("pyproject.toml").write_text(text, encoding="utf-8")


def answer(capsys: Captured, *args: str) -> tuple[int, str]:
    code = run(["budget", *args])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def refused(capsys: Captured, *args: str) -> str:
    """The one message of a run that could not be done."""
    assert run(["budget", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def checks(capsys: Captured, *args: str) -> dict[str, dict[str, Any]]:
    _, out = answer(capsys, "--json", *args)
    return {check["quantity"]: check for check in json.loads(out)["checks"]}


# --- a project whose model grows


def test_a_model_within_its_limits(project: Path, capsys: Captured) -> None:
    code, out = answer(capsys, "--json")
    assert code == 0
    data = json.loads(out)
    assert (data["schema"], data["ok"]) == ("vitcost.budget/1", True)
    params = data["checks"][0]
    assert params["name"] == "small"
    assert params["value"] == sample_params(2, 10)
    assert (params["limit"], params["baseline"], params["ok"]) == (10**6, None, True)
    assert [check["quantity"] for check in data["checks"]] == [
        "params",
        "macs",
        "saved_activations",
    ]


def test_growth_fails_says_which_layers_and_passes_when_accepted(
    project: Path, capsys: Captured
) -> None:
    assert answer(capsys, "--update")[0] == 0
    assert answer(capsys)[0] == 0
    grow(3, 12)
    code, out = answer(capsys, "--why")
    assert code == 1
    block = 12 * 64 * 64 + 13 * 64
    more = block + 2 * 65
    assert f"small: params is {more:,} more than the baseline of {sample_params(2, 10):,}" in out
    rows = re.findall(r"^(\S+) +params +([\d,]+) +([\d,]+) +([\d,]+)$", out, re.MULTILINE)
    assert rows == [
        ("blocks.0–2", f"{2 * block:,}", f"{3 * block:,}", f"{block:,}"),
        ("head", "650", "780", "130"),
    ]
    assert "Layers that grew" not in answer(capsys)[1]
    assert answer(capsys, "--update")[0] == 0
    assert answer(capsys)[0] == 0


def test_a_limit_fails_at_its_line(project: Path, capsys: Captured) -> None:
    declare(BUDGET.replace("1 M", "0.1 M"))
    code, out = answer(capsys)
    over = sample_params(2, 10) - 100_000
    assert code == 1
    assert f"params is {over:,} over the limit of 100,000" in out
    assert "raise the limit at pyproject.toml:9" in out
    # accepting the growth accepts no limit
    assert answer(capsys, "--update")[0] == 1


def test_a_limit_is_kept_to_the_last_one(project: Path, capsys: Captured) -> None:
    exactly = sample_params(2, 10)
    declare(BUDGET.replace('"1 M"', str(exactly)))
    assert answer(capsys)[0] == 0
    declare(BUDGET.replace('"1 M"', str(exactly - 1)))
    assert answer(capsys)[0] == 1


def test_tolerance_is_a_share_of_the_baseline(project: Path, capsys: Captured) -> None:
    answer(capsys, "--update")
    was = sample_params(2, 10)
    # each class is a row of 64 and a bias
    grow(2, 12)
    assert sample_params(2, 12) == was + 130
    percent = 100 * 130 / was
    for tolerance, code in ((f"'{percent + 0.01:.2f} %'", 0), (f"{percent / 100 - 0.0001:.6f}", 1)):
        text = BUDGET.replace('macs = "1 G"', "").replace('saved_activations = "1 GiB"', "")
        declare(f"{text}tolerance = {tolerance}\n")
        assert answer(capsys)[0] == code


def test_a_warning_is_shown_and_passes(project: Path, capsys: Captured) -> None:
    declare(BUDGET.replace("1 M", "1 k") + 'level = "warn"\n')
    code, out = answer(capsys)
    assert code == 0
    assert "warning" in out
    found = checks(capsys)["params"]
    assert (found["ok"], found["level"]) == (False, "warn")
    assert answer(capsys, "--format", "github")[1].startswith(
        "::warning file=pyproject.toml,line=9"
    )


def test_a_quantity_limited_by_its_baseline_alone(project: Path, capsys: Captured) -> None:
    declare(BUDGET.replace('"1 M"', '"baseline"'))
    found = vitcost.budget()
    assert [check.verdicts for check in found.checks] == [("no answer",), (), ()]
    assert "pyproject.toml:9: params is limited by a baseline" in found.unanswered[0]
    assert answer(capsys, "--update")[0] == 0
    assert checks(capsys)["params"]["limit"] is None
    grow(2, 11)
    assert answer(capsys)[0] == 1


def test_scenario_and_fields_reach_the_report(project: Path, capsys: Captured) -> None:
    declare(BUDGET + 'num_classes = 3\nimg_size = [32, 64]\nprecision = "bf16"\nweights = "1 B"\n')
    found = checks(capsys)
    # two images of 2 x 4 patches: four positions more
    assert found["params"]["value"] == sample_params(2, 3) + 4 * 64
    assert found["weights"]["value"] == 2 * found["params"]["value"]
    patches = 2 * 8 * 768 * 64
    s = 9
    block = 12 * s * 64 * 64 + 2 * s * s * 64
    assert found["macs"]["value"] == patches + 2 * 2 * block + 2 * 64 * 3


def test_the_baseline_is_stable_and_whole(project: Path, capsys: Captured) -> None:
    answer(capsys, "--update")
    path = project / "vitcost-baseline.json"
    first = path.read_bytes()
    answer(capsys, "--update")
    assert path.read_bytes() == first
    assert sorted(path.name for path in project.iterdir()) == [
        "model.toml",
        "pyproject.toml",
        "vitcost-baseline.json",
    ]
    data = json.loads(first)
    assert data["budgets"]["small"]["quantities"]["params"] == sample_params(2, 10)
    layers = data["budgets"]["small"]["layers"]
    assert sum(layer["params"] for layer in layers.values()) == sample_params(2, 10)


def test_files_are_found_beside_the_config(
    project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert answer(capsys, "--config", "../pyproject.toml", "--update")[0] == 0
    assert (project / "vitcost-baseline.json").exists()
    assert answer(capsys, "--config", "../pyproject.toml", "--baseline", "none.json")[0] == 0


# --- configuration that is wrong


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[[tool.vitcost.budget]", "pyproject.toml: not TOML"),
        ("", "pyproject.toml: no budget"),
        ("[[tool.vitcost.budgets]]\na = 1", "tool.vitcost.budgets: .* did you mean 'budget'"),
        ("[tool.vitcost.budget]\nparams = 1", r"write it as \[\[tool.vitcost.budget\]\]"),
        (BUDGET.replace("params", "parms"), "pyproject.toml:9: .*'parms'; did you mean 'params'"),
        (BUDGET.replace("batch", "bach"), "pyproject.toml:7: .*'bach'; did you mean 'batch'"),
        (BUDGET.replace("1 M", "1 X"), "pyproject.toml:9: params: expected a count"),
        (BUDGET.replace("1 GiB", "1 G"), "pyproject.toml:11: saved_activations: expected bytes"),
        (BUDGET.replace("1 M", "1e5000 M"), "pyproject.toml:9: params: expected a count"),
        (BUDGET.replace("1 GiB", "1e400 GiB"), "pyproject.toml:11: .*: expected bytes such as"),
        (BUDGET.replace('"1 M"', "1e40"), r"toml:9: params: .* from 0 to 10\^30, got 1e\+40"),
        (BUDGET.replace('"1 M"', "true"), "pyproject.toml:9: params must be a number"),
        (BUDGET.replace('"1 GiB"', "24"), "toml:11: .* expected bytes such as 24 GiB .* got '24'"),
        (BUDGET.replace('"1 GiB"', "2.5e9"), "toml:11: .* expected bytes such as 24 GiB"),
        (BUDGET.replace("batch = 2", "batch = 0"), "pyproject.toml:7: batch must be"),
        (BUDGET + "level = 'hint'", "pyproject.toml:12: level must be error or warn"),
        (BUDGET + "tolerance = -1", "pyproject.toml:12: tolerance must be"),
        (BUDGET + "tolerance = '1e99999999 %'", "pyproject.toml:12: tolerance must be"),
        (BUDGET + "tolerance = '1 % x'", "pyproject.toml:12: tolerance must be"),
        (BUDGET + "mode = 'trian'", "pyproject.toml:12: unknown mode 'trian'; did you mean train"),
        (BUDGET + "seq_len = 7", "pyproject.toml:12: unknown field 'seq_len'"),
        (BUDGET + "num_heads = 7", "pyproject.toml:12: embed_dim 64 is not divisible"),
        (BUDGET + BUDGET.partition("\n\n")[2], "pyproject.toml:13: two budgets have the name"),
        (BUDGET.replace("model.toml", "modl.toml"), "pyproject.toml:6: .*modl.toml: no such file"),
        (BUDGET.replace("model.toml", "vit_bse_patch16_224"), "pyproject.toml:6: .*vit_base"),
        ("[[tool.vitcost.budget]]\nmodel = 'x'", "pyproject.toml:1: no limit; there are params"),
        ("[[tool.vitcost.budget]]\nparams = 1", "pyproject.toml:1: model is missing"),
        ("[tool.vitcost]\nbudget = [{parms = 1}]", r"tool.vitcost.budget\[0\].parms: unknown"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    given: str, said: str, project: Path, capsys: Captured
) -> None:
    declare(given)
    assert re.search(said, refused(capsys))


def test_a_missing_file(project: Path, capsys: Captured) -> None:
    assert "no.toml: no such file" in refused(capsys, "--config", "no.toml")


def test_a_refused_update_leaves_the_baseline(project: Path, capsys: Captured) -> None:
    declare(BUDGET)
    assert answer(capsys, "--update")[0] == 0
    before = Path("vitcost-baseline.json").read_bytes()
    grow(5, 10)
    # seconds of a card that is not given
    declare(BUDGET + "step_time = '1 s'\n")
    assert "give a gpu" in refused(capsys, "--update")
    assert Path("vitcost-baseline.json").read_bytes() == before
    # and a device is written to, not replaced
    declare(BUDGET)
    answer(capsys, "--update", "--baseline", os.devnull)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other"}', "\udcff"])
def test_a_broken_baseline(text: str, project: Path, capsys: Captured) -> None:
    path = project / "vitcost-baseline.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert "vitcost-baseline.json: " in refused(capsys)
    assert answer(capsys, "--update")[0] == 0


def test_a_quantity_without_a_figure_is_refused(project: Path, capsys: Captured) -> None:
    # a model of text is not what torchsummary takes
    declare("[[tool.vitcost.budget]]\nmodel = 'gpt2'\ntorchsummary_params = '1 G'\n")
    assert vitcost.report("gpt2").torchsummary_params is None
    assert "pyproject.toml:3: torchsummary_params of gpt2 has no exact figure" in refused(capsys)


def test_what_has_no_answer_stops_nothing_else(project: Path, capsys: Captured) -> None:
    """A model that is unknown, and a quantity without a figure, beside limits that are judged."""
    more = (
        "[[tool.vitcost.budget]]\nname = 'gone'\nmodel = 'vit_bse_patch16_224'\nparams = '1 M'\n"
        "[[tool.vitcost.budget]]\nname = 'text'\nmodel = 'gpt2'\ntorchsummary_params = '1 G'\n"
        "params = '1 k'\n"
    )
    declare(BUDGET + more)
    assert run(["budget", "--json"]) == 2
    out, err = capsys.readouterr()
    data = json.loads(out)
    verdicts = [(check["name"], check["quantity"], check["verdict"]) for check in data["checks"]]
    assert verdicts == [
        ("small", "params", "ok"),
        ("small", "macs", "ok"),
        ("small", "saved_activations", "ok"),
        ("gone", "params", "no answer"),
        ("text", "torchsummary_params", "no answer"),
        ("text", "params", "exceeded"),
    ]
    assert not data["ok"]
    assert data["checks"][3]["value"] is None
    assert "did you mean vit_base_patch16_224" in data["checks"][3]["missing"]
    told = err.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["Error", "Error"]
    assert ["pyproject.toml:14: " in told[0], "pyproject.toml:19: " in told[1]] == [True, True]
    # a warning has no answer either, and fails nothing
    declare(
        BUDGET
        + more.replace("params = '1 k'", "level = 'warn'").replace("'1 M'", "'1 M'\nlevel = 'warn'")
    )
    assert answer(capsys)[0] == 0
    assert "warning: no answer" in answer(capsys)[1]
    github = answer(capsys, "--format", "github")[1]
    assert "::warning file=pyproject.toml,line=15,title=vitcost budget%3A gone::params: " in github


def test_what_is_exceeded_and_what_grew_are_told_apart(project: Path, capsys: Captured) -> None:
    answer(capsys, "--update")
    grow(2, 11)
    code, out = answer(capsys)
    assert code == 1
    assert out.startswith("Budget grew: ")
    assert re.search(r"GREW +params +[\d,]+ +1,000,000 +[\d,]+ +-65$", out, re.MULTILINE)
    assert "EXCEEDED" not in out
    declare(BUDGET.replace("1 M", "0.1 M"))
    assert {check["verdict"] for check in checks(capsys).values()} >= {"exceeded, grew", "grew"}
    assert "EXCEEDED, GREW" in answer(capsys)[1]
    answer(capsys, "--update")
    out = answer(capsys)[1]
    assert out.startswith("Budget exceeded: ")
    assert re.search(r" EXCEEDED +params ", out)
    assert "GREW" not in out


# --- the user's own code

FACTORY = """\
from vitcost import ViTConfig
from vitcost.check.reference import build

def small():
    return build(ViTConfig(img_size=32, embed_dim=64, depth=2, num_heads=2, num_classes=10))

def broken():
    raise RuntimeError("no weights here")
"""


@pytest.mark.parametrize(
    ("code", "factory", "said"),
    [
        (FACTORY, "gone", "has no gone"),
        (FACTORY, "broken", "RuntimeError: no weights here"),
        ("import nothing_of_this_name", "small", "ModuleNotFoundError"),
        ("def small(:", "small", "SyntaxError"),
        (None, "small", "ModuleNotFoundError"),
    ],
)
def test_code_that_fails_is_one_message(
    code: str | None, factory: str, said: str, project: Path, capsys: Captured
) -> None:
    module = f"user_code_{abs(hash((code, factory)))}"
    if code is not None:
        Path(f"{module}.py").write_text(code, encoding="utf-8")
    declare(BUDGET.replace("model.toml", f"{module}:{factory}"))
    message = refused(capsys)
    assert "pyproject.toml:6: " in message
    assert said in message


def test_a_factory_is_held_to_its_budget(project: Path, capsys: Captured) -> None:
    Path("users_own_model.py").write_text(FACTORY, encoding="utf-8")
    declare(BUDGET.replace("model.toml", "users_own_model:small"))
    assert checks(capsys)["params"]["value"] == sample_params(2, 10)


OWN = """\
from torch import nn

class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(nn.init.ones_(nn.Linear(1, 7).weight))
        self.body = nn.Sequential(nn.Conv2d(3, 7, 16, 16), nn.Flatten(), nn.Linear(28, {width}))

    def forward(self, x):
        return self.body(x) * self.scale.sum()

def build():
    return Mixer()
"""


def test_a_module_that_no_formula_describes_is_held_to_its_budget(
    project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(width: int) -> None:
        Path("foreign_model.py").write_text(OWN.format(width=width), encoding="utf-8")
        monkeypatch.delitem(sys.modules, "foreign_model", raising=False)

    # a file that is written twice in a second has stale bytecode otherwise
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    declare(
        "[[tool.vitcost.budget]]\nmodel = 'foreign_model:build'\nbatch = 2\nimg_size = 32\n"
        "params = 'baseline'\nmacs = '10 k'\n"
    )
    grow(5)
    conv, scale = 7 * 768 + 7, 7
    assert answer(capsys, "--update")[0] == 1
    found = checks(capsys)
    assert found["params"]["value"] == scale + conv + 28 * 5 + 5
    assert found["macs"]["value"] == 2 * (4 * 7 * 768 + 28 * 5)
    grow(6)
    found = checks(capsys)
    assert [(each["layer"], each["was"], each["now"]) for each in found["params"]["grew"]] == [
        ("body.2", 28 * 5 + 5, 28 * 6 + 6)
    ]
    baseline = json.loads(Path("vitcost-baseline.json").read_text(encoding="utf-8"))
    layers = baseline["budgets"]["foreign_model:build"]["layers"]
    # each module without those inside it
    assert {path: layer["params"] for path, layer in layers.items()} == {
        "scale": scale, "": 0, "body.0": conv, "body.2": 28 * 5 + 5,
    }  # fmt: skip
    declare(
        "[[tool.vitcost.budget]]\nmodel = 'foreign_model:build'\nbatch = 2\nimg_size = 32\n"
        "train_memory = '1 GiB'\nflops = '1 G'\n"
    )
    Path("vitcost-baseline.json").unlink()
    assert answer(capsys)[0] == 0


def own_module(line: str) -> str:
    module = f"counted_{abs(hash(line))}"
    Path(f"{module}.py").write_text(
        "import torch\n\nclass Odd(torch.nn.Linear):\n    def forward(self, x):\n"
        f"        x = super().forward(x)\n        return {line}\n\ndef build():\n"
        "    return Odd(32, 5)\n",
        encoding="utf-8",
    )
    given = f"[[tool.vitcost.budget]]\nmodel = '{module}:build'\nbatch = 2\nimg_size = 32\n"
    declare(f"{given}params = '1 k'\n")
    return given


def test_flops_that_were_not_all_counted_keep_no_budget(project: Path, capsys: Captured) -> None:
    given = own_module("torch.fft.fft(x).real")
    assert answer(capsys)[0] == 0
    declare(f"{given}flops = '1 G'\n")
    said = refused(capsys)
    assert "pyproject.toml:5: flops of counted_" in said
    assert "are not all counted: FLOPs leave out _fft_r2c" in said


def test_a_module_that_cannot_be_traced_keeps_no_budget(project: Path, capsys: Captured) -> None:
    own_module("x if x.sum() > 0 else -x")
    said = refused(capsys)
    assert "pyproject.toml:2: counted_" in said
    assert "the trace stopped in the model's own forward" in said


# --- quantities


def test_no_key_means_two_things() -> None:
    names = [*KEYS, *QUANTITIES, *keywords()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_is_a_figure_of_the_report_and_has_layers_that_exist(name: str) -> None:
    cards = ["t4,fp32_tflops=8.1", "t4"]
    mode = "infer" if name == "latency" else "train"
    report = vitcost.report(BASE, batch=2, mode=mode, gpu=cards)
    data = report.to_dict()
    memory, flops = data["memory"], data["flops"]
    training = memory["training"]
    expected = {
        "params": data["params"]["total"],
        "torchsummary_params": data["params"]["torchsummary"],
        "tokens": 14 * 14 + 1,
        "macs": flops["macs_forward"],
        "flops": flops["forward"],
        "flops_executed": flops["forward_executed"],
        "backward_flops": flops["backward"],
        "train_flops": flops["train_step"],
        "train_flops_executed": flops["train_step_executed"],
        "pointwise": flops["pointwise_forward"],
        "bytes_moved": data["bytes_moved"]["forward"],
        "inference_memory": memory["inference"]["total_bytes"],
        "activations": memory["inference"]["activations_bytes"],
        "weights": training["weights_bytes"],
        "gradients": training["gradients_bytes"],
        "optimizer_states": training["optimizer_bytes"],
        "saved_activations": training["saved_activations_bytes"],
        "train_memory": training["peak_bytes"],
        "rule_of_thumb_inference": 2 * data["params"]["total"],
        "rule_of_thumb_training": 20 * data["params"]["total"],
        "step_time": max(data["time"][0]["seconds"], data["time"][1]["seconds"]),
        "images_per_second": min(time["images_per_second"] for time in data["time"]),
        "latency": max(data["time"][0]["seconds"], data["time"][1]["seconds"]),
    }
    assert expected.keys() <= QUANTITIES.keys()
    value = QUANTITIES[name].read(report, Terms(dict.fromkeys(cards, 0.5), 10**6))
    assert isinstance(value, int | float)
    assert value == expected.get(name, value)
    assert set(QUANTITIES[name].layers) <= set(data["layers"][0])
    word, factor = {"bytes": (" GiB", 2**30), "seconds": (" ms", 0.001)}.get(
        QUANTITIES[name].unit, (" G", 10**9)
    )
    assert parse_limit(name, f"3{word}") == 3 * factor


# --- in a test


def test_assert_budget() -> None:
    # 86,567,656: the parameters of ViT-B/16 at 224 with 1000 classes, as timm has them
    vitcost.assert_budget(BASE, params=86_567_656, weights="331 MiB", batch=4)
    with pytest.raises(AssertionError) as error:
        vitcost.assert_budget(BASE, params=86_567_655, tokens=197)
    assert "params is 1 over the limit of 86,567,655" in str(error.value)
    assert "tokens" in str(error.value)
    with pytest.raises(ConfigError, match="no limit"):
        vitcost.assert_budget(BASE)
    for weights in ("4 X", "4", 4, 4.0):
        with pytest.raises(ConfigError, match="weights: expected bytes"):
            vitcost.assert_budget(BASE, weights=weights)
    with pytest.raises(NotCovered, match="no exact figure"):
        vitcost.assert_budget("gpt2", torchsummary_params=1)


# --- formats


def test_every_format_shows_a_budget(project: Path) -> None:
    declare(BUDGET.replace("1 M", "1 k"))
    result = vitcost.budget(why=True)
    for each in FORMATS:
        text = render(result, each)
        assert "params" in text
        assert text.endswith("\n")


def test_github_points_at_the_line(project: Path, capsys: Captured) -> None:
    answer(capsys, "--update")
    grow(2, 11)
    declare(BUDGET.replace("1 M", "0.1 M").replace('"small"', '"a,b: 100%"'))
    code, out = answer(capsys, "--format", "github")
    assert code == 1
    assert out == (
        "::error file=pyproject.toml,line=9,title=vitcost budget%3A a%2Cb%3A 100%25::"
        f"params is {sample_params(2, 11):,}%0A"
        f"params is {sample_params(2, 11) - 100_000:,} over the limit of 100,000; "
        "raise the limit at pyproject.toml:9\n"
    )
    declare(BUDGET)
    out = answer(capsys, "--format", "github", "--why")[1]
    assert "%0Ahead: params 650 → 715\n" in out


class Failing:
    """A result with one row that failed, or with an annotation of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def to_dict(self) -> dict[str, Any]:
        return {}

    def rows(self) -> Iterator[dict[str, Any]]:
        return iter(())

    def page(self) -> Page:
        rows = (Row((self.text, 1)), Row((self.text, 2), "failed"))
        return Page("", tables=(Table(self.text, (Column("a"), Column("b", "count")), rows),))


class Annotating(Failing):
    def page(self) -> Page:
        note = Annotation("error", self.text, self.text, self.text, 7)
        return super().page()._replace(cases=(Case(self.text, self.text, note),))


@given(st.text())
def test_nothing_in_a_text_ends_or_adds_a_command(text: str) -> None:
    for result in (Failing(text), Annotating(text)):
        out = render(result, "github")
        assert out.count("\n") == 1
        assert out[:-1].isprintable()
        head, _, _ = out.removeprefix("::error ").partition("::")
        assert all(re.fullmatch(r"(file|line|title)=[^,:]+", each) for each in head.split(","))
        # a percent sign stands for itself or for one of what the toolkit escapes
        assert not re.search(r"%(?!25|0A|3A|2C)", out)


def test_any_page_with_a_failed_row_is_annotated() -> None:
    assert render(Failing("x"), "github") == "::error title=x::x · 2\n"
    nothing = vitcost.report(BASE)
    assert render(nothing, "github") == f"::notice title={BASE}::nothing failed\n"


def test_lines_of_many_tables_and_spellings(project: Path) -> None:
    declare(
        "[[ tool . 'vitcost' . budget ]]\n"
        'model = "model.toml"\n"params" = 1\n'
        "[tool.other]\nparams = 2\n"
        "[[tool.vitcost.budget]]\n\nname = 'b'\nmodel = 'model.toml'\nmacs=3\n"
    )
    lines = [[limit.place.line for limit in each.limits] for each in read_budgets("pyproject.toml")]
    assert lines == [[3], [10]]


# --- times and costs


def test_more_images_a_second_are_better(tmp_path: Path, capsys: Captured) -> None:
    """A limit is the least, and what fell below the baseline by more than the tolerance fails."""
    (time,) = vitcost.report(BASE, batch=8, gpu="l4").time
    rate = time.images_per_second
    config, baseline = tmp_path / "b.toml", tmp_path / "kept.json"
    lines = ["[[tool.vitcost.budget]]", f"model = '{BASE}'", "gpu = 'l4'", "tolerance = '10 %'"]

    def checked(batch: int, limit: str) -> list[Check]:
        more = [f"batch = {batch}", f"images_per_second = {limit}"]
        config.write_text("\n".join([*lines, *more]))
        return list(vitcost.budget(str(config), baseline=str(baseline)).checks)

    (kept,) = checked(8, str(rate))
    assert (kept.ok, kept.headroom) == (True, 0)
    (missed,) = checked(8, str(2 * rate))
    assert missed.verdicts == ("missed",)
    assert missed.headroom == -rate
    assert "under the limit of" in missed.reasons[0]
    assert "lower the limit at" in missed.reasons[0]
    config.write_text("\n".join([*lines, "batch = 8", "images_per_second = 'baseline'"]))
    vitcost.budget(str(config), baseline=str(baseline), update=True)
    (same,) = checked(8, "'baseline'")
    assert (same.ok, same.tolerated) == (True, rate * 0.9)
    # one image at a time is slower than eight by more than a tenth
    (fell,) = checked(1, "'baseline'")
    assert fell.verdicts == ("fell",)
    assert "less than the baseline" in fell.reasons[0]
    assert run(["budget", "--config", str(config), "--baseline", str(baseline)]) == 1
    assert "Budget fell" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="MISSED"):
        vitcost.assert_budget(BASE, images_per_second="1M/s", gpu="l4")


def test_costs_have_limits(tmp_path: Path) -> None:
    (time,) = vitcost.report(BASE, batch=64, gpu="l4").time
    hours = 20_000 * time.seconds / 3600
    asked: dict[str, Any] = {"gpu": "l4", "batch": 64, "samples": "1.28M", "price": "l4=0.5/h"}
    vitcost.assert_budget(BASE, cost=0.5 * hours, gpu_hours=hours, **asked)
    with pytest.raises(AssertionError, match="EXCEEDED"):
        vitcost.assert_budget(BASE, cost=f"${0.49 * hours}", **asked)
    del asked["price"]
    with pytest.raises(ConfigError, match="cost needs a price of l4"):
        vitcost.assert_budget(BASE, cost=1, **asked)
    with pytest.raises(ConfigError, match="samples is used by gpu_hours, cost, and none of these"):
        vitcost.assert_budget(BASE, params="1G", **asked)
    with pytest.raises(
        NotCovered, match="latency exists in mode infer only, and the mode is train"
    ):
        vitcost.assert_budget(BASE, latency="1 s", gpu="l4", mode="train")
    config = tmp_path / "b.toml"
    lines = [
        "[[tool.vitcost.budget]]",
        f"model = '{BASE}'",
        "gpu = 'l4'",
        "cost = 1",
        "samples = 9",
    ]
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"b\.toml:4: cost needs a price of l4"):
        vitcost.budget(str(config))
