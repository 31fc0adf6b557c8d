"""Peaks of fully sharded steps against torch's FSDPMemTracker, all that are listed or some of them.

    PYTHONPATH=.:tests:tests/start python tests/bench/sharded_peaks.py [--only WORD]

Each line has the formulas' peak, torch's, and the case; exit 1 where two differ.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sharded_support import Case, predicted, tracked

from vitcost.costs.memory_types import StepPeak

SMALL = {"depth": 4, "img_size": 96}
MODELS = (
    ("vit_tiny_patch16_224", SMALL),
    ("vit_small_patch16_224", {"depth": 3, "img_size": 64, "num_classes": 10}),
    ("deit_tiny_distilled_patch16_224", SMALL),
    ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "class_token": False}),
    ("vit_tiny_patch16_224", {**SMALL, "init_values": 1e-5, "reg_tokens": 4, "qkv_bias": False}),
    ("vit_tiny_patch16_224", {**SMALL, "global_pool": "max", "class_token": False}),
    ("vitamin_small_224", {**SMALL, "depth": 2}),
    ("vit_small_patch16_dinov3", {"depth": 3, "img_size": 64}),
    ("vit_small_patch16_rope_224", {"depth": 3, "img_size": 64}),
    ("vit_small_patch16_rope_mixed_224", {"depth": 3, "img_size": 64}),
    ("vit_base_r50_s16_224", {**SMALL, "depth": 2}),
)
# the optimizer's step needs the most
NARROW = {"depth": 12, "img_size": 32, "embed_dim": 96}
PRECISIONS = (
    {"precision": "fp32"},
    {"precision": "amp-bf16"},
    {"precision": "bf16"},
    {"precision": "bf16", "policy": "reduce-fp32"},
    {"precision": "bf16", "policy": "reduce-half"},
)
PARTS = (
    {},
    {"checkpointing": "block"},
    {"freeze": "backbone"},
    {"freeze": "first:2"},
    {"freeze": "all-but-last:1", "checkpointing": "block"},
    {"accumulate": 2},
    {"lora": 4},
    {"checkpointing": "selective", "attention": "eager"},
    {"checkpointing": "every:2"},
    {"checkpointing": "first:2"},
    {"checkpointing": "every:3", "freeze": "first:1"},
)


def cases() -> Iterator[Case]:
    """Every model, precision, part, stage and number of ranks, in changing company."""
    for flags in (
        {"optimizer": "adamw", "zero": 3, "ranks": 2, "batch": 1},
        {"optimizer": "adamw-loop", "zero": 3, "ranks": 5, "batch": 1},
        {"optimizer": "adamw-fused", "zero": 2, "ranks": 16, "batch": 2},
        {"optimizer": "sgd-momentum", "zero": 3, "ranks": 7, "batch": 1, "precision": "amp-bf16"},
        {"optimizer": "adamw", "zero": 3, "ranks": 3, "batch": 1, "precision": "bf16",
         "policy": "reduce-fp32"},
        {"zero": 3, "ranks": 4, "batch": 64, "checkpointing": "every:5"},
        {"zero": 3, "ranks": 4, "batch": 1, "checkpointing": "every:3", "optimizer": "sgd"},
        {"zero": 2, "ranks": 4, "batch": 64, "checkpointing": "every:4", "precision": "amp-bf16"},
    ):  # fmt: skip
        yield Case("vit_tiny_patch16_224", NARROW, flags)
    ranks, batches = (2, 3, 8, 64), (1, 2, 16)
    number = 0
    for i, (name, fields) in enumerate(MODELS):
        for j, precision in enumerate(PRECISIONS):
            for k, part in enumerate(PARTS):
                # a few of each pair
                if (i + j + k) % 4:
                    continue
                # its attention is taken apart in the reference, which has a class token alone
                if "selective" in part.values() and i:
                    continue
                # the reference gives each block its own rotation
                if str(part.get("checkpointing")).startswith("every") and "mixed" in name:
                    continue
                number += 1
                yield Case(
                    name,
                    fields,
                    {
                        "batch": batches[number % 3],
                        "ranks": ranks[number % 4],
                        "zero": 2 + number % 2,
                        "platform": "cpu" if number % 7 == 0 else "cuda",
                        "optimizer": "adamw-foreach",
                        **precision,
                        **part,
                    },
                )


def compared(
    said: str,
    cases: Iterable[Any],
    tracked: Callable[[Any], int],
    predicted: Callable[[Any], StepPeak] = predicted,
) -> int:
    """Prints each case, and returns 1 where one differs."""
    parser = argparse.ArgumentParser(description=said.partition("\n")[0])
    parser.add_argument("--only", default="", help="cases whose line has this word")
    parser.add_argument("--most", type=int, default=1000, help="at most so many")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    start, done, wrong = time.monotonic(), 0, 0
    for case in cases:
        line = f"{case.name} {case.fields} {case.flags}"
        if asked.only not in line or done == asked.most:
            continue
        done += 1
        try:
            own, torchs = predicted(case), tracked(case)
        except Exception as error:  # one that stops is told, and the rest is compared
            wrong += 1
            print(f"{type(error).__name__}: {str(error)[:300]}  {line}", flush=True)
            continue
        same = own.total_bytes == torchs
        wrong += not same
        word = "same" if same else f"{own.total_bytes - torchs:+,}"
        print(f"{word:>12}  {own.total_bytes:>13,} {torchs:>13,}  {own.at:<40} {line}", flush=True)
    print(f"{done} cases, {wrong} differ, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(compared(__doc__ or "", cases(), tracked))
