"""The pass of saved tensors: the tensors of each op that autograd saves for backward, and extra
outputs that the op writes for its backward alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from vitcost.engine.attention_kernels import statistics
from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Axis, Op, Tensor

__all__ = ["Saved", "extra", "mark", "storages"]

# tensors that outlive the step anyway: parameters, and the caller's images and indices
_NOT_SAVED = ("param", "input", "index")

Axes: TypeAlias = tuple[Axis, ...]
# the statistics of a norm: their names, and the axes that are normed together
_STATISTICS: Mapping[str, tuple[tuple[str, ...], Callable[[Axes], Axes]]] = {
    "s": (("mean", "rstd"), lambda axes: axes[:-1]),
    "r": (("rstd",), lambda axes: axes[:-1]),
    # every GroupNorm here has 32 groups
    "g": (("mean", "rstd"), lambda axes: (axes[0], 32)),
    "c": (("mean", "rstd"), lambda axes: axes[1:2]),
}


class Saved:
    """Books each storage that autograd saves for backward with the first op that saves it.

    >>> x, y, z = (Tensor(name, ("b", "h"), itemsize=4) for name in "xyz")
    >>> saved = Saved("cuda")
    >>> saved.op(Op("gelu", (x,), y)).saves
    (x[b h],)
    >>> saved.op(Op("mul", (x, y), z, needs=(True, True))).saves
    (y[b h],)
    """

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.kept: set[Tensor] = set()

    def op(self, op: Op) -> Op:
        """A lowered op that a gradient flows through, with all storages that it saves for backward,
        and those that no earlier op had saved."""
        kept = _kept_of(op)
        packs = _brings_back(op, kept, self.platform) if kept else ""
        return self.booked(op._replace(keeps=storages(kept), packs=packs))

    def booked(self, op: Op) -> Op:
        """An op that lists its saved storages, with those that no earlier op had saved."""
        fresh = tuple(storage for storage in op.keeps if storage not in self.kept)
        self.kept.update(fresh)
        return op._replace(saves=fresh)


def extra(op: Op, platform: str, precision: str) -> Iterator[Tensor]:
    """Statistics and masks that an op writes for its backward. They exist only if a gradient is
    needed; statistics of norms exist always."""
    keeps, e = KINDS[op.kind].saves, op.write.itemsize
    cpu_half = platform == "cpu" and precision == "half"
    if "k" in keeps:
        yield from statistics(op.kernel, platform, op)
    elif "i" in keeps:
        yield Tensor("indices", op.write.axes, "mask", None, 8)
    elif "m" in keeps:
        # a card's kernel of dropout writes booleans
        yield Tensor("mask", op.write.axes, "mask", None, 1 if platform == "cuda" else e)
    elif "d" in keeps:
        yield Tensor("mask", op.write.axes[:1], "mask", None, e)
    elif "b" in keeps:
        # log_sigmoid_forward: the buffer of a card's kernel is empty
        axes = op.write.axes if platform == "cpu" else (0,)
        yield Tensor("buffer", axes, "mask", None, e)
    else:
        for letter in keeps:
            if letter not in _STATISTICS:
                continue
            names, together = _STATISTICS[letter]
            for name in names:
                # group_norm.cpp: statistics have the type of the input if the weights have it too
                half = cpu_half or (letter == "g" and precision == "half")
                yield Tensor(name, together(op.write.axes), "stat", None, 2 if half else 4)


def _kept_of(op: Op) -> list[Tensor]:
    """The tensors that autograd saves for the backward of a lowered op."""
    keeps = KINDS[op.kind].saves
    kept = list(op.extra)
    if "x" in keeps:
        kept += op.reads
    if "n" in keeps:
        kept.append(op.reads[-1])
    if "w" in keeps and op.weight is not None:
        kept.append(op.weight)
    if "y" in keeps:
        kept.append(op.write)
    if "o" in keeps:
        kept += _partners(op)
    return kept


def _brings_back(op: Op, kept: list[Tensor], platform: str) -> str:
    """How far a checkpointed region must run again if this is the last op whose tensors autograd
    saves. "stops": only inputs of the op are saved, so the op need not run. "draws": its random
    mask is saved. "runs": its output is; a card's dropout draws and multiplies in one kernel."""
    if not any(t is op.write or t in op.extra for t in kept):
        return "stops"
    keeps = KINDS[op.kind].saves
    drawn = "d" in keeps or ("m" in keeps and platform == "cpu")
    return "draws" if drawn else "runs"


def _partners(op: Op) -> Iterator[Tensor]:
    """The factors of a product that are saved because another factor's gradient needs them."""
    if op.weight is not None:
        if op.trains:
            yield op.reads[0]
        if op.needs[0]:
            yield op.weight
    else:
        left, right = op.reads
        if op.needs[1]:
            yield left
        if op.needs[0]:
            yield right


def storages(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The storages of these tensors that saving keeps alive; parameters and the caller's tensors
    live anyway."""
    kept = dict.fromkeys(t.storage for t in tensors)
    return tuple(t for t in kept if t.role not in _NOT_SAVED)


def mark(storage: Tensor, fresh: bool) -> Op:
    """An op that marks where a checkpointed region saves an input."""
    view = Tensor(storage.name, storage.axes, storage.role, storage, storage.itemsize)
    saves = (storage,) if fresh else ()
    return Op("checkpoint", (storage,), view, saves=saves, keeps=(storage,))
