"""The classes of a step's work, by the resource that they occupy, and the setup of a run."""

from collections.abc import Mapping
from typing import NamedTuple

from vitcost.config.numbered import ENGINES, torch_version
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.engine.ops import Size, bucket, ceil_div

__all__ = [
    "HEADS",
    "NEWEST",
    "NORM_ROW",
    "TILE",
    "WEIGHED",
    "Setup",
    "Work",
    "head_width",
    "read_bytes",
    "setup_of",
    "total",
    "whole",
]


# the weight of a class has two decimals, and that of a software two more
WEIGHED = 10**4
# the newest torch whose kernels are known here
NEWEST = (2, 9)


class Setup(NamedTuple):
    """The facts about a run that decide which kernels it launches."""

    precision: str  # fp32 | tf32 | amp | half
    training: bool = False
    compiled: bool = False
    layout: str = "nchw"
    platform: str = "cuda"
    torch: tuple[int, int] = NEWEST
    attention: str = "fused"  # fused; or eager: the products of an attention run one by one
    engine: str = ""  # the engine that runs instead of torch: one of config.numbered.ENGINES

    @property
    def mode(self) -> str:
        """As a report and timm's files name it: train or infer."""
        return "train" if self.training else "infer"

    def apart(self, torch: tuple[int, int]) -> int:
        """How far its torch is from another version; a major version counts as 100 minor ones.

        >>> Setup("amp", torch=(2, 1)).apart((1, 13))
        88
        """
        return abs(100 * (self.torch[0] - torch[0]) + self.torch[1] - torch[1])


class Work(NamedTuple):
    """FLOPs by the unit that computes them, and bytes by how kernels read them.

    FLOPs of products are those that run, with sizes padded to whole tiles.
    """

    gemm_flops: int = 0
    conv_flops: int = 0
    attention_flops: int = 0
    stream_bytes: int = 0  # bytes of pointwise kernels that read in memory order
    strided_bytes: int = 0  # bytes of pointwise kernels that read in another order
    linear_bytes: int = 0
    attention_bytes: int = 0
    conv_bytes: int = 0
    # bytes of weights in products, part of the bytes above; formulas count all reads of a processor
    weight_bytes: int = 0
    # FLOPs of a convolutional backbone, not part of the numbers above
    backbone_flops: int = 0
    backbone_conv_bytes: int = 0
    backbone_bytes: int = 0
    # FLOPs on maps and windows, times their weights, in units of 1 / WEIGHED, so that sums of
    # weighed kernels are exact
    map_flops: int = 0
    map_bytes: int = 0
    # FLOPs of products that run in bf16 under every precision, as in some optimizers
    bf16_flops: int = 0
    # elements that one thread of a resampling visits one after the other; on a processor, launches
    # of a traced model
    serial: int = 0
    launches: int = 0
    layers: int = 0  # the number of attentions, one for each block
    flops: int = 0  # FLOPs of the definition: without padding, forward pass only

    def __add__(self, other: "Work") -> "Work":  # type: ignore[override]
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def run_flops(self) -> int:
        """FLOPs of products and convolutions that really run."""
        products = self.gemm_flops + self.conv_flops + self.attention_flops
        others = self.backbone_flops + self.bf16_flops
        return products + others + self.map_flops // WEIGHED

    @property
    def run_bytes(self) -> int:
        """Bytes that kernels read and write."""
        pointwise = self.stream_bytes + self.strided_bytes
        products = self.linear_bytes + self.attention_bytes + self.conv_bytes
        convolved = self.backbone_conv_bytes + self.backbone_bytes
        return pointwise + products + convolved + self.map_bytes // WEIGHED

    def times(self, n: int) -> "Work":
        """The work of ``n`` such kernels."""
        return self if n == 1 else Work(*(n * a for a in self))


# a thread block computes a whole tile of the result, even if only a part of it is needed
TILE = 128
# head widths with a compiled fused attention kernel: flash_attn/src/static_switch.h, cuDNN, the
# memory-efficient kernel
HEADS = (32, 64, 96, 128, 160, 192, 224, 256)
# a layer norm gives each row to a block of 128 threads: aten's layer_norm_kernel.cu
NORM_ROW = 128
# the last cache of an i7-12700H; that of an i9-10940X has 19.25 MiB (ark.intel.com)
CACHE = 24 * 2**20
# how often a larger weight is read for one image: on that i9, ViT-H takes 2.5 times as long as
# SO400M for 1.5 times the FLOPs (timm's files of processors)
AGAIN = 4


def read_bytes(size: Size) -> Size:
    """Bytes that a processor reads for a weight of ``size`` bytes: a weight larger than its cache
    is read ``AGAIN`` times: ``4 · size`` above 24 MiB. Source: timm's files of processors.

    >>> read_bytes(4 * 1152 * 4304), read_bytes(4 * 1280 * 5120)  # in fp32: SO400M's MLP, ViT-H's
    (19832832, 104857600)
    """
    # works for arrays too, element by element
    return size + (size > CACHE) * (AGAIN - 1) * size


def setup_of(scenario: Scenario) -> Setup:
    """The part of a scenario that decides which kernels run. An engine fuses kernels like a
    compiler; torch before 2.0 had no fused attention.

    >>> setup = setup_of(Scenario(precision="bf16", software="1.13"))
    >>> setup.precision, setup.torch, setup.attention
    ('half', (1, 13), 'eager')
    """
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


def total(parts: Mapping[str, Work]) -> Work:
    """The work of all parts, field by field.

    >>> total({"norm": Work(stream_bytes=3), "head": Work(linear_bytes=2, launches=1)}).run_bytes
    5
    """
    return sum(parts.values(), Work())


def whole(size: int, tile: int) -> int:
    """A size rounded up to whole tiles: ``⌈size / tile⌉ · tile``.

    >>> whole(197, TILE)
    256
    """
    return ceil_div(size, tile) * tile


def head_width(width: int) -> int:
    """The head width of the kernel that runs for a ``width``: the next larger one in ``HEADS``.
    Source: flash_attn/src/static_switch.h.

    >>> head_width(72), head_width(64)
    (96, 64)
    """
    return bucket(width, HEADS)
