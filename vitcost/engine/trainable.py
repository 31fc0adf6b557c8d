"""Partial training: frozen parts of a model, and low-rank adapters beside frozen layers."""

from collections.abc import Iterator

from vitcost.engine.ops import Axis, Op, Sizes, Tensor
from vitcost.engine.parts import part_of
from vitcost.engine.runs import chained, cut_at, has_runs
from vitcost.engine.tree import Node, nodes_of
from vitcost.errors import UnknownName

__all__ = ["adapt", "freeze"]


def freeze(tree: Node, part: str, layers: int = 0) -> Node:
    """Freezes parameters by their place.

    ``all``; ``backbone``: all but the head; ``first``: everything before the layers, and the first
    ``layers`` of them; ``last``: everything before the last ``layers``.
    """
    body: list[Op | Node] = []
    reached = False
    for item in tree.body:
        if isinstance(item, Op):
            body.append(item)  # ops outside of modules have no parameters of their own
        elif part in ("first", "last") and has_runs(item):
            frozen = layers if part == "first" else item.layers(Sizes()) - layers
            body.append(_first(item, frozen))
            reached = True
        elif reached or (part == "backbone" and part_of(item.name) == "head"):
            body.append(item)
        else:
            body.append(_frozen(item))
    return tree._replace(body=tuple(body))


def _first(container: Node, layers: int) -> Node:
    """Splits a run of which only the first layers are frozen."""
    cut = cut_at(container, layers)
    pieces = [(_frozen(node) if ahead else node, count) for node, count, ahead in cut]
    return container._replace(body=tuple(chained(container, pieces)))


def _frozen(node: Node) -> Node:
    return node.each(_frozen, lambda op: op._replace(frozen=True))


def adapt(tree: Node, names: tuple[str, ...], rank: Axis) -> Node:
    """Low-rank adapters on the linear layers of these names: Hu et al. 2021, arXiv 2106.09685.

    ``y = W x + scale · B A x``: W is frozen, A has ``rank`` rows, B as many columns, no biases.
    Raises ``UnknownName`` for a name that no linear layer of the model has.
    """
    known = dict.fromkeys(node.name for node in nodes_of(tree) if node.type == "Linear")
    for name in names:
        if name not in known:
            raise UnknownName("lora_layers", name, known, f"linear layers: {', '.join(known)}")
    return _adapted(tree, names, rank)


def _adapted(node: Node, names: tuple[str, ...], rank: Axis) -> Node:
    if node.type == "Linear" and node.name in names:
        return node._replace(type="LoraLinear", body=tuple(_adapter(node, rank)))
    return node.each(lambda item: _adapted(item, names, rank))


def _adapter(node: Node, rank: Axis) -> Iterator[Op | Node]:
    (base,) = node.body
    assert isinstance(base, Op)
    (x,), y = base.reads, base.write
    base_y = Tensor("base", y.axes)
    yield Node("base_layer", "Linear", (base._replace(write=base_y, frozen=True),), (x,), base_y)
    for name, out in (("lora_A", rank), ("lora_B", y.axes[-1])):
        weight = Tensor("weight", (out, x.axes[-1]), "param")
        low = Tensor(name, (*x.axes[:-1], out))
        op = Op("linear", (x,), low, over=x.axes[-1:], weight=weight)
        yield Node(name, "Linear", (op,), (x,), low)
        x = low
    scaled = Tensor("scale", y.axes)
    yield Op("scale", (x,), scaled)
    yield Op("residual", (base_y, scaled), y)
