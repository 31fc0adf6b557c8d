"""The memory that a card keeps free beside tensors: bytes, a share, or torch's known needs."""

from typing import TYPE_CHECKING, NamedTuple

from vitcost.config.fields import as_python
from vitcost.errors import ConfigError
from vitcost.errors import shown as short
from vitcost.hardware.beside import beside, largest_tensors
from vitcost.hardware.cards import Card
from vitcost.page import shown
from vitcost.units import MOST, exact, parse_bytes

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Reserve", "parse_reserve", "said"]


class Reserve(NamedTuple):
    """Bytes, or a share of the memory; ``auto``: the workspace, the context and the allocator's
    slack."""

    fixed_bytes: int = 0
    share: "Fraction | int" = 0
    auto: bool = False

    def leaves(self, card: Card, software: str = "") -> int:
        """The bytes that are left for tensors; negative if the reserve is more than the
        card has."""
        capacity = card.capacity_bytes
        assert capacity is not None
        if self.auto:
            return largest_tensors(card, capacity, software)
        return capacity - self.kept(card, 0, software)

    def headroom(self, card: Card, tensor_bytes: int, software: str = "") -> int:
        """The bytes left after ``tensor_bytes`` and the reserve; negative if they do not fit."""
        return (card.capacity_bytes or 0) - tensor_bytes - self.kept(card, tensor_bytes, software)

    def kept(self, card: Card, tensor_bytes: int, software: str = "") -> int:
        """The bytes that the reserve keeps beside ``tensor_bytes``."""
        if self.auto:
            return beside(card, tensor_bytes, software).total_bytes
        # rounded up to a whole byte
        return self.fixed_bytes - int(-self.share * (card.capacity_bytes or 0) // 1)

    def __str__(self) -> str:
        if self.auto:
            return "auto"
        if self.share:
            return f"{float(100 * self.share):g} %"
        return shown(self.fixed_bytes, "bytes") if self.fixed_bytes else "0"


def said(reserve: Reserve, beside: bool = True) -> str:
    """A sentence about the reserve behind a page's numbers. ``beside``: whether any of its cards
    needs one; processors do not.

    >>> said(Reserve(fixed_bytes=2**30)), said(Reserve(auto=True), beside=False)
    ('bytes of tensors; 1.00 GiB of each card is kept free', 'bytes of tensors')
    """
    if reserve.auto and not beside:
        return "bytes of tensors"
    if reserve.auto:
        return (
            "bytes of tensors; room is kept for a workspace, a context and the allocator's slack"
            " (estimates)"
        )
    kept = f"{reserve} of each card is" if str(reserve) != "0" else "nothing is"
    return f"bytes of tensors; {kept} kept free"


def parse_reserve(reserve: int | str) -> Reserve:
    """A reserve from a number of bytes or a text: ``auto``, ``1.5 GiB``, ``5 %``, ``0``; else
    ``ConfigError``.

    >>> from vitcost.hardware.specs import own_card
    >>> str(parse_reserve("1.5 GiB")), str(parse_reserve("auto"))
    ('1.50 GiB', 'auto')
    >>> parse_reserve("5 %").leaves(own_card("mine", {"usable_bytes": 1000}))
    950
    """
    if isinstance(reserve, str):
        text = reserve.strip()
        if text == "auto":
            return Reserve(auto=True)
        if text.endswith("%"):
            return Reserve(share=_share(reserve, text[:-1]))
        return Reserve(0 if text == "0" else parse_bytes(text))
    fixed = as_python(reserve)
    if type(fixed) is not int or not 0 <= fixed <= MOST:
        raise ConfigError(
            "reserve must be auto, bytes such as 1.5 GiB or a share such as 5 %, "
            f"got {short(reserve)}"
        )
    return Reserve(fixed)


def _share(reserve: str, number: str) -> "Fraction":
    try:
        share = exact(number.strip()) / 100
    except ValueError:
        share = None
    if share is None or not 0 <= share < 1:
        raise ConfigError(f"reserve must be a share from 0 % to below 100 %, got {reserve[:40]!r}")
    return share
