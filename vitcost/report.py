"""``report``: everything that one page says about a model."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from vitcost import memory
from vitcost.engine.cost import Row, fold
from vitcost.engine.kernels import attention_kernels
from vitcost.engine.live import peak
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import Config, sizes_of, structure_of
from vitcost.engine.ops import Size, Sizes, numel
from vitcost.engine.parts import by_part
from vitcost.engine.step import inference_trace
from vitcost.errors import ConfigError, NotCovered
from vitcost.reported import Flops, InferenceRow, Layer, Part, Report
from vitcost.scenario import Scenario
from vitcost.summary import counted_params
from vitcost.thumb import compared
from vitcost.zoo import Foreign, Model, Resolved, resolve

if TYPE_CHECKING:
    from vitcost.hardware.cards import Card
    from vitcost.hardware.roofline import Anchor
    from vitcost.measured import MeasuredReport

    Gpus: TypeAlias = str | Card | Iterable[str | Card]
    Files: TypeAlias = str | Iterable[str]
    Anchors: TypeAlias = str | Anchor | Iterable[str | Anchor]

__all__ = ["Report", "report", "report_on"]


@overload
def report(model: Foreign, **flags: Any) -> "MeasuredReport": ...
@overload
def report(
    model: Model,
    *,
    batch: int = 1,
    mode: str = "infer",
    precision: str | None = None,
    attention: str = "sdpa",
    platform: str = "cuda",
    optimizer: str | None = None,
    checkpointing: str = "none",
    freeze: str = "none",
    lora: int = 0,
    lora_layers: str = "qkv,proj",
    recipe: str = "torch",
    layout: str = "nchw",
    compile: bool = False,
    software: str = "",
    gpu: "Gpus" = (),
    gpu_file: "Files" = (),
    calibration: "Files" = (),
    anchor: "Anchors" = (),
    ranks: int = 1,
    zero: int = 0,
    buckets: str = "copies",
    ema: int = 0,
    accumulate: int = 1,
    zero_grad: str = "none",
    **overrides: Any,
) -> Report: ...
def report(
    model: "Model | Foreign",
    *,
    batch: int = 1,
    mode: str = "infer",
    precision: str | None = None,
    attention: str = "sdpa",
    platform: str = "cuda",
    optimizer: str | None = None,
    checkpointing: str = "none",
    freeze: str = "none",
    lora: int = 0,
    lora_layers: str = "qkv,proj",
    recipe: str = "torch",
    layout: str = "nchw",
    compile: bool = False,
    software: str = "",
    gpu: "Gpus" = (),
    gpu_file: "Files" = (),
    calibration: "Files" = (),
    anchor: "Anchors" = (),
    ranks: int = 1,
    zero: int = 0,
    buckets: str = "copies",
    ema: int = 0,
    accumulate: int = 1,
    zero_grad: str = "none",
    **overrides: Any,
) -> "Report | MeasuredReport":
    """What a model costs: parameters, FLOPs, bytes moved, memory and time, without building it.

    What ``from_torch`` makes of a module that no formula describes is measured, and says so.
    ``gpu`` names the cards that time is for (``vitcost gpus``); ``gpu_file`` has cards of the
    user's own, ``calibration`` constants that ``calibrate`` wrote, and ``anchor`` says what a card
    was measured to do: ``MODEL=IMAGES_PER_SECOND``.

    ``overrides`` are fields of the config (``num_classes=5``, ``img_size=384``). Raises
    ``VitcostError``: an unknown name, a field that cannot be, a scenario that is not covered.

    >>> r = report("vit_huge_patch14_224")
    >>> r.params, r.flops.macs_forward
    (632045800, 167295109120)
    """
    scenario = Scenario.of(
        batch=batch,
        mode=mode,
        precision=precision,
        attention=attention,
        platform=platform,
        optimizer=optimizer,
        checkpointing=checkpointing,
        freeze=freeze,
        lora=lora,
        lora_layers=lora_layers,
        recipe=recipe,
        layout=layout,
        compile=compile,
        software=software,
        ranks=ranks,
        zero=zero,
        buckets=buckets,
        ema=ema,
        accumulate=accumulate,
        zero_grad=zero_grad,
    )
    if isinstance(model, Foreign):
        if gpu:
            raise NotCovered(f"time needs a formula, which {model.name} has not")
        # only the user's own code is measured
        from vitcost.measured import measured_report

        return measured_report(model.on_top(overrides), scenario)
    found = resolve(model, **overrides)
    own = report_on(found, scenario, sizes_of(found.config, scenario.batch))
    own = replace(own, inference_by_precision=_by_precision(own))
    if not gpu:
        if anchor or calibration or gpu_file:
            raise ConfigError("anchor, calibration and gpu_file are for a time: give a gpu")
        return own
    # a page without a card has no use for them
    from vitcost.hardware.timed import timed

    files = {"gpu_file": gpu_file, "calibration": calibration}
    return replace(own, time=timed(found.config, scenario, gpu, anchor=anchor, **files))


def _by_precision(report: Report) -> tuple[InferenceRow, ...]:
    """Inference memory in each precision, with eager and with torch's fused attention."""
    config, batch, own = report.model.config, report.scenario.batch, report.scenario
    sizes = sizes_of(config, batch)
    choices = [(p, a) for p in ("fp32", "amp-bf16", "bf16") for a in ("eager", "sdpa")]
    rows: dict[tuple[str, tuple[str, ...]], InferenceRow] = {}
    for precision, attention in [*choices, (own.precision, own.attention)]:
        scenario = replace(own, precision=precision, attention=attention, recipe="torch")
        mode = scenario.engine_mode(config, False)
        kernels = attention_kernels(lower(structure_of(config, batch), mode), sizes)
        found = _inference(report.params, config, mode, sizes, scenario)
        asked = (precision, attention) == (own.precision, own.attention)
        # two choices may run the same kernels: the scenario's own comes last
        rows[precision, kernels] = InferenceRow(precision, kernels, found, asked)
    return tuple(rows.values())


def _inference(
    params: Size, config: Config, mode: Mode, sizes: Sizes, scenario: Scenario
) -> memory.Inference:
    structure = structure_of(config, scenario.batch)
    top = peak(inference_trace(structure, mode), sizes)
    return memory.inference(params, lower(structure, mode), sizes, top.peak_bytes, scenario)


def report_on(model: Resolved, scenario: Scenario, sizes: Sizes) -> Report:
    """The report on any sizes of a model's axes: its own, arrays of them, or symbols."""
    config, batch = model.config, scenario.batch
    modes = [scenario.engine_mode(config, training) for training in (False, True)]
    trees = [
        lower(structure_of(config, batch, training), mode)
        for training, mode in zip((False, True), modes, strict=True)
    ]
    infer, train = (fold(tree, sizes) for tree in trees)
    ran = train if scenario.mode == "train" else infer
    total = train.cost
    logits = numel(trees[1].output.axes, sizes)
    saved_bytes = total.saved_bytes + memory.loss_bytes(config, logits, scenario)
    own = memory.states(trees[1], sizes, saved_bytes, scenario)
    inference = _inference(total.params, config, modes[0], sizes, scenario)
    return Report(
        model=model,
        scenario=scenario,
        attention_kernel=attention_kernels(trees[scenario.mode == "train"], sizes),
        tokens=sizes["s"],
        params=total.params,
        torchsummary_params=counted_params(config, train),
        flops=Flops(
            total.flops,
            total.backward_flops,
            total.executed_flops,
            total.executed_backward_flops,
            total.pointwise,
        ),
        moved_bytes=ran.cost.moved_bytes,
        rule_of_thumb=compared(
            total.params, inference.total_bytes, own.sum_bytes, saved_bytes, config, sizes
        ),
        inference=inference,
        training=memory.with_peak(
            own,
            structure_of(config, batch, True),
            sizes,
            scenario,
            scenario.engine_mode(config, True),
        ),
        parts=_parts(train, ran),
        layers=(*map(_layer, _top(train)), *_rest(train, saved_bytes)),
    )


def _top(root: Row) -> Iterator[Row]:
    """The top-level rows: a container of runs is told by its runs."""
    for row in root.children:
        if row.type == "Sequential" and any(child.path != child.last for child in row.children):
            yield from row.children
        else:
            yield row


def _rest(root: Row, saved_bytes: Size) -> Iterator[Layer]:
    """What stands on no module, under the path that torch has for the model itself: the ops of the
    model's own forward, and what the loss keeps. With it the rows add up to the totals."""
    own = root.cost._replace(saved_bytes=saved_bytes)
    for row in root.children:
        own = own.plus(row.cost, -row.repeat)
    numbers = own.params, own.flops, own.pointwise, own.saved_bytes
    if any(numbers):
        yield Layer("", ("", ""), root.type, 1, root.shape, *numbers, ())


def _parts(train: Row, ran: Row) -> tuple[Part, ...]:
    columns = [
        by_part(train.children, lambda cost: cost.params),
        by_part(train.children, lambda cost: cost.flops // 2),
        by_part(train.children, lambda cost: cost.pointwise),
        by_part(ran.children, lambda cost: cost.moved_bytes),
        by_part(train.children, lambda cost: cost.saved_bytes),
    ]
    # a dropout before the head runs in training alone
    parts = (Part(name, *(column.get(name, 0) for column in columns)) for name in columns[0])
    return tuple(part for part in parts if any(part[1:]))


def _layer(row: Row) -> Layer:
    return Layer(
        row.path,
        (row.path, row.last),
        row.type,
        row.repeat,
        row.shape,
        row.cost.params,
        row.cost.flops,
        row.cost.pointwise,
        row.cost.saved_bytes,
        tuple(_layer(child) for child in row.children),
    )
