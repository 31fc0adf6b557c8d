"""Writes out runs of equal layers for a walk: the first layer, one for all between, and the
last."""

from collections.abc import Iterator

from vitcost.engine.ops import Op
from vitcost.engine.tree import Copy, Node, Run

__all__ = ["unroll"]


def unroll(node: Node, last: bool = True) -> Node:
    """The same tree with every run of layers as up to three items, each with tensors of its own.

    Without ``last``, the last layer is not written out: in eval no backward pass begins in it.
    """
    if not any(isinstance(item, Node) for item in node.body):
        return node
    body: list[Op | Node] = []
    for item in node.body:
        if isinstance(item, Op):
            body.append(item)
        elif item.run is None:
            body.append(unroll(item, last))
        else:
            body += _layers(unroll(item, last), last)
    return node._replace(body=tuple(body))


def _layers(layer: Node, last: bool) -> Iterator[Node]:
    assert layer.run is not None
    results = (layer.output, *layer.also)
    # the results of a layer are the first arguments of the next
    first_inputs = passed = layer.inputs[: len(results)]
    parts = _parts(layer.run, last)
    for run in parts:
        # ops after the run read the results of its last layer
        known = {t: t for result in results for t in result.bases if run is parts[-1]}
        for mine, x in zip(first_inputs, passed, strict=True):
            # the first layer may read a view, whose storage autograd keeps
            known |= dict.fromkeys(mine.bases, x.storage) | {mine: x}
        renamed = Copy(known).node(layer)
        passed = (renamed.output, *renamed.also)
        yield renamed._replace(run=run)


def _parts(run: Run, apart: bool) -> list[Run]:
    """The first layer, the layers between, and the last one if it stands ``apart``."""
    first, others = run.split()
    if others is None:
        return [first]
    if not apart:
        return [first, others]
    one, between = others.split()
    if between is None:
        return [first, one]
    between = Run(between.layers, others.before)
    return [first, between, Run(one.layers, (*others.before, between.layers))]
