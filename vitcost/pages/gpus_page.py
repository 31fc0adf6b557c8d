"""The page of the known cards."""

from collections.abc import Iterator
from functools import partial

from vitcost.hardware.cards import CPUS, SOURCES, Card, Peaks
from vitcost.hardware.catalogue import Gpus, measured_on
from vitcost.page import Column, Page, Read, laid_out, shown

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
    table = laid_out("", _columns(), gpus.found, _sources(gpus))
    count = len(gpus.found)
    processors = f"Processors that were measured, compiled, batch 1: {', '.join(CPUS)}."
    title = f"{count:,} cards" if count > 1 else "1 card"
    return Page(title, tables=(table,), notes=(*_NOTES, processors), answer=tuple(_range(gpus)))


def _range(gpus: Gpus) -> Iterator[str]:
    """The least and the most memory of the cards, and how many of them were measured."""
    if len(gpus.found) > 1:
        known = [card.memory_bytes for card in gpus.found if card.memory_bytes is not None]
        measured = sum(any(_measured(card)) for card in gpus.found)
        sizes = f"{shown(min(known), 'bytes')} to {shown(max(known), 'bytes')}, " if known else ""
        yield f"{sizes}{measured:,} of them measured"


def _columns() -> Iterator[Read[Card]]:
    yield Column("gpu"), lambda card: card.name
    yield Column("memory", "bytes"), lambda card: card.memory_bytes
    yield Column("bytes/s", "si"), lambda card: card.bandwidth
    for kind in Peaks._fields:
        yield Column(kind, "si", optional=kind != "bf16"), partial(_peak, kind)
    # this column shows how reliable a predicted time is
    yield Column("measured"), lambda card: ", ".join(_measured(card)) or "no"
    yield Column("usable", "bytes", optional=True), lambda card: card.usable_bytes
    yield Column("link B/s", "si", optional=True), lambda card: card.link
    yield Column("W", "count", optional=True), lambda card: card.power_w
    yield Column("architecture", optional=True), lambda card: card.architecture or None
    yield Column("year", optional=True), lambda card: card.year and str(card.year)
    yield Column("source", optional=True), lambda card: card.source


def _peak(kind: str, card: Card) -> float | None:
    peak: float | None = getattr(card.peaks, kind)
    return None if peak is None else peak * 1e12


def _measured(card: Card) -> Iterator[str]:
    modes = {(c.setup.mode, c.setup.compiled) for c in measured_on(card)}
    for mode, compiled in sorted(modes):
        yield f"{mode} compiled" if compiled else mode


def _sources(gpus: Gpus) -> Iterator[str]:
    used = dict.fromkeys(key for card in gpus.found for key in card.source.split())
    for key in used:
        if key in SOURCES:
            yield f"{key}: {SOURCES[key]}"
