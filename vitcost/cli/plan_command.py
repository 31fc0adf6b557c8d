"""``vitcost plan``."""

from typing import Any

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import NUMBER, SWITCH
from vitcost.cli.form import output_options
from vitcost.cli.options import (
    PRICE,
    RESERVE,
    field_options,
    gpu_options,
    model_options,
    one_model,
    precision_option,
    scenario_options,
)
from vitcost.cli.output import emit, tell
from vitcost.planner.plan import DECIDED, plan

__all__ = ["command"]

_EXAMPLES = """
vitcost plan vit_base_patch16_224 --samples 1.28M --epochs 300 -g h100-sxm
vitcost plan vit_large_patch16_224 --samples 14M -g a100-sxm-80gb --price 2
vitcost plan vit_base_patch16_224 --samples 384M -g l40s -g l4 --deadline 9d
vitcost plan gpt3-xl --samples 146M -g h100-sxm --zero 3 --efficiency 0.4
"""
# flags that a plan decides, or replaces by others; a plan is always for cards
_DECIDED = (*DECIDED, "checkpointing", "zero", "platform", "precision")
_SHARE: dict[str, Any] = {"type": click.FLOAT, "metavar": "X"}

# flags for the data, the cards and the prices of the run
_RUN: tuple[Flag, ...] = (
    ("--samples", "images or sequences of an epoch: 1.28M", {"metavar": "N"}),
    ("--epochs", "passes over the samples  [default: 1]", NUMBER),
    ("--global-batch", "samples of a step, on all cards  [default: 4096]", NUMBER),
    ("--cards", "cards in all  [default: one node]", NUMBER),
    ("--node-size", "cards of a node  [default: 8, or the card's own]", NUMBER),
    ("--nodes", "in place of --cards  [default: 1]", NUMBER),
    ("--gpus", "another name of --node-size", {**NUMBER, "rare": True}),
    ("--network", "bandwidth to other nodes, one direction: '50 GB/s'", {"metavar": "RATE"}),
    PRICE,
    ("--kwh-price", "of a kilowatt hour", {**_SHARE, "rare": True}),
    (
        "--pue",
        "power usage effectiveness of the site: 1.2  [default: 1]",
        {**_SHARE, "rare": True},
    ),
    ("--co2", "kilograms a kilowatt hour", {**_SHARE, "rare": True}),
    (
        "--deadline",
        "in place of --cards: finds the fewest that keep it: 3d, 36h",
        {"metavar": "TIME"},
    ),
    ("--efficiency", "FLOP/s of a card over its peak; no time is predicted then", _SHARE),
    ("--overlap", "share of a pass that hides exchange  [default: 1]", _SHARE),
    RESERVE,
)
# flags that fix how the step is divided
_FIXED: tuple[Flag, ...] = (
    ("--zero", "ZeRO stage of data-parallel ranks: 0 to 3", NUMBER),
    ("--tensor-parallel", "cards that share each layer", NUMBER),
    ("--pipeline-parallel", "stages that share the depth  [default: 1]", NUMBER),
    ("--checkpointing", "none, selective, block, every:K", {"metavar": "NAME"}),
    ("--micro-batch", "samples that a card runs at once", NUMBER),
    (
        "--sequence-parallel/--no-sequence-parallel",
        "tensor parallel ranks share the tokens too; those between layers",
        {"default": None},
    ),
)
_ALL: Flag = "--all", "every way to divide a step, and the assumptions", SWITCH


@answers(
    "plan",
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *output_options(),
        *gpu_options(),
        *options(_RUN, section="Run", passed=True),
        *options(_FIXED, section="Decided by you, else searched", passed=True),
        *options([_ALL], passed=True),
        precision_option(),
        *scenario_options(without=_DECIDED),
    ],
)
def command(**_: object) -> int:
    """Time, cost and memory of a training run.

    Nothing fits, or nothing keeps the deadline: exit 1.
    """
    name, flags = one_model(), given()
    for flag in ("samples", "gpu"):
        if flag not in flags:
            raise click.UsageError(f"no --{flag} given")
    if "gpus" in flags:
        tell("note: --gpus is called --node-size; --cards is how many there are in all")
    planned = emit(plan(name, **flags))
    return 0 if planned.ok else 1
