"""What each rank holds, against torch's own parallel wrappers on a process group that is simulated:
of all its ranks the one under test exists."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch_support import configs, image

from vitcost import report
from vitcost.check.reference import build
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.costs import memory
from vitcost.costs.sharding import gathered
from vitcost.engine.workload import workload
from vitcost.errors import VitcostError

with warnings.catch_warnings():
    # importing them scripts functions, which torch itself deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch.distributed.optim import ZeroRedundancyOptimizer

CONFIG = ViTConfig(img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=3, num_classes=5)
OPTIMIZERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters),
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
}


@contextmanager
def simulated(rank: int, ranks: int) -> Iterator[DeviceMesh]:
    dist.init_process_group("fake", rank=rank, world_size=ranks, store=FakeStore())
    try:
        yield init_device_mesh("cpu", (ranks,))
    finally:
        dist.destroy_process_group()


def here(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages on this rank, each once."""
    local = (
        t.to_local() if isinstance(t, torch.distributed.tensor.DTensor) else t for t in tensors
    )
    return sum({s._cdata: s.nbytes() for t in local for s in [t.untyped_storage()]}.values())


def states(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for state in optimizer.state.values():
        yield from (t for t in state.values() if isinstance(t, Tensor))


def trained(model: nn.Module, config: ViTConfig, optimizer: torch.optim.Optimizer) -> None:
    outputs = model(image(config, 2))
    # a distilled model has two
    (sum(x.sum() for x in outputs) if isinstance(outputs, tuple) else outputs.sum()).backward()
    optimizer.step()


def fully(config: ViTConfig, mesh: DeviceMesh, kind: torch.dtype = torch.float32) -> nn.Module:
    model = build(config).to(kind)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def check_fully(config: ViTConfig, ranks: int, rank: int, optimizer: str = "adamw") -> None:
    with simulated(rank, ranks) as mesh:
        model = fully(config, mesh)
        real = OPTIMIZERS[optimizer](model.parameters())
        trained(model, config, real)
        own = memory.training(
            config, Scenario(batch=2, zero=3, ranks=ranks, optimizer=optimizer), rank=rank
        )
        assert own.weights_bytes == here(model.parameters())
        assert own.gradients_bytes == here(p.grad for p in model.parameters())
        assert own.optimizer_bytes == here(states(real))
        # reduced by fully_shard itself
        assert own.buckets_bytes == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("ranks", "rank"), [(2, 0), (2, 1), (5, 0), (5, 3), (5, 4), (16, 11)])
def test_fully_sharded_states_are_torchs(optimizer: str, ranks: int, rank: int) -> None:
    check_fully(CONFIG, ranks, rank, optimizer)


# a model without a head returns a view of its tokens
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")
@settings(deadline=None, database=None, derandomize=True, max_examples=20)
@given(configs(), st.integers(2, 9), st.data())
def test_fully_sharded_states_of_any_model(
    config: ViTConfig, ranks: int, data: st.DataObject
) -> None:
    check_fully(config, ranks, data.draw(st.integers(0, ranks - 1)))


@pytest.mark.parametrize("ranks", [2, 5, 16])
def test_gathered_weights_are_torchs(ranks: int) -> None:
    run = workload(CONFIG, Scenario(batch=2))
    root, layer = gathered(run.parameters(), run.sizes, ranks)
    with simulated(1, ranks) as mesh:
        model = fully(CONFIG, mesh)
        model.unshard()
        outside = [p for n, p in model.named_parameters() if not n.startswith("blocks")]
        assert 4 * root == here(outside)
        model.blocks[1].unshard()
        assert 4 * layer == here(model.blocks[1].parameters())
    run = workload(CONFIG, Scenario(mode="train", zero=3, ranks=ranks))
    units = run.sizes["root"], run.sizes["unit 0"]
    assert units == (root // ranks, layer // ranks)


DEALT: dict[str, tuple[Any, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {}),
    "sgd-momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    # states by the shape of a tensor
    "adafactor": (torch.optim.Adafactor, {}),
}


@pytest.mark.parametrize("optimizer", DEALT)
@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_dealt_states_are_torchs(optimizer: str, ranks: int) -> None:
    scenario = Scenario(zero=1, ranks=ranks, optimizer=optimizer)
    found = []
    for rank in range(ranks):
        with simulated(rank, ranks):
            model = build(CONFIG)
            kind, more = DEALT[optimizer]
            real = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=kind, **more)
            trained(model, CONFIG, real)
            found.append(here(states(real.optim)))
        own = memory.training(CONFIG, scenario, rank=rank)
        assert own.optimizer_bytes == found[-1]
        # DistributedDataParallel is around it, as it is around any other optimizer
        assert own.buckets_bytes == own.gradients_bytes
        assert own.weights_bytes == here(model.parameters())
        assert own.gradients_bytes == here(p.grad for p in model.parameters())
    assert memory.training(CONFIG, scenario).optimizer_bytes == max(found)


def test_a_part_of_a_tensor_has_no_factors() -> None:
    """torch's Adafactor does not step what fully_shard cuts: its update is of another placement."""
    with pytest.raises(
        VitcostError, match="the states of adafactor are not covered for a part of a tensor"
    ):
        report(CONFIG, zero=3, ranks=2, optimizer="adafactor", mode="train")
    with simulated(0, 2) as mesh:
        model = fully(CONFIG, mesh)
        with pytest.raises(RuntimeError, match="placement"):
            trained(model, CONFIG, torch.optim.Adafactor(model.parameters()))


@pytest.mark.parametrize("buckets", ["copies", "views"])
def test_buckets_are_torchs(buckets: str) -> None:
    with simulated(0, 2):
        model = build(CONFIG)
        wrapped = DistributedDataParallel(model, gradient_as_bucket_view=buckets == "views")
        reduced: list[Tensor] = []

        def reduce(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
            reduced.append(bucket.buffer())
            done: torch.futures.Future[Tensor] = torch.futures.Future()
            done.set_result(bucket.buffer())
            return done

        wrapped.register_comm_hook(None, reduce)
        # the buckets are laid out anew for the second step
        for _ in range(2):
            reduced.clear()
            wrapped(image(CONFIG, 2)).sum().backward()
        gradients = [p.grad for p in model.parameters()]
        own = memory.training(CONFIG, Scenario(ranks=2, buckets=buckets))
        assert own.gradients_bytes == sum(g.nbytes for g in gradients)
        assert own.gradients_bytes + own.buckets_bytes == here([*gradients, *reduced])


# bytes a parameter that every rank has, and those that N ranks divide: Rajbhandari et al. 2020,
# arXiv 1910.02054, figure 1; Megatron Core user guide, distributed optimizer; DeepSpeed,
# estimate_zero2_model_states_mem_needs
ACCOUNTS = {
    ("zero", 0): (16, 0),
    ("zero", 1): (4, 12),
    ("zero", 2): (2, 14),
    ("zero", 3): (0, 16),
    ("megatron-fp16", 0): (20, 0),
    ("megatron-fp16", 1): (4, 16),
    ("megatron-bf16", 0): (18, 0),
    ("megatron-bf16", 1): (6, 12),
    ("megatron-fp32", 0): (16, 0),
    ("megatron-fp32", 1): (8, 8),
    ("apex-o2", 0): (20, 0),
    ("deepspeed", 0): (20, 0),
    ("deepspeed", 2): (2, 18),
}


@pytest.mark.parametrize(("recipe", "stage"), ACCOUNTS)
@pytest.mark.parametrize("ranks", [4, 56])
def test_accounts_are_the_published_ones(recipe: str, stage: int, ranks: int) -> None:
    found = report("vit_base_patch16_224", recipe=recipe, zero=stage, ranks=ranks)
    own = found.training
    everywhere, divided = ACCOUNTS[recipe, stage]
    # as many as 4 and 56 divide
    assert found.params == 86_567_656
    total = own.weights_bytes + own.gradients_bytes + own.optimizer_bytes
    assert total == everywhere * 86_567_656 + divided * 86_567_656 // ranks
    assert own.buckets_bytes == 0


@pytest.mark.parametrize(("recipe", "stage", "each"), [("zero", 0, 4), ("megatron-fp32", 0, 4)])
def test_averages_are_of_the_masters(recipe: str, stage: int, each: int) -> None:
    """What the optimizer updates is averaged: fp32, or the weights where these are that."""
    found = report("vit_base_patch16_224", recipe=recipe, zero=stage, ema=1)
    assert found.training.ema_bytes == each * 86_567_656


def test_gradients_that_fully_shard_keeps_whole_are_in_no_bucket() -> None:
    assert report("vit_tiny_patch16_224", zero=2, ranks=2).training.buckets_bytes == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"ranks": 0}, "ranks must be from 1 to 1,000,000, got 0"),
        ({"ranks": 2.5}, "ranks must be an integer, got 2.5"),
        ({"zero": 4, "ranks": 2}, "zero must be from 0 to 3, got 4"),
        ({"zero": 1}, "zero 1 divides states among ranks: give ranks above 1, got 1"),
        ({"ema": -1}, "ema must be from 0 to 100, got -1"),
        (
            {"zero": 2, "ranks": 2, "recipe": "megatron-fp16"},
            "zero 2 contradicts recipe megatron-fp16, which has stages up to 1",
        ),
        (
            {"zero": 1, "ranks": 2, "recipe": "apex-o2"},
            "zero 1 contradicts recipe apex-o2, which divides nothing",
        ),
    ],
)
def test_what_cannot_be_is_said(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(VitcostError) as caught:
        report("vit_tiny_patch16_224", **flags)
    assert str(caught.value) == said


def test_a_rank_that_is_not_there() -> None:
    with pytest.raises(VitcostError, match="rank must be one of 0 to 3, got 4"):
        memory.training(CONFIG, Scenario(ranks=4), rank=4)
