"""The evidence for a prediction: constants of this card and mode, of this card in another mode, or
of similar cards."""

from collections.abc import Sequence
from typing import NamedTuple

from vitcost.errors import NotCovered
from vitcost.hardware.calibrate import WIDEST
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import (
    SMALLEST_BATCH,
    Calibration,
    Sheet,
    form_of,
    host_seconds,
    terms,
)
from vitcost.hardware.map_classes import column_of
from vitcost.hardware.typical import (
    is_geforce,
    kin_of,
    mean_factor,
    nearest_of,
    typical,
    usual,
    vector,
)
from vitcost.hardware.weights import BANDS
from vitcost.hardware.work_classes import Setup, Work

__all__ = ["ANCHORED", "SPEC_SHEET", "Rates", "rates_of", "same_mode", "seconds_of", "widened"]

ANCHORED, GEFORCE = 0.25, 0.25
# the band below and above for constants of other cards: nine in ten published timings lie within it
# if their card, or their software, is left out of the fit (tests/test_published.py); keys: whether
# the architecture is the same; whether one other software was timed or several
OF_ITS_KIND = {True: (0.30, 0.50), False: (0.40, 0.70)}
OTHER_SOFTWARE = {True: (0.48, 1.00), False: (0.40, 0.60)}
SPEC_SHEET = (0.45, 1.00)
# nine in ten errors of families that were not fitted lie within these bands, in timm's benchmark
# files; the files have no text models
_OTHER_FAMILIES = {
    "cuda": {"other": 0.15, "hybrid": 0.20, "text": ANCHORED},
    "cpu": {"other": 0.25, "hybrid": 0.40, "text": 0.40},
}
_FITTED = "a traced module, by what kernels of other families took on GeForce cards under autocast"
_APART = "a traced module of a family that is further off than 20 % in half of all timings"
_UNTIMED = "traced modules were timed under autocast on cards, eager in training: in nothing else"
_PROCESSOR = "a traced module on a processor, half of which are further off than 12 %"
_UNFITTED = {
    "hybrid": "constants of models without a convolutional backbone",
    "text": "no model that reads text was measured",
}


class Rates(NamedTuple):
    """The constants that a prediction uses, and the measurements behind them.

    A step may take longer by the share ``band``, and shorter by the share ``under``; None: also by
    ``band``. ``rows`` is the number of measurements, ``held_out`` the mean error on measurements
    that were left out of the fit, ``source`` their origin.
    """

    constants: tuple[float, ...]
    basis: str
    band: float
    notes: tuple[str, ...] = ()
    least_batch: int = SMALLEST_BATCH
    under: float | None = None
    rows: int = 0
    held_out: float | None = None
    source: str = ""
    host: float | None = None  # seconds of a launch, if the host was measured

    @property
    def below(self) -> float:
        """The share by which a step may be shorter: ``under``, else ``band``."""
        return self.band if self.under is None else self.under

    def unlike(self, *why: str) -> "Rates":
        """The same rates with a wider band, for a step unlike the card's measurements."""
        if not why:
            return self
        basis = "anchored" if self.basis == "calibrated" else self.basis
        return self._replace(basis=basis, notes=(*self.notes, *why))

    def spread(self, below: float, above: float) -> "Rates":
        """The same rates with a band that reaches at least this far below and above."""
        return self._replace(under=max(self.below, below), band=max(self.band, above))


def rates_of(row: Card, setup: Setup, known: Sequence[Calibration]) -> Rates:
    """The best constants for a card: from this mode, else from another mode of the card, else from
    cards of its kind. Raises ``NotCovered`` for a processor in a mode that was not measured.

    >>> from vitcost.hardware.calibrations import shipped
    >>> from vitcost.hardware.specs import card
    >>> row = card("rtx4090")
    >>> rates_of(row, Setup("amp", torch=(2, 4)), shipped(row)).basis
    'calibrated'
    >>> row = card("h100-sxm")
    >>> rates_of(row, Setup("amp"), shipped(row)).basis
    'of_its_kind'
    """
    of_card = [c for c in known if c.gpu == row.name and c.setup.platform == setup.platform]
    exact = [c for c in of_card if same_mode(c.setup, setup)]
    # if none match, constants from torch without fused attention serve for torch with it, and the
    # other way round
    nearly = [
        c
        for c in of_card
        if c.factor is None and same_mode(c.setup, setup._replace(attention=c.setup.attention))
    ]
    if exact or nearly:
        # constants of another torch are further away than those of another layout
        near = sorted(exact or nearly, key=lambda c: c.setup.layout != setup.layout)
        return _exact(min(near, key=lambda c: setup.apart(c.setup.torch)), setup)
    if setup.platform == "cpu":
        modes = dict.fromkeys(_mode(c.setup) for c in of_card)
        reason = f"it was in {'; '.join(modes)}" if modes else "in no mode was it measured"
        raise NotCovered(f"{row.name} was not measured in {_mode(setup)}: {reason}")
    # fp32 runs on vector units and half precision on matrix units: measurements of one say nothing
    # about the other
    alike = [c for c in of_card if vector(c.setup) == vector(setup)]
    if alike:
        return _elsewhere(alike, row, setup, known)
    return _of_its_kind(row, setup, known)


def _exact(best: Calibration, setup: Setup) -> Rates:
    """The constants of this card and mode, from this software or from another version of it."""
    rates = Rates(
        best.constants, best.basis, best.band, (), best.least_batch, None, best.rows,
        best.held_out, best.source, best.host_seconds,
    )  # fmt: skip
    span = best.since is not None and best.since <= setup.torch <= best.setup.torch
    if best.setup == setup or (span and best.setup.layout == setup.layout):
        return rates
    torch = ".".join(map(str, best.setup.torch))
    reason = f"constants measured with torch {torch}, {best.setup.layout}"
    if best.factor is not None and not vector(setup):
        # published timings of several torch versions differ more than timm's
        return rates.spread(*OTHER_SOFTWARE[True]).unlike(reason)
    alike = best.factor is None and best.setup.attention == setup.attention
    wide = WIDEST[setup.platform] if alike else ANCHORED
    return rates._replace(band=max(best.band, wide)).unlike(reason)


def _elsewhere(
    alike: Sequence[Calibration], row: Card, setup: Setup, known: Sequence[Calibration]
) -> Rates:
    """The constants of other software, or of another mode, on this card."""
    whole = [c for c in alike if c.factor is None]
    note = f"{row.name} was measured in other modes alone"
    if whole:
        constants, _ = typical(row, setup, known)
        newest = max(whole, key=lambda c: c.setup.torch)
        scaled = _as_elsewhere(constants, newest, row, known)
        return Rates(scaled, "anchored", ANCHORED, (note,), rows=newest.rows, source=newest.source)
    nearest = nearest_of(setup, alike)
    constants, _ = usual(setup, known)
    factor = mean_factor(nearest)
    least, most = (pick(c.factor or factor for c in nearest) / factor for pick in (min, max))
    # in fp32 software makes less difference than the source; elsewhere several kinds of software
    # show how much they differ
    alone = len({(c.setup.engine, c.setup.torch) for c in nearest}) == 1
    below, above = (ANCHORED, ANCHORED) if vector(setup) else OTHER_SOFTWARE[alone]
    return Rates(
        tuple(constant * factor for constant in constants),
        "anchored",
        max(above, most * (1 + ANCHORED) - 1),
        (note,),
        under=max(below, 1 - least * (1 - ANCHORED)),
        rows=sum(c.rows for c in nearest),
        source="; ".join(dict.fromkeys(c.source for c in nearest)),
    )


def _of_its_kind(row: Card, setup: Setup, known: Sequence[Calibration]) -> Rates:
    """The constants from cards of the same kind; else from the share of the sheet's peak that cards
    of the vendor reach."""
    kin = kin_of(row, setup, known)
    if kin is not None:
        constants, notes = usual(setup, known)
        return Rates(
            tuple(constant * kin.factor for constant in constants),
            "of_its_kind" if kin.kindred else "spec_sheet",
            0.0,
            (*notes, f"{kin.factor:.2f} times the usual constants, as {', '.join(kin.cards)}"),
            rows=kin.rows,
            source="published timings of other cards",
        ).spread(*(OF_ITS_KIND[kin.near] if kin.kindred else SPEC_SHEET))
    constants, notes = typical(row, setup, known)
    if is_geforce(row) or ("rtx" in row.kin and not vector(setup)):
        # a GeForce, or its die, of which the reached share of the sheet is known
        rates = Rates(constants, "of_its_kind", GEFORCE, notes, source="timm's files of GeForces")
        return rates if is_geforce(row) else rates.spread(*OF_ITS_KIND[False])
    return Rates(constants, "spec_sheet", 0.0, notes).spread(*SPEC_SHEET)


def widened(rates: Rates, kind: str, setup: Setup, apart: bool = False) -> Rates:
    """The rates for a model of a family that was not fitted, in a wider band; ``apart``:
    predictions of this traced family are far off. Source: the errors of that family in timm's
    benchmark files.

    >>> fitted = Rates((1.0,), "calibrated", 0.10)
    >>> widened(fitted, "plain", Setup("amp")).band, widened(fitted, "hybrid", Setup("amp")).band
    (0.1, 0.2)
    """
    if kind == "traced":
        return _of_traced(rates, setup, apart)
    band = max(rates.band, _OTHER_FAMILIES[setup.platform].get(kind, 0.0))
    if kind in _UNFITTED and rates.basis == "calibrated":
        return rates._replace(band=band).unlike(_UNFITTED[kind])
    return rates._replace(band=band)


def _of_traced(rates: Rates, setup: Setup, apart: bool) -> Rates:
    """The rates for a traced module: in the band of the timed families in its mode, or of a spec
    sheet."""
    timed = setup.platform == "cuda" and setup.precision in ("amp", "half")
    timed &= not (setup.training and setup.compiled)
    if apart or not timed:
        cpu = setup.platform == "cpu"
        why = _PROCESSOR if cpu else _APART if timed else _UNTIMED
        return rates.spread(*SPEC_SHEET).unlike(why)._replace(basis="spec_sheet")
    below, above = BANDS[column_of(setup)]
    if rates.basis not in ("calibrated", "anchored"):
        # the card's error multiplies the family's
        below, above = 1 - (1 - rates.below) * (1 - below), (1 + rates.band) * (1 + above) - 1
    return rates.spread(below, above).unlike(_FITTED)


def seconds_of(
    done: Work,
    sheet: Sheet,
    setup: Setup,
    constants: Sequence[float],
    host: float | None = None,
) -> tuple[float, dict[str, float]]:
    """The seconds of some work, and how many of them each resource takes: ``max(Σ constant · term +
    fixed, host · launches)``, as the host prepares launches while the card runs kernels.

    ``constants`` multiply the seconds of compute, of memory, of latency, …, in the order of
    ``terms``; ``host`` is the seconds that a host takes for a launch. If the work is arrays, so are
    the seconds.

    >>> work = Work(gemm_flops=10**12, stream_bytes=10**11)
    >>> seconds_of(work, Sheet(1e12, 1e11), Setup("amp"), (1.5, 1.0, 1.0, 0.0, 0.0))
    (2.5, {'compute': 1.5, 'memory': 1.0, 'overhead': 0.0})
    """
    columns, fixed = terms(done, sheet, setup)
    shares = {"compute": 0.0, "memory": 0.0, "overhead": fixed}
    for bound, constant, column in zip(form_of(setup).bound, constants, columns, strict=True):
        shares[bound] = shares[bound] + constant * column
    waiting = host_seconds(done, setup, host) - sum(shares.values())
    # a factor of 0 or 1 in place of a branch, which arrays do not allow
    shares["overhead"] = shares["overhead"] + waiting * (waiting > 0)
    return sum(shares.values()), shares


def same_mode(a: Setup, b: Setup) -> bool:
    """Whether two setups differ only in the version of torch and in layout.

    >>> same_mode(Setup("amp", torch=(2, 1)), Setup("amp", torch=(2, 4), layout="nhwc"))
    True
    """
    return a._replace(torch=b.torch, layout=b.layout) == b


def _mode(setup: Setup) -> str:
    compiled = "compiled" if setup.compiled else "eager"
    return f"{setup.mode}, {setup.precision}, {compiled}"


def _as_elsewhere(
    constants: tuple[float, ...],
    newest: Calibration,
    row: Card,
    known: Sequence[Calibration],
) -> tuple[float, ...]:
    """Constants of a mode, each times the ratio of the card's constant to the typical one in a mode
    that was measured."""
    theirs, _ = typical(row, newest.setup, [c for c in known if c.gpu != row.name])
    return tuple(
        constant * (mine / their if their and mine else 1.0)
        for constant, mine, their in zip(constants, newest.constants, theirs, strict=True)
    )
