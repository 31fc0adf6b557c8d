"""The work of a step: FLOPs and bytes by the resource that they occupy, part by part."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from vitcost.config import ViTConfig, configure
from vitcost.engine.kinds import KINDS
from vitcost.engine.launches import Launches, Step, moved, times
from vitcost.engine.model import Config
from vitcost.engine.ops import Op, Sizes, bytes_of, executed_backward_flops, flops, numel
from vitcost.engine.workload import Workload, workload
from vitcost.hardware.backward import ACCUMULATED, backward, rerun
from vitcost.hardware.kernels import (
    fuse,
    in_order,
    interleaved,
    layout,
    one_pass,
    rms_norm_by_torch,
    rms_norm_by_variance,
)
from vitcost.optimizers import OPTIMIZERS
from vitcost.scenario import ENGINES, PRECISIONS, Scenario, torch_version

__all__ = ["NEWEST", "Setup", "Work", "kernels_of", "setup_of", "total", "work"]


# the newest torch whose kernels are known here
NEWEST = (2, 9)


class Setup(NamedTuple):
    """How a step is run: what decides which kernels it launches."""

    precision: str  # fp32 | tf32 | amp | half
    training: bool = False
    compiled: bool = False
    layout: str = "nchw"
    platform: str = "cuda"
    torch: tuple[int, int] = NEWEST
    attention: str = "fused"  # fused | eager: the products of an attention one by one
    engine: str = ""  # what runs the model in torch's place: one of scenario.ENGINES

    @property
    def mode(self) -> str:
        return "train" if self.training else "infer"


class Work(NamedTuple):
    """FLOPs by the unit that does them, and bytes by how they are moved.

    FLOPs of products are counted as they are run: padded to whole tiles.
    """

    gemm_flops: int = 0
    conv_flops: int = 0
    attention_flops: int = 0
    stream_bytes: int = 0  # of pointwise kernels, in order
    strided_bytes: int = 0  # of pointwise kernels, across the order
    linear_bytes: int = 0
    attention_bytes: int = 0
    conv_bytes: int = 0
    weight_bytes: int = 0  # of products, which are among those above
    # of a convolutional backbone, which is not among those above
    backbone_flops: int = 0
    backbone_conv_bytes: int = 0
    backbone_bytes: int = 0
    launches: int = 0
    layers: int = 0  # attentions, one a block
    flops: int = 0  # of the definition: nothing padded, the forward pass alone

    def __add__(self, other: "Work") -> "Work":  # type: ignore[override]
        return Work(*(a + b for a, b in zip(self, other, strict=True)))


# a block of threads computes a tile of the result, whether or not the tile is full
TILE = 128
# the head widths that fused attention kernels are built for: flash_attn/src/static_switch.h, with
# those of cuDNN and the memory-efficient kernel
HEADS = (32, 64, 96, 128, 160, 192, 224, 256)
# a layer norm gives each row to a block of 128 threads: aten's layer_norm_kernel.cu
NORM_ROW = 128
# FasterTransformer fuses the attention of halves up to so many tokens: getAttentionType in
# src/fastertransformer/layers/attention_layers/BaseAttentionLayer.h
FASTER_TRANSFORMER_TOKENS = 384


def setup_of(scenario: Scenario) -> Setup:
    """What of a scenario decides which kernels run. An engine fuses what a compiler does; before
    torch 2.0 no attention was fused."""
    torch = torch_version(scenario.software) or NEWEST
    engine = scenario.software if scenario.software in ENGINES else ""
    precision = scenario.precision
    eager = scenario.attention in ("eager", "math") or torch < (2, 0)
    return Setup(
        precision if precision == "tf32" else PRECISIONS[precision].engine,
        scenario.mode == "train",
        scenario.compile or engine != "",
        scenario.layout,
        scenario.platform,
        torch,
        "eager" if eager else "fused",
        engine,
    )


def work(
    config: Config, scenario: Scenario, setup: Setup, *, optimizer: str = ""
) -> dict[str, Work]:
    """The work of one step, by part of the model.

    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(batch=256, precision="amp-bf16")
    >>> parts = work(resolve("vit_base_patch16_224").config, scenario, setup_of(scenario))
    >>> list(parts)
    ['patch_embed', 'embed', 'blocks.norm1', 'blocks.attn', 'blocks', 'blocks.norm2', 'blocks.mlp',
     'norm', 'head']
    >>> total(parts).flops == 256 * 35_127_656_448
    True
    """
    run = _run(config, scenario, setup)
    # the heads of one lie in order
    one_head = run.sizes.get("a") == 1
    parts: dict[str, Work] = {}
    for step in steps(run.kernels(), setup, one_head):
        part = _part(step.path)
        parts[part] = parts.get(part, Work()) + _work(step, run.sizes)
    if setup.training:
        parts["optimizer"] = _update(run, setup, optimizer or scenario.optimizer)
    return parts


def kernels_of(config: Config, scenario: Scenario, setup: Setup) -> tuple[str, ...]:
    """The attention kernels that a step launches, most used first."""
    return _run(config, scenario, setup).attention()


def _run(config: Config, scenario: Scenario, setup: Setup) -> Workload:
    """What is run: the model as it was in the software, which had no fused attention before torch
    2.0."""
    unfused = setup.torch < (2, 0)
    if setup.engine == "fastertransformer" and not unfused:
        tokens = workload(config, scenario).sizes.get("s", 0)
        unfused = setup.precision == "fp32" or tokens > FASTER_TRANSFORMER_TOKENS
    attention = "eager" if unfused else scenario.attention
    how = replace(scenario, mode=setup.mode, attention=attention)
    return workload(_as_measured(config, setup.torch < (2, 0)), how)


def total(parts: Mapping[str, Work]) -> Work:
    """The work of all parts."""
    return sum(parts.values(), Work())


@lru_cache(maxsize=512)
def steps(forward: Launches, setup: Setup, one_head: bool = False) -> tuple[Step, ...]:
    """Every kernel that a step launches, from those of a forward pass."""
    listed: Iterable[Step] = forward
    if setup.layout == "nchw" and setup.platform == "cuda":
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
    """timm as it was when it was measured: the joint layer of a parallel block had the MLP's bias,
    and before torch 2.0 attention scaled its scores and not its queries."""
    if not isinstance(config, ViTConfig):
        return config
    if "ParallelScaling" in config.block_fn and not config.qkv_bias:
        config = configure(config, qkv_bias=True)
    return configure(config, scale_query=False) if old and config.scale_query else config


def _part(path: str) -> str:
    """What a kernel is told under: a module, and within the blocks one of their modules."""
    first, *rest = path.split(".") if path else ["embed"]
    if rest[:1] == ["backbone"]:
        return "backbone"
    return f"{first}.{rest[0]}" if first == "blocks" and rest else first


def _work(step: Step, sizes: Sizes) -> Work:
    """The work of a step, all its launches together."""
    op, n, moving = step.op, times(step, sizes), moved(step, sizes)
    kind = KINDS[op.kind].work if step.product else ""
    own = 0 if step.backward or step.again else n * flops(op, sizes)
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
        # its elements lie in rows of one norm each
        width = sizes[op.write.axes[-1]]
        work = Work(stream_bytes=n * (moving * _whole(width, NORM_ROW) // width))
    else:
        work = Work(stream_bytes=n * moving)
    weights = sum(bytes_of(t, sizes) for t in step.reads if t is op.weight or t is op.bias)
    return work._replace(launches=n, flops=own, weight_bytes=n * weights if kind else 0)


def _padded_linear(op: Op, sizes: Sizes) -> int:
    """FLOPs of a linear layer whose output is padded to whole tiles."""
    *rows, out = op.write.axes
    return 2 * numel(rows, sizes) * numel(op.over, sizes) * _whole(sizes[out], TILE)


def _padded_attention(op: Op, sizes: Sizes, back: bool) -> int:
    """FLOPs of a fused attention: lengths padded to tiles, heads to a width that has a kernel."""
    assert op.parts is not None
    scores, weighted = (part for part in op.parts if part.over)
    *outer, queries, keys = scores.write.axes
    lengths = _whole(sizes[queries], TILE) * _whole(sizes[keys], TILE)
    widths = _head(numel(scores.over, sizes)) + _head(sizes[weighted.write.axes[-1]])
    forward = 2 * numel(outer, sizes) * lengths * widths
    if not back:
        return forward
    return forward * executed_backward_flops(op, sizes) // flops(op, sizes)


def _whole(size: int, tile: int) -> int:
    return -(-size // tile) * tile


def _head(width: int) -> int:
    return next((known for known in HEADS if known >= width), width)


def _update(run: Workload, setup: Setup, name: str) -> Work:
    """What the optimizer moves for each parameter that trains."""
    count = run.rows().cost.trainable
    accumulated = ACCUMULATED if setup.torch < (2, 0) else 0
    itemsize = 2 if setup.precision == "half" else 4
    return Work(stream_bytes=count * itemsize * (OPTIMIZERS[name].passes + accumulated))
