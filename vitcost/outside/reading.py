"""The user's files, read as data: regular files, limited in size and depth, never executed.

Every file is read by ``read_text``, ``read_json`` or ``read_toml``. A file may come from somebody
else (a pull request brings its own), so none may block, fill the memory or run long.

pathlib is not imported here, since it takes longer than the rest of the command line.
"""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from math import isfinite
from typing import IO, TYPE_CHECKING, Any

from vitcost.config.records import Record
from vitcost.errors import ConfigError, shown

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AT_COMMIT",
    "BASELINE",
    "BUDGETS",
    "CALIBRATION",
    "MEASUREMENTS",
    "MODEL",
    "MODEL_TOML",
    "OWN_CARDS",
    "PRICES",
    "REPORT",
    "Kind",
    "NoSuchFile",
    "exists",
    "parse_json",
    "parse_toml",
    "read_json",
    "read_text",
    "read_toml",
]

# tomllib's time grows with the square of a dotted key's length
_MAX_DOTS = 32
# an empty table takes 3 letters in a file, and 64 bytes in memory
_MAX_TABLES = 10**6
# json recurses for each level, and a browser's Python does not survive the end of its stack
_MAX_OPEN = 200
# Python prints at most 4,300 digits of an integer
_MAX_BITS = 14_000
# no path that the system accepts is longer
_MAX_PATH = 4096

_JSON_TEXT = re.compile(r'"(?:\\.|[^"\\])*+"', re.DOTALL)
_JSON_BRACKETS = re.compile(r"[\[\]{}]+")
# strings and comments of TOML; a string without an end reaches to the end of the text
_TOML_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
# the letters of a dotted key, in which a string was replaced by one letter
_TOML_KEY = re.compile(r"[\w \t.-]+")
_GZIP = b"\x1f\x8b"


class NoSuchFile(ConfigError):
    """There is no file at a path."""


class Kind(Record):
    """Files of one use: a word for messages, the most bytes after unpacking, and how deep tables
    and lists may be nested."""

    noun: str
    most: int
    depth: int = 16  # a CLIP's config nests two or three tables in its outermost one


# a config with 21,843 labels takes 2 MB
MODEL = Kind("model's config", 4 * 2**20)
MODEL_TOML = Kind("model's config", 64 * 2**10)
# a pyproject.toml of a large project takes 100 kB
BUDGETS = Kind("file of budgets", 2**20)
OWN_CARDS = Kind("file of cards", 2**20)
PRICES = Kind("file of prices", 2**20)
CALIBRATION = Kind("calibration", 2**20)
BASELINE = Kind("baseline", 8 * 2**20)
# a layer inside another is two levels more
REPORT = Kind("saved report", 8 * 2**20, depth=64)
# the models of a commit, with a report each
AT_COMMIT = Kind("answer for a commit", 32 * 2**20, depth=64)
# timm's results take 200 kB per file
MEASUREMENTS = Kind("file of measurements", 8 * 2**20)


def exists(path: str) -> bool:
    """Whether there is a file at a path; a text that cannot be a path gives False.

    >>> exists("."), exists("x" * 100_000), exists("a" * 300), exists("a\\0b")
    (True, False, False, False)
    """
    try:
        return len(path) < _MAX_PATH and os.path.exists(path)  # noqa: PTH110
    except (OSError, ValueError):
        return False


def read_text(path: "str | Path", kind: Kind) -> str:
    r"""The text of a file, without a byte order mark; a gzipped file is unpacked.

    Raises ``ConfigError`` with the path and the reason: no such file, a directory, a pipe or a
    device, too large, not UTF-8.

    >>> from tempfile import TemporaryDirectory
    >>> from pathlib import Path
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "prices.toml")
    ...     _ = file.write_text("[price]\nl4 = 0.8\n", encoding="utf-8-sig")
    ...     read_text(file, PRICES)
    '[price]\nl4 = 0.8\n'
    """
    if len(str(path)) > _MAX_PATH:
        raise ConfigError(f"{shown(str(path))}: cannot be read: File name too long")
    content = _unpacked(_content(path, kind), path, kind)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None


def read_json(path: "str | Path", kind: Kind) -> dict[str, Any]:
    """The table in a JSON file.

    >>> read_json("no/such/config.json", MODEL)
    Traceback (most recent call last):
    vitcost.outside.reading.NoSuchFile: no/such/config.json: no such file
    """
    return parse_json(path, read_text(path, kind), kind)


def read_toml(path: "str | Path", kind: Kind) -> dict[str, Any]:
    r"""The table in a TOML file. Raises ``ConfigError`` with the path and the reason if there is
    none.

    >>> from tempfile import TemporaryDirectory
    >>> from pathlib import Path
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "prices.toml")
    ...     _ = file.write_text("[price]\nl4 = 0.8\n")
    ...     read_toml(file, PRICES)
    {'price': {'l4': 0.8}}
    """
    return parse_toml(path, read_text(path, kind), kind)


def parse_json(path: "str | Path", text: str, kind: Kind) -> dict[str, Any]:
    """The table in JSON text: each key once, numbers finite, and not deeper than its kind allows.

    >>> parse_json("baseline.json", '{"schema": 1}', BASELINE)
    {'schema': 1}
    >>> parse_json("baseline.json", '{"schema": 1, "schema": 2}', BASELINE)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: baseline.json: not JSON: the key 'schema' occurs twice
    """
    if not text or text.isspace():
        raise ConfigError(f"{path}: is empty")
    if text.count("[") + text.count("{") > _MAX_TABLES:
        raise ConfigError(f"{path}: holds more than {_MAX_TABLES:,} tables and lists")
    if _opens(text, kind.depth) > _MAX_OPEN:
        raise _too_deep(path, kind)
    hooks: dict[str, Any] = {"object_pairs_hook": _unique, "parse_constant": _no_number}
    return _parsed(path, kind, "JSON", lambda: json.loads(text, parse_float=_finite, **hooks))


def parse_toml(path: "str | Path", text: str, kind: Kind) -> dict[str, Any]:
    """The table in TOML text: numbers finite, keys and values not deeper than its kind allows.

    >>> parse_toml("x.toml", "a." * 60_000 + "a = 1", OWN_CARDS)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: x.toml: nested deeper than 16 levels
    """
    # imported late: it costs 3 ms of a start
    import tomllib

    # the dots of a key are counted before tomllib reads it, since its time is their square
    bare = _TOML_TEXT.sub(lambda token: "" if token[0][0] == "#" else "s", text)
    if any(key[0].count(".") > _MAX_DOTS for key in _TOML_KEY.finditer(bare)):
        raise _too_deep(path, kind)
    return _parsed(path, kind, "TOML", lambda: tomllib.loads(text, parse_float=_finite))


def _parsed(
    path: "str | Path", kind: Kind, language: str, parse: Callable[[], Any]
) -> dict[str, Any]:
    try:
        data = parse()
    except RecursionError:
        raise _too_deep(path, kind) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not {language}: {str(error).strip()}") from None
    return _table(path, data, kind)


def _opens(text: str, depth: int) -> int:
    """Whether tables and lists are nested deeper than ``depth``, or are never closed."""
    if text.count("[") + text.count("{") <= _MAX_OPEN:
        return 0
    brackets = "".join(_JSON_BRACKETS.findall(_JSON_TEXT.sub("", text)))
    for _ in range(depth):
        brackets = brackets.replace("[]", "").replace("{}", "")
    return brackets.count("[") + brackets.count("{")


def _content(path: "str | Path", kind: Kind) -> bytes:
    """The bytes of a regular file, no more than its kind may have."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
        if stat.S_ISDIR(mode):
            from pathlib import Path

            inside = Path(path) / "config.json"
            hint = f"; it holds {inside}" if inside.is_file() else ""
            raise ConfigError(f"{path}: is a directory{hint}")
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path}: is not a regular file")
        with _opened(path) as stream:
            content = stream.read(kind.most + 1)
    except FileNotFoundError:
        raise NoSuchFile(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    if content is None:
        # a log of the kernel claims to be a regular file, but reading waits for its next line
        raise ConfigError(f"{path}: is not a regular file")
    return _bounded(content, path, kind)


def _opened(path: "str | Path") -> IO[bytes]:
    """An open file; opening it never waits."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return open(path, "rb", opener=lambda name, _: os.open(name, flags))


def _unpacked(content: bytes, path: "str | Path", kind: Kind) -> bytes:
    if not content.startswith(_GZIP):
        return content
    import zlib

    # a gzip bomb is unpacked only up to the size that a file may have
    packed = zlib.decompressobj(wbits=31)
    try:
        unpacked = packed.decompress(content, kind.most + 1)
    except zlib.error as error:
        raise ConfigError(f"{path}: not gzip: {error}") from None
    unpacked = _bounded(unpacked, path, kind)
    if not packed.eof:
        raise ConfigError(f"{path}: not gzip: it ends early")
    return unpacked


def _bounded(content: bytes, path: "str | Path", kind: Kind) -> bytes:
    if len(content) > kind.most:
        raise ConfigError(f"{path}: larger than {kind.most:,} bytes, so no {kind.noun}")
    return content


def _table(path: "str | Path", data: Any, kind: Kind) -> dict[str, Any]:
    """The data, if it is a table that any code may process and any message may show."""
    level, depth = [data], 0
    while level and depth <= kind.depth:
        # level by level, since recursion has a limit
        below: list[Any] = []
        for value in chain.from_iterable(map(_inside, level)):
            kind_of = type(value)
            if kind_of is dict or kind_of is list:
                below.append(value)
            elif kind_of is int and value.bit_length() > _MAX_BITS:
                # Python's own limit on decimal digits does not hold for hexadecimal ones
                raise ConfigError(f"{path}: an integer of more than {_MAX_BITS:,} bits")
        level, depth = below, depth + 1
    if depth > kind.depth:
        raise _too_deep(path, kind)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds {shown(data)}, not a table of keys")
    return data


def _inside(data: Any) -> Iterable[Any]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def _too_deep(path: "str | Path", kind: Kind) -> ConfigError:
    return ConfigError(f"{path}: nested deeper than {kind.depth} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return table


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _no_number(text[:40])
