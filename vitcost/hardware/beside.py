"""Bytes that a card needs beside tensors: the workspace of its matrix library, the context of the
process, the slack of torch's allocator."""

from typing import NamedTuple

from vitcost.config.numbered import torch_version
from vitcost.hardware.cards import Card

__all__ = [
    "CONTEXT_BYTES",
    "Beside",
    "beside",
    "largest_tensors",
    "slack_bytes",
    "verdict_on",
    "workspace_bytes",
]

_MIB = 2**20
# an estimate: a CUDA context takes 0.3 to 0.6 GiB, depending on driver and card; no source states
# one figure
CONTEXT_BYTES = 512 * _MIB
# an estimate: max_memory_reserved minus max_memory_allocated is 0.5 to 0.8 GB in published runs of
# ViT-L (rasbt/pytorch-memory-optim) at every batch, and 2 % of the largest run
_SLACK_BYTES, _SLACK_PART = 512 * _MIB, 50

# torch's aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize: 2 buffers of 4,096 KiB
# and 8 of 16 KiB
_CUBLAS_BYTES = (2 * 4096 + 8 * 16) * 1024
_LARGE_BYTES = 32 * _MIB
# pull request 89027: before it a workspace was one buffer of 4,096 KiB
_POOLS_SINCE, _ONE_POOL_BYTES = (2, 0), 4096 * 1024
# since the same change compute capability 9 has 32 MiB; 10 and 12 since pull request 175344 of
# February 2026, 11 since pull request 189312 of July 2026
_LARGE_SINCE = {9: (2, 0), 10: (2, 11), 11: (2, 14), 12: (2, 11)}
# hipBLAS: pull request 138791; gfx94x and gfx95x have a workspace four times as large
_HIPBLAS_SINCE = (2, 6)
_HIPBLAS_LARGE = ("gfx94", "gfx95")


class Beside(NamedTuple):
    """The bytes beside tensors on one card; context and slack are estimates."""

    workspace_bytes: int
    context_bytes: int
    slack_bytes: int

    @property
    def total_bytes(self) -> int:
        """The sum ``workspace + context + slack``."""
        return sum(self)


def workspace_bytes(card: Card, software: str = "") -> int:
    """The workspace that torch allocates for cuBLAS or hipBLAS, once for each handle and stream.

    ``software`` is a version of torch; without one it is the newest. A processor has none. Source:
    torch's aten/src/ATen/cuda/CublasHandlePool.cpp, ``parseChosenWorkspaceSize``.

    >>> from vitcost.hardware.specs import card
    >>> workspace_bytes(card("a100-sxm-80gb")), workspace_bytes(card("h100-sxm"))
    (8519680, 33554432)
    >>> workspace_bytes(card("mi300x")), workspace_bytes(card("t4"), "1.13")
    (134217728, 4194304)
    """
    version = torch_version(software)
    if card.architecture.startswith("gfx"):
        if version is not None and version < _HIPBLAS_SINCE:
            return 0
        large = card.architecture.startswith(_HIPBLAS_LARGE)
        return 4 * _LARGE_BYTES if large else _LARGE_BYTES
    capability = card.capability
    if capability is None:
        # a card that the user describes may have no architecture: then the larger of the two
        # workspaces is taken
        return _LARGE_BYTES if card.vendor in ("", "NVIDIA") else 0
    if version is not None and version < _POOLS_SINCE:
        return _ONE_POOL_BYTES
    since = _LARGE_SINCE.get(capability[0])
    large = since is not None and (version is None or version >= since)
    return _LARGE_BYTES if large else _CUBLAS_BYTES


def slack_bytes(tensor_bytes: int) -> int:
    """Bytes that torch's allocator reserves beyond tensors, an estimate: ``max(0.5 GiB, 2 % of
    tensor_bytes)``. Source: reserved less allocated memory of published runs of ViT-L
    (rasbt/pytorch-memory-optim).

    >>> slack_bytes(2**30), slack_bytes(50 * 2**30)
    (536870912, 1073741824)
    """
    return max(_SLACK_BYTES, tensor_bytes // _SLACK_PART)


def beside(card: Card, tensor_bytes: int, software: str = "") -> Beside:
    """Bytes that a card needs beside ``tensor_bytes`` of tensors: ``workspace + context + slack``,
    an estimate. A processor has no CUDA context, and no allocator that keeps freed blocks.

    ``software`` as in ``workspace_bytes``.

    >>> from vitcost.hardware.specs import card
    >>> beside(card("l4"), 10 * 2**30).total_bytes == 8519680 + 2**29 + 2**29
    True
    >>> beside(card("cpu-i9_10940x"), 10 * 2**30).total_bytes
    0
    """
    if card.is_processor:
        return Beside(0, 0, 0)
    return Beside(workspace_bytes(card, software), CONTEXT_BYTES, slack_bytes(tensor_bytes))


def verdict_on(card: Card, tensor_bytes: int, kept_bytes: int) -> tuple[str, int] | None:
    """Whether tensors fit a card, and the bytes that are left, ``capacity - tensor_bytes -
    kept_bytes``; None if the card's memory is not known.

    ``fits``: with ``kept_bytes`` beside them; ``tight``: only without these; else ``no``.

    >>> from vitcost.hardware.specs import card
    >>> l4 = card("l4")
    >>> room = l4.capacity_bytes
    >>> [verdict_on(l4, room - more, 10) for more in (10, 9, -1)]
    [('fits', 0), ('tight', -1), ('no', -11)]
    """
    capacity = card.capacity_bytes
    if capacity is None:
        return None
    left = capacity - tensor_bytes - kept_bytes
    return ("fits" if left >= 0 else "tight" if tensor_bytes <= capacity else "no"), left


def largest_tensors(card: Card, capacity_bytes: int, software: str = "") -> int:
    """The most bytes of tensors that leave room for everything beside them in ``capacity_bytes``;
    negative if there is no room.

    ``T + slack(T) <= room`` with ``slack(T) = max(S, T // 50)``: T is the smaller of ``room - S``
    and ``room - room // 51``; the latter is one less if the remainder is 50. ``software`` as in
    ``workspace_bytes``.

    >>> from vitcost.hardware.specs import card
    >>> row = card("h100-sxm")
    >>> most = largest_tensors(row, 80 * 2**30)
    >>> [t + beside(row, t).total_bytes <= 80 * 2**30 for t in (most, most + 1)]
    [True, False]
    """
    if card.is_processor:
        return capacity_bytes
    room = capacity_bytes - workspace_bytes(card, software) - CONTEXT_BYTES
    whole, rest = divmod(room, _SLACK_PART + 1)
    return min(room - _SLACK_BYTES, room - whole - (rest == _SLACK_PART))
