"""Draws invariants over models and scenarios, as many as are asked for, and prints what held.

    PYTHONPATH=.:tests:tests/start python tests/bench/draw_invariants.py --draws 100000 --seed 1

One invariant of ``tests/invariants.py`` a draw. Draws come in rounds of a thousand, each from its
own seed: that of the run plus the round's number, which a failure names. ``--minutes`` ends it at
the end of a round; the last line has the draws that were done. Exit 1 where a draw does not hold.
"""

import argparse
import sys
import time
import traceback
from collections import Counter

import invariants
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

ROUND = 1000


def round_of(number: int, draws: int) -> Counter[str]:
    """The draws of one seed, by invariant."""
    drawn: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=draws,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        drawn[invariants.draw(data)] += 1

    one()
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9)
    asked = parser.parse_args()
    start, found, failed = time.monotonic(), Counter[str](), 0
    number = asked.seed
    while (left := asked.draws - found.total()) > 0:
        try:
            found += round_of(number, min(ROUND, left))
        except Exception:
            traceback.print_exc()
            print(f"seed {number}: a draw does not hold", file=sys.stderr)
            failed += 1
        number += 1
        if time.monotonic() - start > 60 * asked.minutes:
            break
    for name in invariants.INVARIANTS:
        print(f"{name:>14}  {found[name]:>7,}")
    print(
        f"seed {asked.seed}, {number - asked.seed:,} rounds, {found.total():,} draws in "
        f"{time.process_time():,.0f} s of processor time: {failed or 'none'} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
