"""``diff``: what a model cost before, costs now, and why; against a file and against a commit.

The sample is a plain ViT whose parameters are written out in ``params_of``.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_budget import MODEL, sample_params

import vitcost
from vitcost.cli import run
from vitcost.costs.quantities import QUANTITIES
from vitcost.errors import ConfigError
from vitcost.planner.budgets.at_commit import _need_own
from vitcost.planner.budgets.sides import Side
from vitcost.planner.diff import Base, Diff, ModelDiff
from vitcost.render import render

Captured = pytest.CaptureFixture[str]
BLOCK = 12 * 64 * 64 + 13 * 64
BUDGETS = """\
[[tool.vitcost.budget]]
name = "small"
model = "model.toml"
batch = 2
params = "1 M"
"""


def grow(depth: int, classes: int = 10) -> None:
    Path("model.toml").write_text(MODEL.format(depth=depth, classes=classes), encoding="utf-8")


def git(*args: str) -> str:
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    grow(2)
    Path("pyproject.toml").write_text(BUDGETS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose first commit has the sample."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    # nobody's own settings
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "x")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "x@example.org")
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "-A")
    git("commit", "--quiet", "-m", "x")
    return folder


def asked(capsys: Captured, *args: str, code: int = 0) -> dict[str, Any]:
    assert run(["diff", *args, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def row(data: dict[str, Any], quantity: str, model: str = "small") -> tuple[Any, ...]:
    """A quantity before and now, and the difference."""
    (found,) = (r for r in data["rows"] if (r["model"], r["quantity"]) == (model, quantity))
    return found["previous"], found["new"], found["difference"]


def refused(capsys: Captured, *args: str) -> str:
    assert run(["diff", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


# --- against a commit


def test_a_commit_is_read_in_a_worktree_that_is_gone_then(
    repository: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository}/hooked\n", encoding="utf-8")
    hook.chmod(0o755)
    grow(3, 12)
    # as in a hook of git's, whose index stays as it is
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, f"/nowhere/{name}")
    data = asked(capsys, "main")
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    more = BLOCK + 2 * 65
    was, now = sample_params(2, 10), sample_params(3, 12)
    assert row(data, "params") == (was, now, more) == (was, was + more, more)
    assert row(data, "weights") == (4 * was, 4 * now, 4 * more)
    assert row(data, "tokens") == (5, 5, 0)
    assert data["base"] == {"name": "main", "kind": "commit", "hash": git("rev-parse", "main")}
    (model,) = data["models"]
    assert model["changed"] == [
        {"field": "depth", "was": "2", "now": "3"},
        {"field": "num_classes", "was": "10", "now": "12"},
    ]
    grew = {each["layer"]: each["now"] - each["was"] for each in model["layers"]
            if each["number"] == "params"}  # fmt: skip
    assert grew["blocks.*"] == BLOCK
    assert grew["head"] == 130
    assert grew["blocks.*.mlp"] == 8 * 64 * 64 + 5 * 64
    # neither a worktree nor what a hook of the checkout does
    assert len(git("worktree", "list").splitlines()) == 1
    assert not (repository / "hooked").exists()
    assert git("status", "--porcelain") == "M model.toml"


def test_a_comment_says_before_now_difference_and_why(repository: Path, capsys: Captured) -> None:
    grow(3)
    was, now = (f"{sample_params(depth, 10):,}" for depth in (2, 3))
    args = ["diff", "HEAD", "--also", "markdown:comment.md", "--quantities", "params,tokens"]
    assert run(args) == 0
    share = f"+{100 * BLOCK / sample_params(2, 10):.1f} %"
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith(f"small: params {was} → {now} ({share})")
    (line,) = (line for line in out if line.startswith("params "))
    assert line.split() == ["params", was, now, f"+{BLOCK:,}", *share.split(), "blocks.*",
                            f"+{BLOCK:,}", "params", "◂"]  # fmt: skip
    # all that was asked for stands in front, in that order
    assert [each.split()[0] for each in out[5:7]] == ["params", "tokens"]
    comment = Path("comment.md").read_text(encoding="utf-8")
    assert comment.count("<details>") == comment.count("</details>") == 2
    assert "<details><summary>small: layers that changed</summary>\n\n| layer |" in comment
    assert "depth: 2 → 3" in comment
    # layers that hand on what one inside them costs more are left out
    assert "| blocks.\\* | params |" in comment


def test_a_budget_is_asked_as_the_commit_declares_it(repository: Path, capsys: Captured) -> None:
    declared = BUDGETS.replace("batch = 2", "batch = 6") + BUDGETS.replace("small", "more")
    Path("pyproject.toml").write_text(declared, encoding="utf-8")
    data = asked(capsys, "HEAD")
    was, now, _ = row(data, "macs")
    assert now == 3 * was
    assert data["models"][0]["changed"] == [{"field": "batch", "was": "2", "now": "6"}]
    # one that is new is asked as it is now
    assert row(data, "params", "more")[2] == 0
    git("rm", "--quiet", "--cached", "model.toml")
    git("commit", "--quiet", "-m", "gone")
    data = asked(capsys, "HEAD")
    assert row(data, "params") == (None, sample_params(2, 10), None)
    assert data["models"][0]["missing"].endswith("model.toml: no such file")
    # where a branch left main
    assert row(asked(capsys, "HEAD~1..."), "params")[2] == 0


def test_code_of_the_commit_is_what_is_imported(
    repository: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package in src, which this process found by its own path."""
    pytest.importorskip("torch")
    package = repository / "src" / "sized"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    build = (
        "from torch import nn\n\n\ndef build():\n    print('hello')\n    return nn.Linear(3, {})\n"
    )
    (package / "net.py").write_text(build.format(5), encoding="utf-8")
    git("add", "-A")
    git("commit", "--quiet", "-m", "y")
    (package / "net.py").write_text(build.format(7), encoding="utf-8")
    monkeypatch.syspath_prepend(str(repository / "src"))
    data = asked(capsys, "main", "sized.net:build", "--input", "3")
    assert row(data, "params", "sized.net:build") == (4 * 5, 4 * 7, 8)
    for name in ("sized", "sized.net"):
        monkeypatch.delitem(sys.modules, name)


def test_code_of_the_checkout_is_no_code_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = ModuleType("planted")
    inside.__file__ = str(tmp_path / "planted.py")
    monkeypatch.setitem(sys.modules, "planted", inside)
    with pytest.raises(ConfigError, match="planted is found in the checkout"):
        _need_own(str(tmp_path))
    _need_own(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("mian",), "no file and no git ref 'mian'; did you mean main?"),
        (("--", "--all"), "no file and no git ref '--all'"),
        (("",), "no base"),
        (("none.json",), "none.json: no such file"),
        (("model.toml",), "not JSON"),
        (("main", "--batch", "3"), "batch changes a model, and no model is given"),
        (("main", "vit_tny_patch16_224"), "did you mean vit_tiny_patch16_224"),
        (("main", "--config", "none.toml"), "none.toml: no such file"),
        (("main", "--quantities", "parms"), "did you mean params"),
    ],
)
def test_what_is_no_base(
    args: tuple[str, ...], said: str, repository: Path, capsys: Captured
) -> None:
    assert said in refused(capsys, *args)


def test_outside_of_a_repository(folder: Path, capsys: Captured) -> None:
    if shutil.which("git"):
        assert "not a git repository" in refused(capsys, "main")


# --- against a file


def test_a_saved_report_against_its_model_now(folder: Path, capsys: Captured) -> None:
    keywords: dict[str, Any] = {"batch": 4, "precision": "amp-bf16", "optimizer": "sgd"}
    saved = render(vitcost.report("model.toml", **keywords), "json")
    Path("base.json").write_text(saved, encoding="utf-8")
    grow(3)
    now = vitcost.report("model.toml", **keywords).to_dict()
    # under its own flags, unless others are given
    data = asked(capsys, "base.json", "model.toml")
    name = now["model"]["name"]
    for quantity, each in QUANTITIES.items():
        if each.read(now) is not None:
            old = each.read(json.loads(saved))
            assert row(data, quantity, name)[:2] == (old, each.read(now))
    assert data["models"][0]["changed"] == [{"field": "depth", "was": "2", "now": "3"}]
    more = asked(capsys, "base.json", "model.toml", "--batch", "8")
    assert row(more, "macs", name)[1] == 2 * row(data, "macs", name)[1]
    Path("new.json").write_text(json.dumps(now), encoding="utf-8")
    assert asked(capsys, "base.json", "new.json") == data
    assert "batch cannot change" in refused(capsys, "base.json", "new.json", "--batch", "2")
    assert "one model, and 2 are given" in refused(capsys, "base.json", "new.json", "new.json")


def test_a_saved_report_knows_its_model(folder: Path, capsys: Captured) -> None:
    name = "vit_tiny_patch16_224"
    Path("base.json").write_text(render(vitcost.report(name), "json"), encoding="utf-8")
    data = asked(capsys, "base.json", "--num-classes", "10")
    # the head of 192 and a bias a class
    assert row(data, "params", name)[2] == -990 * 193
    assert run(["diff", "base.json"]) == 0
    assert "1 model costs what it did" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vit_tiny_patch16_224", ["--depth", "6", "--img-size", "384", "--lora", "2"]),
        ("vit_tiny_patch16_224", ["--embed-dim", "96", "--mlp-ratio", "3"]),
        ("ViT-B-32", ["--img-size", "288"]),
        ("ViT-B-32:vision", ["--num-classes", "7"]),
    ],
)
def test_fields_that_a_report_was_given_are_given_again(
    name: str, fields: list[str], folder: Path, capsys: Captured
) -> None:
    assert run(["report", name, *fields, "-o", "base.json"]) == 0
    data = asked(capsys, "base.json")
    assert [each["quantity"] for each in data["rows"] if each["changed"]] == []
    assert data["models"][0]["changed"] == []


def test_traces_of_other_inputs_are_not_held_against_each_other(
    folder: Path, capsys: Captured
) -> None:
    Path("wide.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Conv2d(3, 4, 3)\n", encoding="utf-8"
    )
    assert run(["report", "wide:build", "--input", "3x8x8", "-o", "base.json"]) == 0
    assert run(["diff", "base.json"]) == 2
    said = "base.json is of inputs: 3x8x8, and the model is traced with "
    assert said in capsys.readouterr().err
    data = asked(capsys, "base.json", "--input", "3x8x8")
    assert [each["quantity"] for each in data["rows"] if each["changed"]] == []


def test_a_baseline_against_its_budgets(folder: Path, capsys: Captured) -> None:
    vitcost.budget(update=True)
    grow(3)
    more = BUDGETS.replace("small", "new") + BUDGETS.replace("small", "x").replace("model.t", "n.t")
    Path("pyproject.toml").write_text(BUDGETS + more, encoding="utf-8")
    data = asked(capsys, "vitcost-baseline.json", code=2)
    assert row(data, "params") == (sample_params(2, 10), sample_params(3, 10), BLOCK)
    assert data["models"][0]["layers"][0]["layer"] == "blocks.0"
    assert row(data, "params", "new")[0] is None
    assert data["models"][1]["missing"] == "vitcost-baseline.json does not have it"
    assert "n.toml: no such file" in data["models"][2]["missing"]
    assert "no model and no flags" in refused(capsys, "vitcost-baseline.json", "--batch", "2")


def test_the_reason_is_the_innermost_layer_that_accounts_for_all() -> None:
    """The head's own 5 and the MLP's 7 inside a block."""
    was = {"blocks.*": {"params": 9}, "blocks.*.mlp": {"params": 4}, "head": {"params": 1}}
    now = {"blocks.*": {"params": 16}, "blocks.*.mlp": {"params": 11}, "head": {"params": 6}}
    sides = (Side({"params": total}, layers, {}) for total, layers in ((10, was), (22, now)))
    table = Diff(Base("x", "report"), (ModelDiff("m", *sides),)).page().tables[0]
    assert table.rows[0].cells == (
        "params", 10, 22, "+12", "+120.0 %", "blocks.*.mlp +7 params, head +5 params",
    )  # fmt: skip
