"""The pass of needs-grad: it marks the tensors that need a gradient."""

from vitcost.engine.ops import Op, Tensor

__all__ = ["Needs"]


class Needs:
    """Needs-grad flows along the data: from parameters that train, never from the image.

    >>> x, y, z = (Tensor(name, ("b", "h")) for name in "xyz")
    >>> weight = Tensor("weight", ("h", "h"), "param")
    >>> needs = Needs(training=True)
    >>> first = needs.op(Op("linear", (x,), y, ("h",), weight))
    >>> first.needs, first.trains, needs.op(Op("gelu", (y,), z)).needs
    ((False,), True, (True,))
    """

    def __init__(self, training: bool) -> None:
        self.training = training
        self.flows: dict[Tensor, bool] = {}

    def of(self, declared: Tensor) -> bool:
        """Whether a tensor needs a gradient. Of tensors that no op wrote, only parameters do."""
        return self.training and self.flows.get(declared, declared.role == "param")

    def op(self, op: Op) -> Op:
        """An op (and the declared ops that it replaces), marked with the reads that need a gradient
        and with whether its own parameters train."""
        if op.parts is not None:
            op = op._replace(parts=tuple(map(self.op, op.parts)))
        if op.frozen and op.weight is not None:
            # a head that shares the table of a frozen embedding does not train it
            self.flows[op.weight] = False
        needs = tuple(map(self.of, op.reads))
        trains = self.training and op.weight is not None and not op.frozen
        self.flows[op.write] = any(needs) or trains
        return op._replace(needs=needs, trains=trains)
