"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vitcost.errors import ConfigError, shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["whole"]


@contextmanager
def whole(name: str) -> "Iterator[Path]":
    """A path to write to, which is moved over the file at the end, so that no reader sees a half.

    A link is followed; a device or a pipe is written to, not replaced. Raises ``ConfigError`` with
    the reason where the file cannot be written.
    """
    # pathlib brings urllib and ipaddress along, which is more than the whole command line
    from pathlib import Path

    try:
        path = Path(name).resolve()
        if path.exists() and not path.is_file():
            yield path
            return
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"cannot write {shown(name)}: {reason}") from None
