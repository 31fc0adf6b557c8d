"""Constants of a card without measurements in a mode, from cards that were measured in it.

The *usual* constants of a mode are the mean over the cards that timm's files cover, which are
GeForce cards. For a card of another kind all constants are multiplied by one factor: models,
batches and sources of published timings of data-centre cards agree on it. A card that was never
timed takes the factor of cards of its kind.
"""

from collections.abc import Iterable, Sequence
from math import exp, log
from typing import NamedTuple

from vitcost.hardware.cards import CARDS, Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.work_classes import Setup

__all__ = [
    "REACHED",
    "Kin",
    "is_geforce",
    "kin_of",
    "mean_factor",
    "nearest_of",
    "typical",
    "usual",
    "vector",
]

# TFLOP/s in half precision that a card was measured to reach: the fastest matrix product of any
# shape ("mamf", stas00/ml-engineering@744d01e18 compute/accelerator/README.md)
REACHED = {
    "a100-sxm-80gb": 271.2, "a100-pcie-80gb": 252.9, "h100-sxm": 794.5, "b200": 1745.0,
    "gb200": 1822.0, "b300": 1769.0, "mi300x": 668.4, "mi325x": 784.9, "mi355x": 1565.0,
}  # fmt: skip
# the share of the sheet's peak that other cards of a vendor reach: the median of those above; a
# GeForce runs at a higher clock than its sheet states
_SHARES = {"NVIDIA": 0.80, "AMD": 0.60, "Google": 0.80}
# cards whose power limit is too low for their tensor cores: 300 W for a die made for 600
# (fixstars), whose ViTs reach 0.45 of the sheet (timm benchmark files @aa4b5850)
_CAPPED = {"rtx-pro-6000-maxq": 0.535, "rtx-pro-6000-server": 0.6, "l40s": 0.6, "l4": 0.6,
           "rtx-a6000": 0.6, "a10": 0.6, "a40": 0.6, "t4": 0.6}  # fmt: skip
# server boards with graphics memory, with a fraction of the power of a GeForce or an A100
_BOARDS = ("t4", "a10", "a10g", "a40", "rtx-a6000", "l4", "l40", "l40s")
# fp32 products run on vector units, of which these architectures have 64 lanes in a multiprocessor;
# later ones have 128, which share the same registers and reach a smaller share of their sheet
_NARROW = ("7.0", "8.0")
# constants for fp32 before any factor: a product at its peak, attention at 1.2 as in half
# precision, memory at 1
_VECTOR = (1.0, 1.2, 1.0, 0.0, 0.0)


def vector(setup: Setup) -> bool:
    """Whether products run on vector units, as products in fp32 do; measurements of matrix units
    say nothing about them.

    >>> vector(Setup("fp32")), vector(Setup("amp"))
    (True, False)
    """
    return setup.precision == "fp32"


def usual(setup: Setup, known: Sequence[Calibration]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The usual constants of a mode over all measured cards, with notes.

    The mean over cards, each in the software nearest to the one asked for; a card's own deviation
    from the common κ and σ is left out. Source: timm's benchmark files.

    >>> from vitcost.hardware.calibrations import CALIBRATIONS
    >>> constants, notes = usual(Setup("amp"), CALIBRATIONS)
    >>> [0.8 < constant < 1.3 for constant in constants], notes
    ([True, True, True, False, False], ())
    """
    if vector(setup):
        return _VECTOR, ()
    modes = (
        (setup.training, setup.compiled),
        # a mode without measurements takes the constants of the nearest other mode
        (setup.training, not setup.compiled),
        (not setup.training, setup.compiled),
    )
    whole = [c for c in known if c.setup.platform == "cuda" and c.factor is None]
    of_modes = [
        [c for c in whole if _mode(c.setup) == mode and not vector(c.setup)] for mode in modes
    ]
    rows = next(filter(None, of_modes), [])
    notes = () if of_modes[0] else ("no benchmark has this mode, on any card",)
    alike = [c for c in rows if c.setup.attention == setup.attention]
    far_first = sorted(
        alike or rows, key=lambda c: (-setup.apart(c.setup.torch), c.setup.layout == setup.layout)
    )
    nearest = {c.gpu: c for c in far_first}
    gemm, attention, memory = (
        sum(c.constants[i] for c in nearest.values()) / len(nearest) for i in range(3)
    )
    return (gemm, attention, memory, 0.0, 0.0), notes


def typical(
    row: Card, setup: Setup, known: Sequence[Calibration]
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The usual constants of a mode, with products slowed down as far as is known for a card:
    ``constant · sheet / reached``, at least 1. Source: ``REACHED``.

    >>> from vitcost.hardware.calibrations import CALIBRATIONS
    >>> from vitcost.hardware.specs import card
    >>> h100, _ = typical(card("h100-sxm"), Setup("amp"), CALIBRATIONS)
    >>> (gemm, *_), _ = usual(Setup("amp"), CALIBRATIONS)
    >>> round(h100[0] / gemm, 3) == round(989.4 / 794.5, 3)  # the sheet's TFLOP/s and those reached
    True
    """
    (gemm, attention, memory, *rest), notes = usual(setup, known)
    slower = 1.0 if vector(setup) else _slower(row)
    # the measured cards are GeForces; no other card computes faster than its sheet states
    fastest = 0.0 if is_geforce(row) else 1.0
    products = (max(constant * slower, fastest) for constant in (gemm, attention))
    return (*products, memory, *rest), notes


class Kin(NamedTuple):
    """By which factor cards of a kind are slower than usual, and which cards these are."""

    factor: float
    cards: tuple[str, ...]
    rows: int
    near: bool  # whether they have the same architecture
    kindred: bool  # whether they are at least of the same kind


def kin_of(row: Card, setup: Setup, known: Sequence[Calibration]) -> Kin | None:
    """The factor of cards of a card's kind, if possible of the same architecture: the geometric
    mean over these cards. None if no timed card is similar.

    >>> from vitcost.hardware.calibrations import shipped
    >>> from vitcost.hardware.specs import card
    >>> kin = kin_of(card("h100-sxm"), Setup("amp"), shipped(card("h100-sxm")))
    >>> kin.kindred, kin.near, "a100-sxm-40gb" in kin.cards
    (True, False, True)
    """
    kind = _kind(row, setup)
    timed = [
        c
        for c in known
        if c.factor is not None
        and c.gpu != row.name
        and c.gpu in CARDS
        and vector(c.setup) == vector(setup)
    ]
    # in fp32 cards of other kinds count too, if no card of the same kind was timed
    kindred = [c for c in timed if _kind(CARDS[c.gpu], setup) == kind != ""]
    timed = kindred or (timed if vector(setup) else [])
    trained = [c for c in timed if c.setup.training == setup.training]
    if not trained and (vector(setup) or not setup.training):
        # a training step in fp32 has the same factor as inference
        trained = timed
    alike = [c for c in trained if CARDS[c.gpu].architecture == row.architecture]
    if not trained:
        return None
    cards = tuple(dict.fromkeys(c.gpu for c in alike or trained))
    factors, rows = [], 0
    for name in cards:
        of_card = [c for c in trained if c.gpu == name]
        # for a card of the same architecture the nearest software is taken; for any other the
        # median of all its software
        nearest = nearest_of(setup, of_card) if alike else [_middle(of_card)]
        rows += sum(c.rows for c in nearest)
        # some cards are known to reach a smaller share of their sheet than others
        slower = 1.0 if vector(setup) else _slower(row) / _slower(CARDS[name])
        factors.append(mean_factor(nearest) * slower)
    return Kin(exp(sum(map(log, factors)) / len(factors)), cards, rows, bool(alike), bool(kindred))


def _middle(calibrations: Sequence[Calibration]) -> Calibration:
    """The calibration of a card with the median factor; of two in the middle, the faster one."""
    ordered = sorted(calibrations, key=lambda c: c.factor or 0.0)
    return ordered[(len(ordered) - 1) // 2]


def mean_factor(calibrations: Iterable[Calibration]) -> float:
    """The geometric mean ``(Π f)^(1/n)`` of n factors f; a factor says by how much a card is slower
    than usual.

    >>> rows = [Calibration("a", Setup("amp"), (), 1, 0.0, None, 0.1, factor=f) for f in (1.0, 4.0)]
    >>> round(mean_factor(rows), 6)
    2.0
    """
    logs = [log(c.factor) for c in calibrations if c.factor is not None]
    return exp(sum(logs) / len(logs))


def nearest_of(setup: Setup, calibrations: Sequence[Calibration]) -> list[Calibration]:
    """The calibrations whose software is nearest to a setup's; all of them if several are equally
    near.

    >>> setups = Setup("amp"), Setup("amp", compiled=True), Setup("amp", training=True)
    >>> rows = [Calibration("a", setup, (), 1, 0.0, None, 0.1) for setup in setups]
    >>> [row.setup.compiled for row in nearest_of(Setup("amp", compiled=True), rows)]
    [True]
    """

    def apart(c: Calibration) -> tuple[bool, ...]:
        one = c.setup
        return (
            one.training != setup.training,
            one.compiled != setup.compiled,
            one.attention != setup.attention,
            one.engine != setup.engine,
        )

    least = min(map(apart, calibrations))
    return [c for c in calibrations if apart(c) == least]


def _kind(row: Card, setup: Setup) -> str:
    """The kind of the cards that share a factor with this one; "": no card of the kind was
    timed."""
    if row.vendor != "NVIDIA":
        return row.vendor if row.vendor == "AMD" and not vector(setup) else ""
    if vector(setup):
        return (
            "board" if row.kin in _BOARDS else "narrow" if row.architecture in _NARROW else "wide"
        )
    # timm's files cover GeForces, and the share of the sheet that workstation cards reach is known
    return "" if "rtx" in row.kin and row.kin != "rtx-a6000" else "server"


def _mode(setup: Setup) -> tuple[bool, bool]:
    return setup.training, setup.compiled


def is_geforce(row: Card) -> bool:
    """Whether a card is a GeForce, or is described as one: the table names these alone without a
    hyphen, ``rtx4090`` but ``rtx-a6000``.

    >>> from vitcost.hardware.specs import card
    >>> is_geforce(card("rtx4090")), is_geforce(card("h100-sxm"))
    (True, False)
    """
    return row.kin.startswith("rtx") and "-" not in row.kin


def _slower(row: Card) -> float:
    """By which factor a product takes longer than the sheet's time."""
    peaks = (CARDS.get(row.kin) or row).peaks
    peak = peaks.bf16 or peaks.fp16
    if is_geforce(row) or not row.vendor or peak is None:
        return 1.0
    if row.kin in REACHED:
        return peak / REACHED[row.kin]
    return 1 / _CAPPED.get(row.kin, _SHARES.get(row.vendor, 1.0))
