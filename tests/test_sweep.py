"""Sweeps: arrays of configs give what single reports give, to the last digit, or say why not."""

import dataclasses
import json
import math
import random
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES, TIMED, values
from vitcost.costs.quantity import Terms
from vitcost.engine.polynomial import Polynomial, symbol, undominated
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.hardware import work
from vitcost.hardware.work_classes import setup_of
from vitcost.planner.grid import grid
from vitcost.planner.pareto import front
from vitcost.planner.report_formulas import Plan, formulas
from vitcost.planner.sweep import CHUNK
from vitcost.schemas import schema
from vitcost.zoo import resolve

Captured = pytest.CaptureFixture[str]
BASE = "vit_base_patch16_224"
EXACT = tuple(name for name in QUANTITIES if name not in TIMED)
STATES = ("params", "flops", "weights", "gradients", "optimizer_states", "saved_activations")


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of a structure are computed on arrays, however few there are."""
    monkeypatch.setattr("vitcost.planner.evaluate.DESCRIBED", 0)


def answer(capsys: Captured, *args: str) -> tuple[str, str]:
    assert run(["compare", *args]) == 0
    out, err = capsys.readouterr()
    return out, err


def refused(capsys: Captured, *args: str) -> str:
    """The one message of what cannot be computed."""
    assert run(["compare", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


def single(model: Any, row: dict[str, Any], fields: Any, **flags: Any) -> dict[str, Any]:
    """What a report says of one row of a sweep, under the keys of the row."""
    report = vitcost.report(model, **{name: row[name] for name in fields}, **flags)
    return {QUANTITIES[name].key(name): value for name, value in values(report).items()}


def agree(model: Any, vary: Any, most: int = 40, **flags: Any) -> list[dict[str, Any]]:
    """Every row of a sweep, or some of many, against reports; the rows that are left out too."""
    found = vitcost.sweep(model, vary=vary, quantities=EXACT, **flags)
    flags = {name: value for name, value in flags.items() if name not in ("sample", "seed")}
    rows = list(found.rows())
    for row in random.Random(0).sample(rows, min(most, len(rows))):
        report = single(model, row, [axis.name for axis in found.grid.axes], **flags)
        assert {key: row[key] for key in report if key in row} == {
            key: value for key, value in report.items() if key in row
        }, row
    return rows


# --- equal to single reports

SPACE = {
    "img_size": "96:256:+16",
    "patch_size": [8, 14, 16, (16, 8)],
    "embed_dim": "64:512:+64",
    "depth": "1:14:+1",
    "num_heads": [1, 2, 3, 4, 8],
    "mlp_ratio": [2.5, 4],
    "num_classes": [0, 1, 1000],
    "batch": [1, 2, 3, 64],
}


def test_rows_of_a_random_space_are_reports() -> None:
    rows = agree(BASE, SPACE, sample=4000, seed=1, most=150)
    assert len(rows) > 1000
    # what decides a structure is among them: one image, one head, no head, few layers and many
    assert {row["batch"] == 1 for row in rows} == {True, False}
    assert {row["num_heads"] == 1 for row in rows} == {True, False}
    assert {row["depth"] < 6 for row in rows} == {True, False}
    assert {row["num_classes"] == 0 for row in rows} == {True, False}


@pytest.mark.slow
def test_many_rows_are_reports() -> None:
    agree(BASE, SPACE, sample=4000, seed=2, most=500)


@pytest.mark.parametrize(
    ("model", "vary", "flags"),
    [
        (BASE, {"precision": ["fp32", "amp-bf16", "bf16"], "batch": [1, 8]}, {}),
        (BASE, {"checkpointing": ["none", "block", "every:4"], "depth": [4, 9, 12]}, {}),
        (BASE, {"attention": ["sdpa", "eager", "math"], "img_size": [224, 240]}, {"batch": 2}),
        (BASE, {"optimizer": ["sgd", "adamw-loop", "lion"], "embed_dim": [192, 384]}, {}),
        (BASE, {"lora": [0, 4], "freeze": ["none", "backbone"], "batch": [2]}, {}),
        (BASE, {"zero": [0, 1, 2], "depth": [3, 12]}, {"ranks": 8}),
        (BASE, {"platform": ["cuda", "cpu"], "batch": [1, 4]}, {"precision": "amp-bf16"}),
        (BASE, {"recipe": ["torch", "megatron-fp16"], "depth": [12, 24]}, {"mode": "train"}),
        (BASE, {"class_token": [True, False], "global_pool": ["token", "avg", "map"]}, {}),
        (BASE, {"representation_size": [None, 96], "reg_tokens": [0, 4]}, {"batch": 3}),
        (BASE, {"dynamic_img_pad": [True], "img_size": [224, 230]}, {"dynamic_img_size": True}),
        (BASE, {"mlp_layer": ["Mlp", "SwiGLU", "GluMlp"], "embed_dim": [96, 192]}, {}),
        (BASE, {"mlp_dim": [100, 3072], "swiglu_align_to": [0, 64]}, {}),
        ("deit_small_distilled_patch16_224", {"depth": "1:12:+3", "batch": [1, 5]}, {}),
        ("eva02_tiny_patch14_224", {"num_heads": [3, 6], "img_size": "224:252:+14"}, {}),
        ("vit_base_r26_s32_224", {"batch": [1, 2], "depth": [6, 12]}, {}),
        ("vit_so150m2_patch16_reg1_gap_256", {"embed_dim": [416, 832], "batch": [1, 2]}, {}),
        (
            BASE,
            {"num_kv_heads": [None, 4], "depth": [3, 9]},
            {"attn_layer": "rope", "qkv_fused": False},
        ),
        ("gpt2", {"batch": [1, 2, 8], "seq_len": [64, 128]}, {}),
        ("clip_vit_base_patch32", {"batch": [1, 2]}, {"precision": "fp16"}),
        ("vit_base_patch16_siglip_224", {"img_size": [224, 256], "batch": [1, 2]}, {}),
    ],
    ids=str,
)
def test_every_kind_of_field_varies(model: str, vary: Any, flags: dict[str, Any]) -> None:
    assert agree(model, vary, **flags)


configs = st.fixed_dictionaries(
    {
        "embed_dim": st.sampled_from([48, 96, 160]),
        "num_heads": st.sampled_from([1, 2, 4]),
        "depth": st.integers(1, 9),
        "patch_size": st.sampled_from([4, 8, (4, 8)]),
        "class_token": st.booleans(),
        "reg_tokens": st.integers(0, 2),
        "qkv_bias": st.booleans(),
        "qk_norm": st.booleans(),
        "init_values": st.sampled_from([None, 1e-5]),
        "global_pool": st.sampled_from(["avg", "map"]),
        "block_fn": st.sampled_from(["Block", "ResPostBlock", "ParallelScalingBlock"]),
        "num_classes": st.sampled_from([0, 10]),
        "attn_drop_rate": st.sampled_from([0.0, 0.1]),
        "pre_norm": st.booleans(),
    }
)


@settings(max_examples=15, deadline=None)
@given(fields=configs, precision=st.sampled_from(["fp32", "amp-bf16", "bf16"]))
def test_random_models_on_arrays(fields: dict[str, Any], precision: str) -> None:
    config = vitcost.ViTConfig(img_size=32, **fields)
    vary = {"batch": [1, 2, 5], "img_size": [32, 40], "depth": [2, 8], "embed_dim": [96, 192]}
    assert agree(config, vary, most=8, precision=precision)


@settings(max_examples=25, deadline=None)
@given(fields=configs, batch=st.integers(1, 4), mode=st.sampled_from(["infer", "train"]))
def test_formulas_are_the_report(fields: dict[str, Any], batch: int, mode: str) -> None:
    model = resolve(vitcost.ViTConfig(img_size=32, **fields))
    from vitcost.engine.model import sizes_of

    scenario = Scenario(batch=batch, mode=mode)
    sizes = {str(axis): size for axis, size in sizes_of(model.config, batch).items()}
    found = Plan(formulas(model, scenario, EXACT), {}).values(sizes)
    report = values(vitcost.report(model, batch=batch, mode=mode))
    assert found == {name: report[name] for name in EXACT}


# --- polynomials


def test_the_formula_of_a_block_is_the_textbooks() -> None:
    model = resolve(vitcost.ViTConfig(depth=12))
    (params,) = formulas(model, Scenario(), ["params"])["params"] or ()
    h = 768
    known = {"h": h, "m": 4 * h, "d": 64, "a": 12, "two_h": 2 * h, "q": 3 * h}
    left = params.put_in(known)
    # 12h² + 13h a block: Narayanan et al. 2021, arXiv 2104.04473, section 5.1
    assert left.terms[("L",)] == 12 * h * h + 13 * h


letters = st.sampled_from("Lbhs")
polynomials = st.dictionaries(
    st.lists(letters, max_size=3).map(lambda p: tuple(sorted(p))), st.integers(-9, 9), max_size=4
).map(Polynomial)
sizes = st.fixed_dictionaries(
    {"L": st.integers(6, 9), **{letter: st.integers(0, 5) for letter in "bhs"}}
)


def at(polynomial: Polynomial, numbers: dict[str, int]) -> int:
    return sum(
        n * math.prod(numbers[axis] for axis in product) for product, n in polynomial.terms.items()
    )


@given(one=polynomials, other=polynomials, numbers=sizes)
def test_polynomials_are_what_they_say(
    one: Polynomial, other: Polynomial, numbers: dict[str, int]
) -> None:
    x, y = at(one, numbers), at(other, numbers)
    assert at(one + other, numbers) == x + y
    assert at(one - other, numbers) == x - y
    assert at(3 - one, numbers) == 3 - x
    assert at(one * other, numbers) == x * y
    assert at((6 * one) // 3, numbers) == 2 * x
    assert at(one.put_in({"L": numbers["L"], "s": numbers["s"]}), numbers) == x
    assert (one == other) <= (x == y)


@given(of=st.lists(polynomials, min_size=1, max_size=6), numbers=sizes)
def test_what_is_pruned_is_never_the_largest(of: list[Polynomial], numbers: dict[str, int]) -> None:
    left = undominated(of, {"L": 6})
    assert max(at(each, numbers) for each in left) == max(at(each, numbers) for each in of)
    plan = Plan({"most": left}, {})
    assert plan.values(numbers) == {"most": max(at(each, numbers) for each in of)}
    assert abs(plan.values(numbers)["most"]) <= plan.bound(numbers)


def test_division_that_leaves_something_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="no multiple of 2"):
        (3 * symbol("h")) // 2


# --- integers of any size


def test_no_count_wraps() -> None:
    vary = {"batch": [1, 10**9], "depth": [12, 10**5], "img_size": [224, 16 * 10**4]}
    rows = agree(BASE, vary)
    assert max(row["train_flops"] for row in rows) > 2**63
    assert min(row["params"] for row in rows) > 0


def test_parquet_refuses_what_64_bits_do_not_hold(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "x.parquet"
    vary = ("--vary", "batch=1:1000000000:x10", "--vary", "depth=1000:100000:+900")
    said = refused(capsys, BASE, *vary, "--img-size", "3200", "-o", str(file))
    assert "larger than 64 bits hold" in said
    assert list(tmp_path.iterdir()) == []


def test_the_edge_of_64_bits() -> None:
    """FLOPs of a linear head alone grow by 2·h·K an image: up to either side of the edge."""
    flags: dict[str, Any] = {"embed_dim": 768, "num_classes": 10**6}
    one = vitcost.report(BASE, batch=2, **flags).flops.forward // 2
    edge = (2**63 - 1) // one
    batches = [b for b in (edge - 1, edge, edge + 1, 2 * edge, 10**9) if b <= 10**9]
    found = vitcost.sweep(BASE, vary={"batch": batches}, quantities=["flops"], **flags)
    assert [row["flops"] for row in found.rows()] == [one * b for b in batches]


# --- what cannot be


def test_what_cannot_be_is_counted_by_reason() -> None:
    vary = {"img_size": [224, 225], "patch_size": [16, 300], "num_heads": [12, 7]}
    found = vitcost.sweep(BASE, vary=vary, quantities=["params"])
    data = found.to_dict()
    assert [row["num_heads"] for row in data["rows"]] == [12]
    assert {each["reason"]: each["combinations"] for each in data["skipped"]} == {
        "embed_dim is not divisible by num_heads": 4,
        "img_size is smaller than patch_size": 2,
        "img_size is not divisible by patch_size": 1,
    }
    compared = vitcost.compare(BASE, vary=vary, quantities=["params"])
    assert compared.to_dict()["skipped"] == data["skipped"]
    Draft202012Validator(schema("compare")).validate(data)


def test_a_contradiction_is_counted_too() -> None:
    vary = {"recipe": ["torch", "megatron-fp16"], "precision": ["fp32", "fp16"]}
    found = vitcost.sweep(BASE, vary=vary, quantities=["params"]).extremes()
    assert (found.points, found.rows) == (4, 3)
    assert [each.combinations for each in found.skipped] == [1]
    assert "contradicts recipe" in found.skipped[0].reason


HUGE = ("--vary", "depth=1:100000:+1", "--vary", "batch=1:1000000:+1",
        "--vary", "num_classes=1:10000:+1")  # fmt: skip


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--vary", "depth=1:0:+0"), "depth must be between 1 and 100,000, got 0"),
        (("--vary", "depth=3:2:+1"), "3 is above 2"),
        (("--vary", "depth=1:9:+0"), "the step must be at least +1"),
        (("--vary", "batch=1:9:x1"), "the factor must be at least x2"),
        (("--vary", "batch=1:9"), "a range is LOW:HIGH:+STEP or LOW:HIGH:xFACTOR"),
        (("--vary", "depth=-3:9:+1"), "a range is LOW:HIGH:+STEP or LOW:HIGH:xFACTOR"),
        (("--vary", "dpth=12"), "unknown field 'dpth'; did you mean depth?"),
        (("--vary", "depth"), "what varies is FIELD=VALUES"),
        (("--vary", "depth="), "depth must be an integer, got ''"),
        (("--vary", "depth=nan"), "depth must be an integer, got 'nan'"),
        (("--vary", "mlp_ratio=nan"), "mlp_ratio must be above 0 and at most 1,000,000, got nan"),
        (("--vary", "batch=-1"), "batch must be between 1 and 1,000,000,000, got -1"),
        (("--vary", "precision=fp33"), "unknown precision 'fp33'; did you mean fp32?"),
        (("--vary", "depth=1,2", "--vary", "depth=3"), "depth varies twice"),
        (("--vary", "depth=1,2", "--depth", "3"), "depth varies, and is also given"),
        (("--vary", "mlp_dim=1,2", "--vary", "mlp_ratio=3"), "each decides the other"),
        (("--vary", "num_heads=7,11"), "no combination is valid: embed_dim is not divisible by"),
        (("--vary", "seq_len=7"), "unknown field 'seq_len'"),
        (HUGE, "a grid of 1,000,000,000,000,000 points is too large"),
        ((*HUGE, "--sample", "0"), "sample must be between 1 and 1,000,000,000, got 0"),
        ((*HUGE, "--sample", "2000000000"), "sample must be between 1 and 1,000,000,000"),
        (("--vary", "batch=1,2", "--seed", "5"), "--seed needs --sample"),
        (("--vary", "batch=1:200000:+1", "--plot", "x.png"), "write Parquet (-o FILE.parquet)"),
        (("--sample", "5"), "--sample needs --vary, from whose combinations it draws"),
        (("--vary", "batch=1:200000:+1", "--json"), "write Parquet (-o FILE.parquet)"),
        (
            ("--vary", "batch=1:2000:+1", "-g", "t4", "--anchor", f"{BASE}=900"),
            "an anchor was measured at one batch",
        ),
        (("--vary", "batch=1:2000:+1", "--why"), "--why explains up to 1,000 combinations"),
        (("--vary", "batch=1,2", "--format", "parquet"), "-o FILE.parquet"),
        (("--vary", "batch=1,2", "--plot", "x.bmp"), "a plot is a .png, a .svg or a .pdf"),
        (("--vary", "batch=1,2", "--pareto", "params"), "a Pareto front is over two quantities"),
        (("--vary", "batch=1,2", "--pareto", "params,flop"), "did you mean flops, flops_executed?"),
    ],
    ids=str,
)
def test_one_message(args: tuple[str, ...], said: str, capsys: Captured) -> None:
    assert said in refused(capsys, BASE, *args)


def test_contradictions_in_python() -> None:
    with pytest.raises(ConfigError, match="vary"):
        vitcost.sweep(BASE, vary={})
    with pytest.raises(ConfigError, match="has no values"):
        vitcost.sweep(BASE, vary={"depth": []})
    with pytest.raises(ConfigError, match="more than the 1,000"):
        vitcost.compare(BASE, vary={"batch": range(1, 2000)})
    with pytest.raises(UnknownName, match="did you mean vit_base_patch16_224"):
        vitcost.sweep("vit_bse_patch16_224", vary={"depth": [1]})
    with pytest.raises(NotCovered, match="one by one"):
        vitcost.sweep(BASE, vary={"batch": range(1, 200_000)}, zero=1, ranks=8)


def test_what_ranks_cannot_divide_is_counted_beside_what_they_can() -> None:
    # fully_shard takes no scalar parameter, which CLIP's temperature is
    found = vitcost.sweep(
        "clip_vit_base_patch16", vary={"zero": [0, 3], "batch": [2, 4]}, ranks=4,
        quantities=["params", "train_memory"],
    )  # fmt: skip
    (skipped,) = found.extremes().skipped
    assert (skipped.combinations, "scalar" in skipped.reason) == (2, True)
    assert [(row["zero"], row["batch"]) for row in found.rows()] == [(0, 2), (0, 4)]
    with pytest.raises(ConfigError, match="must be an integer"):
        vitcost.sweep(BASE, vary={"depth": [1.5]})


# --- ranges


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("depth=12:48:+12", [12, 24, 36, 48]),
        ("depth=12:47:+12", [12, 24, 36]),
        ("batch=1:512:x2", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
        ("batch=3:20:x3", [3, 9]),
        ("batch=5,1:3:+1,5", [5, 1, 2, 3]),
        ("img-size=224,256x192", [(224, 224), (256, 192)]),
        ("img_size=96:128:+16", [(96, 96), (112, 112), (128, 128)]),
        ("checkpointing=none,every:4", ["none", "every:4"]),
        ("init_values=none,0.1", [None, 0.1]),
        ("compile=true,false", [True, False]),
    ],
)
def test_values_as_they_are_spelled(text: str, wanted: list[Any]) -> None:
    (axis,) = grid([text]).axes
    assert [axis.value(i) for i in range(len(axis.values))] == wanted


def test_the_last_field_changes_first() -> None:
    rows = list(vitcost.sweep(BASE, vary={"depth": [1, 2], "batch": np.arange(1, 4)}).rows())
    assert [(row["depth"], row["batch"]) for row in rows] == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip


def test_a_draw_is_its_seed() -> None:
    def drawn(seed: int) -> list[dict[str, Any]]:
        found = vitcost.sweep(
            BASE, vary={"batch": "1:1000000:+1"}, quantities=["flops"], sample=20, seed=seed
        )
        return list(found.rows())

    assert len(drawn(0)) == 20
    assert drawn(0) == drawn(0) != drawn(1)


# --- fronts and ends


def test_the_front_is_what_nothing_beats() -> None:
    draw = random.Random(3)
    points = [(draw.randrange(9), draw.randrange(9)) for _ in range(60)]
    beaten = {
        i
        for i, (x, y) in enumerate(points)
        if any(u <= x and v <= y and (u, v) != (x, y) for u, v in points)
    }
    assert front(points) == set(range(60)) - beaten


def test_the_front_of_a_sweep_is_that_of_all_its_rows() -> None:
    vary = {"embed_dim": "64:768:+64", "depth": "1:30:+1", "patch_size": [16, 32], "num_heads": [4]}
    pair = ("params", "flops")
    found = vitcost.sweep(BASE, vary=vary, quantities=pair, pareto=pair)
    rows = list(found.rows())
    best = front((row["params"], row["flops"]) for row in rows)
    ends = found.extremes()
    assert [i for i, row in enumerate(rows) if row.pop("pareto")] == sorted(best)
    assert sorted(map(str, ends.front)) == sorted(str(rows[i]) for i in best)
    assert ends.least["params"]["params"] == min(row["params"] for row in rows)
    assert ends.most["flops"]["flops"] == max(row["flops"] for row in rows)
    assert ends.rows == len(rows) == ends.points


def test_what_varies_is_told_apart_in_the_differences() -> None:
    (why,) = vitcost.compare(BASE, vary={"depth": [12, 13]}, why=True).why()
    assert (why.model, why.against) == (f"{BASE} (depth 13)", f"{BASE} (depth 12)")
    more = {each.layer: each.more for each in why.changed if each.number == "params"}
    # a block more: 12h² + 13h
    assert more["blocks.*"] == 12 * 768 * 768 + 13 * 768


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    found = vitcost.sweep(BASE, vary={"batch": range(1, 2 * CHUNK)}, quantities=["flops"])
    found = dataclasses.replace(found, progress=lambda *step: told.append(step))
    found.write_parquet(str(tmp_path / "x.parquet"))
    last = 2 * CHUNK - 1
    assert told == [(CHUNK, last, "combinations"), (last, last, "combinations")]


# --- formats


def test_every_format_of_a_large_grid(tmp_path: Path, capsys: Captured) -> None:
    args = (BASE, "--vary", "batch=1:2000:+1", "--quantities", "params,flops")
    rows = json.loads(answer(capsys, *args, "--json")[0])["rows"]
    assert len(rows) == 2000
    assert rows[1999]["flops"] == vitcost.report(BASE, batch=2000).flops.forward
    lines = answer(capsys, *args, "--format", "csv")[0].splitlines()
    assert lines[0] == "model,batch,params,flops"
    assert lines[2000] == f"{BASE},2000,86567656,{rows[1999]['flops']}"
    for name in ("table", "markdown", "html"):
        out, _ = answer(capsys, *args, "--format", name)
        assert "2,000 of 2,000 combinations are valid" in out
        assert "86,567,656" in out


def test_parquet_is_read_back(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "grid.parquet"
    args = ("--vary", "img_size=224,225,240x224", "--vary", "batch=1:600:+1",
            "--vary", "precision=fp32,bf16")  # fmt: skip
    out, err = answer(capsys, BASE, "vit_tiny_patch16_224", *args, "-o", str(file))
    assert out == ""
    assert err == "left out, 2,400: img_size is not divisible by patch_size\n"
    table = pq.read_table(file)
    assert table.num_rows == 2 * 2 * 600 * 2
    rows = table.to_pylist()
    assert {row["img_size"] for row in rows} == {"224x224", "240x224"}
    for row in random.Random(0).sample(rows, 12):
        size = tuple(int(side) for side in row["img_size"].split("x"))
        report = single(row["model"], {**row, "img_size": size}, ["img_size", "batch", "precision"])
        assert {key: report[key] for key in row if key in report} == {
            key: value for key, value in row.items() if key in report
        }
    # a small comparison has its relative numbers there too
    answer(capsys, BASE, "--vary", "batch=1,2", "-o", str(file))
    assert pq.read_table(file).column("relative_flops").to_pylist() == [1.0, 2.0]


def test_models_and_text_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "text.parquet"
    found = vitcost.sweep("gpt2", vary={"batch": [1, 2], "seq_len": [64, 128]})
    assert found.write_parquet(str(file)) == ()
    table = pq.read_table(file)
    assert table.column("seq_len").to_pylist() == [64, 128, 64, 128]
    peaks = [
        vitcost.report("gpt2", batch=batch, seq_len=length).training.peak_bytes
        for batch in (1, 2)
        for length in (64, 128)
    ]
    assert table.column("train_memory_bytes").to_pylist() == peaks


def test_the_front_is_marked(capsys: Captured) -> None:
    vary = ("--vary", "img_size=224,384", "--vary", "patch_size=16,32")
    out, _ = answer(capsys, BASE, *vary, "--pareto", "params,flops")
    # a larger image has more positions and more FLOPs; larger patches trade one for the other
    marked = [line[-1] == "◂" for line in out.splitlines() if line.startswith(f"{BASE} ")]
    assert marked == [True, True, False, False]
    rows = json.loads(answer(capsys, BASE, *vary, "--pareto", "params,flops", "--json")[0])["rows"]
    assert [row["pareto"] for row in rows] == [True, True, False, False]


def test_the_front_is_marked_in_every_flat_format(tmp_path: Path, capsys: Captured) -> None:
    """Of a grid of any size: a row is marked where no row is less in one and no more in the other,
    in each pair of rows."""
    args = (BASE, "--vary", "img_size=64:640:+64", "--vary", "patch_size=16,32",
            "--vary", "batch=1:64:+1", "--quantities", "params,flops", "--pareto", "params,flops",
            )  # fmt: skip
    rows = json.loads(answer(capsys, *args, "--json")[0])["rows"]
    assert len(rows) == 10 * 2 * 64 > 1000
    pairs = [(row["params"], row["flops"]) for row in rows]
    beaten = [any(u <= x and v <= y and (u, v) != (x, y) for u, v in pairs) for x, y in pairs]
    assert [row["pareto"] for row in rows] == [not each for each in beaten]
    assert 1 < beaten.count(False) < len(rows)
    header, *lines = answer(capsys, *args, "--format", "csv")[0].splitlines()
    assert header.endswith(",pareto")
    assert [line.endswith(",true") for line in lines] == [row["pareto"] for row in rows]
    file = tmp_path / "x.parquet"
    answer(capsys, *args, "-o", str(file))
    assert pq.read_table(file)["pareto"].to_pylist() == [row["pareto"] for row in rows]
    # a draw too
    drawn = json.loads(answer(capsys, *args, "--sample", "50", "--json")[0])["rows"]
    assert len(drawn) == 50
    assert any(row["pareto"] for row in drawn)


def test_few_rows_of_a_structure_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows as on arrays, in the same order, and as many that cannot be."""
    vary = {"reg_tokens": [0, 1, 4], "batch": range(1, 16), "patch_size": [15, 16, 32]}
    names = ("params", "train_memory", "flops_executed")
    for more in ({}, {"checkpointing": "every:2"}):
        grids = []
        for few in (0, 12, 1000):
            monkeypatch.setattr("vitcost.planner.evaluate.DESCRIBED", few)
            found = vitcost.sweep(BASE, vary=vary, quantities=names, **more)
            grids.append((list(found.rows()), found.extremes().skipped))
        assert grids[0] == grids[1] == grids[2]
        assert len(grids[0][0]) == 3 * 15 * 2


@pytest.mark.parametrize(
    ("args", "reports"),
    [
        # a structure each, or twelve reports for one that many rows have
        (("reg_tokens=0:1000:+1",), "1,001"),
        (("reg_tokens=0:99:+1", "batch=1:99:+1"), "1,200"),
        # where layers are counted off, a depth is a structure
        (("depth=1:2000:+1", "checkpointing=every:2"), "2,000"),
        (("depth=1:2000:+1", "freeze=first:1"), "2,000"),
        (("zero=1,2", "ranks=2:1000:+1"), "1,998"),
    ],
    ids=str,
)
def test_an_answer_that_somebody_waits_for(
    args: tuple[str, ...], reports: str, tmp_path: Path, capsys: Captured
) -> None:
    vary = [word for each in args for word in ("--vary", each)]
    for how in ((), ("--json",), ("--format", "csv"), ("-o", str(tmp_path / "x.html"))):
        said = refused(capsys, BASE, *vary, *how)
        assert f"take as long as {reports} reports, and 1,000 are the most" in said
    assert list(tmp_path.iterdir()) == []


# --- times

TIMES = ("step_time", "images_per_second", "latency", "cost_per_million_images", "gpu_hours")


def timed(model: str, vary: Any, most: int, **flags: Any) -> list[dict[str, Any]]:
    """Some rows of a timed sweep, against a report: every float is the same to its last bit."""
    found = vitcost.sweep(
        model, vary=vary, quantities=TIMES, price=2.5, samples="1.28M", epochs=3, **flags
    )
    rows = list(found.rows())
    for row in random.Random(1).sample(rows, min(most, len(rows))):
        names = [axis.name for axis in found.grid.axes]
        kept = {k: v for k, v in flags.items() if k not in ("sample", "seed")}
        report = vitcost.report(model, **{**kept, **{name: row[name] for name in names}})
        (time,) = report.time
        terms = Terms({time.gpu: 2.5}, 3_840_000)
        assert [row[QUANTITIES[name].key(name)] for name in TIMES] == list(
            values(report, TIMES, terms).values()
        ), row
        told = {"gpu": time.gpu, "mode": time.mode, "basis": time.basis, "seconds": time.seconds}
        told |= {"low_seconds": time.low_seconds, "high_seconds": time.high_seconds}
        assert {key: row[f"step_time_{key}"] for key in told} == told
    return rows


@pytest.mark.parametrize(
    ("model", "vary", "flags"),
    [
        # sizes of a transformer, one image and many, below and above the batches that were timed
        (BASE, {"gpu": ["h100-sxm", "rtx3090"], **SPACE}, {"sample": 3000, "mode": "train"}),
        (
            "eva02_base_patch14_224",
            {"batch": "1:300:+1", "precision": ["amp-bf16", "bf16"]},
            {"gpu": "rtx4090", "compile": True},
        ),
        ("vit_base_r50_s16_224", {"batch": "1:64:+1"}, {"gpu": "a100-sxm-40gb", "mode": "train"}),
        ("gpt2", {"batch": [1, 2, 3, 700]}, {"gpu": "l4", "mode": "train"}),
        ("clip_vit_base_patch32", {"batch": [1, 2, 9]}, {"gpu": "t4", "precision": "fp16"}),
        (BASE, {"batch": "1:40:+1"}, {"gpu": "h100-sxm", "ema": 1, "checkpointing": "block"}),
        (BASE, {"batch": [1, 2, 4]}, {"gpu": "a100-sxm-80gb", "software": "tensorrt"}),
        (BASE, {"batch": [1, 2]}, {"gpu": "cpu-i9_10940x", "compile": True}),
        # FLOPs and bytes that 64 bits do not hold
        (BASE, {"batch": [2, 10**6, 10**9], "depth": [12, 2000]}, {"gpu": "l4", "mode": "train"}),
    ],
    ids=str,
)
def test_times_of_arrays_are_those_of_reports(model: str, vary: Any, flags: Any) -> None:
    assert timed(model, vary, 40, **flags)


def test_a_comparison_over_a_grid_is_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """On arrays and by a report each: the same JSON."""
    vary = {"batch": "1:40:+1", "patch_size": [15, 16], "gpu": ["l4", "h100-sxm"]}
    asked: dict[str, Any] = {"vary": vary, "mode": "train", "pareto": ["step_time", "params"]}
    found = []
    for few in (0, 10**9):
        monkeypatch.setattr("vitcost.planner.gridded._FEW", few)
        found.append(vitcost.compare(BASE, **asked).to_dict())
    assert found[0] == found[1]
    assert len(found[0]["rows"]) == 80
    assert found[0]["skipped"] == [
        {"reason": "img_size is not divisible by patch_size", "combinations": 80}
    ]


def test_the_work_of_a_structure_is_added_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches there are, each kernel is computed for the first, for the largest
    and once for all."""
    own, calls, counted = work._work, 0, []

    def count(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return own(*args)

    monkeypatch.setattr(work, "_work", count)
    for most in (100, 3000):
        calls = 0
        vary = {"batch": range(2, most)}
        found = vitcost.sweep(BASE, vary=vary, quantities=["step_time"], gpu="l4")
        assert sum(1 for _ in found.rows()) == most - 2
        counted.append(calls)
    scenario = Scenario(batch=2)
    kernels = work.steps(workload(resolve(BASE).config, scenario).kernels(), setup_of(scenario))
    assert counted == [3 * len(kernels), 3 * len(kernels)]


def test_times_in_every_form(tmp_path: Path, capsys: Captured) -> None:
    args = (
        BASE,
        "--vary",
        "batch=1:1500:+1",
        "-g",
        "l4",
        "--quantities",
        "params,images_per_second",
    )
    rows = json.loads(answer(capsys, *args, "--json")[0])["rows"]
    Draft202012Validator(schema("compare")).validate({"schema": "vitcost.compare/1", "rows": rows})
    file = tmp_path / "x.parquet"
    answer(capsys, *args, "-o", str(file))
    assert pq.read_table(file).to_pylist() == rows
    text = answer(capsys, *args)[0]
    assert "l4 infer, of_its_kind" in text
    assert "step_time_" not in text


# --- doors


def without(package: str, *args: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{package!r}] = None\n"
    code += f"from vitcost.cli import run; sys.exit(run(['compare', *{list(args)!r}]))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("package", "extra", "args"),
    [
        ("numpy", "sweep", ("--vary", "batch=1:2000:+1")),
        ("pyarrow", "sweep", ("--vary", "batch=1,2", "-o", "x.parquet")),
        ("matplotlib.figure", "plot", ("--vary", "batch=1,2", "--plot", "x.png")),
    ],
)
def test_a_missing_extra_is_named(package: str, extra: str, args: tuple[str, ...]) -> None:
    done = without(package, BASE, *args)
    assert done.returncode == 2
    assert f"pip install 'vitcost[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_small_grid_needs_no_numpy() -> None:
    done = without("numpy", BASE, "--vary", "batch=1,2")
    assert done.returncode == 0
    assert done.stdout.count(f"\n{BASE} ") == 2


def test_memory_does_not_grow_with_the_grid() -> None:
    """A chunk is computed, given and forgotten: none of the arrays of the last one are left."""
    found = vitcost.sweep(BASE, vary={"batch": "1:1000000:+1"}, quantities=STATES)
    before: list[weakref.ref[Any]] = []
    sizes = set()
    for _, chunk in zip(range(4), found.chunks(), strict=False):
        assert [each() for each in before] == [None] * len(before)
        columns = (*chunk.varied.values(), *chunk.quantities.values())
        before = [weakref.ref(each) for each in columns]
        sizes.add(chunk.rows)
        del chunk, columns
    assert len(before) == 1 + len(STATES)
    assert sizes == {CHUNK}


@pytest.mark.slow
def test_the_measuring_script_measures_every_case() -> None:
    script = Path(__file__).parent / "bench" / "sweep_rate.py"
    command = [sys.executable, str(script), "40000"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # 36,000 combinations of all fields but the batch, and a tenth is no smaller
    assert re.findall(r"saved +([\d,]+) +\d", out) == ["36,000", "36,000"]
    assert re.findall(r"step on a card +([\d,]+) +\d", out) == ["36,000"]
    assert out.splitlines()[-1] == "1,000 of 1,000 drawn rows equal single reports"
