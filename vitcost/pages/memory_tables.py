"""The tables of memory in a report: inference, a training step and its peak, rules of thumb."""

from collections.abc import Iterator, Mapping
from typing import Any

from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.costs.memory_types import Inference, PeakParts, Training
from vitcost.costs.report_types import InferenceRow, Report
from vitcost.engine.gathering import gathers
from vitcost.engine.ops import Size
from vitcost.page import Column, Read, Row, Table, laid_out, shown

__all__ = ["PARTS", "memory_tables", "of_batch"]


def memory_tables(report: Report) -> tuple[Table, ...]:
    """Inference by precision, the parts of a step with its peak, and the rules of thumb beside
    them."""
    return _inference(report), _training(report), _rules(report)


def of_batch(report: Report) -> str:
    """The batch, for the title of a table."""
    return f"batch of {report.scenario.batch:,}"


def _inference(report: Report) -> Table:
    columns: list[Read[InferenceRow]] = [
        (Column("precision"), lambda row: row.precision),
        (Column("total", "bytes"), lambda row: row.memory.total_bytes),
        (Column("attention"), lambda row: ", ".join(row.attention_kernel)),
        (Column("weights", "bytes"), lambda row: row.memory.weights_bytes),
    ]
    # few models have buffers, so their column is shown only for these
    if report.inference.buffers_bytes:
        columns.append((Column("buffers", "bytes"), lambda row: row.memory.buffers_bytes))
    columns.append((Column("inputs", "bytes", optional=True), lambda row: row.memory.input_bytes))
    columns.append((Column("activations", "bytes"), lambda row: row.memory.activations_bytes))
    notes = (
        "activations: the largest sum alive at one time; under autocast (amp) with its copies of "
        "the weights in half precision",
        *_activations(report),
        f"weights stored with linear layers in fewer bits: {_stored(report.inference)}",
    )
    title, rows = f"Inference memory, {of_batch(report)}", report.inference_by_precision
    return laid_out(title, columns, rows, notes, lambda row: "marked" if row.asked else "")


def _activations(report: Report) -> Iterator[str]:
    rows = report.inference_by_precision
    bounds = [row.precision for row in rows if row.memory.activations_are == "bounded"]
    if bounds:
        of = ", ".join(dict.fromkeys(bounds))
        yield f"activations, at most, of {of}: the digest has another number of classes"


def _stored(inference: Inference) -> str:
    stored = {
        "int8": inference.int8_weights_bytes,
        "fp8": inference.fp8_weights_bytes,
        "int4": inference.int4_weights_bytes,
    }
    return ", ".join(f"{name} {shown(n, 'bytes')}" for name, n in stored.items() if n is not None)


_RULES = (
    Column("of"),
    Column("rule / exact", "relative"),
    Column("rule", "bytes"),
    Column("exact", "bytes"),
    Column("rule of thumb"),
)
# the parts of a step's memory: the title of each row, and its field in a training step and in the
# peak
PARTS = (
    ("weights", "weights_bytes"),
    ("gradients", "gradients_bytes"),
    ("optimizer states", "optimizer_bytes"),
    ("saved for backward", "saved_activations_bytes"),
    ("temporaries", "temporary_bytes"),
    ("images and targets", "batch_bytes"),
    ("moving averages", "ema_bytes"),
    ("gradient buckets", "buckets_bytes"),
    ("buffers", "buffers_bytes"),
)


def _training(report: Report) -> Table:
    scenario, training = report.scenario, report.training
    parts: PeakParts | None = training.peak_parts
    rows = []
    for title, name in PARTS:
        most, then = getattr(training, name, None), getattr(parts, name, None)
        # a part without bytes in this scenario has no row
        if most or then:
            rows.append(Row((title, then, most)))
    if training.peak_bytes is not None:
        peak = "peak of a step" if training.peak_is == "exact" else "peak of a step, at most"
        rows.append(Row((peak, training.peak_bytes, None), "total"))
    recipe = f"{scenario.recipe}: {scenario.precision}, {scenario.optimizer}"
    return Table(
        f"Training memory, {of_batch(report)}{_rank(scenario)}, {recipe}",
        (Column("part"), Column("at the peak", "bytes"), Column("alone", "bytes")),
        tuple(rows),
        (
            "alone: each part by itself; they do not peak together. saved for backward: bytes "
            "that autograd holds after the forward pass and the loss",
            *_loss(report),
            *_peak(training),
        ),
    )


def _loss(report: Report) -> Iterator[str]:
    """A note on the loss of outputs that are not class scores of an image."""
    config: Any = report.model.config
    if hasattr(config, "vision"):
        compared = _PAIRS[gathers(config, report.scenario).partition(" ")[0]]
        yield f"loss: the contrastive one of both towers, of {compared}"
    elif report.training.peak_is != "exact":
        return
    elif not config.losses:
        yield "loss: the mean of the features, which saves nothing for backward"
    elif getattr(config, "global_pool", None) == "":
        yield "loss: cross entropy of class scores of every token"


# the pairs that a rank compares, for each way to gather features
_PAIRS: Mapping[str, str] = {
    "": "the pairs of one rank",
    "exchanged": "its images with the texts of all ranks, one rank after the other",
    "all": "all features of all ranks, open_clip's default",
    "all-grad": "all features of all ranks, with gradients for those of others",
    "local": "its own features with those of all ranks",
    "local-grad": "its own features with those of all ranks, with gradients for these",
}


def _peak(training: Training) -> Iterator[str]:
    """The moment of the peak; for a bound its reason and its assumptions."""
    if training.peak_at:
        yield f"peak of a step: {training.peak_at}"
    if training.peak_is == "bounded":
        assumed = f"; assumed: {'; '.join(training.assumed)}" if training.assumed else ""
        yield f"at most: no exact peak is known ({training.missing}){assumed}"
    elif training.missing:
        yield f"no peak: {training.missing}"


def _rank(scenario: Scenario) -> str:
    """A note that names the rank whose memory is shown, if there are several."""
    if scenario.ranks == 1:
        return ""
    which = "the fullest" if scenario.zero else "one"
    return f", on {which} of {scenario.ranks:,} ranks, zero {scenario.zero}"


def _rules(report: Report) -> Table:
    """Each rule of thumb beside the exact bytes, and their ratio if the rule applies to this
    scenario."""
    thumb, training = report.rule_of_thumb, report.training
    states = training.weights_bytes + training.gradients_bytes + training.optimizer_bytes
    engine = PRECISIONS[report.scenario.precision].engine
    mixed = engine == "amp" or report.scenario.recipe != "torch"
    inferred = thumb.inference_bytes, report.inference.weights_bytes
    trained = thumb.training_bytes, states
    rows = [
        _rule("weights to infer", "2 bytes a parameter", *inferred, engine == "half"),
        _rule("states to train", "20 bytes a parameter", *trained, mixed and _trains_all(report)),
    ]
    notes = [
        "rule / exact is given where the rule is made for the model: 2 bytes a parameter "
        "in half precision; 20 in mixed precision with Adam, every parameter training: weights "
        "2 + 4, gradients 2 + 4, moments 4 + 4",
    ]
    formula = thumb.saved_activations_formula
    if formula is not None:
        saved = thumb.saved_activations_bytes, training.saved_activations_bytes
        rows.append(
            _rule(
                "saved for backward",
                f"{formula} a block",
                *saved,
                _kept(report) and engine != "fp32",
            )
        )
        less = "" if formula.startswith("34") else ", 34sbh + 5as²b with dropout"
        notes.append(f"{formula}: half precision, Korthikanti et al. 2022{less}")
    return Table("Rules of thumb", _RULES, tuple(rows), tuple(notes))


def _rule(name: str, formula: str, rule: Size | None, exact: Size | None, within: bool) -> Row:
    share = rule / exact if within and rule is not None and exact else None
    return Row((name, share, rule, exact, formula))


def _kept(report: Report) -> bool:
    """Whether every parameter trains and no block is checkpointed."""
    trains = report.trainable_params == report.params
    return trains and report.scenario.checkpointing == "none"


def _trains_all(report: Report) -> bool:
    scenario = report.scenario
    adam = scenario.optimizer.startswith("adam") and "amsgrad" not in scenario.optimizer
    alone = scenario.ranks == 1 or not scenario.zero
    return adam and alone and report.trainable_params == report.params
