"""Ranks that share each layer: torch's own on a simulated group, and the papers' formulas."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.testing._internal.distributed.fake_pg import FakeStore

from vitcost import memory
from vitcost.check.reference import build
from vitcost.config import ViTConfig
from vitcost.engine.cost import Cost, fold
from vitcost.engine.lower import lower
from vitcost.engine.model import Config, sizes_of, structure_of
from vitcost.engine.parameters import parameters
from vitcost.engine.tensor_parallel import tensor_parallel, tensor_parallel_sizes
from vitcost.errors import NotCovered
from vitcost.planner.plan import plan
from vitcost.scenario import Scenario
from vitcost.text import TextConfig
from vitcost.zoo import resolve

BASE = "vit_base_patch16_224"


def rank_cost(
    config: Config, ranks: int, *, sequence: bool = False, batch: int = 4, **scenario: str
) -> Cost:
    mode = Scenario(mode="train", **scenario).engine_mode(config, True)  # type: ignore[arg-type]
    tree = tensor_parallel(lower(structure_of(config, batch, True), mode), sequence)
    return fold(tree, tensor_parallel_sizes(sizes_of(config, batch), ranks)).cost


# --- model states, against torch


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


def sharded(model: nn.Module, ranks: int) -> nn.Module:
    """Every block as torch's tensor parallelism divides it."""
    mesh = init_device_mesh(
        "cpu", (dist.get_world_size() // ranks, ranks), mesh_dim_names=("d", "t")
    )
    styles = {
        "attn.qkv": ColwiseParallel(),
        "attn.proj": RowwiseParallel(),
        "mlp.fc1": ColwiseParallel(),
        "mlp.fc2": RowwiseParallel(),
    }
    for block in model.blocks:  # type: ignore[union-attr]
        parallelize_module(block, mesh["t"], styles)
    return model


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(
    "config",
    [
        ViTConfig(img_size=32, embed_dim=64, num_heads=8, depth=2),  # type: ignore[arg-type]
        ViTConfig(
            img_size=48,  # type: ignore[arg-type]
            embed_dim=96,
            num_heads=4,
            depth=7,
            mlp_dim=200,
            representation_size=24,
            num_classes=7,
        ),
    ],
    ids=["plain", "deeper"],
)
def test_states_are_those_of_torchs_own_ranks(config: ViTConfig, ranks: int, group: None) -> None:
    model = sharded(build(config, fused=True), ranks)
    local = [_local(p) for p in model.parameters()]
    optimizer = torch.optim.AdamW(local)
    for p in local:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    states = [t for state in optimizer.state.values() for t in state.values()]

    scenario = Scenario(mode="train")
    mode = scenario.engine_mode(config, True)
    tree = tensor_parallel(lower(structure_of(config, 2, True), mode), False)
    sizes = tensor_parallel_sizes(sizes_of(config, 2), ranks)
    own = memory.states(tree, sizes, 0, scenario)
    assert own.weights_bytes == sum(p.nbytes for p in local) == own.gradients_bytes
    assert own.optimizer_bytes == sum(t.nbytes for t in states)
    shapes = sorted(
        tuple(sizes[axis] for axis in p.tensor.axes)
        for p in parameters(tree)
        for _ in range(p.repeat(sizes))
    )
    assert shapes == sorted(tuple(p.shape) for p in local)


def _local(parameter: nn.Parameter) -> nn.Parameter:
    if isinstance(parameter, DTensor):
        return nn.Parameter(parameter.to_local().detach())
    return parameter


# --- what autograd keeps, against the papers


def block_saved(ranks: int, *, sequence: bool) -> int:
    """What one more block keeps, in half precision, eager, with every dropout of GPT."""

    def saved(depth: int) -> int:
        config = TextConfig(
            embed_dim=96, num_heads=8, depth=depth, context_length=64, vocab_size=512,
            proj_drop_rate=0.1, attn_drop_rate=0.1,
        )  # fmt: skip
        cost = rank_cost(config, ranks, sequence=sequence, precision="bf16", attention="eager")
        return cost.saved_bytes

    return saved(8) - saved(7)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_block_keeps_what_korthikanti_has(ranks: int) -> None:
    """sbh (10 + 24/t) + 5 a s² b / t, and with the sequence shared (34 sbh + 5 a s² b) / t:
    Korthikanti et al. 2022, arXiv 2205.05198, equations 2 and 4. Beside these a norm keeps a mean
    and a deviation of each token in fp32, which the paper leaves out: 16 sb.
    """
    b, s, h, a = 4, 64, 96, 8
    scores = 5 * a * s * s * b // ranks
    whole = s * b * h * 10 + s * b * h * 24 // ranks + scores + 16 * s * b
    assert block_saved(ranks, sequence=False) == whole
    shared = (34 * s * b * h + 16 * s * b) // ranks + scores
    assert block_saved(ranks, sequence=True) == shared


def test_tokens_are_filled_up() -> None:
    """197 tokens among 4 ranks: 50 on each."""
    sizes = tensor_parallel_sizes(sizes_of(resolve(BASE).config), 4)
    assert (sizes["s/t"], sizes["a/t"], sizes["m/t"], sizes["q/t"]) == (50, 3, 768, 576)
    assert tensor_parallel_sizes(sizes_of(resolve("gpt2").config), 8)["V/t"] == 6283


@pytest.mark.parametrize("name", [BASE, "gpt2", "deit3_base_patch16_224"])
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("checkpointing", ["none", "selective", "block"])
def test_one_rank_is_the_model(name: str, precision: str, checkpointing: str) -> None:
    config = resolve(name).config
    scenario = Scenario(mode="train", precision=precision, checkpointing=checkpointing)
    tree = lower(structure_of(config, 4, True), scenario.engine_mode(config, True))
    plain = fold(tree, sizes_of(config, 4)).cost
    for sequence in (False, True):
        same = rank_cost(
            config, 1, sequence=sequence, precision=precision, checkpointing=checkpointing
        )
        assert same == plain


def test_the_products_of_a_block_are_divided() -> None:
    def flops(depth: int, ranks: int) -> int:
        return rank_cost(resolve(BASE, depth=depth).config, ranks).flops

    assert flops(13, 1) - flops(12, 1) == 4 * (flops(13, 4) - flops(12, 4))


def test_a_checkpointed_block_keeps_its_part_of_the_tokens() -> None:
    def saved(ranks: int, sequence: bool) -> int:
        return sum(
            sign * rank_cost(
                resolve(BASE, depth=depth).config, ranks, sequence=sequence, precision="bf16",
                checkpointing="block",
            ).saved_bytes
            for depth, sign in ((13, 1), (12, -1))
        )  # fmt: skip

    assert saved(4, False) == 2 * 4 * 197 * 768
    assert saved(4, True) == 2 * 4 * 50 * 768


# --- what is not covered


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("eva02_large_patch14_224", "a norm over a divided width"),
        ("beit_base_patch16_224", "relative position bias"),
        ("vit_pwee_patch16_reg1_gap_256", "ParallelScalingBlock"),
    ],
)
def test_other_blocks_are_refused_and_left_out(name: str, says: str) -> None:
    config = resolve(name).config
    with pytest.raises(NotCovered, match=says):
        rank_cost(config, 2)
    p = plan(name, samples=1024, global_batch=64, gpu="h100-sxm", gpus=2)
    assert {row.tensor for row in p.found} == {1}
    assert any(line.startswith("tensor parallel is left out") for line in p.assumptions)
    with pytest.raises(NotCovered, match=says):
        plan(name, samples=1024, global_batch=64, gpu="h100-sxm", gpus=2, tensor_parallel=2)
