"""The flags for the form of an answer: its format, its files, and how much of it is shown."""

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from vitcost.cli.command import Flag, Option, options
from vitcost.cli.flag_values import FILE, SWITCH, Words
from vitcost.cli.output import ALSO, SHAPE, chosen_format
from vitcost.errors import UnknownName
from vitcost.render import FORMATS

__all__ = ["exit_zero_option", "format_options", "output_options"]

_OUTPUT_SECTION = "Output"
_FORMS: tuple[Flag, ...] = (
    (
        "--format",
        ", ".join(FORMATS),
        {"type": Words(FORMATS), "metavar": "NAME", "words": tuple(FORMATS)},
    ),
    ("--json as_json", "the same as --format json", SWITCH),
)
# flags that cut a page, for every command
_SHAPES: tuple[Flag, ...] = (
    ("--brief", "the answer alone, without its tables", SWITCH),
    (
        "--columns",
        "the columns of the tables, in this order; with another name: params='Params (M)'",
        {"metavar": "NAME,…"},
    ),
    (
        "--levels",
        "how deep rows are nested: 0 for the outermost layers",
        {"type": click.IntRange(0, 9), "metavar": "N"},
    ),
)


def output_options() -> list[click.Parameter]:
    """--format, --json, -o, --also."""
    how = {"multiple": True, "expose_value": False, "callback": _also, "rare": True}
    flags: list[Flag] = [
        ("-o --output", "a file, in the format of its suffix", FILE),
        ("--also", "the same answer in a file too, repeatable", {**how, "metavar": "FORMAT:FILE"}),
    ]
    return [*format_options(), *options(flags, section=_OUTPUT_SECTION)]


def _also(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> None:
    """Collects the formats and files that also get the answer."""
    outputs = []
    for value in values:
        named, colon, file = value.partition(":")
        # a single letter before a colon is a drive, not a format
        if colon and named not in FORMATS and len(named) > 1 and named.isalnum():
            raise UnknownName("format", named, FORMATS, f"allowed: {', '.join(FORMATS)}")
        if named not in FORMATS:
            colon, file = "", value
        if not file:
            raise click.UsageError(f"--also names a format and a file, got {value!r:.80}")
        outputs.append((chosen_format(named if colon else None, False, file), file))
    files = [file for _, file in outputs]
    if len({*files}) < len(files):
        raise click.UsageError("--also names one file twice")
    if outputs:
        ctx.meta[ALSO] = tuple(outputs)


def exit_zero_option() -> click.Parameter:
    """--exit-zero for a command that judges."""
    return Option(
        ["--exit-zero"],
        is_flag=True,
        help="exit 0 even if a check fails; errors still exit 2",
        section=_OUTPUT_SECTION,
    )


def format_options() -> list[click.Parameter]:
    """--format, --json, and how much of a page is shown; ``emit`` reads these flags."""
    shared = {"expose_value": False, "callback": _shape}
    return [
        *options(_FORMS, section=_OUTPUT_SECTION),
        *options(_SHAPES, section=_OUTPUT_SECTION, **shared),
    ]


def _shape(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        shape = ctx.meta.setdefault(SHAPE, {})
        shape[param.name] = value
    return value
