"""Models of two towers: features scaled to length 1, logits of every pair, and the loss of a step.

Each library has its own forward. transformers' models compare a text with every image, and have the
loss in their forward; open_clip's give features and a scale to a loss of its own:

    CLIP     (cross_entropy(logits, 0…b-1) + cross_entropy(logitsᵀ, 0…b-1)) / 2
    SigLIP   -Σ logsigmoid(± logits) / b, + where an image has its own text

Source: open_clip 3.3, model.py and loss.py; transformers 5.23, modeling_clip.py and
modeling_siglip.py. The loss is of the pairs of one rank.
"""

from functools import lru_cache

from vitcost.engine.build import build
from vitcost.engine.ops import Axis, Tensor
from vitcost.engine.structure import MANY
from vitcost.engine.text_blocks import ClipStructure, build_text, prefixed
from vitcost.engine.tree import Count, Module, Node, Run, linear

__all__ = ["build_clip"]

# one row for each image, one column for each text
_PAIRS = ("b", "text.b")


@lru_cache(maxsize=128)
def build_clip(c: ClipStructure) -> Node:
    """Two towers, their features scaled to length 1, and the product of every pair; in training
    the loss of these."""
    vision = build(c.vision)._replace(name="visual")
    text = prefixed(build_text(c.text), "text.")._replace(name="text")
    m = Module("", "CLIP", *vision.inputs, *text.inputs)
    if c.library == "open_clip":
        return m.end(_open_clip(c, m, vision, text))
    return m.end(_transformers(c, m, vision, text))


def _open_clip(c: ClipStructure, m: Module, vision: Node, text: Node) -> Tensor:
    """Features of one tower are scaled before the other tower runs. The caller holds the features
    and the scale until it has computed its loss."""
    image = _projected(c, m, m.add(vision))
    x = _normalized(m, image)
    y = _normalized(m, m.add(text))
    scale = m.op("exp", m.parameter("logit_scale"))
    bias = m.parameter("logit_bias") if c.logit_bias else None
    m.hold(x, y, scale)
    if c.gather and bias is None:
        return _over_ranks(m, x, y, scale, c.gather)
    if c.gather and bias is not None:
        return m.add(_among_neighbours(x, y, scale, bias, c.gather))
    logits = _product(m, scale, x, y, bias)
    if not c.training:
        return logits
    m.hold(logits)
    if bias is not None:
        return _sigmoid_of_features(m, logits, x)
    scaled = m.op("mul", scale, y, axes=y.axes)
    # the definition has a single product of images and texts
    turned = m.op("matmul again", scaled, x, axes=_PAIRS[::-1], over=x.axes[-1:])
    m.hold(turned)
    classes = _numbered(m)
    both = _cross_entropy(m, logits, classes), _cross_entropy(m, turned, classes)
    return m.op("times", m.op("add", *both))


def _over_ranks(m: Module, x: Tensor, y: Tensor, scale: Tensor, gather: str) -> Tensor:
    """``ClipLoss(world_size=N)``: features of all ranks times features of all, the same on every
    rank; with ``local_loss``, features of this rank times features of all."""
    local = gather.startswith("local")
    images, texts = _gathered(m, x, y, gather)
    if local:
        logits = _product(m, scale, x, texts)
        turned = _product(m, scale, y, images, holds=(images, texts))
        # the class indices of this rank's pairs; rank 0 begins with 0, any other rank does not
        classes = m.op("times", _numbered(m))
    else:
        logits = _product(m, scale, images, texts, holds=(images, texts))
        turned = m.view(logits, logits.axes[::-1])
        classes = _numbered(m, "B")
    m.hold(logits, turned)
    both = _cross_entropy(m, logits, classes), _cross_entropy(m, turned, classes)
    return m.op("times", m.op("add", *both))


def _product(
    m: Module,
    scale: Tensor,
    x: Tensor,
    y: Tensor,
    bias: Tensor | None = None,
    holds: tuple[Tensor, ...] = (),
) -> Tensor:
    scaled = m.op("mul", scale, x, axes=x.axes)
    pairs = (x.axes[0], y.axes[0])
    logits = m.op("matmul", scaled, y, axes=pairs, over=x.axes[-1:], holds=holds)
    return logits if bias is None else m.overwrite("add", logits, bias)


def _gathered(m: Module, x: Tensor, y: Tensor, gather: str) -> tuple[Tensor, Tensor]:
    """``gather_features``: one tensor from each rank, concatenated. Without gradients they are
    gathered into zeros, and the rank's own features are put back in place, unless ``local_loss``
    compares only its own with all."""
    if gather.endswith("grad"):
        images, texts = (_beside(m, t, m.op("all gather", t, axes=("N", *t.axes))) for t in (x, y))
        return images, texts
    mine, others = list[Tensor](), list[Tensor]()
    for t in (x, y):
        mine.append(m.op("fill", t))
        others.append(m.op("fill", t, axes=("N-1", *t.axes), holds=tuple(mine)))
    of_rank, lists = ((x, y), others) if gather == "all" else (mine, [*mine, *others])
    images = _beside(m, x, of_rank[0], others[0])
    # the lists of both gathers live until the function returns
    return images, _beside(m, y, of_rank[1], others[1], holds=tuple(lists))


def _beside(m: Module, like: Tensor, *of_ranks: Tensor, holds: tuple[Tensor, ...] = ()) -> Tensor:
    return m.op("cat", *of_ranks, axes=("B", *like.axes[1:]), holds=holds)


def _transformers(c: ClipStructure, m: Module, vision: Node, text: Node) -> Tensor:
    """Both towers, then both lengths. The forward returns tokens and features of both towers and
    the logits beside its loss, so all of them live until then."""
    of_images, of_text = _tokens(vision), _tokens(text)
    vision = vision._replace(also=(*vision.also, of_images))
    text = text._replace(also=(*text.also, of_text))
    x = _projected(c, m, m.add(vision))
    y = m.add(text)
    m.hold(of_images, of_text, x, y)
    divided = _divided if c.library == "transformers.clip" else _by_length
    x, y = divided(m, x), divided(m, y)
    logits = m.op("matmul", y, x, axes=_PAIRS[::-1], over=x.axes[-1:])
    logits = m.op("mul", logits, m.op("exp", m.parameter("logit_scale")))
    if c.logit_bias:
        logits = m.op("add", logits, m.parameter("logit_bias"))
    m.hold(x, y, logits)
    if not c.training:
        return logits
    if c.logit_bias:
        return _sigmoid_of_logits(m, logits)
    both = (
        _cross_entropy(m, logits, _numbered(m)),
        _cross_entropy(m, m.view(logits, _PAIRS), _numbered(m)),
    )
    return m.op("times", m.op("add", *both), holds=both)


def _projected(c: ClipStructure, m: Module, x: Tensor) -> Tensor:
    return linear(m, "visual_projection", x, "O", bias=False) if c.projection else x


# names of the final norm and of the list of blocks, over all libraries
_LAST = ("norm", "ln_final", "ln_f", "blocks", "transformer.resblocks", "h")


def _tokens(tower: Node) -> Tensor:
    """The tokens after the blocks of a tower; after its final norm if that norms all tokens."""
    named = {item.name: item.output for item in tower.body if isinstance(item, Node)}
    return next(named[name] for name in _LAST if name in named)


def _normalized(m: Module, x: Tensor) -> Tensor:
    """``torch.nn.functional.normalize``: divides by the length, or by a small number if that is
    larger; the divisor is expanded to the shape of x."""
    least = m.op("at least", _length(m, x))
    return m.op("divide", x, m.view(least, x.axes, kind="expand"))


def _by_length(m: Module, x: Tensor) -> Tensor:
    return m.op("divide", x, _length(m, x))


def _length(m: Module, x: Tensor) -> Tensor:
    return m.op("length", x, axes=(*x.axes[:-1], 1))


def _divided(m: Module, x: Tensor) -> Tensor:
    """Divides by the root of the sum of squares, step by step: modeling_clip.py,
    _get_vector_norm."""
    square = m.op("square", x)
    total = m.op("sum", square, axes=(*x.axes[:-1], 1))
    return m.op("divide", x, m.op("root", total, holds=(square,)))


def _numbered(m: Module, pairs: Axis = "b") -> Tensor:
    """The class index of each row: the number of the pair that it belongs to."""
    return _made(m, "classes", pairs, itemsize=8)


def _made(m: Module, name: str, *shape: Axis, itemsize: int) -> Tensor:
    """A tensor of constants: a range, ones, or a diagonal."""
    constant = Tensor(name, tuple(shape), "index", itemsize=itemsize)
    return m.op("repeat", constant, name=name, itemsize=itemsize)


def _cross_entropy(m: Module, logits: Tensor, classes: Tensor) -> Tensor:
    return m.op("cross entropy", logits, classes, axes=())


def _sigmoid_of_features(
    m: Module, logits: Tensor, features: Tensor, has_pairs: bool = True
) -> Tensor:
    """The signs, in the type of the features: 1 on the diagonal, where an image meets its own text,
    else -1."""
    signs = m.op("times", m.op("fill", features, axes=logits.axes))
    if has_pairs:
        diagonal = m.op("times", m.op("fill", features, axes=logits.axes))
        signs = m.op("add", diagonal, signs)
    total = m.op("sum", m.op("log sigmoid", m.op("mul", signs, logits)), axes=())
    return m.op("times", m.op("times", total), holds=(signs, logits))


def _among_neighbours(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, gather: str) -> Node:
    """``SigLipLoss(world_size=N)``: a rank compares its own texts, then the texts of both
    neighbours, which ranks pass on ⌊(N - 1) / 2⌋ times. If one rank is left over, its texts come
    from the left neighbour."""
    rounds, one_left = map(int, gather.split()[1:])
    m = Module("loss", "SigLipLoss", x, y, scale, bias)
    loss = _sigmoid_of_features(m, _product(m, scale, x, y, bias), x)
    to_left, to_right = (m.view(y, y.axes, name, kind="expand") for name in ("left", "right"))
    if rounds:
        both = Module("", "NeighbourExchange", loss, to_left, to_right, x, scale, bias)
        from_right, from_left = both.op("exchange", to_left), both.op("exchange", to_right)
        both.returns(from_right, from_left)
        for texts in (from_right, from_left):
            loss = _added(both, loss, x, texts, scale, bias)
        m.add(both.end(loss, Run(Count(rounds if rounds < MANY else "rounds"))))
        to_left, to_right = from_right, from_left
    m.hold(to_left, to_right)
    if one_left:
        texts = m.op("exchange", to_right)
        m.hold(texts)
        loss = _added(m, loss, x, texts, scale, bias)
    return m.end(loss)


def _added(
    m: Module, loss: Tensor, x: Tensor, texts: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Adds the loss against the texts of another rank; none of them belongs to an image of this
    rank."""
    logits = _product(m, scale, x, texts, bias)
    return m.overwrite("add", loss, _sigmoid_of_features(m, logits, x, has_pairs=False))


def _sigmoid_of_logits(m: Module, logits: Tensor) -> Tensor:
    diagonal = _made(m, "diagonal", *logits.axes, itemsize=4)
    ones = m.op("times", _made(m, "ones", *logits.axes, itemsize=4))
    signs = m.op("add", ones, m.op("times", diagonal))
    each = m.op("log sigmoid", m.op("mul", signs, logits))
    losses = m.op("times", m.op("sum", each, axes=logits.axes[:1]))
    m.hold(diagonal, signs, each, losses)
    return m.op("mean", losses, axes=())
