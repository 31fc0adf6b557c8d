"""``vitcost check``, and the verdict that ``report --check`` appends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import FILE, SWITCH
from vitcost.cli.form import exit_zero_option, output_options
from vitcost.cli.options import (
    field_options,
    measured_options,
    model_options,
    scenario_options,
    some_models,
)
from vitcost.cli.output import emit
from vitcost.cli.progress import progress_bar
from vitcost.costs.report_types import Report
from vitcost.page import Page
from vitcost.render.result import Result
from vitcost.zoo import Model

if TYPE_CHECKING:
    from vitcost.check import CheckResult
    from vitcost.hardware.score import Score

__all__ = ["CheckedReport", "checked", "command"]

_EXAMPLES = """
vitcost check vit_base_patch16_224
vitcost check vit_huge_patch14_224 vit_base_patch32_224 --num-classes 5
vitcost check vit_tiny_patch16_224 --depth 2 --batch 4 --json
vitcost check vit_tiny_patch16_224 --memory --batch 4 --precision amp-bf16
vitcost check --all
vitcost check --throughput benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv
"""


_MEASURED = "Time, against files of measurements"


_THROUGHPUT: tuple[Flag, ...] = (
    (
        "--throughput",
        "a CSV of timm's benchmark script, or as `vitcost calibrate --help` says",
        {**FILE, "multiple": True},
    ),
    (
        "--held-out",
        "constants of the file's other widths, not the shipped ones",
        {**SWITCH, "passed": True},
    ),
    ("--calibration", "constants of your own", {**FILE, "multiple": True, "passed": True}),
)


def _throughput_options() -> list[click.Parameter]:
    return [*options(_THROUGHPUT, section=_MEASURED), *measured_options(_MEASURED)]


# flags of a training step that --memory takes beside the batch, the precision and the optimizer
_OF_MEMORY = ("attention", "checkpointing", "freeze", "lora", "lora_layers")
_FLAGS: tuple[Flag, ...] = (
    ("--all walk", "every name of timm's, against timm", SWITCH),
    (
        "--memory",
        "bytes saved for backward and the peak of a training step, on the CPU and on a CUDA "
        "card where there is one",
        {**SWITCH, "passed": True},
    ),
)


@answers(
    "check",
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(many=True),
        *options(_FLAGS),
        *output_options(),
        exit_zero_option(),
        *scenario_options(["batch", *_OF_MEMORY]),
        *_throughput_options(),
    ],
)
def command(
    walk: bool, memory: bool, throughput: Sequence[str], exit_zero: bool, **_: object
) -> int:
    """The formulas against the real torch model.

    Module by module: parameters, FLOPs, shapes, saved activations. A difference that a counter's
    known habit does not explain to the last digit is a failure: exit 1. A name of timm's is
    compared with timm's own model where timm is installed. Needs vitcost[torch].

    With --memory: the bytes that autograd keeps against saved_tensors_hooks, and the peak of a
    step against MemTracker, both on fake tensors; then the CPU's allocator for a real step, where
    its peak is predicted to be 2 GiB or less, and a CUDA card's where there is one.

    With --throughput: the predicted time against measurements, which needs no torch.
    """
    keywords, models = given(), some_models(required=not (throughput or walk))
    if throughput:
        emit(_scored(throughput, models, walk, keywords))
        return 0
    _refuse(keywords, memory)
    if walk and memory:
        raise click.UsageError("--all does not compare memory: give --memory the names of models")
    verdict = emit(_walked(models, keywords) if walk else checked(models, **keywords))
    return 0 if verdict.ok or exit_zero else 1


def _refuse(keywords: Mapping[str, Any], memory: bool) -> None:
    """Refuses flags that only another form of the command has."""
    of_memory = {*_OF_MEMORY, "precision", "optimizer"}
    of_files = _measured_names()
    for name in keywords:
        forms = ["--memory"] * (name in of_memory) + ["--throughput"] * (name in of_files)
        if forms and not (memory and name in of_memory):
            raise click.UsageError(f"--{name.replace('_', '-')} is for {' or '.join(forms)}")


def _measured_names() -> set[str]:
    return {option.name or "" for option in _throughput_options()} - {"throughput"}


def _scored(
    files: Sequence[str], models: Sequence[str], walk: bool, keywords: Mapping[str, Any]
) -> "Score":
    """The errors of predictions on files of measurements; the files name the models."""
    if models or walk or keywords.keys() - _measured_names():
        raise click.UsageError(
            "--throughput takes its models from the files: give no MODEL and no fields"
        )
    from vitcost.hardware.measurement_files import check_throughput

    return check_throughput(files, **keywords)


def checked(models: Sequence[Model], **keywords: Any) -> "CheckResult":
    """The verdict on models, with a progress bar if it takes long."""
    from vitcost.check import check

    with progress_bar("models") as step:
        return check(models, progress=step, **keywords)


def _walked(models: Sequence[str], keywords: Mapping[str, Any]) -> "CheckResult":
    """The verdict on every name of timm; only the batch can be chosen."""
    if models or keywords.keys() - {"batch"}:
        raise click.UsageError("--all checks every model unchanged: give no MODEL and no fields")
    from vitcost.check import check_all

    with progress_bar("models") as step:
        return check_all(progress=step, **keywords)


@dataclass(frozen=True)
class CheckedReport(Result):
    """A report, followed by the verdict of a check."""

    report: Report
    verdict: "CheckResult"

    def to_dict(self) -> dict[str, Any]:
        return {**self.report.to_dict(), "check": self.verdict.to_dict()}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        return self.report.rows()

    def page(self) -> Page:
        page, verdict = self.report.page(), self.verdict.page()
        return page._replace(
            tables=(*page.tables, *verdict.tables),
            notes=(*page.notes, *verdict.notes),
            cases=verdict.cases,
        )
