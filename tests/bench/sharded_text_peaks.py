"""Peaks of fully sharded steps of models that read text, and of open_clip's towers, against torch's
FSDPMemTracker.

    PYTHONPATH=.:tests:tests/start python tests/bench/sharded_text_peaks.py [--only WORD]

Each line has the formulas' peak, torch's, and the case; exit 1 where two differ.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from test_sharded_text import MODELS, peaks
from told import Numbers, told

torch.set_num_threads(1)

OPEN_CLIP = ("open_clip's text", "open_clip's vision")
PRECISIONS: tuple[dict[str, Any], ...] = (
    {"precision": "fp32"},
    {"precision": "amp-bf16"},
    {"precision": "bf16"},
    {"precision": "bf16", "policy": "reduce-fp32"},
    {"precision": "bf16", "policy": "reduce-half"},
)


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every model in every precision; stages, ranks, batches and the rest in turn."""
    number = 0
    for name in (*(n for n in MODELS if n not in ("CLIP", "SigLIP")), *OPEN_CLIP):
        for precision in PRECISIONS:
            for attention in ("sdpa",) if name.startswith("open") else ("eager", "sdpa"):
                number += 1
                flags = {
                    **precision, "zero": 2 + number % 2, "ranks": (2, 3, 5, 64)[number % 4],
                    "batch": (1, 3, 40)[number % 3],
                    "platform": "cpu" if number % 7 == 0 else "cuda",
                }  # fmt: skip
                if number % 5 == 0 and "dropout" not in name:
                    flags["checkpointing"] = "block"
                yield name, attention, flags


def main() -> int:
    def numbers(*case: Any) -> Numbers:
        return [peaks(*case, Path(tempfile.mkdtemp()))]

    return told((", ".join(map(str, case)), partial(numbers, *case)) for case in cases())


if __name__ == "__main__":
    sys.exit(main())
