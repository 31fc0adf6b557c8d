"""Measures Vision Transformers on the card at hand: speed, and peak memory beside the prediction.

    python examples/measure.py --out mine --minutes 12
    vitcost calibrate mine-throughput.csv -o mine.toml
    vitcost check --throughput mine-throughput.csv
    vitcost report vit_base_patch16_224 -g h100-sxm --calibration mine.toml

Real torch models (timm's where timm is installed, and those of no formula there alone), each mode,
eager and compiled, batches from 1 to 512, after a warm-up, the median of steps timed by CUDA
events. Rows are written as they come, eager inference first: a run that is cut short leaves what it
has. Needs ``vitcost[torch]``. Nothing here was run on a card yet: its constants are not among those
that vitcost ships.
"""

import argparse
import csv
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch
from torch import Tensor, nn

import vitcost
from vitcost.check.witness import case_of
from vitcost.hardware.specs import card
from vitcost.zoo import resolve

# widths from 192 to 1664, sequences from 50 to 785 tokens
MODELS = (
    "vit_tiny_patch16_224", "vit_tiny_patch16_384", "vit_small_patch32_224",
    "vit_small_patch16_224", "vit_small_patch8_224", "vit_base_patch32_224",
    "vit_base_patch16_224", "vit_base_patch16_384", "vit_base_patch8_224",
    "vit_base_patch16_siglip_gap_224", "vit_so150m_patch16_reg4_gap_256",
    "vit_large_patch32_384", "vit_large_patch16_224", "vit_large_patch14_224",
    "vit_huge_patch14_224", "vit_giant_patch14_224", "vit_gigantic_patch14_224",
)  # fmt: skip
# and of no formula: windows, maps, and both
TRACED = (
    "swin_tiny_patch4_window7_224", "convnext_tiny", "resnet50", "efficientnet_b0", "pvt_v2_b2",
    "hiera_tiny_224",
)  # fmt: skip
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# a compiler takes half a minute for each
COMPILED = (1, 64)
DTYPES = {"amp-bf16": torch.bfloat16, "amp-fp16": torch.float16, "bf16": torch.bfloat16,
          "fp16": torch.float16, "fp32": torch.float32}  # fmt: skip


class Case(NamedTuple):
    """One line of the result: what is run, and how."""

    model: str
    batch: int
    mode: str
    compile: bool


class Found(NamedTuple):
    """The median of a step, and the most bytes of tensors that were alive; None off a card."""

    seconds: float
    peak_bytes: int | None


def arguments(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", default="measured", help="the start of both files' names")
    parser.add_argument("--gpu", default="", help="what the card is called in the files")
    parser.add_argument("--models", nargs="+", default=(*MODELS, *TRACED), metavar="MODEL")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="N")
    parser.add_argument("--compiled", nargs="+", type=int, default=COMPILED, metavar="N",
                        help="those of the batches that are compiled too")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=0.0, help="no case starts later; 0: any")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the steps of a case, about")
    parser.add_argument("--modes", nargs="+", default=("infer", "train"))
    parser.add_argument("--precision", default="amp-bf16", choices=DTYPES)
    parser.add_argument("--layout", default="nchw", choices=("nchw", "nhwc"))
    parser.add_argument("--eager", action="store_true", help="nothing compiled")
    parser.add_argument("--warm-up", type=int, default=10, metavar="STEPS")
    parser.add_argument("--steps", type=int, default=30, metavar="STEPS")
    return parser.parse_args(args)


def step_of(model: nn.Module, case: Case, images: Tensor, given: Any) -> Callable[[], None]:
    """One step: a forward pass, or a whole training step with AdamW."""
    device = images.device.type
    half = DTYPES[given.precision]

    def autocast() -> AbstractContextManager[object]:
        amp = given.precision.startswith("amp")
        return torch.autocast(device, dtype=half) if amp else nullcontext()

    def infer() -> None:
        with torch.no_grad(), autocast():
            model(images)

    if case.mode == "infer":
        return infer
    targets = torch.zeros(case.batch, dtype=torch.long, device=images.device)
    optimizer = torch.optim.AdamW(model.parameters())

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()

    return train


def prepared(case: Case, given: Any, device: torch.device) -> tuple[nn.Module, Tensor]:
    """The model and its images, where and how they are run."""
    config = resolve(case.model).config
    if hasattr(config, "workload"):
        # of no formula: timm's, on images of the size that its digest is of
        model, sides, channels = _timm(case.model).to(device), config.input_size, 3
    else:
        # with torch's own fused attention, as timm has it
        model = case_of(case.model, config, case.batch, {}).provider(config, True).to(device)
        sides, channels = config.img_size, config.in_chans
    images = torch.randn(case.batch, channels, *sides, device=device)
    if given.precision in ("bf16", "fp16"):
        model, images = model.to(DTYPES[given.precision]), images.to(DTYPES[given.precision])
    if given.layout == "nhwc":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    model.train(case.mode == "train")
    if case.compile:
        model.compile()
    return model, images


def _timm(name: str) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise vitcost.NotCovered("timm builds it, and is not installed") from None
    return timm.create_model(name)


def measured(case: Case, given: Any, device: torch.device) -> Found:
    """The median of timed steps after a warm-up, and the peak of these; fewer steps where they are
    long."""
    model, images = prepared(case, given, device)
    step = step_of(model, case, images, given)
    for _ in range(2):
        step()
    took = by_clock(step, device)
    for _ in range(min(given.warm_up, int(given.seconds / took / 2)) - 3):
        step()
    steps = min(given.steps, max(3, int(given.seconds / took)))
    if device.type != "cuda":
        return Found(statistics.median(by_clock(step, device) for _ in range(steps)), None)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    events = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(steps)]
    for start, end in events:
        start.record()
        step()
        end.record()
    torch.cuda.synchronize()
    seconds = statistics.median(start.elapsed_time(end) / 1000 for start, end in events)
    return Found(seconds, torch.cuda.max_memory_allocated())


def by_clock(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cases(given: Any) -> Iterator[Case]:
    """Every case, those of all models in one mode before the next, eager before compiled."""
    compiled = (False,) if given.eager else (False, True)
    for by_compiler, mode, model in product(compiled, given.modes, given.models):
        for batch in sorted(given.batches):
            if not by_compiler or batch in given.compiled:
                yield Case(model, batch, mode, by_compiler)


def rows(case: Case, found: Found, given: Any, gpu: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The line of the file that ``vitcost calibrate`` reads, and that of memory."""
    how = {
        "gpu": gpu,
        "mode": case.mode,
        "precision": given.precision,
        "layout": given.layout,
        "compile": int(case.compile),
        "torch": torch.__version__,
        "optimizer": "adamw",
    }
    report = vitcost.report(
        case.model,
        batch=case.batch,
        precision=given.precision,
        platform="cpu" if gpu.startswith("cpu") else "cuda",
    )
    config = report.model.config
    size = (getattr(config, "img_size", None) or config.input_size)[0]
    what = {"model": case.model, "img_size": size, "batch_size": case.batch}
    predicted = report.training.peak_bytes if case.mode == "train" else report.inference.total_bytes
    speed = {"samples_per_sec": case.batch / found.seconds, "step_time_ms": 1000 * found.seconds}
    memory = {"peak_bytes": found.peak_bytes, "predicted_peak_bytes": predicted}
    return {**what, **speed, **how}, {**what, **memory, **how}


def line(file: TextIO, row: dict[str, Any]) -> None:
    writer = csv.DictWriter(file, list(row), lineterminator="\n")
    if file.tell() == 0:
        writer.writeheader()
    writer.writerow(row)
    file.flush()


def name_of(given: Any, device: torch.device) -> str:
    """The card's name in the catalogue; a card that it has not must be given a name."""
    if given.gpu:
        return str(given.gpu)
    return card(torch.cuda.get_device_name()).name if device.type == "cuda" else "cpu-here"


def main() -> None:
    given = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = name_of(given, device)
    paths = [Path(f"{given.out}-{what}.csv") for what in ("throughput", "memory")]
    full: set[Case] = set()
    start = time.perf_counter()
    with paths[0].open("w", newline="") as speed, paths[1].open("w", newline="") as memory:
        for case in cases(given):
            if case._replace(batch=0) in full:
                continue
            if given.minutes and time.perf_counter() - start > 60 * given.minutes:
                print(f"{given.minutes:g} minutes are over before {case}", file=sys.stderr)
                break
            try:
                found = measured(case, given, device)
            except vitcost.NotCovered as reason:
                print(f"{case.model}: {reason}", file=sys.stderr)
                full.add(case._replace(batch=0))
                continue
            except torch.cuda.OutOfMemoryError:
                print(f"{case}: out of memory, and so are larger batches", file=sys.stderr)
                full.add(case._replace(batch=0))
                continue
            finally:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
            for file, row in zip((speed, memory), rows(case, found, given, gpu), strict=True):
                line(file, row)
            print(f"{case}: {1000 * found.seconds:.2f} ms")
    print(f"wrote {paths[0]} and {paths[1]}")


if __name__ == "__main__":
    main()
