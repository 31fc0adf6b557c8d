"""Parameters, in closed form."""

from vitcost.errors import NotCovered
from vitcost.textbook.letters import Number, Vit, assume_text, assume_undistilled

__all__ = [
    "attention_params",
    "block_params",
    "mlp_params",
    "norms_params",
    "patch_params",
    "text_params",
    "text_params_approx",
    "vit_params",
]


def attention_params(h: Number, *, qkv_bias: bool = True) -> Number:
    """Four square matrices (q, k, v and output) with their biases.

    ``4h² + 4h``; ``4h² + h`` if q, k and v have no bias. Vaswani 2017, 3.2.2; biases are counted as
    in Narayanan 2021, section 5.1.

    >>> attention_params(768)
    2362368
    """
    weights = 4 * h**2
    return weights + 4 * h if qkv_bias else weights + h


def mlp_params(h: Number, m: Number | None = None) -> Number:
    """Two linear layers, from h to m and back.

    ``2hm + m + h``, which is ``8h² + 5h`` at m = 4h. Vaswani 2017, equation 2.

    >>> mlp_params(768)
    4722432
    """
    m = 4 * h if m is None else m
    return (h * m + m) + (m * h + h)


def norms_params(h: Number) -> Number:
    """The two layer norms of a block, a weight and a bias each: ``4h``. Ba 2016, arXiv 1607.06450.

    >>> norms_params(768)
    3072
    """
    return 2 * (h + h)


def block_params(h: Number, m: Number | None = None, *, qkv_bias: bool = True) -> Number:
    """Attention, MLP and two layer norms.

    ``12h² + 13h`` at m = 4h with every bias. Narayanan 2021, section 5.1.

    >>> block_params(768)
    7087872
    """
    return attention_params(h, qkv_bias=qkv_bias) + mlp_params(h, m) + norms_params(h)


def text_params(
    L: Number, h: Number, V: Number, *, m: Number | None = None, tied: bool = True
) -> Number:
    """A text transformer: the blocks, and an embedding that is also the output layer.

    ``L(12h² + 13h) + Vh``; position embedding and final norm are left out. Assumes m = 4h and a
    tied embedding, else ``NotCovered``. Narayanan 2021, section 5.1, which adds the ``sh`` of a
    position embedding.

    >>> text_params(96, 12288, 50257)  # GPT-3, "175B"
    174579068928
    """
    assume_text(h, m)
    if not tied:
        raise NotCovered(
            f"L(12h² + 13h) + Vh shares one embedding of V·h = {V * h} parameters between input "
            "and output; a separate output layer is not covered"
        )
    return L * (12 * h**2 + 13 * h) + V * h


def text_params_approx(L: Number, h: Number) -> Number:
    """The matrices of the blocks, without biases, norms and embedding: ``12Lh²``.

    An approximation, too low by the share ``13/12h`` of the blocks. Kaplan 2020, section 2.1.

    >>> text_params_approx(96, 12288)
    173946175488
    """
    return 12 * L * h**2


def patch_params(h: Number, c: Number, p_h: Number, p_w: Number) -> Number:
    """The linear patch embedding with its bias: ``c p_h p_w h + h``. Dosovitskiy 2021, equation 1.

    >>> patch_params(768, 3, 16, 16)
    590592
    """
    return c * p_h * p_w * h + h


def vit_params(v: Vit) -> Number:
    """A whole Vision Transformer: patch embedding, tokens, positions, blocks, last norm, heads.

    ``(c p_h p_w h + h) + th + sh + L·block + 2h + t(Kh + K)``; with a representation layer the end
    is ``(hr + r) + (Kr + K)``. Raises ``NotCovered`` if the patch does not divide the image, and
    for a distilled model with a representation layer. Dosovitskiy 2021, section 3; Touvron 2021,
    section 4.

    >>> vit_params(Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000))
    86567656
    """
    h, r, K = v.h, v.r, v.K
    assume_undistilled(v.distilled, r)
    embedding = patch_params(h, v.c, v.p_h, v.p_w)
    tokens, positions = v.t * h, v.s * h
    blocks = v.L * block_params(h, v.m, qkv_bias=v.qkv_bias)
    last_norm = 2 * h
    head = v.t * (K * h + K) if r is None else (h * r + r) + (K * r + K)
    return embedding + tokens + positions + blocks + last_norm + head
