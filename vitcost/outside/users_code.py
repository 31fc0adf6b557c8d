"""Runs the user's code (its module, its factory, its forward) so that it cannot damage the answer.

Its output goes to stderr; an error, or an exit of the process, becomes one message; the current
directory, where answers are written, is restored.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from vitcost.errors import ConfigError, VitcostError

__all__ = ["answers", "end", "has_run", "keep_answers_apart", "reason_of", "users_code"]

# the most letters of a reason, which may contain a whole tensor
_MOST_SAID = 300


class _Process:
    """The state of this process: whether it is a vitcost command, and the stream of its answer."""

    ours = False
    kept: TextIO | None = None
    has_run = False


@contextmanager
def users_code(doing: str) -> Iterator[None]:
    """Runs code of the user's; every error, except an interrupt, becomes a ``ConfigError``.

    >>> with users_code("calling f()"):
    ...     sys.exit("I give up")
    Traceback (most recent call last):
    vitcost.errors.ConfigError: calling f(): SystemExit: I give up
    """
    here, streams, paths = _directory(), (sys.stdout, sys.stderr), tuple(sys.path)
    deep, process, _Process.has_run = sys.getrecursionlimit(), os.getpid(), True
    if _Process.ours and _Process.kept is None:
        _keep()
    sys.stdout = sys.stderr
    try:
        yield
    except (VitcostError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ConfigError(f"{doing}: {reason_of(error)}") from error
    finally:
        if os.getpid() != process:
            # a child process that the user's code forked has returned here: only one process may
            # answer
            os._exit(1)
        # a limit that the user's code raised is kept, as its model may be nested deeply
        sys.setrecursionlimit(max(deep, sys.getrecursionlimit()))
        sys.stdout, sys.stderr = map(_open, streams, (1, 2))
        if _Process.kept is not None:
            # a thread or an exit handler may still print later
            sys.stdout = sys.stderr
        # paths that the user's code removed are added again, since the rest of this package is
        # imported from there
        sys.path += [path for path in paths if path not in sys.path]
        if here is not None and _directory() != here:
            os.chdir(here)


def has_run() -> bool:
    """Whether the user's code has run in this process, so that it may have changed other modules.

    >>> with users_code("calling f()"):
    ...     pass
    >>> has_run()
    True
    """
    return _Process.has_run


def reason_of(error: BaseException) -> str:
    r"""The type of an error and the first line of its text; even reading the text may raise.

    >>> reason_of(ValueError("no such layer\nand more lines"))
    'ValueError: no such layer'
    """
    try:
        text = str(error)
    except Exception:
        text = "it cannot say why"
    line = text.strip().partition("\n")[0][:_MOST_SAID]
    if isinstance(error, RecursionError):
        line += (
            f"; calls or modules are nested deeper than Python's limit of "
            f"{sys.getrecursionlimit():,}, which sys.setrecursionlimit in the user's file raises"
        )
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def keep_answers_apart() -> None:
    """Marks this process as a command: once the user's code has run, only the answer goes to
    stdout, and all other output, even that of C code, goes to stderr."""
    _Process.ours = True


def answers() -> TextIO | None:
    """The stream of the answer; None if it is closed.

    >>> answers() is sys.stdout
    True
    """
    return _Process.kept or sys.stdout


def end(code: int) -> NoReturn:
    """Ends the process. It ends at once if nothing waits for its end, since freeing objects takes
    as long as counting a model, and a thread of the user's code might never end.

    >>> end(2)
    Traceback (most recent call last):
    SystemExit: 2
    """
    threading = sys.modules.get("threading")
    running = [] if threading is None or _Process.kept is None else threading.enumerate()
    lasting = any(not thread.daemon for thread in running[1:])
    if lasting or (_Process.ours and not _Process.has_run and not _is_watched()):
        for stream in (answers(), sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()  # type: ignore[union-attr]
        os._exit(code)
    sys.exit(code)


def _is_watched() -> bool:
    """Whether an exit handler, a profiler or a debugger waits for the end of the process."""
    return bool(atexit._ncallbacks() or sys.getprofile() or sys.gettrace())


def _keep() -> None:
    """Keeps a copy of stdout for the answer, and redirects stdout to stderr."""
    stdout = sys.stdout
    if stdout is None or sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        stdout.flush()
        stream_number = os.dup(stdout.fileno())
        os.dup2(sys.stderr.fileno(), stdout.fileno())
        _Process.kept = os.fdopen(
            stream_number, "w", encoding=stdout.encoding, errors=stdout.errors
        )


def _open(stream: TextIO | None, number: int) -> TextIO | None:
    """A standard stream, opened again if the user's code has closed it; the file itself is still
    open."""
    if stream is None or not getattr(stream, "closed", False):
        return stream
    try:
        return os.fdopen(number, "w", 1, stream.encoding, stream.errors, closefd=False)
    except OSError:
        return stream


def _directory() -> str | None:
    """The current directory; None if it no longer exists."""
    try:
        # importing pathlib would slow the start
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return None
