"""Constants from measurements: non-negative least squares in relative error, made robust.

The time is linear in at most five constants: every choice of non-zero constants is tried, and the
best is kept. A few rounds of reweighting turn squared errors into absolute ones, so that no single
model dominates the fit.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol, TypeVar

from vitcost.errors import ConfigError
from vitcost.hardware.constants import Form

__all__ = ["fit", "halves_of"]

_ROUNDS = 9


class _Wide(Protocol):
    @property
    def width(self) -> int: ...


_Row = TypeVar("_Row", bound=_Wide)


def halves_of(measured: Sequence[_Row]) -> tuple[list[_Row], list[_Row]]:
    """The measurements of every second width, and all others: a fit on one half predicts the other.

    >>> from types import SimpleNamespace
    >>> widths = [SimpleNamespace(width=width) for width in (192, 384, 768)]
    >>> [[each.width for each in half] for half in halves_of(widths)]
    [[192, 768], [384]]
    """
    even = set(sorted({m.width for m in measured})[::2])
    first, second = ([m for m in measured if (m.width in even) == side] for side in (True, False))
    return first, second


def fit(rows: Sequence[Sequence[float]], targets: Sequence[float], form: Form) -> tuple[float, ...]:
    """Constants x ≥ 0 with rows · x ≈ targets, all as shares of the measured time. Raises
    ``ConfigError`` without rows.

    >>> from vitcost.hardware.constants import Form
    >>> free = Form(("a", "b"), (None, None), ("", ""), 1.0)
    >>> [round(x, 6) for x in fit([(1, 0), (0, 1), (1, 1)], [2, 3, 5], free)]
    [2.0, 3.0]
    """
    if len(rows) < 1:
        raise ConfigError("no measurement to fit")
    weights = [1.0] * len(rows)
    for _ in range(_ROUNDS):
        x = _non_negative(rows, targets, weights, form)
        errors = [abs(_dot(row, x) - t) for row, t in zip(rows, targets, strict=True)]
        weights = [1 / max(error, form.close) for error in errors]
    return x


def _non_negative(
    rows: Sequence[Sequence[float]],
    targets: Sequence[float],
    weights: Sequence[float],
    form: Form,
) -> tuple[float, ...]:
    """Weighted least squares over x ≥ 0, by trying every set of positive entries."""
    n = len(form.names)
    gram = [[0.0] * n for _ in range(n)]
    right = [0.0] * n
    for row, target, weight in zip(rows, targets, weights, strict=True):
        for i in range(n):
            right[i] += weight * row[i] * target
            for j in range(n):
                gram[i][j] += weight * row[i] * row[j]
    for i, prior in enumerate(form.priors):
        if prior is not None:
            # the weight of one exact measurement
            firm = prior.firm**2 * (1 / form.close if prior.once else len(rows))
            gram[i][i] += firm
            right[i] += firm * prior.near
    best, least = (0.0,) * n, float("inf")
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            x = _solved(gram, right, chosen)
            if x is None:
                continue
            value = _dot(x, [_dot(line, x) for line in gram]) - 2 * _dot(x, right)
            if value < least:
                best, least = x, value
    return best


def _solved(
    gram: list[list[float]], right: list[float], chosen: tuple[int, ...]
) -> tuple[float, ...] | None:
    """The least squares solution with these entries non-zero; None if one of them is not
    positive."""
    lines = [[gram[i][j] for j in chosen] + [right[i]] for i in chosen]
    for k in range(len(lines)):
        pivot = max(range(k, len(lines)), key=lambda i: abs(lines[i][k]))
        lines[k], lines[pivot] = lines[pivot], lines[k]
        if abs(lines[k][k]) < 1e-15:
            return None
        for i in range(len(lines)):
            if i != k:
                factor = lines[i][k] / lines[k][k]
                lines[i] = [a - factor * b for a, b in zip(lines[i], lines[k], strict=True)]
    solution = [line[-1] / line[k] for k, line in enumerate(lines)]
    if min(solution) <= 0:
        return None
    x = [0.0] * len(right)
    for i, value in zip(chosen, solution, strict=True):
        x[i] = value
    return tuple(x)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
