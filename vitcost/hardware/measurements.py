"""Measured throughput: reading it, and what each measurement was of."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.hardware.cards import Card, Peaks
from vitcost.hardware.constants import Sheet, sheet_of, terms
from vitcost.hardware.specs import card
from vitcost.hardware.work import Setup, Work, setup_of, total, work
from vitcost.scenario import Scenario
from vitcost.zoo import resolve

__all__ = ["Measurement", "Row", "measurement", "read"]

# what the columns are called, here and in timm's own benchmark files
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model",),
    "rate": ("samples_per_sec", "infer_samples_per_sec", "train_samples_per_sec"),
    "batch": ("batch_size", "infer_batch_size", "train_batch_size"),
    "img_size": ("img_size", "infer_img_size", "train_img_size"),
}
# what a row may say of how it was measured, and what holds where nothing does
DEFAULTS = {
    "gpu": "",
    "mode": "infer",
    "precision": "amp",
    "layout": "nchw",
    "dynamo": "0",
    "torch": "",
    # timm's benchmark script, unless told
    "optimizer": "sgd-momentum",
    "file": "",
}
_PRECISIONS = {"amp": "amp-bf16", "fp32": "fp32", "float32": "fp32", "half": "bf16"}
_TRAINED = "train_samples_per_sec"


class Row(NamedTuple):
    """A line of a file: a model, how it was run, and how many images a second it did."""

    file: str
    model: str
    gpu: str
    img_size: int
    batch: int
    images_per_second: float
    setup: Setup
    scenario: Scenario


class Measurement(NamedTuple):
    """A measurement whose work is known."""

    row: Row
    card: Card
    work: Work
    width: int
    kind: str  # as kind_of tells it

    @property
    def seconds(self) -> float:
        return self.row.batch / self.row.images_per_second

    @property
    def sheet(self) -> Sheet:
        return sheet_of(self.card, self.row.setup)

    def shares(self) -> tuple[tuple[float, ...], float]:
        """What the constants multiply, and the time that is left for them, in shares of it all."""
        parts, fixed = terms(self.work, self.sheet, self.row.setup)
        return tuple(part / self.seconds for part in parts), 1 - fixed / self.seconds


def read(path: "str | Path", **given: str) -> list[Row]:
    """The rows of a CSV that have a timing: timm's benchmark format, or columns of these names.

    ``given`` says what the file does not: ``gpu``, ``mode``, ``precision``, ``layout``, ``dynamo``
    (1: compiled), ``torch``, ``optimizer``.
    """
    for name in given:
        if name not in DEFAULTS:
            raise UnknownName("column", name, DEFAULTS)
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is not CSV: {error}") from None
    rows = [row for i, line in enumerate(lines) for row in _row(line, given, f"{path}:{i + 2}")]
    if not rows:
        raise ConfigError(f"{path} has no row with a model, a batch size and a rate")
    return rows


def _row(line: Mapping[str, str | None], given: Mapping[str, str], place: str) -> Iterator[Row]:
    found = {
        key: next((line[name] for name in names if line.get(name)), None)
        for key, names in _COLUMNS.items()
    }
    if not found["model"] or not found["rate"] or not found["batch"]:
        return
    trained = "train" if line.get(_TRAINED) else ""
    says = {
        key: given.get(key) or line.get(key) or (trained if key == "mode" else "") or default
        for key, default in DEFAULTS.items()
    }
    if says["precision"] not in _PRECISIONS:
        raise UnknownName(f"{place}: precision", says["precision"], _PRECISIONS)
    try:
        batch, rate = int(found["batch"]), float(found["rate"])
        img_size = int(found["img_size"] or 0)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    if not 0 < rate < 1e12:
        raise ConfigError(f"{place}: {rate} images a second cannot be")
    scenario = Scenario(
        batch=batch,
        mode=says["mode"],
        precision=_PRECISIONS[says["precision"]],
        optimizer=says["optimizer"],
        layout=says["layout"],
        platform="cpu" if says["gpu"].startswith("cpu") else "cuda",
        compile=says["dynamo"] == "1",
        software=says["torch"],
    )
    setup = setup_of(scenario)
    model = found["model"].partition(".")[0]
    yield Row(says["file"] or place.partition(":")[0], model, says["gpu"], img_size, batch, rate,
              setup, scenario)  # fmt: skip


def measurement(row: Row, own: Mapping[str, Card] | None = None) -> Measurement:
    """A row with its work. Raises ``VitcostError`` for a model or card that is not known."""
    overrides = {"img_size": row.img_size} if row.img_size else {}
    config = resolve(row.model, **overrides).config
    width = getattr(config, "embed_dim", 0)
    done = total(work(config, row.scenario, row.setup))
    return Measurement(row, _card(row, own), done, width, kind_of(config))


def kind_of(config: Config) -> str:
    """``plain``: what the shipped constants are fitted to; ``hybrid``: with a convolutional
    backbone; ``other``: Eva, Beit, text."""
    if getattr(config, "backbone", ""):
        return "hybrid"
    return "plain" if getattr(config, "model_class", "") == "VisionTransformer" else "other"


def _card(row: Row, own: Mapping[str, Card] | None) -> Card:
    # a processor needs no sheet: its constants are rates
    return Card(row.gpu, "CPU", Peaks()) if row.setup.platform == "cpu" else card(row.gpu, own)


def covered(
    rows: Iterable[Row], own: Mapping[str, Card] | None = None
) -> tuple[list[Measurement], list[Row]]:
    """The rows whose model is covered, and the others."""
    known: list[Measurement] = []
    others: list[Row] = []
    for row in rows:
        try:
            known.append(measurement(row, own))
        except (NotCovered, UnknownName):
            others.append(row)
    return known, others
