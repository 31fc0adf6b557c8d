"""The kernels of a traced pass: each call at a batch, with the bytes and the memory order of its
tensors.

Further passes give the kernels that a card runs: a layer norm first copies a tensor that is not
contiguous, and a compiler puts everything between two products into one kernel.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import NamedTuple

from vitcost.traced.batch_sizes import value
from vitcost.traced.module_rows import too_many
from vitcost.traced.operators import is_attention
from vitcost.traced.trace import EMPTY, ITEMSIZE, VIEWS, Array, Operator, Pass

__all__ = ["CONVOLUTION", "CONVOLUTION_BACK", "Call", "Piece", "calls", "different", "fused"]

CONVOLUTION, CONVOLUTION_BACK = "convolution", "convolution_backward"
_MATRICES = ("mm", "addmm", "bmm", "baddbmm", "addbmm", "_grouped_mm")


class Piece(NamedTuple):
    """A tensor that a call reads or writes, at one batch."""

    shape: tuple[int, ...]
    itemsize: int
    strides: tuple[int, ...] | None = None  # only if it is not contiguous
    storage: int = -1

    @property
    def numel(self) -> int:
        """Its elements: the product of its shape."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of its elements; an element that stands for many, in an expanded axis,
        counts once."""
        if self.strides is None:
            return self.numel * self.itemsize
        sides = zip(self.shape, self.strides, strict=True)
        return prod(side for side, stride in sides if stride) * self.itemsize

    @property
    def order(self) -> tuple[int, ...]:
        """Its axes longer than 1 in memory order, the innermost last."""
        sides = [i for i, side in enumerate(self.shape) if side > 1]
        if self.strides is None:
            return tuple(sides)
        strides = self.strides
        return tuple(sorted(sides, key=lambda i: -strides[i]))


class Call(NamedTuple):
    """A kernel: its operator, phase and module, tensors and FLOPs."""

    name: str
    phase: str  # forward | backward | recomputation
    path: str
    reads: tuple[Piece, ...]
    writes: tuple[Piece, ...]
    flops: int = 0
    defined: int = 0
    over_images: bool = False  # a matrix product that sums over all images

    @property
    def moved(self) -> int:
        """Bytes that it reads and writes."""
        return sum(piece.bytes for piece in (*self.reads, *self.writes))

    @property
    def backward(self) -> bool:
        """Whether it runs in the backward pass."""
        return self.phase == "backward"


def is_product(name: str) -> bool:
    """Whether an operator runs on the matrix units: a compiler fuses no kernels across it.

    >>> is_product("addmm"), is_product("_scaled_dot_product_flash_attention"), is_product("add")
    (True, True, False)
    """
    return name in _MATRICES or name.startswith(CONVOLUTION) or is_attention(name)


def calls(run: Pass, batch: int) -> Iterator[Call]:
    """The calls of a pass on ``batch`` images, in order; calls without memory traffic are left out.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> mlp = nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768))
    >>> run = trace(mlp, inputs_of(mlp, "768"), (2, 3, 4)).inference
    >>> [(call.name, call.flops) for call in calls(run, 64)]  # 2 · 64 · 768 · 3072
    [('addmm', 301989888), ('gelu', 0), ('addmm', 301989888)]
    """
    numbered = [_call(operator, batch) for operator in run.operators]
    for (number, path), touched in zip(run.calls, run.touched, strict=True):
        call = numbered[number]
        if call is not None:
            reads, writes = _stored(call, touched)
            yield call._replace(path=run.paths[path], reads=reads, writes=writes)


def different(run: Pass, batch: int) -> Iterator[tuple[Call, int]]:
    """The distinct calls of a pass on ``batch`` images (by operator and module), and how often each
    occurs.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> twice = nn.Sequential(nn.GELU(), nn.Linear(768, 768), nn.GELU())
    >>> run = trace(twice, inputs_of(twice, "768"), (2, 3, 4)).inference
    >>> [(call.name, call.path, times) for call, times in different(run, 64)]
    [('gelu', '0', 1), ('addmm', '1', 1), ('gelu', '2', 1)]
    """
    numbered = [_call(operator, batch) for operator in run.operators]
    for (number, path), times in Counter(run.calls).items():
        call = numbered[number]
        if call is not None:
            yield call._replace(path=run.paths[path]), times


def _call(operator: Operator, batch: int) -> Call | None:
    name = operator.name
    if name in EMPTY or name in VIEWS:
        return None

    def pieces(arrays: Iterable[Array]) -> tuple[Piece, ...]:
        return tuple(_piece(array, batch) for array in arrays)

    rows, inner, columns = _growing(operator) if name == "mm" else (False, False, False)
    if rows + inner + columns > 1:
        # a product whose rows and columns both grow with the batch compares images with images,
        # like an attention; in a linear layer one length grows
        name = "bmm"
    # FLOPs of the products that run: torch's counter treats the gradient of a grouped weight as
    # dense
    flops = value(operator.flops, batch) - value(too_many(operator), batch)
    defined = value(operator.defined, batch)
    reads, writes = pieces(operator.reads), pieces(operator.writes)
    return Call(name, operator.phase, "", reads, writes, flops, defined, inner)


def _growing(operator: Operator) -> tuple[bool, bool, bool]:
    """Whether the rows, the inner length and the columns of a product grow with the batch, each."""
    (rows, inner), (_, columns) = (array.shape for array in operator.reads)
    return len(rows) > 1, len(inner) > 1, len(columns) > 1


def _piece(array: Array, batch: int) -> Piece:
    shape = tuple([value(side, batch) for side in array.shape])
    strides = None
    if array.strides is not None:
        strides = tuple([value(side, batch) for side in array.strides])
    return Piece(shape, ITEMSIZE.get(array.dtype, 0), strides)


def _stored(call: Call, touched: Sequence[int]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    pieces = [
        Piece(piece.shape, piece.itemsize, piece.strides, storage)
        for piece, storage in zip((*call.reads, *call.writes), touched, strict=True)
    ]
    return tuple(pieces[: len(call.reads)]), tuple(pieces[len(call.reads) :])


def fused(kernels: Iterable[Call]) -> list[Call]:
    """The kernels that a compiler makes of some calls: one kernel does all work between two
    products.

    Such a kernel reads each tensor of an earlier kernel a single time, and writes each tensor that
    a later kernel reads.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> gated = nn.Sequential(nn.Linear(768, 768), nn.GELU(), nn.Sigmoid(), nn.Linear(768, 768))
    >>> run = trace(gated, inputs_of(gated, "768"), (2, 3, 4)).inference
    >>> [call.name for call in fused(calls(run, 64))]
    ['addmm', 'fused', 'addmm']
    """
    groups: list[list[Call]] = []
    for kernel in kernels:
        if groups and not is_product(kernel.name) and not is_product(groups[-1][-1].name):
            groups[-1].append(kernel)
        else:
            groups.append([kernel])
    last_read = {
        piece.storage: i for i, group in enumerate(groups) for call in group for piece in call.reads
    }
    return [_joined(group, i, last_read) for i, group in enumerate(groups)]


def _joined(group: Sequence[Call], place: int, last_read: dict[int, int]) -> Call:
    if is_product(group[0].name):
        return group[0]
    written: dict[int, Piece] = {}
    read: dict[tuple[int, int, tuple[int, ...]], Piece] = {}
    for call in group:
        for piece in call.reads:
            if piece.storage < 0 or piece.storage not in written:
                # tensors that outlive the pass have no storage number: equal ones in a kernel count
                # as one
                key = piece.storage, piece.itemsize, piece.shape * (piece.storage < 0)
                read[key] = max(piece, read.get(key, piece), key=lambda each: each.bytes)
        for piece in call.writes:
            written[piece.storage] = piece
    writes = tuple(
        piece for storage, piece in written.items() if last_read.get(storage, place) > place
    )
    return group[-1]._replace(
        name=f"fused {_content(group)}".strip(), reads=tuple(read.values()), writes=writes
    )


def _content(group: Sequence[Call]) -> str:
    """The hardest class of work in a kernel that a compiler fused."""
    names = {call.name for call in group}
    return next((word for word, ops in _CONTENTS.items() if names & ops), "")


_CONTENTS = {
    "pooling": {"avg_pool2d", "max_pool2d_with_indices"},
    "softmax": {"_softmax", "_safe_softmax"},
    "layout": {"roll", "index", "constant_pad_nd", "cat", "stack", "im2col", "repeat"},
}
