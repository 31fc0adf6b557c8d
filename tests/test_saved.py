"""Bytes that autograd keeps of plain models, and what runs again: against real tensors."""

import itertools
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_support import (
    HALF,
    Recipe,
    block_of,
    cross_entropies,
    folded,
    held_bytes,
    image,
    model_of,
    prepared,
    running,
    scenario,
)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_support import configs

from vitcost import textbook as tb
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.memory import cross_entropy_bytes
from vitcost.engine.model import sizes_of
from vitcost.engine.ops import numel
from vitcost.engine.tree import Node
from vitcost.zoo import resolve

# tf32 is of a card's matrix units: a CPU computes fp32, whose tensors it has
ON_A_CPU = [precision for precision in PRECISIONS if precision != "tf32"]

ATTENTIONS = ("eager", "math", "sdpa")
CHECKPOINTING = ("none", "selective", "block")
BLOCK_SIZES = (
    # batch, heads, head width, MLP width, grid
    (1, 1, 5, 7, (2, 1)),
    (1, 3, 4, 12, (1, 2)),
    (2, 1, 6, 5, (2, 2)),
    (2, 2, 3, 24, (1, 1)),
    (3, 4, 2, 8, (3, 2)),
    (5, 2, 1, 3, (2, 3)),
)
BLOCK_DROPS = tuple(itertools.product((0.0, 0.2), repeat=3))


def block_config(size: Any, drops: tuple[float, float, float]) -> ViTConfig:
    _, heads, width, mlp_dim, grid = size
    proj, attn, path = drops
    return ViTConfig(
        img_size=(2 * grid[0], 2 * grid[1]), patch_size=2, embed_dim=heads * width, depth=2,
        num_heads=heads, mlp_dim=mlp_dim, proj_drop_rate=proj, attn_drop_rate=attn,
        drop_path_rate=path,
    )  # fmt: skip


def block_saved(config: ViTConfig, how: Scenario, recipe: Recipe) -> int:
    """What autograd holds of the second block, which drops its path where there is any."""
    model = prepared(model_of(config, how.attention != "eager", recipe), how.precision)
    block = model.blocks[1:]
    dtype = HALF.get(how.precision, torch.float32)
    x = torch.zeros(how.batch, config.tokens, config.embed_dim, dtype=dtype).requires_grad_()

    def run() -> Tensor:
        # the stream is no leaf: it is kept like anything else that was computed
        with running(how.precision, how.attention):
            y: Tensor = block(x * 1)
            return y

    return held_bytes(run, [x, *model.parameters()])


@pytest.mark.parametrize("checkpointing", CHECKPOINTING)
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("precision", ON_A_CPU)
def test_a_block(precision: str, attention: str, checkpointing: str) -> None:
    """Every precision, kernel, dropout, checkpointing and size with every other: 2,160 blocks."""
    recipe = Recipe(checkpointing)
    for size, drops in itertools.product(BLOCK_SIZES, BLOCK_DROPS):
        config, how = block_config(size, drops), scenario(size[0], precision, attention, recipe)
        saved = block_of(folded(config, how)[0]).cost.saved_bytes
        assert saved == block_saved(config, how, recipe), (config, how)


MODELS: tuple[dict[str, Any], ...] = (
    {},
    {"num_classes": 0},
    {"representation_size": 9},
    {"representation_size": 3, "num_classes": 0},
    {"dist_token": True},
    {"dist_token": True, "num_classes": 0, "patch_norm": True},
    {"depth": 1, "patch_norm": True},
    {"depth": 8, "drop_path_rate": 0.1},
    {"depth": 9, "attn_drop_rate": 0.1, "drop_path_rate": 0.3},
    {"pos_drop_rate": 0.1, "proj_drop_rate": 0.1},
    {"num_heads": 1, "qkv_bias": False},
    {"img_size": (6, 4), "in_chans": 1, "qk_scale": 0.25},
    {"depth": 3, "scale_query": True, "num_heads": 1},
    {"depth": 7, "scale_query": True, "mlp_dim": 3},
)
RECIPES = (
    Recipe(),
    Recipe("selective"),
    Recipe("block"),
    Recipe("every:2"),
    Recipe("every:3", "first:1"),
    Recipe("none", "all-but-last:1"),
    Recipe("none", "backbone"),
    Recipe("every:4", "none", 2),
    Recipe("none", "all-but-last:2", 3, "fc1,qkv,fc2"),
)


def small(**options: Any) -> ViTConfig:
    base = {
        "img_size": (4, 6), "patch_size": 2, "num_classes": 5, "embed_dim": 12, "depth": 2,
        "num_heads": 3, "mlp_dim": 20,
    }  # fmt: skip
    return ViTConfig(**{**base, **options})


def torch_saved(config: ViTConfig, how: Scenario, model: nn.Module) -> int:
    """What autograd holds of a model and its loss."""
    x, classes = image(config, how), torch.zeros(how.batch, dtype=torch.long)

    def run() -> Any:
        with running(how.precision, how.attention):
            output = model(x)
            return cross_entropies(output, classes) if config.num_classes else output

    return held_bytes(run, [x, classes, *model.parameters()])


def engine_saved(config: ViTConfig, how: Scenario) -> int:
    row, tree = folded(config, how)
    logits = numel(tree.output.axes, sizes_of(config, how.batch))
    loss = config.losses * cross_entropy_bytes(logits, how)
    return row.cost.saved_bytes + loss


def agree(config: ViTConfig, how: Scenario, recipe: Recipe) -> None:
    """Bytes that autograd keeps, and how many parameters train."""
    model = prepared(model_of(config, how.attention != "eager", recipe), how.precision)
    assert engine_saved(config, how) == torch_saved(config, how, model), (config, how)
    trains = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert folded(config, how)[0].cost.trainable == trains


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(map(str, recipe)))
@pytest.mark.parametrize("precision", ON_A_CPU)
def test_a_model(precision: str, recipe: Recipe) -> None:
    """630 models with their loss: every precision, kernel and recipe with every option."""
    draw = random.Random(f"{precision} {recipe}")
    for options, attention in itertools.product(MODELS, ATTENTIONS):
        config, batch = small(**options), draw.choice((1, 2, 3))
        agree(config, scenario(batch, precision, attention, recipe), recipe)


recipes = st.builds(
    Recipe,
    st.sampled_from(["none", "selective", "block", "every:2", "every:3", "every:100"]),
    st.sampled_from(["none", "backbone", "first:0", "first:1", "all-but-last:1", "first:100"]),
    st.sampled_from([0, 0, 2]),
    st.sampled_from(["qkv", "proj,fc2", "qkv,proj,fc1,fc2"]),
)


@settings(max_examples=150, deadline=None)
@given(
    configs(), st.integers(1, 3), st.sampled_from(ON_A_CPU), st.sampled_from(ATTENTIONS),
    recipes,
)  # fmt: skip
def test_any_model(
    config: ViTConfig, batch: int, precision: str, attention: str, recipe: Recipe
) -> None:
    agree(config, scenario(batch, precision, attention, recipe), recipe)


def torch_flops(config: ViTConfig, batch: int, recipe: Recipe) -> tuple[int, int]:
    """FLOPs forward, and forward and backward, as torch runs a model with eager attention."""
    with torch.device("meta"):
        model = model_of(config, False, recipe)
        x = torch.zeros(batch, config.in_chans, *config.img_size)
    with FlopCounterMode(display=False) as counter:
        output = model(x)
        forward = counter.get_total_flops()
        heads = output if isinstance(output, tuple) else (output,)
        total = torch.stack([y.sum() for y in heads]).sum()
        if total.requires_grad:
            total.backward()
        return forward, counter.get_total_flops()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(map(str, recipe)))
def test_flops_of_a_step(recipe: Recipe) -> None:
    """What runs again, and which gradients exist."""
    for options in MODELS:
        config = small(**options)
        cost = folded(config, scenario(2, "fp32", "eager", recipe))[0].cost
        step = cost.executed_flops + cost.executed_backward_flops
        assert (cost.executed_flops, step) == torch_flops(config, 2, recipe), config
        if recipe.checkpointing == "none":
            assert cost.executed_backward_flops == cost.backward_flops


def test_recomputation_stops_before_the_last_linear_layer() -> None:
    """The textbook's factor: all blocks once more, less the last linear layer of each."""
    config = resolve("vit_base_patch16_224").config
    v = tb.Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000)
    cost = folded(config, scenario(8, "fp32", "eager", Recipe("block")))[0].cost
    step = cost.executed_flops + cost.executed_backward_flops
    assert step == tb.vit_recomputed_training_flops(v, 8)


@pytest.mark.parametrize(
    "recipe", [Recipe("every:5"), Recipe("every:7", "first:3"), Recipe("block", "all-but-last:9")]
)
def test_depth_is_counted_off(recipe: Recipe) -> None:
    """A deep model is lowered to as few nodes as a shallow one; its rows add up to its total."""

    def count(node: Node) -> int:
        return 1 + sum(count(item) for item in node.body if isinstance(item, Node))

    nodes = {}
    for depth in (40, 35_040):
        config = small(depth=depth, drop_path_rate=0.1)
        row, tree = folded(config, scenario(2, "amp-bf16", "sdpa", recipe))
        nodes[depth] = count(tree)
        blocks = next(child for child in row.children if child.path == "blocks")
        assert sum(child.repeat for child in blocks.children) == depth
        total = sum(child.repeat * child.cost.saved_bytes for child in blocks.children)
        assert total == blocks.cost.saved_bytes
    assert nodes[40] == nodes[35_040]


def test_groups_that_do_not_divide_the_depth() -> None:
    """11 blocks in groups of 4: three inputs stay, and three last linear layers run once."""
    config = small(depth=11)
    plain = folded(config, scenario(1, "fp32", "eager"))[0].cost
    grouped = folded(config, scenario(1, "fp32", "eager", Recipe("every:4")))[0]
    blocks = next(child for child in grouped.children if child.path == "blocks")
    assert blocks.cost.saved_bytes == 3 * 4 * config.tokens * config.embed_dim
    last = 2 * config.tokens * config.mlp_dim * config.embed_dim
    again = grouped.cost.executed_backward_flops - plain.backward_flops
    assert again == blocks.cost.flops - 3 * last
    assert [(row.path, row.last, row.repeat) for row in blocks.children] == [
        ("blocks.0", "blocks.4", 2),
        ("blocks.1", "blocks.6", 4),
        ("blocks.3", "blocks.7", 2),
        ("blocks.8", "blocks.8", 1),
        ("blocks.9", "blocks.9", 1),
        ("blocks.10", "blocks.10", 1),
    ]


def test_the_witness_tells_models_apart() -> None:
    """It holds more with a dropout and less of a frozen model: it is no constant."""
    config, how = small(), scenario(2, "fp32", "eager")
    plain = torch_saved(config, how, model_of(config, False))
    dropped = small(proj_drop_rate=0.1)
    assert torch_saved(dropped, how, model_of(dropped, False)) > plain
    frozen = model_of(config, False, Recipe(freeze="backbone"))
    assert torch_saved(config, how, frozen) < plain
