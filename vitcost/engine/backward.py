"""Liveness of the backward pass: the storages that autograd's engine allocates and frees, node by
node.

The engine runs the nodes of the graph from the last to the first. A node takes the gradient of what
its op wrote, allocates those of what the op read, and only then frees what was saved for it and the
gradient that it took; the bias gradient, a sum, is allocated last
(``torch/csrc/autograd/engine.cpp``: ``call_function``, ``validate_outputs``,
``release_variables``). Some nodes allocate nothing: an add passes its gradient on, a concatenation
returns views of its gradient, and each view keeps the whole storage alive. A second gradient of the
same tensor is added in place where the first is no view and has no other owner
(``input_buffer.cpp``: ``can_accumulate_inplace``), and a parameter takes its gradient
over without a copy unless another reference to the gradient exists (``accumulate_grad.h``).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from vitcost.engine.derivatives import GATHERED, RULES, Gradient
from vitcost.engine.forward_trace import Forward, inside, named
from vitcost.engine.gradients import Gradients
from vitcost.engine.kinds import KINDS
from vitcost.engine.live import Place
from vitcost.engine.ops import Op
from vitcost.engine.orders import TURNED
from vitcost.engine.tree import REGION, Node, ops_of
from vitcost.errors import NotCovered

__all__ = ["Backward"]


class Backward(Gradients):
    """Walks an unrolled tree from its end, as autograd's engine does."""

    # the checkpointed region whose backward runs
    region: "_Region | None" = None

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
        """Runs the backward of a module, or of a run of equal modules."""
        there = inside(place, node)
        if node.run is None and node.type != REGION:
            self.node(node, there)
            return
        with self.ledger.layers(node, backwards=True):
            if node.type == REGION:
                self.region = _Region(node, there._replace(phase="recomputation"))
            self.node(node, there)
        self.ledger.hand_over(self.pending.values())

    def rerun(self, region: "_Region") -> None:
        """Runs a checkpointed region again, for the first node that reads a tensor saved in it."""
        forward = self.again()
        for tensor in forward.node(region.node, region.place):
            self.ledger.drop(tensor)
        forward.leave_autocast()
        region.ran = True

    def again(self) -> Forward:
        """A forward pass of a checkpointed region."""
        return Forward(self.ledger, training=True, again=True, in_place=self.in_place)

    def op(self, op: Op) -> None:
        """Runs the backward nodes of one op, if a gradient reached the op."""
        grad = self.pending.pop(op.write, None)
        if grad is None:
            return
        rule = RULES.get(KINDS[op.kind].gradient)
        if rule is None or not (rule.exact or self.bounding):
            raise NotCovered(f"the backward of {op.kind} in {self.place.path}")
        for step in rule.before:
            grad = step(self, op, grad)
        if op.again and op.packs and self.region is not None and not self.region.ran:
            self.rerun(self.region)
        gradients = rule.last(self, op, grad)
        self.look()
        self.passed()
        if op.again:
            # recomputed activations are freed as soon as this node returns
            self.release(op)
        gradients = [self.validated(one) for one in gradients]
        if not op.again:
            self.release(op)
        if self.region is not None and op is self.region.first:
            # this node holds the last references to the inputs of the region
            for tensor in self.region.inputs:
                self.ledger.drop(tensor)
            self.region = None
        self.drop(grad)
        for of, value in self.in_order(op, gradients):
            self.give(of, value)

    def in_order(self, op: Op, gradients: list[Gradient]) -> list[Gradient]:
        """The gradients of an op, in the order in which its backward node returns them."""
        return gradients

    def release(self, op: Op) -> None:
        for tensor in op.keeps:
            self.ledger.drop(tensor)

    def validated(self, gradient: Gradient) -> Gradient:
        """Brings a gradient to the shape and type of its tensor: sums it over repeated axes, and
        casts it back where the forward had cast the tensor to a wider type."""
        of, value = gradient
        repeated = self.repeats(of.axes, value.axes)
        if of.itemsize == value.itemsize and not repeated:
            return gradient
        if repeated and of.itemsize != value.itemsize:
            # validate_outputs sums first, and casts the sum
            total = self.new(of, of.axes, value.itemsize)
            self.look()
            self.drop(value)
            value = total
        fitting = self.new(of, role=TURNED if value.role == TURNED and not repeated else "")
        self.look()
        self.drop(value)
        if len(value.axes) > len(of.axes) and value.itemsize == of.itemsize:
            # sum(keepdim=True), and a view without the summed axes
            fitting = self.only_view(fitting)
        return Gradient(of, fitting)

    def gather(self, parts: Sequence[Op]) -> None:
        """Joins the gradients of all parts of one tensor that a single call took apart (unbind,
        chunk)."""
        grads = [self.pending.pop(op.write) for op in parts if op.write in self.pending]
        if not grads:
            return
        if len(grads) < len(parts):
            raise NotCovered(f"a gradient for some parts of {parts[0].reads[0].name} alone")
        whole = self.new(parts[0].reads[0])
        self.look()
        for value in grads:
            self.drop(value)
        for step in GATHERED[KINDS[parts[0].kind].gradient]:
            whole = step(self, parts[0], whole)
        self.give(parts[0].reads[0], whole)


class _Region:
    """A checkpointed region whose backward is running."""

    def __init__(self, node: Node, place: Place) -> None:
        self.node, self.place, self.ran = node, place, False
        ops = list(ops_of(node))
        self.inputs = [t for op in ops if op.kind == "checkpoint" for t in op.keeps]
        self.first = next((op for op in ops if op.again and op.packs), None)


def _from_the_end(body: Sequence[Op | Node]) -> Iterator[list[Op | Node]]:
    """The items of a body, last one first; ops that take one tensor apart count as one item."""

    def whole(item: Op | Node) -> object:
        if isinstance(item, Op) and KINDS[item.kind].gradient in GATHERED:
            return item.kind, item.reads
        return id(item)

    for _, items in groupby(reversed(body), whole):
        yield list(items)[::-1]
