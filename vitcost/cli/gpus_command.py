"""``vitcost gpus``."""

from typing import Any

import click

from vitcost.cli.command import answers, options
from vitcost.cli.flag_values import Gpu
from vitcost.cli.form import output_options
from vitcost.cli.options import GPU_FILE, QUIET
from vitcost.cli.output import emit, write_names
from vitcost.page import printable

__all__ = ["command"]

_EXAMPLES = """
vitcost gpus
vitcost gpus h100
vitcost gpus nvidia --json
vitcost gpus a100 -q
"""


@answers(
    "gpus",
    judges=False,
    examples=_EXAMPLES,
    params=[
        click.Argument(["query"], required=False, default="", type=Gpu()),
        *options((QUIET, GPU_FILE)),
        *output_options(),
    ],
)
def command(query: str, quiet: bool, output: str | None, **flags: Any) -> None:
    """The known cards, their figures, and the source of each figure.

    QUERY is a part of a name or a vendor.
    """
    # imported only here: the help text needs no cards
    from vitcost.hardware.catalogue import gpus

    cards = gpus(query, gpu_file=flags["gpu_file"])
    if quiet:
        write_names((printable(row.name) for row in cards.found), output)
    else:
        emit(cards)
