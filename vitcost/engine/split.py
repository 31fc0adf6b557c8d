"""Tensor and sequence parallel: the share of every layer that one of t ranks runs.

A pass over the declared tree. In attention and in an MLP, the linear layers that read whole data
are cut by columns, so that a rank has its share of the heads or of the hidden width, and those that
read such a share are cut by rows; their outputs are summed over the ranks. An axis that is divided
is called ``a/t``. Source: Shoeybi et al. 2019 (Megatron-LM), arXiv 1909.08053, section 3.

Sequence parallel divides tokens too, outside of those: norms, dropouts and the residual stream of
every layer. The modules before and behind the layers are whole on every rank, but for the rows of a
vocabulary and their logits. Source: Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2.
"""

from collections.abc import Iterable
from typing import NamedTuple

from vitcost.engine.ops import Axis, Op, Size, Sizes, Tensor
from vitcost.engine.runs import has_runs
from vitcost.engine.tree import Node, nodes_of
from vitcost.errors import NotCovered

__all__ = ["SEQUENCES", "split", "split_sizes"]

# the library that divides tokens too: Megatron gathers what a linear layer reads once more in the
# backward pass, so that autograd keeps the rank's share of it; torch's own styles keep what was
# gathered
SEQUENCES = ("", "megatron", "torch")


def split(tree: Node, sequence: str = "", one_image: bool = False) -> Node:
    """The tree that one rank runs; ``split_sizes`` has the sizes of its axes. ``one_image``: with a
    batch of one, gathered tokens need no copy.

    Raises ``NotCovered`` for a layer whose linear layers stand in no attention or MLP of their own,
    and for an op that needs the share of other ranks.
    """
    if any(str(axis).startswith("text.") for t in tree.inputs for axis in t.axes):
        raise NotCovered("tensor parallel is not covered for models of two towers")
    return _Split(sequence, one_image).node(tree)


def split_sizes(sizes: Sizes, ranks: Size, tokens: Size) -> Sizes:
    """``sizes`` with the divided axes added: widths and heads over the number of ranks, and
    ``tokens`` of a rank. ``s·t`` is the number of tokens that equal shares gather. A vocabulary is
    padded to equal shares.

    Callers check that heads and widths can be divided.
    """
    shares = Sizes(sizes)
    shares.update({f"{axis}/t": n // ranks for axis, n in sizes.items() if _is_width(axis)})
    shares["s/t"], shares["s·t"] = tokens, -(-sizes["s"] // ranks) * ranks
    if "V" in sizes:
        shares["V/t"] = -(-sizes["V"] // ranks)
    return shares


def _is_width(axis: Axis) -> bool:
    """Whether an axis is the width of a part of a layer or a number of heads; grouped heads are
    numbered."""
    return isinstance(axis, str) and axis.rstrip("0123456789") in ("q", "a", "k", "m", "two_m", "h")


class _State(NamedTuple):
    """The tensor that replaces a declared one on a rank."""

    tensor: Tensor
    share: str  # `whole`; `width`: some heads, or a part of the hidden layer; `tokens`


class _Split:
    def __init__(self, sequence: str, one_image: bool) -> None:
        self.sequence, self.one_image = sequence, one_image
        self.states: dict[Tensor, _State] = {}
        self.gathered: dict[Tensor, Tensor] = {}

    def read(self, tensor: Tensor) -> Tensor:
        if tensor not in self.states and "V" in tensor.axes:
            self.states[tensor] = _State(self.written(tensor, "whole"), "whole")
        return self.states[tensor].tensor if tensor in self.states else tensor

    def share(self, tensors: Iterable[Tensor]) -> str:
        shares = {self.states[t].share for t in tensors if t in self.states}
        return next((share for share in ("width", "tokens") if share in shares), "whole")

    def node(self, node: Node, layer: bool = False) -> Node:
        """A module outside of attention and MLP; ``layer``: whether it is one of the layers."""
        inputs = tuple(map(self.read, node.inputs))
        body: list[Op | Node] = []
        divides = False
        for item in node.body:
            if isinstance(item, Op):
                body.append(self.op(item))
            elif layer and _is_region(item):
                body.append(self.region(item))
                divides = True
            elif not layer and has_runs(item):
                body += self.layers(item)
            else:
                inside = self.node(item, layer or item.run is not None)
                divides = divides or any(_is_region(child) for child in nodes_of(item))
                body.append(inside)
        if node.run is not None and not divides:
            raise NotCovered(f"tensor parallel does not cover layers of type {node.type}")
        return self.ended(node, inputs, body)

    def layers(self, container: Node) -> list[Op | Node]:
        """The container of the layers: tokens are divided before it, and gathered after it."""
        if not self.sequence:
            return [self.node(container)]
        x, y = container.inputs[0], container.output
        scatter = self.scatter(x)
        inside = self.node(container)
        *gather, last = self.gather(self.read(y), y)
        self.states[y] = _State(last.write, "whole")
        return [scatter, inside, *gather, last]

    def scatter(self, x: Tensor) -> Op:
        """Gives each rank its share of the tokens."""
        share = Tensor(x.name, _divided(x.axes, "tokens"))
        op = Op("scatter", (self.read(x),), share)
        self.states[x] = _State(share, "tokens")
        return op

    def region(self, node: Node) -> Node:
        """Divides an attention or an MLP, from its first linear layers to its last."""
        inputs = tuple(map(self.read, node.inputs))
        body: list[Op | Node] = []
        for item in node.body:
            if isinstance(item, Op):
                body.append(self.op(item))
            elif item.type == "Linear":
                body += self.linear(item)
            else:
                body.append(self.node(item, layer=True))
        return self.ended(node, inputs, body)

    def linear(self, node: Node) -> list[Op | Node]:
        """A linear layer: cut by columns if it reads whole data, by rows if it reads a share."""
        (op,) = node.body
        assert isinstance(op, Op)
        assert op.weight is not None
        (x,), share = op.reads, self.share(op.reads)
        # Conv1D has a row of its weight for each input
        by_input = op.kind == "addmm"
        out, into = op.weight.axes[::-1] if by_input else op.weight.axes
        before: list[Op | Node] = []
        read, write = self.read(x), Tensor(op.write.name, op.write.axes)
        over, bias = op.over, op.bias
        weight: tuple[Axis, ...] = (out, f"{into}/t")
        if share == "width":
            over = (f"{into}/t",)
        else:
            read, before = self.whole(x)
            weight = (f"{out}/t", into)
            bias = None if op.bias is None else Tensor("bias", weight[:1], "param")
            write = Tensor(op.write.name, (*op.write.axes[:-1], weight[0]))
        part = Tensor("weight", weight[::-1] if by_input else weight, "param")
        part_of_layer = op._replace(reads=(read,), write=write, over=over, weight=part, bias=bias)
        self.states[op.write] = _State(write, "whole" if share == "width" else "width")
        body = [*before, node._replace(body=(part_of_layer,), inputs=(read,), output=write)]
        if share == "width" and self.sequence:
            # the outputs are summed over the ranks, and each rank gets its tokens of the sum
            body.append(self.scatter(op.write))
        return body

    def whole(self, x: Tensor) -> tuple[Tensor, list[Op | Node]]:
        """Gathers all tokens that a linear layer reads, once for all its readers."""
        part = self.read(x)
        if self.share((x,)) != "tokens":
            return part, []
        if part in self.gathered:
            return self.gathered[part], []
        if self.sequence == "megatron":
            ops = [Op("regather", (part,), Tensor(x.name, x.axes, "regathered", part))]
        else:
            ops = self.gather(part, x)
        self.gathered[part] = ops[-1].write
        return ops[-1].write, [*ops]

    def gather(self, part: Tensor, x: Tensor) -> list[Op]:
        """Gathers the tokens of all ranks, in shares of equal size. The padding is cut off: with
        one image by a view, which keeps it alive, with several by a copy."""
        if not self.one_image:
            return [Op("gather", (part,), Tensor(x.name, x.axes))]
        filled = Tensor(x.name, tuple("s·t" if axis == "s" else axis for axis in x.axes))
        return [
            Op("gather", (part,), filled),
            Op("view", (filled,), Tensor(x.name, x.axes, base=filled)),
        ]

    def op(self, op: Op) -> Op:
        """An op on the divided tensors that replace its reads."""
        share = self.share(op.reads)
        reads = tuple(map(self.read, op.reads))
        if share == "width":
            self.check(op)
        write = self.written(op.write, share)
        parts = op.parts
        if parts is not None:
            parts = tuple(
                part._replace(
                    reads=tuple(self.written(t, share) for t in part.reads),
                    write=self.written(part.write, share),
                )
                for part in parts
            )
        self.states[op.write] = _State(write, share)
        weight = op.weight if op.weight is None else self.read(op.weight)
        return op._replace(reads=reads, write=write, parts=parts, weight=weight)

    def check(self, op: Op) -> None:
        """Refuses an op that needs the shares of other ranks."""
        tensors = [t for t in (op.weight, op.bias) if t is not None]
        tensors += [t for t in op.reads if self.share((t,)) != "width"]
        if any(map(_is_width, (*op.over, *(axis for t in tensors for axis in t.axes)))):
            reason = "a norm over a divided width"
            if "norm" not in op.kind:
                reason = f"{tensors[-1].name if tensors else op.kind} for all heads"
            raise NotCovered(f"tensor parallel does not cover layers that have {reason}")

    def written(self, tensor: Tensor, share: str) -> Tensor:
        base = None if tensor.base is None else self.read(tensor.base)
        axes = _divided(tensor.axes, share)
        return Tensor(tensor.name, axes, tensor.role, base, tensor.itemsize)

    def ended(self, node: Node, inputs: tuple[Tensor, ...], body: list[Op | Node]) -> Node:
        return node._replace(
            body=tuple(body),
            inputs=inputs,
            output=self.read(node.output),
            held=tuple(map(self.read, node.held)),
            also=tuple(map(self.read, node.also)),
        )


def _divided(axes: tuple[Axis, ...], share: str) -> tuple[Axis, ...]:
    """The axes of a share. Only the first axis that is a width is divided: heads come before the
    width of a head."""
    one = {"tokens": "s", "whole": "V"}
    named = [
        axis for axis in axes if axis == one.get(share) or (share == "width" and _is_width(axis))
    ]
    if not named:
        return axes
    at = axes.index(named[0])
    return (*axes[:at], f"{axes[at]}/t", *axes[at + 1 :])


def _is_region(node: Node) -> bool:
    """Whether it is an attention or an MLP: a module with several linear layers side by side."""
    return sum(isinstance(item, Node) and item.type == "Linear" for item in node.body) > 1
