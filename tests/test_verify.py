"""Every op list is well formed: after the build, and after every pass, for every model."""

from collections.abc import Iterator

import pytest
from well_formed import verify

from vitcost.config.scenario import CHOICES, Scenario
from vitcost.engine.kinds import KINDS
from vitcost.engine.lower import passes
from vitcost.engine.model import AnyStructure, build, structure_of
from vitcost.engine.ops import Op, Tensor, axes, param
from vitcost.engine.tree import Node
from vitcost.engine.workload import mode_of
from vitcost.errors import NotCovered, UnknownName
from vitcost.zoo import names, resolve

# each pass by itself, and those that act on what another one made
SCENARIOS = (
    *(Scenario(mode="train", attention=kernel) for kernel in CHOICES["attention"]),
    *(
        Scenario(mode=mode, precision=precision, platform=platform, attention="math")
        for mode, precision, platform in (
            ("train", "amp-bf16", "cuda"), ("infer", "bf16", "cpu"), ("infer", "amp-fp16", "cpu"),
        )
    ),
    Scenario(mode="train", precision="amp-bf16", checkpointing="selective"),
    Scenario(mode="train", precision="bf16", checkpointing="block", platform="cpu"),
    Scenario(mode="train", checkpointing="every:3", freeze="first:2"),
    Scenario(mode="train", freeze="all-but-last:1", precision="amp-bf16"),
    Scenario(mode="train", lora=4, precision="amp-bf16"),
    Scenario(mode="train", lora=2, lora_layers="proj,fc1", attention="math"),
)  # fmt: skip


def structures(name: str) -> Iterator[tuple[Scenario, AnyStructure]]:
    config = resolve(name).config
    for scenario in SCENARIOS:
        for batch in (1, 2):
            yield scenario, structure_of(config, batch, scenario.mode == "train")


SEEN: set[tuple[Scenario, AnyStructure]] = set()


@pytest.mark.parametrize("name", names())
def test_every_op_list_is_well_formed(name: str) -> None:
    try:
        config = resolve(name).config
    except NotCovered:
        return
    for scenario, structure in structures(name):
        # models of one structure have one op list
        if (scenario, structure) in SEEN:
            continue
        SEEN.add((scenario, structure))
        tree = build(structure)
        assert verify(tree) == ()
        try:
            steps = list(passes(structure, mode_of(config, scenario)))
            for each in steps:
                tree = each(tree)
                assert verify(tree) == (), each
        except UnknownName:
            # of a model without such layers
            assert scenario.lora
        except NotCovered:
            # a part of two towers
            assert hasattr(config, "text")
            assert ":" in scenario.freeze


@pytest.mark.parametrize("sequence", ["", "megatron", "torch"])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_tiny_r_s16_p8_224"]
)
def test_one_rank_of_a_parallel_run_is_well_formed(name: str, sequence: str) -> None:
    config = resolve(name).config
    mode = mode_of(config, Scenario(mode="train"))._replace(split=True, sequence=sequence)
    structure = structure_of(config, 2, True)
    tree = build(structure)
    for each in passes(structure, mode):
        tree = each(tree)
        assert verify(tree) == (), each


X, Y, Z = (Tensor(name, axes("b h"), "") for name in "xyz")
GOOD = Op("linear", (X,), Y, over=("h",), weight=param("weight", "h h"), needs=(False,))


def model(*body: Op | Node, output: Tensor = Y) -> Node:
    return Node("", "Model", body, (X,), output)


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        (model(GOOD._replace(kind="lineal")), "is of no kind"),
        (model(GOOD._replace(reads=(Z,))), "reads what nothing wrote"),
        (model(GOOD._replace(bias=Z)), "a weight or a bias that nothing wrote"),
        (model(GOOD._replace(reads=(X, X), needs=())), "more or fewer tensors than its kind"),
        (model(GOOD._replace(over=("m",))), "contracts an axis that it does not read"),
        (
            model(Op("view", (X,), view := Tensor("v", ("b",), base=Z)), output=view),
            "a view of a storage that is not there",
        ),
        (model(GOOD, GOOD), "writes what was written"),
        (model(GOOD._replace(needs=(True, True))), "which reads need a gradient"),
        (model(GOOD._replace(keeps=(Z,))), "keeps what it has not"),
        (model(GOOD, output=Z), "returns what nothing wrote"),
        (model(Node("a", "A", (GOOD._replace(reads=(Z,)),), (Z,), Y)), "is given what nothing"),
        (model(Node("a", "A", (GOOD,), (), Y)), "reads what nothing wrote"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_list_that_is_not_is_found(tree: Node, fault: str) -> None:
    assert any(fault in each for each in verify(tree))
    assert verify(model(GOOD)) == ()


def test_every_kind_says_how_many_tensors_it_reads() -> None:
    assert all(row.reads for row in KINDS.values())
