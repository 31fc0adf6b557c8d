"""What a card keeps besides the tensors: bytes, or a share of its memory."""

from typing import TYPE_CHECKING, NamedTuple

from vitcost.errors import ConfigError
from vitcost.errors import shown as short
from vitcost.fields import as_python
from vitcost.page import shown
from vitcost.units import MOST, exact, parse_bytes

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Reserve", "parse_reserve"]


class Reserve(NamedTuple):
    """Bytes, and a share of the memory: one of them is 0."""

    fixed_bytes: int = 0
    share: "Fraction | int" = 0

    def leaves(self, capacity_bytes: int) -> int:
        """What is left for tensors; below 0 where the reserve is more than there is."""
        # a part of a byte is kept
        kept = -int(-self.share * capacity_bytes // 1)
        return capacity_bytes - self.fixed_bytes - kept

    def __str__(self) -> str:
        if self.share:
            return f"{float(100 * self.share):g} %"
        return shown(self.fixed_bytes, "bytes") if self.fixed_bytes else "0"


def parse_reserve(given: int | str) -> Reserve:
    """A reserve in bytes, or as it is typed: ``1.5 GiB``, ``5 %``, ``0``.

    >>> str(parse_reserve("1.5 GiB")), parse_reserve("5 %").leaves(1000)
    ('1.50 GiB', 950)
    """
    if isinstance(given, str):
        text = given.strip()
        if text.endswith("%"):
            return Reserve(share=_share(given, text[:-1]))
        return Reserve(0 if text == "0" else parse_bytes(text))
    fixed = as_python(given)
    if type(fixed) is not int or not 0 <= fixed <= MOST:
        raise ConfigError(
            f"reserve must be bytes such as 1.5 GiB, or a share as 5 %, got {short(given)}"
        )
    return Reserve(fixed)


def _share(given: str, number: str) -> "Fraction":
    try:
        share = exact(number.strip()) / 100
    except ValueError:
        share = None
    if share is None or not 0 <= share < 1:
        raise ConfigError(f"reserve must be a share from 0 % to below 100 %, got {given[:40]!r}")
    return share
