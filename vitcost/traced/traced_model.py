"""A traced model: it takes the place of a config for a module that no formula describes.

Its traces come from a file, or are made when they are asked for (``vitcost.traced.module_traces``).
"""

from collections.abc import Mapping
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.file import TraceFile
from vitcost.traced.trace import How, Trace
from vitcost.traced.traced_workload import Traced, Traces

__all__ = ["Filed", "TracedModel"]


class Filed(Traces):
    """The traces of one file."""

    def __init__(self, file: TraceFile, path: str) -> None:
        self.file, self.path = file, path

    def at(self, how: How, batch: int) -> Trace:
        for of_trace, trace in self.file.traces:
            many = len(trace.batches) > 1 and batch > 1
            if of_trace == how and (many or trace.batches == (batch,)):
                return trace
        raise NotCovered(
            f"{self.path} has no trace under {how.said()} at batch {batch}: "
            f"it has {self.file.batches()}"
        )

    def lines(self, how: How) -> Trace:
        return self.at(how, 2)

    def any(self) -> Trace:
        return self.file.traces[0][1]

    def precisions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(how.precision for how, _ in self.file.traces))

    def with_fields(self, overrides: Mapping[str, Any]) -> "Filed":
        if overrides:
            name = next(iter(overrides))
            raise ConfigError(f"{self.path} is a trace, which {name} cannot change: trace it again")
        return self

    def to_dict(self) -> dict[str, Any]:
        _, trace = self.file.traces[0]
        return {"notes": list(trace.notes), "torch": trace.torch, "hash": self.file.hash}


class TracedModel:
    """A module that is known only by its traces; ``reason`` says why no formula describes it."""

    losses = 1

    def __init__(self, name: str, kind: str, traces: Traces, reason: str = "") -> None:
        self.name, self.kind, self.traces, self.reason = name, kind, traces, reason

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of its traces; empty where any precision can be traced."""
        return self.traces.precisions()

    @property
    def reference(self) -> str:
        """Where its numbers come from."""
        version = self.traces.to_dict().get("torch", "")
        return (
            f"a trace of every operator and storage by torch {version}: sizes at a few batches, "
            "and the polynomials through them"
        )

    def workload(self, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
        """The model under a scenario; its only axis is the batch, for which ``sizes`` may have a
        symbol."""
        if sizes is None:
            return Traced(self.traces, self.kind, scenario, scenario.batch)
        return Traced(self.traces, self.kind, scenario, sizes["b"], searched=True)

    def with_fields(self, overrides: Mapping[str, Any]) -> "TracedModel":
        """The same module on other inputs; raises ``ConfigError`` for fields that its traces cannot
        change.
        """
        return TracedModel(self.name, self.kind, self.traces.with_fields(overrides), self.reason)

    def to_dict(self) -> dict[str, Any]:
        """The config of a report."""
        return self.traces.to_dict()
