"""Constants from published timings: the usual constants of a mode, times one factor.

A source times one or two models, too few to fit each constant of a card; but models, batches and
sources agree on one factor for all constants. In half precision each version of torch has its own
factor; in fp32 the versions agree.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from vitcost.hardware.calibrations import CALIBRATIONS
from vitcost.hardware.constants import Calibration, terms
from vitcost.hardware.measurements import Measurement, by_card
from vitcost.hardware.typical import usual, vector
from vitcost.hardware.work_classes import Setup

__all__ = ["ONE_SOURCE", "TWO_SOURCES", "scaled"]

# the least half-width of a band by the number of sources: two sources for the same card and
# software differ by this much
ONE_SOURCE, TWO_SOURCES = 0.25, 0.15
# sources for the same card agree if the held-out error is no larger than this share
_AGREES = 0.10


def scaled(measurements: Iterable[Measurement]) -> list[Calibration]:
    """The constants of each card, precision and software among published timings.

    Timings that the host bounds are left out; a card that has no others gets no constants.

    >>> from vitcost.hardware.work_classes import setup_of
    >>> from vitcost.hardware.measured_rows import Row
    >>> from vitcost.hardware.measurements import measurement
    >>> from vitcost.config.scenario import Scenario
    >>> how = Scenario(batch=1024, precision="amp-fp16", software="2.4")
    >>> row = Row("timm", "vit_base_patch16_224", "rtx4090", 224, 1024, 2787.15, setup_of(how), how)
    >>> (constants,) = scaled([measurement(row)])
    >>> constants.basis, constants.rows, 0.9 < constants.factor < 1.1
    ('anchored', 1, True)
    """
    groups: dict[tuple[str, Setup], list[Measurement]] = {}
    for m in measurements:
        setup = m.row.setup
        key = setup._replace(layout="nchw", torch=(0, 0) if vector(setup) else setup.torch)
        groups.setdefault((m.card.kin, key), []).append(m)
    calibrations = []
    for (gpu, _), group in groups.items():
        timings = _of_the_card(group)
        if timings:
            calibrations.append(_calibration(gpu, timings))
    return calibrations


def _of_the_card(group: Sequence[Measurement]) -> list[Measurement]:
    """The timings that the host does not bound: batches of 16 or more, if there are any."""
    card_bound = by_card(group)
    large = [m for m in card_bound if m.row.batch >= 16]
    return large or [m for m in card_bound if m.row.batch >= 8]


def times_longer(m: Measurement) -> float:
    """By which factor a step took longer on the card than usual."""
    constants, _ = usual(m.row.setup, CALIBRATIONS)
    columns, fixed = terms(m.work, m.sheet, m.row.setup)
    return m.seconds / (sum(c * part for c, part in zip(constants, columns, strict=True)) + fixed)


def _calibration(gpu: str, group: Sequence[Measurement]) -> Calibration:
    factors = [times_longer(m) for m in group]
    factor = round(_middle(factors), 3)
    errors = held_out(group)
    sources = tuple(dict.fromkeys(m.row.source for m in group))
    held = sum(errors) / len(errors) if errors else None
    several = len(sources) > 1 and held is not None and held <= _AGREES
    least = TWO_SOURCES if several else ONE_SOURCE
    setup = max((m.row.setup for m in group), key=lambda s: s.torch)._replace(layout="nchw")
    return Calibration(
        gpu,
        setup,
        tuple(round(factor * c, 4) for c in usual(setup, CALIBRATIONS)[0]),
        len(group),
        round(sum(abs(factor / each - 1) for each in factors) / len(factors), 4),
        None if held is None else round(held, 4),
        # the band is at least as wide as the errors that its row states
        ceil(100 * max([least, *errors])) / 100,
        "; ".join(sources),
        min(m.row.batch for m in group),
        "calibrated" if several else "anchored",
        factor,
        None,
        min(m.row.setup.torch for m in group) if vector(setup) else None,
    )


def held_out(group: Sequence[Measurement]) -> list[float]:
    """Relative errors of each timing with a factor from the other sources; if there is one source,
    from its other timings."""
    sources = dict.fromkeys(m.row.source for m in group)
    if len(sources) > 1:
        parts = [[m for m in group if m.row.source == source] for source in sources]
    else:
        parts = [list(group[::2]), list(group[1::2])]
    errors = []
    for part in parts:
        factors = [times_longer(m) for m in group if not any(m is other for other in part)]
        if factors and part:
            middle = _middle(factors)
            errors += [abs(middle / times_longer(m) - 1) for m in part]
    return errors


def _middle(values: Sequence[float]) -> float:
    ordered, n = sorted(values), len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
