"""Files of measured throughput, a row for each timing: timm's benchmark format, a simple CSV, or
published timings of any card and software, some of which cannot be used.

A published timing has the columns ``source``, ``model``, ``card``, ``software``, ``quantity``,
``value`` and ``to_si``, the factor that brings the value to seconds or images a second;
``vitcost``, if present, has the flags that describe the run, as JSON.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.config.flags import apart
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.errors import ConfigError, UnknownName
from vitcost.hardware.work_classes import Setup, setup_of
from vitcost.outside.reading import MEASUREMENTS, read_text

__all__ = ["Row", "printed", "read"]

# prefixes of columns: a file of timm may have inference and training side by side
_PREFIXES = {"": "", "infer_": "infer", "train_": "train"}
# columns with a row's numbers: timm's names first, then the names in a report's JSON
_RATE = ("samples_per_sec", "images_per_second")
_BATCH = ("batch_size", "batch")
_IMAGE = ("img_size",)
_PARAMS = ("param_count", "param_count_M")
# columns that say how a row was measured, with their values if the column is missing
DEFAULTS = {
    "gpu": "",
    "mode": "infer",
    "precision": "amp",
    "layout": "nchw",
    "attention": "sdpa",
    "compile": "0",
    "torch": "",
    # the default of timm's benchmark script
    "optimizer": "sgd-momentum",
    "file": "",
}
_PRECISIONS = {
    **{name: name for name in PRECISIONS},
    # timm/benchmark.py --amp-dtype is float16 by default
    "amp": "amp-fp16", "amp_bfloat16": "amp-bf16", "amp_bf16": "amp-bf16", "amp_fp16": "amp-fp16",
    "float32": "fp32", "half": "fp16",
    "float16": "fp16", "bfloat16": "bf16",
}  # fmt: skip
_COMPILED = {"0": False, "1": True, "false": False, "true": True}
# benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv, as timm names its results
_TIMM_NAME = re.compile(
    r"benchmark-(?P<mode>infer|train)-(?P<precision>[a-z0-9_]+)-(?P<layout>nchw|nhwc)-"
    r"pt(?P<torch>\d{3,4})-(?:cu\d+-)?(?P<gpu>.+?)(?P<compile>-dynamo)?\.csv"
)
# columns of published timings
_PRINTED = ("source", "model", "card", "software", "quantity", "value", "to_si")
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


class Row(NamedTuple):
    """A line of a file: a model, how it ran, and how many images per second it did."""

    file: str
    model: str
    gpu: str
    img_size: int
    batch: int
    images_per_second: float
    setup: Setup
    scenario: Scenario
    overrides: tuple[tuple[str, Any], ...] = ()  # fields unlike the model's own
    source: str = ""  # the publication that printed the timing, if there is one
    unusable: str = ""  # why the timing says nothing about a card
    params: float = 0.0  # millions of parameters, if the file has them


def read(path: "str | Path", **given: str) -> list[Row]:
    r"""The rows of a CSV that have a timing: timm's benchmark format, or columns of these names.

    ``given`` has the facts that are neither in the columns nor in the file's name as timm spells
    it: ``gpu``, ``mode``, ``precision``, ``attention``, ``layout``, ``compile``, ``torch``,
    ``optimizer``. A file of published timings has all of them, and a source, in every row.

    Raises ``UnknownName`` for a column or a value that is not known, ``ConfigError`` for a file
    without timings.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "mine.csv")
    ...     _ = file.write_text("model,batch,images_per_second\nvit_base_patch16_224,64,900\n")
    ...     (row,) = read(file, gpu="l4", precision="amp_bf16")
    >>> row.batch, row.images_per_second, row.scenario.precision
    (64, 900.0, 'amp-bf16')
    """
    for name in given:
        if name not in DEFAULTS:
            raise UnknownName("column", name, DEFAULTS)
    text = read_text(path, MEASUREMENTS)
    try:
        table = csv.DictReader(StringIO(text, newline=""))
        lines, columns = list(table), table.fieldnames or ()
    except csv.Error as error:
        raise ConfigError(f"{path}: not CSV: {error}") from None
    if set(_PRINTED) <= set(columns):
        return list(printed(lines, str(path)))
    named = {**_named(Path(path).name), **given}
    rows = [row for i, line in enumerate(lines) for row in _rows(line, named, f"{path}:{i + 2}")]
    if not rows:
        raise ConfigError(
            f"{path} has no row with a model, a batch size and a rate, of columns model, "
            f"{_BATCH[0]} and {_RATE[0]}; it has: {', '.join(columns) or 'none':.200}"
        )
    return rows


def _named(name: str) -> dict[str, str]:
    """The setup that the name of a file states, if timm named it; else nothing.

    >>> _named("benchmark-infer-amp-nchw-pt2100-cu130-rtx4090-dynamo.csv")["torch"]
    '2.10'
    """
    match = _TIMM_NAME.fullmatch(name)
    if match is None:
        return {}
    says = match.groupdict()
    digits = says["torch"]
    # 1.13 is spelled pt113, 2.4.0 is pt240
    minor = digits[1:] if digits.startswith("1") else digits[1:-1]
    return {**says, "torch": f"{digits[0]}.{minor}", "compile": "1" if says["compile"] else "0"}


def _rows(line: Mapping[str, str | None], flags: Mapping[str, str], place: str) -> Iterator[Row]:
    """One row for each timing in a line."""
    model = (line.get("model") or "").partition(".")[0]
    for prefix, mode in _PREFIXES.items():
        numbers = [
            next((text for name in names if (text := line.get(f"{prefix}{name}"))), None)
            for names in (_RATE, _BATCH, _IMAGE)
        ]
        params = next((text for name in _PARAMS if (text := line.get(name))), None)
        if model and numbers[0] and numbers[1]:
            # a prefix decides the mode, even if a column of the mode says another
            facts = {**flags, **({"mode": mode} if mode else {})}
            yield _row(model, [*numbers, params], _said(line, facts), place)


def _said(line: Mapping[str, str | None], flags: Mapping[str, str]) -> dict[str, str]:
    # dynamo is timm's column for torch.compile
    line = {**line, "compile": line.get("compile") or line.get("dynamo")}
    return {key: flags.get(key) or line.get(key) or value for key, value in DEFAULTS.items()}


def _row(model: str, numbers: Sequence[str | None], says: Mapping[str, str], place: str) -> Row:
    if says["precision"] not in _PRECISIONS:
        raise UnknownName(f"{place}: precision", says["precision"], _PRECISIONS)
    if says["compile"].lower() not in _COMPILED:
        raise UnknownName(f"{place}: compile", says["compile"], _COMPILED)
    if not says["gpu"]:
        raise ConfigError(f"{place}: of which gpu? Give it as one, or as a column")
    try:
        rate, batch, img_size = float(numbers[0] or 0), _whole(numbers[1]), _whole(numbers[2])
        params = float(numbers[3] or 0)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    if not 0 < rate < 1e12:
        raise ConfigError(f"{place}: a rate of {rate} images a second is not possible")
    scenario = Scenario(
        batch=batch,
        mode=says["mode"],
        precision=_PRECISIONS[says["precision"]],
        optimizer=says["optimizer"],
        attention=says["attention"],
        layout=says["layout"],
        platform="cpu" if says["gpu"].startswith("cpu") else "cuda",
        compile=_COMPILED[says["compile"].lower()],
        software=says["torch"],
    )
    file = says["file"] or place.rpartition(":")[0]
    how = setup_of(scenario), scenario
    return Row(file, model, says["gpu"], img_size, batch, rate, *how, params=params)


def _whole(text: str | None) -> int:
    """A whole number; some tools write it as ``256.0``; 0: the cell is empty."""
    whole = (text or "0").strip()
    return int(whole.removesuffix(".0"))


def printed(lines: Sequence[Mapping[str, str | None]], place: str) -> Iterator[Row]:
    """The timings of a file; rows of other quantities are left out. Raises ``ConfigError`` with the
    line of a mistake.

    >>> line = {
    ...     "source": "a blog", "model": "vit_base_patch16_224", "card": "t4", "precision": "fp16",
    ...     "software": "torch 1.12 eager", "quantity": "seconds", "value": "20", "to_si": "0.001",
    ...     "batch": "8",
    ... }
    >>> (row,) = printed([line], "timings.csv")
    >>> row.images_per_second, row.scenario.software, row.unusable
    (400.0, '1.12', '')
    """
    for i, line in enumerate(lines):
        says = {key: (value or "").strip() for key, value in line.items() if key}
        if says["quantity"] in _TIMES and says["model"]:
            try:
                yield _printed(says)
            except (ValueError, TypeError, AttributeError) as error:
                raise ConfigError(f"{place}:{i + 2}: {error}") from None


def _printed(says: Mapping[str, str]) -> Row:
    """A published timing, with flags of the scenario and fields of the config apart."""
    flags: dict[str, Any] = dict(json.loads(says.get("vitcost") or "{}")) or _columns(says)
    batch = int(says.get("batch") or 0)
    value = float(says["value"]) * float(says["to_si"] or 1)
    if not (value > 0 and batch > 0):
        raise ValueError(f"{says['value']} at batch {batch} is not possible")
    model, gpu = str(flags.pop("model", says["model"])), str(flags.pop("gpu", ""))
    size = says.get("img_size", "")
    if software := _software(says["software"]):
        flags["software"] = software
    flags["mode"] = says.get("mode") or "infer"
    label = ", ".join((says["source"], says["card"], says.get("precision", ""), says["software"]))
    said, overrides = apart(dict(sorted(flags.items())))
    scenario = Scenario(batch=batch, **said)
    return Row(
        label,
        model,
        gpu,
        int(size) if size.isdecimal() and "img_size" not in flags else 0,
        batch,
        batch / value if says["quantity"] == "seconds" else value,
        setup_of(scenario),
        scenario,
        tuple(overrides.items()),
        says["source"],
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
