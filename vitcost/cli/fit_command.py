"""``vitcost fit``."""

import click

from vitcost.cli.form import output_options
from vitcost.cli.options import (
    Command,
    Option,
    Words,
    field_options,
    given,
    gpu_options,
    model_options,
    one_model,
    scenario_options,
)
from vitcost.cli.output import emit
from vitcost.planner.fit import LARGEST, fit

__all__ = ["command"]

_EXAMPLES = """
vitcost fit vit_huge_patch14_224
vitcost fit vit_huge_patch14_224 --mode train -g h100-sxm -g l4
vitcost fit vit_large_patch16_224 --mode train -g a10 --require 64
vitcost fit vit_base_patch16_224 -g t4 --largest img_size -b 32
"""


@click.command(
    "fit",
    cls=Command,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *gpu_options(["--gpu", "--gpu-file"], "Options"),
        Option(
            ["--require"],
            type=click.INT,
            passed=True,
            metavar="N",
            help="a batch that must fit: exit 1 where a named card holds less, or no card at all",
        ),
        Option(
            ["--reserve"],
            passed=True,
            metavar="auto|BYTES|X%",
            help="kept free beside tensors; 0: nothing  [default: auto]",
        ),
        Option(
            ["--largest"],
            type=Words(LARGEST),
            multiple=True,
            passed=True,
            metavar="|".join(LARGEST),
            help="also the largest image or depth with the batch, repeatable",
        ),
        *output_options(),
        *scenario_options(),
    ],
)
@click.pass_context
def command(ctx: click.Context, /, **_: object) -> int:
    """The largest batch that fits, and which cards hold it.

    Nothing fits, or less than what is required: exit 1.
    """
    fitted = fit(one_model(ctx), **given(ctx))
    emit(fitted)
    return 0 if fitted.ok else 1
