"""``vitcost gpus``."""

from collections.abc import Sequence

import click

from vitcost.cli.form import output_options
from vitcost.cli.options import Command, Option, gpu_query
from vitcost.cli.output import emit, names_alone, write
from vitcost.page import printable

__all__ = ["command"]

_EXAMPLES = """
vitcost gpus
vitcost gpus h100
vitcost gpus nvidia --json
vitcost gpus a100 -q
"""


@click.command(
    "gpus",
    cls=Command,
    judges=False,
    examples=_EXAMPLES,
    params=[
        gpu_query(),
        Option(["-q", "--quiet"], is_flag=True, help="names alone, one a line"),
        Option(
            ["--gpu-file"],
            type=click.Path(),
            metavar="FILE",
            multiple=True,
            help="your own cards  [default: pyproject.toml]",
        ),
        *output_options(),
    ],
)
def command(
    query: str,
    quiet: bool,
    gpu_file: Sequence[str],
    format: str | None,
    as_json: bool,
    output: str | None,
) -> int:
    """The known cards, their figures, and the source of each figure.

    QUERY is a part of a name or a vendor.
    """
    # a help text needs no cards
    from vitcost.hardware.catalogue import gpus

    cards = gpus(query, gpu_file=gpu_file)
    if quiet:
        names_alone(format, as_json, output)
        write("".join(f"{printable(row.name)}\n" for row in cards.found), output)
    else:
        emit(cards, format, as_json, output)
    return 0
