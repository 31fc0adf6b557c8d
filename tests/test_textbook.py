"""The closed forms against what papers print, what torch counts, and arithmetic written out."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy

from vitcost import textbook as tb
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import NotCovered

b, s, h, a, L, V, m, K, n, c, r, Φ = sympy.symbols("b s h a L V m K n c r Φ", integer=True)
p_h, p_w, g_h, g_w = sympy.symbols("p_h p_w g_h g_w", integer=True, positive=True)


def same(left: object, right: object) -> bool:
    return sympy.expand(sympy.sympify(left) - sympy.sympify(right)) == 0


# the papers' collapsed forms, as printed there
IDENTITIES = {
    "attention params": (tb.attention_params(h), 4 * h**2 + 4 * h),
    "attention params without qkv bias": (
        tb.attention_params(h, qkv_bias=False),
        3 * h * h + (h * h + h),
    ),
    "mlp params": (tb.mlp_params(h), 8 * h**2 + 5 * h),
    "mlp params of any width": (tb.mlp_params(h, m), 2 * h * m + m + h),
    "two norms": (tb.norms_params(h), 4 * h),
    "block params": (tb.block_params(h), 12 * h**2 + 13 * h),
    "text params": (tb.text_params(L, h, V), L * (12 * h**2 + 13 * h) + V * h),
    "text params from blocks": (tb.text_params(L, h, V), L * tb.block_params(h) + V * h),
    "text params, approximately": (tb.text_params_approx(L, h), 12 * L * h**2),
    "patch params": (tb.patch_params(h, c, p_h, p_w), c * p_h * p_w * h + h),
    "qkv": (tb.qkv_flops(b, s, h), 6 * b * s * h**2),
    "scores": (tb.scores_flops(b, s, h), 2 * b * s**2 * h),
    "weighted sum": (tb.weighted_sum_flops(b, s, h), 2 * b * s**2 * h),
    "output": (tb.output_flops(b, s, h), 2 * b * s * h**2),
    "attention": (tb.attention_flops(b, s, h), 8 * b * s * h**2 + 4 * b * s**2 * h),
    "mlp": (tb.mlp_flops(b, s, h), 16 * b * s * h**2),
    "mlp of any width": (tb.mlp_flops(b, s, h, m), 4 * b * s * h * m),
    "block": (tb.block_flops(b, s, h), 24 * b * s * h**2 + 4 * b * s**2 * h),
    "block of any width": (
        tb.block_flops(b, s, h, m),
        8 * b * s * h**2 + 4 * b * s**2 * h + 4 * b * s * h * m,
    ),
    "logits": (tb.logits_flops(b, s, h, V), 2 * b * s * h * V),
    "text": (
        tb.text_flops(b, s, L, h, V),
        L * (24 * b * s * h**2 + 4 * b * s**2 * h) + 2 * b * s * h * V,
    ),
    "text from blocks": (
        tb.text_flops(b, s, L, h, V),
        L * tb.block_flops(b, s, h) + tb.logits_flops(b, s, h, V),
    ),
    "patches": (tb.patch_flops(b, n, h, c, p_h, p_w), 2 * b * n * c * p_h * p_w * h),
    "backward": (tb.backward_flops(s), 2 * s),
    "training": (tb.training_flops(s), 3 * s),
    "training, all recomputed": (tb.recomputed_training_flops(s), 4 * s),
    # Narayanan et al. 2021, section 5.1: the blocks run twice forward, the logits once
    "training, blocks recomputed": (
        tb.recomputed_training_flops(L * tb.block_flops(b, s, h), tb.logits_flops(b, s, h, V)),
        96 * b * s * L * h**2 * (1 + s / (6 * h) + V / (16 * L * h)),
    ),
    # Narayanan et al. 2021, section 5.1, which has a position embedding of s
    "text params and positions": (
        tb.text_params(L, h, V) + s * h,
        12 * L * h**2 * (1 + sympy.Rational(13, 12) / h + (V + s) / (12 * L * h)),
    ),
    "inference": (tb.inference_bytes(Φ), 2 * Φ),
    "weights": (tb.training_bytes(Φ).weights, (2 + 4) * Φ),
    "gradients": (tb.training_bytes(Φ).gradients, (2 + 4) * Φ),
    "moments": (tb.training_bytes(Φ).moments, (4 + 4) * Φ),
    "training states": (tb.training_bytes(Φ).total, 20 * Φ),
    # Korthikanti et al. 2022, equation 1, and the same less the masks and dropout outputs
    "activations": (tb.block_activation_bytes(b, s, h, a), s * b * h * (34 + 5 * a * s / h)),
    "activations without dropout": (
        tb.block_activation_bytes(b, s, h, a, dropout=False),
        32 * s * b * h + 2 * a * s**2 * b,
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_closed_form(name: str) -> None:
    left, right = IDENTITIES[name]
    assert same(left, right), left


def test_whole_vit_on_symbols() -> None:
    """Every term of a distilled model and of one with a representation layer, written out."""
    v = tb.Vit(H=g_h * p_h, W=g_w * p_w, p_h=p_h, p_w=p_w, h=h, L=L, K=K, c=c, m=m)
    patch, block = c * p_h * p_w * h, 4 * h**2 + 4 * h + 2 * h * m + m + h + 4 * h
    positions = g_h * g_w * h + h
    params = patch + h + h + positions + L * block + 2 * h + (h * K + K)
    assert same(tb.vit_params(v), params)
    assert same(tb.vit_params(v._replace(r=r)), params - h * K + h * r + r + r * K)
    two_tokens = h + h + h * K + K  # the token, its position, its head
    assert same(tb.vit_params(v._replace(distilled=True)), params + two_tokens)
    assert same(tb.vit_params(v._replace(qkv_bias=False)), params - L * 3 * h)

    tokens = g_h * g_w + 1
    conv = 2 * b * g_h * g_w * patch
    blocks = L * (8 * b * tokens * h**2 + 4 * b * tokens**2 * h + 4 * b * tokens * h * m)
    head = 2 * b * h * K
    assert same(tb.vit_flops(v, b), conv + blocks + head)
    assert same(tb.vit_training_flops(v, b), 2 * conv + 3 * blocks + 3 * head)
    again = blocks - L * 2 * b * tokens * m * h
    assert same(tb.vit_recomputed_training_flops(v, b), 2 * conv + 3 * blocks + 3 * head + again)
    represented = conv + blocks + 2 * b * h * r + 2 * b * r * K
    assert same(tb.vit_flops(v._replace(r=r), b), represented)
    more = blocks.subs(tokens, tokens + 1)
    assert same(tb.vit_flops(v._replace(distilled=True), b), conv + more + 2 * head)


def vit(side: int, patch: int, h: int, L: int, K: int = 1000, **more: Any) -> tb.Vit:
    return tb.Vit(H=side, W=side, p_h=patch, p_w=patch, h=h, L=L, K=K, **more)


# params and forward FLOPs counted by torch on timm 1.0.31: sum(p.numel()) and FlopCounterMode
# on the meta device, batch 1, eval, unfused attention
TIMM = {
    "vit_tiny_patch16_224": (vit(224, 16, 192, 12), 5_717_416, 2_507_366_400),
    "vit_small_patch16_224": (vit(224, 16, 384, 12), 22_050_664, 9_197_764_608),
    "vit_small_patch32_224": (vit(224, 32, 384, 12), 22_878_952, 2_285_819_904),
    "vit_base_patch8_224": (vit(224, 8, 768, 12), 86_576_872, 156_296_675_328),
    "vit_base_patch16_224": (vit(224, 16, 768, 12), 86_567_656, 35_127_656_448),
    "vit_base_patch32_224": (vit(224, 32, 768, 12), 88_224_232, 8_818_372_608),
    "vit_base_patch16_384": (vit(384, 16, 768, 12), 86_859_496, 110_968_700_928),
    "vit_base_patch16_224_miil.in21k": (
        vit(224, 16, 768, 12, 11_221, qkv_bias=False),
        94_399_957,
        35_143_355_904,
    ),
    "vit_large_patch14_224": (vit(224, 14, 1024, 24), 304_203_752, 162_026_012_672),
    "vit_large_patch16_224": (vit(224, 16, 1024, 24), 304_326_632, 123_109_425_152),
    "vit_large_patch32_384": (vit(384, 32, 1024, 24), 306_632_680, 90_551_926_784),
    "vit_huge_patch14_224": (vit(224, 14, 1280, 32, 0), 630_764_800, 334_587_658_240),
    "vit_huge_patch14_224, 1000 classes": (
        vit(224, 14, 1280, 32),
        632_045_800,
        334_590_218_240,
    ),
    "deit_tiny_distilled_patch16_224": (
        vit(224, 16, 192, 12, distilled=True),
        5_910_800,
        2_522_007_552,
    ),
    "deit_small_distilled_patch16_224": (
        vit(224, 16, 384, 12, distilled=True),
        22_436_432,
        9_248_280_576,
    ),
    "deit_base_distilled_patch16_224": (
        vit(224, 16, 768, 12, distilled=True),
        87_338_192,
        35_313_623_040,
    ),
    "deit_base_distilled_patch16_384": (
        vit(384, 16, 768, 12, distilled=True),
        87_630_032,
        111_182_684_160,
    ),
}


@pytest.mark.parametrize("name", TIMM)
def test_published_models(name: str) -> None:
    v, params, flops = TIMM[name]
    assert (tb.vit_params(v), tb.vit_flops(v)) == (params, flops)


def test_vit_base_trains_in_so_many_flops() -> None:
    """FlopCounterMode over a forward and a backward of timm's vit_base_patch16_224."""
    assert tb.vit_training_flops(vit(224, 16, 768, 12)) == 105_151_758_336
    assert tb.vit_training_flops(vit(224, 16, 768, 12), b=7) == 7 * 105_151_758_336


# billions, layers, width: Narayanan et al. 2021, Table 1, vocabulary 51,200, sequence 2048
NARAYANAN = {
    "1.7": (24, 2304), "3.6": (30, 3072), "7.5": (36, 4096), "18.4": (40, 6144),
    "39.1": (48, 8192), "76.1": (60, 10_240), "145.6": (80, 12_288), "310.1": (96, 16_384),
    "529.6": (105, 20_480), "1008.0": (128, 25_600),
}  # fmt: skip


@pytest.mark.parametrize("printed", NARAYANAN)
def test_text_models(printed: str) -> None:
    L, h = NARAYANAN[printed]
    positions = 2048 * h
    assert f"{(tb.text_params(L, h, 51_200) + positions) / 1e9:.1f}" == printed


def test_gpt3_has_175_billion() -> None:
    """Brown et al. 2020, Table 2.1: 96 layers of width 12288."""
    assert tb.text_params(96, 12_288, 50_257) == 96 * 1_812_099_072 + 617_558_016
    assert round((tb.text_params(96, 12_288, 50_257) + 2048 * 12_288) / 1e9) == 175


def test_kaplan_is_low_by_biases_norms_and_embedding() -> None:
    L, h, V = 96, 12_288, 50_257
    assert tb.text_params(L, h, V) - tb.text_params_approx(L, h) == L * 13 * h + V * h


def test_training_of_gpt3() -> None:
    """Brown et al. 2020, Table D.1: 174,600 M parameters, 300 B tokens, 3.14E+23 FLOPs."""
    assert tb.text_training_flops_approx(174_600 * 10**6, 300 * 10**9) == 314_280 * 10**18


def test_narayanan_trains_gpt3_in_34_days() -> None:
    """Section 5.1: 8 TP FLOPs, T = 300 B, P = 175 B, 1024 cards at 140 TFLOP/s: 34 days."""
    forward = 2 * 300 * 10**9 * 175 * 10**9
    seconds = Fraction(tb.recomputed_training_flops(forward), 1024 * 140 * 10**12)
    assert round(seconds / 86_400) == 34


def test_memory_of_gpt2() -> None:
    """Rajbhandari et al. 2020, section 3: 1.5 B parameters are 3 GB, and 24 GB in training, which
    keeps no full-precision gradients."""
    assert tb.inference_bytes(1_500_000_000) == 3 * 10**9
    states = tb.training_bytes(1_500_000_000)
    assert states.total - states.full_gradients == 24 * 10**9
    assert states == (3e9, 6e9, 3e9, 6e9, 6e9, 6e9)


@pytest.mark.parametrize(
    ("a", "s", "h", "ratio"), [(96, 2048, 12_288, 80), (128, 2048, 20_480, 64)]
)
def test_activations_of_gpt3_and_mt_nlg(a: int, s: int, h: int, ratio: int) -> None:
    """Korthikanti et al. 2022, section 5: 5as/h is 80 for GPT-3 and 64 for MT-NLG."""
    assert tb.block_activation_bytes(1, s, h, a) == s * h * (34 + ratio)


def test_layer_types_are_table_1() -> None:
    n, d, k, r = sympy.symbols("n d k r", integer=True, positive=True)
    log = sympy.Function("log")
    rows = {row.layer: row[1:] for row in tb.layer_complexities(n, d, k, r, log=log)}
    assert rows["self-attention"] == (n**2 * d, 1, 1)
    assert rows["recurrent"] == (n * d**2, n, n)
    assert rows["convolutional"] == (k * n * d**2, 1, log(n, k))
    work, sequential, path = rows["restricted self-attention"]
    assert (work, sequential) == (r * n * d, 1)
    assert path.rewrite(sympy.ceiling) == sympy.ceiling(n / r)


def test_layer_types_in_numbers() -> None:
    attention, recurrent, convolution, restricted = tb.layer_complexities(10, 6, 3, 4)
    assert attention == ("self-attention", 10 * 10 * 6, 1, 1)
    assert recurrent == ("recurrent", 10 * 6 * 6, 10, 10)
    # 3, 9, 27 positions are seen after one, two, three layers
    assert convolution == ("convolutional", 3 * 10 * 6 * 6, 1, 3)
    # 4 + 4 + 2 neighbours
    assert restricted == ("restricted self-attention", 4 * 10 * 6, 1, 3)


@pytest.mark.parametrize(
    ("n", "layers"), [(1, 0), (2, 1), (3, 1), (4, 2), (9, 2), (10, 3), (243, 5)]
)
def test_dilated_convolutions_reach(n: int, layers: int) -> None:
    assert tb.layer_complexities(n, 1, 3, 1)[2].path == layers


OUTSIDE = {
    "mlp width": (lambda: tb.text_params(12, 768, 50_257, m=3000), ("3072", "3000")),
    "mlp width of FLOPs": (lambda: tb.text_flops(1, 8, 2, 16, 9, m=63), ("64", "63")),
    "mlp width of bytes": (lambda: tb.block_activation_bytes(1, 8, 16, 2, m=65), ("64", "65")),
    "separate head": (lambda: tb.text_params(12, 768, 50_257, tied=False), ("38597376",)),
    "height": (lambda: tb.patches(225, 224, 16, 16), ("225", "16")),
    "width": (lambda: tb.patches(224, 225, 16, 16), ("225", "16")),
    "params of an uneven image": (lambda: tb.vit_params(vit(100, 16, 8, 1)), ("100", "16")),
    "FLOPs of an uneven image": (lambda: tb.vit_flops(vit(100, 16, 8, 1)), ("100", "16")),
    "distilled params": (
        lambda: tb.vit_params(vit(32, 16, 8, 1, distilled=True, r=24)),
        ("24",),
    ),
    "distilled FLOPs": (lambda: tb.vit_flops(vit(32, 16, 8, 1, distilled=True, r=24)), ("24",)),
    "kernel": (lambda: tb.layer_complexities(10, 6, 1, 4), ("1",)),
    "no neighbourhood": (lambda: tb.layer_complexities(10, 6, 3, 0), ("r = 0",)),
    "neighbourhood": (lambda: tb.layer_complexities(10, 6, 3, 11), ("11", "10")),
    "precision": (
        lambda: tb.block_saved_bytes(1, 4, 8, 2, 32, tb.Running("amp-bf16")),
        ("amp-bf16", "fp32, autocast, half"),
    ),
    "platform": (
        lambda: tb.block_saved_bytes(1, 4, 8, 2, 32, tb.Running(platform="tpu")),
        ("tpu", "cuda, cpu"),
    ),
    "kernel of attention": (
        lambda: tb.block_saved_bytes(1, 4, 8, 2, 32, tb.Running(attention="sdpa")),
        ("sdpa", "eager, math, flash, efficient, cudnn"),
    ),
    "kernel of a card": (
        lambda: tb.block_saved_bytes(
            1, 4, 8, 2, 32, tb.Running(attention="efficient", platform="cpu")
        ),
        ("efficient", "cpu", "eager, math, flash"),
    ),
    "checkpointed": (
        lambda: tb.vit_saved_bytes(vit(32, 16, 8, 1), 2, 1, tb.Running("bf16"), checkpointed=True),
        ("bf16",),
    ),
    "any of many": (
        lambda: tb.text_params(2, np.array([8, 8]), 3, m=np.array([32, 33])),
        ("33",),
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_its_assumptions_a_form_refuses(name: str) -> None:
    form, numbers = OUTSIDE[name]
    with pytest.raises(NotCovered) as refused:
        form()
    assert all(number in str(refused.value) for number in numbers)


def test_what_is_assumed_may_be_said() -> None:
    assert tb.text_params(2, 8, 3, m=32) == 2 * (12 * 64 + 13 * 8) + 3 * 8
    assert tb.text_flops(1, 5, 2, 8, 3, m=32) == 2 * (24 * 5 * 64 + 4 * 25 * 8) + 2 * 5 * 8 * 3
    assert tb.vit_params(vit(32, 16, 8, 1, m=32)) == tb.vit_params(vit(32, 16, 8, 1))
    assert tb.layer_complexities(10, 6, 2, 10)[3].path == 1


def test_arrays_are_many_numbers() -> None:
    widths, depths, sides = np.array([192, 768, 1024]), np.array([12, 12, 24]), np.array([224] * 3)
    many = tb.Vit(sides, sides, 16, 16, widths, depths, 1000)
    for form in (tb.vit_params, tb.vit_flops, tb.vit_recomputed_training_flops):
        each = [form(vit(224, 16, int(h), int(L))) for h, L in zip(widths, depths, strict=True)]
        assert np.array_equal(form(many), each)
    paths = tb.layer_complexities(np.array([9, 10, 1]), 6, 3, np.array([4, 4, 1]))
    assert paths[2].path.tolist() == [2, 3, 0]
    assert paths[3].path.tolist() == [3, 3, 1]


TRAINED = {
    "plain": {},
    "distilled, not square": {
        "dist_token": True, "img_size": (32, 48), "patch_size": (8, 16), "mlp_dim": 100,
    },
    "represented": {"representation_size": 40, "num_classes": 7, "in_chans": 1},
    "no head, no qkv bias": {"num_classes": 0, "qkv_bias": False},
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_torch_agrees(name: str) -> None:
    """Counted on the meta device: parameters, a forward and backward, and both with every block
    checkpointed."""
    torch = pytest.importorskip("torch")
    from torch.utils.checkpoint import checkpoint
    from torch.utils.flop_counter import FlopCounterMode

    from vitcost.check.reference import build

    options = {"embed_dim": 64, "depth": 3, "num_heads": 4, "img_size": (32, 32), **TRAINED[name]}
    config = ViTConfig(**options)
    with torch.device("meta"):
        model = build(config).train()
        images = torch.zeros(3, config.in_chans, *config.img_size)

    def counted() -> int:
        with FlopCounterMode(display=False) as counter:
            outputs = model(images)
            sum(outputs if isinstance(outputs, tuple) else (outputs,)).sum().backward()
        return counter.get_total_flops()

    (H, W), (p_h, p_w) = config.img_size, config.patch_size
    v = tb.Vit(
        H=H, W=W, p_h=p_h, p_w=p_w, h=64, L=3, K=config.num_classes, c=config.in_chans,
        m=options.get("mlp_dim"), r=options.get("representation_size"),
        distilled=config.dist_token, qkv_bias=config.qkv_bias,
    )  # fmt: skip
    assert tb.vit_params(v) == sum(p.numel() for p in model.parameters())
    assert tb.vit_training_flops(v, 3) == counted()
    for block in model.blocks:
        forward = block.forward
        block.forward = lambda x, f=forward: checkpoint(f, x, use_reentrant=False)
    assert tb.vit_recomputed_training_flops(v, 3) == counted()
