"""Formulas with numbers put in are the exact counts, and counts are arithmetic written out here."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import vitcost
from vitcost import zoo
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.quantities import EXPLAINED, QUANTITIES, known
from vitcost.errors import ConfigError, MissingExtra, NotCovered, UnknownName
from vitcost.formulas.explain import explain
from vitcost.formulas.explanation import Explanation
from vitcost.formulas.fixed import FIXED, fixed
from vitcost.formulas.symbols import symbol, text, tidy
from vitcost.zoo import resolve

COMPARISONS = {"complexity"}
SUMS = [quantity for quantity in EXPLAINED if quantity not in COMPARISONS]
# explained for every model; the others, which are found by the same rules, for some
EACH = (
    "params", "flops", "train_flops", "attention_flops", "mlp_flops", "pointwise",
    "saved_activations", "train_memory", "rule_of_thumb_inference", "rule_of_thumb_training",
)  # fmt: skip

CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no qkv bias": {"qkv_bias": False},
    "narrow mlp": {"mlp_dim": 100},
    "not square": {"img_size": (32, 48), "patch_size": (8, 16)},
    "distilled": {"dist_token": True},
    "represented": {"representation_size": 40},
    "no head": {"num_classes": 0},
    "shallow": {"depth": 1},
    "one head, one channel": {"num_heads": 1, "in_chans": 1},
    "patch norm": {"patch_norm": True},
    "drops": {"drop_path_rate": 0.1, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1},
    "all at once": {
        "dist_token": True, "mlp_dim": 50, "qkv_bias": False, "img_size": (48, 32),
        "patch_size": (4, 8), "in_chans": 2, "num_classes": 3, "num_heads": 2,
    },
}  # fmt: skip


def config(name: str) -> ViTConfig:
    base = {"img_size": (32, 32), "embed_dim": 24, "depth": 7, "num_heads": 4, "num_classes": 10}
    return ViTConfig(**{**base, **CONFIGS[name]})


def expected(x: ViTConfig, b: int) -> dict[str, int]:
    """Every quantity of a plain model, layer by layer as the papers describe them."""
    (H, W), (p_h, p_w) = x.img_size, x.patch_size
    h, m, a, L, K = x.embed_dim, x.mlp_dim, x.num_heads, x.depth, x.num_classes
    patches, tokens = (H // p_h) * (W // p_w), 2 if x.dist_token else 1
    s = patches + tokens
    r = x.representation_size or 0
    out = r or h

    qkv, proj = 3 * h * h + (3 * h if x.qkv_bias else 0), h * h + h
    fc1, fc2 = h * m + m, m * h + h
    embedding = x.in_chans * p_h * p_w * h + h + (2 * h if x.patch_norm else 0)
    blocks = L * (2 * h + qkv + proj + 2 * h + fc1 + fc2)
    heads = (h * r + r if r else 0) + tokens * (out * K + K)
    params = embedding + tokens * h + s * h + blocks + 2 * h + heads

    conv = 2 * b * patches * (x.in_chans * p_h * p_w) * h
    projections = L * (2 * b * s * h * 3 * h + 2 * b * s * h * h)
    products = L * (2 * b * a * s * s * (h // a) + 2 * b * a * s * s * (h // a))
    mlp = L * (2 * b * s * h * m + 2 * b * s * m * h)
    logits = 2 * b * h * r + tokens * 2 * b * out * K
    flops = conv + projections + products + mlp + logits

    norms = L * 2 * b * s * h + b * s * h + (b * patches * h if x.patch_norm else 0)
    scale_softmax, gelu, residuals = 2 * L * b * a * s * s, L * b * s * m, 2 * L * b * s * h
    return {
        "params": params,
        "flops": flops,
        "train_flops": 3 * flops - conv,
        "attention_flops": projections + products,
        "mlp_flops": mlp,
        "pointwise": norms + scale_softmax + gelu + residuals + b * r,
        "rule_of_thumb_inference": 2 * params,
        "rule_of_thumb_training": (2 + 4) * params + (2 + 4) * params + (4 + 4) * params,
    }


def evaluated(formula: str, numbers: dict[str, int]) -> int:
    """What Python makes of a formula."""
    found = eval(formula, {"__builtins__": {}}, numbers)
    assert isinstance(found, int)
    return found


def holds(found: Explanation) -> bool:
    letters = {each.letter: each.value for each in found.letters}
    written = set(re.findall(r"[^\W\d]\w*", found.formula))
    terms = set().union(*(re.findall(r"[^\W\d]\w*", term.formula) for term in found.terms))
    return (
        evaluated(found.substituted, {}) == found.value
        and evaluated(found.formula, letters) == found.value
        and sum(term.value for term in found.terms) == found.value
        and all(evaluated(term.substituted, {}) == term.value for term in found.terms)
        and all(evaluated(term.formula, letters) == term.value for term in found.terms)
        and written <= terms == set(letters)
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_formula_with_numbers_is_the_exact_count(name: str, batch: int) -> None:
    given = config(name)
    want = expected(given, batch)
    # those two are the report's, which autograd and torch's tracker are the witnesses of
    assert set(want) == set(EACH) - {"saved_activations", "train_memory"}
    for quantity, value in want.items():
        found = explain(given, quantity, batch=batch)
        assert found.value == value, quantity
        assert holds(found), quantity


@pytest.mark.parametrize("model", zoo.names())
def test_every_model_explains_itself(model: str) -> None:
    try:
        config = zoo.resolve(model).config
    except NotCovered as why:
        with pytest.raises(NotCovered, match=re.escape(str(why))):
            explain(model, "params")
        return
    report = vitcost.report(model)
    reported = of_the_report(report.to_dict())
    # a block that computes attention and MLP side by side has no module for either
    fused = "ParallelScaling" in getattr(config, "block_fn", "")
    without: set[str] = {"attention_flops", "mlp_flops"} if fused else set()
    if report.training.peak_is == "bounded":
        # a bound is the peak of another step, and no sum of what lies in this one
        without.add("train_memory")
    # each quantity of each fifth name, and all sums of each sixteenth
    turn = zoo.names().index(model)
    for quantity in SUMS if turn % 16 == 0 else EACH[turn % 5 :: 5]:
        if quantity in without or reported[quantity] is None:
            with pytest.raises(NotCovered):
                explain(model, quantity)
        else:
            found = explain(model, quantity)
            assert holds(found), quantity
            assert found.value == reported[quantity], quantity


def of_the_report(report: dict[str, Any]) -> dict[str, Any]:
    """Every quantity as the one page has it."""
    modules = list(below(report["layers"], 1))
    attention, mlp = (
        sum(times * row["flops"] for row, times in modules if row["path"].split(".")[-1] == name)
        for name in ("attn", "mlp")
    )
    numbers = {name: row.read(report) for name, row in QUANTITIES.items()}
    return {**numbers, "attention_flops": attention, "mlp_flops": mlp}


def below(rows: list[Any], times: int) -> Iterator[tuple[Any, int]]:
    """Every row, with how often it stands in the model."""
    for row in rows:
        yield row, times * row["repeat"]
        yield from below(row["children"], times * row["repeat"])


MEMORY: tuple[dict[str, Any], ...] = (
    {"batch": 64, "precision": "amp-bf16"},
    {"batch": 3, "attention": "eager", "platform": "cpu", "optimizer": "adamw-loop"},
    {"precision": "bf16", "platform": "cpu", "optimizer": "lion", "ema": 2},
    {"batch": 8, "checkpointing": "every:5", "optimizer": "sgd-momentum"},
    {"batch": 8, "checkpointing": "block", "precision": "amp-fp16", "accumulate": 4},
    {"batch": 2, "freeze": "first:7", "zero_grad": "zeros", "optimizer": "adam-amsgrad"},
    {"batch": 2, "lora": 4, "lora_layers": "qkv,fc1", "attention": "math"},
)


@pytest.mark.parametrize("flags", MEMORY, ids=str)
@pytest.mark.parametrize("quantity", ["saved_activations", "train_memory"])
def test_memory_is_explained_as_it_is_reported(quantity: str, flags: dict[str, Any]) -> None:
    step = ("optimizer", "ema", "accumulate", "zero_grad")
    given = {k: v for k, v in flags.items() if quantity == "train_memory" or k not in step}
    for model in ("deit_tiny_distilled_patch16_224", "vit_small_patch16_224"):
        found = explain(model, quantity, **given)
        report = vitcost.report(model, mode="train", **given).to_dict()
        assert found.value == of_the_report(report)[quantity]
        assert holds(found)


@pytest.mark.parametrize(
    ("quantity", "flags"),
    [
        ("params", {"precision": "bf16"}),
        ("flops", {"attention": "eager"}),
        ("saved_activations", {"optimizer": "sgd"}),
        ("train_memory", {"zero": 1}),
    ],
)
def test_a_flag_without_a_part_in_it_is_refused(quantity: str, flags: dict[str, Any]) -> None:
    (flag,) = flags
    with pytest.raises(ConfigError, match=f"{flag} has no part in the formula of {quantity}"):
        explain("vit_small_patch16_224", quantity, **flags)


def test_a_model_without_a_peak_says_so() -> None:
    with pytest.raises(NotCovered, match=r"^no exact train_memory: no parameter trains"):
        explain("vitamin_small_224", "train_memory", freeze="all")
    # where the update of averages is the peak, its chunks are no sum of products
    with pytest.raises(NotCovered, match="rounded in chunks of tensors"):
        explain("vit_tiny_patch16_224", "train_memory", ema=1, ema_dtype="bf16")
    asked: dict[str, Any] = {"ema": 1, "ema_dtype": "bf16", "batch": 64}
    report = vitcost.report("vit_tiny_patch16_224", mode="train", **asked)
    explained = explain("vit_tiny_patch16_224", "train_memory", **asked)
    assert explained.value == report.training.peak_bytes


def test_published_counts() -> None:
    """timm 1.0.31 on torch: parameters, FLOPs forward, FLOPs of a training step."""
    base = "vit_base_patch16_224"
    assert explain(base, "params").value == 86_567_656
    assert explain(base, "flops").value == 35_127_656_448
    assert explain(base, "train_flops").value == 105_151_758_336
    assert explain("vit_huge_patch14_224", "params", num_classes=5).value == 630_771_205
    assert explain(base, "flops", num_classes=5, batch=2).value == 2 * (
        35_127_656_448 - 2 * 768 * (1000 - 5)
    )


def test_the_formulas_are_the_papers() -> None:
    base = "vit_base_patch16_224"
    assert explain(base, "flops").formula == (
        "2*b*n*c*p**2*h + L*(24*b*s*h**2 + 4*b*s**2*h) + 2*b*K*h"
    )
    assert explain(base, "flops", batch=2).substituted == (
        "2*2*196*3*16**2*768 + 12*(24*2*197*768**2 + 4*2*197**2*768) + 2*2*1000*768"
    )
    assert explain(base, "train_flops").formula == (
        "4*b*n*c*p**2*h + L*(72*b*s*h**2 + 12*b*s**2*h) + 6*b*K*h"
    )
    assert explain(base, "attention_flops").formula == "L*(8*b*s*h**2 + 4*b*s**2*h)"
    assert explain(base, "mlp_flops").formula == "16*L*b*s*h**2"
    assert explain(base, "mlp_flops", mlp_dim=3000).formula == "4*L*b*s*h*m"
    assert explain(base, "rule_of_thumb_inference").formula == "2*Φ"
    assert explain(base, "rule_of_thumb_training").formula == "2*Φ + 4*Φ + 2*Φ + 4*Φ + 4*Φ + 4*Φ"
    uneven = explain(base, "params", mlp_dim=3000, patch_size=(16, 14))
    assert "L*(4*h**2 + 2*h*m + 9*h + m)" in uneven.formula
    assert uneven.formula.startswith("c*p_h*p_w*h + h + ")


def test_text_has_its_own_letters() -> None:
    gpt3 = explain("gpt3-175b", "params")
    assert gpt3.formula == "V*h + P*h + L*(12*h**2 + 13*h) + 2*h"
    assert explain("gpt3-175b", "flops").formula == "L*(24*b*s*h**2 + 4*b*s**2*h) + 2*b*V*s*h"
    clip = explain("siglip_base_patch16_224", "params")
    assert "text_L*(12*text_h**2 + 13*text_h)" in clip.formula
    meanings = {each.letter: each.meaning for each in clip.letters}
    assert (meanings["h"], meanings["text_h"]) == ("width", "width, of the text")


def test_terms_say_what_they_are() -> None:
    attention = explain("vit_base_patch16_224", "attention_flops")
    assert {term.name: term.formula for term in attention.terms} == {
        "attn.qkv": "6*L*b*s*h**2",
        "attn.proj": "2*L*b*s*h**2",
        "attn products": "4*L*b*s**2*h",
    }
    training = explain("vit_base_patch16_224", "rule_of_thumb_training", num_classes=5)
    assert [(term.name, term.value) for term in training.terms] == [
        ("half weights", 171_605_002),
        ("full weights", 343_210_004),
        ("half gradients", 171_605_002),
        ("full gradients", 343_210_004),
        ("first moments", 343_210_004),
        ("second moments", 343_210_004),
    ]
    assert training.letters == (("Φ", "parameters", 85_802_501),)


def test_complexity_compares_four_layers() -> None:
    found = explain("vit_base_patch16_224", "complexity")
    s, h, k, r = 197, 768, 3, 49
    assert found.value == (
        ("self-attention", s * s * h, 1, 1),
        ("recurrent", s * h * h, s, s),
        ("convolutional", k * s * h * h, 1, math.ceil(math.log(s, k))),
        ("restricted self-attention", r * s * h, 1, math.ceil(s / r)),
    )
    orders = [term.formula for term in found.terms]
    assert orders == [
        "O(s**2*h)", "O(1)", "O(1)",
        "O(s*h**2)", "O(s)", "O(s)",
        "O(k*s*h**2)", "O(1)", "O(log(s)/log(k))",
        "O(s*h*r)", "O(1)", "O(s/r)",
    ]  # fmt: skip
    assert [term.value for term in found.terms] == [n for row in found.value for n in row[1:]]
    assert found.terms[8].substituted == "ceiling(log(197)/log(3))"
    assert found.formula.startswith("self-attention, work: O(s**2*h); ")
    assert {each.letter: each.value for each in found.letters} == {"s": s, "h": h, "k": k, "r": r}
    assert next(each.meaning for each in found.letters if each.letter == "r").startswith(
        "neighbour"
    )


def test_a_window_is_no_wider_than_the_sequence() -> None:
    found = explain("vit_base_patch16_224", "complexity", img_size=32)
    assert found.value[3] == ("restricted self-attention", 5 * 5 * 768, 1, 1)


def test_latex_is_aligned_and_has_the_numbers() -> None:
    base = "vit_base_patch16_224"
    assert explain(base, "params").latex is None
    found = explain(base, "attention_flops", latex=True).latex
    assert found == "\n".join(
        [
            r"\begin{align*}",
            r"\text{attention\_flops} &= L \left(8 b s h^{2} + 4 b s^{2} h\right) \\",
            r"&= 12 \left(8 \cdot 1 \cdot 197 \cdot 768^{2} + 4 \cdot 1 \cdot 197^{2} "
            r"\cdot 768\right) \\",
            r"&= 12{,}585{,}406{,}464",
            r"\end{align*}",
        ]
    )
    thumb = explain(base, "rule_of_thumb_inference", latex=True).latex
    assert r"&= 2 \Phi \\" in (thumb or "")
    comparison = explain(base, "complexity", latex=True).latex
    assert comparison is not None
    assert (
        r"\text{self-attention, work} &= O\left(s^{2} h\right) &&= 29{,}805{,}312 \\" in comparison
    )


PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("vit_base_patch16_224", {}),
    ("vit_huge_patch14_224", {"num_classes": 5}),
    ("deit_tiny_patch16_224", {"img_size": 384}),
    ("vit_small_patch32_224", {"in_chans": 1, "num_classes": 0}),
]


@pytest.mark.parametrize(("model", "fields"), PLAIN, ids=str)
@pytest.mark.parametrize("quantity", FIXED)
def test_the_textbook_spells_what_the_symbols_give(
    model: str, fields: dict[str, Any], quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"batch": 3} if "flops" in quantity or quantity == "macs" else {}
    monkeypatch.setattr("vitcost.formulas.explanation.load", pytest.fail)
    by_text = explain(model, quantity, latex=True, **fields, **batch)
    monkeypatch.undo()
    monkeypatch.setattr("vitcost.formulas.explanation.fixed", lambda *_: None)
    assert explain(model, quantity, latex=True, **fields, **batch) == by_text


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("vit_base_patch16_224", {"mlp_dim": 3000}),
        ("vit_base_patch16_224", {"reg_tokens": 4}),
        ("vit_base_patch16_224", {"representation_size": 768}),
        ("vit_base_patch16_224", {"img_size": (224, 448), "patch_size": (16, 32)}),
        ("vit_base_patch16_224", {"qkv_bias": False}),
        ("deit_base_distilled_patch16_224", {}),
    ],
    ids=str,
)
def test_another_model_is_not_spelled_by_the_textbook(model: str, fields: dict[str, Any]) -> None:
    config = resolve(model, **fields).config
    assert fixed("params", EXPLAINED["params"], config, Scenario()) is None
    found = explain(model, "params", **fields)
    assert found.value == vitcost.report(model, **fields).params


@pytest.mark.parametrize("quantity", EXPLAINED)
def test_json(quantity: str) -> None:
    found = explain("vit_base_patch16_224", quantity, latex=True)
    data = json.loads(json.dumps(found.to_dict()))
    assert {"quantity", "formula", "substituted", "value", "reference", "latex"} <= data.keys()
    assert data["quantity"] == quantity
    assert re.search(r"\d{4}|Megatron|FLOPs|torch 2", data["reference"])
    assert [row["name"] for row in found.rows()] == [term["name"] for term in data["terms"]]
    assert "latex" not in explain("vit_base_patch16_224", quantity).to_dict()
    if quantity in COMPARISONS:
        assert data["value"][0] == {
            "layer": "self-attention", "work": 197 * 197 * 768, "sequential": 1, "path": 1,
        }  # fmt: skip
    else:
        assert data["value"] == found.value


def test_a_sum_without_terms_is_zero() -> None:
    found = explain("vit_tiny_patch16_224", "optimizer_states", optimizer="sgd", latex=True)
    assert (found.formula, found.substituted, found.value) == ("0", "0", 0)
    assert found.latex is not None
    assert found.page().tables == ()


def test_an_axis_without_a_letter_is_spelled_by_its_name() -> None:
    assert text(symbol("zeta") * 2 * symbol("h")) == "2*h*zeta"
    assert text(tidy(symbol("zeta") + symbol("h"), {"h": 1, "zeta": 3})) == "h + zeta"


def test_equal_sizes_alone_are_merged() -> None:
    h, m = symbol("h"), symbol("m")
    assert text(tidy(2 * h * m, {"h": 8, "m": 32})) == "8*h**2"
    assert text(tidy(2 * h * m, {"h": 8, "m": 31})) == "2*h*m"


# what a cost is of, beside a card
RUN = {
    "cost_per_million_images": {"price": "2/h"},
    "gpu_hours": {"samples": 1000},
    "cost": {"samples": 1000, "price": "2/h"},
}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_what_compare_shows_explain_explains(quantity: str) -> None:
    model, batch = "vit_small_patch16_224", 8
    if quantity not in EXPLAINED:
        # it is of a card
        with pytest.raises(NotCovered, match="give a gpu"):
            vitcost.compare(model, batch=batch, quantities=[quantity], **RUN.get(quantity, {}))
        with pytest.raises(NotCovered, match="a fit of measured constants"):
            explain(model, quantity)
        return
    (row,) = vitcost.compare(model, batch=batch, quantities=[quantity]).rows()
    for spelled in (quantity, quantity.replace("_", "-")):
        found = explain(model, spelled, batch=batch)
        assert found.quantity == quantity
        assert found.value == row[QUANTITIES[quantity].key(quantity)]


def test_a_forward_pass_moves_what_its_mode_moves() -> None:
    for mode in ("infer", "train"):
        report = vitcost.report("vit_small_patch16_224", mode=mode, precision="amp-bf16")
        found = explain("vit_small_patch16_224", "bytes_moved", mode=mode, precision="amp-bf16")
        assert found.value == report.moved_bytes
        assert holds(found)


STATES: tuple[dict[str, Any], ...] = (
    {"recipe": "megatron-fp16"},
    {"precision": "bf16", "freeze": "first:3"},
    {"lora": 8, "precision": "amp-fp16"},
)


@pytest.mark.parametrize("flags", STATES, ids=str)
def test_states_are_explained_as_they_are_reported(flags: dict[str, Any]) -> None:
    report = vitcost.report("vit_small_patch16_224", mode="train", **flags).to_dict()
    for quantity in ("weights", "gradients", "optimizer_states"):
        found = explain("vit_small_patch16_224", quantity, **flags)
        assert found.value == QUANTITIES[quantity].read(report)
        assert holds(found)


@pytest.mark.parametrize(
    ("old", "new", "formula"),
    [
        ("peak-memory", "train_memory", None),
        ("training-memory", "rule_of_thumb_training", "2*Φ + 4*Φ + 2*Φ + 4*Φ + 4*Φ + 4*Φ"),
        ("inference-memory", "inference_memory", None),
    ],
)
def test_a_name_that_a_quantity_had_is_answered_with_a_note(
    old: str, new: str, formula: str | None
) -> None:
    found, wanted = (explain("vit_tiny_patch16_224", name) for name in (old, new))
    assert (found.quantity, found.value) == (wanted.quantity, wanted.value) == (new, found.value)
    assert formula in (None, found.formula)
    assert "rule_of_thumb" in found.note or new in found.note
    assert found.to_dict()["note"] == found.note == found.page().notes[-1]
    assert "note" not in explain("vit_tiny_patch16_224", "params").to_dict()


def test_names_of_quantities_are_the_same_with_either_line() -> None:
    assert known(["rule-of-thumb-inference"]) == ("rule_of_thumb_inference",)
    vitcost.assert_budget("vit_tiny_patch16_224", rule_of_thumb_inference="11434832 B")


def test_errors_help() -> None:
    with pytest.raises(UnknownName, match=r"'flop'.*did you mean flops.*known: params"):
        explain("vit_base_patch16_224", "flop")
    with pytest.raises(UnknownName, match="vit_base_patch16_224"):
        explain("vit_bse_patch16_224", "flops")
    with pytest.raises(ConfigError, match="batch"):
        explain("vit_base_patch16_224", "flops", batch=0)
    with pytest.raises(UnknownName, match="num_classes"):
        explain("vit_base_patch16_224", "flops", num_class=5)
    fused = ViTConfig(block_fn="ParallelScalingBlock")
    with pytest.raises(NotCovered, match="attn"):
        explain(fused, "attention_flops")


def test_without_sympy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vitcost\[explain\]'"):
        explain("vit_base_patch16_224", "weights")
    # the textbook's own forms need no symbols
    assert explain("vit_base_patch16_224", "params").value == 86_567_656


def loaded(code: str) -> bool:
    """Whether sympy is loaded after some code, in a fresh interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, vitcost\n{code}\nprint('sympy' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip() == "True"


def test_sympy_is_loaded_for_a_formula_alone() -> None:
    assert not loaded("vitcost.report('vit_base_patch16_224'); import vitcost.formulas.terms")
    assert not loaded("vitcost.explain('vit_base_patch16_224', 'params')")
    assert loaded("vitcost.explain('vit_base_patch16_224', 'weights')")


def test_the_function_keeps_its_name() -> None:
    """What loads behind it does not take its place in the package."""
    assert vitcost.explain("vit_base_patch16_224", "params").value == 86_567_656
    assert vitcost.explain is explain
