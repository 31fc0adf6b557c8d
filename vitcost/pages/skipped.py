"""Notes on impossible combinations of a grid, and the spelling of possible ones."""

from collections.abc import Iterable, Iterator
from typing import Any

from vitcost.hardware.cards import Card
from vitcost.page import shown
from vitcost.planner.grid import Skipped

__all__ = ["skipped_notes", "spelled"]


def skipped_notes(skipped: Iterable[Skipped]) -> Iterator[str]:
    """Notes on combinations that are not possible, with the reasons."""
    for each in skipped:
        yield f"left out, {each.combinations:,}: {each.reason}"


def spelled(value: Any) -> str:
    """The value of a field as text."""
    if isinstance(value, Card):
        return value.name
    return shown(tuple(value) if isinstance(value, list) else value)
