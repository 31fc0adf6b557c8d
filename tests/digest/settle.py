"""Trace files of an older recorder, brought to what real tensors write over.

    PYTHONPATH=.:tests/start python tests/digest/settle.py FOLDER [NAME ...]

A linear layer of rows that lie apart adds its bias to a product, and a backward fills zeros, in
place of real tensors; an older recorder had a second tensor beside the first at that look. A file
says which storages every call reads and writes, so that the first dies before the look.
"""

import sys
from pathlib import Path

from vitcost.traced.file import read
from vitcost.traced.trace import DIES, LOOK, Pass, coded
from vitcost.traced.trace_writer import write

_FILLS = {"scatter", "scatter_add", "index_put", "index_add", "index_copy"}


def settled(run: Pass) -> Pass:
    """The pass with the deaths of what is written over before the look of that call."""
    gaps: list[list[int]] = [[]]
    for event in run.events:
        if event == LOOK:
            gaps.append([])
        else:
            gaps[-1].append(event)
    for n in range(1, len(run.calls)):
        before, now = (run.operators[run.calls[i][0]] for i in (n - 1, n))
        touched = run.touched[n]
        if not touched or touched[0] < 0 or touched[0] != run.touched[n - 1][-1]:
            continue
        adds = now.name == "add" and now.phase != "backward" and before.name in ("mm", "bmm")
        adds = adds and len(now.reads) > 1 and len(now.reads[1].shape) == 1
        fills = now.phase == "backward" and now.name in _FILLS
        death = coded(DIES, touched[0])
        if (adds or (fills and before.name in ("new_zeros", "zeros"))) and death in gaps[n + 1]:
            gaps[n + 1].remove(death)
            gaps[n] = sorted([*gaps[n], death])
    events = [event for gap in gaps[:-1] for event in (*gap, LOOK)]
    return run._replace(events=(*events, *gaps[-1]))


def main(folder: str, *names: str) -> int:
    for path in sorted(Path(folder).glob("*.json.gz")):
        if names and path.name.removesuffix(".json.gz") not in names:
            continue
        held = read(path)
        traces = tuple(
            (how, t._replace(inference=settled(t.inference), step=t.step and settled(t.step)))
            for how, t in held.traces
        )
        if traces != held.traces:
            write(str(path), held._replace(traces=traces))
            print(path.name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
