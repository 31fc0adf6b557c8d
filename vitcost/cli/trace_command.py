"""``vitcost trace``."""

from itertools import product
from typing import Any

from vitcost.cli.command import Flag, Option, answers, given, options
from vitcost.cli.options import field_options, model_options, one_model
from vitcost.cli.output import tell
from vitcost.units import binary_bytes
from vitcost.zoo.trace_file import SWEPT, trace

__all__ = ["command"]

_EXAMPLES = """
vitcost trace my_package.models:build -o build.json.gz
vitcost trace my_package.models:build --precision fp32,amp-bf16 -o build.json
vitcost trace models:clip --input a=3x224x224 --input b=77:int64 -o clip.json
vitcost report build.json.gz --batch 64
"""


_SCENARIOS = "Scenarios, every combination of what is listed"
_LISTS: list[Flag] = [
    (f"--{name.replace('_', '-')}", said, {"default": lists}) for name, lists, said in SWEPT
]


@answers(
    "trace",
    examples=_EXAMPLES,
    rare=field_options,
    own_file=True,
    params=[
        *model_options(),
        Option(
            ["-o", "--output", "file"],
            required=True,
            metavar="FILE",
            help="the file, gzipped where it ends in .gz",
        ),
        *options(_LISTS, section=_SCENARIOS, show_default=True, metavar="LIST"),
    ],
)
def command(file: str, **flags: Any) -> None:
    """Traces a module into a file that needs no torch.

    Every command reads the file in place of a model, for the scenarios that it holds.

    MODEL is a factory, package.module:factory, or a name of timm without a formula. Each scenario
    is traced at batch 1, and at three batches that make every size a polynomial in the batch.
    """
    name = one_model()
    lists = [map(_value, str(flags[flag]).split(",")) for flag, _, _ in SWEPT]
    names = [flag for flag, _, _ in SWEPT]
    scenarios = [dict(zip(names, each, strict=True)) for each in product(*lists)]
    written = trace(name, file, scenarios, **given())
    for reason in written.missing:
        tell(f"not in it: {reason}")
    tell(f"{file}: {written.scenarios} scenarios, {binary_bytes(written.size)}")


def _value(text: str) -> str | int:
    return int(text) if text.isdecimal() else text
