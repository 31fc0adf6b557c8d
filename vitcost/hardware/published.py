"""Reads published timings of any card and software, and says which of them cannot be used.

A row has the columns ``source``, ``model``, ``card``, ``software``, ``quantity``, ``value`` and
``to_si``, the factor that brings the value to seconds or images a second; ``vitcost``, if present,
has the flags that describe the run, as JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vitcost.errors import ConfigError

__all__ = ["COLUMNS", "Printed", "printed"]

COLUMNS = ("source", "model", "card", "software", "quantity", "value", "to_si")
_TIMES = ("seconds", "images_per_second")
_TORCH = re.compile(r"torch (\d+\.\d+)", re.IGNORECASE)
# engines by words in the name of a software; FasterTransformer's TensorRT plugin runs
# FasterTransformer's own kernels
_ENGINES = ("fastertransformer", "aitemplate", "tensorrt")
# reasons why a timing says nothing about a card: by the beginning of the source's name, and by a
# text in its card, precision and software joined together
_UNUSABLE = (
    ("HF vit.md", "", "timed without a synchronization: the same at every batch, printed to 1 ms"),
    ("FlagPerf", "8 x ", "several cards at once"),
    ("FlagPerf", "fp32, tensorrt", "TF32 that is not said: 72 TFLOP/s of a card of 19.5 in fp32"),
    ("FlagPerf", "amp-fp16", "its precision is printed twice, as fp32 and as autocast"),
    ("PLSC", "", "whole runs of several cards with their input pipelines; TF32 unsaid"),
    ("NeMo", "", "several cards at once, in Megatron's layers"),
    ("RADIO", "", "neither batch nor precision is printed"),
)  # fmt: skip


class Printed(NamedTuple):
    """A published timing, translated to a scenario and a config."""

    source: str
    label: str  # source, card, precision and software; rows with one label are scored together
    model: str
    gpu: str
    batch: int
    img_size: int
    images_per_second: float
    flags: tuple[tuple[str, Any], ...]
    reason: str  # the reason why it cannot be used; "" if it can


def printed(lines: Sequence[Mapping[str, str | None]], place: str) -> Iterator[Printed]:
    """The timings of a file; rows of other quantities are left out. Raises ``ConfigError`` with the
    line of a mistake.

    >>> line = {
    ...     "source": "a blog", "model": "vit_base_patch16_224", "card": "t4", "precision": "fp16",
    ...     "software": "torch 1.12 eager", "quantity": "seconds", "value": "20", "to_si": "0.001",
    ...     "batch": "8",
    ... }
    >>> (row,) = printed([line], "timings.csv")
    >>> row.images_per_second, dict(row.flags)["software"], row.reason
    (400.0, '1.12', '')
    """
    for i, line in enumerate(lines):
        says = {key: (value or "").strip() for key, value in line.items() if key}
        if says["quantity"] in _TIMES and says["model"]:
            try:
                yield _printed(says)
            except (ValueError, TypeError, AttributeError) as error:
                raise ConfigError(f"{place}:{i + 2}: {error}") from None


def _printed(says: Mapping[str, str]) -> Printed:
    flags: dict[str, Any] = dict(json.loads(says.get("vitcost") or "{}")) or _columns(says)
    batch = int(says.get("batch") or 0)
    value = float(says["value"]) * float(says["to_si"] or 1)
    if not (value > 0 and batch > 0):
        raise ValueError(f"{says['value']} at batch {batch} cannot be")
    model, gpu = str(flags.pop("model", says["model"])), str(flags.pop("gpu", ""))
    size = says.get("img_size", "")
    if software := _software(says["software"]):
        flags["software"] = software
    flags["mode"] = says.get("mode") or "infer"
    label = ", ".join((says["source"], says["card"], says.get("precision", ""), says["software"]))
    return Printed(
        says["source"],
        label,
        model,
        gpu,
        batch,
        int(size) if size.isdecimal() and "img_size" not in flags else 0,
        batch / value if says["quantity"] == "seconds" else value,
        tuple(sorted(flags.items())),
        unusable(says) or ("" if gpu else "no card is printed that the catalogue knows"),
    )


def _columns(says: Mapping[str, str]) -> dict[str, Any]:
    """The flags of a row that does not list flags itself, from its other columns."""
    attention = says.get("attention", "")
    return {
        "gpu": says["card"],
        "precision": says.get("precision") or "fp32",
        "attention": "eager" if attention == "eager" else "sdpa",
        "compile": says.get("compile") in ("1", "true", "True"),
    }


def _software(text: str) -> str:
    """The version of torch, or the engine, that the name of a software states.

    >>> [_software(text) for text in ("torch 1.12 eager, CUDA 11.6.2", "TensorRT 8.5.1.7", "")]
    ['1.12', 'tensorrt', '']
    """
    plain = text.lower().replace(" ", "")
    engine = next((name for name in _ENGINES if name in plain), "")
    version = _TORCH.search(text)
    return engine or (version[1] if version else "")


def unusable(says: Mapping[str, str]) -> str:
    """The reason why a published timing says nothing about a card; "" if it does say something."""
    words = ", ".join(says.get(key, "") for key in ("card", "precision", "software")).lower()
    for source, part, reason in _UNUSABLE:
        if says["source"].startswith(source) and part in words:
            return reason
    return ""
