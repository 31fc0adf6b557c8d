"""The bars of a report: memory compared with each card, and the parts of a step's time."""

from typing import TYPE_CHECKING

from vitcost.costs.report_types import Report
from vitcost.page import Bar, Bars
from vitcost.pages.memory_tables import PARTS

if TYPE_CHECKING:
    from vitcost.hardware.roofline import Time

__all__ = ["report_bars"]

# kinds of bytes that a card needs beside tensors
_BESIDE = ("workspace", "context", "slack")


def report_bars(report: Report) -> tuple[Bars, ...]:
    """Bars of the bytes in memory at the peak, compared with each card, and of the time of each
    part."""
    return tuple(bars for bars in (_memory(report), _time(report)) if bars.bars)


def _memory(report: Report) -> Bars:
    modes = {"infer": ("inference", _inference(report)), "train": ("a step's peak", _step(report))}
    if report.time:
        title, tensors = modes[report.scenario.mode]
        bars = (_against(title, tensors, time) for time in report.time)
        # the same colours as in the picture of a whole step
        order = (
            (*(title for title, _ in PARTS), *_BESIDE) if report.scenario.mode == "train" else ()
        )
        drawn = tuple(bar for bar in bars if bar is not None)
        return Bars("Memory against the card", drawn, order)
    both = ((title, tensors) for title, tensors in modes.values() if tensors)
    return Bars("Memory", tuple(Bar(title, "bytes", tensors) for title, tensors in both))


def _inference(report: Report) -> tuple[tuple[str, int], ...]:
    inference = report.inference
    return _some(
        ("weights", inference.weights_bytes),
        ("buffers", inference.buffers_bytes),
        ("inputs", inference.input_bytes),
        ("activations", inference.activations_bytes),
    )


def _step(report: Report) -> tuple[tuple[str, int], ...]:
    parts = report.training.peak_parts
    if parts is None:
        return ()
    return _some(*((title, getattr(parts, name)) for title, name in PARTS))


def _some(*pairs: tuple[str, object]) -> tuple[tuple[str, int], ...]:
    return tuple((name, value) for name, value in pairs if isinstance(value, int) and value)


def _against(title: str, tensors: tuple[tuple[str, int], ...], time: "Time") -> Bar | None:
    """Bars of tensors and of the reserve, compared with the memory of the card."""
    if time.headroom_bytes is None or time.beside is None or time.tensor_bytes is None:
        return None
    beside = time.beside.total_bytes
    capacity = time.tensor_bytes + beside + time.headroom_bytes
    # with a card's own kernels the tensors may differ from the page's, and then their parts are not
    # known
    whole = sum(value for _, value in tensors) == time.tensor_bytes
    drawn = tensors if whole else (("tensors", time.tensor_bytes),)
    needs = _some(*((name, getattr(time.beside, f"{name}_bytes")) for name in _BESIDE))
    return Bar(f"{time.gpu}, {title}", "bytes", (*drawn, *needs), capacity)


def _time(report: Report) -> Bars:
    bars = (
        Bar(time.gpu, "seconds", tuple((part.name, part.seconds) for part in time.parts))
        for time in report.time
    )
    return Bars("Time by part", tuple(bars))
