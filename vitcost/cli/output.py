"""Where an answer goes: a terminal, a pipe or a file."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from vitcost.errors import ConfigError
from vitcost.outside.users_code import answers
from vitcost.outside.writing import whole
from vitcost.render import FORMATS, SUFFIXES, render

if TYPE_CHECKING:
    from vitcost.render.result import Result

__all__ = [
    "ALSO",
    "SHAPE",
    "also",
    "chosen_format",
    "emit",
    "leave",
    "names_alone",
    "rendered",
    "said_in",
    "tell",
    "write",
]

# where a context keeps the flags that cut a page, and the files that have the answer too
SHAPE = "vitcost.shape"
ALSO = "vitcost.also"

# for a terminal that has no more than ASCII, or some old code page
_PLAIN = {
    "×": "x", "·": "*", "²": "2", "³": "3", "–": "-", "—": "-", "…": "...", "≈": "~", "→": "->",
    "◂": "<", "─": "-", "│": "|", "Φ": "Phi", "µ": "u", "█": "#", "✓": "ok", "✗": "x",
    "±": "+-", "∝": "~", "√": "sqrt", "≤": "<=", "−": "-",
}  # fmt: skip


def emit(result: "Result", format: str | None, as_json: bool, output: str | None) -> None:
    """Renders a result for where it goes, and writes it there, and to the files of ``--also``."""
    text, color = rendered(result, format, as_json, output)
    also(result)
    write(text, output, color=color)


def also(result: "Result") -> None:
    """Writes a result to the files of ``--also``, each in its format."""
    for chosen, file in _others():
        write(render(_cut(result, chosen), chosen), file)


def _others() -> Sequence[tuple[str, str]]:
    """The formats and files of ``--also``."""
    ctx = click.get_current_context(silent=True)
    return tuple(ctx.meta.get(ALSO, ())) if ctx else ()


def rendered(
    result: "Result", format: str | None, as_json: bool, output: str | None
) -> tuple[str, bool]:
    """A result as text for where it goes, and whether it has colour."""
    chosen = chosen_format(format, as_json, output)
    result = _cut(result, chosen)
    stream = answers()
    if output is None and stream and stream.isatty():
        # as https://no-color.org has it
        color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return render(result, chosen, color=color, width=_columns()), color
    return render(result, chosen), False


def _cut(result: "Result", chosen: str) -> "Result":
    """The result with the page that ``--brief``, ``--columns`` and ``--levels`` leave of it."""
    ctx = click.get_current_context(silent=True)
    shape = dict(ctx.meta.get(SHAPE, {})) if ctx else {}
    if not shape:
        return result
    for name in shape:
        said_in(f"--{name}", chosen, ("table", "markdown", "html", "latex"))
    others = [f"--{name}" for name in shape if name != "brief"]
    if "brief" in shape and others:
        raise click.UsageError(f"--brief has no tables, of which {others[0]} could be")
    from vitcost.pages.shaped import Shaped

    columns = shape.pop("columns", None)
    if columns is not None:
        shape["columns"] = tuple(name for name in columns.split(",") if name.strip())
    return Shaped(result, **shape)


def chosen_format(
    format: str | None,
    as_json: bool,
    output: str | None,
    suffixes: Mapping[str, str] = SUFFIXES,
) -> str:
    """The format of an answer: the one that is named, else the one of the file's suffix.

    A name without a suffix holds any format, and ``.txt`` any text.

    >>> chosen_format(None, False, "page.HTML"), chosen_format("csv", False, "layers.txt")
    ('html', 'csv')
    """
    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json contradicts --format {format}")
    named = "json" if as_json else format
    # pathlib would be a tenth of a start
    suffix = os.path.splitext(output or "")[1].lower().removesuffix(".")  # noqa: PTH122
    of_suffix = suffixes.get(suffix)
    if suffix and of_suffix is None and named is None:
        known = ", ".join(suffixes)
        more = ", or give --format" if len(suffixes) > 1 else ""
        raise click.UsageError(
            f"no format for the suffix {suffix!r:.20} of {output!r:.80}; there are {known}{more}"
        )
    # of an unknown format the renderer speaks
    if named in FORMATS and of_suffix not in (None, named) and suffix != ".txt":
        flag = "--json" if as_json else f"--format {named}"
        raise click.UsageError(f"{flag} contradicts {output!r:.80}, a file of {of_suffix}")
    return named or of_suffix or "table"


def names_alone(format: str | None, as_json: bool, output: str | None) -> None:
    """Refuses what a list of names, one a line, cannot be."""
    if as_json or format is not None or _others():
        raise click.UsageError("-q prints names alone, in no format")
    chosen_format(None, False, output, {".txt": "table"})


def said_in(flag: str, chosen: str, formats: Sequence[str]) -> None:
    """Refuses a flag beside a format that has no place for what it asks for, of ``--also`` too."""
    for each in (chosen, *(other for other, _ in _others())):
        if each not in formats:
            raise click.UsageError(f"{flag} is not said in {each}, but in {', '.join(formats)}")


def write(text: str, output: str | None, *, color: bool = False) -> None:
    """Writes text to stdout, or to a file as a whole or not at all."""
    if output is not None:
        with whole(output) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
        return
    # Python has none where it is closed (`>&-`)
    stream = answers()
    if not stream:
        raise ConfigError("cannot write the answer: stdout is closed")
    try:
        click.echo(_encodable(text, stream.encoding), stream, nl=False, color=color)
    except BrokenPipeError:
        # the reader has gone (`| head`): silence, and what a shell says of a process so ended
        leave()
        raise SystemExit(128 + 13) from None


def tell(line: str) -> None:
    """Says something beside the answer, on stderr."""
    from vitcost.page import printable

    click.echo(printable(line), err=True)


def leave() -> None:
    """Gives up a stdout that takes no more, and what is left for it."""
    stream = answers()
    if stream:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
