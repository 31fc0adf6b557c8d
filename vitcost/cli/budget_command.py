"""``vitcost budget``."""

import click

from vitcost.cli.form import exit_zero_option, output_options
from vitcost.cli.options import Command, Option
from vitcost.cli.output import asked_format, emit, said_in, tell
from vitcost.planner.budget import budget

__all__ = ["command"]

_EXAMPLES = """
vitcost budget
vitcost budget --why
vitcost budget --update
vitcost budget --config budgets.toml --format github
vitcost budget --format github --also markdown:budget.md
"""


@click.command(
    "budget",
    cls=Command,
    examples=_EXAMPLES,
    params=[
        Option(
            ["--config"],
            default="pyproject.toml",
            type=click.Path(),
            metavar="FILE",
            help="where [[tool.vitcost.budget]] stands  [default: pyproject.toml]",
        ),
        Option(
            ["--baseline"],
            type=click.Path(),
            metavar="FILE",
            help="[default: vitcost-baseline.json beside it]",
        ),
        Option(["--update"], is_flag=True, help="write the baseline: accept what grew"),
        Option(["--why"], is_flag=True, help="the layers that grew, as they were and are"),
        *output_options(),
        exit_zero_option(),
    ],
)
def command(
    config: str,
    baseline: str | None,
    update: bool,
    why: bool,
    exit_zero: bool,
    **_: object,
) -> int:
    """Limits on what models cost, for CI.

    A limit that is exceeded, or growth beyond the tolerance of the committed baseline, is exit 1. A
    check that has no answer is exit 2; the others are answered beside it.
    """
    if why:
        said_in(
            "--why",
            asked_format(),
            ("table", "json", "markdown", "html", "latex", "github", "junit", "sarif"),
        )
    result = budget(config, baseline=baseline, update=update, why=why)
    emit(result)
    for reason in result.unanswered:
        tell(f"Error: {reason}")
    return 2 if result.unanswered else 0 if result.ok or exit_zero else 1
