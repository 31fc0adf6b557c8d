"""The cards of a run by node: how many in all, in nodes of a size that is sold."""

from vitcost.errors import ConfigError
from vitcost.hardware.cards import Card
from vitcost.hardware.node_sizes import most_of_a_node
from vitcost.planner.job import NODE

__all__ = ["check_node", "nodes_of"]


def nodes_of(
    card: Card, cards: int | None, size: int | None, nodes: int | None, deadline: object
) -> tuple[int | None, int | None]:
    """The cards of a node and the number of nodes, from ``cards`` in all, the ``size`` of a node,
    or ``nodes``; None if nothing was given. A node has 8 cards, or the most that a node with this
    card has. Raises ``ConfigError`` for cards that fill no whole nodes, and for two counts that
    contradict each other.

    >>> from vitcost.hardware.specs import card
    >>> nodes_of(card("h100-sxm"), 64, None, None, None), nodes_of(card("l4"), 4, None, None, None)
    ((8, 8), (4, 1))
    """
    if cards is not None:
        for name, value in (("nodes", nodes), ("deadline", deadline)):
            if value is not None:
                raise ConfigError(f"cards {cards:,} and {name} both say how many there are")
    most = most_of_a_node(card)
    whole = size if size is not None else min(NODE, most.most) if most else NODE
    if cards is None:
        return (whole if deadline is None or size is not None else None), nodes
    if cards <= whole:
        return cards, 1
    if cards % whole:
        low = cards // whole * whole
        raise ConfigError(
            f"cards {cards:,} are no whole nodes of {whole:,}: give {low:,} or {low + whole:,}, "
            "or node_size"
        )
    return whole, cards // whole


def check_node(card: Card, gpus: int) -> None:
    """Raises ``ConfigError`` if no node with this card has ``gpus`` cards: they would need a
    network.

    >>> from vitcost.hardware.specs import card
    >>> check_node(card("h100-sxm"), 8)
    >>> check_node(card("h100-sxm"), 16)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: node_size 16 are cards of one node, and no node of h100-sxm ...
    """
    node = most_of_a_node(card)
    if node is not None and gpus > node.most:
        nodes = -(-gpus // node.most)
        raise ConfigError(
            f"node_size {gpus:,} are cards of one node, and no node of {card.name} has more than "
            f"{node.most:,}; give cards {nodes * node.most:,}, node_size {node.most:,} and network"
        )
