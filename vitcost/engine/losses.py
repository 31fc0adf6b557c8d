"""The loss of a training step as lowered ops, with the tensors that it saves for backward.

The loss of class scores is a cross entropy on class indices: two heads have one each, which are
added; scores of every token have one over all tokens. The loss of a model that returns features is
their mean, which saves nothing.
"""

from collections.abc import Iterable

from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Node

__all__ = ["any_loss", "criterion", "cross_entropy", "scaled", "targets"]


def criterion(outputs: tuple[Tensor, ...], classes: bool, precision: str, platform: str) -> Node:
    """The loss of a model's outputs, which are class scores or features."""
    if classes:
        each = tuple(cross_entropy(x, precision, platform) for x in outputs)
        return _added("CrossEntropyLoss", each, outputs)
    return _added("Mean", tuple(map(_mean, outputs)), outputs)


def targets(outputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The targets that the caller holds: a class index for each vector of scores, the same for
    every head."""
    shapes = dict.fromkeys(x.axes[:-1] for x in outputs)
    return tuple(Tensor("targets", axes, "index", itemsize=8) for axes in shapes)


def any_loss(outputs: tuple[Tensor, ...]) -> Node:
    """A loss for a bound: it saves every output and a float32 copy, and allocates the gradient of
    that copy. Cross entropy, a squared error or a contrastive loss on one rank keep no more than
    this, besides the tensors that the caller of the step holds."""
    each, losses = [], []
    for x in outputs:
        full = x
        if x.itemsize != 4:
            full = Tensor(f"float {x.name}", x.axes, "activation", None, 4)
            each.append(Op("cast", (x,), full, needs=(True,), keeps=(x.storage,)))
        total = Tensor("total weight", (), "stat", None, 4)
        loss = Tensor("loss", (), "activation", None, 4)
        keeps = (full.storage, total)
        each.append(Op("nll", (full,), loss, extra=(total,), needs=(True,), keeps=keeps))
        losses.append(loss)
    if len(losses) > 1:
        sum_of_all = Tensor("loss", (), "activation", None, 4)
        each.append(Op("add", tuple(losses), sum_of_all, needs=(True,) * len(losses)))
    return Node("", "loss", tuple(each), outputs, each[-1].write)


def scaled(loss: Tensor) -> Node:
    """The loss times the scale of a ``GradScaler``. The scale is an fp32 number that outlives the
    step, so torch computes the product in fp32."""
    scale = Tensor("scale", (), "stat", None, 4)
    product = Tensor("scaled loss", (), "activation", None, 4)
    body = (Op("mul", (loss, scale), product, needs=(True, False), keeps=(scale,)),)
    return Node("", "GradScaler", body, (loss,), product)


def _added(kind: str, each: tuple[Node, ...], outputs: tuple[Tensor, ...]) -> Node:
    if len(each) == 1:
        return each[0]
    losses = tuple(node.output for node in each)
    loss = Tensor("loss", (), "activation", None, losses[0].itemsize)
    add = Op("add", losses, loss, needs=(True,) * len(losses))
    return Node("", kind, (*each, add), outputs, loss)


def _mean(x: Tensor) -> Node:
    """The mean of all elements, in their own type."""
    loss = Tensor("loss", (), "activation", None, x.itemsize)
    return Node("", "Mean", (Op("mean", (x,), loss, needs=(True,)),), (x,), loss)


def cross_entropy(
    x: Tensor, precision: str, platform: str, classes: tuple[Tensor, ...] = ()
) -> Node:
    """Log-probabilities, then their negative mean. Autograd saves both, a total weight, and the
    ``classes`` unless the caller holds them.

    Under autocast the mean is taken in fp32. On the CPU the logits are cast first, and
    cross_entropy holds their copy. On CUDA cross_entropy_loss computes log-probabilities in half
    precision, and keeps an fp32 copy beside them.
    """
    e = 2 if precision == "half" else 4
    widened = precision == "amp" and x.itemsize == 2
    before, behind = widened and platform == "cpu", widened and platform == "cuda"
    logits, body = x, []
    if len(x.axes) > 2:
        logits = Tensor("logits", x.axes, x.role, x, x.itemsize)
        body.append(Op("view", (x,), logits, needs=(True,)))
    if before:
        cast_from, logits = logits, Tensor("logits", x.axes, "activation", None, e)
        body.append(Op("cast", (cast_from,), logits, needs=(True,)))
    logs = Tensor("log-probabilities", x.axes, "activation", None, 2 if behind else e)
    body.append(Op("log_softmax", (logits,), logs, needs=(True,), keeps=(logs,)))
    read: Tensor = logs
    holds: tuple[Tensor, ...] = (logits,)
    if behind:
        read = Tensor("log-probabilities in fp32", x.axes, "activation", None, e)
        body.append(Op("cast", (logs,), read, needs=(True,)))
        holds = (*holds, logs)
    total = Tensor("total weight", (), "stat", None, e)
    loss = Tensor("loss", (), "activation", None, e)
    reads, needs = (read, *classes), (True, *(False for _ in classes))
    keeps = (read, total, *classes)
    body.append(Op("nll", reads, loss, extra=(total,), needs=needs, keeps=keeps, holds=holds))
    return Node("", "CrossEntropyLoss", tuple(body), (x,), loss)
