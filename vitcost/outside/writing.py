"""Writes files completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_IMODE, S_ISREG
from typing import TYPE_CHECKING

from vitcost.errors import ConfigError, shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["whole"]


@contextmanager
def whole(name: str) -> "Iterator[Path]":
    """A temporary path to write to, which replaces the file at the end, so that no reader sees half
    a file.

    A link is followed, a device or a pipe is written to directly, and a file keeps its mode. Raises
    ``ConfigError`` with the reason if the file cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with whole(f"{folder}/report.json") as part:
    ...         _ = part.write_text("{}")
    ...     part.exists(), part.with_name("report.json").read_text()
    (False, '{}')
    """
    # pathlib imports urllib and ipaddress, which take longer than the rest of the command line
    from pathlib import Path

    try:
        path = Path(name)
        # a loop of links raises here, before it is followed
        status = _status(path)
        if status is not None and not S_ISREG(status.st_mode):
            yield path
            return
        path = path.resolve()
        # the name is cut, as it may already be as long as the file system allows
        part = path.with_name(f".{path.name[:40]}.{os.getpid()}")
        try:
            yield part
            if status is not None:
                part.chmod(S_IMODE(status.st_mode))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"cannot write {shown(name)}: {reason}") from None


def _status(path: "Path") -> os.stat_result | None:
    """The status of the file at a path, links followed; None if there is no file yet."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
