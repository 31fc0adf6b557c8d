"""Peaks of fully sharded steps of traced modules against torch's FSDPMemTracker, and against the
formulas of the same models.

    PYTHONPATH=.:tests:tests/start python tests/bench/sharded_traced_peaks.py [--only WORD]

Each line has the trace's peak, that of the other, and the case; exit 1 where two differ.
"""

import sys
from collections.abc import Iterator

from sharded_peaks import compared
from sharded_traced_support import Case, cases, of_formula, of_trace, predicted, tracked
from test_trace_formula import LOOK_BY_LOOK


def names() -> Iterator[Case]:
    ranks = (2, 8, 64)
    for i, name in enumerate(LOOK_BY_LOOK):
        for zero, precision in ((3, "fp32"), (2, "amp-bf16"), (3, "bf16")):
            flags = {"batch": 1 + 2 * (i % 2), "zero": zero, "ranks": ranks[i % 3]}
            yield Case(name, {}, {**flags, "precision": precision})


if __name__ == "__main__":
    said = __doc__ or ""
    differ = compared(said, cases(), tracked, predicted)
    differ |= compared(said, names(), lambda case: of_formula(case).total_bytes, of_trace)
    sys.exit(differ)
