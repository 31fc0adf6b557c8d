"""The kinds of ops, one row each: every fact about a kind that a rule or a pass uses stands in its
row."""

from collections.abc import Iterable

from vitcost.config.activations import ACTIVATIONS
from vitcost.config.records import Record

__all__ = ["KINDS", "Kind", "Kinds"]


class Kind(Record):
    """The facts that all ops of one kind share."""

    name: str
    # how many tensors an op of the kind may read, its own parameters not counted
    reads: tuple[int, ...]
    # passes over the written elements that count as pointwise work
    pointwise: int
    # the precision in which torch's autocast runs it: half | float | keep (as the first operand) |
    # widest (torch promotes without a cast copy) | promote (casts operands to the widest type)
    autocast: str
    # the precision in which autocast runs it on a CPU, in the same words
    on_cpu: str
    # the tensors that autograd saves for its backward, a letter each:
    #   x  all operands              y  the output
    #   n  the last operand          o  each factor, if the other factor needs a gradient
    #   w  the weight                k  the statistics that an attention kernel writes
    #   m  a mask                    d  a mask with one element for each image
    #   i  indices of the maxima     b  a buffer of a CPU's kernel
    # and of a norm the mean and the deviation of each row (s), group (g) or channel (c), or only
    # the deviation of each row (r)
    saves: str
    # the rule of its backward in ``engine.derivatives``; empty: no rule is known; ``at most, …``:
    # the rule is an upper bound
    gradient: str
    # empty: it writes a storage of its own. A view is of the ``whole`` operand, of a ``part``, of
    # tokens by head (``heads``), or of a part by head (``part heads``)
    view: str
    # the memory order in which its kernel writes. ``keeps``: that of its first operand. ``lays
    # out``: tokens in order, after a copy of an operand in another order. ``turns``: channel by
    # channel. ``in order``: that of the axes. ``view``: nothing is written
    layout: str
    # the class of work of its kernel: linear | conv | product | attention (fused) | norm | memory
    work: str
    # whether its backward runs a ``kernel``, or ``passes`` the gradient on without one
    back: str
    # types that a card's kernel reads as they are, although autocast asks for float32: it writes
    # float32, and autocast makes no copy
    widens: tuple[str, ...] = ()
    # whether it overwrites the tensor that it reads; under a dispatch mode torch allocates another
    overwrites: bool = False


def _activations() -> Iterable[Kind]:
    for kind, saves in dict.fromkeys((a.kind, a.saves) for a in ACTIVATIONS.values() if a.kind):
        yield Kind(kind, (1,), 1, "keep", "keep", saves, "each", "", "keeps", "memory", "kernel")


# saved tensors and rules of gradients: torch's derivatives.yaml; the precision: autocast_mode.h
_ROWS = (
    #    reads, pointwise, autocast, on a CPU, saves, gradient, view, layout, work, back
    Kind("linear", (1,), 0, "half", "half", "o", "matrices", "", "lays out", "linear", "kernel"),
    # the bias is the first argument of three, and the weight the last
    Kind("addmm", (1,), 0, "half", "half", "o", "matrices", "", "lays out", "linear", "kernel"),
    Kind("conv", (1, 2), 0, "half", "half", "xw", "convolved", "", "turns", "conv", "kernel"),
    Kind("matmul", (2,), 0, "half", "half", "o", "products", "", "in order", "product", "kernel"),
    # the product that a fused kernel computes a second time, in the backward pass
    Kind("matmul again", (2,), 0, "half", "half", "o", "products", "", "in order", "memory",
         "kernel"),
    Kind("sdpa", (3, 4, 5), 0, "half", "half", "xyk", "attended", "", "in order", "attention",
         "kernel"),
    Kind("norm", (1,), 1, "float", "keep", "xs", "each", "", "lays out", "norm", "kernel"),
    # its gradient on a card is one kernel, _fused_rms_norm_backward; on a CPU it is several
    Kind("rms norm", (1,), 1, "float", "keep", "xr", "each", "", "lays out", "norm", "kernel"),
    Kind("group norm", (1,), 1, "float", "keep", "xg", "each", "", "in order", "memory", "kernel"),
    Kind("batch norm", (1,), 1, "keep", "keep", "xc", "each", "", "in order", "memory", "kernel"),
    # a batch norm in eval, one product and one sum; and a batch norm that standardizes a weight
    Kind("affine", (1,), 1, "keep", "keep", "", "", "", "in order", "memory", "kernel"),
    Kind("standardize", (0,), 1, "keep", "keep", "c", "each", "", "in order", "memory", "kernel"),
    # aten/src/ATen/native/SoftMax.cpp: half_to_float, for fp16 alone
    Kind("softmax", (1,), 1, "float", "keep", "y", "each", "", "in order", "memory", "kernel",
         ("fp16",)),
    Kind("tanh", (1,), 1, "keep", "keep", "y", "each", "", "in order", "memory", "kernel"),
    Kind("sigmoid", (1,), 1, "keep", "keep", "y", "each", "", "keeps", "memory", "kernel"),
    Kind("gate", (2,), 1, "widest", "widest", "o", "factors", "", "keeps", "memory", "kernel"),
    # a product with a weight along the last axis: layer scale, and the last step of an RMS norm
    Kind("gain", (1, 2), 1, "widest", "widest", "o", "factors", "", "keeps", "memory", "kernel"),
    Kind("scale", (1,), 1, "keep", "keep", "", "each", "", "keeps", "memory", "kernel"),
    Kind("residual", (2,), 1, "widest", "widest", "", "passed", "", "keeps", "memory", "passes"),
    Kind("add", (2,), 0, "widest", "widest", "", "passed", "", "keeps", "memory", "passes"),
    Kind("subtract", (2,), 0, "widest", "widest", "", "negated", "", "keeps", "memory", "kernel"),
    # plain attention makes the causal mask and adds it; a fused kernel has it built in
    Kind("make mask", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("mask", (2,), 0, "widest", "widest", "", "passed", "", "keeps", "memory", "passes"),
    Kind("mul", (2,), 0, "widest", "widest", "o", "factors", "", "keeps", "memory", "kernel"),
    Kind("times", (1,), 0, "keep", "keep", "", "each", "", "keeps", "memory", "kernel"),
    Kind("square", (1,), 0, "float", "keep", "x", "squared", "", "keeps", "memory", "kernel"),
    Kind("cube", (1,), 0, "float", "keep", "x", "squared", "", "keeps", "memory", "kernel"),
    # adds a number
    Kind("more", (1,), 0, "keep", "keep", "", "passed", "", "keeps", "memory", "passes"),
    Kind("rsqrt", (1,), 0, "float", "keep", "y", "inverse root", "", "in order", "memory",
         "kernel"),
    Kind("root", (1,), 0, "float", "keep", "x", "squared", "", "in order", "memory", "kernel"),
    # the length of a vector; then the larger of that length and a small number
    Kind("length", (1,), 0, "float", "keep", "xy", "length", "", "in order", "memory", "kernel",
         ("fp16", "bf16")),
    Kind("at least", (1,), 0, "keep", "keep", "x", "where", "", "in order", "memory", "kernel"),
    Kind("divide", (2,), 0, "widest", "widest", "x", "quotient", "", "keeps", "memory", "kernel"),
    Kind("log sigmoid", (1,), 0, "keep", "keep", "xb", "each", "", "keeps", "memory", "kernel"),
    Kind("exp", (1,), 0, "float", "keep", "y", "each", "", "in order", "memory", "kernel"),
    Kind("sin", (1,), 0, "keep", "keep", "x", "sine", "", "in order", "memory", "kernel"),
    Kind("cos", (1,), 0, "keep", "keep", "x", "cosine", "", "in order", "memory", "kernel"),
    # aten/src/ATen/native/cuda/ReduceSumProdKernel.cu: casts as it reads
    Kind("sum", (1,), 0, "float", "keep", "", "viewed", "", "in order", "memory", "kernel",
         ("fp16", "bf16")),
    Kind("mean", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("amax", (1,), 0, "keep", "keep", "xy", "where largest", "", "in order", "memory",
         "kernel"),
    Kind("max pool", (1,), 0, "keep", "keep", "xi", "each", "", "in order", "memory", "kernel"),
    Kind("avg pool", (1,), 0, "keep", "keep", "x", "each", "", "in order", "memory", "kernel"),
    Kind("index", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    # saves only the caller's indices
    Kind("embedding", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    # rows by an index, which is saved
    Kind("look up", (2,), 0, "keep", "keep", "n", "each", "", "in order", "memory", "kernel"),
    # one token of each text, by two indexes
    Kind("take", (2,), 0, "keep", "keep", "n", "put", "", "in order", "memory", "kernel"),
    # a gather by an index of the output's size; autograd saves the source tensor too
    Kind("pick", (2,), 0, "keep", "keep", "x", "each", "", "in order", "memory", "kernel"),
    # constants in the type of another tensor, such as ones; after lowering nothing is read
    Kind("fill", (0, 1), 0, "keep", "keep", "", "", "", "in order", "memory", "kernel"),
    # an index table that the module's first call made; later calls read it from a cache
    Kind("cached", (0,), 0, "keep", "keep", "", "", "", "in order", "memory", "passes"),
    Kind("resample", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("cat", (1, 2, 3), 0, "widest", "promote", "", "viewed", "", "in order", "memory",
         "passes"),
    Kind("dropout", (1,), 0, "keep", "keep", "m", "dropped", "", "keeps", "memory", "kernel"),
    Kind("droppath", (1,), 0, "keep", "keep", "d", "each", "", "keeps", "memory", "kernel"),
    Kind("log_softmax", (1,), 1, "float", "float", "y", "each", "", "in order", "memory",
         "kernel"),
    # lowered to log-softmax and the mean of its negatives
    Kind("cross entropy", (2,), 0, "keep", "keep", "", "", "", "in order", "memory", "kernel"),
    Kind("nll", (1, 2), 0, "float", "float", "", "each", "", "in order", "memory", "kernel"),
    # copies, by what their backward does: a gradient passes `copy` and `contiguous` unchanged, and
    # comes out of `merge` laid out as heads; `copy` lays out an operand inside a product, after
    # autocast has cast the product's arguments
    Kind("copy", (1,), 0, "half", "half", "", "viewed", "", "in order", "memory", "kernel"),
    Kind("contiguous", (1,), 0, "keep", "keep", "", "viewed", "", "in order", "memory", "kernel"),
    Kind("merge", (1,), 0, "keep", "keep", "", "heads", "", "in order", "memory", "kernel"),
    # copies into another memory layout, whose gradients are copied back: adjacent heads of a token,
    # tokens first
    Kind("relay", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("by token", (1,), 0, "keep", "keep", "", "heads", "", "in order", "memory", "kernel"),
    # a linear layer on rows that are not contiguous: a product, then a sum with the bias
    Kind("apart", (1,), 0, "half", "half", "o", "matrices", "", "lays out", "linear", "kernel"),
    Kind("bias", (1,), 0, "widest", "widest", "", "passed", "", "keeps", "memory", "passes",
         overwrites=True),
    Kind("pad", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("permute", (1,), 0, "keep", "keep", "", "heads", "", "in order", "memory", "kernel"),
    Kind("repeat", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    Kind("rotate", (1,), 0, "keep", "keep", "", "turned", "", "in order", "memory", "kernel"),
    # the second half of a head's channels with their signs turned, then the first
    Kind("rotate halves", (1,), 0, "keep", "keep", "", "halves", "", "in order", "memory",
         "kernel"),
    Kind("cast", (1, 2), 0, "keep", "keep", "", "cast", "", "keeps", "memory", "kernel"),
    # between the ranks of a parallel run
    Kind("scatter", (1,), 0, "keep", "keep", "", "at most, exchanged", "", "in order", "memory",
         "kernel"),
    # a tensor that a neighbouring rank sends: torch.distributed.isend and irecv
    Kind("exchange", (1,), 0, "keep", "keep", "", "each", "", "in order", "memory", "kernel"),
    # one tensor of each rank, whose gradients are summed over the ranks: torch.distributed.nn
    Kind("all gather", (1,), 0, "keep", "keep", "", "of ranks", "", "in order", "memory",
         "kernel"),
    Kind("gather", (1,), 0, "keep", "keep", "", "at most, exchanged", "", "in order", "memory",
         "kernel"),
    # views, by what their backward does: pass the gradient on, copy it into a gradient of the whole
    # shape, or gather the gradients of all parts
    Kind("view", (1,), 0, "keep", "keep", "", "viewed", "whole", "view", "memory", "passes"),
    Kind("expand", (1,), 0, "keep", "keep", "", "passed", "whole", "view", "memory", "passes"),
    Kind("heads", (1,), 0, "keep", "keep", "", "by head", "heads", "view", "memory", "passes"),
    # tokens first: heads and images folded into one axis, and unfolded
    Kind("fold", (1,), 0, "keep", "keep", "", "folded", "heads", "view", "memory", "passes"),
    Kind("unfold", (1,), 0, "keep", "keep", "", "unfolded", "heads", "view", "memory", "passes"),
    Kind("select", (1,), 0, "keep", "keep", "", "each", "part", "view", "memory", "kernel"),
    Kind("slice", (1,), 0, "keep", "keep", "", "each", "part", "view", "memory", "kernel"),
    # a padded mask cut back to its size, the same for all images
    Kind("cut", (1,), 0, "keep", "keep", "", "cut", "part", "view", "memory", "kernel"),
    # q, k and v are slices of one tensor
    Kind("unbind", (1,), 0, "keep", "keep", "", "gathered, copied", "part heads", "view",
         "memory", "kernel"),
    Kind("chunk", (1,), 0, "keep", "keep", "", "gathered", "part", "view", "memory", "kernel"),
    Kind("split", (1,), 0, "keep", "keep", "", "gathered", "part", "view", "memory", "kernel"),
    # a map with channels last, and back
    Kind("channels last", (1,), 0, "keep", "keep", "", "viewed", "whole", "view", "memory",
         "passes"),
    Kind("parameter", (0,), 0, "keep", "keep", "", "parameter", "whole", "view", "memory",
         "passes"),
    # gathered for one op, and again for its backward: autograd saves only the shard
    Kind("regather", (1,), 0, "keep", "keep", "", "at most, exchanged", "whole", "view", "memory",
         "passes"),
    Kind("checkpoint", (1,), 0, "keep", "keep", "x", "", "whole", "view", "memory", "passes"),
    *_activations(),
)  # fmt: skip


class Kinds(dict[str, Kind]):
    """The rows by name. A kind that is missing, or that has two rows, is refused by its name.

    >>> Kinds([KINDS["gelu"], KINDS["gelu"]])
    Traceback (most recent call last):
    LookupError: two rows for op kind 'gelu'
    >>> KINDS["mish"]
    Traceback (most recent call last):
    LookupError: op kind 'mish' has no row in engine/kinds.py
    """

    def __init__(self, rows: Iterable[Kind]) -> None:
        super().__init__()
        for row in rows:
            if row.name in self:
                raise LookupError(f"two rows for op kind {row.name!r}")
            self[row.name] = row

    def __missing__(self, name: str) -> Kind:
        raise LookupError(f"op kind {name!r} has no row in engine/kinds.py")


KINDS = Kinds(_ROWS)
