"""Digests of many names as one file, which ``vitcost.traced.digest`` reads."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from condense import Named

from vitcost.outside.writing import whole
from vitcost.traced.digest import SCHEMA, Refused

__all__ = ["pack"]

# deflate looks back so far
_DICTIONARY = 2**15


def pack(
    path: Path,
    library: str,
    torch: str,
    names: Mapping[str, Named],
    refused: Mapping[str, Refused] = MappingProxyType({}),
) -> int:
    """Writes a file, the same bytes for the same digests, and returns how many."""
    blocks = {name: _text(each.block) for name, each in sorted(names.items())}
    dictionary = _dictionary(list(blocks.values()))
    packed = {name: _compressed(block, dictionary) for name, block in blocks.items()}
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "library": library,
        "torch": torch,
        "dictionary": len(dictionary),
        "names": [[name, *names[name][:4], len(packed[name])] for name in packed],
    }
    rows = [row for name, row in sorted(refused.items()) if name not in names]
    if rows:
        head["refused"] = rows
    content = _text(head) + b"\n" + dictionary + b"".join(packed.values())
    with whole(str(path)) as part:
        part.write_bytes(content)
    return len(content)


def _text(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def _compressed(block: bytes, dictionary: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zdict=dictionary)
    return squeeze.compress(block) + squeeze.flush()


def _dictionary(blocks: list[bytes]) -> bytes:
    """The beginnings of some blocks, far apart in the list: what many have in common."""
    several = blocks[:: max(1, len(blocks) // 8)][:8]
    share = _DICTIONARY // max(1, len(several))
    return b"".join(block[:share] for block in several)
