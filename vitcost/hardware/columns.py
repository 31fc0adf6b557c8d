"""The time of many configs of one structure at once: their sizes are arrays, and so are the
seconds.

Arrays go through the same operations as a single prediction, in the same order, so the numbers are
equal.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.engine.model import Config
from vitcost.engine.ops import Axis, Sizes
from vitcost.errors import NotCovered
from vitcost.hardware.basis import Basis, basis_of
from vitcost.hardware.cards import Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.far import far, is_far
from vitcost.hardware.rates import seconds_of
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Work, total

__all__ = ["Clock", "Times", "clock"]

# limits that leave room below 64 bits: a ratio may exceed the largest sizes, and the rows of a
# narrow norm are padded to 128
_MOST, _MOST_STREAMED = 2**60, 2**55


class Times(NamedTuple):
    """The time of a config on a card, or the times of a column of configs, in seconds; the names
    are those of a comparison's JSON after ``step_time_``."""

    gpu: Any
    mode: Any
    basis: Any
    low_seconds: Any
    high_seconds: Any
    seconds: Any

    def taken(self, rows: Any) -> "Times":
        """The times of some rows."""
        return Times(*(column[rows] for column in self))

    def told(self) -> dict[str, Any]:
        """The time of one row for JSON."""
        return {f"step_time_{name}": value for name, value in self._asdict().items()}

    def __str__(self) -> str:
        return f"{self.gpu} {self.mode}, {self.basis} {self.band}"

    @property
    def band(self) -> str:
        """The band of a time as shares: ``±10%``, or ``-40% +70%``."""
        below = f"{1 - self.low_seconds / self.seconds:.0%}"
        above = f"{self.high_seconds / self.seconds - 1:.0%}"
        return f"±{above}" if below == above else f"-{below} +{above}"


class Clock(NamedTuple):
    """The times of a structure on a card; ``config`` and ``scenario`` are an example of it."""

    config: Config
    scenario: Scenario
    on: Basis

    def times(self, sizes: Sizes, batch: Any) -> Times:
        """The times for columns of sizes; a value that is not a column holds for all rows.

        >>> from vitcost.zoo import resolve
        >>> import numpy as np
        >>> found = clock(resolve("vit_tiny_patch16_224").config, Scenario(batch=64), "l4")
        >>> from vitcost.engine.model import columns
        >>> batch = np.array([64, 128])
        >>> sizes, _ = columns(found.config, batch)
        >>> found.times(sizes, batch).basis.tolist()
        ['of_its_kind', 'of_its_kind']
        """
        import numpy as np

        on = self.on
        done = self._work(sizes)
        total_seconds, _ = seconds_of(done, on.sheet, on.setup, on.rates.constants, on.rates.host)
        seconds = np.asarray(total_seconds, np.float64)
        distant, near, wide = is_far(on, done, batch), on.rates, far(on)
        distant = np.broadcast_to(np.asarray(distant, bool), seconds.shape)
        return Times(
            on.card.name,
            on.setup.mode,
            np.where(distant, wide.basis, near.basis).astype(object),
            np.where(distant, seconds * (1 - wide.below), seconds * (1 - near.below)),
            np.where(distant, seconds * (1 + wide.band), seconds * (1 + near.band)),
            seconds,
        )

    def _work(self, sizes: Sizes) -> Work:
        """All work of a step, in 64-bit integers if no intermediate number can be larger."""
        columns: dict[Axis, Any] = {
            axis: size for axis, size in sizes.items() if hasattr(size, "dtype")
        }
        largest = self._at(Sizes({**sizes, **{k: int(size.max()) for k, size in columns.items()}}))
        if max(largest) > _MOST or largest.stream_bytes > _MOST_STREAMED:
            sizes = Sizes({**sizes, **{k: size.astype(object) for k, size in columns.items()}})
        return self._at(sizes)

    def _at(self, sizes: Sizes) -> Work:
        return total(work(self.config, self.on.scenario, self.on.setup, sizes=sizes))


def clock(
    config: Config,
    scenario: Scenario,
    card: "str | Card",
    calibrations: Sequence[Calibration] = (),
) -> Clock | None:
    """The ``Clock`` for all configs of a structure, made from one of them.

    None if each config must be asked by itself: an engine may switch its attention for longer
    sequences, and several attention kernels are ordered by how often each runs. Raises
    ``NotCovered`` for a model that launches no kernel, and ``UnknownName``, ``NotCovered`` and
    ``ConfigError`` as ``basis_of`` does.

    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> clock(config, Scenario(batch=64), "l4").on.card.name
    'l4'
    >>> clock(config, Scenario(software="tensorrt"), "l4") is None
    True
    """
    on = basis_of(config, scenario, card, calibrations=calibrations)
    if on.setup.engine or len(on.kernels) > 1:
        return None
    if not total(work(config, on.scenario, on.setup)).launches:
        raise NotCovered("a model that launches no kernel has no time")
    return Clock(config, scenario, on)
