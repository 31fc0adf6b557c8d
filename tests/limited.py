"""Code that may hang or eat memory, run in a process of its own that has limits of both."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
# what a run of one command may take
CPU_SECONDS = 5
MEMORY_BYTES = 2**30


class Ran(NamedTuple):
    """How a process ended: its code (below 0: a signal), its streams, its CPU time."""

    code: int
    out: str
    err: str
    cpu_seconds: float
    peak_bytes: int


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

    # one thread: the threads of a library for arrays ask for memory each
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    env = {**os.environ, **single, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
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
