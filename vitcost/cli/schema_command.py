"""``vitcost schema``."""

import click

from vitcost.cli.command import answers
from vitcost.cli.flag_values import Words
from vitcost.cli.form import output_options
from vitcost.cli.output import write
from vitcost.schemas import SCHEMAS, schema

__all__ = ["command"]

_HELP = f"""The JSON schema of a command's --json.

RESULT is one of {", ".join(SCHEMAS)}.
"""
_EXAMPLES = """
vitcost schema report
vitcost schema budget
vitcost schema report -o report.schema.json
"""


@answers(
    "schema",
    suffixes={".json": "json"},
    help=_HELP,
    examples=_EXAMPLES,
    params=[
        click.Argument(["result"], type=Words(SCHEMAS)),
        *(option for option in output_options() if option.name == "output"),
    ],
)
def command(result: str, output: str | None) -> None:
    import json

    write(json.dumps(schema(result), indent=2) + "\n", output)
