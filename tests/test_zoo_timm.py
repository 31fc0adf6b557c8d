"""timm's architectures: counts against recorded ones, and against timm where it is installed."""

import csv
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine import ops
from vitcost.engine.build import build
from vitcost.engine.cost import Row, fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.ops import Op, Sizes
from vitcost.engine.parts import by_part
from vitcost.engine.structure import sizes_of, structure_of
from vitcost.engine.tree import Node
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.zoo import timm as zoo
from vitcost.zoo.timm.args import CLASSES, fields_of

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


NAMED = recorded("timm_vit.csv")
RANDOM = recorded("timm_vit_random.csv")
# the names of the parts, and what the record calls them
PARTS = (
    "patch_embed", "tokens", "pos_embed", "rope", "shared_rel_pos", "norm_pre", "blocks", "norm",
    "attn_pool", "fc_norm", "head",
)  # fmt: skip


def cost_of(config: ViTConfig, training: bool = False) -> Row:
    return fold(lower(structure_of(config, 1, training), Mode()), sizes_of(config))


def contractions(node: Node, sizes: Sizes) -> dict[str, int]:
    """FLOPs by kind of op, below a node of the declared tree."""
    found: dict[str, int] = {}
    for item in node.body:
        if isinstance(item, Op):
            inner, times = {item.kind: ops.flops(item, sizes)}, 1
        else:
            inner = contractions(item, sizes)
            times = 1 if item.run is None else item.run.layers.of(sizes)
        for kind, flops in inner.items():
            found[kind] = found.get(kind, 0) + times * flops
    return found


def agree(config: ViTConfig, row: dict[str, str]) -> None:
    """Every count of the record that is about the model as it stands."""
    counts = {k: v for k, v in row.items() if k.startswith(("params_", "flops_")) and v}
    expected = {key: int(value) for key, value in counts.items()}
    root, sizes = cost_of(config), sizes_of(config)
    assert root.cost.params == expected["params_total"]
    params = by_part(root.children, lambda cost: cost.params)
    assert {part: params.pop(part, 0) for part in PARTS} == {
        part: expected[f"params_{part}"] for part in PARTS
    }
    assert not any(params.values())
    assert config.tokens == int(row["n_tokens"])

    assert root.cost.flops == expected["flops_total"]
    flops = by_part(root.children, lambda cost: cost.flops)
    for part in ("patch_embed", "attn_pool", "head"):
        assert flops.get(part, 0) == expected[f"flops_{part}"]
    tree = build(structure_of(config))
    by_kind = contractions(tree, sizes)
    assert by_kind["conv"] == expected["flops_conv"]
    products = by_kind["linear"] + by_kind["matmul"]
    assert products == expected["flops_mm"] + expected["flops_bmm"]
    (blocks,) = (item for item in tree.body if isinstance(item, Node) and item.name == "blocks")
    in_blocks = contractions(blocks, sizes)
    # torch has some linear layers among the batched products, so that the sum is compared, …
    assert in_blocks["linear"] + in_blocks["matmul"] == (
        expected["flops_blocks_proj"] + expected["flops_blocks_attn_matmul"]
    )
    # … and q kᵀ and its product with v are 2 · 2 N² A an attention, however heads are shared
    attentions = int(row["d_depth"]) * int(row["d_num_parallel"])
    N, A = int(row["n_tokens"]), int(row["d_attn_dim"])
    assert in_blocks["matmul"] == attentions * 4 * N**2 * A

    hybrid = [row for row in root.children[0].children if row.path == "patch_embed.backbone"]
    assert sum(row.cost.params for row in hybrid) == expected["params_hybrid_backbone"]
    assert sum(row.cost.flops for row in hybrid) == expected["flops_hybrid_backbone"]

    # two products for each one of the forward, except for the gradient of the image
    backward = cost_of(config, training=True).cost.backward_flops
    assert backward == 2 * expected["flops_total"] - image_flops(config, row)


def image_flops(config: ViTConfig, row: dict[str, str]) -> int:
    """FLOPs of the convolution that reads the image: of a backbone the first one."""
    if not config.backbone:
        return int(row["flops_conv"])
    size = config.backbone.removeprefix("vitamin_")
    # width, side of the kernel, stride
    o, k, stride = {
        "ConvStem": (768 // 4, 4, 4),
        "Sequential": (64, 7, 2),
        "ResNetV2": (64, 7, 2),
        "FeatureListNet": (32, 3, 2),
        "MbConvStages": (
            {"small": 64, "base": 128, "large": 160, "xlarge": 192}.get(size, 0),
            3,
            2,
        ),
    }[row["d_hybrid_backbone"]]
    H, W = config.img_size
    return 2 * (H // stride) * (W // stride) * o * config.in_chans * k * k


def fields(name: str) -> dict[str, Any]:
    found = zoo.lookup(name)
    assert found is not None, name
    return found[1]


@pytest.mark.parametrize("row", NAMED, ids=[row["model"] for row in NAMED])
def test_name(row: dict[str, str]) -> None:
    name, tag = row["model"], row["default_tag"]
    if tag:
        agree(configure(fields(f"{name}.{tag}")), row)
        assert zoo.tags(name)[0] == tag
    else:
        agree(configure(fields(name), num_classes=int(row["d_num_classes"])), row)
    bare = cost_of(configure(fields(name))).cost
    assert bare.params == int(row["params_total_nc1000"])
    assert bare.flops == int(row["flops_total_nc1000"])


@pytest.mark.parametrize("row", RANDOM, ids=[row["model"] for row in RANDOM])
def test_random_constructor_call(row: dict[str, str]) -> None:
    agree(ViTConfig(**fields_of(row["class"], json.loads(row["kwargs"]))), row)


def test_the_tables_hold_what_timm_has() -> None:
    names = zoo.names()
    assert len(names) == len(set(names))
    assert {row["model"] for row in NAMED} <= set(names)


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_table(family: str) -> None:
    rows, tags = zoo.table(family)
    assert rows
    assert {zoo.family_of(name) for name in rows} == {family}
    assert set(tags) <= set(rows)
    seen: set[str] = set()
    for name, row in rows.items():
        # a row stands below the one that it is a variant of, and says what differs
        assert row.source if not row.base else row.base in seen
        base = {} if not row.base else fields(row.base)
        differs = any(base.get(key) != value for key, value in row.fields.items())
        assert differs or row.source
        seen.add(name)


def test_a_name_that_timm_has_given_up_is_a_tag() -> None:
    for old, new in zoo.RENAMED.items():
        assert "." in new
        assert fields(old) == fields(new)
        assert old not in zoo.names()


@pytest.mark.parametrize(
    "name",
    ["", "vit", "vit_base_patch16_224.nobody", "vit_base_patch16_224.", "resnet50", "deit.a"],
)
def test_an_unknown_name_is_nobodys(name: str) -> None:
    if name.endswith("."):
        assert fields(name) == fields(name[:-1])
    else:
        assert zoo.lookup(name) is None


def test_a_source_is_said() -> None:
    assert zoo.lookup("vit_base_patch14_reg4_dinov2") == (
        "Darcet et al. 2023, arXiv 2309.16588; timm 1.0.31",
        {
            "embed_dim": 768,
            "depth": 12,
            "num_heads": 12,
            "patch_size": 14,
            "img_size": 518,
            "init_values": 1e-5,
            "reg_tokens": 4,
            "no_embed_class": True,
        },
    )


# overrides on a row, and what they do to its parameters and tokens, written out
OVERRIDES: list[tuple[str, dict[str, Any], int, int]] = [
    # 512 / 16 = 32 a side: 1024 - 196 more tokens and positions
    ("vit_base_patch16_224", {"img_size": 512}, 828 * 768, 828),
    # no head
    ("vit_base_patch16_224", {"num_classes": 0}, -(768 * 1000 + 1000), 0),
    # registers have positions here
    ("vit_base_patch16_224", {"reg_tokens": 4}, 8 * 768, 4),
    # … and none here
    ("flexivit_base", {"reg_tokens": 4}, 4 * 768, 4),
    # the last norm moves behind the pool
    ("vit_base_patch16_224", {"global_pool": "avg"}, 0, 0),
    # no norm stays where the row says that there is none
    ("vit_pe_spatial_tiny_patch16_512", {"global_pool": "token"}, 0, 0),
    # without the pool goes its query, q, kv, projection, norm and MLP
    (
        "vit_base_patch16_siglip_224",
        {"global_pool": "avg"},
        -(768 + 4 * (768**2 + 768) + 2 * 768 + 2 * 768 * 3072 + 3072 + 768),
        0,
    ),
    # the two tables of 15 more distances a side, in 12 blocks of 12 heads
    ("beit_base_patch16_224", {"img_size": 240}, 12 * 12 * (29**2 - 27**2), 15**2 - 14**2),
]


@pytest.mark.parametrize(("name", "override", "params", "tokens"), OVERRIDES)
def test_override(name: str, override: dict[str, Any], params: int, tokens: int) -> None:
    plain, other = configure(fields(name)), configure(fields(name), **override)
    assert cost_of(other).cost.params - cost_of(plain).cost.params == params
    assert other.tokens - plain.tokens == tokens


@pytest.mark.parametrize(
    ("name", "override", "mlp_dim"),
    [
        # a row by ratio rescales with the width: int(1000 · 3.7362), and half of int(600 · 5.33334)
        ("vit_so400m_patch14_siglip_224", {"embed_dim": 1000, "num_heads": 8}, 3736),
        ("vit_giant_patch14_dinov2", {"embed_dim": 600}, 1600),
        # 2 · 1152 = 2304 = 36 · 64 is aligned; int(2.03 · 1152) = 2338 is not, the next is 37 · 64
        ("vit_7b_patch16_dinov3", {"embed_dim": 1152}, 2304),
        ("vit_7b_patch16_dinov3", {"embed_dim": 1152, "mlp_ratio": 2.03}, 2368),
        # a width is taken as it is
        ("vit_giant_patch14_dinov2", {"mlp_dim": 5000}, 5000),
        ("vit_giant_patch14_dinov2", {"embed_dim": 600, "mlp_dim": 5000}, 5000),
        # in VisionTransformer a ratio counts both halves of a packed gate, in Eva it does not
        ("vit_giant_patch14_dinov2", {"mlp_ratio": 2}, 1536),
        ("eva02_tiny_patch14_224", {"mlp_ratio": 2}, 384),
    ],
)
def test_mlp_width(name: str, override: dict[str, Any], mlp_dim: int) -> None:
    assert configure(fields(name), **override).mlp_dim == mlp_dim


def test_an_image_that_the_patch_does_not_divide() -> None:
    with pytest.raises(ConfigError, match="nearest: 224 or 240"):
        configure(fields("vit_base_patch16_224"), img_size=225)
    # this row leaves a rest over, as timm's fixed images do: 384 = 27 · 14 + 6
    assert configure(fields("vit_so400m_patch14_siglip_384")).grid == (27, 27)
    # timm's constructor floors a fixed image, refuses a dynamic one, and pads where it is told
    sizes = {"img_size": 225, "embed_dim": 64, "num_heads": 2}
    assert ViTConfig(**fields_of("VisionTransformer", sizes)).tokens == 14**2 + 1
    with pytest.raises(ConfigError, match="nearest"):
        ViTConfig(**fields_of("VisionTransformer", {**sizes, "dynamic_img_size": True}))
    padded = {**sizes, "dynamic_img_size": True, "dynamic_img_pad": True}
    config = ViTConfig(**fields_of("VisionTransformer", padded))
    assert config.tokens == 15**2 + 1
    # the position embedding is made for the floor, and resampled
    (position,) = (row for row in cost_of(config).children if row.path == "pos_embed")
    assert position.cost.params == (14**2 + 1) * 64


def test_an_argument_that_nobody_knows() -> None:
    with pytest.raises(UnknownName, match=r"argument of Eva 'num_reg_toks'.*num_reg_tokens"):
        fields_of("Eva", {"num_reg_toks": 4})
    with pytest.raises(NotCovered, match="SwinTransformer"):
        fields_of("SwinTransformer", {})
    for kwargs in ({"patch_drop_rate": 0.5}, {"embed_layer": "HybridEmbed"}):
        with pytest.raises(NotCovered, match=next(iter(kwargs))):
            fields_of("VisionTransformer", kwargs)
    with pytest.raises(NotCovered, match="embed_norm_layer"):
        fields_of("VisionTransformer", {"embed_norm_layer": "rmsnorm"})
    assert "num_reg_tokens" not in fields_of("Eva", {"num_reg_tokens": 4})
    assert set(CLASSES) == {"VisionTransformer", "VisionTransformerDistilled", "Eva", "Beit"}


def parameters(node: Node, sizes: Sizes, path: str = "") -> Iterator[tuple[str, int]]:
    """Every parameter of a declared tree, by the name that torch has for it."""
    for item in node.body:
        if isinstance(item, Op):
            for tensor in ops.own(item):
                own = path if item.kind == "parameter" else f"{path}.{tensor.name}"
                yield own, ops.numel(tensor.axes, sizes)
            continue
        names = [item.name]
        if item.run is not None:
            first = sum(count.of(sizes) for count in item.run.before)
            names = [str(first + i) for i in range(item.run.layers.of(sizes))]
        for name in names:
            yield from parameters(item, sizes, f"{path}.{name}" if path else name)


def buffers(node: Node, sizes: Sizes, path: str = "") -> Iterator[tuple[str, int]]:
    """Bytes of every buffer of a declared tree, by the name that torch has for it."""
    for tensor in node.buffers:
        name = f"{path}.{tensor.name}" if path else tensor.name
        yield name, (tensor.itemsize or 4) * ops.numel(tensor.axes, sizes)
    for item in node.body:
        if isinstance(item, Node):
            first = sum(count.of(sizes) for count in item.run.before) if item.run else 0
            times = item.run.layers.of(sizes) if item.run else 1
            for i in range(first, first + times):
                name = str(i) if item.run else item.name
                yield from buffers(item, sizes, f"{path}.{name}" if path else name)


def same_as_torch(config: ViTConfig, model: Any) -> None:
    """Each parameter's and buffer's name and size, and FLOPs forward, of a model on the meta
    device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    sizes = sizes_of(config)
    ours = dict(parameters(build(structure_of(config)), sizes))
    assert ours == {name: p.numel() for name, p in model.named_parameters()}
    tree = build(structure_of(config, 1, training=True))
    tables = {name: b.numel() * b.itemsize for name, b in model.named_buffers()}
    assert dict(buffers(tree, sizes)) == tables
    assert workload(config, Scenario()).buffers_bytes == sum(tables.values())
    image = torch.empty(1, config.in_chans, *config.img_size, device="meta")
    model.eval().requires_grad_(False)
    halves = sum(b.numel() * b.itemsize for b in deepcopy(model).bfloat16().buffers())
    assert workload(config, Scenario(precision="bf16")).buffers_bytes == halves
    with FlopCounterMode(display=False) as counter:
        model(image)
    assert cost_of(config).cost.flops == counter.get_total_flops()


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> Any:
    from vitcost.check.installed import timm

    package = timm()
    import timm.layers.config as layers

    monkeypatch.setattr(layers, "_USE_FUSED_ATTN", 0)
    return package


# overrides that are spelled alike here and in timm's constructors, dealt out over the names
DEALT: list[dict[str, Any]] = [
    {},
    {"num_classes": 0},
    {"num_classes": 7, "in_chans": 4},
    {"global_pool": "", "num_classes": 3},
    {"depth": 3, "qkv_bias": False},
    {"img_size": (448, 224)},
    {"global_pool": "avg"},
    {"global_pool": "token"},
    {"init_values": 1e-3, "patch_size": 32, "img_size": 256},
]
SPREAD = [
    (name, DEALT[i % len(DEALT)])
    for i, name in enumerate(sorted(row["model"] for row in NAMED)[::4])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "override"), SPREAD)
def test_same_as_timm(name: str, override: dict[str, Any], unfused: Any) -> None:
    import torch

    try:
        with torch.device("meta"):
            model = unfused.create_model(name, **{"num_classes": 1000, **override})
    except AssertionError:
        # what timm refuses is refused here
        with pytest.raises(ConfigError):
            configure(fields(name), **override)
    else:
        same_as_torch(configure(fields(name), **override), model)


TAGGED = [
    f"{name}.{tag}" for name in ("vit_base_patch16_224", "flexivit_base") for tag in zoo.tags(name)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TAGGED)
def test_tag_same_as_timm(name: str, unfused: Any) -> None:
    import torch

    with torch.device("meta"):
        model = unfused.create_model(name)
    same_as_torch(configure(fields(name)), model)


@pytest.mark.slow
@pytest.mark.parametrize("row", RANDOM[::3], ids=[row["model"] for row in RANDOM[::3]])
def test_random_same_as_timm(row: dict[str, str], unfused: Any) -> None:
    import timm.layers
    import torch
    from timm.models import beit, eva, vision_transformer

    kwargs = json.loads(row["kwargs"])
    config = ViTConfig(**fields_of(row["class"], kwargs))
    for key, module in (("block_fn", vision_transformer), ("mlp_layer", timm.layers)):
        if key in kwargs:
            kwargs[key] = getattr(module, kwargs[key])
    (made,) = (
        getattr(module, row["class"])
        for module in (vision_transformer, eva, beit)
        if getattr(module, row["class"], None) is not None
        and getattr(module, row["class"]).__module__ == module.__name__
    )
    with torch.device("meta"):
        model = made(**kwargs)
    same_as_torch(config, model)


@pytest.mark.slow
def test_the_tables_agree_with_the_installed_timm() -> None:
    from bench.timm_tables import differences

    assert list(differences()) == []
