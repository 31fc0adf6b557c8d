"""The precision of a card if the user names none."""

from vitcost.config.scenario import PRECISIONS
from vitcost.hardware.cards import Card

__all__ = ["AUTO", "AUTOMATIC", "precision_on"]

# the word for the default precision, and all words that may be given
AUTO = "auto"
AUTOMATIC = (AUTO, *PRECISIONS)


def precision_on(card: Card, training: bool) -> str:
    """The precision that ``auto`` means on a card: bf16 if its matrix units have it, fp16 if they
    have only that (V100, T4), else fp32; in training under autocast. Source: the card's sheet.

    >>> from vitcost.hardware.specs import card
    >>> [precision_on(card(name), False) for name in ("h100-sxm", "t4", "cpu-i9_10940x")]
    ['bf16', 'fp16', 'fp32']
    >>> precision_on(card("l4"), True)
    'amp-bf16'
    """
    half = "bf16" if card.peaks.bf16 else "fp16" if card.peaks.fp16 else ""
    if not half:
        return "fp32"
    return f"amp-{half}" if training else half
