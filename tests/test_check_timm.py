"""``check`` on timm's names: timm's own model is the witness, and the walk over all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_cli import run

from vitcost.check import (
    CheckResult,
    against_torch,
    check,
    check_all,
    every_timm,
    installed,
    witness,
)
from vitcost.config.vit_config import ViTConfig
from vitcost.engine import ops
from vitcost.errors import ConfigError, NotCovered
from vitcost.zoo import resolve

# what differs between architectures: gated MLPs, rotary and relative positions, an attention pool,
# two heads, registers, parallel blocks, other attentions, patches as a grid, convolutions below
SPREAD = [
    "beit_base_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "flexivit_small",
    "test_vit3",
    "vit_base_patch16_siglip_224",
    "vit_base_patch16_xp_224",
    "vit_dlittle_patch16_reg1_gap_256",
    "vit_small_patch16_18x2_224",
    "vit_small_plus_patch16_dinov3",
    "vit_small_patch16_rope_mixed_224",
    "vit_tiny_r_s16_p8_224",
]


def quickly(name: str, **overrides: Any) -> Any:
    config = resolve(name, **overrides).config
    assert isinstance(config, ViTConfig)
    case = witness.case_of(name, config, 1, overrides)
    return against_torch.compare(name, case, lambda label: None, quick=True)


def unexplained(model: Any) -> list[Any]:
    return [d for d in model.differences if not d.explained_by]


@pytest.mark.parametrize("name", SPREAD)
def test_parameters_flops_and_shapes(name: str) -> None:
    found = quickly(name)
    assert re.fullmatch(r"timm \d+\.\d+\.\d+", found.against)
    assert unexplained(found) == []
    assert set(found.comparisons) == {"params", "parameter_tensors", "flops", "output_shape"}
    assert min(found.comparisons["params"], found.comparisons["flops"]) > 3 * 6


# torch's fused attention on meta gives values twice as wide as queries the width of the queries,
# and its fused RMSNorm warns under autocast: those two models cannot run every step
ALL_STEPS = sorted({*SPREAD} - {"vit_dlittle_patch16_reg1_gap_256", "vit_base_patch16_xp_224"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_STEPS)
def test_every_step(name: str) -> None:
    # a block behind another is as each further one
    result = check([name], depth=2)
    assert unexplained(result.models[0]) == []
    # the reference's own modules and pointwise work are not asked of another author
    assert not {"calls", "summary", "pointwise"} & set(result.models[0].comparisons)
    assert {"flops_fused", "macs_fvcore"} <= set(result.models[0].comparisons)


def test_a_model_that_stops_is_a_difference() -> None:
    config = ViTConfig(img_size=4, patch_size=4, embed_dim=4, depth=1, num_heads=1, num_classes=2)

    def broken(config: ViTConfig, fused: bool) -> Any:
        raise RuntimeError("no such shape\nand more")

    found = against_torch.compare(
        "mine", against_torch.Case(config, 1, broken), lambda label: None, quick=True
    )
    assert not found.ok
    assert {d.actual for d in found.differences} == {"RuntimeError: no such shape"}


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_classes": 7, "img_size": (64, 96), "in_chans": 4},
        {"depth": 2, "embed_dim": 128, "num_heads": 4, "mlp_ratio": 2.0},
        {"global_pool": "avg", "reg_tokens": 2, "qkv_bias": False, "init_values": 0.1},
        {"class_token": False, "global_pool": "avg", "qk_norm": True, "proj_bias": False},
    ],
)
def test_what_timm_takes_is_on_top_of_its_model(overrides: dict[str, Any]) -> None:
    found = quickly("vit_tiny_patch16_224", **overrides)
    assert found.against.startswith("timm ")
    assert unexplained(found) == []


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("vit_tiny_patch16_224", {"representation_size": 5}),
        ("vit_tiny_patch16_224", {"mlp_dim": 100}),
        # the original papers' model, which timm no longer has
        ("vit_base_patch16_224_in21k", {}),
        ("custom", {}),
    ],
)
def test_what_timm_does_not_take_is_for_the_reference(
    model: str, overrides: dict[str, Any]
) -> None:
    config = ViTConfig() if model == "custom" else resolve(model, **overrides).config
    assert isinstance(config, ViTConfig)
    assert witness.case_of(model, config, 1, overrides).against == "reference"


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("vit_tiny_patch16_224", 1000),
        ("vit_tiny_patch16_224.augreg_in21k", 21843),
        ("vit_small_patch16_224_dino", 0),
    ],
)
def test_a_tag_has_the_classes_of_timm(name: str, classes: int) -> None:
    config = resolve(name).config
    assert isinstance(config, ViTConfig)
    model: Any = witness.case_of(name, config, 1, {}).model()
    assert model.num_classes == classes
    assert unexplained(quickly(name)) == []


def test_attention_is_fused_where_it_is_asked_for() -> None:
    case = witness.case_of("vit_base_patch16_siglip_224", ViTConfig(), 1, {})
    for fused in (False, True):
        flags = [getattr(m, "fused_attn", None) for m in case.model(fused).modules()]
        # twelve blocks and the pool
        assert [f for f in flags if f is not None] == [fused] * 13


def test_a_model_of_timms_from_the_users_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from timm import create_model\n"
        "def small(): return create_model('vit_tiny_patch16_224', depth=2, reg_tokens=4)\n"
    )
    (tmp_path / "code_of_a_user.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = quickly("code_of_a_user:small")
    assert (found.against, unexplained(found)) == ("code_of_a_user:small", [])
    # it is that module which is counted, not the formula's
    changed = resolve("code_of_a_user:small", depth=3).config
    assert isinstance(changed, ViTConfig)
    case = witness.case_of("code_of_a_user:small", changed, 1, {})
    other = against_torch.compare("small", case, lambda label: None, quick=True)
    assert {d.quantity for d in unexplained(other)} >= {"params", "flops"}


@pytest.mark.parametrize(
    "missing",
    ["timm is not installed: pip install timm", "timm does not import: no such operator"],
)
def test_without_timm(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for module in (witness, installed):
        monkeypatch.setattr(module, "timm_missing", lambda: missing)
    model = check(["vit_tiny_patch16_224"], depth=1).models[0]
    assert (model.against, model.left_out) == ("reference", (f"timm's own model: {missing}",))
    assert not check([ViTConfig(depth=1)]).models[0].left_out
    with pytest.raises(NotCovered, match=rf"no init_values=.*{missing}$"):
        check(["vit_small_patch14_dinov2"])
    # timm would not help here
    with pytest.raises(NotCovered, match=r"no reg_tokens=4$"):
        check([ViTConfig(reg_tokens=4)])
    with pytest.raises(NotCovered, match=f"but {missing}$"):
        check_all()
    with pytest.raises(NotCovered, match=f"^{missing}$"):
        installed.timm()


def test_a_timm_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("no such operator\nand so on")

    monkeypatch.setattr(installed, "import_module", broken)
    installed.timm_missing.cache_clear()
    try:
        assert installed.timm_missing().startswith("timm does not import (no such operator): ")
        monkeypatch.setattr(installed, "find_spec", lambda name: None)
        installed.timm_missing.cache_clear()
        assert installed.timm_missing() == "timm is not installed: pip install timm"
    finally:
        installed.timm_missing.cache_clear()


def test_what_timm_refuses_is_said() -> None:
    case = witness.case_of("vit_tiny_patch16_224", ViTConfig(), 1, {"num_heads": 7})
    with pytest.raises(ConfigError, match="timm does not build vit_tiny_patch16_224"):
        case.model()


def test_a_broken_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = ops.flops
    monkeypatch.setattr(ops, "flops", lambda *args: n + 2 if (n := rule(*args)) else n)
    assert {d.quantity for d in unexplained(quickly("test_vit"))} == {"flops"}


def test_another_model_is_caught() -> None:
    config = resolve("vit_small_patch16_224").config
    assert isinstance(config, ViTConfig)
    case = witness.case_of("vit_tiny_patch16_224", config, 1, {})
    found = against_torch.compare("other", case, lambda label: None, quick=True)
    assert {d.quantity for d in unexplained(found)} >= {"params", "flops", "output_shape"}


@pytest.mark.slow
def test_the_walk_is_in_order_and_tells_how_far_it_is() -> None:
    seen: list[tuple[int, int, str]] = []
    names = ["test_vit2", "test_vit", "vit_tiny_patch16_dinov3_qkvb"]
    result = check_all(names, progress=lambda *step: seen.append(step))
    assert seen == [(i, 3, name) for i, name in enumerate(names, 1)]
    assert [m.model for m in result.models] == names
    assert result.ok
    data = json.loads(json.dumps(result.to_dict()))
    assert all(m["against"].startswith("timm ") for m in data["models"])


def test_a_model_that_does_not_run_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("out of words\nand more")

    monkeypatch.setattr(against_torch.Case, "model", stop)
    found = every_timm._quick("test_vit", 1)
    assert not found.ok
    assert found.differences[0].actual == "RuntimeError: out of words"


def test_the_command_walks(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    asked: list[Any] = []

    def fake(**keywords: Any) -> CheckResult:
        asked.append(keywords)
        return CheckResult((quickly("test_vit"),), {"torch": "2.0"})

    monkeypatch.setattr("vitcost.check.check_all", fake)
    assert run(["check", "--all", "--batch", "2"]) == 0
    assert re.search(r"test_vit +ok +timm ", capsys.readouterr().out)
    assert asked == [{"progress": None, "batch": 2}]
    for wrong in (["vit_tiny_patch16_224"], ["--depth", "2"]):
        assert run(["check", "--all", *wrong]) == 2
        assert "--all checks every model unchanged" in capsys.readouterr().err
