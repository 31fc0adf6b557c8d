"""The tensors of a plain Vision Transformer that are saved for backward, byte by byte.

torch runs in eager mode. Every storage counts once, parameters and the caller's images do not.
torch's derivatives.yaml says which tensors an op saves, and its autocast_mode.h which ops autocast
runs in half precision. On a CPU masks, norm statistics and autocast's softmax have other sizes than
on a card.
"""

from typing import NamedTuple

from vitcost.errors import NotCovered
from vitcost.textbook.letters import Number, Vit, always

__all__ = ["Running", "block_saved_bytes", "vit_saved_bytes"]


# for each fused kernel: its statistics as a multiple of the rows, and the bytes of its random state
_FUSED = {
    ("flash", "cuda"): (1, 24),
    ("flash", "cpu"): (1, 0),
    ("efficient", "cuda"): (32, 16),
    ("cudnn", "cuda"): (1, 16),
}


class Running(NamedTuple):
    """The facts of a run that decide which tensors are saved for backward; other words are not
    covered.

    ``precision``: fp32, autocast or half; ``attention``: eager, math, flash, efficient or cudnn;
    ``platform``: cuda or cpu. ``dropout`` stands after the projection and in the MLP.
    """

    precision: str = "fp32"
    attention: str = "eager"
    platform: str = "cuda"
    dropout: bool = False
    attention_dropout: bool = False
    drop_path: bool = False
    position_dropout: bool = False

    @property
    def e(self) -> int:
        """Bytes per element of a product's operand."""
        return 4 if self.precision == "fp32" else 2

    @property
    def x(self) -> int:
        """Bytes per element of the residual stream."""
        return 2 if self.precision == "half" else 4

    @property
    def st(self) -> int:
        """Bytes per element of a norm's mean and deviation."""
        return 2 if (self.precision, self.platform) == ("half", "cpu") else 4

    @property
    def w(self) -> int:
        """Bytes per element of autocast's copy of a weight."""
        return 2 if self.precision == "autocast" else 0

    def u(self, element: int) -> int:
        """Bytes per element of a dropout mask: a boolean on a card, the type of the dropped tensor
        on a CPU."""
        return 1 if self.platform == "cuda" else element


def block_saved_bytes(
    b: Number, s: Number, h: Number, a: Number, m: Number, how: Running
) -> Number:
    """One pre-norm block: two norms, four linear layers, GELU, attention.

    In fp32 with eager attention, m = 4h and no dropout ``64bsh + 4abs² + 16bs``. ``NotCovered`` for
    a word of ``how`` that ``Running`` does not list. Source: torch 2.13,
    tools/autograd/derivatives.yaml.

    >>> block_saved_bytes(8, 197, 768, 12, 3072, Running())
    92391424
    """
    _assume_known(how)
    e, x, st, w = how.e, how.x, how.st, how.w
    norms = 2 * x * b * s * h + 4 * st * b * s
    # inputs of qkv, proj and fc1; inputs of GELU and of fc2
    inputs = 3 * e * b * s * h + 2 * e * b * s * m
    weights = w * (4 * h * h + 2 * h * m)
    masks = how.u(e) * (2 * b * s * h + b * s * m) if how.dropout else 0
    paths = 2 * e * b if how.drop_path else 0
    return norms + inputs + weights + masks + paths + _attention(b, s, h, a, how)


def _assume_known(how: Running) -> None:
    for word, words in (
        (how.precision, ("fp32", "autocast", "half")),
        (how.platform, ("cuda", "cpu")),
        (
            how.attention,
            ("eager", "math", *(kernel for kernel, at in _FUSED if at == how.platform)),
        ),
    ):
        if word not in words:
            raise NotCovered(f"{word!r} on {how.platform}; covered are {', '.join(words)}")


def _attention(b: Number, s: Number, h: Number, a: Number, how: Running) -> Number:
    """q, k and v; and the weights of eager attention, or the statistics of a fused kernel."""
    e, qkv = how.e, 3 * how.e * b * s * h
    if how.attention == "eager":
        cast = how.precision == "autocast" and how.platform == "cuda"
        softmax = 4 if cast else e
        # the product reads a copy of softmax's output: after dropout, or cast back to half
        # precision
        copy = e if how.attention_dropout or cast else 0
        mask = how.u(softmax) if how.attention_dropout else 0
        return qkv + (softmax + mask + copy) * a * b * s * s
    if how.attention == "math":
        dropped = 4 + how.u(4) if how.attention_dropout else 0
        scaled = 8 * b * s * h if e == 4 and (always(b == 1) or always(a == 1)) else 0
        return 12 * b * s * h + scaled + (4 + dropped) * a * b * s * s
    whole, state = _FUSED[how.attention, how.platform]
    return qkv + 4 * a * b * (-(-s // whole) * whole) + state


def vit_saved_bytes(
    v: Vit, a: Number, b: Number, how: Running, *, checkpointed: bool = False
) -> Number:
    """A whole model with a class-token head, at the end of its forward pass and loss: ``L · block +
    norm + head + loss``, the loss cross entropy on class indices; under autocast also the
    half-precision copies of images and class rows, and of the weights of the head and the patch
    convolution. A checkpointed block saves only its input. Assumes that scores are scaled after the
    product, one head without a representation layer, and no norm after the patches; else raises
    ``NotCovered``. Source: torch 2.13, tools/autograd/derivatives.yaml.

    >>> base = Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000)
    >>> vit_saved_bytes(base, 12, 8, Running(precision="autocast", attention="flash"))
    703997412
    """
    if v.distilled or v.r is not None or always(v.K == 0):
        raise NotCovered("a distilled model, a representation layer or no head")
    s, h, K = v.s, v.h, v.K
    m = 4 * h if v.m is None else v.m
    block = block_saved_bytes(b, s, h, a, m, how)
    # stochastic depth never drops the first block's branches
    path = 2 * how.e * b if how.drop_path else 0
    blocks = v.L * how.x * b * s * h if checkpointed else v.L * block - path
    norm = how.x * b * s * h + 2 * how.st * b * s
    return blocks + norm + _ends(v, b, how) + _loss(K, b, how)


def _ends(v: Vit, b: Number, how: Running) -> Number:
    """Bytes saved before the first block and after the last norm."""
    s, h, K = v.s, v.h, v.K
    mask = how.u(how.x) * b * s * h if how.position_dropout else 0
    if how.precision != "autocast":
        # the head reads a view of the class tokens, so the whole output of the norm is saved
        return mask + how.x * b * s * h
    class_rows, head = 2 * b * h, 2 * h * K
    images, patches = 2 * b * v.c * v.H * v.W, 2 * v.c * v.p_h * v.p_w * h
    return mask + class_rows + head + images + patches


def _loss(K: Number, b: Number, how: Running) -> Number:
    """Log-probabilities and the sum of class weights; under autocast on a card also the logits."""
    logits = 2 * b * K if (how.precision, how.platform) == ("autocast", "cuda") else 0
    return how.x * (b * K + 1) + logits
