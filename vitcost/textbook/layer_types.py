"""Four types of layer, compared."""

from collections.abc import Callable
from typing import NamedTuple

from vitcost.errors import NotCovered
from vitcost.textbook.letters import Number, always

__all__ = ["LayerComplexity", "layer_complexities"]


class LayerComplexity(NamedTuple):
    """One row of Vaswani 2017, Table 1: the leading terms, without constants."""

    layer: str
    work: Number
    sequential: Number
    path: Number


def layer_complexities(
    n: Number,
    d: Number,
    k: Number,
    r: Number,
    *,
    log: Callable[[Number, Number], Number] | None = None,
) -> tuple[LayerComplexity, ...]:
    """Four types of layer that connect n positions of width d. Vaswani 2017, Table 1.

    Work of a layer, number of sequential operations, and longest path between two positions:
    self-attention ``n²d, 1, 1``; recurrent ``nd², n, n``; convolutional, dilated, with a kernel of
    k, ``knd², 1, log_k n``; attention restricted to r neighbours ``rnd, 1, n/r``. Paths are rounded
    up to whole layers. ``log`` replaces ``⌈log_k n⌉`` if n and k are symbols. Raises ``NotCovered``
    for sizes that no layer can have.

    >>> for row in layer_complexities(197, 768, 3, 49):
    ...     print(*row)
    self-attention 29805312 1 1
    recurrent 116195328 197 197
    convolutional 348585984 1 5
    restricted self-attention 7413504 1 5
    """
    # whole quotients in place of inequalities, which are undecided between symbols
    if not always(k // 2 != 0):
        raise NotCovered(f"a kernel of k = {k} positions sees no neighbour")
    if not always(r != 0):
        raise NotCovered(f"attention restricted to r = {r} neighbours sees nothing")
    if not always(n // r != 0):
        raise NotCovered(f"a neighbourhood of r = {r} is wider than the sequence, n = {n}")
    log = log or _layers_to_reach
    return (
        LayerComplexity("self-attention", n**2 * d, 1, 1),
        LayerComplexity("recurrent", n * d**2, n, n),
        LayerComplexity("convolutional", k * n * d**2, 1, log(n, k)),
        LayerComplexity("restricted self-attention", r * n * d, 1, -(-n // r)),
    )


def _layers_to_reach(n: Number, k: Number) -> Number:
    """``⌈log_k n⌉`` in integers: each dilated layer multiplies the number of visible positions by
    k."""
    layers, seen = 0 * n, 1
    while not always(seen >= n):
        layers, seen = layers + (seen < n), seen * k
    return layers
