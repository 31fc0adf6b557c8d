"""Many inputs, each a command line: ``python tests/fuzz/run.py --inputs 100000 --seed 1``.

Inputs are run one after the other in forks of one process, so many in a fork, and each that has
something wrong once more in a fork of its own, which is what a command is. The figures at the end:
inputs by kind, exit codes, the longest and the largest run, and every complaint.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from inputs import KINDS, Case, cases, lay_out
from judge import complaints
from limited import Forks, Ran

__all__ = ["Figures", "run"]

PRELOADED = (
    "warm_torch",
    "numpy",
    "sympy",
    "vitcost.hardware.measurement_files",
    "vitcost.planner.sweep",
    "matplotlib.figure",
)


class Figures:
    """The figures of a run of inputs."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.wrong: list[tuple[Case, list[str], Ran]] = []
        self.longest: list[tuple[float, tuple[str, ...]]] = []
        self.largest = 0

    def add(self, case: Case, ran: Ran, base_bytes: int) -> None:
        self.kinds[case.kind] += 1
        self.codes[ran.code] += 1
        self.largest = max(self.largest, ran.peak_bytes - base_bytes)
        self.longest = sorted([*self.longest, (ran.cpu_seconds, case.args)], reverse=True)[:8]
        found = list(complaints(case.args, ran, base_bytes))
        if found:
            self.wrong.append((case, found, ran))

    def lines(self) -> Iterator[str]:
        yield f"{self.kinds.total():,} inputs"
        for kind, count in self.kinds.most_common():
            yield f"  {count:9,}  {kind}"
        codes = ", ".join(f"{code}: {count:,}" for code, count in sorted(self.codes.items()))
        yield f"exit codes {codes}"
        for seconds, args in self.longest:
            yield f"  {seconds:6.2f} s of CPU  {' '.join(args)[:120]!a}"
        yield f"largest: {self.largest / 2**20:.0f} MiB beyond what was loaded"
        yield f"{len(self.wrong)} with something wrong"
        for case, found, _ in self.wrong:
            yield f"  {'; '.join(found)}: {json.dumps(case.args)[:300]}"


def run(
    forks: Forks, folder: Path, given: Sequence[Case], figures: Figures, base_bytes: int
) -> None:
    """Runs some inputs in one fork; one with something wrong counts as it is in its own."""
    for case in given:
        for name, content in case.files:
            (folder / name).write_bytes(content)
    together = [case for case in given if not case.alone]
    ran = dict(zip(together, forks.run_all([case.args for case in together], folder), strict=True))
    for case in given:
        each = ran.get(case) or forks.run(*case.args, cwd=folder)
        if not case.alone and list(complaints(case.args, each, base_bytes)):
            each = forks.run(*case.args, cwd=folder)
        figures.add(case, each, base_bytes)
        if not figures.wrong or figures.wrong[-1][0] is not case:
            for name, _ in case.files:
                (folder / name).unlink()


def base_of(forks: Forks, folder: Path) -> int:
    """Bytes that a fork has before it does anything."""
    return forks.run(cwd=folder, code="pass").peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--in-a-fork", type=int, default=25, help="inputs in one fork")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--keep", type=Path, help="folder for inputs with something wrong")
    asked: Any = parser.parse_args()
    figures, started = Figures(), time.monotonic()
    with tempfile.TemporaryDirectory() as name, Forks(*PRELOADED) as forks:
        folder = Path(name)
        lay_out(folder, lambda *args: forks.run(*args, cwd=folder))
        base_bytes = base_of(forks, folder)
        given = cases(asked.seed, asked.inputs, asked.kinds.split(","))
        while some := list(islice(given, asked.in_a_fork)):
            before = len(figures.wrong)
            run(forks, folder, some, figures, base_bytes)
            for case, found, _ in figures.wrong[before:]:
                print("; ".join(found), json.dumps(case.args)[:300], flush=True)
                if asked.keep is not None:
                    asked.keep.mkdir(exist_ok=True)
                    for file, content in case.files:
                        (asked.keep / file).write_bytes(content)
            if figures.kinds.total() % 1000 < len(some):
                print(
                    f"{figures.kinds.total():,} after {time.monotonic() - started:,.0f} s",
                    flush=True,
                )
    print("\n".join(figures.lines()))
    sys.exit(bool(figures.wrong))


if __name__ == "__main__":
    main()
