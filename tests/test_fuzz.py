"""A few hundred inputs of every kind in limited forks; ``tests/fuzz/run.py`` takes any number."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FUZZ = Path(__file__).parent / "fuzz"


def test_no_input_is_a_traceback_a_hang_or_a_command() -> None:
    """Command lines, mutated files of every kind, hostile names: exit codes 0, 1 and 2 alone, no
    traceback, 5 s (20 of all names of timm) and 1 GiB at most, no control character and no workflow
    command."""
    asked = [sys.executable, str(FUZZ / "run.py"), "--inputs", "600", "--seed", "11"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert "600 inputs" in ran.stdout
    assert "0 with something wrong" in ran.stdout


def test_a_complaint_is_an_exit_code() -> None:
    """A judge that is told of a traceback complains: the test above can fail."""
    plant = (
        "import sys; sys.path.insert(0, sys.argv[1]); import judge; "
        "judge.complaints = lambda *given: ['planted']; import run; "
        "run.complaints = judge.complaints; sys.argv[1:] = ['--inputs', '5']; run.main()"
    )
    asked = [sys.executable, "-c", plant, str(FUZZ)]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 1, ran.stderr[-2000:]
    assert "5 with something wrong" in ran.stdout


def zygote() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zygote", FUZZ / "zygote.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("code", "late"),
    [("import time; time.sleep(60)", True), ("for _ in range(10**7): pass", False)],
)
def test_a_process_that_waits_is_late_and_a_busy_one_is_not(
    code: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FUZZ)
    own = zygote()
    monkeypatch.setattr(own, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(own, "TICK_SECONDS", 0.1)
    process = subprocess.Popen([sys.executable, "-S", "-c", code])
    watch = os.pidfd_open(process.pid)
    try:
        assert own.waits(process.pid, watch) is late
    finally:
        os.close(watch)
        process.kill()
        process.wait()
