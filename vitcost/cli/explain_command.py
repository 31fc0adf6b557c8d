"""``vitcost explain``."""

import click

from vitcost.cli.form import output_options
from vitcost.cli.options import (
    Command,
    Option,
    Words,
    field_options,
    given,
    model_options,
    scenario_options,
)
from vitcost.cli.output import asked_format, emit, said_in
from vitcost.costs.quantities import EXPLAINED
from vitcost.formulas.explain import LANGUAGES, explain

__all__ = ["command"]

_HELP = f"""A formula, its numbers, result and reference.

QUANTITY is one of {", ".join(EXPLAINED)}. Needs vitcost[explain].
"""
_EXAMPLES = """
vitcost explain vit_base_patch16_224 params
vitcost explain vit_base_patch16_224 attention_flops --batch 8 --lang zh
vitcost explain vit_huge_patch14_224 rule_of_thumb_training --latex
vitcost explain vit_base_patch16_224 train_memory -b 64 --precision amp-bf16
"""


# every flag of a scenario that some quantity depends on
_FLAGS = tuple(dict.fromkeys(flag for row in EXPLAINED.values() for flag in row.flags))


@click.command(
    "explain",
    cls=Command,
    judges=False,
    help=_HELP,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        click.Argument(["quantity"], required=False, type=Words(EXPLAINED)),
        Option(["--latex"], is_flag=True, help="the formula in LaTeX too"),
        Option(
            ["--lang"],
            type=Words(LANGUAGES),
            metavar="en|zh",
            default="en",
            help="of the text around the formula  [default: en]",
        ),
        *output_options(),
        *scenario_options(_FLAGS),
    ],
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    model_option: str | None,
    quantity: str | None,
    latex: bool,
    lang: str,
    **_: object,
) -> int:
    if model_option is not None:
        if quantity is not None:
            raise click.UsageError(f"two models given, {model_option!r} and {model!r}")
        model, quantity = model_option, model
    if model is None:
        raise click.UsageError("no MODEL given; `vitcost models` lists them")
    if quantity is None:
        raise click.UsageError(f"no QUANTITY given; one of {', '.join(EXPLAINED)}")
    if latex:
        said_in("--latex", asked_format(), ("table", "json", "markdown", "html"))
    if lang != "en":
        formats = ("table", "markdown", "html", "latex")
        said_in("--lang", asked_format(), formats)
    explained = explain(model, quantity, latex=latex, lang=lang, **given(ctx))
    emit(explained)
    return 0
