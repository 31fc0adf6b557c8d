"""``vitcost budget``."""

from typing import Any

from vitcost.cli.command import Flag, answers, options
from vitcost.cli.flag_values import FILE, SWITCH
from vitcost.cli.form import exit_zero_option, output_options
from vitcost.cli.output import JUDGED, asked_format, emit, need_format, tell
from vitcost.planner.budget import budget

__all__ = ["command"]

_EXAMPLES = """
vitcost budget
vitcost budget --why
vitcost budget --update
vitcost budget --config budgets.toml --format github
vitcost budget --format github --also markdown:budget.md
"""


_FLAGS: tuple[Flag, ...] = (
    (
        "--config",
        "the file with [[tool.vitcost.budget]]  [default: pyproject.toml]",
        {**FILE, "default": "pyproject.toml"},
    ),
    ("--baseline", "[default: vitcost-baseline.json beside it]", FILE),
    ("--update", "write the baseline: accept what grew", SWITCH),
    ("--why", "the layers that grew, before and now", SWITCH),
)


@answers(
    "budget",
    examples=_EXAMPLES,
    params=[*options(_FLAGS), *output_options(), exit_zero_option()],
)
def command(why: bool, exit_zero: bool, **flags: Any) -> int:
    """Limits on what models cost, for CI.

    A limit that is exceeded, or growth beyond the tolerance of the committed baseline, is exit 1. A
    check that has no answer is exit 2; the others are answered beside it.
    """
    if why:
        need_format("--why", asked_format(), JUDGED)
    result = budget(flags["config"], baseline=flags["baseline"], update=flags["update"], why=why)
    emit(result)
    for reason in result.unanswered:
        tell(f"Error: {reason}")
    return 2 if result.unanswered else 0 if result.ok or exit_zero else 1
