"""The peak of a training step, against torch's trackers on fake tensors and the CPU's allocator."""

import itertools
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from alive import declared_peak, forward_peak, looks
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_support import PLAIN, Recipe, model_of, treated
from timm_features import BASE, BEIT, DROPS, EVA, FEATURES, build
from timm_support import fused_attention, timm
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_support import configs

from vitcost import explain, report
from vitcost.check.step_witnesses import Step, optimizer, tracked
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.costs.memory import step_peak, training
from vitcost.engine.live import Change, Loop, Place, peak
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.ops import Sizes, Tensor
from vitcost.engine.step_trace import step_trace
from vitcost.engine.tree import Count
from vitcost.engine.workload import mode_of, workload
from vitcost.errors import NotCovered
from vitcost.zoo import resolve
from vitcost.zoo.timm.args import fields_of

# torch says so where it takes a norm of halves with a weight in fp32 apart
pytestmark = [
    pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight"),
]

AUTOCAST = {"amp-bf16": torch.bfloat16, "amp": torch.bfloat16}
SMALL: dict[str, Any] = {
    "img_size": (24, 32), "patch_size": 8, "num_classes": 5, "embed_dim": 48, "depth": 3,
    "num_heads": 3, "mlp_dim": 96,
}  # fmt: skip


# those whose step runs on a CPU
TORCHS = [name for name, row in OPTIMIZERS.items() if "cpu" in row.platforms]


def of(**fields: Any) -> ViTConfig:
    return ViTConfig(**{**SMALL, **fields})


def scenario(batch: int, precision: str, attention: str, optimizer: str, how: Recipe) -> Scenario:
    return Scenario(
        batch=batch, mode="train", precision=precision, attention=attention, platform="cpu",
        optimizer=optimizer, **how._asdict(),
    )  # fmt: skip


def predicted(config: ViTConfig, how: Scenario, in_place: bool) -> int:
    run = workload(config, how)
    return step_peak(training(config, how), run, in_place=in_place).total_bytes


def half(model: nn.Module, precision: str) -> nn.Module:
    return model.to(torch.bfloat16) if precision in ("bf16", "half") else model


class Run(NamedTuple):
    """A step to track."""

    config: ViTConfig
    batch: int = 2
    precision: str = "fp32"
    attention: str = "eager"
    optimizer: str = "sgd"
    how: Recipe = PLAIN


_DROPS = {"pos_drop_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1}
RUNS = [
    # small batches peak in the optimizer, large ones in the backward pass
    *(
        Run(of(), batch, precision, attention, "adamw-loop")
        for batch, precision, attention in itertools.product(
            (1, 6), ("fp32", "amp-bf16", "bf16"), ("eager", "sdpa")
        )
    ),
    *(Run(of(), 1, "fp32", "eager", name) for name in TORCHS[::2] if name != "adamw-loop"),
    *(Run(of(embed_dim=96), 2, "bf16", "sdpa", name) for name in TORCHS),
    *(
        Run(of(depth=5), 3, precision, attention, "sgd", Recipe(checkpointing))
        for precision, attention in (("fp32", "eager"), ("amp-bf16", "sdpa"), ("bf16", "eager"))
        for checkpointing in ("block", "every:2", "selective", "first:2", "last:1")
    ),
    Run(of(dist_token=True), 1),
    Run(of(dist_token=True), 4, "amp-bf16", "sdpa", "adamw-loop"),
    Run(of(representation_size=40), 2, "amp-bf16"),
    Run(of(**_DROPS), 2),
    Run(of(**_DROPS), 3, "amp-bf16", "sdpa"),
    Run(of(drop_path_rate=0.1), 3, "bf16"),
    Run(of(qkv_bias=False, patch_norm=True), 1, "fp32", "sdpa"),
    # what runs again ends with a mask: it is drawn, and nothing is multiplied with it
    *(
        Run(of(img_size=16, patch_size=4, embed_dim=8, num_heads=1, mlp_dim=4, **rate), 3, how=how)
        for rate in ({"proj_drop_rate": 0.1}, {"drop_path_rate": 0.1})
        for how in (Recipe("block"), Recipe("every:2"))
    ),
    Run(resolve("vit_tiny_patch16_224", depth=7).config, 2, "amp-bf16", "sdpa", "adamw-loop"),
]  # fmt: skip


# a kernel of CUDA alone
IN_PLACE = [
    name for name, row in OPTIMIZERS.items() if name not in TORCHS and row.step == "in place"
]
COMPILED = [name for name, row in OPTIMIZERS.items() if row.step == "compiled"]


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_kernel_of_cuda_updates_in_place(name: str) -> None:
    """It allocates nothing, as SGD's, which keeps nothing; on a CPU torch's operators do its work,
    and allocate."""
    plain, own = (report(of(embed_dim=96), batch=2, optimizer=each) for each in ("sgd", name))
    states = own.training.optimizer_bytes
    assert own.training.peak_bytes == (plain.training.peak_bytes or 0) + states
    assert own.training.peak_at == plain.training.peak_at != "optimizer step"
    with pytest.raises(NotCovered, match=f"{name} cannot step on platform cpu"):
        report(of(), optimizer=name, platform="cpu")


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_step_is_exact_where_it_is_not_the_peak(name: str) -> None:
    """At most 32 bytes an element of the largest tensor: far from the peak of a large batch, and a
    bound of a small one, whose assumption it names."""
    large, plain = (report(of(), batch=64, optimizer=each).training for each in (name, "sgd"))
    assert large.peak_is == "exact"
    assert large.peak_bytes == (plain.peak_bytes or 0) + large.optimizer_bytes
    wide = of(embed_dim=96, img_size=8, depth=1, mlp_dim=960)
    small, plain = (report(wide, batch=1, optimizer=each).training for each in (name, "sgd"))
    assert small.peak_is == "bounded"
    assert any("compiled optimizer" in each for each in small.assumed)
    kept = small.weights_bytes + small.gradients_bytes + small.optimizer_bytes
    assert (small.peak_bytes or 0) >= kept + 32 * 96 * 960


# MemTracker hooks the gradient of every parameter, and stops at one that has none
FROZEN = [
    Run(of(depth=4), 3, precision, "sdpa", "sgd", how)
    for precision in ("fp32", "amp-bf16")
    for how in (
        Recipe(freeze="backbone"), Recipe(freeze="first:2"), Recipe(freeze="all-but-last:1"),
        Recipe(lora=2), Recipe("block", "all-but-last:2"), Recipe("last:2", "first:1"),
        # a frozen layer wants its weight back: a region runs again for it
        Recipe("block", lora=2, lora_layers="fc1"),
    )
]  # fmt: skip


def run_name(run: Run) -> str:
    how = "-".join(str(each) for each in run.how if each)
    return f"{run.batch}-{run.precision}-{run.attention}-{run.optimizer}-{how}"


@pytest.mark.parametrize("run", RUNS, ids=run_name)
def test_a_tracked_step(run: Run) -> None:
    """Everything that is in memory, by torch's MemTracker: weights, states, batch and the rest."""
    c = run.config
    with torch.device("meta"):
        model = half(model_of(c, run.attention == "sdpa", run.how), run.precision)
    shape = run.batch, c.in_chans, *c.img_size
    seen = tracked(model, shape, optimizer(run.optimizer), AUTOCAST.get(run.precision))
    how = scenario(run.batch, run.precision, run.attention, run.optimizer, run.how)
    assert predicted(c, how, in_place=False) == seen


@pytest.mark.parametrize("run", FROZEN, ids=run_name)
def test_a_step_of_a_model_that_is_frozen_in_part(run: Run) -> None:
    step = step_of(model_of(run.config, True, run.how), run.config, run.batch, run.precision)
    lasting = sum(t.untyped_storage().nbytes() for t in step.lasting)
    how = scenario(run.batch, run.precision, run.attention, run.optimizer, run.how)
    assert predicted(run.config, how, in_place=False) - lasting == max(looks(step))


@pytest.mark.slow
def test_a_large_model() -> None:
    """Six blocks of ViT-L at 384 pixels, 32 images: gigabytes, none of them allocated."""
    run = Run(
        resolve("vit_large_patch16_384", depth=6).config, 32, "amp-bf16", "sdpa", "adamw-loop"
    )
    test_a_tracked_step(run)


def test_every_configuration_is_another() -> None:
    assert len({*RUNS}) == len(RUNS) >= 40


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@settings(deadline=None, database=None, derandomize=True, max_examples=15)
@given(configs(head_dims=(2, 8)), st.integers(1, 3), st.booleans())
def test_any_plain_model(precision: str, config: ViTConfig, batch: int, fused: bool) -> None:
    if not config.num_classes:
        return
    model = half(model_of(config, fused), precision)
    step = step_of(model, config, batch, precision)
    attention = "sdpa" if fused else "eager"
    how = scenario(batch, precision, attention, "sgd", PLAIN)
    lasting = sum(t.untyped_storage().nbytes() for t in step.lasting)
    assert predicted(config, how, in_place=False) - lasting == max(looks(step))


def step_of(model: nn.Module, config: ViTConfig, batch: int, precision: str) -> Step:
    dtype = next(model.parameters()).dtype
    images = torch.zeros(batch, config.in_chans, *config.image, dtype=dtype)
    # without a pool every token has scores
    vectors = batch * (1 if config.global_pool else config.tokens)
    return Step(model, images, optimizer("sgd"), AUTOCAST.get(precision), vectors=vectors)


FEATURE_RUNS = (
    # precision, dropouts, batch, heads, attention
    ("fp32", False, 2, 2, "eager"),
    ("fp32", True, 1, 2, "sdpa"),
    ("amp", True, 2, 2, "eager"),
    ("amp", False, 2, 1, "sdpa"),
    ("half", False, 1, 2, "eager"),
    ("half", False, 3, 2, "sdpa"),
)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_of_timm(name: str) -> None:
    """The most that is alive in a step and in inference, after any operator of a real model."""
    model_class, options = FEATURES[name]
    for precision, drops, batch, heads, attention in FEATURE_RUNS:
        if heads == 1 and "num_kv_heads" in options:
            continue
        kwargs = {**BASE, **options, **(DROPS if drops else {}), "num_heads": heads}
        config = configure(fields_of(model_class, kwargs))
        model = half(build(model_class, kwargs, attention == "sdpa"), precision)
        check_inference(config, model, batch, precision, attention)
        check_step(name, config, model, batch, precision, attention)


def check_inference(
    config: ViTConfig, model: nn.Module, batch: int, precision: str, attention: str
) -> None:
    dtype = next(model.parameters()).dtype
    images = torch.zeros(batch, config.in_chans, *config.image, dtype=dtype)
    real = forward_peak(model.eval(), images, AUTOCAST.get(precision))
    tree = lower(structure_of(config, batch), Mode(attention, precision, "cpu"))
    assert declared_peak(tree, sizes_of(config, batch), False).peak_bytes == real


def check_step(
    name: str, config: ViTConfig, model: nn.Module, batch: int, precision: str, attention: str
) -> None:
    structure, mode = structure_of(config, batch, True), Mode(attention, precision, "cpu")
    trace = step_trace(structure, mode, False)
    real = max(looks(step_of(model, config, batch, precision)))
    assert peak(trace, sizes_of(config, batch)).peak_bytes == real


# spread over the features of the zoo; each is made small, and leaves what it is made of
NAMES = (
    "beit_base_patch16_224", "beitv2_large_patch16_224", "deit3_base_patch16_224",
    "deit_base_distilled_patch16_224", "eva02_base_patch14_224", "eva_giant_patch14_224",
    "aimv2_large_patch14_224", "flexivit_base", "test_vit3", "test_vit4",
    "vit_base_patch14_dinov2", "vit_base_patch14_reg4_dinov2", "vit_base_patch16_18x2_224",
    "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_dinov3", "vit_base_patch16_siglip_224",
    "vit_base_patch16_rope_mixed_224", "vit_dlittle_patch16_reg1_gap_256",
    "vit_dpwee_patch16_reg1_gap_256", "vit_pwee_patch16_reg1_gap_256", "vit_base_patch16_xp_224",
    "vit_wee_patch16_reg1_gap_256", "vit_so400m_patch14_siglip_gap_224", "vit_base_mci_224",
    "vit_small_r26_s32_224",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_timm(name: str) -> None:
    from test_saved_timm import tiny

    options = tiny(name)
    config = resolve(name, **options).config
    assert isinstance(config, ViTConfig)
    for precision, attention in (("fp32", "eager"), ("amp", "sdpa")):
        with fused_attention(attention == "sdpa"):
            model = timm().create_model(name, **options).train()
        check_step(name, config, model, 2, precision, attention)


_BIASES = {"use_rel_pos_bias": True, "use_shared_rel_pos_bias": True}
_ONE_HEAD = {"num_heads": 1, "mlp_ratio": 0.5}
_TURNED = {"use_rot_pos_emb": True, "dynamic_img_size": True}
# what was once counted wrongly: class, arguments, precision, attention, batch, recipe
SEEN: tuple[tuple[str, dict[str, Any], str, str, int, Recipe], ...] = (
    # the bias that is put together for a frozen, or a grouped, layer
    (BEIT, {"depth": 3}, "fp32", "sdpa", 2, Recipe(freeze="first:1")),
    (EVA, {"depth": 3}, "amp", "eager", 1, Recipe("every:2", "all-but-last:2")),
    # a kernel is given one bias: the sum of two
    (BEIT, _BIASES, "fp32", "sdpa", 3, PLAIN),
    (BEIT, {**_BIASES, "num_heads": 1}, "half", "math", 2, PLAIN),
    # the bias of one head need not be laid out anew
    (BEIT, {**_ONE_HEAD, "use_rel_pos_bias": True, "embed_dim": 12}, "fp32", "sdpa", 1, PLAIN),
    # what all blocks read lives until the norm behind them is done
    (
        BEIT,
        {**_ONE_HEAD, "use_shared_rel_pos_bias": True, "use_fc_norm": False},
        "half", "eager", 1, PLAIN,
    ),
    (BEIT, {"use_shared_rel_pos_bias": True, "depth": 3}, "fp32", "sdpa", 2, Recipe("every:2")),
    # both coordinates are there before the learned frequencies are read
    (EVA, {**_TURNED, "rope_type": "mixed", "num_heads": 1}, "half", "sdpa", 1, PLAIN),
    (EVA, {**_TURNED, "rope_type": "dinov3"}, "amp", "sdpa", 2, Recipe("block")),
    # queries as projected are there until the keys are normed too
    (EVA, {**_ONE_HEAD, "qkv_fused": False, "qk_norm": True}, "half", "sdpa", 1, PLAIN),
    # what an MLP makes has a name in Eva's block
    (
        EVA, {**_ONE_HEAD, "embed_dim": 4, "img_size": (4, 10), "drop_path_rate": 0.1, "depth": 7},
        "amp", "eager", 2, PLAIN,
    ),
    # a region's inputs are there until its first node has returned
    (
        EVA, {"use_post_norm": True, "num_heads": 4, "embed_dim": 64, "img_size": (4, 6)},
        "half", "eager", 3, Recipe("block"),
    ),
    # the weights of the plain products are gone when the next norm runs
    (
        EVA, {**_ONE_HEAD, **_TURNED, "scale_attn_inner": True, "img_size": (4, 6)},
        "fp32", "math", 2, PLAIN,
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", SEEN, ids=range(len(SEEN)))
def test_a_model_once_counted_wrongly(case: tuple[Any, ...]) -> None:
    model_class, options, precision, attention, batch, how = case
    kwargs = {**BASE, "img_size": (8, 12), **options}
    config = configure(fields_of(model_class, kwargs))
    fused = attention != "eager"
    kernel = sdpa_kernel([SDPBackend.MATH]) if attention == "math" else nullcontext()
    with kernel:
        check_inference(
            config, half(build(model_class, kwargs, fused), precision), batch, precision, attention
        )
        model = treated(half(build(model_class, kwargs, fused), precision), how)
        real = max(looks(step_of(model, config, batch, precision)))
    named = {"fp32": "fp32", "amp": "amp-bf16", "half": "bf16"}[precision]
    mode = mode_of(config, scenario(batch, named, attention, "sgd", how))
    trace = step_trace(structure_of(config, batch, True), mode, False)
    assert peak(trace, sizes_of(config, batch)).peak_bytes == real


@pytest.mark.parametrize(
    ("sign", "backwards", "layer"), [(1, False, 5), (1, True, 1), (-1, False, 1), (-1, True, 5)]
)
def test_where_in_a_run_of_layers_a_peak_lies(sign: int, backwards: bool, layer: int) -> None:
    """Blocks 1 to 5 of which each adds 12 bytes to 120, or takes them: the last or the first."""
    kept, one = Tensor("kept", ("s",), itemsize=40), Tensor("one", ("s",), itemsize=4)
    place = Place("backward", "blocks.{}.mlp", (Count(1),))
    run = Loop(Count(5), backwards, 1, (Change(0, sign, one, ()), place))
    found = peak((Change(0, 1, kept, ()), run), Sizes(s=3))
    assert found.place == f"backward of blocks.{layer}.mlp"
    assert found.peak_bytes == 120 + (5 * 12 if sign > 0 else -12)
    assert found.left.total == 120 + sign * 5 * 12


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_root_mean_square_on_a_card(precision: str) -> None:
    """One kernel there, like a LayerNorm's, but without a bias and the means of the rows.

    Of many images the peak lies behind the last norm; of one, where all gradients are there.
    """
    e, b, s, h, norms = 4 if precision == "fp32" else 2, 8, 13, 48, 7

    def found(norm: str, batch: int) -> Any:
        how: Any = {"optimizer": "sgd", "precision": precision, "attention": "eager"}
        return report(of(norm_layer=norm), batch=batch, **how).training

    plain, square = found("layernorm", b), found("rmsnorm", b)
    assert plain.peak_at == square.peak_at == "backward of blocks.2.mlp.fc2"
    means, biases, gradient = (norms - 1) * 4 * b * s, norms * e * h, e * h
    assert plain.peak_bytes - square.peak_bytes == means + biases + gradient
    plain, square = found("layernorm", 1), found("rmsnorm", 1)
    assert plain.peak_at == square.peak_at == "backward of patch_embed.proj"
    assert plain.peak_bytes - square.peak_bytes == 2 * biases


@pytest.mark.parametrize(
    ("name", "batch", "place"),
    [
        ("vit_tiny_patch16_224", 1, "optimizer step"),
        ("vit_tiny_patch16_224", 64, "backward of blocks.11.mlp.fc2"),
        ("deit_tiny_distilled_patch16_224", 8, ""),
        ("eva02_tiny_patch14_336", 8, ""),
    ],
)
def test_the_polynomial_of_a_peak_has_its_value(name: str, batch: int, place: str) -> None:
    """At the winning point with the numbers: the terms in letters add up to the report's bytes."""
    known = report(name, batch=batch).training
    peak_memory = explain(name, "train_memory", batch=batch)
    assert place in peak_memory.unit
    assert peak_memory.value == known.peak_bytes == sum(t.value for t in peak_memory.terms)
    saved = explain(name, "saved_activations", batch=batch)
    assert saved.value == known.saved_activations_bytes == sum(t.value for t in saved.terms)


def test_the_terms_of_a_large_batch() -> None:
    """A block in fp32 with the efficient kernel: 64bsh + 4ab·s32 + 16bs, and its random state."""
    found = explain("vit_base_patch16_224", "train_memory", batch=64)
    terms = {term.name: term.formula for term in found.terms}
    assert terms["saved activations"] == "L*(4*b*a*s32 + 64*b*s*h + 16*b*s + 16)"
    assert terms["batch"] == "4*b*c*H*W + 8*b"


def test_blocks_at_one_end_by_arithmetic() -> None:
    """A checkpointed block keeps its input alone, a stream of b·s·h floats: of 12 blocks K are like
    those of a model that is checkpointed whole, the others like those of one that is not."""

    def saved(checkpointing: str) -> int:
        found = report("vit_base_patch16_224", batch=4, checkpointing=checkpointing)
        assert found.training.saved_activations_bytes is not None
        return int(found.training.saved_activations_bytes)

    none, block = saved("none"), saved("block")
    for k in (1, 5, 11):
        assert saved(f"first:{k}") == saved(f"last:{k}")
        assert 12 * saved(f"first:{k}") == k * block + (12 - k) * none
    # more than there are is all of them
    assert saved("first:12") == saved("last:40") == block


def test_a_checkpointed_end_is_flat_in_depth() -> None:
    config = resolve("vit_tiny_patch16_224", depth=40).config
    shallow = resolve("vit_tiny_patch16_224", depth=12).config
    for checkpointing in ("first:5", "last:5"):
        how = Scenario(mode="train", checkpointing=checkpointing)
        assert len(workload(config, how).step()) == len(workload(shallow, how).step())
