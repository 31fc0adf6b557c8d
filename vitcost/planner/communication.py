"""How long cards take to exchange tensors, by ring or tree, with bandwidths in one direction.

n ranks, V bytes for each rank, B bytes per second from one rank to the next, α seconds of latency
for each step. A collective over several nodes is as fast as its slowest link.
"""

from typing import NamedTuple

__all__ = ["Fabric", "all_gather", "all_reduce", "reduce_scatter", "send"]

# NVIDIA/nccl@01afd20a7 src/graph/tuning.cc, protocol Simple, in seconds: the start of a collective,
# a step of a ring over NVLink and over a network, a step of a tree; and the share of a ring's
# bandwidth that a tree reaches
_START = 8.4e-6
_RING_STEP, _RING_STEP_NETWORK = 3.4e-6, 9.6e-6
_TREE_STEP, _TREE_STEP_NETWORK = 28e-6, 50e-6
_TREE_SHARE = 0.9


class Fabric(NamedTuple):
    """The links of a group of cards, in bytes per second, in one direction.

    ``network`` is the bandwidth of one card to other nodes.
    """

    ranks: int
    nodes: int
    link: float
    network: float

    @property
    def slowest(self) -> float:
        """Bytes a second of the slower of links and network; one node alone has no network."""
        return self.link if self.nodes == 1 else min(self.link, self.network)

    def ring_latency(self, rounds: int) -> float:
        """Seconds of latency of ``rounds`` rounds of a ring. A round has n - 1 steps; one step for
        each node but the first crosses the network."""
        between = self.nodes - 1
        inside = self.ranks - 1 - between
        return _START + rounds * (inside * _RING_STEP + between * _RING_STEP_NETWORK)


def all_reduce(size: int, fabric: Fabric) -> float:
    """Seconds until every rank has the sum of ``size`` bytes, V: the faster of a ring and a double
    binary tree.

    ``ring = 2 (n - 1) (α + V / (n B))``; ``tree = 2 α log₂ n + 2 V / B``, where the cards inside a
    node form a chain. Source: Thakur, Rabenseifner, Gropp 2005, Optimization of collective
    communication operations in MPICH, section 4.5; NCCL 2.4, double binary trees; constants of
    NCCL's tuning model.

    >>> node = Fabric(8, 1, 450e9, 0)
    >>> round(1e3 * all_reduce(346_270_624, node), 2)
    1.4
    """
    n = fabric.ranks
    if n == 1:
        return 0.0
    ring = fabric.ring_latency(2) + 2 * (n - 1) / n * size / fabric.slowest
    inside, hops = n // fabric.nodes - 1, (fabric.nodes - 1).bit_length()
    latency = 2 * (inside * _TREE_STEP + hops * _TREE_STEP_NETWORK)
    tree = latency + 2 * size / (_TREE_SHARE * fabric.slowest)
    return min(ring, tree)


def all_gather(size: int, fabric: Fabric) -> float:
    """Seconds until every rank has all parts of ``size`` bytes, V, by a ring:
    ``(n - 1) (α + V / (n B))``.

    Source: Thakur et al. 2005, section 4.1.

    >>> node = Fabric(8, 1, 450e9, 0)
    >>> round(1e3 * all_gather(8 * 10**9, node), 2)  # 7 GB at 450 GB/s, and 32 µs
    15.59
    """
    n = fabric.ranks
    if n == 1:
        return 0.0
    return fabric.ring_latency(1) + (n - 1) / n * size / fabric.slowest


def reduce_scatter(size: int, fabric: Fabric) -> float:
    """Seconds until every rank has its part of the sum of ``size`` bytes: an all-gather run
    backwards, which takes as long.

    Source: Thakur et al. 2005, section 4.4 (pairwise exchange) and NCCL's ring.

    >>> node = Fabric(8, 1, 450e9, 0)
    >>> reduce_scatter(8 * 10**9, node) == all_gather(8 * 10**9, node)
    True
    """
    return all_gather(size, fabric)


def send(size: int, fabric: Fabric) -> float:
    """Seconds in which one card sends ``size`` bytes, V, to the next: ``α + V / B``, the first term
    of Thakur et al. 2005, section 3.

    >>> round(1e3 * send(9 * 10**9, Fabric(2, 1, 450e9, 0)), 2)
    20.0
    """
    step = _RING_STEP if fabric.nodes == 1 else _RING_STEP_NETWORK
    return step + size / fabric.slowest
