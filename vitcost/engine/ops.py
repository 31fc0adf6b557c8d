"""Ops over named axes, and the rules that turn one op into a cost.

A *tensor* has named axes (``"b s h"``), an *op* reads tensors and writes one. Every cost is plain
arithmetic on whatever the axes are sized by: ints, numpy arrays or sympy symbols. No rule rounds,
converts, or branches on a size.

>>> sizes = Sizes(b=1, s=197, h=768, m=3072)
>>> x = Tensor("x", ("b", "s", "h"))
>>> fc1 = Op("linear", (x,), Tensor("y", ("b", "s", "m")), over=("h",),
...          weight=param("weight", "m h"), bias=param("bias", "m"))
>>> params(fc1, sizes), flops(fc1, sizes)
(2362368, 929562624)
"""

from collections.abc import Iterable, Sequence
from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from vitcost.engine.kinds import KINDS

if TYPE_CHECKING:
    import numpy as np
    import sympy

__all__ = [
    "Axis",
    "Op",
    "Size",
    "Sizes",
    "Tensor",
    "axes",
    "backward_flops",
    "bucket",
    "bytes_of",
    "ceil_div",
    "executed_backward_flops",
    "executed_flops",
    "flops",
    "largest",
    "moved",
    "numel",
    "own",
    "param",
    "params",
    "pointwise",
    "quick",
    "share",
    "smallest",
]

Axis: TypeAlias = str | int
# The type of a size. Rules are typed with int; arrays and symbols have the same operators.
Size: TypeAlias = int
AnySize: TypeAlias = "int | np.ndarray | sympy.Expr"
Row = TypeVar("Row", bound=tuple[Any, ...])


class Sizes(dict[Axis, Size]):
    """The size of every axis. An axis that is a number is its own size."""

    def __missing__(self, axis: Axis) -> Size:
        if isinstance(axis, int):
            return axis
        raise LookupError(f"axis {axis!r} has no size; known axes: {', '.join(map(str, self))}")


class Tensor:
    """A tensor of the step: its axes, its role, and its storage.

    Tensors are compared by identity. ``base`` names the tensor whose storage a view keeps alive;
    ``itemsize`` is known only after lowering.
    """

    __slots__ = ("axes", "base", "itemsize", "name", "role")

    def __init__(
        self,
        name: str,
        axes: tuple[Axis, ...],
        role: str = "activation",
        base: "Tensor | None" = None,
        itemsize: int = 0,
    ) -> None:
        self.name = name
        self.axes = axes
        self.role = role  # activation | input | param | stat | mask | index
        self.base = base
        self.itemsize = itemsize

    @property
    def storage(self) -> "Tensor":
        return self if self.base is None else self.base.storage

    @property
    def leaf(self) -> bool:
        """Whether it is a whole parameter itself, not a view of one."""
        return self.role == "param" and (self.base is None or self.base.base is None)

    @property
    def bases(self) -> "tuple[Tensor, ...]":
        """The tensor, its base, the base of that base, and so on to the tensor that owns the
        storage."""
        return (self,) if self.base is None else (self, *self.base.bases)

    def __repr__(self) -> str:
        return f"{self.name}[{' '.join(map(str, self.axes))}]"


def quick(cls: type[Row]) -> type[Row]:
    """Makes ``_replace`` of a NamedTuple fast: it copies a list, while the standard library's looks
    up every field in a dictionary."""
    row_class: Any = cls
    places, new = {name: i for i, name in enumerate(row_class._fields)}, tuple.__new__

    def _replace(self: Row, /, **changes: object) -> Row:
        fields = [*self]
        for name, value in changes.items():
            fields[places[name]] = value
        return new(cls, fields)

    row_class._replace = _replace
    return cls


@quick
class Op(NamedTuple):
    """One operation: the tensors that it reads and writes, its own parameters, and the axes it
    contracts."""

    kind: str
    reads: tuple[Tensor, ...]
    write: Tensor
    over: tuple[Axis, ...] = ()
    weight: Tensor | None = None
    bias: Tensor | None = None
    # a fused kernel may replace consecutive ops of one group
    group: str = ""
    # the declared ops that a lowered op replaces, unless it is itself a declared one
    parts: "tuple[Op, ...] | None" = None
    frozen: bool = False  # whether its own parameters are frozen
    # tensors that it does not read but that stay alive until it returns: uncast arguments, locals
    # of the C++ function around it
    holds: tuple[Tensor, ...] = ()
    # filled in by lowering
    extra: tuple[Tensor, ...] = ()  # statistics and masks that it also writes
    needs: tuple[bool, ...] = ()  # which reads need a gradient
    trains: bool = False  # whether its own parameters need a gradient
    saves: tuple[Tensor, ...] = ()  # storages saved for backward that no earlier op saved
    keeps: tuple[Tensor, ...] = ()  # every storage that it saves until its backward has run
    # "" if autograd saves nothing for this op; else how far a checkpointed region must rerun up to
    # this op: a value of Op.again
    packs: str = ""
    # in a checkpointed region: `runs` again, `stops` recomputation before it, or only `draws` its
    # mask again
    again: str = ""  # "" | runs | stops | draws
    # the kernel of an attention: one fused op, or the products around a softmax
    kernel: str = ""


def largest(a: Size, b: Size) -> Size:
    """The larger of two sizes, elementwise for arrays."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    # arrays and symbols bring their own maximum; neither library is loaded for plain ints
    for one, other in ((a, b), (b, a)):
        if hasattr(one, "largest"):
            most: Size = one.largest(other)
            return most
    if hasattr(a, "free_symbols") or hasattr(b, "free_symbols"):
        from sympy import Max

        # sympy would take long to compare expressions, so the comparison waits until numbers are
        # put in
        return a if a == b else Max(a, b, evaluate=False)
    import numpy as np

    return np.maximum(a, b)


def ceil_div(a: Size, b: Size) -> Size:
    """A quotient rounded up."""
    return -(-a // b)


def smallest(a: Size, b: Size) -> Size:
    """The smaller of two sizes, elementwise for arrays."""
    return a + b - largest(a, b)


def bucket(size: Size, bounds: Sequence[int]) -> Size:
    """The smallest bound that is no less than a size, elementwise for arrays; a size above the last
    bound stays as it is.

    >>> bucket(80, (32, 64, 96)), bucket(97, (32, 64, 96))
    (96, 97)
    """
    if isinstance(size, int):
        return next((bound for bound in bounds if bound >= size), size)
    filled = size
    for bound in reversed(bounds):
        # replaces an element by the bound where the element fits; arithmetic needs no library's
        # `where`
        filled = filled + (size <= bound) * (bound - filled)
    return filled


def share(n: Size, a: Size, b: Size) -> Size:
    """``n · a // b``, computed so that no intermediate number is much larger than the result: if
    the result fits into 64 bits, so do they.

    >>> share(10**18, 5, 2) == 10**18 * 5 // 2, share(7, 6, 4)
    (True, 10)
    """
    common = gcd(a, b) if isinstance(a, int) and isinstance(b, int) else _gcd(a, b)
    a, b = a // common, b // common
    return n // b * a + n % b * a // b


def _gcd(a: Size, b: Size) -> Size:
    import numpy as np

    divisor: Size = np.gcd(a, b)
    return divisor


def axes(text: str) -> tuple[Axis, ...]:
    """Axes from their spelling: ``axes("b s h")``; a number is a fixed size."""
    return tuple(int(word) if word.isdigit() else word for word in text.split())


def param(name: str, spelled: str) -> Tensor:
    """A parameter, by the spelling of its axes."""
    return Tensor(name, axes(spelled), "param")


def numel(over: Iterable[Axis], sizes: Sizes) -> Size:
    """The product of axis sizes; an axis may occur twice."""
    return prod(sizes[axis] for axis in over)


def own(op: Op) -> tuple[Tensor, ...]:
    """The op's own weight and bias, as parameters or as autocast's copies of them; a bias that
    another op joins from parts is not its own."""
    both = (t for t in (op.weight, op.bias) if t is not None)
    return tuple(t for t in both if t.role in ("param", "cast"))


def params(op: Op, sizes: Sizes) -> Size:
    """Elements of the op's own weight and bias."""
    return sum(numel(t.axes, sizes) for t in own(op))


def flops(op: Op, sizes: Sizes) -> Size:
    """Forward FLOPs of the definition: 2 for every element written and every element contracted."""
    if op.parts is not None:
        return sum(flops(part, sizes) for part in op.parts)
    return 0 if op.kind == "matmul again" else executed_flops(op, sizes)


def executed_flops(op: Op, sizes: Sizes) -> Size:
    """Forward FLOPs that really run: an attention kernel works on the heads of its operands, which
    may be padded."""
    if op.kind == "sdpa":
        scores, weighted = _attended(op, sizes)
        return scores + weighted
    if op.parts is not None:
        return sum(executed_flops(part, sizes) for part in op.parts)
    if not op.over:
        return 0
    return 2 * numel(op.write.axes, sizes) * numel(op.over, sizes)


def _attended(op: Op, sizes: Sizes) -> tuple[Size, Size]:
    """FLOPs of the two products of a fused attention: scores, and the weighted sum of values."""
    q, k, v, *_ = op.reads
    scores = numel((*q.axes[:-1], k.axes[-2]), sizes)
    return 2 * scores * sizes[q.axes[-1]], 2 * scores * sizes[v.axes[-1]]


def pointwise(op: Op, sizes: Sizes) -> Size:
    """Elements written by norms, softmax, activations, gates, scales and residual adds."""
    if op.parts is not None:
        return sum(pointwise(part, sizes) for part in op.parts)
    passes = KINDS[op.kind].pointwise
    return passes * numel(op.write.axes, sizes) if passes else 0


def backward_flops(op: Op, sizes: Sizes) -> Size:
    """Backward FLOPs of the definition: one product of the forward's size for every factor that
    needs a gradient."""
    if op.parts is not None:
        return sum(backward_flops(part, sizes) for part in op.parts)
    if not op.over:
        return 0
    return (sum(op.needs) + op.trains) * flops(op, sizes)


def executed_backward_flops(op: Op, sizes: Sizes) -> Size:
    """Backward FLOPs that really run: a fused attention computes its scores again, and the
    gradients of all its operands, even if one needs none."""
    if op.kind == "sdpa":
        scores, weighted = _attended(op, sizes)
        return 3 * scores + 2 * weighted if any(op.needs) else 0
    parts = (op,) if op.parts is None else op.parts
    ran = [executed_flops(part, sizes) for part in parts]
    # a product that runs a second time (`matmul again`) has gradients of its own
    return sum((sum(part.needs) + part.trains) * n for part, n in zip(parts, ran, strict=True))


def bytes_of(tensor: Tensor, sizes: Sizes) -> Size:
    """Bytes of a lowered tensor."""
    return tensor.itemsize * numel(tensor.axes, sizes)


def moved(op: Op, sizes: Sizes) -> Size:
    """Bytes of everything that a lowered op reads and writes; a view moves nothing."""
    if KINDS[op.kind].view:
        return 0
    read = tuple(t for t in (*op.reads, op.weight, op.bias) if t is not None)
    return sum(bytes_of(tensor, sizes) for tensor in (*read, op.write, *op.extra))
