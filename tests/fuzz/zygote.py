"""Command lines run by the hundred: a process that has loaded all, and forks for each of them.

A line of stdin is a case in JSON: ``{"args": [...], "cwd": "..."}``; a line of stdout says how it
ended. A fork is a process of its own, with limits of CPU time and memory, that runs what the
command runs; only the loading is shared, which is no part of what a case may take.
"""

import atexit
import json
import os
import resource
import select
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from judge import most_seconds

MEMORY_BYTES = 2**30
# a fork that has asked for no CPU time so long waits for something that does not come
IDLE_SECONDS, TICK_SECONDS = 20.0, 0.5


def preload(names: list[str]) -> None:
    """Whatever a case may import, so that none pays for it."""
    from vitcost.cli import COMMANDS

    for name in [*(f"vitcost.cli.{name}_command" for name in COMMANDS), *names]:
        warm = getattr(import_module(name), "warm", None)
        if warm is not None:
            warm()


def virtual_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def child(case: dict[str, Any], out: int, err: int, inside: int) -> None:
    """The command, in a fork; never returns."""
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(case["cwd"])
        most = most_seconds(case["args"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        resource.setrlimit(resource.RLIMIT_AS, (inside, inside))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**28, 2**28))
        # as the interpreter of a shell's command has them
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
        )
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        sys.argv = ["vitcost", *case["args"]]
        if "code" in case:
            exec(compile(case["code"], "case", "exec"), {"__name__": "__main__"})
            code = 0
        else:
            from vitcost.__main__ import main

            main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        # what Python itself does
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None and not stream.closed:
                    stream.flush()
        except (OSError, ValueError):
            code = 120
        os._exit(code & 0xFF)


def waits(pid: int, file: int) -> bool:
    """Waits until something can be read from a file, or until a process does nothing any more.

    Seconds on the wall do not tell: on a machine that others use, a process that could run is not
    let run for as long. One that waits sleeps, and its CPU time stands still.
    """
    idle, used = 0.0, -1
    while not select.select([file], [], [], TICK_SECONDS)[0]:
        # behind the name, which may have blanks: the state first, user and system time 12th, 13th
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        sleeps, ticks = stat[0] == "S", int(stat[11]) + int(stat[12])
        idle = idle + TICK_SECONDS if sleeps and ticks == used else 0.0
        used = ticks
        if idle >= IDLE_SECONDS:
            return True
    return False


def run(case: dict[str, Any], inside: int) -> dict[str, Any]:
    """A case in a fork: its exit code (below 0: a signal), its streams, what it took."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            child(case, out.fileno(), err.fileno(), inside)
        watch = os.pidfd_open(pid)
        late = waits(pid, watch)
        os.close(watch)
        if late:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "late": late,
            "out": _read(out),
            "err": _read(err),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_bytes": 1024 * usage.ru_maxrss,
        }


class Late(BaseException):
    """A case of a batch that takes longer than a case may."""


def _late(*_: object) -> None:
    raise Late


def one_of_many(case: dict[str, Any], files: tuple[Any, Any]) -> dict[str, Any]:
    """A case in a process that goes on: what its commands have cached serves the next one."""
    from vitcost.cli import run as run_command

    for file in files:
        file.seek(0)
        file.truncate()
    os.chdir(case["cwd"])
    before = resource.getrusage(resource.RUSAGE_SELF)
    code = 1
    try:
        signal.setitimer(signal.ITIMER_PROF, most_seconds(case["args"]) + 1)
        code = run_command(case["args"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.flush()
        sys.stderr.flush()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "code": code,
        "late": False,
        "out": _read(files[0]),
        "err": _read(files[1]),
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": 1024 * after.ru_maxrss,
    }


def _read(file: Any) -> str:
    file.seek(0)
    text: str = file.read(2**24).decode("utf-8", "backslashreplace")
    return text


def run_batch(cases: list[dict[str, Any]], inside: int) -> list[dict[str, Any]]:
    """Cases one after the other in one fork; where it ends early, the rest by themselves."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                signal.signal(signal.SIGPROF, _late)
                resource.setrlimit(resource.RLIMIT_AS, (inside, inside))
                resource.setrlimit(resource.RLIMIT_FSIZE, (2**28, 2**28))
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                with os.fdopen(writer, "w") as told:
                    for case in cases:
                        told.write(json.dumps(one_of_many(case, (out, err))) + "\n")
                        told.flush()
            finally:
                os._exit(0)
        os.close(writer)
        told_of = b""
        while True:
            if waits(pid, reader):
                os.kill(pid, signal.SIGKILL)
            if not (some := os.read(reader, 2**16)):
                break
            told_of += some
        os.close(reader)
        os.wait4(pid, 0)
        results += [json.loads(line) for line in told_of.split(b"\n")[:-1]]
    return results + [run(case, inside) for case in cases[len(results) :]]


def main() -> None:
    preload(sys.argv[1:])
    inside = virtual_bytes() + MEMORY_BYTES
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        found = run_batch(case, inside) if isinstance(case, list) else run(case, inside)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
