"""Where a step is unlike all that was measured: batches below those, and hosts slower than a card.

``done`` and ``batch`` may be arrays, of many configs of one structure.
"""

from collections.abc import Iterator
from typing import Any

from vitcost.hardware.basis import Basis
from vitcost.hardware.classes import Work
from vitcost.hardware.constants import HOST_SECONDS, HOST_SPREAD, host_of, host_seconds
from vitcost.hardware.rates import Rates, seconds_of

__all__ = ["far", "is_far", "notes_on"]

# a processor's band where batches are larger than any that was timed
_PROCESSOR = 0.40
_LARGER = "batches above 1 were measured on no processor"


def far(on: Basis) -> Rates:
    """The rates there, with a band as wide as those of hosts, or of a processor's batches."""
    if on.setup.platform == "cpu":
        return on.rates.spread(_PROCESSOR, _PROCESSOR)._replace(basis="spec_sheet")
    below, above = HOST_SPREAD[host_of(on.setup)]
    basis = "anchored" if on.rates.basis == "calibrated" else on.rates.basis
    return on.rates.spread(1 - below, above - 1)._replace(basis=basis)


def is_far(on: Basis, done: Work, batch: int) -> Any:
    """Whether a step is there. A host that was measured with its card is as well known as it is."""
    if on.setup.platform == "cpu":
        return batch > on.most_batch
    small = batch < on.least_batch
    return small if on.rates.host is not None else small | _waits(on, done)


def notes_on(on: Basis, done: Work) -> Iterator[str]:
    """What a page says of a step that is there."""
    if on.setup.platform == "cpu":
        if on.scenario.batch > on.most_batch:
            yield _LARGER
        return
    if on.scenario.batch < on.least_batch:
        yield f"batches below {on.least_batch} were timed on other cards and hosts"
    if _waits(on, done):
        host = on.rates.host
        own = HOST_SECONDS[host_of(on.setup)] if host is None else host
        yield (
            f"bound by the host, at {1e6 * own:.0f} µs for each of {done.launches:,} launches; "
            "hosts differ by a factor of three"
        )


def _waits(on: Basis, done: Work) -> Any:
    """Whether the card waits for the host."""
    device, _ = seconds_of(done, on.sheet, on.setup, on.rates.constants, 0.0)
    return host_seconds(done, on.setup, on.rates.host) > device
