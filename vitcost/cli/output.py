"""Where an answer goes: a terminal, a pipe or a file."""

import os
import sys
from typing import TYPE_CHECKING

import click

from vitcost.errors import ConfigError
from vitcost.render import render
from vitcost.written import whole

if TYPE_CHECKING:
    from vitcost.result import Result

__all__ = ["emit", "leave", "write"]

# for a terminal that has no more than ASCII, or some old code page
_PLAIN = {
    "×": "x", "·": "*", "²": "2", "³": "3", "–": "-", "—": "-", "…": "...", "≈": "~", "→": "->",
    "◂": "<", "─": "-", "│": "|", "Φ": "Phi", "µ": "u", "█": "#", "✓": "ok", "✗": "x",
}  # fmt: skip


def emit(result: "Result", format: str | None, as_json: bool, output: str | None) -> None:
    """Renders a result for where it goes, and writes it there."""
    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json contradicts --format {format}")
    chosen = "json" if as_json else format or "table"
    if output is None and sys.stdout and sys.stdout.isatty():
        # as https://no-color.org has it
        color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = _columns()
        write(render(result, chosen, color=color, width=width), None, color=color)
    else:
        write(render(result, chosen), output)


def write(text: str, output: str | None, *, color: bool = False) -> None:
    """Writes text to stdout, or to a file as a whole or not at all."""
    if output is not None:
        with whole(output) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
        return
    # Python has none where it is closed (`>&-`)
    if not sys.stdout:
        raise ConfigError("cannot write the answer: stdout is closed")
    try:
        click.echo(_encodable(text, sys.stdout.encoding), nl=False, color=color)
    except BrokenPipeError:
        # the reader has gone (`| head`): silence, and what a shell says of a process so ended
        leave()
        raise SystemExit(128 + 13) from None


def leave() -> None:
    """Gives up a stdout that takes no more, and what is left for it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _encodable(text: str, encoding: str | None) -> str:
    """The text with signs in place of what the encoding lacks."""
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, plain in _PLAIN.items():
            text = text.replace(sign, plain)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
