"""The page of a report: the answer, then parts, FLOPs, memory, time and layers."""

from collections.abc import Iterator, Mapping
from typing import Any

from vitcost.config.flags import trained_aside
from vitcost.costs.report_types import Layer, Report
from vitcost.costs.roofline_picture import roofline
from vitcost.engine.ops import Size
from vitcost.engine.parts import part_of
from vitcost.page import Column, Page, Row, Table, Value, shown
from vitcost.pages.bars import report_bars
from vitcost.pages.memory_tables import memory_tables, of_batch
from vitcost.pages.over_step import over_step
from vitcost.pages.subject import of_inputs, of_model, of_scenario
from vitcost.pages.time_tables import time_answer, time_tables
from vitcost.units import counted

__all__ = ["report_page"]

_PARTS = (
    Column("part"),
    Column("output", "shape", optional=True),
    Column("params", "count"),
    Column("share", "ratio", optional=True),
    Column("MACs", "si"),
    Column("FLOPs", "si"),
    Column("pointwise", "si"),
    Column("traffic", "bytes"),
)
_PASSES = (
    Column("pass"),
    Column("MACs", "si"),
    Column("FLOPs", "si"),
    Column("exactly", "count"),
    Column("executed", "count"),
)
_LAYERS = (
    Column("layer"),
    Column("type", optional=True),
    Column("×", "count"),
    Column("output", "shape", optional=True),
    Column("params", "count"),
    Column("FLOPs", "si"),
    Column("pointwise", "si"),
    Column("saved", "bytes"),
)
_NOTES = (
    "1 MAC = 2 FLOPs. FLOPs are matrix work alone: convolutions and matrix products, attention "
    "included. Pointwise work is the elements that norms, softmax, activations, scales and "
    "residual adds write; it is never added in.",
)


def report_page(report: Report) -> Page:
    """Everything that a report contains, for people."""
    tables = (_parts(report), _flops(report), *memory_tables(report))
    return Page(
        of_model(report.model),
        tuple(_lead(report)),
        (*tables, *time_tables(report), _layers(report)),
        _NOTES,
        answer=(", ".join(_asked(report)), _summary(report), *time_answer(report)),
        bars=report_bars(report),
        pictures=lambda: (*over_step(report), *roofline((report,))),
    )


def _asked(report: Report) -> Iterator[str]:
    """The question: the input, and every flag that is not at its default."""
    yield from of_inputs(report.model)
    yield from of_scenario(report.scenario, mode=report.scenario.mode == "train")


def _summary(report: Report) -> str:
    """Parameters, work and memory in one line."""
    flops, training = report.flops, report.training
    trains = report.trainable_params
    part = "" if trains == report.params else f" ({counted(trains, '')}train)"
    macs, whole = counted(flops.macs_forward, "MACs"), counted(flops.forward, "FLOPs")
    inference = shown(report.inference.total_bytes, "bytes")
    if training.peak_bytes is None:
        none = flops.backward is None or report.scenario.trains_nothing
        step = "no training step" if none else "peak of a training step not known"
    else:
        most = "" if training.peak_is == "exact" else "at most "
        place = f" (peak: {training.peak_at})" if training.peak_at else ""
        step = f"training {most}{shown(training.peak_bytes, 'bytes')}{place}"
    params = f"{counted(report.params, '')}params{part}"
    batch = " a batch" if report.scenario.batch > 1 else ""
    return f"{params}, {macs} ({whole}){batch}, inference {inference}, {step}"


def _lead(report: Report) -> Iterator[str]:
    scenario = report.scenario
    changed = ", changed" if report.model.changed else ""
    trains = report.trainable_params
    part = "" if trains == report.params else f", {trains:,} of them train"
    yield f"{report.params:,} parameters{part} · {report.model.source}{changed}"
    yield from _inputs_or_trace(report)
    mode = {"infer": "inference", "train": "training"}[scenario.mode]
    asked, kernels = scenario.attention, ", ".join(report.attention_kernel)
    attention = asked if kernels in (asked, "") else f"{asked} → {kernels}"
    yield (
        f"{mode}, batch {scenario.batch:,}, {scenario.precision}, "
        f"{scenario.platform}, attention {attention}"
    )
    aside = trained_aside(scenario)
    if aside:
        # a recipe fixes the precision of everything
        names = (f"{flag} but for its precision" if flag == "recipe" else flag for flag in aside)
        yield f"flags of the training step alone, not of traffic and time: {', '.join(names)}"
    if scenario.compile:
        yield "compiled kernels count for the time alone; bytes are those of eager kernels"
    on_layers = report.torchsummary_params
    if on_layers is not None and on_layers != report.params:
        missed = report.params - on_layers
        yield f"torchsummary counts {on_layers:,}: it misses {missed:,} that sit on no layer"


def _inputs_or_trace(report: Report) -> Iterator[str]:
    """The inputs of a model; for a traced model also the conditions of its trace."""
    config, scenario = report.model.config.to_dict(), report.scenario
    if report.basis == "formula":
        yield ", ".join(_inputs(config, report.tokens))
        return
    yield (
        f"traced with torch {config.get('torch', '')} under the rules of {scenario.platform}, "
        f"at batch {scenario.batch:,} or as polynomials in the batch"
    )
    yield "; ".join(config["notes"])


def _inputs(config: Mapping[str, Any], tokens: Size | None) -> Iterator[str]:
    """The inputs of a model of any kind. A model of two towers reads image and text; its tokens are
    those of the image."""
    for tower in ("vision", "text"):
        if tower in config:
            yield from _inputs(config[tower], tokens)
    if "img_size" in config:
        image, patch = tuple(config["input_size"]), tuple(config["patch_size"])
        built_for = tuple(config["img_size"])
        behind = f" of features of {config['backbone']}" if config.get("backbone") else ""
        table = "" if built_for == image else f", positions of {shown(built_for)}"
        yield f"image {shown(image)}{table}, patch {shown(patch)}{behind}, {tokens:,} tokens"
    if "vocab_size" in config:
        text = f"text of {config['seq_len']:,} tokens, vocabulary {config['vocab_size']:,}"
        # generation, token by token with a cache, would have other costs
        yield f"{text}: the full forward (prefill)" if config["head"] == "lm" else text


def _parts(report: Report) -> Table:
    shapes = {part_of(layer.path): layer.output_shape for layer in report.layers if layer.path}
    flops = report.flops
    total = (report.params, flops.macs_forward, flops.pointwise_forward, report.moved_bytes)
    numbers = [(p.params, p.macs, p.pointwise, p.moved_bytes) for p in report.parts]
    # ops in the model's own forward, between its modules: joining tokens, adding positions
    between = tuple(
        None if whole is None else whole - sum(of_parts)
        for whole, *of_parts in zip(total, *numbers, strict=True)
    )
    rows = [
        _part(part.name, shapes[part.name], four, report.params)
        for part, four in zip(report.parts, numbers, strict=True)
    ]
    if any(between):
        rows.append(_part("ops between parts", "", between, report.params))
    rows.append(_part("total", "", total, report.params)._replace(kind="total"))
    notes = ("traffic: bytes that kernels read and write",)
    return Table(f"Parts, forward, {of_batch(report)}", _PARTS, tuple(rows), notes)


def _part(name: str, shape: Value, numbers: tuple[Size | None, ...], params: Size) -> Row:
    params_of_part, macs, *beside = numbers
    # a model may be only an average pool: without parameters no share is shown
    share = (params_of_part or 0) / params if params else None
    return Row((name, shape, params_of_part, share, macs, 2 * (macs or 0), *beside))


def _flops(report: Report) -> Table:
    flops = report.flops
    passes = (
        ("forward", flops.forward, flops.forward_executed, ""),
        ("backward", flops.backward, flops.backward_executed, ""),
        ("train step", flops.train_step, flops.train_step_executed, "total"),
    )
    return Table(
        f"FLOPs, {of_batch(report)}",
        _PASSES,
        tuple(
            Row((name, None if defined is None else defined // 2, defined, defined, executed), kind)
            for name, defined, executed, kind in passes
        ),
        ("executed: with the products that a fused attention computes again in its backward",),
    )


def _layers(report: Report) -> Table:
    flops, saved = report.flops, report.training.saved_activations_bytes
    total = (report.params, flops.forward, flops.pointwise_forward, saved)
    rows = [
        row for layer in report.layers for row in _nested(layer, layer.path or "model and loss", 0)
    ]
    rows.append(Row(("total", "", "", "", *total), "total"))
    notes = ("a row has one layer's numbers, and the total counts it × times",)
    return Table(f"Layers, forward, {of_batch(report)}", _LAYERS, tuple(rows), notes)


def _nested(layer: Layer, name: str, level: int, hidden: bool = False) -> Iterator[Row]:
    first, last = layer.paths
    if first != last and level == 0:
        name = f"{name}–{last.rpartition('.')[2]}"
    numbers = _numbers(layer)
    labels = (layer.type, layer.repeat, layer.output_shape) if layer.path else ("", "", "")
    hidden = hidden or not any(numbers)
    yield Row((name, *labels, *numbers), level=level, detail=hidden)
    # a flat table shows one level of children, and only if this splits something
    fold = hidden or level > 0 or sum(any(_numbers(child)) for child in layer.children) < 2
    for child in layer.children:
        yield from _nested(child, child.path.rpartition(".")[2], level + 1, fold)


def _numbers(layer: Layer) -> tuple[Size, ...]:
    return layer.params, layer.flops, layer.pointwise, layer.saved_bytes
