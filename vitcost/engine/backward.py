"""Liveness of the backward pass: what autograd's engine allocates and frees, node by node.

The engine runs the nodes of the graph from the last to the first. A node takes the gradient of
what its op wrote, allocates those of what the op read, and only then frees what was saved for it
and the gradient that it took; a bias gradient, a sum over the others, is the last that it
allocates (``torch/csrc/autograd/engine.cpp``: ``call_function``, ``validate_outputs``,
``release_variables``). Some gradients are no tensor of their own: an add passes its own on, a
concatenation hands out views of it, and a view keeps the whole storage alive. A second gradient of
the same tensor is added in place where the first is no view and has no other owner
(``input_buffer.cpp``: ``can_accumulate_inplace``), and the gradient of a parameter is taken over
unless somebody else holds it (``accumulate_grad.h``).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from vitcost.engine.derivatives import GATHERED, RULES, Gradient
from vitcost.engine.kinds import KINDS
from vitcost.engine.live import Forward, Ledger, Place, inside, named
from vitcost.engine.ops import Axis, Op, Tensor
from vitcost.engine.regions import REGION
from vitcost.engine.tree import Node, ops_of
from vitcost.errors import NotCovered

__all__ = ["Backward", "Layout"]


class Layout(NamedTuple):
    """What decides in which order gradients lie."""

    one_image: bool
    one_head: bool
    platform: str


# kinds whose kernels want a gradient in the order that its axes say
_CONTIGUOUS = ("linear", "conv", "norm")


class Backward:
    """Walks an unrolled tree from its end, as autograd's engine does.

    ``in_place``: whether a second gradient is added in place; torch does not under a dispatch
    mode, which is how its own memory tracker looks at a step. ``onto``: whether parameters have
    gradients already, which theirs are added to. ``bounding``: whether no less than torch may be
    allocated, where it is not known how much that is.
    """

    def __init__(
        self,
        ledger: Ledger,
        layout: Layout,
        in_place: bool = True,
        onto: bool = False,
        bounding: bool = False,
    ) -> None:
        self.ledger, self.layout, self.in_place = ledger, layout, in_place
        self.one_image, self.onto, self.bounding = layout.one_image, onto, bounding
        self.pending: dict[Tensor, Tensor] = {}
        # a gradient that several wait for is one tensor with several owners
        self.owners: Counter[Tensor] = Counter()
        self.settled = 0
        # parameters that two ops read, and whether one gradient is there
        self.tied: dict[Tensor, bool] = {}
        self.place = Place("backward", "")
        self.region: _Region | None = None
        # whether tensors may lie in another order than their axes say, and are copied
        self.apart = False
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
            if KINDS[item.kind].gradient in GATHERED:
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
        rule = RULES.get(KINDS[op.kind].gradient)
        if rule is None or not (rule.exact or self.bounding):
            raise NotCovered(f"the backward of {op.kind} in {self.place.path}")
        for step in rule.before:
            taken = step(self, op, taken)
        if op.again and op.packs and self.region is not None and not self.region.ran:
            self.rerun(self.region)
        if self.apart and op.kind in _CONTIGUOUS:
            self.pass_by(taken.axes, taken.itemsize)
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
        if self.region is not None and op is self.region.first:
            # the last that holds the inputs of the region
            for tensor in self.region.inputs:
                self.ledger.drop(tensor)
            self.region = None
        self.drop(taken)
        for of, value in given:
            self.give(of, value)

    def release(self, op: Op) -> None:
        for tensor in op.keeps:
            self.ledger.drop(tensor)

    def validated(self, given: Gradient) -> Gradient:
        """Brings a gradient to the shape and the type of what it is of: a sum over what the op
        repeated, a cast of what it widened."""
        of, value = given
        if of.itemsize == value.itemsize and not self.repeats(of.axes, value.axes):
            return given
        fitting = self.new(of)
        self.look()
        self.drop(value)
        if len(value.axes) > len(of.axes) and value.itemsize == of.itemsize:
            # the sum keeps the axes that it is over, and a view leaves them out
            fitting = self.only_view(fitting)
        return Gradient(of, fitting)

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
        for step in GATHERED[KINDS[parts[0].kind].gradient]:
            whole = step(self, parts[0], whole)
        self.give(parts[0].reads[0], whole)

    def give(self, tensor: Tensor, value: Tensor) -> None:
        """Adds to what waits for a tensor; a parameter waits for one gradient alone."""
        if tensor.role == "param" and tensor.base is None:
            self.settle(tensor, value)
            return
        first = self.pending.get(tensor)
        if first is None:
            self.pending[tensor] = value
            return
        alone = self.owners[first] == 1 == self.ledger.holders[first.storage]
        # a view holds its base, so that its storage has two owners
        if self.in_place and alone and first.base is None:
            self.drop(value)
            return
        self.pending[tensor] = self.new(tensor)
        self.look()
        self.drop(first)
        self.drop(value)

    def settle(self, parameter: Tensor, value: Tensor) -> None:
        """The gradient of a parameter: added to what is there, or else taken over, or copied where
        another tensor waits for it. A parameter that two ops read has two."""
        again = self.tied.get(parameter, False)
        if parameter in self.tied:
            self.tied[parameter] = True
        self.settled += not again
        # a convolution gives the gradient of its weight in the order of what it reads
        turned = self.apart and len(value.axes) > 2
        if self.onto or again:
            self.drop(value)
        elif self.owners[value] > 1 or turned:
            self.ledger.born(Tensor("gradient", value.axes, "", None, value.itemsize), "gradients")
            self.look()
            self.drop(value)
        else:
            self.ledger.move(value, "gradients")

    def new(
        self,
        like: Tensor,
        axes: tuple[Axis, ...] | None = None,
        itemsize: int = 0,
        role: str = "",
    ) -> Tensor:
        """Allocates a gradient; ``role`` is the order in which it lies."""
        lasts = like.role == "param" and axes is None and not self.onto
        part = "gradients" if lasts else "temporary"
        value = Tensor(
            f"gradient of {like.name}", axes or like.axes, role, None, itemsize or like.itemsize
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

    def only_view(self, value: Tensor) -> Tensor:
        """A view of a gradient that nothing else holds."""
        seen = self.view(value, value.axes)
        self.drop(value)
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
        ops = list(ops_of(node))
        self.inputs = [t for op in ops if op.kind == "checkpoint" for t in op.keeps]
        self.first = next((op for op in ops if op.again and op.packs), None)


def _from_the_end(body: Sequence[Op | Node]) -> Iterator[list[Op | Node]]:
    """The items of a body, the last one first; the parts of one tensor are one item."""

    def whole(item: Op | Node) -> object:
        if isinstance(item, Op) and KINDS[item.kind].gradient in GATHERED:
            return item.kind, item.reads
        return id(item)

    for _, items in groupby(reversed(body), whole):
        yield list(items)[::-1]
