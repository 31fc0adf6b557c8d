"""A second maker of workloads, by hand: one linear layer, its events a list, no engine, no trace.

    y = x W + b, x of 3 numbers, y of 5: 20 parameters, a cross entropy behind it, all float32

In its step y, what the loss keeps and its gradient lie in memory together, 20 bytes an image each;
then, without what the loss kept, the gradients of W and b, 60 + 20 bytes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.engine.cost import Cost, Row
from vitcost.engine.live import Change, Event, Place
from vitcost.engine.ops import Sizes, Tensor
from vitcost.engine.parameters import Parameter
from vitcost.engine.workload import Workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.zoo import Resolved

__all__ = ["HANDMADE"]

X, Y, KEPT, DY = (
    Tensor(name, ("b", n), itemsize=4) for name, n in (("x", 3), ("y", 5), ("p", 5), ("dy", 5))
)
TARGETS = Tensor("targets", ("b",), "index", itemsize=8)
W, B = Tensor("weight", (5, 3), "param", itemsize=4), Tensor("bias", (5,), "param", itemsize=4)
SAVED, GRADIENTS, TEMPORARY = 0, 1, 2


def born(part: int, *tensors: Tensor) -> list[Event]:
    return [Change(part, 1, tensor, ()) for tensor in tensors]


def dead(part: int, *tensors: Tensor) -> list[Event]:
    return [Change(part, -1, tensor, ()) for tensor in tensors]


class Handmade(Workload):
    def __init__(self, scenario: Scenario, batch: int | None = None) -> None:
        plain = {"batch": 1, "mode": "infer", "optimizer": "adamw", "accumulate": 1, "ranks": 1}
        if replace(scenario, **plain, zero=0) != Scenario():
            raise NotCovered("the linear layer made by hand under another scenario")
        self.scenario, self.batch = scenario, batch or scenario.batch
        self.sizes = Sizes(b=self.batch)
        self.outputs, self.targets = (Y,), (TARGETS,)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (X,)

    def at(self, batch: int) -> Workload:
        return Handmade(self.scenario, batch)

    def under(self, scenario: Scenario) -> Workload:
        return Handmade(scenario)

    def rows(self) -> Row:
        b = self.batch
        flops = 2 * b * 3 * 5
        moved = 4 * (3 * b + 20 + 5 * b)
        saved = 4 * 3 * b if self.training else 0
        cost = Cost(20, flops, flops, 0, moved, saved, flops, 2, 20, flops)
        layer = Row("fc", "fc", "Linear", 1, (b, 5), cost, ())
        return Row("", "", "Handmade", 1, (b, 5), cost, (layer,))

    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(Parameter(each, "linear", "fc", (), trains=True) for each in (W, B))

    def inference(self) -> tuple[Event, ...]:
        return (*born(TEMPORARY, Y), Place("forward", "fc"))

    def step(self, in_place: bool = True) -> tuple[Event, ...]:
        # gradients that are there already are added to in place, and those that are new die
        added = TEMPORARY if self.scenario.keeps_gradients else GRADIENTS
        return (
            *born(TEMPORARY, Y), Place("forward", "fc"),
            *born(SAVED, KEPT), *born(TEMPORARY, DY), Place("backward", "loss"),
            *dead(SAVED, KEPT), *born(added, W, B), Place("backward", "fc"),
            *(dead(added, W, B) if added == TEMPORARY else ()), *dead(TEMPORARY, Y, DY),
        )  # fmt: skip

    def attention(self) -> tuple[str, ...]:
        return ()


class Maker:
    """A model without a config: it makes its workload by hand."""

    losses = 1

    def workload(self, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
        assert sizes is None, "it has no letters"
        return Handmade(scenario)

    def with_fields(self, overrides: Mapping[str, Any]) -> "Maker":
        if overrides:
            raise ConfigError("a layer made by hand has no fields")
        return self

    def to_dict(self) -> dict[str, Any]:
        return {"notes": ["made by hand"]}


_MAKER: Any = Maker()
HANDMADE = Resolved("linear", "a list of events", _MAKER)
