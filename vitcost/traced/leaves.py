"""Tensors inside the tuples, lists and dictionaries that a module takes and returns."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_iter

from vitcost.errors import NotCovered

__all__ = ["leaves", "tensors"]

_MOST = 100_000


def leaves(tree: Any) -> list[Any]:
    """The values in a tree that are not containers themselves.

    A container may occur more than once in a tree: after thirty modules that each return their
    argument twice, it has a billion leaves. Raises ``NotCovered`` for more than 100,000.

    >>> leaves({"a": [1, (2, 3)]})
    [1, 2, 3]
    """
    values = list(islice(tree_iter(tree), _MOST + 1))
    if len(values) > _MOST:
        raise NotCovered(f"an output of more than {_MOST:,} tensors and other values")
    return values


def tensors(tree: Any) -> Iterator[Tensor]:
    """The tensors of a tree, one after the other.

    >>> import torch
    >>> [tuple(tensor.shape) for tensor in tensors({"a": [torch.ones(2)], "b": 3})]
    [(2,)]
    """
    return (leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor))
