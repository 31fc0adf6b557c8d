"""The gradients of a backward pass on their way: the holders of each, and when it is allocated."""

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
    # whether patches are all the tokens, so that n and s are one number
    patches_alone: bool = False


class Gradients:
    """The storages that the nodes of a backward pass allocate, share, look at and free.

    ``in_place``: whether a second gradient is added in place; torch does not under a dispatch
    mode, which is how its own memory tracker looks at a step. ``onto``: whether parameters have
    gradients already, which theirs are added to. ``bounding``: whether no less than torch may be
    allocated, where it is not known how much that is.
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
        # a gradient that is pending for several tensors is one storage with several owners
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
        """The gradient of a parameter: added to what is there, or else taken over, or copied where
        another tensor waits for it. Of a parameter that two ops read the first waits for the second
        one. Returns the one that stays."""
        if parameter in self.tied:
            first = self.tied[parameter]
            self.tied[parameter] = value
            if first is None:
                return value
            value = self.met(parameter, first, value)
        self.settled += 1
        # a parameter has its gradient in its own layout
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
        """The end of such a statement."""
        while self.passing:
            self.ledger.drop(self.passing.pop())

    def view(self, value: Tensor, axes: tuple[Axis, ...], role: str = "") -> Tensor:
        """Another tensor in the storage of a gradient."""
        alias = Tensor(value.name, axes, role, value, value.itemsize)
        self.ledger.hold(alias)
        self.owners[alias] = 1
        return alias

    def only_view(self, value: Tensor) -> Tensor:
        """A view of a gradient that nothing else holds."""
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
        """Whether a tensor of some axes was repeated along others when it was read."""
        same: dict[Axis, Axis] = {"b": 1} if self.one_image else {}
        if self.layout.patches_alone:
            same["n"] = "s"
        return [same.get(axis, axis) for axis in axes] != [same.get(axis, axis) for axis in over]
