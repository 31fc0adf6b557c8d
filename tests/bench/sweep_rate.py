"""How many configurations a sweep computes in a second, and what memory it takes.

    python tests/bench/sweep_rate.py [POINTS]

Each row is a process of its own: CPU seconds (user + system) of the computation on one core, the
peak memory of the process, then a thousand rows drawn from the same grid against single reports.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any, NamedTuple

MODEL = "vit_base_patch16_224"
STATES = ("params", "flops", "weights", "gradients", "optimizer_states", "saved_activations")
PEAK = ("train_memory",)
TIME = ("step_time", "images_per_second")
CARD = {"gpu": "h100-sxm", "mode": "train"}
# the last field changes first; every combination of these can be
FIELDS: dict[str, Any] = {
    "img_size": [160, 224, 256, 384, 512],
    "patch_size": [16, 32],
    "num_classes": [10, 1000, 21843],
    "embed_dim": "192:1920:+192",
    "num_heads": [3, 6, 12],
    "depth": "6:45:+1",
}


class Case(NamedTuple):
    """What is computed, of how many combinations, drawn or all of them."""

    name: str
    quantities: tuple[str, ...]
    points: int
    drawn: bool = False
    timed: bool = False


def cases(points: int) -> tuple[Case, ...]:
    return (
        Case("params, FLOPs, states, saved", STATES, points // 10),
        Case("params, FLOPs, states, saved", STATES, points),
        Case("params, FLOPs, states, saved, drawn", STATES, points // 10, True),
        Case("and the peak of a step", (*STATES, *PEAK), points // 10),
        Case("and the peak of a step", (*STATES, *PEAK), points),
        Case("a training step on a card", TIME, points // 10, timed=True),
    )


def grid(points: int) -> dict[str, Any]:
    """A grid of about so many points: the batch makes it as large as that."""
    fixed = 5 * 2 * 3 * 10 * 3 * 40
    return {**FIELDS, "batch": range(1, max(points // fixed, 1) + 1)}


def measure(case: Case) -> None:
    """In a process of its own: prints what it took."""
    import resource

    import vitcost

    drawn = case.points if case.drawn else None
    flags = CARD if case.timed else {}
    found = vitcost.sweep(
        MODEL, vary=grid(case.points), quantities=case.quantities, sample=drawn, **flags
    )
    start = time.process_time()
    rows = sum(chunk.rows for chunk in found.chunks())
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes, but bytes on macOS
    peak *= 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak": peak}))


def equal_to_reports(points: int, rows: int) -> int:
    """So many rows, drawn from the grid, of which every quantity is that of a report, times to the
    last bit."""
    import vitcost
    from vitcost.costs.quantities import QUANTITIES

    names = (*STATES, *PEAK, *TIME)
    found = vitcost.sweep(MODEL, vary=grid(points), quantities=names, sample=rows, seed=1, **CARD)
    equal = 0
    for row in found.rows():
        fields = {axis.name: row[axis.name] for axis in found.grid.axes}
        data = vitcost.report(MODEL, **fields, **CARD)
        report = data.to_dict()
        equal += all(QUANTITIES[n].read(report) == row[QUANTITIES[n].key(n)] for n in names)
    return equal


def thousand() -> float:
    """CPU seconds of a comparison of a thousand timed training steps."""
    import vitcost

    vitcost.compare(MODEL, **CARD)
    start = time.process_time()
    vitcost.compare(MODEL, vary={"batch": "1:1000:+1"}, **CARD)
    return time.process_time() - start


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    print(f"{'':38}{'rows':>12} {'CPU':>9} {'a second':>12} {'peak':>10}")
    for i, case in enumerate(cases(points)):
        command = [sys.executable, __file__, str(points), str(i)]
        # one core: no library may start threads of its own
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        seen = json.loads(done.stdout)
        rate = seen["rows"] / seen["seconds"]
        print(
            f"{case.name:38}{seen['rows']:12,} {seen['seconds']:7.2f} s {rate:12,.0f} "
            f"{seen['peak'] / 2**20:6.1f} MiB",
            flush=True,
        )
    print(f"{'a thousand rows of compare, timed':38}{1000:12,} {thousand():7.2f} s", flush=True)
    rows = 1000
    print(f"{equal_to_reports(points, rows):,} of {rows:,} drawn rows equal single reports")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(cases(int(sys.argv[1]))[int(sys.argv[2])])
    else:
        main()
