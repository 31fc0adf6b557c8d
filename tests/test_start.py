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
