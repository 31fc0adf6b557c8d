"""The pass of precision: the bytes of an element of every tensor, and the casts of autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor

__all__ = ["Precision"]


class Precision:
    """Gives every tensor its bytes per element. ``name`` is fp32, half (parameters and images in
    two bytes), or amp (autocast); ``half`` is the two-byte type: bf16 or fp16.

    >>> x, y = Tensor("x", ("b", "h"), "input"), Tensor("y", ("b", "h"))
    >>> weight = Tensor("weight", ("h", "h"), "param")
    >>> linear = Op("linear", (x,), y, ("h",), weight, needs=(False,))
    >>> [(op.kind, op.write.itemsize) for op in Precision("amp", "cuda", "bf16").op(linear)]
    [('cast', 2), ('cast', 2), ('linear', 2)]
    """

    def __init__(self, name: str, platform: str, half: str) -> None:
        self.name, self.platform, self.half = name, platform, half
        # the lowered tensor of each declared one
        self.low: dict[Tensor, Tensor] = {}
        # a product copies an operand whose memory layout it cannot read: maps the copy to the
        # product's arguments, which stay alive until the product returns
        self.arguments: dict[Tensor, list[Tensor]] = {}

    def of(self, declared: Tensor) -> Tensor:
        """The lowered tensor of a declared one. Inputs and parameters, which no op wrote, are
        lowered here."""
        low = self.low.get(declared)
        if low is None:
            # an image comes in the precision of the parameters
            usual = 2 if self.name == "half" else 4
            itemsize = declared.itemsize or (8 if declared.role == "index" else usual)
            low = Tensor(declared.name, declared.axes, declared.role, None, itemsize)
            self.low[declared] = low
        return low

    @contextmanager
    def without_autocast(self) -> Iterator[None]:
        """Stops casting while inner ops are lowered: autocast casts operands of an op that torch
        dispatches, not of ops inside its kernel."""
        name, self.name = self.name, "fp32"
        yield
        self.name = name

    def op(self, op: Op) -> Iterator[Op]:
        """The casts that autocast makes for an op, then the op itself on lowered tensors."""
        row = KINDS[op.kind]
        reads = list(map(self.of, op.reads))
        weights = [None if t is None else self.of(t) for t in (op.weight, op.bias)]
        rule = row.autocast if self.platform == "cuda" else row.on_cpu
        # a softmax with dtype=float32 computes in fp32, with and without autocast
        declared_size = op.write.itemsize if row.autocast == "float" else 0
        cast_to = declared_size or self._cast_to(rule, reads)
        # some kernels of a card read two-byte types and write fp32, so autocast's casts are not
        # needed
        widens = self.platform == "cuda" and self.half in row.widens
        holds = [self.of(t) for t in op.holds]
        for cast in _casts(op, reads, weights, cast_to) if cast_to and not widens else ():
            yield cast
            # autocast's wrapper keeps the uncast argument alive until the op returns
            holds += cast.reads
        holds += (t for read in op.reads for t in self.arguments.get(read, ()))
        if op.kind == "copy":
            self.arguments[op.write] = [*holds, *reads]
        # the result has the type of the widest operand; under the rule `keep` (norms), that of the
        # first; indices, and numbers beside a tensor, do not count
        read_sizes = [
            t.itemsize
            for t in (*reads, *weights)
            if t is not None and t.role != "index" and (t.axes or not op.write.axes)
        ]
        itemsize = op.write.itemsize or cast_to
        itemsize = itemsize or (read_sizes[0] if rule == "keep" else max(read_sizes))
        # a fused kernel writes a new storage, even where the last of the ops in it is a view
        declared = op.write.base if op.parts is None else None
        base = None if declared is None else self.of(declared)
        write = Tensor(op.write.name, op.write.axes, op.write.role, base, itemsize)
        self.low[op.write] = write
        yield op._replace(
            reads=tuple(reads), write=write, weight=weights[0], bias=weights[1], holds=tuple(holds)
        )

    def _cast_to(self, rule: str, reads: list[Tensor]) -> int:
        """The bytes per element to which autocast casts the operands of an op; 0: no cast."""
        if self.name != "amp" or rule == "widest":
            return 0
        if rule == "promote":
            return max(t.itemsize for t in reads)
        return {"half": 2, "float": 4}.get(rule, 0)


def _arguments(op: Op) -> Iterator[tuple[bool, int]]:
    """The arguments of an op, from the last to the first, as autocast's wrapper casts them. Each
    item says whether the argument is a weight or bias, and its index. addmm takes bias, input,
    weight."""
    if op.kind == "addmm":
        yield from ((True, 0), (False, 0), (True, 1))
        return
    yield from ((True, 1), (True, 0))
    yield from ((False, i) for i in reversed(range(len(op.reads))))


def _casts(
    op: Op, reads: list[Tensor], weights: list[Tensor | None], itemsize: int
) -> Iterator[Op]:
    """The casts of an op's arguments to ``itemsize`` bytes an element; each copy takes the place of
    its argument in ``reads`` or ``weights``."""
    for is_weight, i in _arguments(op):
        group, needs = (weights, (op.trains,) * 2) if is_weight else (reads, op.needs)
        tensor = group[i]
        if tensor is not None and tensor.itemsize != itemsize:
            declared = (op.weight, op.bias)[i] if is_weight else None
            is_slice = declared is not None and declared.base is not None and not op.trains
            group[i] = copy = _cast(tensor, itemsize, is_slice)
            yield Op("cast", (tensor,), copy, needs=(needs[i],))


def _cast(tensor: Tensor, itemsize: int, is_slice: bool = False) -> Tensor:
    """A copy in another precision; autocast caches copies of whole parameters, not of a slice."""
    role = "cast" if tensor.leaf and not is_slice else "activation"
    # ranks cast their own shard, then gather: the cast reads the storage from before the gather
    x = tensor.storage if tensor.role == "regathered" else tensor
    return Tensor(x.name, x.axes, role, None, itemsize)
