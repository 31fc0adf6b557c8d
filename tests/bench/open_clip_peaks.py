"""Peaks of steps of open_clip's pairs and text towers, against torch's MemTracker and a trace.

    PYTHONPATH=.:tests:tests/start python tests/bench/open_clip_peaks.py [--only WORD]
        [--names | --ranks]

Each line has the formulas' peak and torch's, the formulas' and a trace's, and the case; the last
one how many there were, and exit 1 says that two differ. Small models of every kind under both
losses, at a batch too whose pairs need the most, and each tower alone without a head; ``--names``:
models of open_clip's own files, three blocks of each tower; ``--ranks``: features of several
ranks, without a trace. On one core three minutes.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from counting_support import model_json
from open_clip_support import MODELS, Case, config_of, predicted, traced, tracked

from vitcost.config.scenario import CHOICES, Scenario

torch.set_num_threads(1)

NAMES = (
    "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14-CLIPA", "ViT-B-16-SigLIP", "ViT-B-16-SigLIP2",
    "EVA02-B-16", "MobileCLIP2-L-14",
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Every small model, tower and precision; batch, checkpointing, kernel and platform in turn."""
    number = 0
    for name, data in MODELS.items():
        for tower in ("both", "both", "text", "vision"):
            for precision in ("fp32", "amp-bf16", "bf16", "amp-fp16"):
                number += 1
                more: dict[str, Any] = {}
                if number % 3 == 0:
                    more["checkpointing"] = "block"
                if number % 6 == 5:
                    more["attention"] = "math"
                elif number % 7 == 0 and precision != "amp-fp16":
                    more["platform"] = "cpu"
                # five batches and four precisions meet each other in turn
                batch = (1, 2, 400, 8, 1)[number % 5]
                yield Case(name, data, tower, how(precision, batch, more))


def named() -> Iterator[Case]:
    """Models of open_clip's files."""
    number = 0
    for name in NAMES:
        data = model_json(name)
        for tower in ("vision_cfg", "text_cfg"):
            if "layers" in data[tower]:
                data[tower] = {**data[tower], "layers": 3}
        for precision in ("fp32", "amp-bf16", "bf16"):
            number += 1
            more = {"checkpointing": "block"} if number % 2 else {}
            yield Case(name, data, "both", how(precision, (1, 2, 8)[number % 3], more))


def over_ranks() -> Iterator[Case]:
    """Every way to gather features, in every precision; ranks, batches and platforms in turn."""
    number = 0
    for name, gathers in (
        ("CLIP", CHOICES["gather"]), ("24 tokens", ("all",)), ("CLIPA", ("local-grad",)),
        ("SigLIP", ("all", "all")),
    ):  # fmt: skip
        for gather in gathers:
            for precision in ("fp32", "amp-bf16", "bf16", "amp-fp16"):
                for ranks in (2, 3, 64):
                    number += 1
                    more: dict[str, Any] = {"ranks": ranks, "gather": gather}
                    if number % 5 == 0:
                        more["checkpointing"] = "block"
                    if number % 7 == 0 and precision != "amp-fp16":
                        more["platform"] = "cpu"
                    batch = (1, 2, 200 if ranks < 64 else 8)[number % 3 - number // 12 % 3]
                    yield Case(name, MODELS[name], "both", how(precision, batch, more))


def how(precision: str, batch: int, more: dict[str, Any]) -> Scenario:
    return Scenario(mode="train", precision=precision, batch=batch, optimizer="sgd", **more)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="cases whose line has this word")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--ranks", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    done = wrong = 0
    for case in over_ranks() if asked.ranks else named() if asked.names else cases():
        given = case.how
        line = (
            f"{case.name}, {case.tower}, {given.precision}, batch {given.batch}, "
            f"{given.checkpointing}, {given.attention}, {given.platform}, "
            f"{given.gather} of {given.ranks}"
        )
        if asked.only not in line:
            continue
        done += 1
        config = config_of(case, Path(tempfile.mkdtemp()))
        own = predicted(case, config), tracked(case, config)
        # a trace has open_clip's own checkpointing by its modules' classes, and one rank
        both = (0, 0) if given.ranks > 1 else traced(case, config)
        same = own[0] == own[1] and both[0] == both[1]
        wrong += not same
        print("same" if same else "OTHER", *own, *both, line, flush=True)
    print(f"{done} cases, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
