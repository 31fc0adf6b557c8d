"""A saved report, read back and checked: its schema, the range of its numbers, and its sums."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from vitcost.costs.saved.valid import Fault, fault
from vitcost.errors import ConfigError, shown
from vitcost.outside.reading import REPORT, read_json

__all__ = ["SCHEMA", "check", "read"]

SCHEMA = "vitcost.report/1"
# the parts of a report that contain counts, bytes and seconds
_NUMBERS = ("tokens", "params", "flops", "bytes_moved", "memory", "time", "layers")
# headroom may be negative
_SIGNED = ("headroom_bytes",)
# larger than any number of an allowed config, and small enough that ratios are still floats
_MOST = 10**100
# no name is longer, as no path is
_LETTERS = 4096


def read(path: str) -> dict[str, Any] | None:
    """The JSON of a saved report; None for JSON that does not say that it is a report.

    Raises ``ConfigError`` with the key for a report that contradicts its schema, that has an
    impossible number, or whose layers do not add up to its totals.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile(suffix=".json") as file:
    ...     _ = file.write(b'{"embed_dim": 768}')
    ...     file.flush()
    ...     read(file.name) is None
    True
    """
    data = read_json(path, REPORT)
    if data.get("schema") != SCHEMA:
        return None
    check(data, path)
    return data


def check(data: Mapping[str, Any], name: str) -> None:
    """Raises ``ConfigError`` if data is not a report that this version could have written.

    >>> from vitcost import report
    >>> data = report("vit_base_patch16_224").to_dict()
    >>> check(data, "base.json")
    >>> check({**data, "params": None}, "base.json")
    Traceback (most recent call last):
    vitcost.errors.ConfigError: base.json: not a report in schema vitcost.report/1: ...
    """
    # the answer of `check`, against the real model, is not part of a report
    checked = {key: value for key, value in data.items() if key != "check"}
    wrong = fault(checked, _schema())
    if wrong is None:
        wrong = next((each for key in _NUMBERS for each in _odd(data[key], (key,))), None)
    if wrong is None:
        wrong = next(_sums(data), None)
    if wrong is not None:
        raise ConfigError(
            f"{name}: not a report in schema {SCHEMA}: {wrong}; "
            "`vitcost report MODEL --json -o FILE` writes one"
        )


@lru_cache
def _schema() -> dict[str, Any]:
    # imported only here: the types of a report and of its parts, for a schema
    from vitcost.costs.saved.generate import schema_of
    from vitcost.costs.saved.report_json import Report

    return schema_of(SCHEMA, Report)


def _odd(data: Any, path: tuple["str | int", ...]) -> Iterator[Fault]:
    """Wrong values: negative counts, numbers too large for any model, texts that are too long."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _odd(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _odd(value, (*path, i))
    elif isinstance(data, str):
        if len(data) > _LETTERS:
            yield Fault(path, f"has {len(data):,} letters, more than the {_LETTERS:,} allowed")
    elif data is not None:
        # the error of a rule of thumb may be negative, but no count or time may
        counted = isinstance(data, int) or str(path[-1]).endswith(("seconds", "per_second"))
        signed = not counted or path[-1] in _SIGNED
        if abs(data) > _MOST or (data < 0 and not signed):
            yield Fault(path, f"is not a number that a report can have, got {shown(data)}")


def _sums(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Totals of a report with formulas that its layers or parts do not add up to."""
    names = data["model"]["name"], data["model"]["source"]
    if any(len(name) > _LETTERS for name in names):
        yield Fault(("model", "name"), "is a text that nobody reads")
    if data["model"]["basis"] != "formula":
        return
    parts = sum(data["params"]["by_part"].values())
    for path, total, added in (
        (("params", "by_part"), data["params"]["total"], parts),
        (("layers",), data["params"]["total"], _sum(data["layers"], "params")),
        (("layers",), data["flops"]["forward"], _sum(data["layers"], "flops")),
    ):
        if total != added:
            yield Fault(path, f"add up to {shown(added)}, not to {shown(total)}")


def _sum(layers: list[dict[str, Any]], number: str) -> int:
    return sum(layer["repeat"] * layer[number] for layer in layers)
