"""The work of a step: FLOPs and bytes by the resource that they occupy, part by part."""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from math import prod

from vitcost.config.optimizers import OPTIMIZERS, Optimizer
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine.kinds import KINDS
from vitcost.engine.launches import Launches, Step, moved, times
from vitcost.engine.model import Config
from vitcost.engine.ops import Op, Size, Sizes, bytes_of, flops, numel, params, share
from vitcost.engine.workload import Workload, workload
from vitcost.hardware.backward_work import ACCUMULATED, backward, rerun
from vitcost.hardware.kernel_passes import (
    as_rows,
    fuse,
    in_order,
    interleaved,
    layout,
    one_pass,
    rms_norm_by_torch,
    rms_norm_by_variance,
)
from vitcost.hardware.lowered import lowered, summed
from vitcost.hardware.work_classes import NORM_ROW, TILE, Setup, Work, head_width, read_bytes, whole
from vitcost.traced.digested import Digested, DigestedModel
from vitcost.traced.traced_workload import Traced

__all__ = ["kernels_of", "run_of", "work"]


# FasterTransformer fuses the attention in half precision for at most this many tokens:
# getAttentionType in src/fastertransformer/layers/attention_layers/BaseAttentionLayer.h
FASTER_TRANSFORMER_TOKENS = 384


def work(
    config: Config, scenario: Scenario, setup: Setup, *, sizes: Sizes | None = None
) -> dict[str, Work]:
    """The work of one step, by part of the model; ``optimizer`` is in place of the scenario's.

    ``sizes`` replace the config's own; they are arrays for many configs of one structure. Raises
    ``NotCovered`` as ``summed`` does.

    >>> from vitcost.hardware.work_classes import setup_of, total
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(batch=256, precision="amp-bf16")
    >>> parts = work(resolve("vit_base_patch16_224").config, scenario, setup_of(scenario))
    >>> list(parts)
    ['patch_embed', 'embed', 'blocks.norm1', 'blocks.attn', 'blocks', 'blocks.norm2', 'blocks.mlp',
     'norm', 'head']
    >>> total(parts).flops == 256 * 35_127_656_448
    True
    """
    run = run_of(config, scenario, setup)
    if isinstance(run, Digested):
        parts = summed(run.passed, run.batch, setup)
    elif isinstance(run, Traced):
        parts = lowered(run.passed, run.batch, setup)
    else:
        # the tokens of a single head are contiguous
        launched = steps(run.kernels(), setup, one_head=run.sizes.get("a") == 1)
        if sizes is not None:
            run = run_of(config, scenario, setup, sizes)
        parts = {}
        for step in launched:
            part = _part(step.path)
            parts[part] = parts.get(part, Work()) + _work(step, run.sizes)
    if setup.training:
        parts["optimizer"] = _update(run, setup)
    return parts


def kernels_of(config: Config, scenario: Scenario, setup: Setup) -> tuple[str, ...]:
    """The attention kernels that a step launches, most used first.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.zoo import resolve
    >>> config, half = resolve("vit_base_patch16_224").config, Scenario(precision="bf16")
    >>> kernels_of(config, half, setup_of(half))
    ('flash',)
    """
    run = run_of(config, scenario, setup)
    if isinstance(run, Traced | Digested) and setup.torch < (2, 0):
        return ("eager",) if run.attention() else ()
    return run.attention()


def run_of(
    config: Config, scenario: Scenario, setup: Setup, sizes: Sizes | None = None
) -> Workload:
    """The workload that runs: the model as the software had it; torch before 2.0 had no fused
    attention.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.zoo import resolve
    >>> model = resolve("convnext_tiny").config
    >>> run_of(model, Scenario(), setup_of(Scenario())).family
    'ConvNeXt'
    """
    unfused = setup.torch < (2, 0)
    if hasattr(config, "workload"):
        # a trace has the attention of the torch that traced it; an older version runs another one
        fused = scenario.attention not in ("eager", "math") or unfused
        how = replace(scenario, mode=setup.mode, attention="sdpa" if fused else scenario.attention)
        if isinstance(config, DigestedModel):
            # a processor's weights were fitted to a digest's kernels, which follow a card's rules
            how = replace(how, platform="cuda")
        return workload(config, how)
    if setup.engine == "fastertransformer" and not unfused:
        tokens = workload(config, scenario).sizes.get("s", 0)
        unfused = setup.precision == "fp32" or tokens > FASTER_TRANSFORMER_TOKENS
    attention = "eager" if unfused else scenario.attention
    how = replace(scenario, mode=setup.mode, attention=attention)
    return workload(_as_measured(config, setup.torch < (2, 0)), how, sizes)


@lru_cache(maxsize=512)
def steps(forward: Launches, setup: Setup, one_head: bool = False) -> tuple[Step, ...]:
    """Every kernel that a step launches; ``forward`` are those of its forward pass."""
    by_channel = setup.layout == "nchw" and setup.platform == "cuda"
    listed: Iterable[Step] = forward if by_channel and not setup.compiled else as_rows(forward)
    if by_channel:
        listed = layout(listed, setup.compiled)
    if not setup.compiled:
        listed = in_order(interleaved(listed), one_head)
    passed = list(one_pass(listed))
    back = [*rerun(passed), *backward(passed)] if setup.training else []
    rms_norm = rms_norm_by_torch if setup.torch >= (2, 8) else rms_norm_by_variance
    launched = [*rms_norm(passed), *back]
    if setup.compiled:
        return tuple(fuse(launched))
    return tuple(step for step in launched if step.reads or step.writes)


@lru_cache(maxsize=256)
def _as_measured(config: Config, old: bool) -> Config:
    """The config as timm had it when it was measured: the joint layer of a parallel block had the
    MLP's bias, and before torch 2.0 attention scaled its scores, not its queries."""
    if not isinstance(config, ViTConfig):
        return config
    if "ParallelScaling" in config.block_fn and not config.qkv_bias:
        config = configure(config, qkv_bias=True)
    return configure(config, scale_query=False) if old and config.scale_query else config


def _part(path: str) -> str:
    """The part of the model that a kernel belongs to: a module inside the blocks, such as
    ``blocks.attn``; else a top-level module, or the ``backbone`` of a hybrid."""
    first, *rest = path.split(".") if path else ["embed"]
    if rest[:1] == ["backbone"]:
        return "backbone"
    return f"{first}.{rest[0]}" if first == "blocks" and rest else first


def _work(step: Step, sizes: Sizes) -> Work:
    """The work of all launches of a step."""
    op, n, moving = step.op, times(step, sizes), moved(step, sizes)
    kind = KINDS[op.kind].work if step.product else ""
    defined_flops = 0 if step.backward or step.again else n * flops(op, sizes)
    if ".backbone" in step.path:
        if kind == "conv":
            work = Work(backbone_flops=n * flops(op, sizes), backbone_conv_bytes=n * moving)
        else:
            work = Work(backbone_bytes=n * moving)
    elif kind == "conv":
        work = Work(conv_flops=n * flops(op, sizes), conv_bytes=n * moving)
    elif kind == "linear":
        work = Work(gemm_flops=n * _padded_linear(op, sizes), linear_bytes=n * moving)
    elif kind == "attention":
        done = _padded_attention(op, sizes, step.backward)
        layers = 0 if step.backward or step.again else n
        work = Work(attention_flops=n * done, attention_bytes=n * moving, layers=layers)
    elif kind:
        work = Work(attention_flops=n * flops(op, sizes), attention_bytes=n * moving)
    elif step.strided:
        work = Work(strided_bytes=n * moving)
    elif (
        KINDS[op.kind].work == "norm"
        and step.writes[:1] == (op.write,)
        and step.reads[:1] == op.reads
    ):
        # its elements are arranged in rows, each of which is normed
        width = sizes[op.write.axes[-1]]
        work = Work(stream_bytes=n * share(moving, whole(width, NORM_ROW), width))
    else:
        work = Work(stream_bytes=n * moving)
    weights = sum(
        read_bytes(bytes_of(t, sizes)) for t in step.reads if t is op.weight or t is op.bias
    )
    return work._replace(launches=n, flops=defined_flops, weight_bytes=n * weights if kind else 0)


def _padded_linear(op: Op, sizes: Sizes) -> int:
    """FLOPs of a linear layer whose output is padded to whole tiles."""
    *rows, out = op.write.axes
    return 2 * numel(rows, sizes) * numel(op.over, sizes) * whole(sizes[out], TILE)


def _padded_attention(op: Op, sizes: Sizes, back: bool) -> int:
    """FLOPs of a fused attention: lengths are padded to whole tiles, heads to a width for which
    there is a kernel."""
    assert op.parts is not None
    scores, weighted = (part for part in op.parts if part.over)
    *outer, queries, keys = scores.write.axes
    lengths = whole(sizes[queries], TILE) * whole(sizes[keys], TILE)
    wide = head_width(numel(scores.over, sizes))
    deep = head_width(sizes[weighted.write.axes[-1]])
    # forward: scores and output; backward: the scores again, and the gradients of v, scores, q and
    # k
    return 2 * numel(outer, sizes) * lengths * (3 * wide + 2 * deep if back else wide + deep)


def _update(run: Workload, setup: Setup) -> Work:
    """The bytes and the products of an optimizer's step on the parameters that train."""
    row = OPTIMIZERS[run.scenario.optimizer]
    if not row.rest:
        return _moved(row, _trained(run), setup)
    work = Work()
    for parameter in run.parameters():
        if parameter.trains:
            shape = tuple(run.sizes[axis] for axis in parameter.tensor.axes)
            part, number = row.of(shape), parameter.repeat(run.sizes)
            work += _moved(part, number * prod(shape), setup)
            if part.products is not None:
                work += Work(bf16_flops=number * part.products(shape))
    return work


def _trained(run: Workload) -> Size:
    if isinstance(run, Traced | Digested):
        return run.rows().cost.trainable
    # every parameter belongs to one op, which is launched once for each layer
    forward = (step for step in run.kernels() if step.op.trains)
    return sum(times(step, run.sizes) * params(step.op, run.sizes) for step in forward)


def _moved(row: Optimizer, count: Size, setup: Setup) -> Work:
    accumulated = ACCUMULATED if setup.torch < (2, 0) else 0
    itemsize = 2 if setup.precision == "half" else 4
    return Work(stream_bytes=count * (itemsize * (row.passes + accumulated) + row.moved))
