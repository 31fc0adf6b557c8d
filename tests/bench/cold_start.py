"""How long a command takes from a cold start, against what Python's own libraries take.

    python tests/bench/cold_start.py [RUNS]    # in the root of the repository

CPU seconds (user + system) and peak memory of a whole process, the median of several runs, and the
ratio to the base that the row is measured against.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

HELLO = """
import click
from rich.console import Console
from rich.table import Table
table = Table()
table.add_column("hello")
table.add_row("world")
Console().print(table)
"""
MODEL = "vit_huge_patch14_224"
# a name without a formula
DIGEST = "convnext_base"
# a trace in a file
TRACE = ("tests/data/traces/resmlp_12_224.json.gz", "--precision", "amp-fp16", "--batch", "64")


class Case(NamedTuple):
    """A process, and the base and factor that it must stay within."""

    name: str
    args: tuple[str, ...]
    base: str = ""
    limit: float = 0.0


class Cost(NamedTuple):
    """Medians over all runs."""

    cpu_seconds: float
    peak_bytes: int


CASES = (
    Case("python", ("-c", "pass")),
    Case("import click", ("-c", "import click")),
    Case("click + rich hello world", ("-c", HELLO)),
    Case("report", ("-m", "vitcost", "report", MODEL), "click + rich hello world", 1.2),
    Case("report, a digest", ("-m", "vitcost", "report", DIGEST), "click + rich hello world", 2.0),
    Case(
        "report, a trace file", ("-m", "vitcost", "report", *TRACE), "click + rich hello world", 1.5
    ),
    Case("report --json", ("-m", "vitcost", "report", MODEL, "--json"), "import click", 1.6),
    Case("summary", ("-m", "vitcost", "summary", MODEL), "click + rich hello world", 1.5),
    Case("models", ("-m", "vitcost", "models", "vit_"), "click + rich hello world", 3.0),
    Case("--help", ("-m", "vitcost", "--help"), "import click", 1.5),
)


def measure(runs: int) -> dict[str, Cost]:
    """Every case by turns, so that a busy moment of the machine meets all of them."""
    seen: dict[str, list[tuple[float, int]]] = {case.name: [] for case in CASES}
    with tempfile.TemporaryDirectory() as bytecode:
        # an installed package has its bytecode, a checkout may not: the first round writes it
        env = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(runs + 1):
            for case in CASES:
                seen[case.name].append(_once(case.args, env))
    return {
        name: Cost(
            statistics.median(cpu for cpu, _ in found[1:]),
            int(statistics.median(peak for _, peak in found[1:])),
        )
        for name, found in seen.items()
    }


def _once(args: tuple[str, ...], env: dict[str, str]) -> tuple[float, int]:
    """CPU seconds and peak bytes of one process, from a parent of its own that counts it alone."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL, check=True);"
        "r = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(r.ru_utime + r.ru_stime, r.ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *args]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    cpu, peak = out.split()
    # kilobytes, but bytes on macOS
    return float(cpu), int(peak) * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    costs = measure(runs)
    print(f"{'':26} {'CPU':>9} {'peak':>9}   ratio")
    for case in CASES:
        cost = costs[case.name]
        line = (
            f"{case.name:26} {1000 * cost.cpu_seconds:6.1f} ms {cost.peak_bytes / 2**20:5.1f} MiB"
        )
        if case.base:
            ratio = cost.cpu_seconds / costs[case.base].cpu_seconds
            line += f"   {ratio:.2f} x {case.base} (limit {case.limit})"
        print(line)


if __name__ == "__main__":
    main()
