"""``vitcost diff``."""

from typing import Any

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import FILE, Listed, ModelName, Words
from vitcost.cli.form import output_options
from vitcost.cli.options import field_options, gpu_options, scenario_options
from vitcost.cli.output import emit, tell
from vitcost.costs.quantities import QUANTITIES
from vitcost.planner.diff import SHOWN, diff

__all__ = ["command"]

_EXAMPLES = """
vitcost diff origin/main --format markdown
vitcost diff main... classifier:build --batch 32
vitcost diff base.json
vitcost diff vitcost-baseline.json --also markdown:comment.md
"""


_FLAGS: tuple[Flag, ...] = (
    (
        "--config",
        "the budgets whose models are compared if no MODEL is given  [default: pyproject.toml]",
        {**FILE, "default": "pyproject.toml"},
    ),
    (
        "--quantities",
        f"quantities to show, in this order  [default: {', '.join(SHOWN)}]",
        {"type": Listed(QUANTITIES), "metavar": "NAME,…"},
    ),
)


@answers(
    "diff",
    judges=False,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        click.Argument(["base"], type=Words()),
        click.Argument(["model"], nargs=-1, type=ModelName()),
        *options(_FLAGS),
        *output_options(),
        *scenario_options(),
        *gpu_options(),
    ],
)
def command(base: str, quantities: str | None, **flags: Any) -> int:
    """Changes of cost, as a comment for a pull request.

    BASE is a saved `report --json`, a baseline of `budget --update`, or a git ref, whose code is
    imported from a worktree (`main...`: where this branch left main). Without a MODEL the models of
    the budgets are compared, and of a saved report its own. A difference is no failure: exit 0.
    """
    asked = given()
    if quantities is not None:
        asked["quantities"] = quantities.split(",")
    result = emit(diff(base, *flags["model"], config=flags["config"], **asked))
    for reason in result.unanswered:
        tell(f"Error: {reason}")
    return 2 if result.unanswered else 0
