"""Names without a formula, by the digest of their traces: neither torch nor timm is needed."""

from functools import partial
from pathlib import Path
from typing import cast

from vitcost.engine.model import Config
from vitcost.traced.digest import index, read
from vitcost.traced.digested import DigestedModel
from vitcost.traced.model import TracedModel
from vitcost.zoo.found import Resolved

__all__ = ["TIMM", "of_timm"]

# tests/digest/make.py writes it
TIMM = Path(__file__).parent / "timm" / "digest.bin"

_REASON = "no formula here describes it"


def of_timm(name: str) -> Resolved | None:
    """A name of timm that its digest has, at its own image size; None for another."""
    if not TIMM.exists() or name not in index(str(TIMM)).entries:
        return None
    found = read(str(TIMM), name)
    model = DigestedModel(name, found, _REASON, partial(_traced, name))
    source = f"timm's {model.kind}, traced: {_REASON}; {found.index.library}"
    # it is asked as a workload: what needs a formula refuses it
    return Resolved(name, source, cast("Config", model))


def _traced(name: str) -> TracedModel | None:
    """The same module, traced here for what its digest does not hold."""
    from vitcost.zoo import tracing

    found = tracing.of_timm(name)
    return None if found is None else cast(TracedModel, found.config)
