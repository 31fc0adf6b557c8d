"""The letters, their types, and the assumptions of the closed forms."""

from typing import NamedTuple, TypeAlias

from vitcost.errors import NotCovered

__all__ = ["Number", "Vit", "always", "assume_text", "assume_undistilled", "patches"]

# The type of a letter. Typed as int; arrays and symbols have the same operators.
Number: TypeAlias = int


def patches(H: Number, W: Number, p_h: Number, p_w: Number) -> Number:
    """The number of patches of an image: ``n = HW / p_h p_w``.

    Raises ``NotCovered`` if the patch does not divide the image. Dosovitskiy 2021, 3.1.

    >>> patches(224, 224, 16, 16)
    196
    """
    if not (always(H % p_h == 0) and always(W % p_w == 0)):
        raise NotCovered(f"an image of {H} x {W} is not a whole number of {p_h} x {p_w} patches")
    return (H // p_h) * (W // p_w)


class Vit(NamedTuple):
    """The letters of a whole Vision Transformer, from which all other sizes follow.

    m is 4h if it is None, r is the width of a representation layer before the head, K = 0 means a
    model without a head. A distilled model has a second token and a second head, and no r.

    >>> vit_base = Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000)
    >>> vit_base.n, vit_base.t, vit_base.s
    (196, 1, 197)
    """

    H: Number
    W: Number
    p_h: Number
    p_w: Number
    h: Number
    L: Number
    K: Number
    c: Number = 3
    m: Number | None = None
    r: Number | None = None
    distilled: bool = False
    qkv_bias: bool = True

    @property
    def n(self) -> Number:
        """The number of patches: ``HW / p_h p_w``, else ``NotCovered``. Dosovitskiy 2021, section
        3.1."""
        return patches(self.H, self.W, self.p_h, self.p_w)

    @property
    def t(self) -> Number:
        """The number of class and distillation tokens. Touvron 2021, section 4: one more."""
        return 2 if self.distilled else 1

    @property
    def s(self) -> Number:
        """The length of the sequence. Dosovitskiy 2021, equation 1: n + 1."""
        return self.n + self.t


def always(condition: object) -> bool:
    """Whether a condition holds; for an array, whether it holds everywhere.

    >>> import numpy
    >>> always(224 % 16 == 0), always(numpy.array([224, 230]) % 16 == 0)
    (True, False)
    """
    everywhere = getattr(condition, "all", None)
    return bool(condition if everywhere is None else everywhere())


def assume_text(h: Number, m: Number | None) -> None:
    """Raises ``NotCovered`` for an MLP of width m that is not four times as wide as the model, h:
    the closed forms of text models assume ``m = 4h``.

    >>> assume_text(768, 3072)
    >>> assume_text(768, 2048)
    Traceback (most recent call last):
    vitcost.errors.NotCovered: the closed form assumes m = 4h = 3072, got m = 2048
    """
    if m is not None and not always(m == 4 * h):
        raise NotCovered(f"the closed form assumes m = 4h = {4 * h}, got m = {m}")


def assume_undistilled(distilled: bool, r: Number | None) -> None:
    """Raises ``NotCovered`` for a representation layer of width r in a distilled model, which has
    two heads instead.

    >>> assume_undistilled(True, None)
    >>> assume_undistilled(True, 768)
    Traceback (most recent call last):
    vitcost.errors.NotCovered: a distilled model has no representation layer, got r = 768
    """
    if distilled and r is not None:
        raise NotCovered(f"a distilled model has no representation layer, got r = {r}")
