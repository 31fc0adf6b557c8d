"""The trace of a training step: forward, loss, backward, up to the optimizer.

The step is the usual one, the second of its kind, so that the optimizer's states exist::

    optimizer.zero_grad(set_to_none=True)
    with autocast:
        loss = cross_entropy(model(images), targets)
    loss.backward()
    optimizer.step()
"""

from functools import lru_cache

from vitcost.engine.backward import Backward
from vitcost.engine.gradients import Layout
from vitcost.engine.live import Event, Forward, Ledger, Place, forward_trace
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import AnyStructure
from vitcost.engine.ops import Op, Tensor, own
from vitcost.engine.sharded import ShardedBackward, ShardedForward, Sharding, Shards, wrapped
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node, ops_of
from vitcost.engine.unroll import unroll
from vitcost.errors import NotCovered

__all__ = ["inference_trace", "step_trace"]


@lru_cache(maxsize=256)
def inference_trace(structure: AnyStructure, mode: Mode) -> tuple[Event, ...]:
    """Everything that a forward pass in eval allocates and frees, walked once for a structure."""
    return forward_trace(lower(structure, mode))


@lru_cache(maxsize=256)
def step_trace(
    structure: AnyStructure,
    mode: Mode,
    in_place: bool = True,
    onto: bool = False,
    any_loss: bool = False,
    sharding: Sharding | None = None,
) -> tuple[Event, ...]:
    """Everything that a step allocates and frees besides weights, optimizer states and the batch.

    At its end the gradients are alive and the loss. ``in_place`` and ``onto`` are those of
    ``Backward``: gradients that are there from the beginning are not in it. ``sharding`` says how
    weights are fully sharded, where they are. Raises ``NotCovered`` where the backward of an op is
    not known.
    """
    tree = lower(structure, mode)
    if sharding is not None:
        tree = wrapped(tree)
    tree = unroll(tree)
    outputs = (tree.output, *tree.also)
    if not any_loss:
        _classifies(structure, outputs)
    # text and towers have as many heads as their blocks say
    layout = Layout(structure.one_image, getattr(structure, "one_head", False), mode.platform)
    if sharding is None:
        ledger = Ledger()
        forward = Forward(ledger, training=True)
        backward = Backward(ledger, layout, in_place, onto, any_loss)
    else:
        ledger = Shards(sharding)
        forward = ShardedForward(ledger, training=True)
        backward = ShardedBackward(ledger, layout, in_place)
    held = forward.node(tree, Place("forward", ""))
    criterion = _any_loss(outputs) if any_loss else _criterion(outputs, mode)
    (loss,) = forward.node(criterion, Place("forward", "loss"))
    for tensor in held:
        ledger.drop(tensor)
    forward.leave_autocast()
    backward.tied = dict.fromkeys(_tied(tree), False)
    backward.apart = any_loss and _lies_apart(structure, tree)
    seed = backward.new(loss)
    # backward() holds the gradient of the loss until it returns
    backward.pending[loss] = backward.share(seed)
    backward.place = Place("backward", "loss")
    backward.look()
    backward.node(criterion, Place("backward", "loss"))
    backward.node(tree, Place("backward", ""))
    backward.drop(seed)
    _check(ledger, backward, tree, loss)
    return tuple(ledger.trace)


def _classifies(structure: AnyStructure, outputs: tuple[Tensor, ...]) -> None:
    """Whether the step is known to the byte: cross entropy on class indices, and every backward."""
    if not isinstance(structure, Structure):
        raise NotCovered("the training step of a model that reads text")
    if not structure.classes or any(len(t.axes) != 2 for t in outputs):
        raise NotCovered("cross entropy wants one vector of class scores an image")
    if _strided_maximum(structure):
        raise NotCovered("a maximum over tokens that lie as the patch convolution left them")


def _strided_maximum(structure: Structure) -> bool:
    return "max" in structure.pool and not (structure.prefix or structure.one_image)


def _lies_apart(structure: AnyStructure, tree: Node) -> bool:
    """Whether gradients may come in another order than their axes say."""
    strided = isinstance(structure, Structure) and _strided_maximum(structure)
    return strided or any(op.kind == "channels last" for op in ops_of(tree))


def _any_loss(outputs: tuple[Tensor, ...]) -> Node:
    """A loss that keeps every output and its copy in float32, and gives the gradient of that copy:
    beside what the caller of the step has, no less than cross entropy, a squared error or a
    contrastive loss on one rank keeps."""
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


def _criterion(logits: tuple[Tensor, ...], mode: Mode) -> Node:
    """Cross entropy on class indices, lowered: of two heads, one each, added."""
    each = tuple(_cross_entropy(x, mode) for x in logits)
    if len(each) == 1:
        return each[0]
    losses = tuple(node.output for node in each)
    loss = Tensor("loss", (), "activation", None, losses[0].itemsize)
    add = Op("add", losses, loss, needs=(True,) * len(losses))
    return Node("", "CrossEntropyLoss", (*each, add), logits, loss)


def _cross_entropy(x: Tensor, mode: Mode) -> Node:
    """Log-probabilities, then their negative mean: both are kept for backward, and a total weight.

    Under autocast the mean is of fp32. On the CPU the logits are cast first, and cross_entropy
    holds their copy. On CUDA the log-probabilities are computed in half precision, which
    cross_entropy_loss asks for, and their copy in fp32 is kept beside them.
    """
    e = 2 if mode.precision == "half" else 4
    widened = mode.precision == "amp" and x.itemsize == 2
    before, behind = widened and mode.platform == "cpu", widened and mode.platform == "cuda"
    logits, body = x, []
    if before:
        logits = Tensor("logits", x.axes, "activation", None, e)
        body.append(Op("cast", (x,), logits, needs=(True,)))
    logs = Tensor("log-probabilities", x.axes, "activation", None, 2 if behind else e)
    body.append(Op("log_softmax", (logits,), logs, needs=(True,), keeps=(logs,)))
    read: Tensor = logs
    holds: tuple[Tensor, ...] = ()
    if behind:
        read = Tensor("log-probabilities in fp32", x.axes, "activation", None, e)
        body.append(Op("cast", (logs,), read, needs=(True,)))
        holds = (logs,)
    total = Tensor("total weight", (), "stat", None, e)
    loss = Tensor("loss", (), "activation", None, e)
    body.append(
        Op("nll", (read,), loss, extra=(total,), needs=(True,), keeps=(read, total), holds=holds)
    )
    return Node("", "CrossEntropyLoss", tuple(body), (x,), loss, held=(logits,))


def _check(ledger: Ledger, backward: Backward, tree: Node, loss: Tensor) -> None:
    """Every gradient must have reached its parameter, and autograd must hold nothing any more."""
    if backward.pending:
        raise NotCovered(f"a gradient that nothing takes: {next(iter(backward.pending))}")
    if backward.settled != _trained(tree):
        raise NotCovered("a parameter that no gradient reaches")
    left = [t for t in ledger.holders if ledger.part(t) != "gradients" and t is not loss]
    if left:
        raise NotCovered(f"a tensor that outlives the backward pass: {left[0]}")


def _tied(tree: Node) -> set[Tensor]:
    """Parameters of one op that another reads, as a head reads the table of an embedding."""
    ops = list(ops_of(tree))
    read = {t for op in ops for t in op.reads if t.role == "param" and t.base is None}
    return read.intersection(t for op in ops for t in (op.weight, op.bias) if t is not None)


def _trained(node: Node) -> int:
    """The parameters of an unrolled tree that want a gradient."""
    here = (len(own(op)) for op in node.body if isinstance(op, Op) and op.trains)
    inner = (_trained(item) for item in node.body if isinstance(item, Node))
    return sum(here) + sum(inner)
