"""The picture of a report's training step: the bytes in memory at every moment."""

from functools import lru_cache

from vitcost.costs.memory_types import PeakParts
from vitcost.costs.report_types import Report
from vitcost.errors import NotCovered
from vitcost.page import Areas, Moment, shown
from vitcost.pages.memory_tables import PARTS

__all__ = ["over_step"]

# deeper models have more moments than a picture could show
_DEEPEST = 2000


def over_step(report: Report) -> tuple[Areas, ...]:
    """Memory over a training step; nothing if its moments are not known exactly."""
    if getattr(report.model.config, "depth", 0) > _DEEPEST:
        return ()
    try:
        moments = report.moments()
    except NotCovered:
        return ()
    # only parts that occur are drawn; parts that never change are at the bottom
    columns = zip(*(moment.parts for moment in moments), strict=True)
    by_part = dict(zip(PeakParts._fields, columns, strict=True))
    drawn = [(title, by_part[name]) for title, name in _stacked() if any(by_part[name])]
    stacks = zip(*(sizes for _, sizes in drawn), strict=True)
    most = max(moments, key=lambda moment: moment.total_bytes)
    again = any(moment.phase == "recomputation" for moment in moments)
    return (
        Areas(
            f"Memory over a training step, batch of {report.scenario.batch:,}",
            "bytes",
            tuple(title for title, _ in drawn),
            tuple(
                Moment(m.phase, _layer(m.path), stack)
                for m, stack in zip(moments, stacks, strict=True)
            ),
            f"peak {shown(most.total_bytes, 'bytes')}: {most.place}",
            (
                "from left to right every operator of a steady step, in order; a width is no time. "
                "The parts of each moment add up to the bytes of all tensors"
                + ("; blocks run again in the backward pass (recomputation)" if again else ""),
            ),
            tuple(title for title, _ in PARTS),
        ),
    )


def _stacked() -> list[tuple[str, str]]:
    """The parts of memory; those that outlive the step come first."""
    changing = ("gradients_bytes", "saved_activations_bytes", "temporary_bytes")
    return sorted(
        ((title, name) for title, name in PARTS if name in PeakParts._fields),
        key=lambda pair: changing.index(pair[1]) if pair[1] in changing else -1,
    )


@lru_cache(maxsize=4096)
def _layer(path: str) -> str:
    """The layer that a module belongs to: its path up to the last number, else its first name.

    >>> _layer("blocks.3.attn.qkv"), _layer("layers.0.blocks.1.mlp"), _layer("patch_embed.proj")
    ('blocks.3', 'layers.0.blocks.1', 'patch_embed')
    """
    names = path.split(".")
    numbers = [i for i, name in enumerate(names) if name.isdecimal()]
    return ".".join(names[: numbers[-1] + 1] if numbers else names[:1])
