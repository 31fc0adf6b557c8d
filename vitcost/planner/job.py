"""A training run as a user asks for it: how much data, how many cards, and the prices."""

import re
from typing import NamedTuple

from vitcost.config.fields import ABOVE_0, as_python, whole, within
from vitcost.errors import ConfigError, shown
from vitcost.units import parse_bytes, parse_count, parse_seconds

__all__ = ["NODE", "Job", "data_of", "job", "parse_days", "parse_price", "parse_rate"]

# a number with a currency before or after it, and perhaps "per hour"
_PRICE = (
    r"(?:[$€£¥]|usd|eur|cny)?\s*(\d+\.?\d*|\.\d+)\s*(?:[$€£¥]|usd|eur|cny)?\s*(?:/\s*h(?:our)?)?"
)
# the default number of cards of a node
NODE = 8
# no cluster has more cards, and no run saw more samples
_MOST_CARDS, _MOST_SAMPLES = 2**17, 10**15


class Job(NamedTuple):
    """The data of a run, its cards and its prices.

    ``samples`` of an epoch are images, or sequences for a model that reads text; ``gpus`` are the
    cards of one node; ``network`` is the bandwidth of a card to other nodes, in bytes per second,
    in one direction; ``price`` is for one card and one hour. ``efficiency`` replaces a predicted
    time: the FLOP/s of one card divided by its peak. ``overlap`` is the share of the work that can
    hide data-parallel communication. ``kwh_price`` is for one kilowatt hour, ``pue`` the power of
    the site divided by that of its machines (power usage effectiveness), ``co2`` kilograms per
    kilowatt hour.
    """

    samples: int
    epochs: int
    global_batch: int
    gpus: int
    nodes: int
    network: float | None
    price: float | None
    deadline_seconds: float | None
    efficiency: float | None
    overlap: float
    kwh_price: float | None = None
    pue: float = 1.0
    co2: float | None = None

    @property
    def cards(self) -> int:
        """``gpus · nodes``."""
        return self.gpus * self.nodes

    @property
    def total_samples(self) -> int:
        """``samples · epochs``."""
        return self.samples * self.epochs

    @property
    def steps(self) -> int:
        """``⌈samples · epochs / global_batch⌉``: the last step may have fewer samples."""
        return -(-self.total_samples // self.global_batch)


def job(
    *,
    samples: int | str,
    epochs: int = 1,
    global_batch: int = 4096,
    gpus: int | None = None,
    nodes: int | None = None,
    network: float | str | None = None,
    price: float | str | None = None,
    deadline: float | str | None = None,
    efficiency: float | None = None,
    overlap: float = 1.0,
    kwh_price: float | None = None,
    pue: float = 1.0,
    co2: float | None = None,
) -> Job:
    """A run with checked figures; ``ConfigError`` names the wrong one. ``Job`` has their units:
    ``samples``, ``epochs`` and ``global_batch`` (samples a step of all cards), ``gpus`` and
    ``nodes``, ``network``, ``price``, ``efficiency``, ``overlap``, ``kwh_price``, ``pue``, ``co2``;
    ``deadline`` is in seconds, or typed.

    >>> job(samples="1.28M", epochs=300, global_batch=4096).steps  # 384 million images
    93750
    >>> job(samples=1000, nodes=2)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: several nodes need network, the bytes a second that one card has ...
    """
    if deadline is not None:
        for name, value in (("node_size", gpus), ("nodes", nodes)):
            if value is not None:
                raise ConfigError(
                    f"{name} {shown(value)} contradicts deadline {_brief(deadline)}, which finds "
                    "how many cards keep it: give one of the two"
                )
    wanted = Job(
        *data_of(samples, epochs),
        _whole("global_batch", global_batch, 10**9),
        _whole("node_size", NODE if gpus is None else gpus, _MOST_CARDS),
        _whole("nodes", 1 if nodes is None else nodes, _MOST_CARDS),
        None if network is None else parse_rate(network),
        None if price is None else parse_price(price),
        None if deadline is None else parse_days(deadline),
        None if efficiency is None else _efficiency(efficiency),
        within(overlap, 0, 1, "overlap must be from 0 to 1"),
        None if kwh_price is None else _positive("kwh_price", kwh_price),
        within(pue, 1, 10, "pue must be from 1 to 10, such as 1.2"),
        None if co2 is None else _positive("co2", co2),
    )
    if wanted.cards > _MOST_CARDS:
        raise ConfigError(f"node_size × nodes is {wanted.cards:,}, more than {_MOST_CARDS:,}")
    if wanted.nodes > 1 and wanted.network is None:
        raise ConfigError(
            "several nodes need network, the bytes a second that one card has to other nodes, "
            "one direction, such as '50 GB/s' for 400 Gbit/s a card"
        )
    return wanted


def data_of(samples: int | str, epochs: int) -> tuple[int, int]:
    """The samples of an epoch and the number of epochs. Raises ``ConfigError`` if their product is
    too large.

    >>> data_of("1.28M", 90)
    (1280000, 90)
    """
    count = _whole("samples", parse_count(samples) if isinstance(samples, str) else samples)
    times = _whole("epochs", epochs)
    if count * times > _MOST_SAMPLES:
        raise ConfigError(f"samples × epochs is {count * times:,}, more than {_MOST_SAMPLES:,}")
    return count, times


def parse_rate(rate: float | str) -> float:
    """Bytes per second from a ``rate``, a number or a text; else ``ConfigError``.

    >>> parse_rate("50 GB/s"), parse_rate(1e9)
    (50000000000.0, 1000000000.0)
    """
    if isinstance(rate, str):
        rate = parse_bytes(rate.strip().removesuffix("/s"))
    return _positive("network", rate)


def parse_days(deadline: float | str) -> float:
    """The seconds of a ``deadline``: a number of seconds, or a text such as ``3d``, ``36 h``,
    ``90min``; else ``ConfigError``.

    >>> parse_days("3d"), parse_days("1.5 h")
    (259200.0, 5400.0)
    """
    if isinstance(deadline, str):
        try:
            deadline = parse_seconds(deadline)
        except ConfigError as error:
            if "say which" in str(error):
                raise ConfigError(f"deadline {error}") from None
            raise ConfigError(
                f"deadline must be a duration such as 3d or 36h, got {shown(deadline)}"
            ) from None
    return _positive("deadline", deadline)


def parse_price(price: float | str) -> float:
    """The ``price`` of one card for one hour, from a number or a text: ``$2.5``, ``2.5 €/h``; else
    ``ConfigError``.

    >>> parse_price("$2.5"), parse_price("2.50 EUR/h"), parse_price(3)
    (2.5, 2.5, 3.0)
    """
    if isinstance(price, str):
        match = re.fullmatch(_PRICE, price.strip(), re.IGNORECASE)
        if match is None:
            raise ConfigError(f"price must be a number such as 2.5 or $2.5, got {shown(price)}")
        price = float(match[1])
    return _positive("price", price)


def _brief(value: object) -> str:
    return value if isinstance(value, str) and len(value) < 40 else shown(value)


def _whole(name: str, number: int, most: int = _MOST_SAMPLES) -> int:
    value = whole(as_python(number))
    if type(value) is not int:
        raise ConfigError(f"{name} must be an integer, got {shown(number)}")
    if not 1 <= value <= most:
        raise ConfigError(f"{name} must be between 1 and {most:,}, got {shown(value)}")
    return value


def _positive(name: str, number: float) -> float:
    return within(number, ABOVE_0, 1e18, f"{name} must be above 0")


def _efficiency(efficiency: float) -> float:
    return within(efficiency, ABOVE_0, 1, "efficiency must be above 0 and at most 1")
