"""Pointwise work of a traced module: by rules of its operators, and unknown where one has none."""

import torch
from torch import Tensor, nn

import vitcost
from vitcost.render import render
from vitcost.traced.pointwise import WITHOUT, WORK
from vitcost.traced.trace import EMPTY, VIEWS


class Own(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.name = function
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y * 0.5 + getattr(torch.special, self.name)(y) + 1
        z: Tensor = self.last(y).relu()
        return z


def report(function: str) -> vitcost.Report:
    return vitcost.report(vitcost.from_torch(Own(function), inputs="16"), batch=3)


def test_work_is_an_element_of_each_scale_sum_and_activation() -> None:
    # a scale, the function, a sum of two tensors, a ReLU; a number more is none
    found = report("expit")
    assert found.flops.pointwise_forward == 4 * 3 * 8
    # that takes an exponential for no work
    assert report("exp2").flops.pointwise_forward == 3 * 3 * 8
    assert found.moved_bytes is not None
    assert "pointwise work is not known" not in str(found.to_dict())


def test_an_operator_without_a_rule_is_named() -> None:
    found = report("i1")
    data = found.to_dict()
    assert data["flops"]["pointwise_forward"] is None
    said = "pointwise work is not known: no rule for special_i1 in the model itself"
    assert said in data["model"]["config"]["notes"]
    assert said in " ".join(render(found).split())
    # it reads and writes its tensors whatever it computes; FLOPs are of products alone
    assert found.moved_bytes == report("expit").moved_bytes
    assert found.flops.forward == 2 * 3 * (16 * 8 + 8 * 8)


def test_a_table_has_each_operator_of_torch_that_works_element_by_element() -> None:
    assert not WORK & WITHOUT
    every = torch._C._dispatch_get_all_op_names()
    names = {n[6:].partition(".")[0] for n in every if n.startswith("aten::")}
    assert {n for n in WORK | WITHOUT if n not in names and f"{n}_" not in names} == set()
    tagged = {
        name
        for name in names
        for each in [getattr(torch.ops.aten, name, None)]
        if each is not None
        if any(torch.Tag.pointwise in getattr(each, o).tags for o in each.overloads())
    }
    without = {n for n in tagged if n.removesuffix("_") not in WORK | WITHOUT | VIEWS | EMPTY}
    # operators of Python's signs are other ones below, and backward ones are no forward work
    rest = {n for n in without if not n.startswith("__") and not n.endswith("_backward")}
    assert {n for n in rest if not n.startswith("special_")} == {"_conj_physical", "rrelu"}
