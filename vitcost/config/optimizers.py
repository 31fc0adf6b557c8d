"""The optimizers, one row each: class, states, and the bytes that a step allocates, reads and
writes."""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, TypeAlias

from vitcost.config.records import Record
from vitcost.errors import NotCovered

__all__ = ["OPTIMIZERS", "Change", "Optimizer", "Shape"]

# integers, or sizes of any other kind that the engine supports
Size: TypeAlias = Any
Shape: TypeAlias = tuple[Size, ...]


class Change(Record):
    """An assignment in an optimizer's loop. With a ``size``, a local gets a storage of that many
    bytes beside those that it holds; without one, it drops all but the ``last`` of its storages."""

    local: str
    size: Size | None = None
    last: int = 0


# yields the storages of a loop that updates a parameter with a given shape and bytes per element
Walk: TypeAlias = Callable[[Shape, int], Iterator[Change]]


def _quotient(shape: Shape, e: int) -> Iterator[Change]:
    """Adam: denom = √v / √c + ε; the root is allocated while the quotient of the tensor before is
    alive."""
    yield Change("root", e * prod(shape))
    yield Change("denom", e * prod(shape))
    yield Change("root")
    yield Change("denom", last=1)


class Optimizer(Record):
    """State tensors that an optimizer keeps for each parameter, and counters for each tensor.

    ``step`` is how it goes through the parameters, which decides the temporaries of a step:
    ``foreach``, all of them at once; ``loop``, one after the other; ``fused``, in one kernel;
    ``compiled``, by a kernel of torch.compile for each shape, which allocates no more than its
    operators would in a loop. Empty: torch's choice, foreach on CUDA and a loop on the CPU.
    ``walk`` yields the storages of a loop. ``passes`` is how many tensors of a parameter's size its
    kernels read and write, ``moved`` how many further bytes per element, and ``products`` the FLOPs
    of a tensor's matrix products. ``real`` is the class that ``check`` steps, and ``options`` are
    its arguments. ``kept`` gives the bytes of a tensor's states if they are not a multiple of its
    size, from its shape and its bytes per element. ``tables`` are the bytes of tables and counters
    that all tensors share as soon as one of them is cut into blocks; tensors with at least ``cut``
    elements are; ``beside`` are the bytes that a foreach step allocates for each tensor beside its
    copy. ``platforms`` are those that it has kernels for. For an optimizer of matrices, the
    optimizer ``rest`` steps all other tensors.
    """

    moments: int
    step_bytes: int
    step: str
    passes: int
    real: str
    options: Mapping[str, object]
    source: str
    walk: Walk = _quotient
    kept: Callable[[Shape, int], Size] | None = None
    tables: int = 0
    cut: int = 0
    platforms: tuple[str, ...] = ("cuda", "cpu")
    moved: int = 0
    products: Callable[[Shape], Size] | None = None
    rest: str = ""
    beside: int = 0

    def steps(self, platform: str) -> str:
        return self.step or ("foreach" if platform == "cuda" else "loop")

    def of(self, shape: Shape) -> "Optimizer":
        """The row that steps a tensor of this shape: the optimizer itself, or its ``rest``.

        >>> OPTIMIZERS["muon"].of((8, 8)).real, OPTIMIZERS["muon"].of((8,)).real
        ('torch.optim.Muon', 'torch.optim.AdamW')
        """
        return OPTIMIZERS[self.rest] if self.rest and len(shape) != 2 else self


def _ahead(shape: Shape, e: int) -> Iterator[Change]:
    """NAdamW: the moment one step ahead is a local, and is freed when the local takes the next
    tensor's own moment."""
    yield Change("ahead")
    yield Change("ahead", e * prod(shape))
    yield from _quotient(shape, e)


def _sign(shape: Shape, e: int) -> Iterator[Change]:
    yield Change("update", e * prod(shape))
    yield Change("update", last=1)


def _nesterov(shape: Shape, e: int) -> Iterator[Change]:
    """SGD: d + μ · buffer is a local, and is freed when the next tensor's gradient is assigned."""
    yield Change("grad")
    yield Change("grad", e * prod(shape))


def _factored(shape: Shape, e: int) -> Iterator[Change]:
    """Adafactor: means over rows and over columns, and their product, the estimate. When it becomes
    the update, the update of the tensor before is freed."""
    if len(shape) > 1:
        *outer, rows, columns = shape
        for local, size in (("rows", prod(outer) * rows), ("columns", prod(outer) * columns)):
            yield Change(local, e * size)
            yield Change(local, last=1)
        yield Change("update", e * prod(shape))
        yield Change("mean", e * prod(outer))
        yield Change("mean")
    else:
        yield Change("square", e * prod(shape))
        yield Change("square", last=1)
        yield Change("update", e * prod(shape))
    yield Change("update", last=1)


def _factors(shape: Shape, e: int) -> Size:
    """Adafactor: second moments of rows and of columns (a vector has one of its own), and a
    counter."""
    if len(shape) < 2:
        return e * prod(shape) + 4
    *outer, rows, columns = shape
    return e * prod(outer) * (rows + columns) + 4


def _trusted(shape: Shape, e: int) -> Iterator[Change]:
    """LAMB: the gradient divided by the global norm; a root and a quotient, as in Adam; and the
    update, which is freed when the next tensor's is assigned."""
    yield Change("norm")
    yield Change("norm", e)
    yield Change("grad")
    yield Change("grad", e * prod(shape))
    yield from _quotient(shape, e)
    yield Change("update", e * prod(shape))
    yield Change("update", last=1)


def _orthogonal(shape: Shape, e: int) -> Iterator[Change]:
    """Muon: the update of the momentum one step ahead, and in bf16 its Newton-Schulz iteration X' =
    a X + (b G + c G²) X with G = X Xᵀ; the last X is freed when the next tensor's update is
    assigned."""
    rows, columns = shape
    short = _smaller(rows, columns)
    yield Change("update", e * prod(shape))
    yield Change("update", last=1)
    yield Change("x", 2 * prod(shape))
    for _ in range(_ITERATIONS):
        for local, size in (("gram", short * short), ("polynomial", short * short)):
            yield Change(local, 2 * size)
            yield Change(local, last=1)
        yield Change("x", 2 * prod(shape))
        yield Change("x", last=1)
    # the function returns the last X, and the other tensors are freed
    for local in ("gram", "polynomial", "update"):
        yield Change(local)
    yield Change("update", 2 * prod(shape))
    yield Change("x")


def _smaller(a: Size, b: Size) -> Size:
    """The smaller of two sizes. Raises ``NotCovered`` for polynomials, which cannot be compared."""
    difference = a - b
    if not hasattr(difference, "__abs__"):
        raise NotCovered(
            "Muon has no formula in sizes: it multiplies by the shorter side of a matrix"
        )
    return (a + b - abs(difference)) // 2


def _newton_schulz(shape: Shape) -> Size:
    """FLOPs of Muon's iterations: X Xᵀ, its square, and the product of that with X."""
    rows, columns = shape
    short = _smaller(rows, columns)
    return _ITERATIONS * (2 * 2 * short * rows * columns + 2 * short**3)


def _compiled(shape: Shape, e: int) -> Iterator[Change]:
    """torchao's Adam, operator by operator: at most 32 bytes per element, when int64 codes are
    searched for beside float32 tensors; and two float32 numbers."""
    yield Change("update", 32 * prod(shape) + 8)
    yield Change("update")


# iterations of Newton and Schulz in torch.optim.Muon
_ITERATIONS = 5
# bitsandbytes: elements that share a scale, the smallest tensor that is cut into blocks, and the
# number of codes of a byte
_BLOCK, _LEAST, _CODES = 256, 4096, 256


def _low_bits(bits: int, block: int, codes: int) -> Callable[[Shape, int], Size]:
    """torchao: two moments, each with a scale of 4 bytes for a block and a table of its own, and a
    counter. A tensor with fewer than 4,096 elements, or one that does not divide into whole blocks,
    has moments in its own type."""

    def kept(shape: Shape, e: int) -> Size:
        n = _elements(shape, bits)
        if n < _LEAST or n % block:
            return 2 * e * n + 4
        return 2 * (n * bits // 8 + 4 * (n // block) + 4 * codes) + 4

    return kept


def _blocks(moments: int) -> Callable[[Shape, int], Size]:
    """bitsandbytes: a byte per element, and a scale of 4 bytes for each 256 of them, rounded up. A
    tensor with fewer than 4,096 elements has its moments in float32."""

    def kept(shape: Shape, e: int) -> Size:
        n = _elements(shape, 8)
        return moments * (4 * n if n < _LEAST else n + 4 * -(-n // _BLOCK))

    return kept


def _elements(shape: Shape, bits: int) -> int:
    n = prod(shape)
    if not isinstance(n, int):
        raise NotCovered(
            f"states in {bits} bits have no formula in sizes: tensors of under 4,096 elements "
            "are whole"
        )
    return n


# m: m + β (g - m); v · β₂; v + g²; √v; / c; + ε; p, m, √v → p: torch/optim/adam.py, with or without
# foreach
_ADAM_PASSES = 3 + 2 + 3 + 2 + 2 + 2 + 4
# decay: p · (1 - λ)
_DECAY = 2
# p, g, m, v → p, m, v
_FUSED_PASSES = 4 + 3
# max, v → max
_AMSGRAD_PASSES = 3

_FOREACH, _LOOP, _FUSED = {"foreach": True}, {"foreach": False}, {"fused": True}
_AMSGRAD = {"amsgrad": True}
# the steps are counted on the card, so that a graph can replay them: both bias corrections of each
# tensor are also float32 numbers on the card
_CAPTURABLE = {"capturable": True, **_FOREACH}
_CORRECTIONS = 2 * 4


def _adam(step: str = "", options: Mapping[str, object] = {}, *, decay: bool = False) -> Optimizer:
    """Adam; or AdamW, which decays weights separately from gradients."""
    amsgrad, capturable = "amsgrad" in options, "capturable" in options
    passes = _FUSED_PASSES if step == "fused" else _ADAM_PASSES + decay * _DECAY
    name = "AdamW" if decay else "Adam"
    kept = "exp_avg, exp_avg_sq, step" + amsgrad * ", max_exp_avg_sq"
    return Optimizer(
        2 + amsgrad, 4, step, passes + amsgrad * _AMSGRAD_PASSES, f"torch.optim.{name}", options,
        f"torch.optim.{name}: {kept}", beside=_CORRECTIONS if capturable else 0,
        platforms=("cuda",) if capturable else ("cuda", "cpu"),
    )  # fmt: skip


def _bytes(moments: int, name: str) -> Optimizer:
    """An optimizer of bitsandbytes: one kernel reads p, g and codes of one byte, and writes p and
    codes; the scales, 4 bytes for 256 elements, are not counted."""
    states = ", ".join(f"state{i}, absmax{i}" for i in range(1, 1 + moments))
    return Optimizer(
        0, 0, "in place", 3, f"bitsandbytes.optim.{name}", {},
        f"Dettmers et al. 2022, arXiv 2110.02861; bitsandbytes 0.50.2, optim.{name}: {states}",
        kept=_blocks(moments), tables=moments * _CODES * 4, cut=_LEAST, platforms=("cuda",),
        moved=2 * moments,
    )  # fmt: skip


def _torchao(name: str, bits: int, block: int, codes: int = 0) -> Optimizer:
    """An optimizer of torchao: its compiled kernel reads p, g and two codes, and writes p and both
    codes."""
    return Optimizer(
        0, 0, "compiled", 3, f"torchao.optim.{name}", {},
        f"torchao 0.18.0, optim.{name}: step, exp_avg, exp_avg_sq in blocks of {block} elements; "
        "lr of all", walk=_compiled, kept=_low_bits(bits, block, codes), tables=4,
        moved=4 * bits // 8, platforms=("cuda",),
    )  # fmt: skip


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw": _adam(decay=True),
    "adamw-foreach": _adam("foreach", _FOREACH, decay=True),
    "adamw-fused": _adam("fused", _FUSED, decay=True),
    "adamw-capturable": _adam("foreach", _CAPTURABLE, decay=True),
    "adamw-loop": _adam("loop", _LOOP, decay=True),
    "adamw-amsgrad": _adam("", _AMSGRAD, decay=True),
    "adam": _adam(),
    "adam-foreach": _adam("foreach", _FOREACH),
    "adam-fused": _adam("fused", _FUSED),
    "adam-capturable": _adam("foreach", _CAPTURABLE),
    "adam-loop": _adam("loop", _LOOP),
    "adam-amsgrad": _adam("", _AMSGRAD),
    "sgd": Optimizer(
        # p, g → p
        0, 0, "in place", 3, "torch.optim.SGD", {}, "torch.optim.SGD without momentum",
    ),
    "sgd-momentum": Optimizer(
        # decay: p, g → d; buffer · μ; buffer + d; Nesterov: d + μ · buffer; p, d → p
        1, 0, "in place", 3 + 2 + 3 + 3 + 3, "torch.optim.SGD", {"momentum": 0.9},
        "torch.optim.SGD: momentum_buffer",
    ),
    "sgd-nesterov": Optimizer(
        1, 0, "loop", 3 + 2 + 3 + 3 + 3, "torch.optim.SGD",
        {"momentum": 0.9, "nesterov": True, **_LOOP},
        "torch.optim.SGD(nesterov=True, foreach=False): momentum_buffer", _nesterov,
    ),
    "sgd-momentum-fused": Optimizer(
        # p, g, buffer → p, buffer
        1, 0, "fused", 5, "torch.optim.SGD", {"momentum": 0.9, **_FUSED},
        "torch.optim.SGD(fused=True): momentum_buffer",
    ),
    "lion": Optimizer(
        # decay; m, g → u; sign of u; p, u → p; m, g → m: timm/optim/lion.py
        1, 0, "loop", _DECAY + 3 + 2 + 3 + 3, "timm.optim.Lion", _LOOP,
        "Chen et al. 2023, arXiv 2302.06675; timm.optim.Lion(foreach=False): exp_avg", _sign,
    ),
    "nadamw": Optimizer(
        # like AdamW, and once more m + β (g - m)
        2, 4, "loop", _ADAM_PASSES + _DECAY + 3, "timm.optim.NAdamW", _LOOP,
        "timm.optim.NAdamW(foreach=False): exp_avg, exp_avg_sq, step", _ahead,
    ),
    "adafactor": Optimizer(
        # norm of p; decay; norms of g by rows and by columns; their product; over its mean; at
        # least ε; its root; times g; norm; p, u → p
        0, 0, "loop", 1 + _DECAY + 1 + 1 + 1 + 2 + 2 + 2 + 3 + 1 + 3, "torch.optim.Adafactor", {},
        "Shazeer and Stern 2018, arXiv 1804.04235; torch.optim.Adafactor: row_var, col_var or "
        "variance, step", _factored, _factors,
    ),
    "lamb": Optimizer(
        # norms of g; g / norm; m: 3; v · β; v + g²; √v; / c; + ε; m / c; over that; + λ p; norms of
        # p and of u; u · their ratio; p, u → p
        2, 0, "loop", 1 + 2 + 3 + 2 + 3 + 3 * 2 + 2 + 3 + 3 + 2 + 2 + 3, "timm.optim.Lamb", _LOOP,
        "You et al. 2020, arXiv 1904.00962; timm.optim.Lamb(foreach=False): exp_avg, exp_avg_sq; "
        "a step of all", _trusted, tables=4,
    ),
    "muon": Optimizer(
        # m: 3; ahead of it: 3; decay; p, u → p; to bf16 and back, norm, iterations: half as many
        # bytes each, in products
        1, 0, "loop", 3 + 3 + _DECAY + 3, "torch.optim.Muon", {},
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon: momentum_buffer "
        "of matrices; all other tensors by AdamW", _orthogonal, products=_newton_schulz,
        rest="adamw",
    ),
    "adamw-8bit": _bytes(2, "AdamW8bit"),
    "adam-8bit": _bytes(2, "Adam8bit"),
    "lion-8bit": _bytes(1, "Lion8bit"),
    "adamw-8bit-ao": _torchao("AdamW8bit", 8, 256, 256),
    "adamw-4bit-ao": _torchao("AdamW4bit", 4, 128, 16),
    "adamw-fp8-ao": _torchao("AdamWFp8", 8, 256),
}  # fmt: skip
