"""Liveness of the backward pass: what autograd's engine allocates and frees, node by node.

The engine runs the nodes of the graph from the last to the first. A node takes the gradient of
what its op wrote, allocates those of what the op read, and only then frees what was saved for it
and the gradient that it took; a bias gradient, a sum over the others, is the last that it
allocates (``torch/csrc/autograd/engine.cpp``: ``call_function``, ``validate_outputs``,
``release_variables``). Some gradients are no tensor of their own: an add passes its own on, a
concatenation hands out views of it, and a view keeps the whole storage alive. A second gradient of
the same tensor is added in place where nobody else holds the first (``input_buffer.cpp``), and the
gradient of a parameter is taken over unless somebody else holds it (``accumulate_grad.h``).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from vitcost.engine.live import Forward, Ledger, Place, inside, named
from vitcost.engine.ops import Axis, Op, Tensor
from vitcost.engine.regions import REGION
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered

__all__ = ["BACKWARD", "Backward"]


class Gradient(NamedTuple):
    """A gradient on its way to the tensor that it is of."""

    of: Tensor
    value: Tensor


class Backward:
    """Walks an unrolled tree from its end, as autograd's engine does.

    ``in_place``: whether a second gradient is added in place; torch does not under a dispatch
    mode, which is how its own memory tracker looks at a step. ``onto``: whether parameters have
    gradients already, which theirs are added to.
    """

    def __init__(
        self, ledger: Ledger, one_image: bool, in_place: bool = True, onto: bool = False
    ) -> None:
        self.ledger, self.one_image, self.in_place = ledger, one_image, in_place
        self.onto = onto
        self.pending: dict[Tensor, Tensor] = {}
        # a gradient that several wait for is one tensor with several owners
        self.owners: Counter[Tensor] = Counter()
        self.settled = 0
        self.place = Place("backward", "")
        self.region: _Region | None = None
        # what the node that runs needs besides what it gives
        self.passing: list[Tensor] = []

    def node(self, node: Node, place: Place) -> None:
        """Runs the backward of one forward."""
        for items in _from_the_end(node.body):
            item = items[-1]
            if isinstance(item, Node):
                self.child(item, place)
                continue
            self.place = named(place, item)
            if item.kind in GATHERED:
                self.gather([op for op in items if isinstance(op, Op)])
            else:
                self.op(item)

    def child(self, node: Node, place: Place) -> None:
        """Runs the backward of a module or of a run of equal ones."""
        there = inside(place, node)
        with self.ledger.layers(node, backwards=True):
            if node.type == REGION:
                self.region = _Region(node, there._replace(phase="recomputation"))
            self.node(node, there)
        self.ledger.hand_over(self.pending.values())

    def rerun(self, region: "_Region") -> None:
        """Runs a checkpointed region again, for the first node that wants what it kept."""
        forward = Forward(self.ledger, training=True, again=True)
        for tensor in forward.node(region.node, region.place):
            self.ledger.drop(tensor)
        forward.leave_autocast()
        region.ran = True

    def op(self, op: Op) -> None:
        """Runs the nodes of one op, if a gradient reached it."""
        taken = self.pending.pop(op.write, None)
        if taken is None:
            return
        rule = BACKWARD.get(op.kind)
        if rule is None:
            raise NotCovered(f"the backward of {op.kind} in {self.place.path}")
        for step in rule.before:
            taken = step(self, op, taken)
        if op.again and op.keeps and self.region is not None and not self.region.ran:
            self.rerun(self.region)
        given = rule.last(self, op, taken)
        self.look()
        while self.passing:
            self.ledger.drop(self.passing.pop())
        if op.again:
            # what was computed again is handed to the node, and gone when it returns
            self.release(op)
        given = [self.validated(one) for one in given]
        if not op.again:
            self.release(op)
        self.drop(taken)
        for of, value in given:
            self.give(of, value)

    def release(self, op: Op) -> None:
        for tensor in op.keeps:
            self.ledger.drop(tensor)
        if self.region is not None and op is self.region.first:
            # the last that holds the inputs of the region
            for tensor in self.region.inputs:
                self.ledger.drop(tensor)
            self.region = None

    def validated(self, given: Gradient) -> Gradient:
        """Brings a gradient to the shape and the type of what it is of: a sum over what the op
        repeated, a cast of what it widened."""
        of, value = given
        if of.itemsize == value.itemsize and not self.repeats(of.axes, value.axes):
            return given
        fitting = Gradient(of, self.new(of))
        self.look()
        self.drop(value)
        return fitting

    def gather(self, parts: Sequence[Op]) -> None:
        """The parts of one tensor, taken apart by one call: their gradients side by side."""
        taken = [self.pending.pop(op.write) for op in parts if op.write in self.pending]
        if not taken:
            return
        if len(taken) < len(parts):
            raise NotCovered(f"a gradient for some parts of {parts[0].reads[0].name} alone")
        whole = self.new(parts[0].reads[0])
        self.look()
        for value in taken:
            self.drop(value)
        for step in GATHERED[parts[0].kind]:
            whole = step(self, parts[0], whole)
        self.give(parts[0].reads[0], whole)

    def give(self, tensor: Tensor, value: Tensor) -> None:
        """Adds to what waits for a tensor; a parameter waits for one gradient alone."""
        if tensor.role == "param" and tensor.base is None:
            self.settle(value)
            return
        first = self.pending.get(tensor)
        if first is None:
            self.pending[tensor] = value
            return
        if self.in_place and self.owners[first] == 1 == self.ledger.holders[first.storage]:
            self.drop(value)
            return
        self.pending[tensor] = self.new(tensor)
        self.look()
        self.drop(first)
        self.drop(value)

    def settle(self, value: Tensor) -> None:
        """The gradient of a parameter: added to what is there, or else taken over, or copied where
        another tensor waits for it."""
        self.settled += 1
        if self.onto:
            self.drop(value)
        elif self.owners[value] > 1:
            self.ledger.born(Tensor("gradient", value.axes, "", None, value.itemsize), "gradients")
            self.look()
            self.drop(value)
        else:
            self.ledger.move(value, "gradients")

    def new(self, like: Tensor, axes: tuple[Axis, ...] | None = None, itemsize: int = 0) -> Tensor:
        """Allocates a gradient."""
        lasts = like.role == "param" and axes is None and not self.onto
        part = "gradients" if lasts else "temporary"
        value = Tensor(
            f"gradient of {like.name}", axes or like.axes, "", None, itemsize or like.itemsize
        )
        self.ledger.born(value, part)
        self.owners[value] = 1
        return value

    def pass_by(self, axes: tuple[Axis, ...], itemsize: int) -> None:
        """Allocates what a node computes on its way: C++ lets it go at the end of the statement."""
        value = Tensor("", axes, "", None, itemsize)
        self.ledger.born(value)
        self.passing.append(value)

    def view(self, value: Tensor, axes: tuple[Axis, ...], role: str = "") -> Tensor:
        """Another tensor in the storage of a gradient."""
        seen = Tensor(value.name, axes, role, value, value.itemsize)
        self.ledger.hold(seen)
        self.owners[seen] = 1
        return seen

    def share(self, value: Tensor) -> Tensor:
        self.ledger.hold(value)
        self.owners[value] += 1
        return value

    def drop(self, value: Tensor) -> None:
        self.ledger.drop(value)
        self.owners[value] -= 1

    def look(self) -> None:
        self.ledger.look(self.place)

    def repeats(self, axes: tuple[Axis, ...], over: tuple[Axis, ...]) -> bool:
        """Whether a tensor of some axes was repeated along others when it was read."""
        if self.one_image:
            over = tuple(1 if axis == "b" else axis for axis in over)
            axes = tuple(1 if axis == "b" else axis for axis in axes)
        return axes != over


class _Region:
    """A checkpointed region whose backward runs."""

    def __init__(self, node: Node, place: Place) -> None:
        self.node, self.place, self.ran = node, place, False
        ops = list(_ops(node))
        self.inputs = [t for op in ops if op.kind == "checkpoint" for t in op.keeps]
        self.first = next((op for op in ops if op.again and op.keeps), None)


def _ops(node: Node) -> Iterator[Op]:
    for item in node.body:
        if isinstance(item, Op):
            yield item
        else:
            yield from _ops(item)


# one node of the graph takes a gradient over and gives another; the last of an op gives all those
# of what the op read
Step: TypeAlias = Callable[[Backward, Op, Tensor], Tensor]
Last: TypeAlias = Callable[[Backward, Op, Tensor], list[Gradient]]


class Rule(NamedTuple):
    """The nodes of one kind of op, in the order that they run."""

    last: Last
    before: tuple[Step, ...] = ()


def _wanted(op: Op) -> Iterator[Tensor]:
    """What needs a gradient, in the order of torch's arguments."""
    yield from (t for t, needs in zip(op.reads, op.needs, strict=True) if needs)
    if op.trains:
        yield from (t for t in (op.weight, op.bias) if t is not None)


def _each(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """A tensor for each gradient, shaped like what it is of."""
    return [Gradient(t, walk.new(t)) for t in _wanted(op)]


def _matrices(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """A product for each factor; the bias has the gradient itself, which is summed after them."""
    return [Gradient(t, walk.share(taken) if t is op.bias else walk.new(t)) for t in _wanted(op)]


def _factors(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """The gradient times the other factor, for each: as large as what the op wrote."""
    written = op.write
    return [
        Gradient(t, walk.new(t, written.axes, written.itemsize))
        if walk.repeats(t.axes, written.axes) or t.itemsize != written.itemsize
        else Gradient(t, walk.new(t))
        for t in _wanted(op)
    ]


def _squared(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """``grad · (2 · x)``, where x is copied first, as its first power."""
    for _ in range(2):
        walk.pass_by(op.reads[0].axes, op.reads[0].itemsize)
    return _each(walk, op, taken)


def _inverse_root(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """``-½ grad · y³``."""
    for _ in range(2):
        walk.pass_by(op.write.axes, op.write.itemsize)
    return _each(walk, op, taken)


def _wave(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """``grad · cos(x)``, or of a cosine ``grad · -sin(x)``."""
    for _ in range(1 if op.kind == "sin" else 2):
        walk.pass_by(op.write.axes, op.write.itemsize)
    return _each(walk, op, taken)


def _where_largest(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """``grad / count · mask``: booleans, and how many of them are true, as integers."""
    walk.pass_by(op.reads[0].axes, 1)
    walk.pass_by(op.write.axes, 8)
    walk.pass_by(op.write.axes, op.write.itemsize)
    return _each(walk, op, taken)


def _even(walk: Backward, op: Op, taken: Tensor) -> Tensor:
    """Of what was every second element in turn: the gradient of the even ones, in a tensor of their
    whole, and that of the odd ones with its sign turned."""
    (x,) = op.reads
    even = walk.new(x)
    walk.look()
    walk.give(x, even)
    odd = walk.new(x, (*x.axes[:-1], "d_2"))
    walk.look()
    walk.drop(taken)
    return odd


def _passed(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """The gradient itself."""
    return [Gradient(t, walk.share(taken)) for t in _wanted(op)]


def _viewed(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """A view of the gradient for each."""
    return [Gradient(t, walk.view(taken, t.axes)) for t in _wanted(op)]


def _heads(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """A view that lies in another order than its axes say."""
    return [Gradient(t, walk.view(taken, t.axes, "permuted")) for t in _wanted(op)]


def _cast(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """A copy in the type that was cast."""
    return [Gradient(op.reads[0], walk.new(op.reads[0]))]


def _of_parameter(walk: Backward, op: Op, taken: Tensor) -> list[Gradient]:
    """What was read of a parameter is its gradient."""
    assert op.weight is not None
    return [Gradient(op.weight, walk.share(taken))]


def _copied(walk: Backward, op: Op, taken: Tensor) -> Tensor:
    """Lays a gradient out anew."""
    value = walk.new(taken)
    walk.look()
    walk.drop(taken)
    return value


def _adjacent(walk: Backward, op: Op, taken: Tensor) -> Tensor:
    """bmm folds images and heads into one axis, which a permuted gradient of several has not."""
    return taken if walk.one_image or taken.role != "permuted" else _copied(walk, op, taken)


# derivatives.yaml says what each node computes; a kind that has no row is not covered
BACKWARD: Mapping[str, Rule] = {
    "linear": Rule(_matrices),
    "conv": Rule(_each),
    "norm": Rule(_each),
    "softmax": Rule(_each),
    "gelu": Rule(_each),
    "silu": Rule(_each),
    "relu": Rule(_each),
    "tanh": Rule(_each),
    "sigmoid": Rule(_each),
    "times": Rule(_each),
    "exp": Rule(_each),
    "mean": Rule(_each),
    "square": Rule(_squared),
    "rsqrt": Rule(_inverse_root),
    "sin": Rule(_wave),
    "cos": Rule(_wave),
    "amax": Rule(_where_largest),
    "rotate": Rule(_each, before=(_even,)),
    "repeat": Rule(_each),
    "index": Rule(_each),
    "resample": Rule(_each),
    "group norm": Rule(_each),
    "batch norm": Rule(_each),
    "standardize": Rule(_each),
    "max pool": Rule(_each),
    "avg pool": Rule(_each),
    "pad": Rule(_each),
    "scale": Rule(_each),
    "dropout": Rule(_each),
    "droppath": Rule(_each),
    "sdpa": Rule(_each),
    "nll": Rule(_each),
    "log_softmax": Rule(_each),
    "select": Rule(_each),
    "slice": Rule(_each),
    "matmul": Rule(_each, before=(_adjacent,)),
    "matmul again": Rule(_each, before=(_adjacent,)),
    "residual": Rule(_passed),
    "add": Rule(_passed),
    "expand": Rule(_passed),
    "sum": Rule(_viewed),
    "cat": Rule(_viewed),
    "copy": Rule(_viewed),
    "rows": Rule(_viewed),
    "view": Rule(_viewed),
    "merge": Rule(_heads),
    "permute": Rule(_heads),
    "heads": Rule(_each),
    "cast": Rule(_cast),
    "parameter": Rule(_of_parameter),
    "gate": Rule(_factors),
    "gain": Rule(_factors),
    "mul": Rule(_factors),
}

# the parts of one tensor: what happens to their gradients once they lie side by side
GATHERED: Mapping[str, tuple[Step, ...]] = {
    "unbind": (_copied,),  # the three of a qkv lie apart in it
    "chunk": (),
    "split": (),
}


def _from_the_end(body: Sequence[Op | Node]) -> Iterator[list[Op | Node]]:
    """The items of a body, the last one first; the parts of one tensor are one item."""

    def whole(item: Op | Node) -> object:
        if isinstance(item, Op) and item.kind in GATHERED:
            return item.kind, item.reads
        return id(item)

    for _, items in groupby(reversed(body), whole):
        yield list(items)[::-1]
