"""A load of images as a user asks for it: how many per second, and how soon each gets its
answer."""

from typing import NamedTuple

from vitcost.config.fields import ABOVE_0, within
from vitcost.units import exact, parse_per_second, parse_seconds

__all__ = ["MOST_UTILIZATION", "Load", "load"]

# a card with a higher load has a queue too long to wait in
MOST_UTILIZATION = 0.9
# the largest allowed images per second, and seconds
_MOST_RATE, _MOST_SECONDS = 1e12, 1e6
_LEAST_PERCENTILE, _MOST_PERCENTILE = 50, 99.99


class Load(NamedTuple):
    """A number of images per second. ``percentile`` percent of them get their answer within
    ``slo_seconds`` (None: at any time); no card is busy more than the share ``utilization`` of the
    time."""

    images_per_second: float
    slo_seconds: float | None
    percentile: float
    utilization: float

    @property
    def share(self) -> float:
        """The share of the images that get their answer in time."""
        return self.percentile / 100


def load(
    *,
    rate: float | str,
    slo: float | str | None,
    percentile: float | str,
    utilization: float | str,
) -> Load:
    """A load with checked figures; ``ConfigError`` names a wrong one.

    ``rate`` is images per second, ``slo`` seconds, ``percentile`` percent of the images,
    ``utilization`` a share of the time; each is a number or a text.

    >>> load(rate="5000/s", slo="20ms", percentile=99, utilization="70%")
    Load(images_per_second=5000.0, slo_seconds=0.02, percentile=99.0, utilization=0.7)
    """
    return Load(
        _rate(rate),
        None if slo is None else _seconds(slo),
        _percentile(percentile),
        _utilization(utilization),
    )


def _rate(rate: float | str) -> float:
    value = parse_per_second(rate) if isinstance(rate, str) else rate
    must = f"rate must be above 0 and at most {_MOST_RATE:,.0f} images a second, such as 5000/s"
    return within(value, ABOVE_0, _MOST_RATE, must, rate)


def _seconds(duration: float | str) -> float:
    value = parse_seconds(duration) if isinstance(duration, str) else duration
    must = "slo must be a duration above 0, such as 20ms"
    return within(value, ABOVE_0, _MOST_SECONDS, must, duration)


def _percentile(percentile: float | str) -> float:
    text = percentile.strip().lower().removeprefix("p") if isinstance(percentile, str) else None
    value = percentile if text is None else _number(text)
    must = f"percentile must be from {_LEAST_PERCENTILE} to {_MOST_PERCENTILE}, such as 99"
    return within(value, _LEAST_PERCENTILE, _MOST_PERCENTILE, must, percentile)


def _utilization(utilization: float | str) -> float:
    value: float | str | None = utilization
    if isinstance(utilization, str):
        text, percent, _ = utilization.partition("%")
        number = _number(text)
        value = number / 100 if percent and number is not None else number
    must = f"utilization must be above 0 and at most {MOST_UTILIZATION:.0%}, such as 70%"
    return within(value, ABOVE_0, MOST_UTILIZATION, must, utilization)


def _number(text: str) -> float | None:
    try:
        return float(exact(text.strip()))
    except ValueError:
        return None
