"""The allocations of a backward pass, op by op: one rule for each kind of gradient."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from vitcost.config.records import Record
from vitcost.engine.gradients import Gradients
from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor
from vitcost.engine.orders import TURNED, spreads

__all__ = ["GATHERED", "RULES", "Gradient", "Rule"]


class Gradient(Record):
    """A gradient, and the tensor whose gradient it is."""

    of: Tensor
    value: Tensor


# an op's backward runs one or more autograd nodes. ``Last``: the last node returns the gradients of
# all operands. ``Step``: each node before it turns one gradient into the next
Step: TypeAlias = Callable[[Gradients, Op, Tensor], Tensor]
Last: TypeAlias = Callable[[Gradients, Op, Tensor], list[Gradient]]


class Rule(Record):
    """The autograd nodes of one kind of op, in the order that they run."""

    last: Last
    before: tuple[Step, ...] = ()
    exact: bool = True  # False: the rule is a bound, and allocates no less than torch


def _wanted(op: Op) -> Iterator[Tensor]:
    """The tensors that need a gradient, in the order of torch's arguments."""
    yield from (t for t, needs in zip(op.reads, op.needs, strict=True) if needs)
    if op.trains:
        yield from (t for t in (op.weight, op.bias) if t is not None)


def _each(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """A new tensor for each gradient, with the shape of its operand."""
    return [Gradient(t, walk.new(t, role=_order(op, grad))) for t in _wanted(op)]


def _order(op: Op, grad: Tensor) -> str:
    """A pointwise backward kernel writes in the memory order of the gradient that it reads."""
    return TURNED if grad.role == TURNED and KINDS[op.kind].layout == "keeps" else ""


def _dropped(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient of a dropout. A card's kernel writes in the order of the axes; a CPU multiplies
    with the mask, so the order of the gradient is kept."""
    order = _order(op, grad) if walk.layout.platform == "cpu" else ""
    return [Gradient(t, walk.new(t, role=order)) for t in _wanted(op)]


def _convolved(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient of a convolution's weight has the memory order of the map that the
    forward read."""
    order = TURNED if op.reads[0] in walk.turned and spreads(op) else ""
    weights = op.reads[1:] or (op.weight,)
    return [Gradient(t, walk.new(t, role=order if t in weights else "")) for t in _wanted(op)]


def _matrices(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """One product for each factor. The bias takes the gradient itself, summed after the
    products."""
    return [
        Gradient(t, walk.share(grad) if t is op.bias else _product(walk, t)) for t in _wanted(op)
    ]


def _products(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """A product for each factor."""
    return [Gradient(t, _product(walk, t)) for t in _wanted(op)]


def _product(walk: Gradients, of: Tensor) -> Tensor:
    """The product that is a factor's gradient. A tensor of more than two axes gets a view of it,
    and so does a weight that is transposed before it is read."""
    value = walk.new(of)
    return walk.only_view(value) if len(of.axes) > 2 or of.role == "param" else value


def _factors(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient times the other factor, for each factor; each product has the size of the op's
    result."""
    written, order = op.write, _order(op, grad)
    return [
        Gradient(t, walk.new(t, written.axes, written.itemsize, order))
        if walk.repeats(t.axes, written.axes) or t.itemsize != written.itemsize
        else Gradient(t, walk.new(t, role=order))
        for t in _wanted(op)
    ]


def _beside(shape: str, *sizes: int) -> Last:
    """The gradients of ``_each``, and temporaries beside them. A temporary has the shape of the
    op's first ``read`` or of its ``write``; a number gives its bytes per element, 0: as the tensor
    has."""

    def rule(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
        like = op.reads[0] if shape == "read" else op.write
        for size in sizes:
            walk.pass_by(like.axes, size or like.itemsize)
        return _each(walk, op, grad)

    return rule


def _where_largest(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """``grad / count · mask``: the mask is booleans, and the count of true ones is an integer."""
    (x,) = op.reads
    walk.pass_by(x.axes, 1)
    walk.pass_by(op.write.axes, 8)
    walk.pass_by(op.write.axes, op.write.itemsize)
    return [Gradient(x, walk.new(x, role=TURNED if x in walk.turned else ""))]


def _even(walk: Gradients, op: Op, grad: Tensor) -> Tensor:
    """The gradient of slices of every second element: one tensor of the whole shape for the even
    elements, and one for the odd elements, negated."""
    (x,) = op.reads
    even = walk.new(x)
    walk.look()
    walk.give(x, even)
    odd = walk.new(x, (*x.axes[:-1], "d_2"))
    walk.look()
    walk.drop(grad)
    return odd


def _halves(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient of the rotated halves of a head: the gradient of one half is negated, the
    gradient of the other is a view."""
    (x,) = op.reads
    walk.pass_by((*x.axes[:-1], "d_2"), op.write.itemsize)
    walk.look()
    return _each(walk, op, grad)


def _of_quotient(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """``grad / y`` for x, and ``-grad · (x / y) / y`` for y, both of the size of the op's
    result."""
    wide = op.write.axes, op.write.itemsize
    x, y = op.reads
    numerator = walk.new(x, *wide)
    for _ in range(3):
        walk.pass_by(*wide)
    walk.look()
    walk.passed()
    return [Gradient(x, numerator), Gradient(y, walk.new(y, *wide))]


def _put(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Puts the gradient into zeros; under a dispatch mode torch copies the zeros:
    index_backward."""
    if not walk.in_place:
        walk.pass_by(op.reads[0].axes, op.reads[0].itemsize)
    return _each(walk, op, grad)


def _of_ranks(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient of a gathered tensor is summed over the ranks. On a card one kernel reduces and
    scatters; on a CPU the ranks exchange, stack and sum: _AllGather in
    torch/distributed/nn/functional.py."""
    if walk.layout.platform == "cpu":
        for _ in range(2):
            walk.pass_by(op.write.axes, op.write.itemsize)
    return _each(walk, op, grad)


def _passed(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Passes the gradient on unchanged."""
    return [Gradient(t, walk.share(grad)) for t in _wanted(op)]


def _negated(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Passes the gradient on to one operand, and a negated copy to the other."""
    first, second = op.reads
    return [Gradient(t, walk.share(grad) if t is first else walk.new(second)) for t in _wanted(op)]


def _viewed(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """A view of the gradient for each operand."""
    role = TURNED if grad.role == TURNED else ""
    return [Gradient(t, walk.view(grad, t.axes, role)) for t in _wanted(op)]


def _heads(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """A view of the gradient that is marked: its memory order is not the order of its axes."""
    return [Gradient(t, walk.view(grad, t.axes, "permuted")) for t in _wanted(op)]


def _by_head(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Copies the gradient if the tokens of a head are adjacent in it, and not the heads of
    a token."""
    (x,) = op.reads
    there = grad.role in ("by image", "as read") or (walk.layout.one_head and "a" in op.write.axes)
    return [Gradient(x, walk.view(grad, x.axes) if there else walk.new(x))]


def _attended(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """One gradient for each operand of an attention, in the order in which the kernel allocates
    them. A card's flash kernel writes each in the layout of its operand."""
    ordered = op.kernel == "efficient" or walk.layout.platform == "cpu"
    return [
        _of_mask(walk, t)
        if op.kernel == "efficient" and t not in op.reads[:3]
        else Gradient(t, walk.new(t, role="by image" if ordered else "as read"))
        for t in _wanted(op)
    ]


def _over_images(walk: Gradients, op: Op, grad: Tensor) -> Tensor:
    """The gradient of a mask that was repeated for every image: summed over images, its padding
    cut."""
    if walk.one_image:
        return grad
    *outer, last = op.write.axes
    total = walk.new(op.write, (*outer, str(last).removesuffix("8")))
    walk.look()
    walk.drop(grad)
    return total


def _of_mask(walk: Gradients, mask: Tensor) -> Gradient:
    """The gradient of the mask, as the efficient kernel writes it: one for each image, in rows of a
    multiple of 16 elements: attention_backward.cu in aten, grad_bias."""
    _, *outer, last = mask.axes
    whole = walk.new(mask, ("b", *outer, f"{str(last).removesuffix('8')}16"))
    value = walk.view(whole, mask.axes)
    walk.drop(whole)
    return Gradient(mask, value)


def _unfolded(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Splits the joint axis of heads and images: a view, unless tokens lie between them in
    memory."""
    apart = grad.role == "by image" and not (walk.one_image or walk.layout.one_head)
    like = "as read" if grad.role == "by image" and walk.one_image else grad.role
    (x,) = op.reads
    return [Gradient(x, walk.new(x) if apart else walk.view(grad, x.axes, like))]


def _folded(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Puts tokens first again: a view if the memory layout of the gradient allows it, else
    a copy."""
    (x,) = op.reads
    one = walk.one_image and walk.layout.one_head
    there = grad.role == "as read" or one
    return [Gradient(x, walk.view(grad, x.axes) if there else walk.new(x))]


def _cast(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """The gradient of a cast: a copy in the type before the cast, in the memory order of the
    gradient."""
    return [Gradient(op.reads[0], walk.new(op.reads[0], role=grad.role))]


def _of_parameter(walk: Gradients, op: Op, grad: Tensor) -> list[Gradient]:
    """Where an op reads a part of a parameter, the gradient belongs to the whole parameter."""
    assert op.weight is not None
    return [Gradient(op.weight, walk.share(grad))]


def _copied(walk: Gradients, op: Op, grad: Tensor) -> Tensor:
    """A contiguous copy of a gradient."""
    value = walk.new(grad)
    walk.look()
    walk.drop(grad)
    return value


def _in_rows(walk: Gradients, op: Op, grad: Tensor) -> Tensor:
    """A matrix product needs one axis of rows. Tokens of several images in turned order have no
    such axis, so their gradient is copied."""
    return grad if walk.one_image or grad.role != TURNED else _copied(walk, op, grad)


def _adjacent(walk: Gradients, op: Op, grad: Tensor) -> Tensor:
    """bmm needs images and heads in one axis: a permuted gradient of several images is copied for
    it."""
    return grad if walk.one_image or grad.role != "permuted" else _copied(walk, op, grad)


# the rules that the rows of engine.kinds name; derivatives.yaml says what each node computes
RULES: Mapping[str, Rule] = {
    "each": Rule(_each),
    "convolved": Rule(_convolved),
    "dropped": Rule(_dropped),
    "matrices": Rule(_matrices, before=(_in_rows,)),
    "products": Rule(_products, before=(_adjacent,)),
    "factors": Rule(_factors),
    # the gradients: grad · (n · xⁿ⁻¹), where a first power is a copy; -½ grad · y³; grad · cos(x);
    # grad · -sin(x)
    "squared": Rule(_beside("read", 0, 0)),
    "inverse root": Rule(_beside("write", 0, 0)),
    "sine": Rule(_beside("write", 0)),
    "cosine": Rule(_beside("write", 0, 0)),
    "where largest": Rule(_where_largest),
    "quotient": Rule(_of_quotient),
    # the gradient of a length, x · (grad / y), is 0 where y is 0; a lower bound masks the gradient
    # by booleans
    "length": Rule(_beside("write", 0, 1)),
    "where": Rule(_beside("write", 1)),
    "put": Rule(_put),
    "turned": Rule(_each, before=(_even,)),
    "halves": Rule(_halves),
    "cut": Rule(_each, before=(_over_images,)),
    "of ranks": Rule(_of_ranks),
    "passed": Rule(_passed),
    "negated": Rule(_negated),
    "viewed": Rule(_viewed),
    "heads": Rule(_heads),
    "by head": Rule(_by_head),
    "attended": Rule(_attended),
    "unfolded": Rule(_unfolded),
    "folded": Rule(_folded),
    "cast": Rule(_cast),
    "parameter": Rule(_of_parameter),
    # ranks exchange only contiguous tensors: the bound counts a contiguous copy of the gradient
    # beside the gradient of each operand
    "at most, exchanged": Rule(_beside("write", 0), exact=False),
}

# rules for the joint gradient of all slices of one tensor
GATHERED: Mapping[str, tuple[Step, ...]] = {
    "gathered": (),
    "gathered, copied": (_copied,),
}
