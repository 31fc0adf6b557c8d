"""The message when a trace stops: the operator, the module, the line of the user's code."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vitcost.errors import NotCovered, VitcostError

if TYPE_CHECKING:
    from vitcost.traced.record import Recorder

__all__ = ["NoStep", "told"]


class NoStep(NotCovered):
    """A module that runs but has no training step: it cannot train on one image, or nothing of it
    trains."""


# words in torch's messages, and the reason that each stands for
_ONE_IMAGE = "a batch norm cannot train on one image"
_INNER = "a gradient inside a forward has a trace under --platform cpu alone"
_REASONS = (
    ("_local_scalar_dense", "the value of a tensor decides what runs, and a trace has none"),
    ("data-dependent", "the value of a tensor decides what runs, and a trace has none"),
    ("DataDependentOutput", "the value of a tensor decides what runs, and a trace has none"),
    ("DynamicOutputShape", "the size of a result depends on values, and a trace has none"),
    ("nonzero", "the size of a result depends on values, and a trace has none"),
    ("Expected more than 1 value per channel", _ONE_IMAGE),
    ("run_backward", _INNER),
    ("device_ready_queues_", _INNER),
    (
        "maximum recursion depth",
        "modules are nested too deep for Python, whose limit sys.setrecursionlimit raises",
    ),
)
_DO = "trace the part of the model around it: a factory of that part, with --input as it gets it"


@contextmanager
def told(name: str, recorder: "Recorder | None", inputs: str = "") -> Iterator[None]:
    """Turns an error that stops a run into a ``NotCovered`` that names the operator, the module,
    the line and the shapes of the ``inputs``.

    >>> with told("head", None):
    ...     raise ValueError("Expected more than 1 value per channel when training")
    Traceback (most recent call last):
    vitcost.traced.stops.NoStep: head: the trace stopped while the inputs were made: ...
    """
    try:
        yield
    except VitcostError:
        raise
    except Exception as error:
        message = _message(name, error, recorder, inputs)
        raise (NoStep if _ONE_IMAGE in message else NotCovered)(message) from error


def _message(name: str, error: Exception, recorder: "Recorder | None", inputs: str) -> str:
    first = str(error).strip().partition("\n")[0]
    text = f"{type(error).__name__}: {first}"
    why = next((reason for word, reason in _REASONS if word in text), "")
    parts = [f"{name}: the trace stopped"]
    if recorder is None:
        parts.append("while the inputs were made")
    else:
        stopped, path = recorder.stopped
        at = path if stopped == id(error) else recorder.path
        # a path may have a thousand parts, so its middle is cut
        at = f"{at[:40]}…{at[-40:]}" if len(at) > 100 else at or "the model's own forward"
        phase = "backward" if recorder.backward else "forward"
        parts.append(f"in {at}, {phase}")
        parts.append(_after(recorder))
    where = _line(error)
    message = " ".join(part for part in parts if part)
    message += f" ({where})" if where else ""
    message += f": {text[:300]}"
    if inputs:
        message += f"; the forward got {inputs}"
    if why:
        message += f"; {why}"
    if recorder is not None:
        flops = sum(call.flops for call in recorder.calls)
        message += f"; counted so far: {recorder.parameters:,} parameters, {flops:,} FLOPs"
        if "one image" not in why:
            message += f"; {_DO}"
    return message


def _after(recorder: "Recorder") -> str:
    if recorder.trying:
        return f"at aten.{recorder.trying}"
    return f"after aten.{recorder.calls[-1].name}" if recorder.calls else ""


def _line(error: BaseException) -> str:
    """The innermost line that belongs neither to torch nor to vitcost."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = frame.filename.replace("\\", "/")
        if "/torch/" in file or "/vitcost/" in file or file.startswith("<"):
            continue
        if "contextlib" in file:
            continue
        line = (frame.line or "").strip()
        return f"{file.rpartition('/')[2]}, line {frame.lineno}: {line[:100]}"
    return ""
