"""A workload: one model under one scenario, and what it answers when one of the two changes."""

from dataclasses import replace

import pytest

from vitcost.config.scenario import Scenario
from vitcost.engine.cost import defined
from vitcost.engine.live import peak
from vitcost.engine.model import build, sizes_of, structure_of
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import Workload, workload
from vitcost.errors import NotCovered
from vitcost.zoo import names, resolve

TINY = resolve("vit_tiny_patch16_224").config


def test_a_workload_of_another_batch_is_the_workload_made_with_it() -> None:
    moved, made = workload(TINY, Scenario(batch=8)).at(1), workload(TINY, Scenario(batch=1))
    assert moved.scenario == made.scenario
    assert moved.rows() == made.rows()
    assert moved.inference() is made.inference()
    assert moved.step() is made.step()


def test_a_forward_in_eval_and_a_step_are_answered_in_either_mode() -> None:
    scenario = Scenario(batch=2, precision="amp-bf16", attention="eager")
    infer, train = (workload(TINY, replace(scenario, mode=mode)) for mode in ("infer", "train"))
    assert infer.inference() is train.inference()
    assert infer.step() is train.step()
    assert infer.parameters() is train.parameters()
    # autograd keeps nothing of a forward in eval
    assert infer.rows().cost.saved_bytes == 0 < train.rows().cost.saved_bytes
    assert (
        peak(infer.inference(), infer.sizes).peak_bytes < peak(train.step(), train.sizes).peak_bytes
    )


def test_what_frozen_parameters_are_is_told_by_the_parameters() -> None:
    frozen = workload(TINY, Scenario(freeze="backbone"))
    trained = {each.top for each in frozen.parameters() if each.trains}
    assert trained == {"head"}


def test_sizes_that_are_given_are_of_one_batch() -> None:
    own = workload(TINY, Scenario(batch=2))
    given = workload(TINY, Scenario(batch=2), Sizes(own.sizes))
    assert given.under(Scenario(batch=2, precision="bf16")).sizes == own.sizes
    with pytest.raises(NotCovered, match="batch 3"):
        given.at(3)


def test_a_maker_without_an_answer_says_what_is_not_covered() -> None:
    class Nothing(Workload):
        scenario = Scenario()

    for ask in ("rows", "parameters", "inference", "step", "kernels", "attention"):
        with pytest.raises(NotCovered):
            getattr(Nothing(), ask)()
    with pytest.raises(NotCovered):
        Nothing().at(2)


@pytest.mark.parametrize("name", names()[::8])
def test_the_declared_list_alone_has_parameters_and_flops(name: str) -> None:
    config = resolve(name).config
    cost = workload(config, Scenario()).rows().cost
    declared = build(structure_of(config))
    assert defined(declared, sizes_of(config)) == (cost.params, cost.flops)
