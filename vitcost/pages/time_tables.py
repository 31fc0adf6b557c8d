"""The tables of time: a step on each card, and the parts of its time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vitcost.costs.report_types import Report
from vitcost.page import Column, Read, Row, Table, laid_out, shown

if TYPE_CHECKING:
    from vitcost.hardware.roofline import Time

__all__ = ["time_answer", "time_tables"]

_WORDS = {"infer": "inference", "train": "a training step"}
_BASES = {
    "calibrated": "calibrated: this card, software and mode were fitted to measurements",
    "anchored": "anchored: this card was measured in other software or in another mode, or by one "
    "source alone",
    "of_its_kind": "of_its_kind: other cards of its kind were measured, this one was not",
    "spec_sheet": "spec_sheet: no measurement is behind this time, and its band is a guess",
}
_ALONE = "one card alone: several at once, and their links, are not validated"


def time_answer(report: Report) -> Iterator[str]:
    """One line for each card: the time of a batch with its band, the rate, and whether the tensors
    fit."""
    for time in report.time:
        clauses = [
            f"{time.gpu}: {shown(time.seconds, 'seconds')} a batch ({_band(time)})",
            f"{shown(time.images_per_second, 'rate')} images/s",
        ]
        left = time.headroom_bytes
        if time.verdict:
            clauses.append(_VERDICTS[time.verdict])
        if left is not None:
            kept = "left" if left >= 0 else "missing"
            clauses.append(f"{shown(abs(left), 'bytes')} {kept}")
        yield ", ".join(clauses)


_VERDICTS = {
    "fits": "fits",
    "tight": "tight: fits without the reserve alone",
    "no": "does not fit",
}


def _band(time: "Time") -> str:
    return f"{shown(time.low_seconds, 'seconds')} to {shown(time.high_seconds, 'seconds')}"


def time_tables(report: Report) -> Iterator[Table]:
    """One row for each card, then the parts of the time on each card."""
    if not report.time:
        return
    yield _cards(report)
    for time in report.time:
        yield _parts(time, report.scenario.batch)


def _cards(report: Report) -> Table:
    batch, mode = report.scenario.batch, _WORDS[report.scenario.mode]
    bases = dict.fromkeys(time.basis for time in report.time)
    notes = ["low, high: the band that nine in ten measurements should lie in"]
    if any(time.verdict for time in report.time):
        notes.append(
            "memory: whether the step's tensors fit the card, with a workspace, a context and the "
            "allocator's slack beside them; left: bytes that remain then"
        )
    notes += [
        "of peak: the model's FLOPs over the FLOPs of the sheet's peak in that time",
        *(_BASES[basis] for basis in bases),
        *(f"{time.gpu}: {note}" for time in report.time for note in time.notes),
        _ALONE,
    ]
    if report.scenario.compile:
        notes.append("compiled: the time alone; memory is that of the eager model")
    columns: list[Read[Time]] = [
        (Column("gpu"), lambda time: time.gpu),
        (Column("memory"), lambda time: time.verdict or "?"),
        (Column("left", "bytes"), lambda time: time.headroom_bytes),
        (Column("images/s", "rate"), lambda time: time.images_per_second),
        (Column("a batch", "seconds"), lambda time: time.seconds),
        (Column("low", "seconds"), lambda time: time.low_seconds),
        (Column("high", "seconds"), lambda time: time.high_seconds),
        (Column("basis"), lambda time: time.basis),
        (Column("bound", optional=True), lambda time: time.bound),
        (Column("of peak", "ratio", optional=True), lambda time: time.peak_share),
        (Column("attention", optional=True), lambda time: ", ".join(time.attention_kernel)),
        (Column("software", optional=True), lambda time: time.software),
    ]
    return laid_out(f"Time, {mode}, batch of {batch:,}", columns, report.time, notes)


def _parts(time: "Time", batch: int) -> Table:
    rows = [
        Row((part.name, part.seconds, part.seconds / time.seconds, part.bound))
        for part in time.parts
    ]
    rows.append(Row(("total", time.seconds, 1.0, time.bound), "total"))
    columns = Column("part"), Column("time", "seconds"), Column("share", "ratio"), Column("bound")
    title = f"Time by part, {time.gpu}, batch of {batch:,}"
    return Table(title, columns, tuple(rows), tuple(_turning(time)))


def _turning(time: "Time") -> Iterator[str]:
    if time.turning is None:
        return
    beyond, compute = time.turning
    yield _from("launches no longer bound it", beyond)
    yield _from("compute bounds it", compute)


def _from(change: str, batch: int | None) -> str:
    if batch is None:
        return f"at no batch up to 65,536 {change}"
    return f"from a batch of {batch:,} {change}"
