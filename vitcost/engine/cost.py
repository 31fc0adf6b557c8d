"""The fold: from a lowered tree and the sizes of its axes to rows of exact counts."""

from typing import NamedTuple

from vitcost.config.records import Record
from vitcost.engine import ops
from vitcost.engine.ops import Op, Size, Sizes
from vitcost.engine.tree import REGION, Node, joined

__all__ = ["Cost", "Row", "defined", "fold"]


class Cost(NamedTuple):
    """The cost of one call of a module, its children included."""

    params: Size = 0
    flops: Size = 0
    backward_flops: Size = 0
    pointwise: Size = 0
    moved_bytes: Size = 0
    saved_bytes: Size = 0
    executed_backward_flops: Size = 0
    tensors: Size = 0  # the number of parameter tensors that train
    trainable: Size = 0  # parameters that train
    executed_flops: Size = 0

    @property
    def macs(self) -> Size:
        return self.flops // 2

    def plus(self, other: "Cost", times: Size = 1) -> "Cost":
        return Cost(*[mine + times * more for mine, more in zip(self, other, strict=True)])


class Row(Record):
    """A module of the tree, or a run of equal ones, with the cost of one."""

    path: str
    last: str
    type: str
    repeat: Size
    shape: tuple[Size, ...]
    cost: Cost
    children: "tuple[Row, ...]"


def fold(node: Node, sizes: Sizes, path: str = "", last: str = "") -> Row:
    """The cost of a node: its ops, plus each child's cost times its number of layers."""
    cost, rows = _body(node, sizes, path, last, 0, 0)
    shape = tuple(sizes[axis] for axis in node.output.axes)
    return Row(path, last, node.type, 1, shape, cost, tuple(rows))


def _body(
    node: Node, sizes: Sizes, path: str, last: str, first: Size, final: Size
) -> tuple[Cost, list[Row]]:
    """The cost and the rows of a body. ``first`` and ``final`` layers stand before it, counted in
    the first and in the last region of a run."""
    cost = Cost()
    rows: list[Row] = []
    for item in node.body:
        if isinstance(item, Op):
            cost = cost.plus(_cost(item, sizes))
            continue
        times = item.times(sizes)
        if item.type == REGION:
            # a region is no module: its rows are rows of the module around it
            each = item.layers(sizes)
            inner, below = _body(item, sizes, path, last, first, final + (times - 1) * each)
            rows += [row._replace(repeat=times * row.repeat) for row in below]
            cost = cost.plus(inner, times)
            first, final = first + times * each, final + times * each
            continue
        if item.run is None:
            row = fold(item, sizes, joined(path, item.name), joined(last, item.name))
        else:
            ends = f"{first}", f"{final + times - 1}"
            row = fold(item, sizes, joined(path, ends[0]), joined(last, ends[1]))
            first, final = first + times, final + times
        rows.append(row._replace(repeat=times))
        cost = cost.plus(row.cost, times)
    return cost, rows


def _cost(op: Op, sizes: Sizes) -> Cost:
    # the ops of a checkpointed region save nothing until it runs again in the backward pass
    saved = 0 if op.again else sum(ops.bytes_of(tensor, sizes) for tensor in op.saves)
    params, executed = ops.params(op, sizes), ops.executed_flops(op, sizes)
    return Cost(
        params,
        ops.flops(op, sizes),
        ops.backward_flops(op, sizes),
        ops.pointwise(op, sizes),
        ops.moved(op, sizes),
        saved,
        ops.executed_backward_flops(op, sizes) + (executed if op.again == "runs" else 0),
        len(ops.own(op)) if op.trains else 0,
        params if op.trains else 0,
        executed,
    )


def defined(node: Node, sizes: Sizes) -> tuple[Size, Size]:
    """Parameters and forward FLOPs of a declared tree; no pass changes either.

    >>> from vitcost.engine.model import build, sizes_of, structure_of
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> defined(build(structure_of(base)), sizes_of(base))
    (86567656, 35127656448)
    """
    parameters: Size = 0
    flops: Size = 0
    for item in node.body:
        if isinstance(item, Op):
            if item.weight is not None:
                parameters = parameters + ops.params(item, sizes)
            if item.over:
                flops = flops + ops.flops(item, sizes)
            continue
        inner, done = defined(item, sizes)
        times = item.times(sizes)
        parameters, flops = parameters + times * inner, flops + times * done
    return parameters, flops
