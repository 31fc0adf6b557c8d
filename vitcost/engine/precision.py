"""The pass of precision: the bytes of an element of every tensor, and the casts of autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor

__all__ = ["Precision"]


class Precision:
    """Lowers tensors to bytes; ``name`` is fp32, half (parameters and images in two bytes), or amp
    (autocast). ``half`` is the type of two bytes: bf16 or fp16.

    >>> x, y = Tensor("x", ("b", "h"), "input"), Tensor("y", ("b", "h"))
    >>> weight = Tensor("weight", ("h", "h"), "param")
    >>> linear = Op("linear", (x,), y, ("h",), weight, needs=(False,))
    >>> [(op.kind, op.write.itemsize) for op in Precision("amp", "cuda", "bf16").op(linear)]
    [('cast', 2), ('cast', 2), ('linear', 2)]
    """

    def __init__(self, name: str, platform: str, half: str) -> None:
        self.name, self.platform, self.half = name, platform, half
        # each declared tensor as it is lowered
        self.low: dict[Tensor, Tensor] = {}
        # the operands of a product that are laid out anew inside it, and its arguments: the tensors
        # that each is a copy of
        self.arguments: dict[Tensor, list[Tensor]] = {}

    def of(self, declared: Tensor) -> Tensor:
        """A tensor as it is lowered; inputs and parameters are met here first."""
        if declared not in self.low:
            # an image comes in the precision of the parameters
            usual = 2 if self.name == "half" else 4
            itemsize = declared.itemsize or (8 if declared.role == "index" else usual)
            low = Tensor(declared.name, declared.axes, declared.role, None, itemsize)
            self.low[declared] = low
        return self.low[declared]

    @contextmanager
    def without_autocast(self) -> Iterator[None]:
        """Autocast reaches the operands of an op, each by itself, and not the ops inside it."""
        name, self.name = self.name, "fp32"
        yield
        self.name = name

    def op(self, op: Op) -> Iterator[Op]:
        """The casts that autocast makes for an op, then the op on lowered tensors."""
        reads = [self.of(t) for t in op.reads]
        weights = [None if t is None else self.of(t) for t in (op.weight, op.bias)]
        rule = self._rule(op.kind)
        # a softmax may be asked to compute in fp32
        asked = op.write.itemsize if KINDS[op.kind].autocast == "float" else 0
        wanted = asked or self._wanted(rule, reads)
        widens = self.platform == "cuda" and self.half in KINDS[op.kind].widens
        holds = [self.of(t) for t in op.holds]
        # the arguments of autocast's wrapper are evaluated from the last to the first
        parts = [
            t is not None and t.base is not None and not op.trains for t in (op.weight, op.bias)
        ]
        for mine, i in _arguments(op):
            group, needs = (weights, (op.trains,) * 2) if mine else (reads, op.needs)
            tensor = group[i]
            if tensor is not None and wanted and tensor.itemsize != wanted and not widens:
                group[i] = cast = _cast(tensor, wanted, mine and parts[i])
                yield Op("cast", (tensor,), cast, needs=(needs[i],))
                # autocast's wrapper keeps the uncast argument alive until the op returns
                holds.append(tensor)
        holds += (t for read in op.reads for t in self.arguments.get(read, ()))
        if op.kind == "copy":
            self.arguments[op.write] = [*holds, *reads]
        # a norm in half precision writes that, whatever its weight is; a number beside a tensor has
        # no say
        given = [
            t.itemsize
            for t in (*reads, *weights)
            if t is not None and t.role != "index" and (t.axes or not op.write.axes)
        ]
        itemsize = op.write.itemsize or wanted or (given[0] if rule == "keep" else max(given))
        # a fused op writes a storage of its own, even where the last of its parts is a view
        declared = op.write.base if op.parts is None else None
        base = None if declared is None else self.of(declared)
        write = Tensor(op.write.name, op.write.axes, op.write.role, base, itemsize)
        self.low[op.write] = write
        yield op._replace(
            reads=tuple(reads), write=write, weight=weights[0], bias=weights[1], holds=tuple(holds)
        )

    def _rule(self, kind: str) -> str:
        """The precision that autocast runs an op in."""
        row = KINDS[kind]
        return row.autocast if self.platform == "cuda" else row.on_cpu

    def _wanted(self, rule: str, reads: list[Tensor]) -> int:
        """The bytes of an element that autocast brings the operands of an op to; 0: as they are."""
        if self.name != "amp" or rule == "widest":
            return 0
        if rule == "promote":
            return max(t.itemsize for t in reads)
        return {"half": 2, "float": 4}.get(rule, 0)


def _arguments(op: Op) -> Iterator[tuple[bool, int]]:
    """The arguments of an op from the last to the first: whether it is a parameter of its own, and
    which one. addmm takes bias, input and weight."""
    if op.kind == "addmm":
        yield from ((True, 0), (False, 0), (True, 1))
        return
    yield from ((True, 1), (True, 0))
    yield from ((False, i) for i in reversed(range(len(op.reads))))


def _cast(tensor: Tensor, itemsize: int, part: bool = False) -> Tensor:
    """A copy in another precision; autocast's cache holds those of whole parameters alone."""
    role = "cast" if tensor.leaf and not part else "activation"
    # a tensor that is gathered again is cast before it is gathered
    x = tensor.storage if tensor.role == "regathered" else tensor
    return Tensor(x.name, x.axes, role, None, itemsize)
