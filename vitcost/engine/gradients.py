"""The gradients that a backward pass has not used yet: their holders, and their allocation."""

from collections import Counter

from vitcost.config.records import Record
from vitcost.engine.forward_trace import Ledger
from vitcost.engine.live import Place
from vitcost.engine.ops import Axis, Tensor
from vitcost.engine.orders import TURNED

__all__ = ["Gradients", "Layout"]


class Layout(Record):
    """The facts that decide the memory layout of gradients."""

    one_image: bool
    one_head: bool
    platform: str
    # whether all tokens are patches, so that the axes n and s have one size
    patches_alone: bool = False


class Gradients:
    """The storages that the nodes of a backward pass allocate, share, look at and free.

    ``in_place``: whether a second gradient is added in place; torch does not under a dispatch mode,
    and its own memory tracker is one. ``onto``: whether parameters have gradients already, to which
    the new ones are added. ``bounding``: where torch's allocations are not known, allocate no less
    than torch.
    """

    def __init__(
        self,
        ledger: Ledger,
        layout: Layout,
        in_place: bool = True,
        onto: bool = False,
        bounding: bool = False,
    ) -> None:
        self.ledger, self.layout, self.in_place = ledger, layout, in_place
        self.one_image, self.onto, self.bounding = layout.one_image, onto, bounding
        self.pending: dict[Tensor, Tensor] = {}
        # several tensors may wait for one gradient: one storage with several owners
        self.owners: Counter[Tensor] = Counter()
        self.settled = 0
        # parameters that two ops read, each with its first gradient, which waits for the second
        self.tied: dict[Tensor, Tensor | None] = {}
        self.place = Place("backward", "")
        # tensors of the forward pass whose memory layout differs from the order of their axes
        self.turned: frozenset[Tensor] = frozenset()
        # scratch tensors of the node that runs
        self.passing: list[Tensor] = []

    def give(self, tensor: Tensor, value: Tensor) -> None:
        """Adds a gradient to the pending one of a tensor; a parameter has one pending gradient at
        most."""
        if tensor.role == "param" and tensor.base is None:
            self.settle(tensor, value)
            return
        first = self.pending.get(tensor)
        self.pending[tensor] = value if first is None else self.met(tensor, first, value)

    def met(self, tensor: Tensor, first: Tensor, value: Tensor) -> Tensor:
        """The sum of two gradients of one tensor."""
        alone = self.owners[first] == 1 == self.ledger.holders[first.storage]
        # a view holds its base, so that its storage has two owners
        if self.in_place and alone and first.base is None:
            self.drop(value)
            return first
        summed = self.new(tensor, role=TURNED if first.role == TURNED else "")
        self.look()
        self.drop(first)
        self.drop(value)
        return summed

    def settle(self, parameter: Tensor, value: Tensor) -> Tensor:
        """Accumulates the gradient of a parameter: adds it to an existing gradient; else takes the
        tensor over, or copies it if another tensor waits for it too. If two ops read the parameter,
        the first gradient waits for the second. Returns the tensor that is the parameter's
        gradient."""
        if parameter in self.tied:
            first = self.tied[parameter]
            self.tied[parameter] = value
            if first is None:
                return value
            value = self.met(parameter, first, value)
        self.settled += 1
        # an accumulated gradient has the memory layout of the parameter
        if self.onto:
            self.drop(value)
        elif self.owners[value] > 1 or value.role == TURNED:
            copy = Tensor("gradient", value.axes, "", None, value.itemsize)
            self.ledger.born(copy, "gradients")
            self.owners[copy] = 1
            self.look()
            self.drop(value)
            return copy
        else:
            self.ledger.move(value, "gradients")
        return value

    def new(
        self,
        like: Tensor,
        axes: tuple[Axis, ...] | None = None,
        itemsize: int = 0,
        role: str = "",
    ) -> Tensor:
        """Allocates a gradient; ``role`` is its memory layout."""
        lasts = like.role == "param" and axes is None and not self.onto
        part = "gradients" if lasts else "temporary"
        value = Tensor(
            f"gradient of {like.name}", axes or like.axes, role, None, itemsize or like.itemsize
        )
        self.ledger.born(value, part)
        self.owners[value] = 1
        return value

    def pass_by(self, axes: tuple[Axis, ...], itemsize: int) -> None:
        """Allocates a temporary of a node, which C++ frees at the end of the statement."""
        value = Tensor("", axes, "", None, itemsize)
        self.ledger.born(value)
        self.passing.append(value)

    def passed(self) -> None:
        """Frees the temporaries of a C++ statement when it ends."""
        while self.passing:
            self.ledger.drop(self.passing.pop())

    def view(self, value: Tensor, axes: tuple[Axis, ...], role: str = "") -> Tensor:
        """Another tensor on the storage of a gradient."""
        alias = Tensor(value.name, axes, role, value, value.itemsize)
        self.ledger.hold(alias)
        self.owners[alias] = 1
        return alias

    def only_view(self, value: Tensor) -> Tensor:
        """A view of a gradient; the view is the only holder of the storage."""
        alias = self.view(value, value.axes)
        self.drop(value)
        return alias

    def share(self, value: Tensor) -> Tensor:
        self.ledger.hold(value)
        self.owners[value] += 1
        return value

    def drop(self, value: Tensor) -> None:
        self.ledger.drop(value)
        self.owners[value] -= 1

    def look(self) -> None:
        self.ledger.look(self.place)

    def repeats(self, axes: tuple[Axis, ...], over: tuple[Axis, ...]) -> bool:
        """Whether the forward repeated a tensor with these axes along others when it read it."""
        same: dict[Axis, Axis] = {"b": 1} if self.one_image else {}
        if self.layout.patches_alone:
            same["n"] = "s"
        return [same.get(axis, axis) for axis in axes] != [same.get(axis, axis) for axis in over]
