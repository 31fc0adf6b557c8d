"""``vitcost report``."""

from vitcost.cli.command import Option, answers, given
from vitcost.cli.form import output_options
from vitcost.cli.options import (
    field_options,
    gpu_options,
    model_options,
    one_model,
    scenario_options,
)
from vitcost.cli.output import JUDGED, asked_format, emit, need_format
from vitcost.costs.report import report

__all__ = ["command"]

_EXAMPLES = """
vitcost report vit_huge_patch14_224
vitcost report vit_base_patch16_224 --batch 64 --precision amp-bf16
vitcost report deit_base_distilled_patch16_224 --img-size 384 --num-classes 5
vitcost report vit_base_patch16_224 --json -o base.json
vitcost report vit_base_patch16_224 -b 64 --precision amp-bf16 -g h100-sxm
vitcost report vit_base_patch16_224 --check
"""


@answers(
    "report",
    judges=False,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(),
        Option(
            ["--check"], is_flag=True, help="compare with the real torch model (vitcost[torch])"
        ),
        *output_options(),
        *scenario_options(),
        *gpu_options(),
    ],
)
def command(check: bool, **_: object) -> int:
    """One page: parameters, FLOPs, memory traffic, memory, time.

    MODEL is a name (`vitcost models` lists them); any field of it can be overridden.
    """
    name = one_model()
    if check:
        need_format("--check", asked_format(), JUDGED)
    reported = report(name, **given())
    if not check:
        emit(reported)
        return 0
    from vitcost.cli.check_command import CheckedReport, checked

    verdict = checked([reported.model], batch=reported.scenario.batch)
    emit(CheckedReport(reported, verdict))
    return 0 if verdict.ok else 1
