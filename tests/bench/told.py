"""Scripts of peaks print these lines: one for each case, and the number of cases that differ."""

import argparse
import warnings
from collections.abc import Callable, Iterable, Sequence

__all__ = ["Numbers", "told"]

# pairs of a formula's number and of its witness's
Numbers = Sequence[tuple[int, int]]


def told(cases: Iterable[tuple[str, Callable[[], Numbers]]]) -> int:
    """Prints whether the numbers of each case are the same, the numbers and the case; ``--only``
    takes the cases whose line has a word. Returns 1 where two numbers differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="cases whose line has this word")
    only = parser.parse_args().only
    warnings.simplefilter("ignore")
    done = wrong = 0
    for line, numbers_of in cases:
        if only in line:
            numbers = numbers_of()
            same = all(own == other for own, other in numbers)
            done, wrong = done + 1, wrong + (not same)
            both = (number for pair in numbers for number in pair)
            print("same" if same else "OTHER", *both, line, flush=True)
    print(f"{done} cases, {wrong} differ")
    return 1 if wrong else 0
