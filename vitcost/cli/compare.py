"""``vitcost compare``."""

from collections.abc import Sequence

import click

from vitcost.cli.options import (
    Command,
    Option,
    Words,
    field_options,
    given,
    gpu_options,
    model_options,
    models_given,
    output_options,
    scenario_options,
)
from vitcost.cli.output import emit
from vitcost.planner.compare import COMPARED, compare
from vitcost.quantities import QUANTITIES

__all__ = ["command"]

_EXAMPLES = """
vitcost compare vit_base_patch16_224 vit_base_patch32_224 --why
vitcost compare vit_base_patch16_224 vit_large_patch16_224 --batch 64
vitcost compare saved.json vit_large_patch16_224
"""


@click.command(
    "compare",
    cls=Command,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(many=True),
        Option(["--why"], is_flag=True, help="the layers that make the difference to the first"),
        Option(
            ["--quantities"],
            type=Words(QUANTITIES),
            metavar="NAME,…",
            help=f"what is compared: {', '.join(QUANTITIES)}  [default: {', '.join(COMPARED)}]",
        ),
        *output_options(),
        *scenario_options(),
        *gpu_options(),
    ],
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Sequence[str],
    model_option: Sequence[str],
    why: bool,
    quantities: str | None,
    format: str | None,
    as_json: bool,
    output: str | None,
    **_: object,
) -> int:
    """Models side by side.

    A MODEL is a name, a file, or a saved `report --json`. Every quantity also stands relative to
    the least of all: 1.00 is the best.
    """
    names = COMPARED if quantities is None else quantities.split(",")
    models = models_given(model, model_option)
    found = compare(*models, why=why, quantities=names, **given(ctx))
    emit(found, format, as_json, output)
    return 0
