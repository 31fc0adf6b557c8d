"""The engine on symbols is the textbook; the engine on arrays is the engine on ints."""

import itertools
from typing import Any

import numpy as np
import pytest
import sympy

from vitcost import textbook as tb
from vitcost.config.text_config import TextConfig
from vitcost.config.vit_config import ViTConfig
from vitcost.engine import model
from vitcost.engine.cost import Cost, Row, fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.ops import Sizes
from vitcost.engine.structure import MANY, Structure, sizes_of, structure_of

b, a, d, c, m, r, K, L, p_h, p_w, g_h, g_w = sympy.symbols(
    "b a d c m r K L p_h p_w g_h g_w", integer=True, positive=True
)
h = a * d
LETTERS = {"b": b, "a": a, "d": d, "c": c, "m": m, "r": r, "K": K, "L": L, "p_h": p_h, "p_w": p_w}


def symbolic(prefix_tokens: int = 1) -> Sizes:
    """Every axis of a plain model: as many letters as it has choices, the others made of them."""
    n = g_h * g_w
    s = n + prefix_tokens
    return Sizes(
        LETTERS, g_h=g_h, g_w=g_w, H=g_h * p_h, W=g_w * p_w, h=h, q=3 * h, n=n, s=s,
        s32=(s + 31) // 32 * 32,
    )  # fmt: skip


def config(**options: Any) -> ViTConfig:
    return ViTConfig(**{"embed_dim": 48, "num_heads": 4, "img_size": (32, 48), **options})


def numbers(c: ViTConfig, batch: int) -> dict[Any, int]:
    return {symbol: sizes_of(c, batch)[name] for name, symbol in
            {**LETTERS, "g_h": g_h, "g_w": g_w}.items()}  # fmt: skip


def tree_of(structure: Structure, sizes: Sizes) -> Row:
    return fold(lower(structure, Mode()), sizes)


def find(row: Row, path: str) -> Row:
    """The row of a path, or of the run of layers that it begins."""
    if row.path == path:
        return row
    return next(found for child in row.children if (found := _try(child, path)))


def _try(row: Row, path: str) -> Row | None:
    return find(row, path) if path == row.path or path.startswith(f"{row.path}.") else None


def same(left: object, right: object) -> bool:
    return sympy.expand(sympy.sympify(left) - sympy.sympify(right)) == 0


@pytest.mark.parametrize("dist_token", [False, True])
def test_the_letters_are_the_sizes(dist_token: bool) -> None:
    """What is proved of the letters holds of every config: its sizes are those letters."""
    given = config(dist_token=dist_token, patch_size=(8, 12), depth=7, mlp_dim=50, in_chans=2)
    values = numbers(given, batch=3)
    for axis, expr in symbolic(1 + dist_token).items():
        assert sympy.sympify(expr).subs(values) == sizes_of(given, 3)[axis], axis


def test_the_block_is_the_papers() -> None:
    """12h² + 13h parameters; 24bsh² + 4bs²h FLOPs forward, and twice that backward."""
    sizes = symbolic()
    sizes["m"] = 4 * h
    s = sizes["s"]
    root = tree_of(structure_of(config(depth=12), training=True), sizes)
    block = find(root, "blocks.0")
    flops = 24 * b * s * h**2 + 4 * b * s**2 * h
    assert block.repeat == L
    assert same(block.cost.params, 12 * h**2 + 13 * h)
    assert same(block.cost.flops, flops)
    assert same(block.cost.backward_flops, 2 * flops)
    assert same(find(root, "blocks.0.attn").cost.params, 4 * h**2 + 4 * h)
    assert same(find(root, "blocks.0.attn").cost.flops, 8 * b * s * h**2 + 4 * b * s**2 * h)
    assert same(find(root, "blocks.0.mlp").cost.params, 8 * h**2 + 5 * h)
    assert same(find(root, "blocks.0.mlp").cost.flops, 16 * b * s * h**2)


# every structure that the textbook covers
CHOICES = {
    "dist_token": (False, True),
    "representation_size": (None, 24),
    "num_classes": (0, 10),
    "qkv_bias": (False, True),
    "depth": (1, 2, 12),
}
COVERED = [
    options
    for row in itertools.product(*CHOICES.values())
    for options in [dict(zip(CHOICES, row, strict=True))]
    if not (options["dist_token"] and options["representation_size"])
]
WITH_DROP = [{**COVERED[-1], "drop_path_rate": 0.1, "attn_drop_rate": 0.1, "proj_drop_rate": 0.1}]


@pytest.mark.parametrize("options", COVERED + WITH_DROP, ids=str)
def test_the_whole_model_is_the_textbook(options: dict[str, Any]) -> None:
    """Engine minus textbook is zero, for every size: parameters, forward, forward and backward."""
    given = config(**options)
    distilled = given.dist_token
    sizes = symbolic(2 if distilled else 1)
    # how often a block runs is a letter in a deep model, and spelled out in a shallow one
    depth = L if given.depth >= MANY else given.depth
    v = tb.Vit(
        H=g_h * p_h, W=g_w * p_w, p_h=p_h, p_w=p_w, h=h, L=depth, c=c, m=m,
        K=K if given.num_classes else 0, r=r if given.representation_size else None,
        distilled=distilled, qkv_bias=given.qkv_bias,
    )  # fmt: skip
    for training in (False, True):
        cost = tree_of(structure_of(given, 2, training), sizes).cost
        assert same(cost.params, tb.vit_params(v))
        assert same(cost.flops, tb.vit_flops(v, b))
        if training:
            assert same(cost.flops + cost.backward_flops, tb.vit_training_flops(v, b))
        else:
            assert cost.backward_flops == 0


@pytest.mark.parametrize("training", [False, True])
def test_the_text_transformer_is_the_textbook(training: bool) -> None:
    """GPT's blocks and tied embedding, and what the form leaves out: P positions, the last norm."""
    V, P, s = sympy.symbols("V P s", integer=True, positive=True)
    gpt = TextConfig(embed_dim=48, depth=12, num_heads=4, vocab_size=100, context_length=32)
    sizes = symbolic()
    sizes.update(s=s, V=V, P=P, m=4 * h)
    cost = fold(lower(model.structure_of(gpt, 2, training), Mode()), sizes).cost
    assert same(cost.params, tb.text_params(L, h, V) + P * h + 2 * h)
    forward = tb.text_flops(b, s, L, h, V)
    assert same(cost.flops, forward)
    assert same(cost.backward_flops, tb.backward_flops(forward) if training else 0)


def test_pointwise_work_on_symbols() -> None:
    """Two norms, two residual adds, scale and softmax, GELU a block; and the last norm."""
    sizes = symbolic()
    s = sizes["s"]
    pointwise = tree_of(structure_of(config()), sizes).cost.pointwise
    block = 2 * b * s * h + 2 * b * s * h + 2 * b * a * s**2 + b * s * m
    assert same(pointwise, L * block + b * s * h)


ARRAYS = [
    {"embed_dim": 192, "num_heads": 3, "depth": 12, "patch_size": 16, "num_classes": 10},
    {"embed_dim": 768, "num_heads": 12, "depth": 9, "patch_size": (8, 16), "mlp_dim": 1000},
    {"embed_dim": 1280, "num_heads": 16, "depth": 32, "patch_size": 2, "in_chans": 1},
]


@pytest.mark.parametrize("mode", [Mode(), Mode("flash", "amp"), Mode("efficient", "half")], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_arrays_are_many_ints(mode: Mode, training: bool) -> None:
    """One fold over arrays of sizes gives what a fold for each config gives, row by row."""
    configs = [config(**options) for options in ARRAYS]
    batches = [2, 64, 8]
    sizes = [sizes_of(each, batch) for each, batch in zip(configs, batches, strict=True)]
    (structure,) = {structure_of(each, 2, training) for each in configs}
    tree = lower(structure, mode)
    many = fold(tree, Sizes({axis: np.array([one[axis] for one in sizes]) for axis in sizes[0]}))
    each = [fold(tree, one) for one in sizes]
    compared = 0
    for row, *ones in zip(_all(many), *map(_all, each), strict=True):
        for field in Cost._fields:
            got = np.broadcast_to(getattr(row.cost, field), len(ones)).tolist()
            assert got == [getattr(one.cost, field) for one in ones], (row.path, field)
            compared += any(got)
    assert compared > 50


def _all(row: Row) -> list[Row]:
    return [row, *(inner for child in row.children for inner in _all(child))]
