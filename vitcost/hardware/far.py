"""Steps unlike all measurements: smaller batches, and hosts slower than the card.

``done`` and ``batch`` may be arrays, for many configs of one structure.
"""

from collections.abc import Iterator
from typing import Any

from vitcost.hardware.basis import Basis
from vitcost.hardware.constants import HOST_SECONDS, HOST_SPREAD, host_of, host_seconds
from vitcost.hardware.rates import Rates, seconds_of
from vitcost.hardware.work_classes import Work

__all__ = ["far", "is_far", "notes_on"]

# a processor's band for batches larger than any that was timed
_PROCESSOR = 0.40
_LARGER = "no CPU benchmark has a batch above 1"


def far(on: Basis) -> Rates:
    """The rates of a step outside of all measurements, with the wide band of hosts; on a processor,
    with that of larger batches.

    >>> from vitcost.hardware.basis import basis_of
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> on = basis_of(config, Scenario(batch=1, precision="amp-bf16"), "rtx4090")
    >>> far(on).basis, far(on).below  # HOST_SPREAD of eager hosts: 0.5 to 2.2 times
    ('anchored', 0.5)
    """
    if on.setup.platform == "cpu":
        return on.rates.spread(_PROCESSOR, _PROCESSOR)._replace(basis="spec_sheet")
    below, above = HOST_SPREAD[host_of(on.setup)]
    basis = "anchored" if on.rates.basis == "calibrated" else on.rates.basis
    return on.rates.spread(1 - below, above - 1)._replace(basis=basis)


def is_far(on: Basis, done: Work, batch: int) -> Any:
    """Whether a step of ``batch`` images is outside of all measurements: below the smallest batch
    that was measured, or bound by its host; on a processor above the largest. If the host was
    measured with its card, a step that it bounds is not outside.

    >>> from vitcost.hardware.basis import basis_of
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> on = basis_of(config, Scenario(precision="amp-bf16"), "rtx4090")
    >>> is_far(on, Work(gemm_flops=10**13, launches=200), 256), is_far(on, Work(launches=200), 256)
    (False, True)
    """
    if on.setup.platform == "cpu":
        return batch > on.most_batch
    small = batch < on.least_batch
    return small if on.rates.host is not None else small | _waits(on, done)


def notes_on(on: Basis, done: Work) -> Iterator[str]:
    """The notes on a page about a step outside of all measurements.

    >>> from vitcost.hardware.basis import basis_of
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> config = resolve("vit_base_patch16_224").config
    >>> on = basis_of(config, Scenario(batch=1, precision="amp-bf16"), "rtx4090")
    >>> list(notes_on(on, Work(gemm_flops=10**13, launches=200)))
    ['batches below 16 were timed on other cards and hosts']
    """
    if on.setup.platform == "cpu":
        if on.scenario.batch > on.most_batch:
            yield _LARGER
        return
    if on.scenario.batch < on.least_batch:
        yield f"batches below {on.least_batch} were timed on other cards and hosts"
    if _waits(on, done):
        host = on.rates.host
        seconds = HOST_SECONDS[host_of(on.setup)] if host is None else host
        yield (
            f"bound by the host, at {1e6 * seconds:.0f} µs for each of {done.launches:,} launches; "
            "hosts differ by a factor of three"
        )


def _waits(on: Basis, done: Work) -> Any:
    """Whether the card waits for the host."""
    device, _ = seconds_of(done, on.sheet, on.setup, on.rates.constants, 0.0)
    return host_seconds(done, on.setup, on.rates.host) > device
