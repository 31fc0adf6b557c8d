"""Tensor parallel ranks: the tree of one of t that share each layer, as a pass over a lowered tree.

In every block the first layer of attention and MLP is cut by its outputs, whole heads to a rank,
the second by its inputs, so that what lies between is divided too; its output is summed. Norms and
the residual stream are whole on every rank, or divided along the tokens where the sequence is
shared too. The rows of a vocabulary are divided, as are its logits.

Source: Shoeybi et al. 2019 (Megatron-LM), arXiv 1909.08053, section 3; Korthikanti et al. 2022,
arXiv 2205.05198, section 4.2.2 for the sequence.
"""

from collections.abc import Callable, Iterable

from vitcost.engine.ops import Axis, Op, Sizes, Tensor
from vitcost.engine.regions import REGION
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered

__all__ = ["tensor_parallel", "tensor_parallel_sizes"]

# layers by what is divided, under the names that families give them
_BY_OUTPUTS = {
    "qkv", "q_proj", "k_proj", "v_proj", "fc1", "fc1_g", "fc1_x", "w0", "w1", "c_attn", "c_fc",
    "in_proj", "q_bias", "v_bias",
}  # fmt: skip
_BY_INPUTS = {"proj", "fc2", "w2", "c_proj", "out_proj"}
_BLOCKS = {"Block", "ResPostBlock", "EvaBlock", "EvaBlockPostNorm"}
_VOCABULARY = "V"


def tensor_parallel(tree: Node, sequence: bool) -> Node:
    """The tree of one rank; axes that are divided have the sizes of ``tensor_parallel_sizes``.

    Raises ``NotCovered`` for blocks that have other layers, or a norm over what is divided.
    """
    return _Rank(sequence).outside(tree)


def tensor_parallel_sizes(sizes: Sizes, ranks: int) -> Sizes:
    """Sizes with those of a rank: heads and widths are divided evenly, tokens and the rows of a
    vocabulary are filled up.

    >>> tensor_parallel_sizes(Sizes(a=12, s=197), 4)["a/t"]
    3
    """
    own = Sizes(sizes)
    for axis, size in sizes.items():
        uneven = axis in ("s", _VOCABULARY)
        own[f"{axis}/t"] = -(-size // ranks) if uneven else size // ranks
    return own


class _Rank:
    """Copies a tree, with axes of a rank in place of those that are divided."""

    def __init__(self, sequence: bool) -> None:
        self.sequence = sequence

    def outside(self, node: Node) -> Node:
        """What is not in a block is whole, but for a vocabulary."""
        body: list[Op | Node] = []
        for item in node.body:
            if isinstance(item, Op):
                body.append(_replaced(item, _whole))
            elif item.type in (*_BLOCKS, REGION):
                body.append(_Block(self.sequence).node(item))
            elif "Block" in item.type and item.run is not None:
                raise NotCovered(f"tensor parallel {item.type}")
            else:
                body.append(self.outside(item))
        return node._replace(body=tuple(body), output=_whole(node.output))


def _whole(tensor: Tensor) -> Tensor:
    if _VOCABULARY not in tensor.axes:
        return tensor
    return _with_axes(tensor, [f"{a}/t" if a == _VOCABULARY else a for a in tensor.axes])


class _Block:
    """One block: what is divided is followed from the first layers to the second."""

    def __init__(self, sequence: bool) -> None:
        self.sequence = sequence
        self.known: dict[Tensor, Tensor] = {}
        self.divided: set[Tensor] = set()

    def node(self, node: Node) -> Node:
        body: list[Op | Node] = []
        if node.name.startswith("relative_position") or node.type == "RelativePositionBias":
            raise NotCovered("tensor parallel attention with a relative position bias")
        if node.name in _BY_OUTPUTS | _BY_INPUTS:
            self._parameters(node)
        elif node.type == "Linear":
            raise NotCovered(f"tensor parallel blocks that have a layer {node.name}")
        for item in node.body:
            body.append(
                self.op(item, node.name in _BY_INPUTS) if isinstance(item, Op) else self.node(item)
            )
        return node._replace(
            body=tuple(body),
            inputs=tuple(map(self.tensor, node.inputs)),
            output=self.tensor(node.output),
            held=tuple(map(self.tensor, node.held)),
            also=tuple(map(self.tensor, node.also)),
        )

    def _parameters(self, node: Node) -> None:
        """The parameters of a layer, and autocast's copies of them."""
        for op in node.body:
            if isinstance(op, Op):
                own = [t for t in (op.weight, op.bias) if t is not None]
                if op.kind == "cast" and op.reads[0].role == "param":
                    own += [op.reads[0], op.write]
                self.divided.update(self._cut(own, node.name in _BY_INPUTS))

    def _cut(self, own: Iterable[Tensor], by_inputs: bool) -> Iterable[Tensor]:
        for tensor in own:
            if by_inputs and len(tensor.axes) < 2:
                # the bias is added once, to the sum
                continue
            place = 1 if by_inputs else 0
            axes = [*tensor.axes]
            axes[place] = f"{axes[place]}/t"
            self.known[tensor] = _with_axes(tensor, axes)
            yield tensor

    def op(self, op: Op, summed: bool) -> Op:
        """An op on what a rank has of its reads."""
        reads = any(tensor in self.divided for tensor in (*op.reads, op.weight))
        if reads and "norm" in op.kind and _last(op.reads[0]) not in ("d", "two_d"):
            raise NotCovered("tensor parallel blocks that have a norm over a divided width")
        over = op.over
        if summed and op.over:
            over = tuple(f"{axis}/t" for axis in op.over)
        elif reads:
            parts = (part for inner in op.parts or () for part in (inner.write, *inner.extra))
            self.divided.update((op.write, *op.extra, *parts))
        return _replaced(op, self.tensor)._replace(over=over)

    def tensor(self, tensor: Tensor) -> Tensor:
        if tensor not in self.known:
            divided = tensor in self.divided or (
                tensor.base is not None and tensor.base in self.divided
            )
            axes = self._divided(tensor) if divided else self._stream(tensor)
            self.known[tensor] = _with_axes(tensor, axes)
        return self.known[tensor]

    def _divided(self, tensor: Tensor) -> list[Axis]:
        """Heads where there are any, else the width."""
        axes = [*tensor.axes]
        heads = [i for i, axis in enumerate(axes) if str(axis).startswith("a")]
        place = heads[0] if heads else len(axes) - 1
        if isinstance(axes[place], str):
            axes[place] = f"{axes[place]}/t"
        return axes

    def _stream(self, tensor: Tensor) -> list[Axis]:
        if not self.sequence or tensor.role == "param":
            return [*tensor.axes]
        return ["s/t" if axis == "s" else axis for axis in tensor.axes]


def _last(tensor: Tensor) -> Axis:
    return tensor.axes[-1]


def _with_axes(tensor: Tensor, axes: Iterable[Axis]) -> Tensor:
    # bytes do not depend on what a view is of
    return Tensor(tensor.name, tuple(axes), tensor.role, tensor.base, tensor.itemsize)


def _replaced(op: Op, own: Callable[[Tensor], Tensor]) -> Op:
    """An op with each of its tensors replaced."""
    return op._replace(
        reads=tuple(map(own, op.reads)),
        write=own(op.write),
        weight=None if op.weight is None else own(op.weight),
        bias=None if op.bias is None else own(op.bias),
        parts=None if op.parts is None else tuple(_replaced(part, own) for part in op.parts),
        extra=tuple(map(own, op.extra)),
        saves=tuple(map(own, op.saves)),
        keeps=tuple(map(own, op.keeps)),
    )
