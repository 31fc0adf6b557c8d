"""The quality gates: format, lint and types, as the test command runs them everywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "gate",
    [("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",)],
    ids=lambda gate: " ".join(gate),
)
def test_gate(gate: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *gate], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_gate_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nx:int='a'\n", encoding="utf-8")
    for gate in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy", "--strict")):
        done = subprocess.run([sys.executable, "-m", *gate, str(bad)], capture_output=True)
        assert done.returncode == 1, gate
