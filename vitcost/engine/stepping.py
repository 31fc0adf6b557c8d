"""A backward pass in which each parameter is updated as soon as its gradient is there.

The recipe is torch's: an optimizer for each parameter, which a hook behind the accumulation of its
gradient steps, and which then lets the gradient go::

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    parameter.register_post_accumulate_grad_hook(update)

The engine runs the accumulation of a gradient before any other node, so that no more of the
backward pass has run by then. Source: docs.pytorch.org, "How to save memory by fusing the optimizer
step into the backward pass".
"""

from collections.abc import Iterable, Mapping
from math import prod

from vitcost.config.optimizers import OPTIMIZERS, Change, Optimizer
from vitcost.config.records import Record
from vitcost.engine.backward import Backward
from vitcost.engine.derivatives import Gradient
from vitcost.engine.forward_trace import Ledger
from vitcost.engine.gradients import Layout
from vitcost.engine.ops import Op, Size, Tensor, largest
from vitcost.errors import NotCovered

__all__ = ["SteppingBackward", "Update", "most_held", "update_of"]

# three shapes with equally many elements: if a step allocates copies of a tensor, it needs the same
# bytes for each
_SHAPES = ((210,), (14, 15), (5, 6, 7))


class Update(Record):
    """The temporaries of an optimizer that steps one tensor: ``copies`` of that tensor, and
    ``beside`` bytes more."""

    copies: int
    beside: int


def update_of(name: str, platform: str) -> Update:
    """The temporaries of an optimizer that holds a single tensor.

    Raises ``NotCovered`` for an optimizer whose tensors share a norm or tables, or whose
    temporaries follow from the shape of a tensor.

    >>> update_of("adamw", "cuda"), update_of("adamw", "cpu"), update_of("adamw-fused", "cuda")
    (Update(copies=1, beside=0), Update(copies=2, beside=0), Update(copies=0, beside=0))
    """
    row = OPTIMIZERS[name]
    copies = None if row.rest or row.tables else _copies(row, row.steps(platform))
    if copies is None:
        raise NotCovered(
            f"optimizer {name} in the backward pass: its tensors share a norm or tables, or a step "
            "allocates other tensors than copies of the one that it updates"
        )
    return Update(copies, row.beside)


def _copies(row: Optimizer, how: str) -> int | None:
    """How many copies of a tensor its step allocates; None if it allocates anything but copies."""
    if how not in ("loop", "compiled"):
        return int(how == "foreach")
    most = [int(most_held(row.walk(shape, 1))) for shape in _SHAPES]
    copies, more = divmod(most[0], prod(_SHAPES[0]))
    return copies if not more and len({*most}) == 1 else None


def most_held(changes: Iterable[Change]) -> Size:
    """The most bytes that the locals of a loop hold at one time, which is before some of them are
    freed.

    >>> most_held(OPTIMIZERS["adamw"].walk((2, 3), 4)) == 2 * 4 * 6
    True
    """
    alive: dict[str, list[Size]] = {}
    most: Size = 0
    grown = False
    for name, size, last in changes:
        held = alive.setdefault(name, [])
        if size is not None:
            held.append(size)
            grown = True
            continue
        if grown:
            most, grown = largest(most, _held(alive)), False
        del held[: len(held) - last]
    return largest(most, _held(alive)) if grown else most


def _held(alive: Mapping[str, Iterable[Size]]) -> Size:
    return sum(size for sizes in alive.values() for size in sizes)


class SteppingBackward(Backward):
    """A backward pass that updates parameters and frees their gradients."""

    def __init__(
        self, ledger: Ledger, layout: Layout, update: Update, in_place: bool, bounding: bool
    ) -> None:
        super().__init__(ledger, layout, in_place, False, bounding)
        self.update = update

    def in_order(self, op: Op, gradients: list[Gradient]) -> list[Gradient]:
        """A linear layer reads the transpose of its weight, whose gradient takes one node more than
        that of the bias."""
        if op.kind != "linear":
            return gradients
        return sorted(gradients, key=lambda each: each.of is not op.bias)

    def settle(self, parameter: Tensor, value: Tensor) -> Tensor:
        settled = self.settled
        grad = super().settle(parameter, value)
        if self.settled > settled:
            self._step(grad)
        return grad

    def _step(self, grad: Tensor) -> None:
        copies, beside = self.update
        place, self.place = self.place, self.place._replace(phase="optimizer step")
        if copies:
            self.pass_by(grad.axes, copies * grad.itemsize)
        if beside:
            self.pass_by((beside,), 1)
        self.look()
        self.passed()
        self.drop(grad)
        self.place = place
