"""Peaks of steps under losses other than a classifier's, against torch's MemTracker.

    PYTHONPATH=.:tests:tests/start python tests/bench/loss_peaks.py [--only WORD]

Each line has the formulas' peak, torch's, and the case; exit 1 where two differ.
"""

import sys
from collections.abc import Iterator

from losses_support import tracked
from sharded_peaks import compared
from sharded_support import Case

SMALL = {"depth": 3, "img_size": 64}
HEADLESS = {**SMALL, "num_classes": 0}
MODELS = (
    # the pooled vector, every token, the mean of tokens
    ("vit_tiny_patch16_224", HEADLESS),
    ("vit_tiny_patch16_224", {**HEADLESS, "global_pool": ""}),
    ("vit_tiny_patch16_224", {**HEADLESS, "global_pool": "avg"}),
    ("vit_tiny_patch16_224", {**HEADLESS, "global_pool": "avg", "class_token": False}),
    ("vit_small_patch14_reg4_dinov2", {**HEADLESS, "img_size": 56}),
    ("deit_tiny_distilled_patch16_224", HEADLESS),
    # scores of every token
    ("vit_tiny_patch16_224", {**SMALL, "num_classes": 21, "global_pool": ""}),
    (
        "vit_tiny_patch16_224",
        {**SMALL, "num_classes": 150, "global_pool": "", "class_token": False},
    ),
    # the largest of tokens that lie as a convolution left them; layers that read these
    ("vit_tiny_patch16_224", {**SMALL, "global_pool": "max", "class_token": False}),
    ("vit_tiny_patch16_224", {**HEADLESS, "global_pool": "max", "class_token": False}),
    ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avgmax", "class_token": False}),
    ("vit_base_patch16_rpn_224", {**SMALL, "depth": 2}),
    # convolutions of maps that lie pixel by pixel
    ("vitamin_small_224", SMALL),
    ("vitamin_small_224", HEADLESS),
)
RUNS = (
    {"precision": "fp32"},
    {"precision": "amp-bf16"},
    {"precision": "bf16"},
    {"precision": "fp32", "platform": "cpu"},
    {"precision": "amp-bf16", "platform": "cpu", "attention": "eager"},
    {"precision": "amp-bf16", "checkpointing": "block"},
    {"precision": "amp-fp16", "attention": "eager"},
)


def cases() -> Iterator[Case]:
    """Every model in every run, batches in turn."""
    for i, (name, fields) in enumerate(MODELS):
        for j, run in enumerate(RUNS):
            batch = (1, 2, 16)[(i + j) % 3]
            yield Case(name, fields, {"batch": batch, "optimizer": "sgd", **run})


if __name__ == "__main__":
    sys.exit(compared(__doc__ or "", cases(), tracked))
