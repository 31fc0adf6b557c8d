"""Traces of the models in a file of timings, one file each; those that are there are kept.

    PYTHONPATH=.:tests/start python tests/bench/trace_timm.py TIMINGS.csv FOLDER [infer|train]

A file is named by model, image size and mode, and holds one scenario: autocast in fp16 under a
card's rules, with every size a line through batches 2 and 3; its forward in eval, and in mode
``train`` a step with the forward that it had in mode ``infer``, if that is there. Models come in
turns of timm's modules, so that an early stop leaves a spread of families.
"""

import csv
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import timm
import torch
from torch import nn

from vitcost.errors import VitcostError
from vitcost.traced import file as traces
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.fake_run import run
from vitcost.traced.inputs import inputs_of
from vitcost.traced.merge import merged
from vitcost.traced.trace import How, Trace
from vitcost.traced.trace_writer import write

torch.set_num_threads(1)

HOW = How(precision="amp-fp16")
BATCHES = (2, 3)


def main(arguments: list[str]) -> int:
    timings, folder, *modes = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    wrong = 0
    for mode in modes or ("infer", "train"):
        for name, size in _asked(timings, mode):
            path = Path(folder) / f"{name}@{size}.{mode}.json.gz"
            if path.exists():
                continue
            started = time.process_time()
            try:
                before = Path(folder) / f"{name}@{size}.infer.json.gz"
                known = traces.read(before).traces[0][1] if before.exists() else None
                write(str(path), traced(name, size, mode, known))
                said = f"{time.process_time() - started:.1f} s"
            except (VitcostError, RuntimeError, TypeError, AssertionError) as error:
                wrong += 1
                said = f"{type(error).__name__}: {error}"[:300]
            print(mode, name, size, said, flush=True)
    return 1 if wrong else 0


def traced(name: str, size: int, mode: str, known: Trace | None = None) -> traces.TraceFile:
    """A model of timm at an image size as a file of one scenario, whose forward may be known."""
    model = _built(name, size)
    inputs = inputs_of(model, [f"3x{size}x{size}"])

    def passed(loss: Loss | None):
        runs = [run(model, inputs, batch, HOW, loss, name) for batch in BATCHES]
        return runs[0], merged(runs, BATCHES)

    if known is None:
        first, inference = passed(None)
        known = Trace(
            first.weights, first.buffers, inference, None, "a step was not traced",
            (f"timm {timm.__version__}",), BATCHES, torch.__version__.partition("+")[0],
        )  # fmt: skip
    if mode == "train":
        known = known._replace(step=passed(Loss())[1], missing="")
    return traces.TraceFile(name, "timm", "", ((HOW, known),))


def _built(name: str, size: int) -> nn.Module:
    """The model on the meta device, built for an image size where its constructor takes one."""
    with torch.device("meta"):
        model = timm.create_model(name)
        if model.pretrained_cfg["input_size"][-1] != size:
            with suppress(TypeError):
                model = timm.create_model(name, img_size=size)
    return model


def _asked(timings: str, mode: str) -> Iterator[tuple[str, int]]:
    """Models and image sizes, a module of timm at a time."""
    modules: dict[str, dict[tuple[str, int], None]] = {}
    with Path(timings).open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["mode"] == mode:
                modules.setdefault(row["module"], {})[row["model"], int(row["img_size"])] = None
    for turn in zip_longest(*modules.values()):
        yield from (each for each in turn if each is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
