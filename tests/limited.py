"""Code that may hang or eat memory, run in a process of its own that has limits of both."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
# what a run of one command may take
CPU_SECONDS = 5
MEMORY_BYTES = 2**30


# the threads of a library for arrays ask for memory each
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Ran(NamedTuple):
    """How a process ended: its code (below 0: a signal), its streams, its CPU time."""

    code: int
    out: str
    err: str
    cpu_seconds: float
    peak_bytes: int
    late: bool = False  # it was still running when nobody waited any longer


def limited(
    *args: str,
    cwd: Path | None = None,
    cpu_seconds: int = CPU_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    wall_seconds: float = 60,
    stdin: str = "",
) -> Ran:
    """Runs Python with some arguments, no longer and no larger than told.

    The limit is on the memory that the process asks for (RLIMIT_AS), of which torch alone takes
    much more than it uses: code that imports torch is given more.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    env = {**os.environ, **_SINGLE, "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=wall_seconds,
        preexec_fn=limit,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(done.returncode, done.stdout, done.stderr, cpu, 1024 * after.ru_maxrss)


class Forks:
    """Command lines in forks of a process that has loaded all: ``tests/fuzz/zygote.py``."""

    def __init__(self, *preloaded: str) -> None:
        self._preloaded = preloaded

    def __enter__(self) -> "Forks":
        script = ROOT / "tests" / "fuzz" / "zygote.py"
        env = {**os.environ, **_SINGLE, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, *self._preloaded],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=env,
        )
        self._said()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *args: str, cwd: Path, code: str | None = None) -> Ran:
        """Runs ``vitcost`` with some arguments, or code in its place."""
        case = {"args": args, "cwd": str(cwd), **({} if code is None else {"code": code})}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return Ran(**self._said())

    def run_all(self, cases: Sequence[Sequence[str]], cwd: Path) -> list[Ran]:
        """Runs command lines one after the other in one fork: what they load and cache, others
        have the use of."""
        assert self._process.stdin is not None
        whole = [{"args": list(args), "cwd": str(cwd)} for args in cases]
        self._process.stdin.write(json.dumps(whole) + "\n")
        self._process.stdin.flush()
        return [Ran(**said) for said in self._said()]

    def _said(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())
