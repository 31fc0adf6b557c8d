"""Where gradients of one tensor meet in a backward pass, and whether torch adds them in place."""

import itertools
from math import prod
from typing import Any

import pytest
import torch
from saved_support import PLAIN, Recipe, treated
from test_check_memory import unexplained
from test_peak import half, step_of
from timm_features import BASE, DROPS, FEATURES, build
from torch.profiler import ProfilerActivity, profile

from vitcost.check.step_witnesses import Step
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine.gradients import Gradients
from vitcost.engine.model import build as declared
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.ops import Tensor, numel
from vitcost.engine.step_trace import step_trace
from vitcost.engine.tree import Node
from vitcost.engine.workload import mode_of
from vitcost.zoo import resolve
from vitcost.zoo.timm.args import fields_of

# torch says so where it takes a norm of halves with a weight in fp32 apart
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
]

LORA = Recipe(lora=3, lora_layers="fc1,fc2")
CASES: tuple[tuple[str, str, int, str, bool, Recipe], ...] = (
    # feature, precision, batch, attention, dropouts, what trains
    ("plain", "fp32", 2, "eager", False, PLAIN),
    ("plain", "fp32", 2, "sdpa", False, LORA),
    # a product with another factor reads what autocast did not need to cast: halves of a GELU
    ("plain", "amp-bf16", 2, "eager", True, LORA),
    ("plain", "bf16", 1, "sdpa", False, Recipe(lora=3)),
    ("distilled", "amp-bf16", 2, "eager", False, Recipe(lora=3)),
    ("two branches", "fp32", 2, "eager", False, PLAIN),
    ("parallel", "fp32", 2, "eager", False, PLAIN),
    ("refined patches", "fp32", 2, "eager", False, PLAIN),
    ("refined patches", "amp-bf16", 2, "eager", True, PLAIN),
    ("refined patches", "bf16", 2, "sdpa", False, PLAIN),
    ("gate", "fp32", 2, "eager", False, PLAIN),
    ("gate", "amp-bf16", 2, "eager", False, PLAIN),
    ("gate", "bf16", 1, "sdpa", True, PLAIN),
    ("gate in one layer", "fp32", 2, "sdpa", False, PLAIN),
    ("differential", "fp32", 1, "sdpa", True, PLAIN),
    ("differential", "bf16", 3, "sdpa", False, PLAIN),
    ("rope of DINOv3", "fp32", 2, "eager", False, PLAIN),
    ("three projections", "fp32", 2, "sdpa", False, PLAIN),
    ("three projections", "amp-bf16", 2, "eager", False, PLAIN),
    ("grouped queries, rope", "bf16", 2, "eager", False, PLAIN),
    ("eva, gate and norm", "fp32", 2, "eager", False, PLAIN),
    # the sum over images is a view; a cast behind it is a tensor of its own
    ("shared relative bias", "fp32", 1, "eager", False, PLAIN),
    ("shared relative bias", "bf16", 3, "sdpa", False, PLAIN),
)


def added(step: Step) -> list[int]:
    """The elements of each sum of two gradients that autograd's engine allocates, in order."""
    step.optimizer.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        step.run()
    events: Any = profiler.events()
    engine = "autograd::engine::evaluate_function"
    return [
        prod(event.input_shapes[0])
        for event in sorted(events, key=lambda event: event.time_range.start)
        if event.name == "aten::add"
        and event.cpu_parent is not None
        and event.cpu_parent.name.startswith(engine)
    ]


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the engine's walk allocates a sum of two gradients for."""
    found: list[Tensor] = []
    give = Gradients.give

    def watched(walk: Gradients, tensor: Tensor, value: Tensor) -> None:
        first = walk.pending.get(tensor)
        give(walk, tensor, value)
        if first is not None and walk.pending.get(tensor) is not first:
            found.append(tensor)

    monkeypatch.setattr(Gradients, "give", watched)
    step_trace.cache_clear()
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:4])))
def test_which_gradients_are_added_out_of_place(case: Any, sums: list[Tensor]) -> None:
    name, precision, batch, attention, drops, recipe = case
    model_class, options = FEATURES[name]
    kwargs = {**BASE, **options, **(DROPS if drops else {})}
    config = configure(fields_of(model_class, kwargs))
    model = treated(half(build(model_class, kwargs, attention == "sdpa"), precision), recipe)
    how = Scenario(
        batch=batch, mode="train", precision=precision, attention=attention, platform="cpu",
        **recipe._asdict(),
    )  # fmt: skip
    step_trace(structure_of(config, batch, True), mode_of(config, how))
    sizes = sizes_of(config, batch)
    step = step_of(model, config, batch, precision)
    assert [numel(t.axes, sizes) for t in sums] == added(step)


def test_the_witness_sees_sums(sums: list[Tensor]) -> None:
    """Two linear layers read one tensor: torch has a view of the first gradient, and no more."""
    x = torch.zeros(2, 3, 4, requires_grad=True)
    one, other = torch.nn.Linear(4, 5), torch.nn.Linear(4, 5)

    class Pair(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            y = x * 1
            return (one(y) + other(y)).sum(1)

    holder = Pair()
    holder.w = torch.nn.Parameter(torch.zeros(1))
    assert added(Step(holder, torch.zeros(2, 1), torch.optim.SGD)) == [2 * 3 * 4]
    assert sums == []


# one of each kind of block and pool: a name of timm, and what makes it small
ADAPTED: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {},
    "vit_dpwee_patch16_reg1_gap_256": {},
    "vit_base_patch16_siglip_224": {"num_classes": 5},
    "deit_tiny_distilled_patch16_224": {},
    "eva02_base_patch16_clip_224": {"num_classes": 5},
}


def linear_layers(config: ViTConfig) -> list[str]:
    """The names of a model's linear layers."""

    def inside(node: Node) -> list[str]:
        here = [node.name] if node.type == "Linear" else []
        return here + [
            name for item in node.body if isinstance(item, Node) for name in inside(item)
        ]

    return list(dict.fromkeys(inside(declared(structure_of(config, 1, True)))))


@pytest.mark.parametrize("model", ADAPTED)
def test_a_step_with_adapters_on_each_linear_layer(model: str) -> None:
    """Saved bytes and the peak by torch's hooks and the CPU's allocator, one layer after another:
    what it reads has two gradients, of the layer and of the adapter."""
    fields: dict[str, Any] = {"img_size": 32, "depth": 2, **ADAPTED[model]}
    config = resolve(model, **fields).config
    assert isinstance(config, ViTConfig)
    names = linear_layers(config)
    runs: itertools.cycle[dict[str, Any]] = itertools.cycle(
        ({"batch": 2}, {"batch": 3, "precision": "amp-bf16", "attention": "eager"}, {"batch": 1})
    )
    # autocast's copies of each layer and of its adapter are in the last
    everything = {"batch": 3, "precision": "amp-bf16", "attention": "eager"}
    for layers, flags in (*zip(names, runs, strict=False), (",".join(names), everything)):
        found = unexplained(
            model=model, lora=4, lora_layers=layers, optimizer="sgd", **fields, **flags
        )
        assert found == set(), (layers, flags)
