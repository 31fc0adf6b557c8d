"""The JSON of every result as types; a part with the same fields as a type is that type."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from vitcost.check.differences import Difference, ModelCheck
from vitcost.config.scenario import Scenario
from vitcost.costs.models import ModelRow
from vitcost.costs.saved import report_json as saved
from vitcost.costs.saved.generate import Also, Rest
from vitcost.formulas.explanation import Term
from vitcost.hardware.score import FileScore
from vitcost.planner.budgets.baseline import Recorded
from vitcost.planner.changes import Changed
from vitcost.planner.choose import PlanRow
from vitcost.planner.compared import Why
from vitcost.planner.deadline import Late
from vitcost.planner.diff import Base
from vitcost.planner.fit import FitRow
from vitcost.planner.grid import Skipped
from vitcost.planner.job import Job
from vitcost.planner.load import Load
from vitcost.planner.plan import DECIDED, OnCard, Totals
from vitcost.planner.serve import DECIDED as OF_CARDS
from vitcost.planner.serving import ServeRow
from vitcost.textbook import LayerComplexity

__all__ = ["DOCUMENTS"]


class Report(saved.Report):
    # the verdict that `report --check` adds
    check: "NotRequired[Verdict]"


class Models(TypedDict):
    schema: Literal["vitcost.models/1"]
    rows: list[ModelRow]


class Measured(TypedDict):
    """The measurements of a card in one setting, and the constants fitted to them."""

    mode: str
    precision: str
    layout: str
    compile: bool
    fused_attention: bool
    software: str
    basis: str
    rows: int
    error: float
    held_out: float | None
    band: float
    source: str


class Gpu(TypedDict):
    gpu: str
    vendor: str
    architecture: str | None
    fp32_flops_per_second: float | None
    tf32_flops_per_second: float | None
    fp16_flops_per_second: float | None
    bf16_flops_per_second: float | None
    fp8_flops_per_second: float | None
    int8_ops_per_second: float | None
    memory_bytes: int | None
    usable_bytes: int | None
    bandwidth_bytes_per_second: float | None
    link_bytes_per_second: float | None
    power_watts: float | None
    year: int | None
    sources: list[str]
    measured: list[Annotated[Measured, Rest(float)]]


class Gpus(TypedDict):
    schema: Literal["vitcost.gpus/1"]
    rows: list[Gpu]


class Missed(TypedDict):
    model: str
    reason: str


class MeasuredOn(Measured):
    gpu: str


class Calibration(TypedDict):
    schema: Literal["vitcost.calibration/1"]
    rows: list[Annotated[MeasuredOn, Rest(float)]]
    not_covered: list[Missed]


class Guess(TypedDict):
    model: str
    img_size: int | None
    batch: int
    measured_seconds: float
    predicted_seconds: float
    basis: str
    reason: str


class Throughput(TypedDict):
    schema: Literal["vitcost.throughput/1"]
    files: list[Annotated[FileScore, Also(worst=list[Guess])]]
    mean_mape: float


class Explanation(TypedDict):
    schema: Literal["vitcost.explain/1"]
    model: str
    quantity: str
    unit: str
    formula: str
    substituted: str
    value: int | list[Annotated[LayerComplexity, Also(work=int, sequential=int, path=int)]]
    reference: str
    terms: list[Term]
    letters: dict[str, int]
    latex: NotRequired[str]
    note: NotRequired[str]


class Verdict(TypedDict):
    schema: Literal["vitcost.check/1"]
    ok: bool
    models: list[
        Annotated[
            ModelCheck,
            Also(
                ok=bool,
                differences=list[Annotated[Difference, Also(explained_by=str | None)]],
            ),
        ]
    ]
    versions: dict[str, str]


class Fit(TypedDict):
    schema: Literal["vitcost.fit/1"]
    model: str
    scenario: Scenario
    reserve: str
    ok: bool
    rows: list[FitRow]


class Compared(TypedDict):
    """A model in a comparison; varied fields and quantities have keys of their own."""

    model: str


class Compare(TypedDict):
    schema: Literal["vitcost.compare/1"]
    rows: list[Annotated[Compared, Rest(bool | int | float | str | list[int] | None)]]
    why: NotRequired[list[Why]]
    skipped: NotRequired[list[Skipped]]


class Plan(TypedDict):
    schema: Literal["vitcost.plan/1"]
    model: str
    scenario: Annotated[Scenario, Also(**dict.fromkeys((*DECIDED, "checkpointing", "zero")))]
    gpu: str
    job: Annotated[Job, Also(cards=int)]
    totals: Totals
    reserve: str
    basis: str
    assumptions: list[str]
    ok: bool
    late: Late | None
    beside: list[OnCard]
    rows: list[PlanRow]


class Serve(TypedDict):
    schema: Literal["vitcost.serve/1"]
    model: str
    scenario: Annotated[
        Scenario, Also(**{**dict.fromkeys(OF_CARDS), "precision": str, "batch": int | None})
    ]
    load: Load
    reserve: str
    ok: bool
    rows: list[ServeRow]


class Check(TypedDict):
    name: str
    quantity: str
    value: int | float | None
    limit: int | float | None
    baseline: int | float | None
    ok: bool
    verdict: str
    peak_is: Literal["exact", "bounded"] | None
    missing: str | None
    level: Literal["error", "warn"]
    file: str | None
    line: int | None
    grew: list[Changed]


class Budget(TypedDict):
    schema: Literal["vitcost.budget/1"]
    ok: bool
    checks: list[Check]


class Baseline(TypedDict):
    schema: Literal["vitcost.baseline/1"]
    budgets: dict[str, Recorded]


class Fact(TypedDict):
    field: str
    was: str
    now: str


class DiffRow(TypedDict):
    model: str
    quantity: str
    previous: int | float | None
    new: int | float | None
    difference: int | float | None
    relative: float | None
    changed: bool


class DiffModel(TypedDict):
    model: str
    missing: str | None
    changed: list[Fact]
    layers: list[Changed]


class Diff(TypedDict):
    schema: Literal["vitcost.diff/1"]
    base: Base
    rows: list[DiffRow]
    models: list[DiffModel]


DOCUMENTS: Mapping[str, Any] = {
    "report": Report,
    "models": Models,
    "gpus": Gpus,
    "calibration": Calibration,
    "throughput": Throughput,
    "explain": Explanation,
    "check": Verdict,
    "compare": Compare,
    "fit": Fit,
    "plan": Plan,
    "serve": Serve,
    "budget": Budget,
    "baseline": Baseline,
    "diff": Diff,
}
