"""Units for people: the only module in which G, GiB and milliseconds exist."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from vitcost.errors import ConfigError

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = [
    "JOULES_OF_KWH",
    "MOST",
    "Scale",
    "binary_bytes",
    "common",
    "counted",
    "exact",
    "named",
    "parse_amount",
    "parse_bytes",
    "parse_count",
    "parse_per_second",
    "parse_seconds",
    "scaled",
    "seconds",
    "si",
]

JOULES_OF_KWH = 3.6e6
_SI = (
    (10**21, "Z"),
    (10**18, "E"),
    (10**15, "P"),
    (10**12, "T"),
    (10**9, "G"),
    (10**6, "M"),
    (10**3, "k"),
)
_SECONDS = ((86400.0, "d"), (3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BINARY = ((2**50, "PiB"), (2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12, "p": 10**15}
# the words of each unit of time, and its microseconds
_TIMES = {
    "us": 1,
    "ms": 10**3,
    "s sec secs second seconds": 10**6,
    "min mins minute minutes": 60 * 10**6,
    "h hr hrs hour hours": 3600 * 10**6,
    "d day days": 86400 * 10**6,
}
_MICROSECONDS = {word: size for words, size in _TIMES.items() for word in words.split()}
_OF_RATES = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DECIMAL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"
# a currency before or after an amount of money, and a unit after a number of hours
_AROUND = r"^(?:[$€£¥]|usd|eur|cny)|(?:[$€£¥]|usd|eur|cny|h|hours?)$"
# the largest count that is accepted: no model reaches it, and a float can hold it
MOST = 10**30
_BYTES = {
    "b": 1,
    **{f"{letter}b": 1000**i for i, letter in enumerate("kmgtp", 1)},
    **{f"{letter}ib": 1024**i for i, letter in enumerate("kmgtp", 1)},
}


def si(value: int | float) -> str:
    """A count with its SI prefix, with at least three digits.

    >>> si(86_567_656), si(1_003_385_303_040), si(999), si(0)
    ('86.6 M', '1.00 T', '999', '0')
    """
    for factor, letter in _SI:
        if abs(value) >= factor:
            return f"{_three(value / factor)} {letter}"
    return f"{value:,}" if isinstance(value, int) else _digits(value)


def counted(value: int | float, unit: str) -> str:
    """A count with its SI prefix before a unit; a count without a prefix ends in a space.

    >>> counted(17_563_950_336, "MACs"), counted(12, "FLOPs"), counted(86_567_656, "")
    ('17.6 GMACs', '12 FLOPs', '86.6 M ')
    """
    text = si(value)
    return f"{text}{unit}" if unit and text[-1].isalpha() else f"{text} {unit}"


def binary_bytes(value: int | float) -> str:
    """Bytes in binary units, as nvidia-smi prints them.

    >>> binary_bytes(346_270_624), binary_bytes(2_544_575_392), binary_bytes(512)
    ('330.2 MiB', '2.37 GiB', '512 B')
    """
    for factor, unit in _BINARY:
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{value:,} B"


def seconds(value: float) -> str:
    """A duration in the unit that suits it.

    >>> seconds(0.0123), seconds(42.0), seconds(7200.0)
    ('12.3 ms', '42.0 s', '2.0 h')
    """
    for factor, unit in _SECONDS:
        if value >= (2 * factor if factor > 1 else factor):
            return f"{_digits(value / factor)} {unit}"
    return f"{value:.3g} s"


class Scale(NamedTuple):
    """One unit for a column of numbers: the divisor, and the word for its header."""

    factor: float
    word: str


_SCALES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "si": (*_SI, (1, "")),
    "bytes": (*_BINARY, (1, "B")),
    "seconds": _SECONDS,
}
# if the numbers of a column differ by a larger factor, each is shown in a unit of its own
_FAR = 10**6


def common(values: Iterable[int | float], kind: str) -> Scale | None:
    """The unit for a column of numbers: the largest unit in which none is below 0.01; or a larger
    one if the largest number would have five digits before the point. None if the numbers are too
    far apart for one unit.

    >>> common([2**30, 3 * 2**30, 512 * 2**20], "bytes"), common([1.9, 7400.0, 9000.0], "seconds")
    (Scale(factor=1073741824, word='GiB'), Scale(factor=1.0, word='s'))
    >>> common([385_400_000, 167_300_000_000], "si").word, common([36 * 3600.0], "seconds").word
    ('G', 'h')
    >>> common([1, 10**9], "si")
    """
    sizes = sorted(abs(value) for value in values if value)
    if not sizes or kind not in _SCALES or sizes[-1] > _FAR * sizes[0]:
        return None
    # 36 h is easier to understand than 1.5 d
    most = {
        step: sizes[-1] / (2 if kind == "seconds" and step > 1 else 1) for step, _ in _SCALES[kind]
    }
    steps = [step for step in _SCALES[kind] if step[0] <= most[step[0]]] or [_SCALES[kind][-1]]
    at = next((i for i, step in enumerate(steps) if sizes[0] >= 0.01 * step[0]), len(steps) - 1)
    while at and sizes[-1] >= 10_000 * steps[at][0]:
        at -= 1
    return Scale(*steps[at])


def named(word: str, kind: str) -> Scale | None:
    """The unit with this name, for numbers of a kind; None if the kind has no such unit.

    >>> named("M", "count"), named("GB", "bytes").factor, named("ms", "si")
    (Scale(factor=1000000, word='M'), 1000000000, None)
    """
    steps = {unit: step for step, unit in _SCALES.get("si" if kind == "count" else kind, ())}
    if kind == "bytes":
        steps |= {f"{letter}B": step for step, letter in _SI}
    return Scale(steps[word], word) if word and word in steps else None


def scaled(value: int | float, scale: Scale) -> str:
    """A number in the unit of its column, with at least three digits.

    >>> [scaled(v, Scale(2**30, "GiB")) for v in (0, 602_112, 2_544_575_392, 2**40)]
    ['0', '0.000561', '2.37', '1,024.0']
    """
    number = value / scale.factor
    if scale.factor == 1 and isinstance(value, int):
        return f"{value:,}"
    size = abs(number)
    if not size:
        return "0"
    if size >= 10:
        return f"{number:,.1f}"
    if size >= 1:
        return f"{number:.2f}"
    return f"{number:.3f}" if size >= 0.1 else f"{number:.3g}"


def parse_count(text: str, of: str = "") -> int:
    """A count with an optional SI prefix, exactly; ``of``: a unit that may follow it.

    >>> parse_count("86.6 M"), parse_count("1_000"), parse_count("1.28M")
    (86600000, 1000, 1280000)
    >>> parse_count("17.6 GFLOPs", "FLOPs"), parse_count("18 GMACs", "MACs")
    (17600000000, 18000000000)
    """
    unit = re.escape(of.removesuffix("s"))
    bare = re.sub(rf"\s*{unit}s?\s*$", "", text, flags=re.IGNORECASE) if of else text
    like = f"17.6 G{of}" if of else "86.6 M"
    return int(_parsed(bare or text, _COUNTS, f"a count such as {like}", text))


def parse_bytes(text: str) -> int:
    """Bytes: ``GB`` is 10^9 and ``GiB`` 2^30.

    >>> parse_bytes("24 GB"), parse_bytes("24 GiB")
    (24000000000, 25769803776)
    """
    return int(_parsed(text, _BYTES, "bytes such as 24 GiB or 24 GB"))


def parse_seconds(text: str) -> float:
    """A duration with a unit.

    >>> parse_seconds("12 ms"), parse_seconds("1.5 s"), parse_seconds("2 days")
    (0.012, 1.5, 172800.0)
    """
    if text.strip().lower().endswith("m") and text.strip()[:-1].strip()[-1:].isdigit():
        raise ConfigError(f"{text.strip()[:80]!r} is minutes (min) or months (30 d): say which")
    return float(_parsed(text, _MICROSECONDS, "a duration such as 12 ms") / 10**6)


def parse_per_second(text: str) -> float:
    """A rate per second; without a unit of time it is per second.

    >>> parse_per_second("5000/s"), parse_per_second("20M/d"), parse_per_second("90 / min")
    (5000.0, 231.4814814814815, 1.5)
    """
    number, slash, per = text.partition("/")
    time = per.strip().lower() if slash else "s"
    if time not in _OF_RATES:
        raise ConfigError(f"expected a rate such as 5000/s or 20M/d, got {text[:80]!r}")
    return float(_parsed(number, _COUNTS, "a rate such as 5000/s or 20M/d") / _OF_RATES[time])


def parse_amount(text: str) -> float:
    """A number that need not be exact, perhaps with a currency or in hours.

    >>> parse_amount("$2.5"), parse_amount("1,200 h"), parse_amount("0.3 EUR"), parse_amount("2k")
    (2.5, 1200.0, 0.3, 2000.0)
    """
    plain = re.sub(_AROUND, "", text.strip(), flags=re.IGNORECASE)
    return float(_parsed(plain, _COUNTS, "a number such as 2.5 or 1.2k", text))


def exact(text: str) -> "Fraction":
    """A decimal number as it is typed, at most 10^30. Raises ``ValueError`` for anything else.

    >>> exact("0.1")
    Fraction(1, 10)
    """
    # a plain report does not need this import
    from fractions import Fraction

    # Fraction would compute any power of ten that a user types: the pattern allows exponents of
    # three digits
    if not re.fullmatch(_DECIMAL, text) or abs(value := Fraction(text)) > MOST:
        raise ValueError(text)
    return value


def _parsed(text: str, factors: dict[str, int], wanted: str, typed: str = "") -> "Fraction":
    typed = typed or text
    stripped = text.strip().replace("_", "").replace(",", "")
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = stripped[len(number) :].strip().lower()
    if len(stripped) > 64 or unit not in factors or not number:
        raise ConfigError(f"expected {wanted}, got {typed[:80]!r}")
    try:
        value = exact(number) * factors[unit]
    except ValueError:
        raise ConfigError(f"expected {wanted}, got {typed[:80]!r}") from None
    if value < 0:
        raise ConfigError(f"expected {wanted}, not below 0, got {typed[:80]!r}")
    return value


def _digits(value: float) -> str:
    return f"{value:.1f}"


def _three(value: float) -> str:
    """A number with at least three digits."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"
