"""The fold: from a lowered tree and the sizes of its axes to rows of exact counts."""

from typing import NamedTuple

from vitcost.engine import ops
from vitcost.engine.ops import Op, Size, Sizes
from vitcost.engine.tree import Node

__all__ = ["Cost", "Row", "fold"]


class Cost(NamedTuple):
    """What one call of a module costs, its children included."""

    params: Size = 0
    flops: Size = 0
    backward_flops: Size = 0
    pointwise: Size = 0
    moved_bytes: Size = 0
    saved_bytes: Size = 0
    executed_backward_flops: Size = 0
    tensors: Size = 0  # how many tensors its parameters are

    def plus(self, other: "Cost", times: Size = 1) -> "Cost":
        return Cost(
            self.params + times * other.params,
            self.flops + times * other.flops,
            self.backward_flops + times * other.backward_flops,
            self.pointwise + times * other.pointwise,
            self.moved_bytes + times * other.moved_bytes,
            self.saved_bytes + times * other.saved_bytes,
            self.executed_backward_flops + times * other.executed_backward_flops,
            self.tensors + times * other.tensors,
        )


class Row(NamedTuple):
    """A module of the tree, or a run of equal ones, with the cost of one."""

    path: str
    last: str
    type: str
    repeat: Size
    shape: tuple[Size, ...]
    cost: Cost
    children: "tuple[Row, ...]"


def fold(node: Node, sizes: Sizes, path: str = "", last: str = "") -> Row:
    """The cost of a node: that of its ops, and of its children times how often they repeat."""
    cost = Cost()
    rows: list[Row] = []
    for item in node.body:
        if isinstance(item, Op):
            cost = cost.plus(_cost(item, sizes))
            continue
        repeat: Size = 1
        if item.run is None:
            first = final = item.name
        else:
            index = sum(before.of(sizes) for before in item.run.before)
            repeat = item.run.layers.of(sizes)
            first, final = f"{index}", f"{index + repeat - 1}"
        row = fold(item, sizes, _join(path, first), _join(last, final))
        rows.append(row._replace(repeat=repeat))
        cost = cost.plus(row.cost, repeat)
    shape = tuple(sizes[axis] for axis in node.output.axes)
    return Row(path, last, node.type, 1, shape, cost, tuple(rows))


def _cost(op: Op, sizes: Sizes) -> Cost:
    saved: Size = 0
    for tensor in op.saves:
        saved = saved + ops.bytes_of(tensor, sizes)
    return Cost(
        ops.params(op, sizes),
        ops.flops(op, sizes),
        ops.backward_flops(op, sizes),
        ops.pointwise(op, sizes),
        ops.moved(op, sizes),
        saved,
        ops.executed_backward_flops(op, sizes),
        (op.weight is not None) + (op.bias is not None),
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
