"""A card's speed against its sheet: a few numbers for each card, software and mode.

The time of a step is a sum of terms, each the work for one resource over the sheet's rate of it. A
constant says by which factor the real time is longer:

    t = gemm·(F_gemm + κ·F_conv)/P + attention·F_attn/P
      + memory·(B_stream + σ·B_strided + β·(B_linear + B_attention) + B_conv)/BW
      + conv·F_conv/P + strided·B_strided/BW + t₀·launches

P is the dense peak of the precision (for an optimizer's products in bf16 the peak of bf16), BW the
memory bandwidth. β, σ, κ and t₀ are the same everywhere; ``conv`` and ``strided`` are the
deviations of one card or library version from κ and σ, and a fit holds them near 0. The work of a
convolutional backbone is added to the first and the third term with weights of its own. The host
prepares one kernel while the card runs another: a step takes as long as the slower of the two. The
host takes h·launches; h depends on the software. A CPU runs an image at a time:

    t = gemm·F/(1 TFLOP/s) + memory·(B_weights + B_stream + B_attention)/(100 GB/s)
      + layer·depth/(1 ms)

a traced model counts a share of a layer for each launch.
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

BETA = 0.5  # the share of a product's bytes that no cache serves
SIGMA = 1.75  # a strided byte counts as this many streamed bytes
KAPPA = 3.0  # a FLOP of a patch convolution takes as long as this many FLOPs of a matrix product
# how a backbone's FLOPs, the bytes of its convolutions, and its other bytes count in those of the
# transformer: a cache serves much of a map that was just written, and a compiler fuses the rest
BACKBONE = {"eager": (1.5, 1.0, 0.75), "compiled": (1.0, 0.5, 1.0)}
# the start of a kernel, before it does any work; the smallest models in the data show it
LAUNCH_SECONDS = 3e-6
# seconds that one thread takes for an element of an image and channel when it resamples elements
# one after another
SERIAL_SECONDS = 2.94e-07
# seconds that a host takes for a launch, by the software that launches: Python and torch's
# dispatcher, code that torch.compile wrote, an engine in C++. They are the medians of published
# timings of batches of 1 to 8 (tests/data/published_gpu.csv), in which the host is slower than the
# card
HOST_SECONDS = {"eager": 25e-6, "compiled": 28e-6, "engine": 17e-6}
# nine in ten of those timings lie within these factors, below and above the predicted one
HOST_SPREAD = {"eager": (0.5, 2.2), "compiled": (0.35, 2.1), "engine": (0.6, 1.6)}
# the least time of a launch in a file may be its host's if it is below SLOWEST_HOST. Steps with at
# least BEYOND_HOST times that time per launch then count as bound by the card; any other step does
# if it is slower than the sheet by at most SLOWER_BY_HOST times their median factor
SLOWEST_HOST = 60e-6
BEYOND_HOST = 2.5
SLOWER_BY_HOST = 1.1
# a step whose launches take a larger share of its time is not used to fit constants
MOST_LAUNCHING = 0.2
# timm's files have no smaller batch on a GPU
SMALLEST_BATCH = 16


class Sheet(NamedTuple):
    """The sheet's rates by which a step's work is divided; ``bf16`` is the rate of products in
    bf16, 0: the same as the first."""

    flops_per_second: float
    bytes_per_second: float
    bf16_flops_per_second: float = 0.0


class Prior(NamedTuple):
    """The value near which a fit holds a constant. A deviation of 1 counts like a relative error of
    ``firm`` in every measurement; with ``once`` like one in a single measurement, so that it
    matters only where few measurements leave a constant open."""

    near: float
    firm: float
    once: bool = False


class Form(NamedTuple):
    """How work becomes time on one kind of machine, and how the constants are fitted."""

    names: tuple[str, ...]
    priors: tuple[Prior | None, ...]
    bound: tuple[str, ...]  # the resource that each term stands for
    close: float  # relative errors below this are squared, larger ones count linearly


GPU = Form(
    ("gemm", "attention", "memory", "conv", "strided"),
    (
        # the usual values of cards
        Prior(1.0, 0.04, once=True),
        Prior(1.2, 0.04, once=True),
        Prior(1.0, 0.04, once=True),
        Prior(0.0, 0.012),
        Prior(0.0, 0.17),
    ),
    ("compute", "compute", "memory", "compute", "memory"),
    0.01,
)
# timings of batch 1 are rough, so small errors of theirs get no larger weight
CPU = Form(
    ("gemm", "memory", "layer"),
    # 60 GB/s of memory bandwidth, and 0.5 ms for a layer
    (None, Prior(100 / 60, 0.06), Prior(0.5, 0.2)),
    ("compute", "memory", "overhead"),
    1.0,
)


class Calibration(NamedTuple):
    """The constants of a card, software and mode, and their errors."""

    gpu: str
    setup: Setup
    constants: tuple[float, ...]  # the constants, in the order of the names in the form
    rows: int
    error: float  # mean relative error on the fitted rows
    held_out: float | None  # mean relative error on held-out widths; None: all models had one width
    band: float  # half-width of the band, which covers nine in ten of the held-out errors
    source: str = ""
    least_batch: int = SMALLEST_BATCH  # no smaller batch was fitted
    # `calibrated`; or `anchored`: a single source, so the constants are the usual ones times one
    # factor
    basis: str = "calibrated"
    # the card's constants are the usual ones times this factor; None: they were fitted one by one
    factor: float | None = None
    host_seconds: float | None = None  # seconds of a launch on the host of the measurements
    # the oldest torch among the measurements, if there are several
    since: tuple[int, int] | None = None


def form_of(setup: Setup) -> Form:
    """The form of the time on a kind of machine, a card or a CPU.

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
    # a card without matrix units for bf16 multiplies in fp32
    bf16 = peaks.bf16 or peaks.fp32 or peak
    return Sheet(peak * 1e12, card.bandwidth, bf16 * 1e12)


def host_of(setup: Setup) -> str:
    """The software that launches the kernels of a step: eager | compiled | engine.

    >>> host_of(Setup("amp")), host_of(Setup("amp", compiled=True))
    ('eager', 'compiled')
    """
    return "engine" if setup.engine else "compiled" if setup.compiled else "eager"


def host_seconds(work: Work, setup: Setup, of_a_launch: float | None = None) -> float:
    """Seconds that the host takes to launch a step: ``h · launches``, with h the seconds
    ``of_a_launch``, by default those of usual hosts; 0 on a CPU, which is its own host.

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
    # a compiled kernel reads by tiles, so strided reads cost no more
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
