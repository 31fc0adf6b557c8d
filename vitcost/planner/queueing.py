"""How long an image waits for cards that run full batches: images arrive at random, and a batch
takes a constant time."""

from functools import lru_cache
from math import exp, lgamma, log, sqrt
from typing import NamedTuple

__all__ = ["Batches"]

# smaller probabilities are left out: six digits of a mean are right up to a load of 0.9
_LEAST = 1e-11
# smaller terms of a sum of probabilities are left out
_PART = 1e-14
# a Poisson variable is never more than this many standard deviations from its mean, up to
# negligible probabilities
_FAR = 8
# how often the interval around a percentile is halved: seven digits are right
_HALVINGS = 24


class Batches(NamedTuple):
    """Cards that share one queue of full batches; a batch takes ``seconds``.

    ``rate`` images a second arrive at random (Poisson), one by one. ``batch`` images, in the order
    of their arrival, form a batch, which runs on the first free card. With b images in a batch, n
    cards, λ images per second and D seconds for a batch, this is the queue E_b/D/n. With constant
    times every n-th batch runs on the same card, so a batch waits as long as every b-th customer of
    the queue M/D/c with c = b n: the argument of Crommelin 1932, Post Office Electrical Engineers'
    Journal 25, 41-50. Raises ``ValueError`` if images arrive faster than the cards run them, λ D >=
    c.

    >>> one = Batches(batch=1, cards=1, seconds=0.010, rate=50.0)
    >>> round(one.queueing_seconds, 9)  # ρ D / (2 (1 - ρ)), ρ = 1/2: Pollaczek 1930
    0.005
    >>> round(Batches(8, 2, 0.010, 400.0).forming_seconds, 9)  # (b - 1) / (2 λ)
    0.00875
    """

    batch: int
    cards: int
    seconds: float
    rate: float

    @property
    def forming_seconds(self) -> float:
        """The mean wait of an image until its batch is full: (b - 1) / (2 λ)."""
        return (self.batch - 1) / (2 * self.rate)

    @property
    def queueing_seconds(self) -> float:
        """The mean wait of a full batch for a card: E[Lq] / λ (Little 1961).

        Lq, the number of images that wait in M/D/c, is the largest of 0 and the sums A_1 + … + A_k
        - k c over all k, where each A is the number of arrivals during one service, Poisson with
        mean λ D. Its mean is the sum of ``E[(A_1 + … + A_k - k c)⁺] / k`` over k >= 1: Spitzer
        1956, Transactions of the AMS 82, 323-339.
        """
        jumps = _jumps(self._servers, self._offered)
        return sum(j * n for j, n in enumerate(jumps, 1)) / self.rate

    @property
    def mean_seconds(self) -> float:
        """The mean time from the arrival of an image to the end of its batch; it is exact."""
        return self.forming_seconds + self.queueing_seconds + self.seconds

    def formed_within(self, seconds: float) -> float:
        """The share of images whose batch is full within so many seconds after they arrived. No
        number of cards can answer a larger share within that time plus the time of a batch."""
        b = self.batch
        after = _Poisson(self.rate * seconds, 0, b - 2)
        return sum(1.0 - after.up_to(b - i - 1) for i in range(1, b + 1)) / b

    def within(self, seconds: float) -> float:
        """The share of images whose batch ends within so many seconds after they arrived.

        Image i of a batch is delayed by the longer of two independent times: b - i arrivals, and
        the rest of the batch that its card had before. That rest is at most x with the probability
        that ``Lq + Poisson(λ (m D - x)) <= i - 1 + m c - b``, where m D is the first multiple of D
        above x: the argument of Franx 2001, Operations Research Letters 29, 221-229, who has i = b.
        The share is ``1/b Σ P(Poisson(λ x) >= b - i) P(Lq + …)`` over the images i: exact.
        """
        left = seconds - self.seconds
        if left < 0:
            return 0.0
        b, m = self.batch, int(left / self.seconds) + 1
        most = m * self._servers - b
        waiting = _waiting(self._servers, self._offered)
        after = _Poisson(self.rate * left, 0, b - 2)
        mean = self.rate * (m * self.seconds - left)
        before = _Poisson(mean, most - len(waiting), most + b - 1)
        total = 0.0
        for i in range(1, b + 1):
            full = 1.0 - after.up_to(b - i - 1)
            if full > _PART:
                at = i - 1 + most
                total += full * sum(q * before.up_to(at - j) for j, q in enumerate(waiting))
        return total / b

    def percentile(self, share: float) -> float:
        """The seconds within which a given share of the images get their answer.

        >>> round(Batches(1, 1, 0.010, 50.0).percentile(0.99), 4)
        0.0434
        """
        low, high = self.seconds, 2 * self.seconds + self.forming_seconds
        if self.within(low) >= share:
            return low
        while self.within(high) < share:
            low, high = high, 2 * high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.within(middle) >= share else (middle, high)
        return high

    @property
    def _servers(self) -> int:
        return self.batch * self.cards

    @property
    def _offered(self) -> float:
        """The mean number of images that arrive during one service, λ D."""
        offered = self.rate * self.seconds
        if offered >= self._servers:
            raise ValueError(f"{offered:g} images arrive while {self._servers:,} run")
        return offered


@lru_cache(maxsize=4096)
def _jumps(servers: int, offered: float) -> tuple[float, ...]:
    """The numbers c_1, c_2 … of ``_waiting``, where c_j is the sum over k >= 1 of the probability
    that ``k c + j`` images arrive during k services, divided by k.

    The arrivals during k services are Poisson with mean k λ D, and the cards run k c images in that
    time. The tuple ends where all further terms are negligible.
    """
    jumps: list[float] = []
    k = 1
    while True:
        mean, j = k * offered, 1
        # j = 1 has the largest term, as the mean k λ D is below k c
        term = _chance(k * servers + 1, mean) / k
        if term < _LEAST:
            return tuple(jumps)
        while term > _PART:
            if j > len(jumps):
                jumps.append(0.0)
            jumps[j - 1] += term
            j += 1
            term *= mean / (k * servers + j)
        k += 1


@lru_cache(maxsize=4096)
def _waiting(servers: int, offered: float) -> tuple[float, ...]:
    """The probabilities that 0, 1, 2 … images wait in M/D/c.

    By Spitzer's identity Lq is a sum of jumps of j images; the number of jumps of each size is
    Poisson with the mean c_j from ``_jumps``. ``n q_n = Σ j c_j q_{n-j}`` gives the probabilities
    one after the other: Panjer 1981, ASTIN Bulletin 12, 22-26.
    """
    means = _jumps(servers, offered)
    jumps = [j * n for j, n in enumerate(means, 1)]
    chances = [exp(-sum(means))]
    left = 1.0 - chances[0]
    while left > _LEAST and len(chances) <= 20 * len(jumps):
        pairs = zip(jumps, reversed(chances), strict=False)
        chances.append(sum(j * q for j, q in pairs) / len(chances))
        left -= chances[-1]
    return tuple(chances)


class _Poisson:
    """Cumulative probabilities of a Poisson variable, from ``least`` to ``most``."""

    __slots__ = ("below", "sums")

    def __init__(self, mean: float, least: int, most: int) -> None:
        far = _FAR * sqrt(mean)
        # below this the probability is 0, above it 1
        self.below = max(0, int(mean - far))
        self.sums: list[float] = []
        if least > mean + far + _FAR:
            self.below = 0
        elif self.below <= most:
            total, n, term = 0.0, self.below, _chance(self.below, mean)
            while n <= most and (n <= mean or term > _PART):
                total += term
                self.sums.append(total)
                n += 1
                term *= mean / n
        else:
            self.below = most + 1

    def up_to(self, most: int) -> float:
        at = most - self.below
        if at < 0:
            return 0.0
        return self.sums[at] if at < len(self.sums) else 1.0


def _chance(number: int, mean: float) -> float:
    """The probability that a Poisson variable has a value."""
    if mean == 0:
        return float(number == 0)
    return exp(number * log(mean) - mean - lgamma(number + 1))
