"""``vitcost models``."""

from collections.abc import Sequence

import click

from vitcost.cli.command import answers, options
from vitcost.cli.form import output_options
from vitcost.cli.options import QUIET
from vitcost.cli.output import emit, write_names
from vitcost.costs.models import matching, models

__all__ = ["command"]

_EXAMPLES = """
vitcost models
vitcost models huge
vitcost models 'vit_*_384' --json
vitcost models deit -q
"""


@answers(
    "models",
    judges=False,
    examples=_EXAMPLES,
    params=[
        click.Argument(["query"], required=False, nargs=-1),
        *options((QUIET,)),
        *output_options(),
    ],
)
def command(query: Sequence[str], quiet: bool, output: str | None, **_: object) -> None:
    """The known models, with their sizes.

    QUERY is a part of a name, or a pattern; of several every one is in the name.
    """
    words = " ".join(query)
    if quiet:
        write_names(matching(words), output)
    else:
        emit(models(words))
