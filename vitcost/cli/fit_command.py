"""``vitcost fit``."""

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import NUMBER, Words
from vitcost.cli.form import output_options
from vitcost.cli.options import (
    RESERVE,
    field_options,
    gpu_options,
    model_options,
    one_model,
    scenario_options,
)
from vitcost.cli.output import emit
from vitcost.planner.fit import LARGEST, fit

__all__ = ["command"]

_EXAMPLES = """
vitcost fit vit_huge_patch14_224
vitcost fit vit_huge_patch14_224 --mode train -g h100-sxm -g l4
vitcost fit vit_large_patch16_224 --mode train -g a10 --require 64
vitcost fit vit_base_patch16_224 -g t4 --largest img_size -b 32
"""


_FLAGS: tuple[Flag, ...] = (
    (
        "--require",
        "a batch that must fit: exit 1 where a named card holds less, or no card at all",
        NUMBER,
    ),
    RESERVE,
    (
        "--largest",
        "also the largest image or depth with the batch, repeatable",
        {"type": Words(LARGEST), "multiple": True, "metavar": "|".join(LARGEST)},
    ),
)


@answers(
    "fit",
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        *gpu_options(["--gpu", "--gpu-file"], "Options"),
        *options(_FLAGS, passed=True),
        *output_options(),
        *scenario_options(),
    ],
)
def command(**_: object) -> int:
    """The largest batch that fits, and which cards hold it.

    Nothing fits, or less than what is required: exit 1.
    """
    fitted = emit(fit(one_model(), **given()))
    return 0 if fitted.ok else 1
