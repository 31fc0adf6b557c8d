"""Published training runs beside what ``plan`` says of them, with the margin of each.

    python examples/known_runs.py

FLOPs rest on nothing but the model. A time rests on what a card makes of its peak: where a paper
shows that for one run, the others follow from it (an efficiency or an anchor, named below). Nothing
of reading data is in a plan, which small models on many cards wait for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import vitcost
from vitcost.config.text_config import TextConfig
from vitcost.planner.plan import Plan

VIT = "Dosovitskiy et al. 2021, arXiv 2010.11929"
DEIT = "Touvron et al. 2021, arXiv 2012.12877, section 5.6: V100"
DEIT3 = "facebookresearch/deit issue 198, by the author: V100, ImageNet-21k"
GPT3 = "Brown et al. 2020, arXiv 2005.14165, table D.1"
MEGATRON = "Narayanan et al. 2021, arXiv 2104.04473"

# JFT-300M: images by section 4.1 of the ViT paper, classes by Sun et al. 2017, arXiv 1707.02968
JFT: dict[str, Any] = {"samples": 303_000_000, "num_classes": 18_291, "global_batch": 4096}
# a core of a TPU v3 is half a chip: https://cloud.google.com/tpu/docs/v3; its links are not used
# beyond their bandwidth by any of these runs. 0.43 of its peak is between what the two models reach
CORE = "tpu-v3-core,bf16_tflops=61.5,bandwidth_gbps=450,memory_gb=16,link_gbps=70"
CORES: dict[str, Any] = {
    "gpu": CORE, "gpus": 512, "precision": "amp-bf16", "efficiency": 0.43, "checkpointing": "none",
    "zero": 0, "tensor_parallel": 1,
}  # fmt: skip
# the paper names no network; 100 Gbit/s a card, and it hides behind the backward pass
V100: dict[str, Any] = {
    "gpu": "v100-sxm2", "network": "12.5 GB/s", "precision": "amp-fp16", "zero": 0,
    "tensor_parallel": 1,
}  # fmt: skip
# DeiT-B on one node of 8: 300 epochs of 1,281,167 images in 53 hours
ANCHOR = f"deit_base_patch16_224={300 * 1_281_167 / (53 * 3600 * 8):.1f}"
# 8 cards of a node share 8 links of 200 Gbit/s; a card computes at half of its peak
A100: dict[str, Any] = {
    "gpu": "a100-sxm-80gb", "network": "25 GB/s", "recipe": "megatron-fp16", "attention": "eager",
    "efficiency": 0.5, "zero": 0, "checkpointing": "block",
}  # fmt: skip


class Run(NamedTuple):
    """What was published of a run, and what a plan says of it in the same unit."""

    name: str
    published: float
    unit: str
    planned: Callable[[], float]
    margin: float  # relative
    source: str


def exaflops(model: str, epochs: int) -> float:
    p = vitcost.plan(model, epochs=epochs, **JFT, **CORES)
    return p.totals.model_flops / 1e18


def core_days(model: str, epochs: int) -> float:
    return best(vitcost.plan(model, epochs=epochs, **JFT, **CORES)).gpu_hours / 24


def deit(nodes: int, **asked: Any) -> float:
    p = vitcost.plan(
        "deit_base_patch16_224", samples=1_281_167, epochs=300, global_batch=1024, nodes=nodes,
        checkpointing="none", **V100, **asked,
    )  # fmt: skip
    return best(p).run_seconds / 3600


def deit3(model: str, nodes: int) -> float:
    """An epoch of ImageNet-21k, 14,197,122 images, as fast as the anchor."""
    p = vitcost.plan(
        model, samples=14_197_122, global_batch=2048, nodes=nodes, anchor=ANCHOR, micro_batch=32,
        num_classes=21_841, **V100,
    )  # fmt: skip
    return best(p).run_seconds


def zettaflops(model: str) -> float:
    """300 billion tokens by the rule of 6."""
    p = vitcost.plan(model, samples=300_000_000_000 // 2048, global_batch=8, **(A100 | {"gpus": 8}))
    return p.totals.rule_flops / 1e21


def megatron(width: int, layers: int, heads: int) -> TextConfig:
    return TextConfig(
        vocab_size=51_200, context_length=2048, embed_dim=width, depth=layers, num_heads=heads
    )


def divided(
    model: TextConfig, tensor: int, pipeline: int, gpus: int, batch: int, tokens: int
) -> Plan:
    return vitcost.plan(
        model, samples=-(-tokens // 2048), global_batch=batch, nodes=gpus // 8,
        tensor_parallel=tensor, pipeline_parallel=pipeline,
        sequence_parallel=False if tensor > 1 else None, **A100,
    )  # fmt: skip


def teraflops(
    width: int, layers: int, heads: int, tensor: int, pipeline: int, gpus: int, batch: int
) -> float:
    """What a card achieves by the paper's count, which runs every block's forward twice."""
    s, V, h, L = 2048, 51_200, width, layers
    flops = batch * (96 * s * L * h**2 + 16 * s**2 * L * h + 6 * s * h * V)
    p = divided(megatron(width, layers, heads), tensor, pipeline, gpus, batch, batch * s)
    return flops / best(p).step_seconds / gpus / 1e12


def days(
    width: int, layers: int, heads: int, pipeline: int, gpus: int, batch: int, tokens: int
) -> float:
    p = divided(megatron(width, layers, heads), 8, pipeline, gpus, batch, tokens)
    return best(p).run_seconds / 86_400


class Best(NamedTuple):
    step_seconds: float
    run_seconds: float
    gpu_hours: float


def best(p: Plan) -> Best:
    assert p.best is not None, "nothing fits"
    row = p.best
    return Best(row.step_seconds or 0.0, row.run_seconds or 0.0, row.gpu_hours or 0.0)


# width, layers, heads, tensor, pipeline, cards, batch, and the TFLOP/s that a card achieved
TABLE_1 = (
    ("1.7 B", (2304, 24, 24, 1, 1, 32, 512), 137),
    ("3.6 B", (3072, 30, 32, 2, 1, 64, 512), 138),
    ("7.5 B", (4096, 36, 32, 4, 1, 128, 512), 142),
    ("18.4 B", (6144, 40, 48, 8, 1, 256, 1024), 135),
    ("39.1 B", (8192, 48, 64, 8, 2, 512, 1536), 138),
    ("76.1 B", (10240, 60, 80, 8, 4, 1024, 1792), 140),
    ("145.6 B", (12288, 80, 96, 8, 8, 1536, 2304), 148),
    ("310.1 B", (16384, 96, 128, 8, 16, 1920, 2160), 155),
    ("529.6 B", (20480, 105, 128, 8, 35, 2520, 2520), 163),
    ("1008 B", (25600, 128, 160, 8, 64, 3072, 3072), 163),
)

RUNS = (
    *(
        Run(f"{name}, {epochs} epochs", flops, "EFLOPs", lambda m=model, e=epochs: exaflops(m, e),
            0.015, f"{VIT}, table 6")
        for name, model, epochs, flops in (
            ("ViT-B/32", "vit_base_patch32_224", 7, 55),
            ("ViT-B/16", "vit_base_patch16_224", 7, 224),
            ("ViT-L/32", "vit_large_patch32_224", 7, 196),
            ("ViT-L/16", "vit_large_patch16_224", 14, 1567),
            ("ViT-H/14", "vit_huge_patch14_224", 14, 4262),
        )
    ),
    Run("ViT-L/16, JFT", 680, "core-days", lambda: core_days("vit_large_patch16_224", 14), 0.2,
        f"{VIT}, table 2"),
    Run("ViT-H/14, JFT", 2500, "core-days", lambda: core_days("vit_huge_patch14_224", 14), 0.2,
        f"{VIT}, table 2"),
    # the card was never measured, and the run waits for images too: a plan is far too fast
    Run("DeiT-B, 8 cards, predicted", 53, "h", lambda: deit(1, software="1.7"), 0.45, DEIT),
    Run("DeiT-B, 16 cards, anchored", 37, "h",
        lambda: deit(2, anchor=ANCHOR, micro_batch=64), 0.3, DEIT),
    Run("DeiT III-L, an epoch, anchored", 5976.1, "s",
        lambda: deit3("deit3_large_patch16_224", 4), 0.2, DEIT3),
    Run("DeiT III-H, an epoch, anchored", 8319.3, "s",
        lambda: deit3("deit3_huge_patch14_224", 8), 0.2, DEIT3),
    Run("GPT-3 175B", 314, "ZFLOPs", lambda: zettaflops("gpt3-175b"), 0.005, GPT3),
    *(
        Run(f"Megatron {name}", rate, "TFLOP/s a card", lambda a=arguments: teraflops(*a), 0.25,
            f"{MEGATRON}, table 1")
        for name, arguments, rate in TABLE_1
    ),
    Run("Megatron, GPT-3", 34, "days",
        lambda: days(12288, 96, 96, 8, 1024, 1536, 300_000_000_000), 0.05,
        f"{MEGATRON}, section 5.1"),
    Run("Megatron, 1008 B", 84, "days",
        lambda: days(25600, 128, 160, 64, 3072, 3072, 450_000_000_000), 0.25,
        f"{MEGATRON}, section 5.1"),
)  # fmt: skip


def main() -> None:
    print(f"{'run':32} {'published':>10} {'planned':>10}  {'off':>7}  {'margin':>6}  source")
    for run in RUNS:
        planned = run.planned()
        off = planned / run.published - 1
        print(
            f"{run.name:32} {run.published:10,.6g} {planned:10,.5g}  {off:+7.1%}  "
            f"{run.margin:6.1%}  {run.unit}; {run.source}"
        )


if __name__ == "__main__":
    main()
