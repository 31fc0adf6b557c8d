"""A few hundred inputs of every kind in limited forks; ``tests/fuzz/run.py`` takes any number."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent / "fuzz"


def test_no_input_is_a_traceback_a_hang_or_a_command() -> None:
    """Command lines, mutated files of every kind, hostile names: exit codes 0, 1 and 2 alone, no
    traceback, 5 s and 1 GiB at most, no control character and no workflow command."""
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
