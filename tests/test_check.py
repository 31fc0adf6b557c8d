"""``check``: what it reports, what it explains, and that a wrong formula does not pass."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from vitcost.check import against_torch, check, counters
from vitcost.check.reference import build
from vitcost.check.scopes import Scopes
from vitcost.config.vit_config import ViTConfig
from vitcost.engine import ops
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.zoo import resolve

# 4 patches and a class token: s = 5, h = 8, a = 2, L = 1, m = 32, K = 3
TINY = ViTConfig(img_size=32, embed_dim=8, depth=1, num_heads=2, num_classes=3)
CONV = 4 * 8 * 3 * 16 * 16
QKV, PROJ, MLP, HEAD = 5 * 8 * 24, 5 * 8 * 8, 2 * 5 * 8 * 32, 8 * 3
PRODUCT = 5 * 5 * 8  # scores, and again the weighted sum
MACS = CONV + QKV + PROJ + MLP + HEAD + 2 * PRODUCT


def test_each_counters_habit_is_explained() -> None:
    result = check([TINY])
    (model,) = result.models
    assert result.ok
    assert model.ok
    found = {d.quantity: (d.path, d.expected, d.actual) for d in model.differences}
    norms = 3 * 5 * 8
    pointwise = norms + 2 * (5 * 5 * 2) + 5 * 32 + 2 * (5 * 8)  # scale, softmax; GELU; residuals
    backward = 2 * 2 * MACS - 2 * CONV  # the image needs no gradient
    assert found == {
        "backward_flops_fused": ("", backward, backward + 2 * PRODUCT),
        "pointwise_fvcore": ("", pointwise, 5 * norms),
        "macs_fvcore_fused": ("", MACS, MACS - 2 * PRODUCT),
        "flops_fused_cpu": ("", 2 * MACS, 2 * MACS - 2 * 2 * PRODUCT),
    }
    reasons = {d.quantity: d.explained_by for d in model.differences}
    assert "five products instead of four" in reasons["backward_flops_fused"]
    assert "5 for every element of a LayerNorm" in reasons["pointwise_fvcore"]
    assert "no rule for add, gelu, mul, softmax" in reasons["pointwise_fvcore"]
    assert "fvcore has no rule for scaled_dot_product" in reasons["macs_fvcore_fused"]
    assert "FlopCounterMode has no rule" in reasons["flops_fused_cpu"]


def test_scaled_queries_are_explained() -> None:
    (model,) = check([TINY], scale_query=True).models
    assert model.ok
    (found,) = (d for d in model.differences if d.quantity == "pointwise_total")
    # 5 · 8 scaled queries in place of 2 · 5 · 5 scaled scores
    assert found.actual == found.expected + 5 * 8 - 2 * 5 * 5
    assert "scales its queries" in found.explained_by


def test_what_was_compared_is_counted() -> None:
    (model,) = check([TINY]).models
    # a block: two norms, two drop paths, attention with 4 modules inside, MLP with 5
    block = 1 + 2 + 2 + (1 + 4) + (1 + 5)
    # patch_embed with proj and norm; pos_drop; blocks; norm, pre_logits, head; the model itself
    calls = 3 + 1 + 1 + block + 3 + 1
    assert model.comparisons["calls"] == model.comparisons["calls_training"] == calls
    assert model.comparisons["calls_fused"] == calls - 1  # no attn_drop
    assert model.comparisons["params"] == calls + 2  # class token, position embedding
    assert model.comparisons["flops"] == model.comparisons["backward_flops"] == calls
    assert model.comparisons["summary"] == calls - 2  # no Sequential, not the model itself
    assert model.seconds > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"dist_token": True, "drop_path_rate": 0.1},
        {"representation_size": 6, "patch_norm": True, "num_classes": 0},
        {"attn_drop_rate": 0.1, "proj_drop_rate": 0.1, "pos_drop_rate": 0.1, "qkv_bias": False},
    ],
)
def test_options(fields: dict[str, Any]) -> None:
    result = check([TINY], batch=2, depth=3, **fields)
    assert [d for d in result.models[0].differences if not d.explained_by] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch16_224",
        "vit_base_patch32_224",
        "vit_large_patch32_224",
        "vit_huge_patch14_224",
    ],
)
def test_the_four_models(name: str) -> None:
    # a config is compared with the reference, which has the layers of the papers and no others
    result = check([resolve(name).config], num_classes=5)
    assert [d for d in result.models[0].differences if not d.explained_by] == []


def test_json() -> None:
    result = check([TINY, resolve("vit_tiny_patch16_224")], depth=1)
    data = json.loads(json.dumps(result.to_dict()))
    assert (data["schema"], data["ok"]) == ("vitcost.check/1", True)
    assert [m["model"] for m in data["models"]] == ["custom", "vit_tiny_patch16_224"]
    assert set(data["versions"]) == {"torch", "fvcore"}
    for difference in data["models"][0]["differences"]:
        assert list(difference) == ["path", "quantity", "expected", "actual", "explained_by"]


def test_progress_comes_before_each_step_and_at_the_end() -> None:
    seen: list[tuple[int, int, str]] = []
    check([TINY], progress=lambda done, total, label: seen.append((done, total, label)))
    steps = len(against_torch.STEPS)
    assert [(done, total) for done, total, _ in seen] == [(i, steps) for i in range(steps + 1)]
    assert seen[0][2] == "custom: parameters"


def more(rule: Callable[..., int]) -> Callable[..., int]:
    """A rule that is off wherever it says anything."""
    return lambda *args: n + 2 if (n := rule(*args)) else n


@pytest.mark.parametrize(
    ("rule", "caught"),
    [
        ("params", {"params"}),
        ("flops", {"flops", "flops_training", "flops_fused", "train_step_flops", "macs_fvcore"}),
        ("backward_flops", {"backward_flops", "train_step_flops"}),
        ("executed_backward_flops", {"executed_backward_flops"}),
        ("pointwise", {"pointwise"}),
        ("bytes_of", {"saved_bytes_eager_fp32", "saved_bytes_flash_amp"}),
    ],
)
def test_a_broken_rule_is_caught(
    rule: str, caught: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, rule, more(getattr(ops, rule)))
    result = check([TINY])
    assert not result.ok
    assert not result.to_dict()["ok"]
    assert {d.quantity for d in result.models[0].differences if not d.explained_by} >= caught


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (lambda c: ViTConfig(**{**c, "mlp_dim": 31}), "params"),
        (lambda c: ViTConfig(**{**c, "patch_norm": True}), "calls"),
        (lambda c: ViTConfig(**{**c, "depth": 2}), "number_of_calls"),
        (lambda c: ViTConfig(**{**c, "patch_size": (16, 8)}), "output_shape"),
        (lambda c: ViTConfig(**{**c, "proj_drop_rate": 0.5}), "saved_bytes_eager_fp32"),
        (lambda c: ViTConfig(**{**c, "drop_path_rate": 0.5, "depth": 2}), "summary"),
    ],
)
def test_another_model_is_caught(
    change: Callable[[dict[str, Any]], ViTConfig], quantity: str
) -> None:
    """The formulas of one model against the torch module of another."""
    fields = {name: getattr(TINY, name) for name in ViTConfig.__slots__}
    other = change(fields)
    case = against_torch.Case(TINY, 1, lambda config, fused: build(other, fused))
    found = against_torch.compare("other", case, lambda label: None)
    assert not found.ok
    assert quantity in {d.quantity for d in found.differences if not d.explained_by}


def test_a_habit_explains_its_own_amount_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(model: nn.Module, shape: tuple[int, ...]) -> Any:
        counts = counters.by_fvcore(model, shape)
        counts[""]["layer_norm"] += 1
        return counts

    monkeypatch.setattr(against_torch, "by_fvcore", off_by_one)
    result = check([TINY])
    assert {d.quantity for d in result.models[0].differences if not d.explained_by} == {
        "pointwise_fvcore"
    }


def test_an_operator_without_a_rule_is_no_habit(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(model: nn.Module, shape: tuple[int, ...]) -> Any:
        counts = counters.by_fvcore(model, shape)
        counts[""]["mystery_product"] = 0
        return counts

    monkeypatch.setattr(against_torch, "by_fvcore", silent)
    assert not check([TINY]).ok


@pytest.mark.parametrize(
    ("model", "flags", "error", "words"),
    [
        ("vit_bass_patch16_224", {}, UnknownName, "vit_base_patch16_224"),
        (TINY, {"reg_tokens": 4}, NotCovered, "reg_tokens=4"),
        ("gpt2", {}, NotCovered, "gpt2: it is no Vision Transformer"),
        (TINY, {"batch": 0}, ConfigError, "batch must be between 1 and"),
        (TINY, {"batch": 2.5}, ConfigError, "batch must be an integer, got 2.5"),
        (TINY, {"num_heads": 3}, ConfigError, "not divisible by num_heads 3"),
    ],
)
def test_bad_input(model: Any, flags: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        check([model], **flags)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("missing", ["torch", "fvcore"])
def test_without_the_extra(missing: str) -> None:
    out = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from vitcost import MissingExtra\nfrom vitcost.check import check\n"
        "try: check(['vit_tiny_patch16_224'])\n"
        "except MissingExtra as error: print(error)"
    )
    assert out == (f"check needs {missing}, which is not installed: pip install 'vitcost[torch]'")


def test_torch_loads_when_a_check_runs_and_not_before() -> None:
    loaded = "print(sorted({'torch', 'fvcore'} & set(sys.modules)))"
    assert python(f"import sys, vitcost.check; {loaded}") == "[]"
    assert python(f"import sys, vitcost.check.against_torch; {loaded}") == "['torch']"


def test_backward_is_told_by_module_where_the_input_needs_no_gradient() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8, device="meta")
            self.second = nn.Linear(8, 8, device="meta")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.second(self.second(self.first(x)))
            return y @ y.T

    counted = counters.by_torch(Twice().train(), (3, 4))
    first, second, own = 2 * 3 * 4 * 8, 2 * 2 * 3 * 8 * 8, 2 * 3 * 3 * 8
    assert counted.forward == {"first": first, "second": second, "": first + second + own}
    # the first layer's input needs no gradient: one product; all others two
    backward = {"first": first, "second": 2 * second, "": first + 2 * second + 2 * own}
    assert counted.backward == backward
    paths = [(call.path, call.shape) for call in counted.calls]
    assert paths == [("first", (3, 8)), ("second", (3, 8)), ("second", (3, 8)), ("", (3, 3))]


def test_scopes_leave_no_hooks_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with Scopes(model):
        assert model._forward_hooks
        assert model[0]._forward_pre_hooks
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]
    assert hooks == [({}, {}), ({}, {})]
