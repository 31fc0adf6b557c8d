"""Formula = trace for the names of timm that have a formula.

    PYTHONPATH=.:tests python tests/bench/trace_formula.py [--whole | --kinds] [-o FILE] [NAME ...]

Every name in fp32, amp-bf16 and bf16, on the rules of a card and of a CPU, at batches 1 and 3. Of
models that are a list of equal blocks three are built: the first, one that stands for all between,
the last; ``--whole`` has all of them, in fp32 on a card at batch 3. ``--kinds``: of the names that
have the same layers, and differ in sizes alone, the one with the fewest parameters. ``-o FILE``: a
line a name, and the names that it has are passed by.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from traced_formula import CASES, both, differences

from vitcost import report
from vitcost.engine.model import structure_of
from vitcost.zoo import resolve, timm

torch.set_num_threads(1)


def smallest() -> list[str]:
    """Of each structure the name with the fewest parameters."""
    found: dict[Any, tuple[int, str]] = {}
    for name in sorted(timm.names()):
        config = resolve(name).config
        # batch 1 and others are cases of their own
        key = structure_of(config, 3, True)
        own = report(config).params, name
        found[key] = min(found.get(key, own), own)
    return [name for _, name in sorted(found.values())]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    done = given.output.read_text().splitlines() if given.output and given.output.exists() else []
    cases, depth = (CASES[1:2], None) if given.whole else (CASES, 3)
    wrong = 0
    for name in given.names or (smallest() if given.kinds else sorted(timm.names())):
        if any(line.startswith(f"{name}: ") for line in done):
            continue
        started, found = time.process_time(), []
        try:
            formula, model = both(name, depth)
            for case in cases:
                found += [f"{case}: {line}" for line in differences(formula, model, *case)]
        except Exception as error:
            found.append(f"{type(error).__name__}: {str(error)[:300]}")
        wrong += bool(found)
        seconds = time.process_time() - started
        line = f"{name}: {'; '.join(found) or '=='} ({seconds:.1f} s)"
        print(line, flush=True)
        if given.output:
            with given.output.open("a") as file:
                file.write(f"{line}\n")
    print(wrong, "differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
