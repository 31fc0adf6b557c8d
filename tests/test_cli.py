"""The command line: what it prints where, its exit codes, and the message of every bad input."""

import inspect
import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import vitcost
from vitcost.check.differences import CheckResult, Difference, ModelCheck
from vitcost.cli import COMMANDS, cli, run
from vitcost.cli.command import Command
from vitcost.cli.options import field_options, scenario_options
from vitcost.cli.output import _encodable
from vitcost.cli.topics import TOPICS
from vitcost.config.fields import Pair
from vitcost.config.scenario import CHOICES, HELP, PRECISIONS, Scenario
from vitcost.config.vit_config import FIELDS
from vitcost.costs.quantities import EXPLAINED
from vitcost.render import FORMATS
from vitcost.zoo import digests, names

HUGE = "vit_huge_patch14_224"
BASE = "vit_base_patch16_224"
CAPTURED = Path(__file__).parent / "data" / "torchsummary"
Captured = pytest.CaptureFixture[str]


def vitcost_process(*args: str, before: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own; ``before`` runs first."""
    code = f"import sys\n{before}\nfrom vitcost.__main__ import main\nmain()"
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, env={**os.environ, **env}, check=False)


# --- bad input: the message, exit code 2, nothing on stdout, no traceback

QUANTITIES = ", ".join(EXPLAINED)
BAD = [
    (
        ["report", "vit_hug_patch14_224"],
        "unknown model 'vit_hug_patch14_224'; did you mean vit_huge_patch14_224, ",
    ),
    (["report", "qqqqqq"], "unknown model 'qqqqqq'; `vitcost models` lists all"),
    (
        ["report", BASE, "--img-size", "225"],
        "img_size 225 is not divisible by patch_size 16; nearest: 224 or 240; "
        "floor_img_size (--floor-img-size) drops the rest, as timm does",
    ),
    (
        ["report", BASE, "--img-size", "224x230"],
        "img_size 230 is not divisible by patch_size 16; nearest: 224 or 240; "
        "floor_img_size (--floor-img-size) drops the rest, as timm does",
    ),
    (["report", BASE, "--img-size", "8"], "img_size 8 is smaller than patch_size 16"),
    (["report", BASE, "--img-size", "wide"], "img_size must be N or HxW, got 'wide'"),
    (["report", BASE, "--num-heads", "0"], "num_heads must be between 1 and 1,000,000, got 0"),
    (
        ["report", BASE, "--num-heads", "7"],
        "embed_dim 768 is not divisible by num_heads 7",
    ),
    (
        ["report", BASE, "--num-classes", "-1"],
        "num_classes must be between 0 and 1,000,000,000, got -1",
    ),
    (
        ["report", BASE, "--depth", "1000000000"],
        "depth must be between 1 and 100,000, got 1,000,000,000",
    ),
    (["report", BASE, "--depth", "1.5"], "depth must be an integer, got '1.5'"),
    (["report", BASE, "--depth", "twelve"], "depth must be an integer, got 'twelve'"),
    (["report", BASE, "--depth", ""], "depth must be an integer, got ''"),
    (["report", BASE, "--batch", "0"], "batch must be between 1 and 1,000,000,000, got 0"),
    (
        ["report", BASE, "--batch", "1.5"],
        "Invalid value for '-b' / '--batch': '1.5' is not a valid integer.",
    ),
    (
        ["report", BASE, "--precision", "fp8"],
        "unknown precision 'fp8'; allowed: fp32, tf32, amp-bf16, amp-fp16, bf16, fp16",
    ),
    (
        ["report", BASE, "--recipe", "megatron-fp16", "--precision", "fp32"],
        "precision fp32 contradicts recipe megatron-fp16, which has fp16",
    ),
    (
        ["report", BASE, "--format", "zz"],
        f"unknown format 'zz'; allowed: {', '.join(FORMATS)}",
    ),
    (["report", BASE, "--json", "--format", "csv"], "--json contradicts --format csv"),
    (["report"], "no MODEL given; `vitcost models` lists them"),
    (["report", ""], "a model is a name, a path or a config, got ''"),
    (["report", BASE, "--model", HUGE], f"two models given, {HUGE!r} and {BASE!r}"),
    (["report", BASE, HUGE], f"Got unexpected extra argument ({HUGE})"),
    (["report", BASE, "-o", "/nowhere/x"], "cannot write '/nowhere/x': No such file or directory"),
    (["report", BASE, "-o", "/"], "cannot write '/': Is a directory"),
    (["report", "a\x1b[2Jb\nc"], "unknown model 'a\\x1b[2Jb\\nc'; `vitcost models` lists all"),
    (["report", BASE, "a\x1b[2J"], "Got unexpected extra argument (a\\x1b[2J)"),
    (["summary"], "no MODEL given; `vitcost models` lists them"),
    (
        ["summary", BASE, "--batch", "0"],
        "batch must be a positive integer, or -1 as torchsummary's, got 0",
    ),
    (
        ["models", "zzzz"],
        "unknown model 'zzzz'; `vitcost models` lists all",
    ),
    (["explain", BASE], f"no QUANTITY given; one of {QUANTITIES}"),
    (["explain"], "no MODEL given; `vitcost models` lists them"),
    (
        ["explain", BASE, "param"],
        f"unknown quantity 'param'; did you mean params? known: {QUANTITIES}",
    ),
    (
        ["explain", BASE, "params", "--model", HUGE],
        f"two models given, {HUGE!r} and {BASE!r}",
    ),
    (["check"], "no MODEL given; `vitcost models` lists them"),
    (["repot"], "no such command 'repot'; did you mean report?"),
    (["zzzz"], f"no such command 'zzzz'; {', '.join(COMMANDS)}"),
    (["completion", "dos"], "no completion for 'dos'; bash, zsh, fish"),
]


@pytest.mark.parametrize(
    ("args", "message"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_bad_input_gets_its_message_and_exit_code_2(
    args: list[str], message: str, capsys: Captured
) -> None:
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    last = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(last) == 1
    assert last[0].removeprefix("Error: ").startswith(message)
    assert "Traceback" not in err


def test_a_wrong_flag_names_the_right_one(capsys: Captured) -> None:
    assert run(["report", BASE, "--precison", "fp32"]) == 2
    err = capsys.readouterr().err
    assert "--precison" in err
    assert "'--precision'" in err.replace("--precision", "'--precision'")


@pytest.mark.parametrize(
    ("args", "package", "extra"),
    [
        (["check", BASE], "torch", "torch"),
        (["check", BASE], "fvcore", "torch"),
        (["report", BASE, "--check"], "torch", "torch"),
        (["explain", BASE, "weights"], "sympy", "explain"),
    ],
    ids=str,
)
def test_a_missing_extra_gives_the_line_that_installs_it(
    args: list[str], package: str, extra: str
) -> None:
    done = vitcost_process(*args, before=f"sys.modules[{package!r}] = None")
    assert done.returncode == 2
    assert done.stdout == b""
    err = done.stderr.decode()
    assert err.startswith("Error: ")
    assert f"needs {package}, which is not installed: pip install 'vitcost[{extra}]'" in err
    assert "Traceback" not in err


# --- what is answered


def test_report_is_the_librarys_report(capsys: Captured) -> None:
    assert run(["report", "--model", HUGE, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == vitcost.report(HUGE).to_dict()
    assert err == ""


# what each flag of a scenario may be besides its default
OTHERWISE: dict[str, Any] = {
    "batch": 3, "mode": "train", "precision": "bf16", "attention": "eager", "platform": "cpu",
    "optimizer": "sgd", "checkpointing": "block", "freeze": "backbone", "lora": 2,
    "lora_layers": "fc1", "recipe": "zero", "layout": "nhwc", "compile": True, "software": "2.9",
    "ranks": 4, "zero": 1, "buckets": "views", "ema": 1, "accumulate": 2, "zero_grad": "zeros",
    "policy": "reduce-fp32", "ema_dtype": "bf16", "ema_device": "cpu",
    "optimizer_in_backward": True, "grad_scaler": True, "gather": "local",
}  # fmt: skip


@pytest.mark.parametrize("flag", Scenario.__dataclass_fields__)
def test_every_flag_reaches_the_scenario(flag: str) -> None:
    default = Scenario.__dataclass_fields__[flag].default
    # a recipe decides precision and optimizer where they are left open
    own = None if flag in ("precision", "optimizer") else default
    assert inspect.signature(vitcost.report).parameters[flag].default == own
    beside: dict[str, dict[str, Any]] = {
        "zero": {"ranks": 4},
        "policy": {"ranks": 4, "zero": 3, "precision": "bf16"},
        "grad_scaler": {"precision": "amp-fp16"},
        "gather": {"ranks": 4},
    }
    given = {flag: OTHERWISE[flag], **beside.get(flag, {})}
    model = "ViT-B-32" if flag == "gather" else "vit_tiny_patch16_224"
    found = vitcost.report(model, **given).to_dict()["scenario"][flag]
    assert found == OTHERWISE[flag] != default


def test_every_flag_is_a_keyword_of_the_library(capsys: Captured) -> None:
    flags = (
        "--batch 3 --mode train --precision amp-fp16 --attention eager --platform cpu "
        "--optimizer sgd-momentum --layout nhwc --img-size 128x256 --num-classes 7 "
        "--no-qkv-bias --mlp-ratio 3 --embed-dim 384 --num-heads 6 --drop-path-rate 0.2 "
        "--representation-size 96 --qk-scale 0.5"
    )
    assert run(["report", BASE, "--json", *flags.split()]) == 0
    expected = vitcost.report(
        BASE,
        batch=3,
        mode="train",
        precision="amp-fp16",
        attention="eager",
        platform="cpu",
        optimizer="sgd-momentum",
        layout="nhwc",
        img_size=(128, 256),
        num_classes=7,
        qkv_bias=False,
        mlp_ratio=3.0,
        embed_dim=384,
        num_heads=6,
        drop_path_rate=0.2,
        representation_size=96,
        qk_scale=0.5,
    )
    assert json.loads(capsys.readouterr().out) == expected.to_dict()


def test_a_model_of_text_has_flags_of_its_own(capsys: Captured) -> None:
    assert run(["report", "gpt2", "--seq-len", "128", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == vitcost.report("gpt2", seq_len=128).to_dict()
    assert found["tokens"] == 128
    assert run(["report", "gpt2", "--seq-len", "128"]) == 0
    lead = capsys.readouterr().out.splitlines()[3]
    assert lead == "text of 128 tokens, vocabulary 50,257: the full forward (prefill)"
    assert run(["report", "gpt2", "--seq-len=wide"]) == 2
    assert capsys.readouterr().err == "Error: seq_len must be an integer, got 'wide'\n"
    assert run(["report", "--help-all"]) == 0
    assert "--seq-len N" in capsys.readouterr().out


def test_none_takes_a_field_away(capsys: Captured) -> None:
    assert run(["report", f"{HUGE}_in21k", "--json", "--representation-size", "none"]) == 0
    config = json.loads(capsys.readouterr().out)["model"]["config"]
    assert config["representation_size"] is None
    assert config["num_classes"] == 21843


def spelled(kind: Any, choices: tuple[str, ...]) -> str:
    """A value that a field of a kind may hold."""
    if choices:
        return choices[0]
    return "0.25" if kind in (float, float | None) else "32" if kind == Pair else "4"


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_the_config_is_a_flag(name: str) -> None:
    kind, field = FIELDS[name]
    flag = f"--{name.replace('_', '-')}"
    option = {o for param in field_options() for o in (*param.opts, *param.secondary_opts)}
    assert flag in option
    if kind in (bool, bool | None):
        assert f"--no-{flag[2:]}" in option
        return
    # parsed by the config, whatever it then thinks of the value
    ctx = cli.get_command(None, "report").make_context(  # type: ignore[union-attr, arg-type]
        "report", [BASE, flag, spelled(kind, field.choices)]
    )
    assert ctx.params[name] is not None


def test_every_field_of_the_scenario_is_a_flag() -> None:
    flags = {param.name for param in scenario_options()}
    assert flags == set(HELP) == set(Scenario.__dataclass_fields__)


def test_json_has_the_keys_of_the_contract(capsys: Captured) -> None:
    assert run(["report", HUGE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert shape(found) == {
        "schema": "vitcost.report/1",
        "model": {"name", "source", "basis", "config"},
        "scenario": {*Scenario.__dataclass_fields__, "gpu", "attention_kernel"},
        "tokens": 257,
        "params": {"total", "trainable", "torchsummary", "by_part"},
        "flops": {
            "forward", "backward", "train_step", "forward_executed", "train_step_executed",
            "macs_forward", "pointwise_forward",
        },
        "bytes_moved": {"forward"},
        "memory": {
            "rule_of_thumb", "inference", "inference_by_precision", "training", "beside_tensors",
        },
        "time": [],
        "layers": {
            "path", "paths", "type", "repeat", "output_shape", "params", "flops", "pointwise",
            "saved_bytes", "children",
        },
    }  # fmt: skip
    assert set(found["scenario"]) >= {
        "batch", "mode", "precision", "attention", "platform", "optimizer", "checkpointing",
        "recipe", "layout", "compile", "software", "gpu",
    }  # fmt: skip
    memory = found["memory"]
    assert set(memory["rule_of_thumb"]) == {
        "inference_bytes", "training_bytes", "saved_activations_bytes",
        "saved_activations_formula", "inference_error", "training_error",
        "saved_activations_error",
    }  # fmt: skip
    assert set(memory["inference"]) == {
        "weights_bytes", "input_bytes", "activations_bytes", "activations_are",
        "int8_weights_bytes",
        "fp8_weights_bytes", "int4_weights_bytes", "total_bytes",
        "buffers_bytes",
    }  # fmt: skip
    assert set(memory["training"]) == {
        "buffers_bytes", "weights_bytes", "gradients_bytes", "optimizer_bytes",
        "saved_activations_bytes",
        "ema_bytes", "buckets_bytes", "peak_bytes", "peak_at",
        "peak_parts",
        "peak_is", "missing", "assumed",
    }  # fmt: skip
    assert set(found["model"]["config"]) == set(FIELDS)
    assert sum(found["params"]["by_part"].values()) == found["params"]["total"]


def shape(found: dict[str, Any]) -> dict[str, Any]:
    """The keys of a dict's dicts, and of the first row of its lists."""
    keys: dict[str, Any] = {}
    for key, value in found.items():
        first = value[0] if isinstance(value, list) and value else value
        keys[key] = set(first) if isinstance(first, dict) else first
    return keys


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown"])
@pytest.mark.parametrize(
    "args", [["report", BASE], ["models", "huge"], ["explain", BASE, "params"]], ids=lambda a: a[0]
)
def test_every_answer_comes_in_every_format(args: list[str], format: str, capsys: Captured) -> None:
    assert run([*args, "--format", format]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    assert err == ""
    assert ("86,567,656" in out) or ("86567656" in out) or args[0] == "models" or format == "csv"


def test_summary_prints_the_table_alone_and_the_notes_on_stderr(capsys: Captured) -> None:
    assert run(["summary", "vit_base_patch32_224", "--num-classes", "5"]) == 0
    out, err = capsys.readouterr()
    assert out == (CAPTURED / "vit_base_patch32_224_5_classes.txt").read_text(encoding="utf-8")
    assert "the model has 87,459,077" in err


def test_summary_takes_batch_and_image(capsys: Captured) -> None:
    args = ["--model", "vit_base_patch32_224", "--batch", "4", "--img-size", "64x96"]
    assert run(["summary", *args]) == 0
    expected = vitcost.summary("vit_base_patch32_224", batch=4, img_size=(64, 96))
    assert capsys.readouterr().out == expected + "\n"


def test_models_lists_every_name_with_its_size(capsys: Captured) -> None:
    assert run(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == sorted({
        *names(), *digests.entries(), *digests.refused()
    })  # fmt: skip
    assert all(row["params"] > 0 and row["macs_forward"] > 0 for row in rows)


def test_models_quiet_is_names_alone(capsys: Captured) -> None:
    assert run(["models", "VIT_huge_patch14_224", "-q"]) == 0
    assert capsys.readouterr().out == f"{HUGE}\n{HUGE}_in21k\n"


def test_models_json_has_a_row_a_model(capsys: Captured) -> None:
    assert run(["models", HUGE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "vitcost.models/1"
    by_name = {row["name"]: row for row in found["rows"]}
    assert by_name[HUGE] == {
        "name": HUGE,
        "family": "vit",
        "img_size": [224, 224],
        # timm's parameters and MACs of this model at 1000 classes
        "params": 632045800,
        "macs_forward": 167295109120,
        "source": by_name[HUGE]["source"],
        "basis": "formula",
    }
    assert by_name[HUGE]["source"]


def test_explain_takes_the_model_either_way(capsys: Captured) -> None:
    assert run(["explain", BASE, "params", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(["explain", "--model", BASE, "params", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert {"quantity", "formula", "substituted", "value", "reference"} <= set(first)
    assert first["value"] == 86_567_656


def test_explain_latex_is_there_when_asked(capsys: Captured) -> None:
    assert run(["explain", BASE, "attention_flops"]) == 0
    assert "^{2}" not in capsys.readouterr().out
    assert run(["explain", BASE, "attention_flops", "--latex"]) == 0
    assert "^{2}" in capsys.readouterr().out


# --- check, with a verdict put in the place of torch


def verdict(explained_by: str) -> CheckResult:
    difference = Difference("blocks.0.attn", "flops", 10, 12, explained_by)
    model = ModelCheck("made_up", {"flops": 3, "params": 4}, (difference,), 0.5)
    return CheckResult((model,), {"torch": "2.0"})


@pytest.mark.parametrize(("explained_by", "code"), [("a known habit", 0), ("", 1)])
def test_check_exits_by_its_verdict(
    explained_by: str, code: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fake(models: list[Any], **keywords: Any) -> CheckResult:
        asked.append((models, {k: v for k, v in keywords.items() if k != "progress"}))
        return verdict(explained_by)

    monkeypatch.setattr("vitcost.check.check", fake)
    assert run(["check", BASE, HUGE, "--batch", "2", "--depth", "3"]) == code
    out = capsys.readouterr().out
    assert asked == [([BASE, HUGE], {"batch": 2, "depth": 3})]
    assert re.search(rf"made_up +{'ok' if not code else 'FAILED'} +reference +7 +1 +{code} ", out)
    assert re.search(r"blocks.0.attn +flops +10 +12 ", out)
    assert (explained_by or "unexplained") in out

    assert run(["check", BASE, "--json"]) == code
    assert json.loads(capsys.readouterr().out) == verdict(explained_by).to_dict()

    assert run(["report", BASE, "--check"]) == code
    out = capsys.readouterr().out
    assert "86,567,656 parameters" in out
    assert "Check against the real torch model" in out

    assert run(["report", BASE, "--check", "--json"]) == code
    report = vitcost.report(BASE).to_dict()
    expected = {**report, "check": verdict(explained_by).to_dict()}
    assert json.loads(capsys.readouterr().out) == expected


# --- files


def test_output_goes_to_a_file_whole(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "report.json"
    path.write_text("before", encoding="utf-8")
    assert run(["report", BASE, "--json", "-o", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(path.read_text(encoding="utf-8")) == vitcost.report(BASE).to_dict()
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


STARTS = {
    "txt": BASE, "json": "{", "csv": "path,", "md": "#", "markdown": "#", "html": "<!DOCTYPE",
    "HTM": "<!DOCTYPE", "tex": "% vit",
}  # fmt: skip


@pytest.mark.parametrize("suffix", STARTS)
def test_a_suffix_chooses_the_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"report.{suffix}"
    assert run(["report", BASE, "-o", str(path)]) == 0
    assert path.read_text(encoding="utf-8").startswith(STARTS[suffix])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("report M -o x.doc", "no format for the suffix '.doc' of 'x.doc'; there are .txt, .json"),
        ("fit M -o x.json.gz", "no format for the suffix '.gz'"),
        ("gpus -o x.parquet", "no format for the suffix '.parquet'"),
        ("report M --json -o x.html", "--json contradicts 'x.html', a file of html"),
        ("compare M --format csv -o x.md", "--format csv contradicts 'x.md', a file of markdown"),
        ("compare M --json -o x.parquet", "--json contradicts 'x.parquet'"),
        ("summary M -o x.json", "no format for the suffix '.json' of 'x.json'; there are .txt"),
        ("models -q -o x.json", "no format for the suffix '.json'"),
        ("gpus -q --json", "-q prints only names, and takes no format"),
        ("schema report -o x.html", "no format for the suffix '.html'"),
        ("calibrate none.csv -o x.json", "'.json' of 'x.json'; there are .toml"),
        ("budget --config none.toml --update -o x.pdf", "no format for the suffix '.pdf'"),
        ("report M --format jsn -o x.json", "unknown format 'jsn'; did you mean json?"),
    ],
)
def test_a_suffix_that_no_format_has_is_refused(
    args: str, said: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([BASE if word == "M" else word for word in args.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, list(tmp_path.iterdir())) == ("", [])
    assert said in err.splitlines()[-1]


def test_a_named_format_goes_into_any_file(tmp_path: Path) -> None:
    for name in ("layers.txt", "layers.dat", "layers"):
        path = tmp_path / name
        assert run(["report", BASE, "--format", "csv", "-o", str(path)]) == 0
        assert path.read_text(encoding="utf-8").startswith("path,")


def test_a_link_is_followed_and_a_device_written_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    assert run(["models", "huge", "-q", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert HUGE in target.read_text(encoding="utf-8")
    assert run(["models", "huge", "-q", "-o", os.devnull]) == 0
    assert not Path(os.devnull).is_file()


def test_a_failed_write_leaves_the_file_as_it_was(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept"
    path.write_text("before", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert run(["models", "-q", "-o", str(path)]) == 2
    assert capsys.readouterr().err == f"Error: cannot write '{path}': No space left on device\n"
    assert path.read_text(encoding="utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device that is full")
@pytest.mark.parametrize("args", [["models", "-q"], ["report", BASE, "--json"], ["--help"]])
def test_a_stdout_that_is_full(args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vitcost", *args],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    message = b"Error: cannot write the answer: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.skipif(os.name != "posix", reason="a shell that closes stdout")
def test_a_stdout_that_is_closed(tmp_path: Path) -> None:
    for more, code in (("", 2), (f" -o {tmp_path}/models", 0)):
        command = f"{sys.executable} -m vitcost models huge{more} >&-"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
        assert done.returncode == code
        message = b"Error: cannot write the answer: stdout is closed\n"
        assert done.stderr == (message if code else b"")


# --- terminals, pipes, encodings


def test_python_m_vitcost_and_its_version() -> None:
    command = [sys.executable, "-m", "vitcost", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"vitcost {vitcost.__version__}\n"


def test_a_command_ends_at_once_and_whole() -> None:
    """Objects are not freed one by one, and the whole answer is there."""
    object_ = (
        "class Freed:\n    def __del__(self):\n        sys.stderr.write('freed')\nkept = Freed()"
    )
    done = vitcost_process("models", "--json", before=object_)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == vitcost.models().to_dict()
    assert vitcost_process("report", "nobody").returncode == 2


def test_who_waits_for_the_end_of_a_command_sees_it() -> None:
    waiting = "import atexit\natexit.register(print, 'the end')"
    assert vitcost_process("--version", before=waiting).stdout.endswith(b"the end\n")
    command = [sys.executable, "-m", "cProfile", "-m", "vitcost", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "function calls" in done.stdout


@pytest.mark.parametrize(
    "env",
    [{"COLUMNS": "40"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "200", "TERM": "xterm"}],
    ids=str,
)
def test_a_pipe_gets_the_same_whatever_the_terminal(env: dict[str, str]) -> None:
    done = vitcost_process("report", HUGE, **env)
    assert done.returncode == 0
    text = done.stdout.decode("utf-8")
    assert "\x1b" not in text
    assert text == vitcost.render.render(vitcost.report(HUGE))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp1252"])
@pytest.mark.parametrize("format", ["table", "markdown", "csv", "json"])
def test_a_stdout_that_is_not_utf8(encoding: str, format: str) -> None:
    args = ("explain", BASE, "rule_of_thumb_training") if format == "table" else ("report", HUGE)
    done = vitcost_process(*args, "--format", format, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).endswith("\n")


def test_ascii_has_signs_in_place_of_what_it_lacks() -> None:
    text = vitcost_process("report", HUGE, PYTHONIOENCODING="ascii").stdout.decode("ascii")
    assert "image 224x224, patch 14x14" in text
    assert "\\x" not in text
    assert "\\u" not in text


@given(st.text(), st.sampled_from(["ascii", "latin-1", "cp437", "utf-8", "utf-16", "shift_jis"]))
def test_any_text_can_be_printed_in_any_encoding(text: str, encoding: str) -> None:
    assert _encodable(text, encoding).encode(encoding) is not None
    if text.isascii():
        assert _encodable(text, encoding) == text


def in_terminal(columns: int, *args: str, before: str = "", **env: str) -> tuple[int, str]:
    """Exit code and screen of a command whose stdout and stderr are a terminal."""
    code = f"import sys\n{before}\nfrom vitcost.__main__ import main\nmain()"
    main, other = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=other,
        stdout=other,
        stderr=other,
        env={**clean, "COLUMNS": str(columns), "TERM": "xterm-256color", **env},
    )
    os.close(other)
    chunks = []
    while select.select([main], [], [], 60)[0]:
        try:
            chunks.append(os.read(main, 65536))
        except OSError:
            break
        if not chunks[-1]:
            break
    os.close(main)
    return process.wait(timeout=60), b"".join(chunks).decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "args",
    [
        f"report {HUGE}",
        f"report {HUGE} --mode train --precision amp-bf16 --ranks 1024 --zero 3 -b 64 -g h100-sxm",
        "report swin_tiny_patch4_window7_224 --mode train -b 8",
        f"fit {HUGE} -g h100-sxm --mode train",
        "models",
    ],
)
def test_a_terminal_gets_colour_and_its_own_width(args: str, columns: int) -> None:
    code, screen = in_terminal(columns, *args.split())
    assert code == 0
    assert "\x1b[1;36m" in screen
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen).splitlines()
    assert columns - 25 < max(map(len, lines)) <= columns


def test_the_topics_fit_a_terminal() -> None:
    screen = in_terminal(80, "help")[1]
    assert 60 < max(map(len, screen.splitlines())) <= 80


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_without_colour_gets_none(env: dict[str, str]) -> None:
    code, screen = in_terminal(80, "report", HUGE, **env)
    assert code == 0
    assert "\x1b" not in screen


def progress(seconds: float) -> str:
    """Code that works for so long under the bar, whose patience is a tenth of a second."""
    return (
        "import time\nimport vitcost.cli.progress as p\np.PATIENCE_SECONDS = 0.1\n"
        "with p.progress_bar() as step:\n"
        "    step(1, 4, 'counting [red]')\n"
        f"    time.sleep({seconds})\n"
    )


def test_a_progress_bar_comes_when_it_takes_long() -> None:
    assert "counting [red]" in in_terminal(80, "--version", before=progress(0.6))[1]
    assert "counting" not in in_terminal(80, "--version", before=progress(0))[1]


def test_a_progress_bar_stays_out_of_logs() -> None:
    before = "from vitcost.cli.progress import *\nwith progress_bar() as step: assert step is None"
    done = vitcost_process("--version", before=before)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_pipe_is_silent() -> None:
    code = "from vitcost.__main__ import main\nmain()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "models", "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    err = process.stderr.read() if process.stderr else b""
    # what a shell says of a process that a closed pipe has ended
    assert process.wait(timeout=60) == 141
    assert err == b""
    if process.stderr:
        process.stderr.close()


def test_ctrl_c_exits_130(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitcost.cli.report_command.report", interrupted)
    assert run(["report", BASE]) == 130
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "")


def test_ctrl_c_while_loading_exits_130() -> None:
    before = (
        "import builtins\nload = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'vitcost.cli': raise KeyboardInterrupt\n"
        "    return load(name, *rest)\n"
        "import vitcost\nbuiltins.__import__ = interrupted\n"
    )
    done = vitcost_process("report", BASE, before=before)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


# --- help and completion


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_by_example(name: str, capsys: Captured) -> None:
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    # a screen has room for it, and its own flags come first
    assert len(out.splitlines()) <= 60
    examples = re.findall(rf"^  (vitcost {name} .*)$|^  (vitcost {name})$", out, re.MULTILINE)
    assert len(examples) >= 3
    # its own flags come first, and where its answer goes last
    assert out.index("Examples:") < out.index("Output:")
    titles = re.findall(r"^([A-Z][^:]*):$", out, re.MULTILINE)
    assert titles[-1] == "Output"
    assert "Options" not in titles or titles.index("Options") == 1
    assert max(map(len, out.splitlines())) <= 80


def test_help_of_all_lists_every_command(capsys: Captured) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        # none of the sentences is cut short
        assert re.search(rf"^  {name} +\S.*[^.]\.$", out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_line_of_each(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[union-attr, arg-type]
    assert command is not None
    assert COMMANDS[name] == command.get_short_help_str(100)


def test_a_name_of_the_package_is_not_its_module() -> None:
    """``web`` is a function, and a folder that importing anything may have loaded."""
    script = (
        "import vitcost.web.answer, vitcost.units\n"
        "from vitcost import explain, web\nimport vitcost.web\n"
        "names = [vitcost.report, vitcost.models, vitcost.web, web]\n"
        "assert all(callable(each) for each in [*names, explain]), names\n"
        "assert vitcost.units.__name__ == 'vitcost.units'\n"
        "assert not hasattr(vitcost, 'nothing')\n"
        "assert set(vitcost.__all__) <= {*dir(vitcost), *vitcost._HOME}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_whole_help_has_every_flag(name: str, capsys: Captured) -> None:
    assert run([name, "--help-all"]) == 0
    out = capsys.readouterr().out
    command = cli.get_command(None, name)  # type: ignore[union-attr, arg-type]
    assert isinstance(command, Command)
    flags = {p.opts[0] for p in command.params if isinstance(p, click.Option) and not p.hidden}
    for flag in flags:
        assert flag in out or flag.replace("--", "--[no-]") in out
    assert max(map(len, out.splitlines())) <= 80
    # the short one has those that are not rare, whatever was asked before
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= 60
    rare = {param.opts[0] for param in command.params if getattr(param, "rare", False)}
    shown = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", out, re.MULTILINE))
    assert not shown & rare
    if rare:
        assert "--help-all" in shown


@pytest.mark.parametrize("name", [*TOPICS, "fit", "report"])
def test_topics_are_read_on_a_screen(name: str, capsys: Captured) -> None:
    assert run(["help", name]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.endswith("\n")
    if name in COMMANDS:
        assert out.startswith(f"Usage: vitcost {name} ")


def test_the_topic_of_fields_has_each_of_them(capsys: Captured) -> None:
    assert run(["help", "fields"]) == 0
    out = capsys.readouterr().out
    for name in FIELDS:
        assert re.search(rf"^  --{name.replace('_', '-')}\b", out, re.MULTILINE)
    assert run(["help", "precision"]) == 0
    out = capsys.readouterr().out
    for name in PRECISIONS:
        assert re.search(rf"^  {name} +\S", out, re.MULTILINE)


def test_topics_are_listed_and_an_unknown_one_is_named(capsys: Captured) -> None:
    assert run(["help"]) == 0
    out = capsys.readouterr().out
    assert all(f"vitcost help {name}" in out for name in TOPICS)
    assert run(["help", "memroy"]) == 2
    assert "unknown topic 'memroy'; did you mean memory, " in capsys.readouterr().err


def test_the_help_shows_every_choice(capsys: Captured) -> None:
    assert run(["report", "--help-all"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, words in CHOICES.items():
        assert f"--{name.replace('_', '-')}" in out
        for word in words:
            assert word in out.replace("- ", "-")


def completed(words: str, position: int) -> list[str]:
    env = {"_VITCOST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    done = vitcost_process(**env)
    return done.stdout.decode().split()


def test_a_shell_completes_models_flags_and_words() -> None:
    assert completed("vitcost repo", 1) == ["plain,report"]
    assert completed("vitcost report vit_huge_patch14_224", 2) == [
        f"plain,{HUGE}",
        f"plain,{HUGE}_in21k",
    ]
    assert completed("vitcost explain x mlp", 3) == ["plain,mlp_flops"]
    assert completed("vitcost report x --precision amp", 4) == ["plain,amp-bf16", "plain,amp-fp16"]
    assert completed("vitcost report ./conf", 2) == ["file,./conf"]
    assert completed("vitcost report x -g rtx5", 4) == ["plain,rtx5090"]
    assert completed("vitcost fit x --gpu h200", 4) == ["plain,h200-sxm", "plain,h200-nvl"]
    # each word of a list, and the fields that vary
    assert completed("vitcost compare x --quantities params,mac", 4) == ["plain,params,macs"]
    assert completed("vitcost compare x --pareto mac", 4) == ["plain,macs"]
    assert completed("vitcost compare x --vary embed", 4) == ["plain,embed_dim="]
    assert completed("vitcost gpus mi3", 2) == [
        f"plain,mi3{rest}" for rest in ("00x", "25x", "50x", "55x")
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_shells_script(shell: str, capsys: Captured) -> None:
    assert run(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert f"{shell}_complete" in out
    assert "_VITCOST_COMPLETE" in out
    assert err == ""


def test_the_group_works_as_click_has_it() -> None:
    result = CliRunner().invoke(cli, ["models", HUGE, "-q"])
    assert result.output.splitlines()[0] == HUGE
