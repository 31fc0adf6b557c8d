"""``vitcost summary``."""

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import FILE
from vitcost.cli.options import field_options, model_options, one_model
from vitcost.cli.output import tell, write
from vitcost.costs.summary import summarize

__all__ = ["command"]

_EXAMPLES = """
vitcost summary vit_base_patch32_224 --num-classes 5
vitcost summary vit_large_patch32_224 --num-classes 5 --batch 8 --img-size 384
vitcost summary vit_base_patch16_224 -o summary.txt
"""


_FLAGS: tuple[Flag, ...] = (
    (
        "-b --batch",
        "images in a batch; -1: torchsummary's own default  [default: -1]",
        {"type": click.INT, "passed": True},
    ),
    ("-o --output", "a file, not stdout", FILE),
)


@answers(
    "summary",
    suffixes={".txt": "table"},
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *options(_FLAGS),
    ],
)
def command(output: str | None, **_: object) -> None:
    """The table of torchsummary, without torch.

    It is printed character for character. Parts that torchsummary leaves out are named on stderr.
    """
    table = summarize(one_model(), **given())
    write(table.text + "\n", output)
    for note in table.notes:
        tell(note)
