"""The trace of a training step: forward, loss, backward, up to the optimizer.

The step is the usual one, the second of its kind, so that the optimizer's states exist::

    optimizer.zero_grad(set_to_none=True)
    with autocast:
        loss = cross_entropy(model(images), targets)
    loss.backward()
    optimizer.step()

``engine.losses`` says which loss other outputs than the class scores of an image have.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from vitcost.engine import losses
from vitcost.engine.backward import Backward
from vitcost.engine.derivatives import GATHERED
from vitcost.engine.forward_trace import Forward, Ledger, forward_trace
from vitcost.engine.gradients import Layout
from vitcost.engine.kinds import KINDS
from vitcost.engine.live import Event, Place
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import AnyStructure
from vitcost.engine.ops import Op, Tensor, own
from vitcost.engine.orders import turned
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node, ops_of
from vitcost.engine.unroll import unroll
from vitcost.errors import NotCovered

if TYPE_CHECKING:
    from vitcost.engine.sharded import Sharding
    from vitcost.engine.stepping import Update
    from vitcost.engine.text_blocks import ClipStructure, TextStructure

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
    sharding: "Sharding | None" = None,
    update: "Update | None" = None,
    scales: bool = False,
) -> tuple[Event, ...]:
    """Everything that a step allocates and frees besides weights, optimizer states and the batch.

    At its end the loss and the gradients are alive. ``in_place`` and ``onto`` mean the same as in
    ``Backward``; gradients that exist before the step are not counted. ``sharding`` describes fully
    sharded weights. ``update`` steps each parameter in the backward pass and frees its gradient, so
    that none is alive at the end. ``scales``: whether a ``GradScaler`` multiplies the loss. Raises
    ``NotCovered`` where the backward of an op is not known.
    """
    tree = lower(structure, mode)
    if sharding is not None:
        # loaded for fully sharded weights alone
        from vitcost.engine.sharded import ShardedBackward, ShardedForward, Shards, wrapped

        tree = wrapped(tree)
    tree = unroll(tree)
    outputs = (tree.output, *tree.also)
    layout = _layout(structure, mode.platform)
    if sharding is None:
        ledger = Ledger()
        forward = Forward(ledger, training=True, in_place=in_place)
        backward = Backward(ledger, layout, in_place, onto, any_loss)
        if update is not None:
            from vitcost.engine.stepping import SteppingBackward

            backward = SteppingBackward(ledger, layout, update, in_place, any_loss)
    else:
        ledger = Shards(sharding)
        forward = ShardedForward(ledger, training=True, in_place=in_place)
        backward = ShardedBackward(ledger, layout, in_place)
    held = forward.node(tree, Place("forward", ""))
    loss_of = losses.any_loss(outputs) if any_loss else _loss(structure, outputs, mode)
    # the caller has names for the outputs, unless the model computes its own loss
    handed = () if loss_of.body else held
    (loss,) = forward.node(loss_of, Place("forward", "loss"), handed)
    for tensor in held[len(handed) :]:
        ledger.drop(tensor)
    forward.leave_autocast()
    backward.tied = dict.fromkeys(_tied(tree))
    backward.turned = turned(tree)
    of_loss = [loss_of]
    if scales:
        of_loss.insert(0, losses.scaled(loss_of.output))
        forward.node(of_loss[0], Place("forward", "loss"))
    _run(backward, of_loss, tree)
    if scales:
        ledger.drop(of_loss[0].output)
    _check(ledger, backward, tree, loss)
    return tuple(ledger.trace)


def _run(backward: Backward, of_loss: Sequence[Node], tree: Node) -> None:
    """The call of ``backward()``, which holds the gradient of the loss until it returns."""
    loss = of_loss[0].output
    seed = backward.new(loss)
    backward.pending[loss] = backward.share(seed)
    backward.place = Place("backward", "loss")
    backward.look()
    for node in of_loss:
        backward.node(node, Place("backward", "loss"))
    backward.node(tree, Place("backward", ""))
    backward.drop(seed)


def _layout(structure: AnyStructure, platform: str) -> Layout:
    """The facts for gradients; of a model of two towers the image tower decides whether patches are
    all tokens."""
    towers = _towers(structure)
    patches_alone = isinstance(towers[0], Structure) and not (towers[0].prefix or towers[0].masked)
    blocks = [each if isinstance(each, Structure) else each.blocks for each in towers]
    one_head = all(each.one_head for each in blocks)
    return Layout(structure.one_image, one_head, platform, patches_alone)


def _towers(structure: AnyStructure) -> "tuple[Structure | TextStructure, ...]":
    # text models are imported when one is asked for
    vision: Structure | None = getattr(structure, "vision", None)
    if vision is None:
        return (cast("Structure | TextStructure", structure),)
    return vision, cast("ClipStructure", structure).text


def _loss(structure: AnyStructure, outputs: tuple[Tensor, ...], mode: Mode) -> Node:
    first, *others = _towers(structure)
    if others:
        # a model of two towers has its loss in its own forward
        return Node("", "", (), outputs, outputs[0])
    classes = first.classes if isinstance(first, Structure) else first.head == "lm"
    return losses.criterion(outputs, classes, mode.precision, mode.platform)


def _check(ledger: Ledger, backward: Backward, tree: Node, loss: Tensor) -> None:
    """Checks the walk itself: every gradient has reached its parameter, and autograd holds nothing
    any more."""
    if backward.pending:
        raise NotCovered(f"a gradient that nothing takes: {next(iter(backward.pending))}")
    if backward.settled != _trained(tree):
        raise NotCovered("a parameter that no gradient reaches")
    left = [
        t
        for t in ledger.holders
        if ledger.part(t) != "gradients" and t is not loss and t.role != "cached"
    ]
    if left:
        raise NotCovered(f"a tensor that outlives the backward pass: {left[0]}")


def _tied(tree: Node) -> set[Tensor]:
    """Parameters of one op that another op reads too, as a head reads the table of an embedding."""
    ops = list(ops_of(tree))
    read = {t for op in ops for t in op.reads if t.role == "param" and t.base is None}
    return read.intersection(t for op in ops for t in (op.weight, op.bias) if t is not None)


def _trained(node: Node) -> int:
    """The parameters of an unrolled tree that need a gradient."""
    ops = [op for op in node.body if isinstance(op, Op)]
    parts = [op for op in ops if _takes_apart(op)]
    wholes = {op.reads[0] for op in parts}
    inner = sum(_trained(item) for item in node.body if isinstance(item, Node))
    return sum(len(own(op)) for op in ops if op.trains) + len(wholes) - len(parts) + inner


def _takes_apart(op: Op) -> bool:
    """Whether an op returns a part of a parameter that another op owns."""
    gathers = KINDS[op.kind].gradient in GATHERED and op.reads[0].role == "param"
    return gathers and not op.frozen and any(op.needs)
