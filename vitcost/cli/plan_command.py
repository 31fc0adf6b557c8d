"""``vitcost plan``."""

from dataclasses import fields
from typing import Any

import click

from vitcost.cli.form import output_options
from vitcost.cli.options import (
    Command,
    Option,
    field_options,
    given,
    gpu_options,
    model_options,
    one_model,
    precision_option,
    scenario_options,
)
from vitcost.cli.output import emit, tell
from vitcost.config.scenario import Scenario
from vitcost.planner.plan import DECIDED, plan

__all__ = ["command"]

_EXAMPLES = """
vitcost plan vit_base_patch16_224 --samples 1.28M --epochs 300 -g h100-sxm
vitcost plan vit_large_patch16_224 --samples 14M -g a100-sxm-80gb --price 2
vitcost plan vit_base_patch16_224 --samples 384M -g l40s -g l4 --deadline 9d
vitcost plan gpt3-xl --samples 146M -g h100-sxm --zero 3 --efficiency 0.4
"""
# flags that a plan decides, or has others for; it is on cards
_DECIDED = (*DECIDED, "checkpointing", "zero", "platform", "precision")
_RUN, _FIXED = "Run", "Decided by you, else searched"
_NUMBER: dict[str, Any] = {"type": click.INT, "metavar": "N"}
_SHARE: dict[str, Any] = {"type": click.FLOAT, "metavar": "X"}

# flag, section, help, how it is typed
_FLAGS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("--samples", _RUN, "images or sequences of an epoch: 1.28M", {"metavar": "N"}),
    ("--epochs", _RUN, "how often they are seen  [default: 1]", _NUMBER),
    ("--global-batch", _RUN, "samples of a step, on all cards  [default: 4096]", _NUMBER),
    ("--cards", _RUN, "cards in all  [default: one node]", _NUMBER),
    ("--node-size", _RUN, "cards of a node  [default: 8, or the card's own]", _NUMBER),
    ("--nodes", _RUN, "in place of --cards  [default: 1]", _NUMBER),
    ("--gpus", _RUN, "another name of --node-size", {**_NUMBER, "rare": True}),
    (
        "--network",
        _RUN,
        "what a card has to other nodes, one direction: '50 GB/s'",
        {"metavar": "RATE"},
    ),
    (
        "--price",
        _RUN,
        "of a card and hour: 2.5, CARD=2.5/h, FILE.toml; again for each",
        {"metavar": "CARD=X/h|FILE", "multiple": True},
    ),
    ("--kwh-price", _RUN, "of a kilowatt hour", {**_SHARE, "rare": True}),
    (
        "--pue",
        _RUN,
        "power usage effectiveness of the site: 1.2  [default: 1]",
        {**_SHARE, "rare": True},
    ),
    ("--co2", _RUN, "kilograms a kilowatt hour", {**_SHARE, "rare": True}),
    (
        "--deadline",
        _RUN,
        "in place of --cards: finds the fewest that keep it: 3d, 36h",
        {"metavar": "TIME"},
    ),
    ("--efficiency", _RUN, "FLOP/s of a card over its peak; no time is predicted then", _SHARE),
    (
        "--overlap",
        _RUN,
        "of exchange and passes; the share that can be hidden  [default: 1]",
        _SHARE,
    ),
    (
        "--reserve",
        _RUN,
        "kept free beside tensors; 0: nothing  [default: auto]",
        {"metavar": "auto|BYTES|X%"},
    ),
    ("--zero", _FIXED, "what data-parallel ranks divide: 0 to 3", _NUMBER),
    ("--tensor-parallel", _FIXED, "cards that share each layer", _NUMBER),
    ("--pipeline-parallel", _FIXED, "stages that share the depth  [default: 1]", _NUMBER),
    ("--checkpointing", _FIXED, "none, selective, block, every:K", {"metavar": "NAME"}),
    ("--micro-batch", _FIXED, "samples that a card runs at once", _NUMBER),
)


@click.command(
    "plan",
    cls=Command,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *output_options(),
        *gpu_options(),
        *(Option([f], section=s, help=h, passed=True, **kind) for f, s, h, kind in _FLAGS),
        Option(
            ["--sequence-parallel/--no-sequence-parallel"],
            default=None,
            section=_FIXED,
            passed=True,
            help="tensor parallel ranks share the tokens too; those between layers",
        ),
        Option(
            ["--all"],
            is_flag=True,
            passed=True,
            help="every way to divide a step, and what all of it rests on",
        ),
        precision_option(),
        *scenario_options([f.name for f in fields(Scenario) if f.name not in _DECIDED]),
    ],
)
@click.pass_context
def command(ctx: click.Context, /, **_: object) -> int:
    """Time, cost and memory of a training run.

    Nothing fits, or nothing keeps the deadline: exit 1.
    """
    name, flags = one_model(ctx), given(ctx)
    for flag in ("samples", "gpu"):
        if flag not in flags:
            raise click.UsageError(f"no --{flag} given")
    if "gpus" in flags:
        tell("note: --gpus is called --node-size; --cards is how many there are in all")
    planned = plan(name, **flags)
    emit(planned)
    return 0 if planned.ok else 1
