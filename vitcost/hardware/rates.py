"""What a prediction rests on: constants of this card and mode, of this card, of cards like it."""

from collections.abc import Sequence
from typing import NamedTuple

from vitcost.errors import NotCovered
from vitcost.hardware.calibrate import WIDEST
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import SMALLEST_BATCH, Calibration, Sheet, form_of, terms
from vitcost.hardware.typical import typical
from vitcost.hardware.work import Setup, Work

__all__ = ["ANCHORED", "SPEC_SHEET", "Rates", "rates_of", "same_mode", "seconds_of", "widened"]

ANCHORED, SPEC_SHEET = 0.25, 0.40
# what nine in ten errors of families that were not fitted lie within, in timm's benchmark files,
# which have no text
_OTHER_FAMILIES = {
    "cuda": {"other": 0.15, "hybrid": 0.20, "text": ANCHORED},
    "cpu": {"other": 0.25, "hybrid": 0.40, "text": 0.40},
}
_UNFITTED = {
    "hybrid": "constants of models without a convolutional backbone",
    "text": "no model that reads text was measured",
}


class Rates(NamedTuple):
    """The constants that a prediction uses, and what they rest on."""

    constants: tuple[float, ...]
    basis: str
    band: float
    notes: tuple[str, ...] = ()
    least_batch: int = SMALLEST_BATCH

    def unlike(self, *why: str) -> "Rates":
        """The same for what is unlike all that was measured on the card."""
        if not why:
            return self
        basis = "anchored" if self.basis == "calibrated" else self.basis
        return self._replace(basis=basis, notes=(*self.notes, *why))


def rates_of(
    row: Card,
    setup: Setup,
    known: Sequence[Calibration],
) -> Rates:
    """The best constants there are: of this card and mode, of this card, of cards like it."""
    exact = [c for c in known if c.gpu == row.name and same_mode(c.setup, setup)]
    if exact:
        best = min(exact, key=lambda c: _distance(c.setup, setup))
        fits = best.setup == setup
        band = best.band if fits else max(best.band, WIDEST[setup.platform])
        torch = ".".join(map(str, best.setup.torch))
        said = f"constants measured with torch {torch}, {best.setup.layout}"
        notes = () if fits else (said,)
        return Rates(best.constants, "calibrated", band, notes, best.least_batch)
    if setup.platform == "cpu":
        modes = dict.fromkeys(_mode(c.setup) for c in known if c.gpu == row.name)
        said = "; ".join(modes) or "nothing"
        raise NotCovered(f"{row.name} was not measured in {_mode(setup)}: there is {said}")
    constants, note = typical(row, setup, known)
    # vector units in fp32 and tensor cores in half precision say nothing of each other
    wide = setup.precision == "fp32"
    other = [c for c in known if c.gpu == row.name and (c.setup.precision == "fp32") == wide]
    if other:
        constants = _as_elsewhere(constants, other, row, known)
        note = (f"{row.name} was measured in other modes alone",)
        return Rates(constants, "anchored", ANCHORED, note)
    return Rates(constants, "spec_sheet", SPEC_SHEET, note)


def widened(rates: Rates, kind: str, platform: str) -> Rates:
    """The band of a model of another family than those that were fitted."""
    band = max(rates.band, _OTHER_FAMILIES[platform].get(kind, 0.0))
    if kind in _UNFITTED and rates.basis == "calibrated":
        return rates._replace(band=band).unlike(_UNFITTED[kind])
    return rates._replace(band=band)


def seconds_of(
    done: Work, sheet: Sheet, setup: Setup, constants: Sequence[float]
) -> tuple[float, dict[str, float]]:
    """The time of some work, and how much of it each resource takes."""
    columns, fixed = terms(done, sheet, setup)
    shares = {"compute": 0.0, "memory": 0.0, "overhead": fixed}
    for bound, constant, column in zip(form_of(setup).bound, constants, columns, strict=True):
        shares[bound] += constant * column
    return sum(shares.values()), shares


def same_mode(a: Setup, b: Setup) -> bool:
    return a._replace(torch=b.torch, layout=b.layout) == b


def _mode(setup: Setup) -> str:
    compiled = "compiled" if setup.compiled else "eager"
    return f"{setup.mode}, {setup.precision}, {compiled}"


def _distance(a: Setup, b: Setup) -> tuple[int, bool]:
    """How far apart two setups of one mode are: another layout is nearer than other software."""
    return abs(a.torch[0] * 100 + a.torch[1] - b.torch[0] * 100 - b.torch[1]), a.layout != b.layout


def _as_elsewhere(
    constants: tuple[float, ...],
    other: Sequence[Calibration],
    row: Card,
    known: Sequence[Calibration],
) -> tuple[float, ...]:
    """Constants of a mode, as much better or worse as the card is in one that was measured."""
    newest = max(other, key=lambda c: c.setup.torch)
    usual, _ = typical(row, newest.setup, [c for c in known if c.gpu != row.name])
    return tuple(
        constant * (mine / theirs if theirs and mine else 1.0)
        for constant, mine, theirs in zip(constants, newest.constants, usual, strict=True)
    )
