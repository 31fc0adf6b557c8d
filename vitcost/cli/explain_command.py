"""``vitcost explain``."""

from typing import Any

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import SWITCH, Words
from vitcost.cli.form import output_options
from vitcost.cli.options import field_options, model_options, one_model, scenario_options
from vitcost.cli.output import asked_format, emit, need_format
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


# every flag of a scenario on which some quantity depends
_SCENARIO = tuple(dict.fromkeys(flag for row in EXPLAINED.values() for flag in row.flags))
_FLAGS: tuple[Flag, ...] = (
    ("--latex", "the formula in LaTeX too", SWITCH),
    (
        "--lang",
        "of the text around the formula  [default: en]",
        {"type": Words(LANGUAGES), "metavar": "en|zh", "default": "en"},
    ),
)


@answers(
    "explain",
    judges=False,
    help=_HELP,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        click.Argument(["quantity"], required=False, type=Words(EXPLAINED)),
        *options(_FLAGS),
        *output_options(),
        *scenario_options(_SCENARIO),
    ],
)
def command(quantity: str | None, latex: bool, lang: str, **flags: Any) -> None:
    if flags["model_option"] is not None and quantity is None:
        # with --model, the only argument is the quantity
        model, quantity = flags["model_option"], flags["model"]
    else:
        model = one_model()
    if quantity is None:
        raise click.UsageError(f"no QUANTITY given; one of {', '.join(EXPLAINED)}")
    if latex:
        need_format("--latex", asked_format(), ("table", "json", "markdown", "html"))
    if lang != "en":
        need_format("--lang", asked_format(), ("table", "markdown", "html", "latex"))
    emit(explain(model, quantity, latex=latex, lang=lang, **given()))
