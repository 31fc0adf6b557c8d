"""The optimizer in the backward pass: torch's recipe of a hook behind each gradient, on fake
tensors."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from saved_support import PLAIN, Recipe, most_alive, treated
from timm_features import BASE, FEATURES, build
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

import vitcost
from vitcost.check import reference
from vitcost.check.counters import fill
from vitcost.check.step_witnesses import MakeOptimizer, Step, optimizer, valued
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.costs.memory import step_peak, training
from vitcost.costs.moments import moments
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.planner.levers import levers
from vitcost.zoo.timm.args import fields_of

# torch says so where it takes a norm of halves with a weight in fp32 apart
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
]

TINY = "vit_tiny_patch16_224"


class InBackward(Step):
    """A step of as many optimizers as parameters, each stepped behind its gradient."""

    def __init__(self, model: nn.Module, images: Tensor, make: MakeOptimizer, **given: Any) -> None:
        self.each: dict[Tensor, torch.optim.Optimizer] = {}

        def made(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            trained = list(parameters)
            for parameter in trained:
                self.each[parameter] = make([parameter])
                parameter.register_post_accumulate_grad_hook(self.update)
            return torch.optim.SGD(trained)

        super().__init__(model, images, made, **given)

    def update(self, parameter: Tensor) -> None:
        self.each[parameter].step()
        self.each[parameter].zero_grad()

    @property
    def lasting(self) -> list[Tensor]:
        states = [t for each in self.each.values() for s in each.state.values() for t in s.values()]
        return [*super().lasting, *(t for t in states if isinstance(t, Tensor))]


def tracked(config: ViTConfig, how: Scenario, recipe: Recipe) -> int:
    """The most bytes in a step."""
    model = treated(reference.build(config, how.attention == "sdpa"), recipe)
    if how.precision == "bf16":
        model = model.to(torch.bfloat16)
    autocast = torch.bfloat16 if how.precision == "amp-bf16" else None
    with FakeTensorMode():
        dtype = next(model.parameters()).dtype
        fill(model, lambda t: torch.empty(t.shape, dtype=t.dtype))
        images = torch.empty(how.batch, 3, *config.img_size, dtype=dtype)
        step = InBackward(model, images, valued(optimizer(how.optimizer)), autocast=autocast)
        return most_alive(step)


def of(**fields: Any) -> ViTConfig:
    small: dict[str, Any] = {
        "img_size": (24, 32), "patch_size": 8, "num_classes": 100, "embed_dim": 48, "depth": 3,
        "num_heads": 3, "mlp_dim": 96,
    }  # fmt: skip
    return ViTConfig(**{**small, **fields})


CASES: tuple[tuple[ViTConfig, int, str, str, str, Recipe], ...] = (
    # a small batch peaks in the step of the largest parameter, a large one in the backward pass
    (of(), 1, "fp32", "eager", "adamw-loop", PLAIN),
    (of(), 2, "bf16", "sdpa", "adamw-foreach", PLAIN),
    (of(), 1, "amp-bf16", "eager", "adamw-loop", PLAIN),
    (of(embed_dim=96), 1, "amp-bf16", "sdpa", "nadamw", PLAIN),
    (of(embed_dim=96, mlp_dim=500), 1, "fp32", "sdpa", "adamw-amsgrad", PLAIN),
    (of(embed_dim=96, mlp_dim=500), 1, "bf16", "eager", "lion", PLAIN),
    (of(num_classes=1000), 2, "fp32", "eager", "sgd-nesterov", PLAIN),
    (of(), 6, "amp-bf16", "sdpa", "adamw-fused", PLAIN),
    (of(dist_token=True), 2, "fp32", "eager", "sgd-momentum", PLAIN),
    (of(depth=4), 3, "fp32", "eager", "adamw-loop", Recipe("block")),
    (of(depth=4, embed_dim=96), 1, "amp-bf16", "sdpa", "adamw-loop", Recipe("block")),
    (of(depth=4), 3, "bf16", "sdpa", "sgd", Recipe("every:2")),
    (of(), 2, "amp-bf16", "eager", "adamw-foreach", Recipe("selective")),
    (of(embed_dim=96), 1, "fp32", "sdpa", "adamw-loop", Recipe(freeze="first:1")),
    (of(), 2, "amp-bf16", "eager", "adamw-loop", Recipe(freeze="all-but-last:1")),
    (of(), 2, "bf16", "eager", "adamw-loop", Recipe(freeze="backbone")),
    (of(), 2, "fp32", "eager", "adamw-loop", Recipe(lora=2)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[1:5])))
def test_the_peak_is_torchs(case: Any) -> None:
    config, batch, precision, attention, name, recipe = case
    how = Scenario(
        batch=batch, mode="train", precision=precision, attention=attention, platform="cpu",
        optimizer=name, optimizer_in_backward=True, **recipe._asdict(),
    )  # fmt: skip
    # under a dispatch mode gradients do not meet in place
    own = step_peak(training(config, how), workload(config, how), in_place=False)
    assert own.total_bytes == tracked(config, how, recipe)


_HOW = (("fp32", "adamw-loop"), ("amp-bf16", "adamw-loop"), ("bf16", "sgd-momentum"))


@pytest.mark.parametrize(("number", "name"), [*enumerate(FEATURES)], ids=FEATURES)
def test_the_peak_of_every_feature_is_torchs(number: int, name: str) -> None:
    """On real tensors: fake ones have the statistics of a norm of halves in half precision."""
    precision, stepped = _HOW[number % len(_HOW)]
    model_class, options = FEATURES[name]
    kwargs = {**BASE, **options}
    config = configure(fields_of(model_class, kwargs))
    how = Scenario(
        batch=2, mode="train", precision=precision, attention="eager", platform="cpu",
        optimizer=stepped, optimizer_in_backward=True,
    )  # fmt: skip
    model = build(model_class, kwargs, fused=False).train()
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    images = torch.zeros(2, 3, *config.img_size, dtype=next(model.parameters()).dtype)
    step = InBackward(
        model, images, optimizer(stepped),
        autocast=torch.bfloat16 if precision == "amp-bf16" else None,
        vectors=2 * (1 if config.global_pool else config.tokens),
    )  # fmt: skip
    most = most_alive(step)
    own = step_peak(training(config, how), workload(config, how), in_place=False)
    assert own.total_bytes == most


# its own hook behind a gradient finds none
@pytest.mark.filterwarnings("ignore:Expected a tensor or a traceable wrapper-subclass")
def test_memtracker_sees_the_same() -> None:
    """torch's own tracker, which hooks the gradients of all parameters."""
    config = of(embed_dim=96)
    how = Scenario(
        batch=1, mode="train", attention="eager", platform="cpu", optimizer="adamw-loop",
        optimizer_in_backward=True,
    )  # fmt: skip
    with FakeTensorMode():
        model = reference.build(config)
        fill(model, lambda t: torch.empty(t.shape, dtype=t.dtype))
        images = torch.empty(1, 3, *config.img_size)
        step = InBackward(model, images, valued(optimizer("adamw-loop")))
        tracker = MemTracker()
        tracker.track_external(model, *step.each.values(), images, step.targets)
        with tracker:
            step.run()
        peak = sum(device["Total"] for device in tracker.get_tracker_snapshot("peak").values())
    own = step_peak(training(config, how), workload(config, how), in_place=False)
    assert own.total_bytes == peak


def test_no_gradient_is_left() -> None:
    plain = vitcost.report(TINY, mode="train").training
    own = vitcost.report(TINY, mode="train", optimizer_in_backward=True).training
    assert own.peak_bytes is not None
    assert plain.peak_bytes is not None
    assert (own.gradients_bytes, own.peak_is) == (0, "exact")
    assert own.peak_bytes < plain.peak_bytes
    run = workload(
        vitcost.report(TINY).model.config,
        Scenario(batch=2, mode="train", optimizer_in_backward=True),
    )
    over = moments(run)
    # the bias of the patch embedding is the last, beside its copy, the loss and the loss's gradient
    assert (over[-1].phase, over[-1].path) == ("optimizer step", "patch_embed.proj")
    assert over[-1].parts.gradients_bytes == 4 * 192
    assert over[-1].parts.temporary_bytes == 4 * 192 + 4 + 4
    # a step of every parameter
    assert sum(each.phase == "optimizer step" for each in over) == 152
    value = vitcost.explain(TINY, "peak-memory", batch=2, optimizer_in_backward=True).value
    assert value == max(each.total_bytes for each in over)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"accumulate": 2}, "contradicts accumulate 2: gradients are added up before"),
        ({"zero_grad": "zeros"}, "contradicts zero_grad zeros: there are no gradients left"),
        ({"ranks": 2}, "contradicts ranks 2: gradients are summed over the ranks before"),
        ({"recipe": "zero"}, "contradicts recipe zero: its optimizer updates copies"),
    ],
)
def test_flags_that_need_every_gradient_are_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"optimizer_in_backward {why}"):
        vitcost.report(TINY, optimizer_in_backward=True, **flags)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_of_one_tensor(name: str) -> None:
    """LAMB has one norm of all gradients, Muon another optimizer beside it, Adafactor means over
    rows; those in few bits share tables, or are compiled."""
    refused = {"lamb", "muon", "adafactor"}
    if name in refused or OPTIMIZERS[name].kept is not None:
        with pytest.raises(NotCovered, match=f"optimizer {name} in the backward pass: its tensors"):
            vitcost.report(TINY, optimizer=name, optimizer_in_backward=True)
        return
    states = [
        vitcost.report(TINY, optimizer=name, optimizer_in_backward=on).training.optimizer_bytes
        for on in (False, True)
    ]
    assert states[0] == states[1]


def test_a_plan_and_a_trace_refuse_it() -> None:
    run = {"samples": 10**6, "gpu": "l4", "gpus": 1, "global_batch": 8}
    with pytest.raises(ConfigError, match="optimizer_in_backward"):
        vitcost.plan(TINY, optimizer_in_backward=True, **run)
    traced = vitcost.report("swin_tiny_patch4_window7_224", optimizer_in_backward=True).training
    assert traced.peak_bytes is None
    assert traced.missing is not None
    assert traced.missing.endswith("optimizer_in_backward is not covered by a digest")


def test_it_is_a_way_to_make_a_batch_fit() -> None:
    asked: dict[str, Any] = {"batch": 8, "mode": "train"}
    huge = "vit_huge_patch14_224"
    (row,) = vitcost.fit(huge, gpu="12GB", **asked).found
    ways = {way.flags: way for way in row.ways}
    way = ways[("checkpointing", "block"), ("optimizer_in_backward", True)]
    assert way.keeps
    own = vitcost.report(huge, checkpointing="block", optimizer_in_backward=True, **asked).training
    assert way.used_bytes == own.peak_bytes
    config = vitcost.report(huge).model.config
    on = Scenario(optimizer_in_backward=True, **asked)
    # no lever beside it is one that it contradicts
    assert all(other.accumulate == 1 for other in levers(workload(config, on)))
