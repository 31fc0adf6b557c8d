"""FLOPs, forward, backward and of a training step, in closed form."""

from vitcost.textbook.letters import Number, Vit, assume_text, assume_undistilled

__all__ = [
    "attention_flops",
    "backward_flops",
    "block_flops",
    "logits_flops",
    "mlp_flops",
    "output_flops",
    "patch_flops",
    "qkv_flops",
    "recomputed_training_flops",
    "scores_flops",
    "text_flops",
    "text_training_flops_approx",
    "training_flops",
    "vit_flops",
    "vit_recomputed_training_flops",
    "vit_training_flops",
    "weighted_sum_flops",
]


def qkv_flops(b: Number, s: Number, h: Number) -> Number:
    """FLOPs of the three projections of every token: ``6bsh²``. Narayanan 2021, appendix.

    >>> qkv_flops(1, 197, 768)
    697171968
    """
    return 3 * (2 * b * s * h**2)


def scores_flops(b: Number, s: Number, h: Number) -> Number:
    """FLOPs of every query times every key, over all heads: ``2bs²h``. Narayanan 2021, appendix.

    >>> scores_flops(1, 197, 768)
    59610624
    """
    return 2 * b * s**2 * h


def weighted_sum_flops(b: Number, s: Number, h: Number) -> Number:
    """FLOPs of the sum of values, weighted by attention: ``2bs²h``. Narayanan 2021, appendix.

    >>> weighted_sum_flops(1, 197, 768)
    59610624
    """
    return 2 * b * s**2 * h


def output_flops(b: Number, s: Number, h: Number) -> Number:
    """FLOPs of the projection after the heads: ``2bsh²``. Narayanan 2021, appendix.

    >>> output_flops(1, 197, 768)
    232390656
    """
    return 2 * b * s * h**2


def attention_flops(b: Number, s: Number, h: Number) -> Number:
    """Self-attention, its four projections included: ``8bsh² + 4bs²h``.

    Softmax and scaling are not matrix work. Narayanan 2021, appendix.

    >>> attention_flops(1, 197, 768)
    1048783872
    """
    projections = qkv_flops(b, s, h) + output_flops(b, s, h)
    return projections + scores_flops(b, s, h) + weighted_sum_flops(b, s, h)


def mlp_flops(b: Number, s: Number, h: Number, m: Number | None = None) -> Number:
    """The two linear layers: ``4bshm``, which is ``16bsh²`` at m = 4h. Narayanan 2021, appendix.

    >>> mlp_flops(1, 197, 768)
    1859125248
    """
    m = 4 * h if m is None else m
    return 2 * b * s * h * m + 2 * b * s * m * h


def block_flops(b: Number, s: Number, h: Number, m: Number | None = None) -> Number:
    """One block: ``24bsh² + 4bs²h`` at m = 4h. Narayanan 2021, appendix.

    >>> block_flops(1, 197, 768)
    2907909120
    """
    return attention_flops(b, s, h) + mlp_flops(b, s, h, m)


def logits_flops(b: Number, s: Number, h: Number, V: Number) -> Number:
    """The output layer, for every token: ``2bshV``. Narayanan 2021, appendix.

    >>> logits_flops(1, 2048, 12288, 50257)
    2529517633536
    """
    return 2 * b * s * h * V


def text_flops(
    b: Number, s: Number, L: Number, h: Number, V: Number, *, m: Number | None = None
) -> Number:
    """A text transformer, forward: ``L(24bsh² + 4bs²h) + 2bshV``. ``NotCovered`` where m is not 4h.

    Attention is counted in full, not halved for a causal mask. Narayanan 2021, appendix.

    >>> text_flops(1, 2048, 96, 12288, 50257)  # GPT-3, one sequence
    734804261732352
    """
    assume_text(h, m)
    return L * (24 * b * s * h**2 + 4 * b * s**2 * h) + logits_flops(b, s, h, V)


def patch_flops(b: Number, n: Number, h: Number, c: Number, p_h: Number, p_w: Number) -> Number:
    """The patch embedding of n patches: ``2bn·c p_h p_w·h``. Dosovitskiy 2021, equation 1.

    >>> patch_flops(1, 196, 768, 3, 16, 16)
    231211008
    """
    return 2 * b * n * (c * p_h * p_w) * h


def vit_flops(v: Vit, b: Number = 1) -> Number:
    """A whole Vision Transformer, forward: patch embedding, blocks, representation layer, heads.

    ``2bn·c p_h p_w·h + L(8bsh² + 4bs²h + 4bshm) + t·2bhK``; with a representation layer the end is
    ``2bhr + 2brK``. ``NotCovered`` as for ``vit_params``. Dosovitskiy 2021, section 3.

    >>> vit_flops(Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000))
    35127656448
    """
    h, r, K = v.h, v.r, v.K
    assume_undistilled(v.distilled, r)
    embedding = patch_flops(b, v.n, h, v.c, v.p_h, v.p_w)
    blocks = v.L * block_flops(b, v.s, h, v.m)
    head = v.t * (2 * b * h * K) if r is None else 2 * b * h * r + 2 * b * r * K
    return embedding + blocks + head


def backward_flops(forward: Number) -> Number:
    """The backward of products: ``2 · forward``, one product of the same size for the gradient of
    each factor.

    Assumes that both factors need a gradient, which an image does not. Narayanan 2021, appendix.

    >>> backward_flops(block_flops(1, 197, 768))
    5815818240
    """
    return 2 * forward


def training_flops(forward: Number) -> Number:
    """Forward and backward: ``3 · forward``, as ``backward_flops`` assumes. Narayanan 2021,
    appendix.

    >>> training_flops(block_flops(1, 197, 768))
    8723727360
    """
    return forward + backward_flops(forward)


def recomputed_training_flops(recomputed: Number, kept: Number = 0) -> Number:
    """A training step in which a part of the forward runs again before its backward.

    ``4 · recomputed + 3 · kept``: 4 · forward if everything is recomputed. If only the blocks are
    recomputed, and not the logits, it is ``96bsLh² (1 + s/6h + V/16Lh)``. Narayanan 2021, section
    5.1.

    >>> recomputed_training_flops(block_flops(1, 197, 768))
    11631636480
    """
    return 4 * recomputed + 3 * kept


def text_training_flops_approx(Φ: Number, tokens: Number) -> Number:
    """Two FLOPs per parameter and token forward, four backward: ``6Φ`` per token.

    An approximation: the scores of attention are left out. Kaplan 2020, section 2.1.

    >>> text_training_flops_approx(175 * 10**9, 300 * 10**9)
    315000000000000000000000
    """
    return 6 * Φ * tokens


def vit_training_flops(v: Vit, b: Number = 1) -> Number:
    """A training step of a whole Vision Transformer: ``3 · forward − patch embedding``.

    The image needs no gradient, so the backward of the patch embedding is one product, not two.
    Assumes that every parameter trains. ``NotCovered`` as for ``vit_params``. Narayanan 2021,
    appendix.

    >>> vit_training_flops(Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000))
    105151758336
    """
    embedding = patch_flops(b, v.n, v.h, v.c, v.p_h, v.p_w)
    return training_flops(vit_flops(v, b)) - embedding


def vit_recomputed_training_flops(v: Vit, b: Number = 1) -> Number:
    """A training step with every block checkpointed, as torch's non-reentrant checkpoint runs it.

    ``3 · forward − patch embedding + L(block − 2bsmh)``: recomputation stops when every tensor that
    the backward reads exists again, and the backward does not read the output of the block's last
    linear layer. Assumes that every parameter trains, and that no dropout or stochastic depth
    follows that layer, since the backward would read its mask. ``NotCovered`` as for
    ``vit_params``. Source: ``torch.utils.checkpoint``, early stop.

    >>> vit_recomputed_training_flops(Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000))
    128891916288
    """
    m = 4 * v.h if v.m is None else v.m
    last_linear = 2 * b * v.s * m * v.h
    return vit_training_flops(v, b) + v.L * (block_flops(b, v.s, v.h, m) - last_linear)
