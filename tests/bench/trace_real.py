"""Every module of ``traced_modules`` traced and run on real CPU tensors: FLOPs, saved bytes, peak.

PYTHONPATH=.:tests python tests/bench/trace_real.py [NAME ...]
"""

import resource
import sys
import time
import traceback

import torch
from traced_modules import CASES
from traced_support import real, traced

from vitcost.traced.chosen_loss import Loss
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How
from vitcost.traced.traces import trace

torch.set_num_threads(1)


def main(names: list[str]) -> int:
    wrong = 0
    for name, case in CASES.items():
        if names and name not in names:
            continue
        for label, dtype in (("fp32", None), ("amp-bf16", torch.bfloat16)):
            try:
                started = time.process_time()
                try:
                    with torch.device("meta"):
                        model, how = case.make(), "meta"
                except Exception:
                    model, how = case.make(), "cpu"
                loss = None if case.loss is None else Loss(case.loss, case.loss.__name__)
                inputs = inputs_of(model, case.inputs)
                own = How(precision=label, platform="cpu")
                found = traced(trace(model, inputs, (2,), own, loss, name=name), 2)
                seconds = time.process_time() - started
                torch.manual_seed(0)
                given = None if case.loss is None else lambda out, _, f=case.loss: f(out)
                actual = real(case.make(), case.inputs, 2, dtype, given)
                off = [a - b for a, b in zip(found, actual, strict=True)]
                wrong += any(off)
                print(f"{name} {label} {how} {seconds:.1f} s", "==" if not any(off) else off,
                      "" if not any(off) else actual, flush=True)  # fmt: skip
            except Exception as error:
                wrong += 1
                print(f"{name} {label}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                if "-v" in sys.argv:
                    traceback.print_exc()
    print(wrong, "differ;", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main([a for a in sys.argv[1:] if a != "-v"]))
