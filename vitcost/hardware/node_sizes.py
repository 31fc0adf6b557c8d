"""The most cards of a kind in one node: they share a link and need no network."""

from typing import NamedTuple

from vitcost.hardware.cards import Card

__all__ = ["NODES", "Node", "most_of_a_node"]


class Node(NamedTuple):
    """The largest node that is sold with a card, and the source."""

    most: int
    cards: tuple[str, ...]
    source: str


_TPU = "https://docs.cloud.google.com/tpu/docs/{v4,v5e,v5p-training,v6e,tpu7x}: chips of a pod"
NODES = (
    Node(72, ("gb200", "gb300"), "NVIDIA GB200 and GB300 NVL72: one NVLink domain"),
    Node(
        16,
        ("a100-sxm-40gb", "a100-sxm-80gb"),
        "a2-megagpu-16g: https://cloud.google.com/compute/docs/accelerator-optimized-machines",
    ),
    Node(
        16,
        ("v100-sxm2",),
        "DGX-2: https://pcper.com/2018/03/nvidia-announces-dgx-2-with-16-gv100s-8-100gb-nics/",
    ),
    Node(
        8,
        ("h100-sxm", "h200-sxm", "h20", "b200", "b300"),
        "NVIDIA HGX boards of eight: stas00/ml-engineering@744d01e18 network/README.md",
    ),
    Node(
        8,
        ("mi250x", "mi300x", "mi325x", "mi350x", "mi355x"),
        "AMD boards of eight: stas00/ml-engineering@744d01e18 network/README.md",
    ),
    Node(
        20,
        (
            "v100-pcie", "t4", "a10", "a10g", "a30", "a40", "rtx-a6000", "a100-pcie-40gb",
            "a100-pcie-80gb", "l4", "l40", "l40s", "rtx3090", "rtx4090", "rtx5090",
            "rtx-pro-6000-server", "rtx-pro-6000-maxq", "h100-pcie", "h100-nvl", "h200-nvl",
            "mi100", "mi210",
        ),
        "Supermicro SYS-322GB-NR, 20 PCIe slots: https://simmtester.com/News/IndustryArticle/26563",
    ),
    Node(4096, ("tpu-v4",), _TPU),
    Node(256, ("tpu-v5e", "tpu-v6e"), _TPU),
    Node(8960, ("tpu-v5p",), _TPU),
    Node(9216, ("tpu-v7x",), _TPU),
)  # fmt: skip


def most_of_a_node(card: Card) -> Node | None:
    """The largest node with a card, or with the table's card from which it is made; None: not
    known.

    >>> from vitcost.hardware.specs import card
    >>> most_of_a_node(card("h100-sxm")).most
    8
    """
    return next((node for node in NODES if card.kin in node.cards), None)
