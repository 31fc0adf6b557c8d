"""A card's speed against its sheet: a few numbers for each card, software and mode.

The time of a step is a sum of terms, each the work for one resource over the sheet's rate of it.
A constant says how many times longer than that it takes:

    t = gemm·(F_gemm + κ·F_conv)/P + attention·F_attn/P
      + memory·(B_stream + σ·B_strided + β·(B_linear + B_attention) + B_conv)/BW
      + conv·F_conv/P + strided·B_strided/BW + t₀·launches

P is the dense peak of the precision, and that of bf16 for an optimizer's products in it, BW the
memory bandwidth. β, σ, κ and t₀ are the same everywhere; ``conv`` and ``strided`` are what one card
or version of a library departs from κ and σ, and a fit holds them near 0. A convolutional backbone
joins the first and the third term by weights of its own. The host prepares one kernel while the
card runs another: a step takes as long as the slower of the two, and the host takes h·launches, h
by software. A CPU runs an image at a time:

    t = gemm·F/(1 TFLOP/s) + memory·(B_weights + B_stream + B_attention)/(100 GB/s)
      + layer·depth/(1 ms)

and one that is timed by its trace has a share of a layer for each launch.
"""

from typing import NamedTuple

from vitcost.errors import NotCovered
from vitcost.hardware.cards import Card
from vitcost.hardware.weights import LAUNCH
from vitcost.hardware.work_classes import WEIGHED, Setup, Work

__all__ = [
    "BACKBONE",
    "BETA",
    "BEYOND_HOST",
    "CPU",
    "GPU",
    "HOST_SECONDS",
    "HOST_SPREAD",
    "KAPPA",
    "LAUNCH_SECONDS",
    "MOST_LAUNCHING",
    "SIGMA",
    "SLOWER_BY_HOST",
    "SLOWEST_HOST",
    "SMALLEST_BATCH",
    "Calibration",
    "Form",
    "Prior",
    "Sheet",
    "form_of",
    "host_of",
    "host_seconds",
    "sheet_of",
    "terms",
]

BETA = 0.5  # share of a product's bytes that no cache serves
SIGMA = 1.75  # a strided byte, in streamed ones
KAPPA = 3.0  # a FLOP of a patch convolution takes as long as so many FLOPs of a matrix product
# a backbone's FLOPs, the bytes of its convolutions, and its other bytes count as so many of the
# transformer's: a cache serves much of a map that was just written, and a compiler fuses the rest
BACKBONE = {"eager": (1.5, 1.0, 0.75), "compiled": (1.0, 0.5, 1.0)}
LAUNCH_SECONDS = 3e-6  # before a kernel does anything; the smallest models of the data show it
# seconds of an element of an image and channel that a thread resamples, one behind the other
SERIAL_SECONDS = 2.94e-07
# seconds that a host takes for a launch, by who asks for it: Python and torch's dispatcher, code
# that torch.compile wrote, an engine in C++. The middle of published timings of batches of 1 to 8
# (tests/data/published_gpu.csv), which are that of the host wherever the card is faster
HOST_SECONDS = {"eager": 25e-6, "compiled": 28e-6, "engine": 17e-6}
# nine in ten of those timings lie within these factors, below and above the predicted one
HOST_SPREAD = {"eager": (0.5, 2.2), "compiled": (0.35, 2.1), "engine": (0.6, 1.6)}
# a file's least time of a launch may be its host's if it is below SLOWEST_HOST. Steps of
# BEYOND_HOST times that a launch then tell of the card, and another step does if it exceeds its
# prediction by no more than SLOWER_BY_HOST times their median
SLOWEST_HOST = 60e-6
BEYOND_HOST = 2.5
SLOWER_BY_HOST = 1.1
# above this share of the term for launches a step tells of no constant
MOST_LAUNCHING = 0.2
# below this batch timm's files have nothing of a GPU
SMALLEST_BATCH = 16


class Sheet(NamedTuple):
    """The rates that a step's work is divided by, and that of products in bf16; 0: the first."""

    flops_per_second: float
    bytes_per_second: float
    bf16_flops_per_second: float = 0.0


class Prior(NamedTuple):
    """The value that a fit holds a constant near: being off by 1 counts like a relative error of
    ``firm`` in every measurement; with ``once`` in a single one, which decides what few of them
    leave open."""

    near: float
    firm: float
    once: bool = False


class Form(NamedTuple):
    """How work becomes time on one kind of machine, and how its constants are fitted."""

    names: tuple[str, ...]
    priors: tuple[Prior | None, ...]
    bound: tuple[str, ...]  # the resource of each term
    close: float  # relative errors below this weigh as in least squares, those above as they are


GPU = Form(
    ("gemm", "attention", "memory", "conv", "strided"),
    (
        # cards are near to these
        Prior(1.0, 0.04, once=True),
        Prior(1.2, 0.04, once=True),
        Prior(1.0, 0.04, once=True),
        Prior(0.0, 0.012),
        Prior(0.0, 0.17),
    ),
    ("compute", "compute", "memory", "compute", "memory"),
    0.01,
)
# timings of batch 1 are rough, so that small errors of theirs get no more weight
CPU = Form(
    ("gemm", "memory", "layer"),
    # 60 GB/s, and 0.5 ms a layer
    (None, Prior(100 / 60, 0.06), Prior(0.5, 0.2)),
    ("compute", "memory", "overhead"),
    1.0,
)


class Calibration(NamedTuple):
    """The constants of a card, software and mode, and how far off they were."""

    gpu: str
    setup: Setup
    constants: tuple[float, ...]  # the constants, in the order of the form's names
    rows: int
    error: float  # mean relative error on the rows that were fitted
    held_out: float | None  # and on other widths; None: there was one width
    band: float  # half-width that covers nine in ten of the latter
    source: str = ""
    least_batch: int = SMALLEST_BATCH  # below it nothing was fitted
    # calibrated, or anchored: one source alone, whose constants are the usual ones by one factor
    basis: str = "calibrated"
    # the card's constants are the usual ones times this factor; None: they were fitted one by one
    factor: float | None = None
    host_seconds: float | None = None  # seconds of a launch on the measured host
    since: tuple[int, int] | None = None  # the oldest torch that it was measured with, if several


def form_of(setup: Setup) -> Form:
    """The form of the time on a kind of machine.

    >>> form_of(Setup("amp")).names, form_of(Setup("fp32", platform="cpu")).names
    (('gemm', 'attention', 'memory', 'conv', 'strided'), ('gemm', 'memory', 'layer'))
    """
    return CPU if setup.platform == "cpu" else GPU


def sheet_of(card: Card, setup: Setup) -> Sheet:
    """The rates that a card's sheet states for a precision: FLOP/s, dense, and bytes a second.

    Raises ``NotCovered`` where no source states one of them.

    >>> from vitcost.hardware.specs import card
    >>> sheet_of(card("rtx4090"), Setup("amp"))
    Sheet(flops_per_second=165200000000000.0, bytes_per_second=1008000000000.0,
          bf16_flops_per_second=165200000000000.0)
    """
    if setup.platform == "cpu":
        return Sheet(1e12, 1e11)
    peaks = card.peaks
    exact = {"fp32": peaks.fp32, "tf32": peaks.tf32}
    peak = exact.get(setup.precision, peaks.bf16 or peaks.fp16)
    if peak is None:
        more = (
            "" if any(card.peaks) else f"; `vitcost fit -g {card.name}` asks for its memory alone"
        )
        raise NotCovered(f"no source states the {setup.precision} peak of {card.name}{more}")
    if card.bandwidth is None:
        raise NotCovered(f"no source states the memory bandwidth of {card.name}")
    # a card without units for bf16 multiplies in fp32
    bf16 = peaks.bf16 or peaks.fp32 or peak
    return Sheet(peak * 1e12, card.bandwidth, bf16 * 1e12)


def host_of(setup: Setup) -> str:
    """The caller that launches the kernels of a step: eager | compiled | engine.

    >>> host_of(Setup("amp")), host_of(Setup("amp", compiled=True))
    ('eager', 'compiled')
    """
    return "engine" if setup.engine else "compiled" if setup.compiled else "eager"


def host_seconds(work: Work, setup: Setup, of_a_launch: float | None = None) -> float:
    """Seconds that the host takes to launch a step: ``h · launches``, with h the seconds
    ``of_a_launch``, by default those of usual hosts; none on a CPU, which is its own host.

    >>> round(host_seconds(Work(launches=200), Setup("amp")), 6)  # 25 µs each
    0.005
    """
    if setup.platform == "cpu":
        return 0.0
    seconds = HOST_SECONDS[host_of(setup)] if of_a_launch is None else of_a_launch
    return seconds * work.launches


def terms(work: Work, sheet: Sheet, setup: Setup) -> tuple[tuple[float, ...], float]:
    """The seconds that each constant multiplies, and the seconds that no constant changes.

    On a card ``flops / P`` of products, ``attention_flops / P``, ``moved_bytes / BW``, ``conv_flops
    / P`` and ``strided_bytes / BW``, with the sheet's P FLOP/s and BW bytes a second; fixed are
    those of launches. Classes of work are weighed: ``KAPPA``, ``SIGMA`` and ``BETA`` have their
    sources.

    >>> work = Work(gemm_flops=10**12, stream_bytes=10**11, launches=1000)
    >>> terms(work, Sheet(1e12, 1e11), Setup("amp"))
    ((1.0, 0.0, 1.0, 0.0, 0.0), 0.003)
    """
    P, BW, bf16 = sheet
    if setup.platform == "cpu":
        moved = work.weight_bytes + work.stream_bytes + work.strided_bytes + work.attention_bytes
        moved += work.backbone_bytes
        moved_bytes = moved + work.map_bytes / WEIGHED
        flops = work.flops + work.bf16_flops + work.map_flops / WEIGHED
        return (flops / P, moved_bytes / BW, (work.layers + LAUNCH * work.serial) * 1e-3), 0.0
    kappa, convs, others = BACKBONE["compiled" if setup.compiled else "eager"]
    products = work.linear_bytes + work.attention_bytes
    # a compiled kernel goes both ways by tiles
    sigma = 1.0 if setup.compiled else SIGMA
    moved_bytes = work.stream_bytes + sigma * work.strided_bytes + BETA * products + work.conv_bytes
    moved_bytes += convs * work.backbone_conv_bytes + others * work.backbone_bytes
    moved_bytes += work.map_bytes / WEIGHED
    flops = work.gemm_flops + KAPPA * work.conv_flops + kappa * work.backbone_flops
    return (
        (flops + work.map_flops / WEIGHED) / P + work.bf16_flops / (bf16 or P),
        work.attention_flops / P,
        moved_bytes / BW,
        work.conv_flops / P,
        work.strided_bytes / BW,
    ), LAUNCH_SECONDS * work.launches + SERIAL_SECONDS * work.serial
