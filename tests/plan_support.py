"""One run that most tests of a plan ask for, and its sizes."""

from typing import Any

import vitcost
from vitcost.planner.choose import PlanRow
from vitcost.planner.plan import Plan

BASE = "vit_base_patch16_224"
PHI = 86_567_656
# ViT-B/16 at 224: 196 patches of 768 numbers, 12 blocks of 24 s h² + 4 s² h, 1000 classes
S, H = 197, 768
PATCHES = 2 * 196 * 768 * H
FORWARD = PATCHES + 12 * (24 * S * H * H + 4 * S * S * H) + 2 * H * 1000
# the image needs no gradient
TRAIN = 3 * FORWARD - PATCHES
ASKED: dict[str, Any] = {"samples": "1.28M", "epochs": 300, "gpu": "h100-sxm"}


def planned(**asked: Any) -> Plan:
    # by hand fp32 is the simplest; a plan's own default is another
    own = {} if "recipe" in asked else {"precision": "fp32"}
    return vitcost.plan(BASE, **{**ASKED, **own, **asked})


def only(**asked: Any) -> PlanRow:
    """The one way that is left where the user decides everything."""
    decided = {"zero": 0, "tensor_parallel": 1, "checkpointing": "none"}
    (row,) = planned(**{**decided, **asked}).found
    return row
