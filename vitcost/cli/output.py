"""Where an answer goes: a terminal, a pipe or a file."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from vitcost.errors import ConfigError
from vitcost.outside.users_code import answers
from vitcost.render import FORMATS, SUFFIXES, render

if TYPE_CHECKING:
    from vitcost.render.result import Result

_R = TypeVar("_R", bound="Result")

__all__ = [
    "ALSO",
    "JUDGED",
    "SHAPE",
    "also",
    "asked_format",
    "chosen_format",
    "emit",
    "leave",
    "need_format",
    "rendered",
    "tell",
    "write",
    "write_names",
]

# keys of click's ``Context.meta``: under SHAPE lie the flags that shorten a page, under ALSO the
# files of --also
SHAPE = "vitcost.shape"
ALSO = "vitcost.also"
# formats that show a verdict and its reasons
JUDGED = ("table", "json", "markdown", "html", "latex", "github", "junit", "sarif")

# ASCII replacements for terminals without Unicode
_PLAIN = {
    "×": "x", "·": "*", "²": "2", "³": "3", "–": "-", "—": "-", "…": "...", "≈": "~", "→": "->",
    "◂": "<", "─": "-", "│": "|", "Φ": "Phi", "µ": "u", "█": "#", "✓": "ok", "✗": "x",
    "±": "+-", "∝": "~", "√": "sqrt", "≤": "<=", "−": "-",
}  # fmt: skip


def emit(result: _R, *, to_stdout: bool = False) -> _R:
    """Writes a result where the command's flags say: to ``-o`` or stdout, and to the files of
    ``--also``; returns the result."""
    output = None if to_stdout else click.get_current_context().params["output"]
    text, color = rendered(result, output)
    also(result)
    write(text, output, color=color)
    return result


def also(result: "Result") -> None:
    """Writes a result to the files of ``--also``, each in its own format."""
    for chosen, file in _others():
        write(render(_cut(result, chosen), chosen), file)


def _others() -> Sequence[tuple[str, str]]:
    """The formats and files of ``--also``."""
    ctx = click.get_current_context(silent=True)
    return tuple(ctx.meta.get(ALSO, ())) if ctx else ()


def rendered(result: "Result", output: str | None) -> tuple[str, bool]:
    """A result as text for a file or for stdout, and whether the text has colours."""
    params = click.get_current_context().params
    chosen = chosen_format(params["format"], params["as_json"], output)
    result = _cut(result, chosen)
    stream = answers()
    if output is None and stream and stream.isatty():
        # the rule of https://no-color.org
        color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return render(result, chosen, color=color, width=_columns()), color
    return render(result, chosen), False


def _cut(result: "Result", chosen: str) -> "Result":
    """The result with its page cut by ``--brief``, ``--columns`` and ``--levels``."""
    ctx = click.get_current_context(silent=True)
    shape = dict(ctx.meta.get(SHAPE, {})) if ctx else {}
    if not shape:
        return result
    for name in shape:
        need_format(f"--{name}", chosen, ("table", "markdown", "html", "latex"))
    others = [f"--{name}" for name in shape if name != "brief"]
    if "brief" in shape and others:
        raise click.UsageError(f"--brief prints no tables, so {others[0]} has no use")
    from vitcost.pages.shaped import Shaped

    columns = shape.pop("columns", None)
    if columns is not None:
        shape["columns"] = tuple(name for name in columns.split(",") if name.strip())
    return Shaped(result, **shape)


def asked_format() -> str:
    """The format that the command's flags ask for."""
    params = click.get_current_context().params
    return chosen_format(params["format"], params["as_json"], params["output"])


def chosen_format(
    format: str | None,
    as_json: bool,
    output: str | None,
    suffixes: Mapping[str, str] = SUFFIXES,
) -> str:
    """The format of an answer: the named one, else that of the file's suffix.

    A file without a suffix may have any format, a ``.txt`` file any text format.

    >>> chosen_format(None, False, "page.HTML"), chosen_format("csv", False, "layers.txt")
    ('html', 'csv')
    """
    if as_json and format not in (None, "json"):
        raise click.UsageError(f"--json contradicts --format {format}")
    named = "json" if as_json else format
    # importing pathlib would take a tenth of a start
    suffix = os.path.splitext(output or "")[1].lower().removesuffix(".")  # noqa: PTH122
    of_suffix = suffixes.get(suffix)
    if suffix and of_suffix is None and named is None:
        known = ", ".join(suffixes)
        more = ", or give --format" if len(suffixes) > 1 else ""
        raise click.UsageError(
            f"no format for the suffix {suffix!r:.20} of {output!r:.80}; there are {known}{more}"
        )
    # an unknown format is refused by the renderer
    if named in FORMATS and of_suffix not in (None, named) and suffix != ".txt":
        flag = "--json" if as_json else f"--format {named}"
        raise click.UsageError(f"{flag} contradicts {output!r:.80}, a file of {of_suffix}")
    return named or of_suffix or "table"


def write_names(names: Iterable[str], output: str | None) -> None:
    """Writes names, one on each line; flags for a format are refused."""
    params = click.get_current_context().params
    if params["as_json"] or params["format"] is not None or _others():
        raise click.UsageError("-q prints only names, and takes no format")
    chosen_format(None, False, output, {".txt": "table"})
    write("".join(f"{name}\n" for name in names), output)


def need_format(flag: str, chosen: str, formats: Sequence[str]) -> None:
    """Refuses a flag that the chosen format cannot show; formats of ``--also`` are checked too."""
    for each in (chosen, *(other for other, _ in _others())):
        if each not in formats:
            raise click.UsageError(
                f"{flag} cannot be shown in {each}, only in {', '.join(formats)}"
            )


def write(text: str, output: str | None, *, color: bool = False) -> None:
    """Writes text to stdout, or to a file; a file is written completely or not at all."""
    if output is not None:
        # imported only for a file
        from vitcost.outside.writing import whole

        with whole(output) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
        return
    # sys.stdout is None if the shell closed it (`>&-`)
    stream = answers()
    if not stream:
        raise ConfigError("cannot write the answer: stdout is closed")
    try:
        click.echo(_encodable(text, stream.encoding), stream, nl=False, color=color)
    except BrokenPipeError:
        # the reader has gone (`| head`): exit without a message, with the code of SIGPIPE
        leave()
        raise SystemExit(128 + 13) from None


def tell(line: str) -> None:
    """Prints a note beside the answer, on stderr."""
    from vitcost.page import printable

    click.echo(printable(line), err=True)


def leave() -> None:
    """Closes a stdout that takes no more output, and drops the rest of the text."""
    stream = answers()
    if stream:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _encodable(text: str, encoding: str | None) -> str:
    """The text with ASCII replacements for characters that the encoding lacks."""
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, plain in _PLAIN.items():
            text = text.replace(sign, plain)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
