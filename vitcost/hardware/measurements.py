"""Measured throughput: files of rows, and the model, card and scenario of each row."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.config.flags import apart
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.model import Config
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import CPUS, Card, Peaks
from vitcost.hardware.constants import (
    BEYOND_HOST,
    SLOWER_BY_HOST,
    SLOWEST_HOST,
    Sheet,
    sheet_of,
    terms,
)
from vitcost.hardware.published import COLUMNS, Printed, printed
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Setup, Work, setup_of, total
from vitcost.outside.reading import MEASUREMENTS, read_text
from vitcost.traced.classifier import head_of
from vitcost.traced.digested import DigestedModel
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import resolve
from vitcost.zoo.timm.tagged import tags

__all__ = [
    "Measurement",
    "Row",
    "Uncovered",
    "by_card",
    "covered",
    "kind_of",
    "other_module",
    "read",
]

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


class Measurement(NamedTuple):
    """A measurement together with the work of its step."""

    row: Row
    card: Card
    config: Config
    work: Work
    width: int
    kind: str  # as kind_of gives it

    @property
    def seconds(self) -> float:
        """Of a step: ``batch / images_per_second``."""
        return self.row.batch / self.row.images_per_second

    @property
    def sheet(self) -> Sheet:
        """The card's rates in this setup; ``NotCovered`` where one is not stated."""
        return sheet_of(self.card, self.row.setup)

    def shares(self) -> tuple[tuple[float, ...], float]:
        """The terms of the constants, and the time left for them, as shares of the whole."""
        parts, fixed = terms(self.work, self.sheet, self.row.setup)
        return tuple(part / self.seconds for part in parts), 1 - fixed / self.seconds

    @property
    def slowdown(self) -> float:
        """By which factor a step took longer than its work would at the sheet's rates."""
        parts, _ = self.shares()
        return 1 / sum(parts)

    @property
    def launch_seconds(self) -> float:
        """The mean seconds for one launch."""
        return self.seconds / max(self.work.launches, 1)


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
    if set(COLUMNS) <= set(columns):
        return [_of_printed(row) for row in printed(lines, str(path))]
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
        raise ConfigError(f"{place}: {rate} images a second cannot be")
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


def _of_printed(row: Printed) -> Row:
    """A published timing as a line, with flags of the scenario and fields of the config apart."""
    flags, overrides = apart(dict(row.flags))
    scenario = Scenario(batch=row.batch, **flags)
    return Row(
        row.label,
        row.model,
        row.gpu,
        row.img_size,
        row.batch,
        row.images_per_second,
        setup_of(scenario),
        scenario,
        tuple(overrides.items()),
        row.source,
        row.reason,
    )


def _whole(text: str | None) -> int:
    """A whole number; some tools write it as ``256.0``; 0: the cell is empty."""
    whole = (text or "0").strip()
    return int(whole.removesuffix(".0"))


def measurement(
    row: Row, users_cards: Mapping[str, Card] | None = None, traced: bool = False
) -> Measurement:
    """A row with its work; ``traced``: also for a model that has no formula but a digest. Raises
    ``VitcostError`` for a model or card that is not known, and for a timing that says nothing about
    a card.

    >>> scenario = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> what = "timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15
    >>> timed = measurement(Row(*what, setup_of(scenario), scenario))
    >>> round(timed.seconds, 3), timed.work.flops == 1024 * 35_127_656_448
    (0.367, True)
    """
    if row.unusable:
        raise NotCovered(row.unusable)
    config = resolve(row.model).config
    if isinstance(config, DigestedModel) and (other := other_module(row, config)):
        raise NotCovered(other)
    if row.img_size and isinstance(config, DigestedModel) and not config.takes(row.img_size):
        # another size would need a new trace, which takes seconds for each row
        raise NotCovered(f"not covered: {row.model} of another size than its digest")
    overrides = {"img_size": row.img_size} if row.img_size else {}
    if overrides or row.overrides:
        config = resolve(row.model, **overrides, **dict(row.overrides)).config
    if hasattr(config, "workload") and not (traced and isinstance(config, DigestedModel)):
        raise NotCovered(f"not covered: {row.model}, which no formula describes")
    width = getattr(config, "embed_dim", 0)
    timed = _card(row, users_cards)
    done = total(work(config, on_card(row.scenario, timed), row.setup))
    return Measurement(row, timed, config, done, width, kind_of(config))


def other_module(row: Row, config: DigestedModel) -> str:
    """Why a row timed another module than its name's; empty if it has as many parameters, with the
    default classes, without classes, or with the classes of one of the name's tags.

    timm's files of torch 2.9 have models whose branches were folded into one: RepVGG, MobileOne,
    RepViT, FastViT, LeViT and others.

    >>> scenario = Scenario(batch=1024, precision="amp-fp16", software="2.9")
    >>> timed = "timm", "mobileone_s2", "rtx5090", 224, 1024, 13082.6, setup_of(scenario), scenario
    >>> other_module(Row(*timed, params=7.88), resolve("mobileone_s2").config)
    ''
    >>> other_module(Row(*timed, params=7.81), resolve("mobileone_s2").config)
    'a timing of another module: 7.81 M parameters, mobileone_s2 has 7.88 M'
    """
    digest, known = config.digest, config.digest.entry.params
    if not row.params or row.params == round(known / 1e6, 2):
        return ""
    head = head_of(digest)
    if head is not None:
        classes = {0, *(tag.num_classes for tag in tags(row.model).values())}
        others = (known + (n - head.traced) * (head.inputs + head.bias) for n in classes)
        if row.params in {round(count / 1e6, 2) for count in others}:
            return ""
    its = f"{row.model} has {known / 1e6:.2f} M"
    return f"a timing of another module: {row.params:g} M parameters, {its}"


def kind_of(config: Config) -> str:
    """The kind of a model, which decides the band.

    ``plain``: the shipped constants are fitted to it; ``hybrid``: with a convolutional backbone;
    ``other``: Eva, Beit; ``text``: it reads text, also as one of two towers; ``traced``: no formula
    describes it.

    >>> [kind_of(resolve(name).config) for name in ("vit_base_patch16_224", "vit_base_r50_s16_224")]
    ['plain', 'hybrid']
    """
    if isinstance(config, TracedModel):
        return "traced"
    if not isinstance(config, ViTConfig):
        return "text"
    if config.backbone:
        return "hybrid"
    return "plain" if config.model_class == "VisionTransformer" else "other"


def _card(row: Row, users_cards: Mapping[str, Card] | None) -> Card:
    if row.setup.platform == "cpu":
        # a processor needs no sheet: its constants are rates themselves
        return {**CPUS, **(users_cards or {})}.get(row.gpu) or Card(row.gpu, "CPU", Peaks())
    return asked_cards(row.gpu, users_cards)[0]


def by_card(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements of a file that the card bounds, without those that its host bounds.

    Every step takes at least the host's time, so the least time per launch is an upper bound of the
    host's. Steps near that time are bound by the host if they take longer for their work than
    others.

    >>> scenario = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> what = "timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15
    >>> timed = measurement(Row(*what, setup_of(scenario), scenario))
    >>> len(by_card([timed]))
    1
    """
    least = min(m.launch_seconds for m in measurements)
    beyond = [m.slowdown for m in measurements if m.launch_seconds >= BEYOND_HOST * least]
    if least > SLOWEST_HOST or not beyond:
        return list(measurements)
    most = SLOWER_BY_HOST * sorted(beyond)[len(beyond) // 2]
    return [
        m for m in measurements if m.launch_seconds >= BEYOND_HOST * least or m.slowdown <= most
    ]


class Uncovered(NamedTuple):
    """A row that cannot be predicted, and the reason."""

    row: Row
    reason: str


def covered(
    rows: Iterable[Row], users_cards: Mapping[str, Card] | None = None, traced: bool = False
) -> tuple[list[Measurement], list[Uncovered]]:
    """The rows whose model and card are covered, and the other rows; ``traced`` as in
    ``measurement``.

    >>> how, names = (setup_of(Scenario()), Scenario()), ("vit_base_patch16_224", "vit")
    >>> rows = [Row("f", name, "l4", 224, 1, 100.0, *how) for name in names]
    >>> known, others = covered(rows)
    >>> len(known), [each.row.model for each in others]
    (1, ['vit'])
    """
    known: list[Measurement] = []
    others: list[Uncovered] = []
    for row in rows:
        try:
            known.append(measurement(row, users_cards, traced))
        except VitcostError as error:
            others.append(Uncovered(row, str(error)))
    return known, others
