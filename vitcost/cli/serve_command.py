"""``vitcost serve``."""

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import NUMBER
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
from vitcost.cli.output import emit
from vitcost.planner.serve import DECIDED, serve

__all__ = ["command"]

_EXAMPLES = """
vitcost serve vit_base_patch16_224 --rate 5000/s --slo 50ms -g l4 -g h100-sxm
vitcost serve vit_base_patch16_224 --rate 20M/d --price l4=0.8 --price t4=0.4
vitcost serve vit_base_patch16_224 --rate 500/s --slo 50ms --price prices.toml
vitcost serve vit_huge_patch14_224 --rate 200/s --slo 0.1s -g l4 --compile
"""
_LOAD: tuple[Flag, ...] = (
    ("--rate", "images that arrive: 5000/s, 300/min, 20M/d", {"metavar": "N/s"}),
    ("--slo", "how soon an image has its answer: 20ms", {"metavar": "TIME"}),
    (
        "--percentile",
        "percent of the images that have it by then  [default: 99]",
        {"metavar": "X"},
    ),
    (
        "--utilization",
        "share of the time that a card is busy at most  [default: 70%]",
        {"metavar": "X%"},
    ),
    PRICE,
    ("-b --batch", "images of a batch  [default: 1, 2, 3, 4, 6, 8, … 1024 are tried]", NUMBER),
    RESERVE,
)


@answers(
    "serve",
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *options(_LOAD, section="Load", passed=True),
        *gpu_options(section="Cards"),
        *output_options(),
        precision_option(),
        *scenario_options(without=DECIDED),
    ],
)
def command(**_: object) -> int:
    """How many cards answer a rate of images, and at what cost.

    The batch of each card keeps --slo at the high end of its time's band. The cheapest card is
    first. No card does: exit 1.
    """
    name, flags = one_model(), given()
    if "rate" not in flags:
        raise click.UsageError("no --rate given, such as --rate 5000/s")
    served = emit(serve(name, **flags))
    return 0 if served.ok else 1
