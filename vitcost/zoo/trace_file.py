"""``trace``: traces a module under several scenarios into a file that every command reads without
torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, NotCovered
from vitcost.traced.file import TraceFile
from vitcost.traced.trace import How, Trace, how_of
from vitcost.traced.trace_writer import write
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import Model, resolve

__all__ = ["SWEPT", "Written", "trace"]

# the flags that change a trace, each with its default and its help
SWEPT: Sequence[tuple[str, str, str]] = (
    ("precision", "fp32", "fp32, amp-bf16, amp-fp16, bf16, fp16"),
    ("platform", "cuda", "cuda, cpu"),
    ("attention", "sdpa", "sdpa, eager, math, flash, efficient, cudnn"),
    ("checkpointing", "none", "none, block"),
    ("freeze", "none", "none, backbone, first:K, all-but-last:K"),
    ("zero", "0", "0, 3; 3: for fully sharded weights, zero 2 too, on any number of ranks"),
    ("policy", "none", "none, reduce-fp32; a policy of --zero 3, any"),
)


class Written(NamedTuple):
    """A written file: its number of scenarios, and its bytes."""

    path: str
    scenarios: int
    size: int
    missing: tuple[str, ...]  # traces that failed, each with the reason


def trace(
    model: Model, output: str, scenarios: Sequence[Mapping[str, Any]] = ({},), **overrides: Any
) -> Written:
    """Traces a module under scenarios, each at batch 1 and as polynomials in the batch, into a
    file.

    ``model`` is a factory, the result of ``from_torch``, or a name without a formula; ``overrides``
    are its ``input`` and ``loss``. Raises ``VitcostError`` if a scenario cannot be traced.

    >>> from tempfile import TemporaryDirectory
    >>> from torch.nn import Linear
    >>> from vitcost import from_torch
    >>> with TemporaryDirectory() as folder:
    ...     file = trace(from_torch(Linear(768, 1000), inputs="768"), f"{folder}/head.json")
    >>> file.scenarios, file.missing
    (1, ())
    """
    resolved = resolve(model, **overrides)
    if not hasattr(resolved.config, "workload"):
        raise NotCovered(
            f"{resolved.name} has a formula, which every command reads without torch: nothing to "
            "trace; with --input or --loss a factory is traced"
        )
    traced_model = cast(TracedModel, resolved.config)
    traces: list[tuple[How, Trace]] = []
    missing = []
    for flags in scenarios:
        # a trace is the same for any number of ranks, but zero needs several
        ranks = {"ranks": 2} if flags.get("zero") else {}
        how = how_of(Scenario.of(**{"mode": "train", **ranks, **flags}))
        if any(how == other for other, _ in traces):
            raise ConfigError(f"{how.said()} is given twice")
        traces.append((how, traced_model.traces.lines(how)))
        try:
            traces.append((how, traced_model.traces.at(how, 1)))
        except NotCovered as reason:
            missing.append(f"batch 1 under {how.said()}: {reason}")
    write(output, TraceFile(resolved.name, traced_model.kind, _digest(traces), tuple(traces)))
    return Written(output, len(scenarios), Path(output).stat().st_size, tuple(missing))


def _digest(traces: Sequence[tuple[How, Trace]]) -> str:
    """A SHA-256 of the module: its parameters, its buffers, and the modules that were called."""
    # imported only here: a file that is read has its digest already
    from hashlib import sha256

    trace = traces[0][1]
    contents = (trace.weights, trace.buffers, trace.inference.modules, trace.inference.calls)
    return sha256(repr(contents).encode()).hexdigest()
