"""Models of equal FLOPs that differ 1.5 to 1.7 times in speed, and what in the list of their
operations explains it.

    python examples/equal_flops.py

Measured images a second are timm's published benchmark results (RTX 5090 and 4090, autocast,
huggingface/pytorch-image-models at aa4b5850, results/benchmark-infer-amp-nchw-*.csv).
"""

from typing import NamedTuple

import vitcost
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Work, setup_of, total
from vitcost.units import si


class Measured(NamedTuple):
    """A model, its batch, and how many images a second were measured."""

    model: str
    batch: int
    images_per_second: float


class Pair(NamedTuple):
    """Two models of equal FLOPs on one card, the slower one first."""

    gpu: str
    compile: bool
    torch: str
    slow: Measured
    fast: Measured
    why: str


PAIRS = (
    Pair(
        "rtx5090",
        False,
        "2.9",
        Measured("vit_dpwee_patch16_reg1_gap_256", 1024, 6049.0),
        Measured("vit_pwee_patch16_reg1_gap_256", 1024, 10305.62),
        "differential attention runs two maps of scores, and pointwise kernels between them",
    ),
    Pair(
        "rtx4090",
        False,
        "2.4",
        Measured("eva02_base_patch16_clip_224", 1024, 1707.16),
        Measured("vit_base_patch16_224", 1024, 2787.15),
        "rotary embeddings, gates and a norm inside the MLP are pointwise: no FLOP tool sees them",
    ),
    Pair(
        "rtx4090",
        True,
        "2.9",
        Measured("vit_dpwee_patch16_reg1_gap_256", 1024, 8344.47),
        Measured("vit_base_patch32_clip_224", 1024, 12645.01),
        "a compiler fuses the pointwise work; five times the tokens at a third of the width stay",
    ),
)
COLUMNS = ("gemm", "attention", "pointwise", "products", "launches")


def listed(report: vitcost.Report) -> tuple[str, ...]:
    """What one image costs: FLOPs as they are run, bytes by pointwise kernels and by products."""
    scenario = report.scenario
    done: Work = total(work(report.model.config, scenario, setup_of(scenario)))
    numbers = (
        done.gemm_flops + done.conv_flops,
        done.attention_flops,
        done.stream_bytes + done.strided_bytes,
        done.linear_bytes + done.attention_bytes + done.conv_bytes,
    )
    return (*(si(number // scenario.batch) for number in numbers), str(done.launches))


def show(pair: Pair) -> None:
    how = "compiled" if pair.compile else "eager"
    print(f"{pair.gpu}, torch {pair.torch}, {how}: {pair.why}")
    print(f"  {'':32} {'FLOPs':>8} {'measured':>9} {'predicted':>10} {'of peak':>8}", end="")
    print("".join(f"{title:>11}" for title in COLUMNS))
    rates = []
    for each in (pair.slow, pair.fast):
        report = vitcost.report(
            each.model,
            batch=each.batch,
            precision="amp-bf16",
            compile=pair.compile,
            software=pair.torch,
            gpu=pair.gpu,
        )
        (time,) = report.time
        flops = si(report.flops.forward // each.batch)
        line = f"  {each.model:32} {flops:>8} {each.images_per_second:9,.0f}"
        print(f"{line} {time.images_per_second:10,.0f} {time.peak_share or 0:8.0%}", end="")
        print("".join(f"{number:>11}" for number in listed(report)))
        rates.append(time.images_per_second)
    measured = pair.fast.images_per_second / pair.slow.images_per_second
    print(f"  {'how many times as fast':41} {measured:9.2f} {rates[1] / rates[0]:10.2f}\n")


if __name__ == "__main__":
    print(
        "an image: FLOPs of the definition, images/s; FLOPs as run, bytes moved, launches a step\n"
    )
    for pair in PAIRS:
        show(pair)
