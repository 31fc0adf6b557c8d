"""Measures traces: seconds of CPU for one name of every module of timm, and a file's answer.

PYTHONPATH=.:tests:tests/start python tests/bench/trace_cost.py [MODULES]
"""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from subprocess import run

import timm
import torch

from vitcost.traced.inputs import inputs_of
from vitcost.traced.traces import trace

torch.set_num_threads(1)

HELLO = """
import click
from rich.console import Console
@click.command()
def hello():
    Console().print("hello")
hello()
"""


def smallest() -> dict[str, str]:
    """Of every module of timm the name that reads as the smallest: the first of the shortest."""
    found: dict[str, str] = {}
    words = ("atto", "femto", "pico", "nano", "xxs", "xx_small", "tiny", "small", "_s", "18", "b0")
    for module in sorted(timm.list_modules()):
        names = timm.list_models(module=module)
        if names:
            found[module] = min(names, key=lambda n: (not any(w in n for w in words), len(n), n))
    return found


def user_seconds(command: list[str], times: int = 5) -> float:
    """The least seconds of CPU in user mode of a process."""
    least = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run(command, check=True, capture_output=True)
        least.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    return min(least)


def main(modules: list[str]) -> None:
    spent = []
    for module, name in smallest().items():
        if modules and module not in modules:
            continue
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
            started = time.process_time()
            trace(model, inputs_of(model), (2,), name=name)
            spent.append(time.process_time() - started)
            print(f"{module} {name} {spent[-1]:.2f} s", flush=True)
        except Exception as error:
            print(f"{module} {name}: {type(error).__name__}: {str(error)[:150]}", flush=True)
    spent.sort()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(spent)} traced; median {statistics.median(spent):.2f} s, "
          f"nine in ten {spent[int(0.9 * len(spent))]:.2f} s, most {spent[-1]:.2f} s; "
          f"resident {resident:.2f} GiB")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "x.json.gz")
        run([sys.executable, "-m", "vitcost", "trace", "resnet18", "-o", file], check=True,
            capture_output=True)  # fmt: skip
        answer = user_seconds([sys.executable, "-m", "vitcost", "report", file, "-b", "8"])
        hello = user_seconds([sys.executable, "-c", HELLO])
        size = Path(file).stat().st_size
        print(f"a file of {size:,} bytes answers in {answer:.3f} s, click and rich in {hello:.3f}: "
              f"{answer / hello:.2f} times")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
