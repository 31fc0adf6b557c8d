"""The work of a step, kernel by kernel and byte by byte, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.engine.model import structure_of
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Work, setup_of, total
from vitcost.zoo import names, resolve

BASE = resolve("vit_base_patch16_224").config

# ViT-B/16: images, tokens of all images, width, MLP width, heads, tokens
b, d, h, a, s = 8, 768, 3072, 12, 197
T = b * s


def done(config: Any = BASE, **given: Any) -> dict[str, Work]:
    """The work of a config; what is not given is eager autocast without a strided token."""
    mode = given.pop("mode", "infer")
    precision = given.pop("precision", "amp-bf16")
    layout = given.pop("layout", "nhwc")
    given["software"] = given.get("software", "2.4")
    scenario = Scenario(batch=b, precision=precision, mode=mode, layout=layout, **given)
    return work(config, scenario, setup_of(scenario))


def layer(config: Any = BASE, **given: Any) -> Work:
    """The work of one block: what a deeper model has more."""
    deeper = total(done(replace(config, depth=config.depth + 1), **given))
    return Work(*(x - y for x, y in zip(deeper, total(done(config, **given)), strict=True)))


# weights of a block's linear layers, and their biases
LINEAR = 3 * d * d + d * d + 2 * d * h
BIAS = 3 * d + d + h + d
# autocast casts both once a step: 4 bytes read, 2 written
CASTS = 6 * (LINEAR + BIAS)


def test_eager_autocast_byte_by_byte() -> None:
    block = layer()
    # a layer norm reads and writes fp32, reads weight and bias, writes mean and deviation
    norms = 2 * (8 * T * d + 8 * d + 8 * T)
    inputs = 2 * 6 * T * d  # cast to half before qkv and fc1
    adds = 2 * (4 + 2 + 4) * T * d
    gelu = (2 + 2) * T * h
    assert block.stream_bytes == norms + inputs + adds + gelu + CASTS
    assert block.strided_bytes == 0
    # each product reads x, weight and bias and writes y, in half precision
    products = (d + 3 * d) + (d + d) + (d + h) + (h + d)
    assert block.linear_bytes == 2 * (T * products + LINEAR + BIAS)
    # flash attention reads q, k, v, writes y, the log-sum-exp and the random state
    assert block.attention_bytes == 2 * 4 * T * d + 4 * b * a * s + 3 * 8
    assert block.gemm_flops == 2 * T * LINEAR
    # norm, cast, qkv, sdpa, proj, add, norm, cast, fc1, gelu, fc2, add, and 8 casts of parameters
    assert block.launches == 12 + 8


def test_attention_is_padded_to_tiles() -> None:
    # 197 tokens fill two tiles of 128, a head of 64 is its own width
    assert layer().attention_flops == 2 * b * a * 256 * 256 * (64 + 64)
    so400m = resolve("vit_so400m_patch14_siglip_gap_224").config
    # 256 tokens, heads of 72, which run in a kernel for 96
    assert layer(so400m).attention_flops == 2 * b * 16 * 256 * 256 * (96 + 96)


@pytest.mark.parametrize(
    ("head", "kernel"),
    # the widths of flash_attn/src/static_switch.h, and one beyond them that nothing pads
    [(20, 32), (32, 32), (33, 64), (65, 96), (97, 128), (129, 160), (161, 192), (193, 224),
     (225, 256), (257, 257)],
)  # fmt: skip
def test_heads_are_padded_to_the_width_of_a_kernel(head: int, kernel: int) -> None:
    config = replace(BASE, embed_dim=12 * head)
    assert layer(config).attention_flops == 2 * b * 12 * 256 * 256 * (kernel + kernel)


def test_products_are_padded_to_tiles_of_their_output() -> None:
    tiny = resolve("vit_tiny_patch16_224").config
    # qkv 576 → 640, proj 192 → 256, fc1 768, fc2 192 → 256
    wanted = 192 * 640 + 192 * 256 + 192 * 768 + 768 * 256
    assert layer(tiny).gemm_flops == 2 * T * wanted


def test_norm_rows_are_padded_to_a_block_of_threads() -> None:
    tiny = resolve("vit_tiny_patch16_224").config
    linear = 4 * 192 * 192 + 2 * 192 * 768
    bias = 4 * 192 + 768 + 192
    norms = 2 * ((8 * T * 192 + 8 * 192 + 8 * T) * 256 // 192)
    others = (2 * 6 + 2 * 10) * T * 192 + 4 * T * 768 + 6 * (linear + bias)
    assert layer(tiny).stream_bytes == norms + others


def test_layer_scale() -> None:
    scaled = replace(BASE, init_values=1e-5)
    # it widens the branch: half read, fp32 written, and fp32 added; a weight for each channel
    more = 2 * ((2 + 4) * T * d + 4 * d) + 2 * 2 * T * d
    assert layer(scaled).stream_bytes == layer().stream_bytes + more


def test_quick_gelu_is_three_kernels() -> None:
    quick = replace(BASE, act_layer="quick_gelu")
    # x · sigmoid(1.702 x): times, sigmoid, product of two
    assert layer(quick).stream_bytes == layer().stream_bytes + (14 - 4) * T * h
    assert layer(quick).launches == layer().launches + 2


def test_gated_mlp() -> None:
    gated = replace(BASE, mlp_layer="SwiGLU", act_layer="silu")
    # SiLU of one half, times the other; a third layer, for which the input is cast again
    more = (2 + 2 + 2) * T * h + 6 * T * d + 6 * (d * h + h)
    assert layer(gated).stream_bytes == layer().stream_bytes + more
    assert layer(gated).gemm_flops == layer().gemm_flops + 2 * T * d * h


def test_pure_half_precision() -> None:
    block = layer(precision="bf16")
    norms = 2 * (4 * T * d + 4 * d + 8 * T)
    assert block.stream_bytes == norms + 2 * 6 * T * d + 4 * T * h
    assert block.launches == 10


def test_fp32() -> None:
    block = layer(precision="fp32")
    norms = 2 * (8 * T * d + 8 * d + 8 * T)
    assert block.stream_bytes == norms + 2 * 12 * T * d + 8 * T * h
    # the memory-efficient kernel: q, k, v and the result; a forward alone writes no log-sum-exp
    assert block.attention_bytes == 4 * 4 * T * d + 2 * 8


@pytest.mark.parametrize(("precision", "r"), [("amp-bf16", 4), ("bf16", 2)])
def test_compiled(precision: str, r: int) -> None:
    block = layer(compile=True, precision=precision)
    e = 4 if r == 4 else 2
    # add and norm in one kernel: reads stream and branch, writes stream and the next input
    adds = 2 * ((r + 2 + r + 2) * T * d + 2 * e * d)
    gelu = (2 + 2) * T * h
    assert block.stream_bytes == adds + gelu + (CASTS if r == 4 else 0)
    # norm and add, fused with the casts of weights; the casts before proj and fc2 apart
    assert block.launches == (4 + 1 + 2 + 1 + 1 if r == 4 else 4 + 1 + 2 + 1)


def test_compiling_removes_what_layer_scale_and_quick_gelu_cost() -> None:
    plain = layer(compile=True)
    assert layer(replace(BASE, act_layer="quick_gelu"), compile=True) == plain
    scaled = layer(replace(BASE, init_values=1e-5), compile=True)
    assert scaled.stream_bytes == plain.stream_bytes + 2 * 4 * d


GAP = resolve("vit_base_patch16_siglip_gap_224").config


def test_tokens_without_prefix_stay_channel_major() -> None:
    t = b * 196
    nchw, nhwc = layer(GAP, layout="nchw"), layer(GAP)
    # every norm copies its input, every add goes across
    assert nchw.stream_bytes == nhwc.stream_bytes + 2 * 8 * t * d - 2 * 10 * t * d
    assert nchw.strided_bytes == 2 * 10 * t * d
    # a class token in front lays them out anew
    assert layer(layout="nchw") == layer()
    # and so does a compiled norm
    assert layer(GAP, layout="nchw", compile=True) == layer(GAP, compile=True)


def test_post_norm_tokens_stay_channel_major_when_compiled() -> None:
    post = resolve("vit_base_patch16_rpn_224").config
    t = b * 196
    nchw = layer(post, layout="nchw", compile=True)
    nhwc = layer(post, compile=True)
    # fused, norm, add and cast read branch and stream and write the stream and the next input;
    # apart, the norm writes what the add reads, and the cast reads what it wrote
    assert nhwc.stream_bytes == nchw.stream_bytes
    assert nhwc.strided_bytes == 0
    # the add goes across the layout, and what it wrote is laid out for the product
    assert nchw.strided_bytes == 2 * ((4 + 4 + 4) + (2 + 2)) * t * d


def test_unfused_attention_before_torch_2() -> None:
    old, new = layer(software="1.13"), layer()
    scores = b * a * s * s
    copies = (3 + 1) * 4 * T * d  # q, k, v, and the merge of heads
    # scaled in half, softmax to fp32, cast back
    pointwise = (4 + 6 + 6) * scores
    assert old.stream_bytes == new.stream_bytes + copies + pointwise
    assert old.attention_bytes == 2 * (2 * T * d + scores) + 2 * (scores + 2 * T * d)
    assert old.attention_flops == 2 * 2 * scores * 64


def test_rms_norm_by_version() -> None:
    rms = replace(BASE, norm_layer="rmsnorm", qk_norm=True, act_layer="gelu")
    layered = replace(BASE, qk_norm=True)
    stat, heads = 4 * T, 4 * b * a * s
    rest = layer(layered).stream_bytes - 2 * (8 * T * d + 8 * d + 8 * T)
    # LayerNorm of q and k: cast to fp32, laid out by head, normed, cast to half
    # the norm in rows of 64, of which a block of threads fills half
    rest -= 2 * ((6 + 8 + 6) * T * d + 2 * (8 * T * d + 2 * 4 * 64 + 2 * heads))
    # until 2024: variance, product with it, weight
    old = 2 * ((4 + 8 + 8) * T * d + 2 * stat + 4 * d)
    old += 2 * ((2 + 4 + 6 + 6) * T * d + 2 * heads + 4 * 64)
    assert layer(rms).stream_bytes == rest + old
    # torch 2.8: one kernel in fp32; half is squared, averaged and scaled in fp32, cast, weighted
    new = 2 * (8 * T * d + stat + 4 * d)
    new += 2 * ((6 + 8 + 4 + 8 + 6 + 6 + 6) * T * d + 2 * heads + 4 * 64)
    assert layer(rms, software="2.9").stream_bytes == rest + new


def test_training_byte_by_byte() -> None:
    step, forward = layer(mode="train"), layer()
    assert step.gemm_flops == 3 * forward.gemm_flops
    # the backward of flash attention: 2.5 times its forward
    assert step.attention_flops == forward.attention_flops * 7 // 2
    # gradient and input read, gradient written; read again for those of weight and bias
    norms = 2 * ((12 + 8) * T * d + 2 * 8 * T + 8 * d)
    inputs = 2 * 6 * T * d
    branches = 2 * 6 * T * d  # cast to half where the add widened them
    sums = 2 * 12 * T * d  # of a norm's and an add's
    gelu = 6 * T * h
    biases = 2 * T * (3 * d + d + h + d) + 2 * BIAS
    gathered = 2 * 3 * 2 * 2 * T * d  # q, k, v one behind the other, and laid out as the qkv
    # decay 2, m 3, v 2 + 3, its root 2, / c 2, + ε 2, p 4: twenty tensors of 4 bytes
    update = 80 * (LINEAR + BIAS + 4 * d)
    backward = norms + inputs + branches + sums + gelu + biases + gathered + CASTS
    assert step.stream_bytes == forward.stream_bytes + backward + update
    # two products for each of the forward, of the same three operands but for the bias
    assert step.linear_bytes == 3 * forward.linear_bytes - 2 * 2 * BIAS


def test_checkpointing_computes_again() -> None:
    plain = layer(mode="train")
    again = layer(mode="train", checkpointing="block")
    # a block runs again up to what its last linear layer reads
    rerun = Work(*(x - y for x, y in zip(again, plain, strict=True)))
    assert rerun.gemm_flops == 2 * T * (LINEAR - h * d)
    assert rerun.attention_flops == layer().attention_flops
    assert rerun.linear_bytes == 2 * (T * (d + 3 * d + d + d + d + h) + LINEAR - h * d + BIAS - d)
    assert rerun.flops == rerun.layers == 0
    # selective: attention alone
    core = layer(mode="train", checkpointing="selective")
    assert core.attention_flops - plain.attention_flops == layer().attention_flops
    assert core.gemm_flops == plain.gemm_flops


@pytest.mark.parametrize(
    ("given", "trained"),
    [
        ({}, 86_567_656),
        ({"freeze": "backbone"}, 768 * 1000 + 1000),
        # qkv and proj have adapters of rank 8, the head trains
        ({"lora": 8}, 768 * 1000 + 1000 + 12 * 8 * ((d + 3 * d) + (d + d))),
    ],
)
def test_the_update_is_of_what_trains(given: dict[str, Any], trained: int) -> None:
    # p, g → p; decay 3, momentum · μ 2, + g 3, Nesterov 3, p 3
    sgd, momentum = 3, 3 + 2 + 3 + 3 + 3
    # m 3, v 2 + 3, its root 2, / c 2, + ε 2, p 4; decay 2; the maximum of v 3
    adam, decay, amsgrad, fused = 18, 2, 3, 7
    for optimizer, tensors in (
        ("sgd", sgd),
        ("sgd-momentum", momentum),
        ("adam", adam),
        ("adam-foreach", adam),
        ("adam-loop", adam),
        ("adam-fused", fused),
        ("adam-amsgrad", adam + amsgrad),
        ("adamw", adam + decay),
        ("adamw-foreach", adam + decay),
        ("adamw-loop", adam + decay),
        ("adamw-fused", fused),
        ("adamw-amsgrad", adam + decay + amsgrad),
        ("lion", 13),
    ):
        step = done(mode="train", optimizer=optimizer, **given)["optimizer"]
        assert step.stream_bytes == 4 * tensors * trained
    half = done(mode="train", optimizer="sgd", precision="bf16", **given)["optimizer"]
    assert half.stream_bytes == 2 * 3 * trained
    # p, g → p, and a code of each of two moments read and written: a byte, or half of one
    for name, codes in (("adamw-8bit", 4), ("adamw-8bit-ao", 4), ("adamw-4bit-ao", 2)):
        for precision, e in (("fp32", 4), ("bf16", 2)):
            step = done(mode="train", optimizer=name, precision=precision, **given)["optimizer"]
            assert step.stream_bytes == (3 * e + codes) * trained


def test_muon_multiplies_matrices() -> None:
    """Five times X Xᵀ, its square, and that times X, of each matrix; all else is AdamW's."""
    h, m, K = 768, 3072, 1000

    def iterations(short: int, long: int) -> int:
        return 5 * (2 * short * short * long + 2 * short**3 + 2 * short * short * long)

    step = done(mode="train", optimizer="muon")["optimizer"]
    assert step.gemm_flops == 0
    # in bf16 under every precision
    assert step.bf16_flops == (
        12 * (iterations(h, 3 * h) + iterations(h, h) + 2 * iterations(h, m)) + iterations(h, K)
    )
    matrices = 12 * (4 * h * h + 2 * h * m) + h * K
    # m 3, ahead of it 3, decay 2, p 3; AdamW 20
    assert step.stream_bytes == 4 * (11 * matrices + 20 * (86_567_656 - matrices))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_has_a_time(optimizer: str) -> None:
    # it reads a gradient and a parameter at least, writes that, and reads and writes its states
    row = OPTIMIZERS[optimizer]
    assert row.passes >= 3 + 2 * row.moments, f"{optimizer}: passes"
    assert done(mode="train", optimizer=optimizer)["optimizer"].stream_bytes > 0


def test_the_image_needs_no_gradient() -> None:
    train, infer = done(mode="train")["patch_embed"], done()["patch_embed"]
    assert train.conv_flops == 2 * infer.conv_flops == 2 * (2 * b * 196 * 768 * 768)


def test_flops_of_the_definition_stay_what_they_are() -> None:
    for given in ({}, {"mode": "train"}, {"compile": True}, {"software": "1.12"}):
        assert total(done(**given)).flops == b * 35_127_656_448


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_224", "vit_base_patch16_rope_224", "vit_base_r50_s16_224", "gpt2"]
)
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("compiled", [False, True])
def test_every_family_has_work(name: str, mode: str, compiled: bool) -> None:
    parts = done(resolve(name).config, mode=mode, compile=compiled)
    assert total(parts).gemm_flops > 0
    assert all(value >= 0 for part in parts.values() for value in part)


@pytest.mark.parametrize(("precision", "compiled"), [("amp-bf16", False), ("bf16", True)])
def test_every_structure_has_the_work_of_a_step(precision: str, compiled: bool) -> None:
    """Every name, those of equal layers once: more than a forward pass, less than five."""
    configs = {structure_of(m.config, b): m.config for m in map(resolve, names())}
    assert len(configs) > 100
    for config in configs.values():
        train, infer = (
            total(done(config, mode=mode, precision=precision, compile=compiled))
            for mode in ("train", "infer")
        )
        assert 2 * infer.gemm_flops < train.gemm_flops <= 3 * infer.gemm_flops
        assert infer.stream_bytes < train.stream_bytes


def test_differential_attention_trains() -> None:
    """Its λ is a sum of scalars, which passes its gradient on and launches nothing for that."""
    diff = resolve("vit_dpwee_patch16_reg1_gap_256").config
    step, forward = (done(diff, mode=mode) for mode in ("train", "infer"))
    for part in ("blocks.in_proj", "blocks.out_proj"):
        assert step[part].gemm_flops == 3 * forward[part].gemm_flops
    assert step["blocks"].attention_flops > 2 * forward["blocks"].attention_flops


def test_a_backbone_is_told_apart() -> None:
    hybrid = resolve("vit_base_r50_s16_224").config
    parts = done(hybrid)
    backbone = parts["backbone"]
    assert backbone.backbone_flops > 0
    assert backbone.conv_flops == backbone.stream_bytes == 0
    # the patches are cut from its features by a convolution of 1 × 1: 1024 channels, 14 × 14
    assert parts["patch_embed"].conv_flops == b * 2 * 14 * 14 * 1024 * 768
