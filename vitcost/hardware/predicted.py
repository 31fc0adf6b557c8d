"""A prediction of a step's time: seconds, a band, their evidence, and parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from vitcost.hardware.beside import Beside

__all__ = ["LIMITS", "Part", "Time", "TurningPoints"]

# names for the resources of ``Time.bound`` next to other parts of a step
LIMITS = {"compute": "compute", "memory": "memory bandwidth", "overhead": "launches"}


class Part(NamedTuple):
    """A part of the model: its time, the resource that bounds it, and its work: FLOPs of products
    as they run, and bytes that kernels read and write."""

    name: str
    seconds: float
    bound: str
    flops: int = 0
    moved_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Time:
    """Seconds of one step on one card.

    ``basis`` says which measurements it is based on: ``calibrated`` (of this card, software and
    mode), ``anchored`` (of this card in another mode or software), ``of_its_kind`` (of similar
    cards), ``spec_sheet`` (none). ``fitted_rows`` is their number, ``held_out`` the mean error on
    measurements left out of the fit, ``source`` their authors. ``low_seconds`` and ``high_seconds``
    are its band, ``attention_kernel`` the kernels that run its attentions on this card,
    ``peak_share`` the model's FLOPs divided by those that the sheet allows in that time, ``notes``
    the aspects that no measurement covers, ``turning`` the batches at which the bound changes
    (``timed`` looks for them, ``predict`` does not). ``verdict`` says whether the step's tensors
    fit the card: ``fits``, ``tight`` (only without the bytes ``beside`` them) or ``no``;
    ``headroom_bytes`` are left after both. Both fields are None if the memory is not known.
    """

    gpu: str
    mode: str
    seconds: float
    images_per_second: float
    bound: str
    basis: str
    low_seconds: float
    high_seconds: float
    software: str
    attention_kernel: tuple[str, ...] = ()
    fitted_rows: int = 0
    held_out: float | None = None
    source: str = ""
    peak_share: float | None
    verdict: str | None = None
    tensor_bytes: int | None = None  # the tensors' bytes with the attention kernels of this card
    headroom_bytes: int | None = None
    # the sheet's rates for the precision; None for a processor, which has no sheet
    sheet_flops_per_second: float | None = None
    sheet_bytes_per_second: float | None = None
    turning: "TurningPoints | None" = None
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    beside: Beside | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row of a report's ``time``."""
        row: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            row[name] = list(value) if isinstance(value, tuple) else value
            if name == "turning":
                row |= (self.turning or TurningPoints(None, None))._asdict()
        row["parts"] = [part._asdict() for part in self.parts]
        del row["turning"], row["beside"]
        return row

    def rows(self) -> Iterator[dict[str, Any]]:
        """The step and its parts as flat rows, as a report's layers have theirs."""
        row = self.to_dict()
        del row["parts"], row["notes"]
        yield {"path": "", "type": "Time", **row}
        for part in self.parts:
            cells = {"gpu": self.gpu, "mode": self.mode, **part._asdict()}
            yield {"path": cells.pop("name"), "type": "Time", **cells}


class TurningPoints(NamedTuple):
    """The smallest batches at which launches no longer bound a step, and at which compute does.

    None: no batch up to 65,536.
    """

    beyond_overhead_batch: int | None
    compute_batch: int | None
