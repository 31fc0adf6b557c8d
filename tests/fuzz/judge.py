"""The faults that no command may show, for any input."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

__all__ = ["CPU_SECONDS", "MEMORY_BYTES", "complaints", "most_seconds"]

CPU_SECONDS = 5
MEMORY_BYTES = 2**30

# the runner of GitHub trims a line and looks for `::`, then for `##[` anywhere; Azure for `##vso[`
_JOB = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


class Ran(Protocol):
    """How a command ended."""

    code: int
    out: str
    err: str
    cpu_seconds: float
    peak_bytes: int
    late: bool


def most_seconds(args: Sequence[str]) -> int:
    """The CPU time that a command may take: of all names of timm a comparison makes 1,368
    reports."""
    return CPU_SECONDS * (4 if "--all-timm" in args else 1)


def complaints(args: Sequence[str], ran: Ran, base_bytes: int = 0) -> Iterator[str]:
    """Each thing that is wrong; ``base_bytes`` is what the process had before it began."""
    if ran.code not in (0, 1, 2):
        yield f"exit code {ran.code}"
    if ran.late or ran.cpu_seconds > most_seconds(args):
        yield f"{ran.cpu_seconds:.1f} s of CPU"
    if ran.peak_bytes - base_bytes > MEMORY_BYTES:
        yield f"{(ran.peak_bytes - base_bytes) / 2**20:.0f} MiB"
    streams = {"stdout": ran.out, "stderr": ran.err}
    for name, text in streams.items():
        if "Traceback (most recent call last)" in text or "in this process, and then:" in text:
            yield f"a traceback on {name}: {text.strip().splitlines()[-1][:200]}"
        # a shell's script has tabs
        script = args[:1] == ("completion",) and name == "stdout"
        if not script and not text.replace("\n", "").isprintable():
            yield f"a control character on {name}"
        commands = name == "stdout" and "github" in " ".join(args)
        if not commands and _JOB.search(text):
            yield f"a workflow command on {name}"
    yield from _answer(args, ran)


def _answer(args: Sequence[str], ran: Ran) -> Iterator[str]:
    if ran.code == 2:
        # a budget that cannot be answered stands beside those that can
        if ran.out and args[:1] != ("budget",):
            yield "an answer before an error"
        if ran.err.count("Error: ") < 1:
            yield "no message"
    named = [args[i + 1 : i + 2] for i, arg in enumerate(args) if arg == "--format"]
    # behind --also it is the name of a file
    flags = [arg for before, arg in zip(("", *args), args, strict=False) if before != "--also"]
    plain = named == [("json",)] or ("--json" in flags and not named)
    asked_for = args and args[0] not in ("models", "gpus", "schema", "completion")
    if plain and asked_for and ran.code in (0, 1) and ran.out and "-o" not in args:
        try:
            json.loads(ran.out)
        except ValueError:
            yield "no JSON"
