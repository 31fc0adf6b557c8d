"""Formula = trace for the names of timm that have a formula.

    PYTHONPATH=.:tests python tests/bench/trace_formula.py [--all] [--looks] [NAME ...]

Without ``--all`` every name is held in fp32 on a card at batch 3; with it in fp32, amp-bf16 and
bf16, on cuda and cpu rules, at batches 1 and 3.
"""

import sys
import time

import torch
from traced_formula import differences, timm_model, unmatched

from vitcost.zoo import timm

torch.set_num_threads(1)

CASES = [
    (p, where, b) for p in ("fp32", "amp-bf16", "bf16") for where in ("cuda", "cpu") for b in (1, 3)
]


def main(arguments: list[str]) -> int:
    cases = CASES if "--all" in arguments else [("fp32", "cuda", 3)]
    names = [a for a in arguments if not a.startswith("-")] or sorted(timm.names())
    wrong = 0
    for name in names:
        started = time.process_time()
        try:
            model = timm_model(timm.RENAMED.get(name, name))
            for case in cases:
                found = differences(name, model, *case)
                wrong += bool(found)
                for line in found:
                    print(name, *case, line, flush=True)
                apart = unmatched(name, model, *case) if "--looks" in arguments else []
                if apart:
                    print(name, *case, "looks apart:", ", ".join(apart[:5]), flush=True)
        except Exception as error:
            wrong += 1
            print(name, type(error).__name__, str(error)[:300], flush=True)
        print(name, f"{time.process_time() - started:.1f} s", flush=True)
    print(wrong, "differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
