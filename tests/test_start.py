"""What a start loads: heavy packages stay out, and rich too where nothing is drawn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "fvcore", "timm", "sympy", "numpy", "scipy", "pandas", "matplotlib", "pyarrow"}
MODEL = "vit_huge_patch14_224"


def loaded(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after some code."""
    show = f"{code}\nprint('loaded:', *{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", f"import sys\n{show}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("loaded:")
    return set(last.split()[1:])


def modules(code: str) -> set[str]:
    """The modules of the package, and of Python's library, that a fresh interpreter has loaded."""
    show = f"{code}\nprint('loaded:', *sys.modules)"
    command = [sys.executable, "-c", f"import sys\n{show}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def command(*args: str) -> str:
    return f"from vitcost.cli import run\nassert run({list(args)!r}) == 0"


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("report", MODEL),
        ("report", MODEL, "--format", "markdown"),
        ("report", MODEL, "--mode", "train", "--precision", "amp-bf16"),
        ("report", "--help"),
        ("explain", "--help"),
        ("check", "--help"),
        ("summary", MODEL),
        ("models", "huge"),
        ("fit", MODEL, "--mode", "train"),
        ("compare", MODEL, "vit_base_patch16_224", "--why"),
        ("compare", MODEL, "--vary", "depth=12,24"),
        ("plan", MODEL, "--samples", "1M", "-g", "h100-sxm"),
        ("serve", MODEL, "--rate", "1000/s", "-g", "h100-sxm", "-b", "8"),
    ],
    ids=" ".join,
)
def test_no_command_loads_a_heavy_package(args: tuple[str, ...]) -> None:
    assert loaded(command(*args)) & HEAVY == set()


@pytest.mark.parametrize(
    "name", ["swin_tiny_patch4_window7_224", "microsoft/swin-tiny-patch4-window7-224"]
)
def test_a_digest_answers_without_the_tracer(name: str) -> None:
    known = modules(command("report", name))
    assert "vitcost.zoo.digests" in known
    assert "vitcost.zoo.tracing" not in known


@pytest.mark.parametrize(
    "args",
    [
        ("report", MODEL, "--json"),
        ("report", MODEL, "--format", "csv"),
        ("models", "huge", "--json"),
        ("fit", MODEL, "--json"),
        ("compare", MODEL, "--vary", "depth=12,24", "--json"),
        ("plan", MODEL, "--samples", "1M", "-g", "h100-sxm", "--json"),
        ("serve", MODEL, "--rate", "1000/s", "-g", "h100-sxm", "-b", "8", "--json"),
        ("summary", MODEL),
    ],
    ids=" ".join,
)
def test_what_is_not_drawn_loads_no_rich(args: tuple[str, ...]) -> None:
    assert "rich" not in loaded(command(*args))


# what a report on a plain ViT, in inference and on no card, has no use for
NOT_OF_A_PLAIN_REPORT = {
    "engine.sharded", "engine.stepping", "engine.launches", "engine.regions", "engine.runs",
    "engine.trainable", "engine.split", "engine.rotary", "engine.mha", "engine.text_blocks",
    "costs.bounded", "config.idle", "config.offers", "config.text_config", "outside.reading",
    "outside.writing", "units",
}  # fmt: skip
_LIBRARY = {"json", "json.decoder", "locale", "pathlib", "urllib", "ipaddress", "heapq"}


def test_a_plain_report_loads_what_it_uses() -> None:
    names = modules(command("report", MODEL, "--json"))
    assert names & {f"vitcost.{name}" for name in NOT_OF_A_PLAIN_REPORT} == set()
    assert {name.split(".")[1] for name in names if name.startswith("vitcost.")} & {
        "check", "formulas", "hardware", "pages", "planner", "schemas", "traced", "web",
    } == set()  # fmt: skip
    assert names & _LIBRARY == set()


def test_a_module_that_is_left_out_is_there_and_would_be_seen() -> None:
    every = "\n".join(f"import vitcost.{name}" for name in sorted(NOT_OF_A_PLAIN_REPORT))
    assert {f"vitcost.{name}" for name in NOT_OF_A_PLAIN_REPORT} <= modules(every)
    assert _LIBRARY & modules("import pathlib, json") >= {"json", "pathlib"}


def test_a_trace_file_loads_no_pathlib() -> None:
    trace = str(Path(__file__).parent / "data" / "traces" / "resmlp_12_224.json.gz")
    args = ("report", trace, "--precision", "amp-fp16", "--batch", "64")
    assert modules(command(*args)) & {"pathlib", "urllib", "locale"} == set()


def test_the_library_loads_neither_rich_nor_click() -> None:
    names = loaded(f"import vitcost\nvitcost.report({MODEL!r}).to_dict()")
    assert "vitcost" in names
    assert names & {*HEAVY, "rich", "click"} == set()


def test_a_drawn_report_loads_rich() -> None:
    assert "rich" in loaded(command("report", MODEL))


def test_a_heavy_import_would_be_seen() -> None:
    assert "sympy" in loaded("import sympy")
    assert "numpy" in loaded("import numpy\nimport vitcost")


def test_the_measuring_script_measures_every_case() -> None:
    script = Path(__file__).parent / "bench" / "cold_start.py"
    command = [sys.executable, str(script), "1"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(
        r"^report --json +\d+\.\d ms +\d+\.\d MiB +\d+\.\d\d x import click", out, re.M
    )
    assert re.search(r"^report +\d+\.\d ms .* x click \+ rich hello world", out, re.M)
