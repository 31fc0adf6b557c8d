"""Measured throughput: the work of each row of a file, and the rows that the card bounds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vitcost.config.vit_config import ViTConfig
from vitcost.engine.model import Config
from vitcost.errors import NotCovered, VitcostError
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
from vitcost.hardware.measured_rows import Row
from vitcost.hardware.specs import asked_cards
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Work, total
from vitcost.traced.classifier import head_of
from vitcost.traced.digested import DigestedModel
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import resolve
from vitcost.zoo.timm.tagged import tags

__all__ = [
    "Measurement",
    "Uncovered",
    "by_card",
    "covered",
    "kind_of",
    "other_module",
]


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


def measurement(
    row: Row, users_cards: Mapping[str, Card] | None = None, traced: bool = False
) -> Measurement:
    """A row with its work; ``traced``: also for a model that has no formula but a digest. Raises
    ``VitcostError`` for a model or card that is not known, and for a timing that says nothing about
    a card.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.hardware.work_classes import setup_of
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
        raise NotCovered(f"not covered: {row.model} with images of another size than in its digest")
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

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.hardware.work_classes import setup_of
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

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.hardware.work_classes import setup_of
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

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.hardware.work_classes import setup_of
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
