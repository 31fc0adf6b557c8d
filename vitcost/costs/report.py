"""``report``: every number on a model's page."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config.flags import FLAGS, check_layout, settled
from vitcost.config.scenario import Scenario
from vitcost.costs import memory
from vitcost.costs.report_types import Flops, InferenceRow, Layer, Part, Report
from vitcost.costs.summary import counted_params
from vitcost.costs.thumb import compared
from vitcost.engine.cost import Cost, Row
from vitcost.engine.ops import Size
from vitcost.engine.parts import by_part
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError
from vitcost.outside.arguments import listed, takes
from vitcost.zoo import Model, Resolved, resolve

if TYPE_CHECKING:
    from vitcost.hardware.basis import Anchor
    from vitcost.hardware.cards import Card

    Gpus: TypeAlias = str | Card | Iterable[str | Card]
    Files: TypeAlias = str | Iterable[str]
    Anchors: TypeAlias = str | Anchor | Iterable[str | Anchor]

__all__ = [
    "Report", "check_cards", "report", "report_in", "report_on", "tensors_on", "with_times",
]  # fmt: skip


@takes(gpu=listed, gpu_file=listed, calibration=listed, anchor=listed)
@settled("report")
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
    policy: str = "none",
    ema_dtype: str = "model",
    ema_device: str = "model",
    optimizer_in_backward: bool = False,
    grad_scaler: bool = False,
    gather: str = "all",
    **overrides: Any,
) -> Report:
    """The costs of a model: parameters, FLOPs, memory traffic, memory and time, without building
    it.

    A module that no formula describes is traced: ``from_torch`` makes a model of it, and so does
    ``package.module:factory``, with ``input`` and ``loss`` as fields. ``batch`` is the number of
    images, or texts, of one rank; a training step has ``accumulate`` such batches on each of
    ``ranks`` cards. ``lora`` is the rank of the adapters, ``ema`` the number of averages. ``gpu``
    names the cards for the time (``vitcost gpus``); ``gpu_file`` has the user's own cards,
    ``calibration`` constants that ``calibrate`` wrote, and ``anchor`` is a measured speed of a
    card: ``MODEL=IMAGES_PER_SECOND``.

    A flag of training (``ema``, ``zero``, …: ``vitcost.config.flags``) makes the mode ``train`` if
    a card is named and no mode is given; in inference it changes only the training quantities.
    ``overrides`` are fields of the config (``num_classes=5``, ``img_size=384``). Raises
    ``VitcostError``: an unknown name, an invalid field, a scenario that is not covered.

    >>> r = report("vit_huge_patch14_224")
    >>> r.params, r.flops.macs_forward
    (632045800, 167295109120)
    """
    # each flag of the scenario is an argument of this function with the same name
    arguments = locals()
    scenario = Scenario.of(**{flag: arguments[flag] for flag in FLAGS})
    resolved = resolve(model, **overrides)
    scenario = scenario.added_to(resolved.flags)
    reported = report_in(resolved, scenario)
    check_cards(gpu, gpu_file, calibration, anchor)
    if not gpu:
        return reported
    return with_times(reported, gpu, gpu_file=gpu_file, calibration=calibration, anchor=anchor)


def report_in(resolved: Resolved, scenario: Scenario, *, by_precision: bool = True) -> Report:
    """The report on a model in a scenario, without a card.

    ``by_precision``: whether the report has inference memory in each precision. Raises
    ``VitcostError`` for a scenario that is not covered.

    >>> found = resolve("vit_base_patch16_224")
    >>> report_in(found, Scenario(precision="bf16")).inference.weights_bytes == 2 * 86_567_656
    True
    """
    run = workload(resolved.config, scenario)
    reported = report_on(resolved, run)
    return (
        replace(reported, inference_by_precision=_by_precision(run)) if by_precision else reported
    )


def with_times(reported: Report, gpu: "Gpus", **given: Any) -> Report:
    """The report with the time on each card; ``given`` is as for ``hardware.timed.timed``, and so
    are the errors, ``VitcostError``.

    >>> reported = report_in(resolve("vit_base_patch16_224"), Scenario(batch=64))
    >>> [time.gpu for time in with_times(reported, ["l4", "t4"]).time]
    ['l4', 't4']
    """
    # imported only for a page with a card
    from vitcost.hardware.timed import timed

    model, scenario = reported.model, reported.scenario
    run = workload(model.config, scenario)
    tensors = tensors_on(
        run, lambda on: reported if on == scenario else report_on(model, run.under(on))
    )
    return replace(reported, time=timed(model.config, scenario, gpu, tensors=tensors, **given))


def check_cards(gpu: object, gpu_file: object, calibration: object, anchor: object) -> None:
    """Raises ``ConfigError`` for figures of a card if no card is named.

    >>> check_cards("l4", "cards.toml", (), ())
    >>> check_cards((), "cards.toml", (), ())
    Traceback (most recent call last):
    vitcost.errors.ConfigError: anchor, calibration and gpu_file change a time: give a gpu
    """
    if not gpu and (gpu_file or calibration or anchor):
        raise ConfigError("anchor, calibration and gpu_file change a time: give a gpu")


def tensors_on(
    run: Workload, reported: Callable[[Scenario], Report]
) -> Callable[[Scenario], int | None]:
    """A function from a card's scenario to the bytes of tensors there, which decide whether they
    fit.

    ``reported`` makes the report under a scenario. The function returns None if the bytes are not
    known.

    >>> found = resolve("vit_base_patch16_224")
    >>> run = workload(found.config, Scenario(batch=64, mode="train"))
    >>> tensors = tensors_on(run, lambda scenario: report_on(found, run.under(scenario)))
    >>> tensors(run.scenario)
    8730708904
    """

    def tensors(on_card: Scenario) -> int | None:
        asked = run.scenario.attention
        if on_card.attention != asked and set(run.attention()) <= {"eager"}:
            # the model calls no attention kernel, so the card's choice of one does not matter
            on_card = replace(on_card, attention=asked)
        other = reported(on_card)
        if on_card.mode == "train":
            return other.training.peak_bytes
        return other.inference.total_bytes

    return tensors


def _by_precision(asked_run: Workload) -> tuple[InferenceRow, ...]:
    """Inference memory in each precision, with eager and with torch's fused attention."""
    chosen = asked_run.scenario.precision, asked_run.scenario.attention
    plain = replace(
        asked_run.scenario, mode="infer", recipe="torch", policy="none", grad_scaler=False
    )
    if asked_run.at_once:
        # ranks divide no weights in inference, so the sizes of their shards are not computed
        plain = replace(plain, zero=0)
    choices = [(p, a) for p in ("fp32", "amp-bf16", "bf16") for a in ("eager", "sdpa")]
    rows: dict[tuple[str, tuple[str, ...]], InferenceRow] = {}

    @cache
    def row(precision: str, attention: str) -> InferenceRow:
        run = asked_run.under(replace(plain, precision=precision, attention=attention))
        asked = (precision, attention) == chosen
        return InferenceRow(precision, run.attention(), memory.inference(run), asked)

    # a traced model would need one run for each precision: its page has only the precision asked
    # for
    for choice in [*(choices if asked_run.at_once else ()), chosen]:
        # the scenario's own choice comes last, and replaces a row that runs the same kernels
        inference = row(*choice)
        rows[inference.precision, inference.attention_kernel] = inference
    return tuple(rows.values())


def report_on(model: Resolved, run: Workload) -> Report:
    """The report on a workload of a model; its sizes may be integers, arrays or symbols. Raises
    ``VitcostError`` for a scenario that is not covered.

    >>> found = resolve("vit_base_patch16_224")
    >>> reported = report_on(found, workload(found.config, Scenario()))
    >>> reported.params, reported.flops.macs_forward
    (86567656, 17563828224)
    """
    scenario = run.scenario
    check_layout(model.config, scenario)
    in_eval, in_step = (run.under(replace(scenario, mode=mode)) for mode in ("infer", "train"))
    infer, has_step = in_eval.rows(), not in_step.no_step
    train = in_step.rows() if has_step else infer
    ran = train if run.training else infer
    total = train.cost
    unknown = run.unknown | (in_step if has_step else in_eval).unknown
    inference, training = memory.inference(in_eval), memory.step(in_step)
    saved_bytes = training.saved_activations_bytes or 0
    return Report(
        model=model,
        scenario=scenario,
        attention_kernel=run.attention(),
        tokens=run.sizes.get("s"),
        params=total.params,
        trainable_params=total.trainable,
        torchsummary_params=counted_params(model.config, train),
        flops=Flops(
            total.flops,
            total.backward_flops if has_step else None,
            total.executed_flops,
            total.executed_backward_flops if has_step else None,
            None if "pointwise" in unknown else total.pointwise,
        ),
        moved_bytes=None if "moved_bytes" in unknown else ran.cost.moved_bytes,
        rule_of_thumb=compared(
            total.params,
            inference.total_bytes,
            training.sum_bytes,
            saved_bytes,
            model.config,
            run.sizes,
        ),
        inference=inference,
        training=training,
        parts=_parts(train, ran),
        layers=(*map(_layer, _top(train)), *_rest(train, saved_bytes)),
    )


def _top(root: Row) -> Iterator[Row]:
    """The rows of top-level modules; a container of several runs of layers has a row for
    each run."""
    for row in root.children:
        if row.type == "Sequential" and any(child.path != child.last for child in row.children):
            yield from row.children
        else:
            yield row


def _rest(root: Row, saved_bytes: Size) -> Iterator[Layer]:
    """The row of the model itself, under torch's empty path: ops of the model's own forward, and
    the tensors that the loss saves. With this row the rows add up to the totals."""
    own_cost = root.cost._replace(saved_bytes=saved_bytes)
    for row in root.children:
        own_cost = own_cost.plus(row.cost, -row.repeat)
    numbers = _numbers(own_cost)
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
    # a part whose numbers are all 0 is left out, such as a dropout before the head in eval
    parts = (Part(name, *(column.get(name, 0) for column in columns)) for name in columns[0])
    return tuple(part for part in parts if any(part[1:]))


def _layer(row: Row) -> Layer:
    return Layer(
        row.path,
        (row.path, row.last),
        row.type,
        row.repeat,
        row.shape,
        *_numbers(row.cost),
        tuple(map(_layer, row.children)),
    )


def _numbers(cost: Cost) -> tuple[Size, Size, Size, Size]:
    return cost.params, cost.flops, cost.pointwise, cost.saved_bytes
