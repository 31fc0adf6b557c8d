"""``check --memory``: a step against torch's trackers and allocator, and a wrong formula caught."""

import itertools
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from vitcost.check import check, step_memory, stepwise
from vitcost.check.against_torch import Case
from vitcost.check.reference import build
from vitcost.check.step_memory import MemoryCase, scenario_of
from vitcost.check.step_witnesses import allocated
from vitcost.cli import run
from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.scenario import CHOICES
from vitcost.config.vit_config import ViTConfig
from vitcost.engine import backward, ops
from vitcost.engine.derivatives import RULES
from vitcost.engine.kinds import KINDS
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.schemas import schema
from vitcost.zoo import resolve

TINY = ViTConfig(img_size=32, embed_dim=8, depth=2, num_heads=2, num_classes=3)
NAME = "vit_tiny_patch16_224"
TRACED = {
    f"{quantity}_traced_{platform}"
    for quantity in ("saved_activations_bytes", "flops", "backward_flops", "peak_bytes")
    for platform in ("cpu", "cuda")
}
QUANTITIES = TRACED | {
    "saved_bytes", "saved_activations_bytes", "peak_bytes_tracked", "peak_bytes_tensors",
    "peak_bytes_allocated",
}  # fmt: skip


def unexplained(**flags: Any) -> set[str]:
    (model,) = check([flags.pop("model", TINY)], memory=True, **flags).models
    return {d.quantity for d in model.differences if not d.explained_by}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"batch": 3, "precision": "amp-bf16", "attention": "eager", "optimizer": "sgd"},
        # heads of 8: a card's flash attention fills up narrower ones, which no formula counts
        {"precision": "bf16", "optimizer": "adamw-foreach", "dist_token": True},
        {"batch": 2, "checkpointing": "block", "optimizer": "adam-fused"},
        {"depth": 3, "checkpointing": "every:2", "precision": "amp-fp16"},
        {"checkpointing": "selective", "attention": "eager", "optimizer": "sgd-momentum"},
        {"model": NAME, "depth": 1, "checkpointing": "block", "batch": 2},
        {"freeze": "all-but-last:1", "optimizer": "lion"},
        {
            "lora": 2,
            "lora_layers": "fc1,proj",
            "checkpointing": "block",
            "precision": "amp-bf16",
        },
        # every block reads a rotation that is made for the image
        {"model": "vit_small_patch16_dinov3", "depth": 2, "img_size": 32, "checkpointing": "block"},
        {"model": "deit_tiny_distilled_patch16_224", "depth": 1, "optimizer": "adamw-amsgrad"},
        # torch packs what enters a region, and lets it go where nothing in it trains
        {"freeze": "backbone", "checkpointing": "block"},
        {"freeze": "backbone", "checkpointing": "selective", "attention": "eager"},
        {"freeze": "backbone", "checkpointing": "every:2", "depth": 3},
        {
            "freeze": "first:1",
            "checkpointing": "block",
            "precision": "amp-bf16",
        },
        {"freeze": "first:1", "checkpointing": "every:2", "depth": 3, "batch": 2},
        {"lora": 2, "lora_layers": "fc1,fc2", "checkpointing": "selective"},
        {"lora": 2, "lora_layers": "qkv,proj,fc1,fc2,head", "num_classes": 3},
        *({"optimizer": name, "num_classes": 2} for name in OPTIMIZERS),
    ],
    ids=lambda flags: "-".join(map(str, flags.values())),
)
def test_a_step_is_what_the_formulas_say(flags: dict[str, Any]) -> None:
    assert unexplained(**flags) == set()


@pytest.mark.parametrize("precision", ["amp-bf16", "fp16"])
@pytest.mark.parametrize("name", ["vit_base_patch16_siglip_224", "eva02_base_patch16_clip_224"])
def test_heads_that_a_card_fills_up(name: str, precision: str) -> None:
    """Heads of a width of 20: torch's flash attention is given 24, attention.cpp, pad_last_dim. The
    trace of a card has what it makes on the way, of a pool's one query too."""
    pytest.importorskip("timm")
    small = {"img_size": 32, "depth": 2, "embed_dim": 40, "num_heads": 2}
    (model,) = check([name], batch=2, memory=True, precision=precision, **small).models
    assert model.ok
    assert {q for q in model.comparisons if q.endswith("traced_cuda")} != set()


def test_an_optimizer_without_a_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its states are counted by its row of the table; another optimizer must not be stepped."""
    row = OPTIMIZERS["lion"]._replace(real="torch.optim.Tiger")
    monkeypatch.setitem(OPTIMIZERS, "tiger", row)  # type: ignore[arg-type]
    monkeypatch.setitem(CHOICES, "optimizer", tuple(OPTIMIZERS))
    with pytest.raises(NotCovered, match=r"optimizer tiger: torch\.optim has no Tiger"):
        check([TINY], memory=True, optimizer="tiger")


def test_what_was_compared_and_what_was_not() -> None:
    (model,) = check([TINY], memory=True).models
    assert model.comparisons.keys() == QUANTITIES
    # the model, patch_embed with its three, four more and the blocks, two blocks of 15
    assert model.comparisons["saved_bytes"] > 30
    assert model.left_out == ("peak of a step, a CUDA card: torch sees no CUDA card here",)


def test_workspace_is_named_with_its_operator() -> None:
    (model,) = check([resolve(NAME, depth=1).config], memory=True, optimizer="sgd").models
    (found,) = model.differences
    assert found.quantity == "peak_bytes_allocated"
    assert found.actual > found.expected
    assert "workspace of convolution_backward, " in found.explained_by
    assert model.ok


def test_buffers_are_part_of_a_peak() -> None:
    pytest.importorskip("timm")
    (model,) = check(["eva02_tiny_patch14_336"], depth=1, memory=True, optimizer="sgd").models
    found = {d.quantity: d for d in model.differences}
    # torch's tracker has the sines and cosines too, and differs in nothing
    assert model.comparisons["peak_bytes_tracked"] == 1
    assert "peak_bytes_tracked" not in found
    assert model.ok


def test_a_large_step_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "LARGEST_REAL", 2**10)
    (model,) = check([TINY], memory=True).models
    assert model.comparisons.keys() == QUANTITIES - {"peak_bytes_tensors", "peak_bytes_allocated"}
    assert "and is run up to 1.00 KiB" in model.left_out[0]


def more(rule: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: n + 2 if (n := rule(*args)) else n


def test_broken_bytes_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "bytes_of", more(ops.bytes_of))
    assert unexplained() >= {"saved_bytes", "saved_activations_bytes"}


def test_a_broken_backward_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, copy = (KINDS[kind].gradient for kind in ("linear", "copy"))
    monkeypatch.setattr(backward, "RULES", {**RULES, linear: RULES[copy]})
    found = unexplained(batch=64, optimizer="sgd", precision="fp32")
    assert found >= {"peak_bytes_tracked", "peak_bytes_tensors", "peak_bytes_allocated"}


def card(monkeypatch: pytest.MonkeyPatch, beside: int, free: int = 2**40) -> None:
    """A card that is not there, whose allocator has so much beside the tensors."""
    predicted = MemoryCase(Case(TINY, 1, build), scenario_of({})).predicted("cuda").total_bytes
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2**40))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 512)
    monkeypatch.setattr(MemoryCase, "step", lambda own, device: MemoryCase.model(own))
    monkeypatch.setattr(stepwise, "on_card", lambda step: 512 + int(predicted) + beside)
    steps = {name: run for name, run in step_memory.MEMORY_STEPS.items() if "CUDA" in name}
    monkeypatch.setattr(step_memory, "MEMORY_STEPS", steps)


@pytest.mark.parametrize(
    ("beside", "ok"), [(0, True), (8 * 2**20, True), (-1, False), (2**26, False)]
)
def test_a_card_with_some_workspace(beside: int, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, beside)
    (model,) = check([TINY], memory=True).models
    assert model.ok == ok
    assert [d.actual - d.expected for d in model.differences] == [beside] * (beside != 0)
    if ok and beside:
        assert "rounding of blocks, 8,388,608 bytes" in model.differences[0].explained_by


def test_a_card_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, 0, free=2**10)
    with pytest.raises(NotCovered, match=r"nothing of custom.* of which 1\.0.* are free"):
        check([TINY], memory=True)


@pytest.mark.parametrize(
    ("model", "flags", "error", "words"),
    [
        ("gpt2", {}, NotCovered, "gpt2: it is no Vision Transformer"),
        (TINY, {"attention": "cudnn"}, ConfigError, "sdpa or eager where torch runs, got 'cudnn'"),
        (TINY, {"precision": "fp8"}, UnknownName, "fp8"),
        (
            TINY,
            {"checkpointing": "all"},
            ConfigError,
            "none, selective, block, every:K, first:K or",
        ),
        (TINY, {"optimizer": "lino"}, UnknownName, "lion"),
        (TINY, {"ranks": 2}, UnknownName, "unknown field 'ranks'"),
    ],
)
def test_bad_input(model: Any, flags: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        check([model], memory=True, **flags)


def test_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    size = ("--img-size", "32", "--depth", "1", "--optimizer", "sgd")
    assert run(["check", NAME, *size, "--memory", "--json", "--precision", "bf16"]) == 0
    found = json.loads(capfd.readouterr().out)
    (model,) = found["models"]
    assert found["ok"]
    assert set(model["comparisons"]) == QUANTITIES
    assert len(model["left_out"]) == 1
    assert not list(Draft202012Validator(schema("check")).iter_errors(found))


def test_a_difference_is_exit_1(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ops, "bytes_of", more(ops.bytes_of))
    assert run(["check", NAME, "--img-size", "32", "--depth", "1", "--memory"]) == 1
    out = capfd.readouterr().out
    assert "saved_activations_bytes" in out
    assert "unexplained" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--all", "--memory"), "--all does not compare memory"),
        ((NAME, "--attention", "eager"), "--attention is for --memory"),
        ((NAME, "--precision", "bf16"), "--precision is for --memory or --throughput"),
        ((NAME, "--memory", "--gpu", "l4"), "--gpu is for --throughput"),
    ],
)
def test_flags_that_do_not_go_together(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", *arguments]) == 2
    assert words in capsys.readouterr().err


# name, batch, precision, attention
STEPS = [
    *itertools.product(
        ["vit_tiny_patch16_224"], [1, 4], ["fp32", "amp-bf16"], ["eager", "sdpa"]
    ),
    ("vit_tiny_patch16_224", 8, "fp32", "sdpa"),
    ("vit_tiny_patch16_224", 8, "amp-bf16", "eager"),
    ("vit_small_patch32_224", 2, "amp-bf16", "sdpa"),
    ("vit_small_patch16_224", 1, "fp32", "eager"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "batch", "precision", "attention"), STEPS)
def test_the_allocator_of_a_real_step(
    name: str, batch: int, precision: str, attention: str
) -> None:
    """Tensors to the byte but for Python's numbers; the whole to 0.1 % but for one operator."""
    case = Case(resolve(name, depth=4).config, batch, build)
    own = MemoryCase(
        case, scenario_of({"batch": batch, "precision": precision, "attention": attention})
    )
    step = own.step("cpu")
    lasting = sum(t.untyped_storage().nbytes() for t in step.lasting)
    found = allocated(step)
    predicted = own.predicted().total_bytes
    assert lasting + found.tensor_bytes == predicted
    beside = lasting + found.total_bytes - predicted
    assert 0 <= beside <= sum(found.others.values())
    if beside > predicted / 1000:
        # oneDNN lays the factors of a product, images and weights of a convolution, out anew
        numbers = {"numbers of Python that operators keep as tensors"}
        operators = found.others.keys() - numbers
        assert operators in ({"workspace of convolution_backward"}, {"workspace of mm"})


def test_a_conjugate_that_an_operator_makes_is_a_tensor() -> None:
    """torch's dispatcher copies a tensor whose conjugate is due before the operator reads it: the
    frequencies, their conjugate and the powers are alive together, 8 bytes a number."""
    frequencies = torch.rand(16, 16, dtype=torch.complex64)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    step: Any = SimpleNamespace(optimizer=optimizer, run=lambda: frequencies * frequencies.conj())
    assert allocated(step).tensor_bytes == 2 * 16 * 16 * 8
