"""The page of the cards that are known."""

from collections.abc import Iterator

from vitcost.hardware.cards import CPUS, SOURCES, Card, Peaks
from vitcost.hardware.catalogue import Gpus, measured_on
from vitcost.page import Column, Page, Row, Table, Value, shown

__all__ = ["gpus_page"]

_NOTES = (
    "Peaks are dense FLOP/s (int8: operations), half precision with fp32 accumulation; memory is "
    "that of the card, usable the part that a process sees; link is one direction; architecture is "
    "NVIDIA's compute capability or AMD's LLVM target; –: no source.",
    "measured: cards with constants, from timm's benchmark files or from published timings. "
    "Your own card: "
    "[tool.vitcost.gpu.NAME] in pyproject.toml, --gpu-file, or figures behind its name in -g.",
)


def gpus_page(gpus: Gpus) -> Page:
    """One row for each card, then the meaning of the sources' short names."""
    columns = (
        Column("gpu"),
        Column("memory", "bytes"),
        Column("bytes/s", "si"),
        *(Column(kind, "si", optional=kind != "bf16") for kind in Peaks._fields),
        # the column decides how much a time is worth
        Column("measured"),
        Column("usable", "bytes", optional=True),
        Column("link B/s", "si", optional=True),
        Column("W", "count", optional=True),
        Column("architecture", optional=True),
        Column("year", optional=True),
        Column("source", optional=True),
    )
    table = Table("", columns, tuple(map(_row, gpus.found)), tuple(_sources(gpus)))
    count = len(gpus.found)
    processors = f"Processors that were measured, compiled, batch 1: {', '.join(CPUS)}."
    title = f"{count:,} cards" if count > 1 else "1 card"
    return Page(title, tables=(table,), notes=(*_NOTES, processors), answer=tuple(_range(gpus)))


def _range(gpus: Gpus) -> Iterator[str]:
    """The least and the most memory, and how many have been measured."""
    if len(gpus.found) > 1:
        known = [card.memory_bytes for card in gpus.found if card.memory_bytes is not None]
        measured = sum(any(_measured(card)) for card in gpus.found)
        sizes = f"{shown(min(known), 'bytes')} to {shown(max(known), 'bytes')}, " if known else ""
        yield f"{sizes}{measured:,} of them measured"


def _row(card: Card) -> Row:
    peaks = (None if peak is None else peak * 1e12 for peak in card.peaks)
    year = None if card.year is None else str(card.year)
    cells: tuple[Value, ...] = (
        card.name, card.memory_bytes, card.bandwidth, *peaks, ", ".join(_measured(card)) or "no",
        card.usable_bytes, card.link, card.power_w, card.architecture or None, year, card.source,
    )  # fmt: skip
    return Row(cells)


def _measured(card: Card) -> Iterator[str]:
    modes = {(c.setup.mode, c.setup.compiled) for c in measured_on(card)}
    for mode, compiled in sorted(modes):
        yield f"{mode} compiled" if compiled else mode


def _sources(gpus: Gpus) -> Iterator[str]:
    used = dict.fromkeys(key for card in gpus.found for key in card.source.split())
    for key in used:
        if key in SOURCES:
            yield f"{key}: {SOURCES[key]}"
