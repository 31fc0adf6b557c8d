"""compare: models side by side, each number relative to the least, and the layers that differ."""

import csv
import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import vitcost
from vitcost.cli import run
from vitcost.costs.quantities import QUANTITIES, TIMED
from vitcost.costs.quantity import Terms
from vitcost.errors import ConfigError, UnknownName
from vitcost.page import shown
from vitcost.render import render
from vitcost.units import common, scaled

Captured = pytest.CaptureFixture[str]
BASE, LARGE, COARSE = "vit_base_patch16_224", "vit_large_patch16_224", "vit_base_patch32_224"


def answer(capsys: Captured, *args: str) -> str:
    assert run(["compare", *args]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: Captured, *args: str) -> str:
    """The one message of what cannot be compared."""
    assert run(["compare", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()[-1]


def data(capsys: Captured, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(capsys, *args, "--json"))
    return found


# --- side by side


def test_the_least_is_one(capsys: Captured) -> None:
    found = data(capsys, BASE, LARGE, COARSE)
    assert found["schema"] == "vitcost.compare/1"
    rows = {row["model"]: row for row in found["rows"]}
    # published: ViT-B/16, ViT-L/16 and ViT-B/32 with 1000 classes, as timm has them
    assert [rows[name]["params"] for name in (BASE, LARGE, COARSE)] == [
        86_567_656,
        304_326_632,
        88_224_232,
    ]
    assert rows[BASE]["relative_params"] == 1
    assert rows[LARGE]["relative_params"] == 304_326_632 / 86_567_656
    assert rows[COARSE]["relative_flops"] == 1
    assert rows[BASE]["relative_flops"] == rows[BASE]["flops"] / rows[COARSE]["flops"]


def test_every_number_is_the_reports(capsys: Captured) -> None:
    flags = ("--batch", "4", "--precision", "amp-bf16", "--num-classes", "5")
    exact = [name for name in QUANTITIES if name not in TIMED]
    row = data(capsys, BASE, *flags, "--quantities", ",".join(exact))["rows"][0]
    report = vitcost.report(BASE, batch=4, precision="amp-bf16", num_classes=5)
    assert row["params"] == report.params
    assert row["macs"] == report.flops.macs_forward
    assert row["train_flops_executed"] == report.flops.train_step_executed
    assert row["bytes_moved"] == report.moved_bytes
    assert row["inference_memory_bytes"] == report.inference.total_bytes
    assert row["saved_activations_bytes"] == report.training.saved_activations_bytes
    assert row["train_memory_bytes"] == report.training.peak_bytes
    assert row["torchsummary_params"] == report.torchsummary_params


def test_names_files_configs_and_reports(tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(vitcost.report(LARGE, batch=2).to_dict()), encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(
        "img_size = 32\npatch_size = 16\nembed_dim = 64\ndepth = 2\nnum_heads = 2\n",
        encoding="utf-8",
    )
    config = vitcost.ViTConfig(embed_dim=192, num_heads=3)
    reported = vitcost.report(COARSE)
    found = vitcost.compare(str(saved), str(own), BASE, config, reported, "vitamin_small_224")
    assert [each.model for each in found.compared][:3] == [LARGE, str(own), BASE]
    params = [row["params"] for row in found.rows()]
    assert params[0] == 304_326_632
    assert params[2] == 86_567_656
    assert params[4] == reported.params == 88_224_232
    assert next(iter(found.rows()))["flops"] == vitcost.report(LARGE, batch=2).flops.forward
    step = vitcost.report("vitamin_small_224").training
    assert list(found.rows())[5]["train_memory_bytes"] == step.peak_bytes
    # a step of a recipe has no exact peak, and its bound is compared
    how = {"recipe": "megatron-bf16"}
    step = vitcost.report(BASE, **how).training
    assert step.peak_is == "bounded"
    (row,) = vitcost.compare(BASE, **how).rows()
    assert row["train_memory_bytes"] == step.peak_bytes


# --- why


def layers_of(h: int, depth: int) -> dict[str, int]:
    """Parameters of the plain ViT by layer, as the paper has them: width, depth, 16x16 patches."""
    return {
        "patch_embed": 3 * 16 * 16 * h + h,
        "cls_token": h,
        "pos_embed": 197 * h,
        "blocks.*": depth * (12 * h * h + 13 * h),
        "blocks.*.attn": depth * (4 * h * h + 4 * h),
        "blocks.*.mlp": depth * (8 * h * h + 5 * h),
        "norm": 2 * h,
        "head": 1000 * h + 1000,
    }


def test_the_layers_that_make_the_difference() -> None:
    (why,) = vitcost.compare(BASE, LARGE, why=True).why()
    assert (why.model, why.against) == (LARGE, BASE)
    more = {each.layer: each.more for each in why.changed if each.number == "params"}
    base, large = layers_of(768, 12), layers_of(1024, 24)
    assert {layer: more[layer] for layer in base} == {
        layer: large[layer] - base[layer] for layer in base
    }


@pytest.mark.parametrize("flags", [{}, {"precision": "amp-bf16"}, {"checkpointing": "every:5"}])
def test_the_differences_add_up(flags: dict[str, Any]) -> None:
    found = vitcost.compare(BASE, COARSE, LARGE, why=True, batch=2, **flags)
    first, *others = found.compared
    for each, why in zip(others, found.why(), strict=True):
        top = [c for c in why.changed if c.layer.count(".") == c.layer.startswith("blocks")]
        for number, name in (
            ("params", "params"),
            ("flops", "flops"),
            ("saved_bytes", "saved_activations"),
        ):
            more = each.quantities[name] - first.quantities[name]  # type: ignore[operator]
            assert sum(c.more for c in top if c.number == number) == more


def test_equal_models_differ_in_nothing(capsys: Captured) -> None:
    found = data(capsys, BASE, BASE, "--why")
    assert found["why"] == [{"model": BASE, "against": BASE, "changed": []}]
    assert "no layer differs" in answer(capsys, BASE, BASE, "--why")


# --- what people read


def test_a_page_says_which_flags_all_rows_have(capsys: Captured) -> None:
    args = (
        BASE,
        LARGE,
        "--batch",
        "8",
        "--precision",
        "bf16",
        "--img-size",
        "256x192",
        "--compile",
    )
    lines = answer(capsys, *args, "-g", "l4").splitlines()
    assert lines[1] == "with batch 8, precision bf16, compile, gpu l4, img size 256x192"
    assert not answer(capsys, BASE, LARGE).splitlines()[1]


def test_how_far_a_comparison_is_can_be_asked() -> None:
    told: list[tuple[int, int, str]] = []
    vitcost.compare(
        "vit_tiny_patch16_224",
        vary={"depth": [1, 2], "patch_size": [15, 16]},
        progress=lambda *each: told.append(each),
    )
    # two of the four cannot be, and are done too
    assert told == [(i, 4, "combinations") for i in range(1, 5)]


def test_a_table_in_a_pipe_is_whole(capsys: Captured) -> None:
    first, gap, *lines = answer(capsys, BASE, LARGE).splitlines()
    assert (first.partition(":")[0], gap) == ("2 models side by side", "")
    assert lines[0].split() == [
        "model", "params", "×", "GFLOPs", "×", "infer", "GiB", "×", "train", "GiB", "×",
    ]  # fmt: skip
    assert lines[2].split()[:3] == [BASE, "86,567,656", "1.00"]
    assert lines[3].split()[:3] == [LARGE, "304,326,632", "3.52"]


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "html"])
def test_every_format(format: str, capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / f"out.{format}"
    assert answer(capsys, BASE, LARGE, "--format", format, "-o", str(file)) == ""
    text = file.read_text(encoding="utf-8")
    assert BASE.replace("_", "") in text.replace("\\", "").replace("_", "")
    assert "304326632" in text.replace(",", "")


@pytest.mark.parametrize(
    "names",
    [("params", "macs"), ("macs", "params"), ("tokens",), ("train_flops", "flops", "weights"),
     ("step_time", "gradients"), tuple(reversed(QUANTITIES))],
    ids=",".join,
)  # fmt: skip
def test_what_is_named_is_shown_in_that_order(names: tuple[str, ...], capsys: Captured) -> None:
    card = ("-g", "l4") if "step_time" in names else ()
    card += ("--price", "0.8", "--samples", "1M") if "cost" in names else ()
    terms = Terms({"l4": 0.8}, 10**6)
    # spelled with dashes they are the same quantities
    args = (BASE, LARGE, "--quantities", ",".join(names).replace("_", "-"), *card)
    keys = [QUANTITIES[name].key(name) for name in names]
    for row in data(capsys, *args)["rows"]:
        assert [key for key in row if key in keys] == keys
    header = next(csv.reader(io.StringIO(answer(capsys, *args, "--format", "csv"))))
    assert [key for key in header if key in keys] == keys
    report = vitcost.report(LARGE, gpu="l4" if card else ())
    lines = answer(capsys, *args, "--format", "markdown").splitlines()
    row = next(line for line in lines if line.startswith(f"| {LARGE} "))
    cells = [cell.strip() for cell in row.strip("|").split("|")][1::2]
    base = vitcost.report(BASE, gpu="l4" if card else ())
    for name, said in zip(names, cells, strict=False):
        unit, value = QUANTITIES[name].unit, QUANTITIES[name].read(report, terms)
        assert value is not None
        # both models are shown in one unit, which stands in the header
        scale = common([value, QUANTITIES[name].read(base, terms) or 0], unit)
        assert said == (shown(value, unit) if scale is None else scaled(value, scale))
    titles = next(
        line.split() for line in answer(capsys, *args).splitlines() if line.startswith("model ")
    )
    assert titles.count("×") == len(names)


# --- what cannot be


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "no MODEL given"),
        ((BASE, "--quantities", "params", "--plot", "x.png"), "params alone is named"),
        (("vit_bse_patch16_224",), "did you mean vit_base_patch16_224"),
        ((BASE, "--quantities", "parms"), "unknown quantity 'parms'; did you mean params"),
        ((BASE, "--quantities", ""), "unknown quantity ''"),
        ((BASE, "--num-heads", "7"), "embed_dim 768 is not divisible by num_heads 7"),
    ],
)
def test_one_message(args: tuple[str, ...], said: str, capsys: Captured) -> None:
    assert said in refused(capsys, *args)


def test_a_saved_report_is_what_it_is(tmp_path: Path, capsys: Captured) -> None:
    saved = tmp_path / "saved.json"
    whole = vitcost.report(BASE).to_dict()
    saved.write_text(json.dumps(whole), encoding="utf-8")
    assert "is a finished report, which batch cannot change" in refused(
        capsys, str(saved), "--batch", "2"
    )
    with pytest.raises(ConfigError, match="which depth cannot change"):
        vitcost.compare(vitcost.report(BASE), depth=3)
    # beside a model the flags are of that one, and the page says so
    rows = data(capsys, str(saved), BASE, "--batch", "2", "--depth", "13")["rows"]
    today = vitcost.report(BASE, batch=2, depth=13)
    assert [row["params"] for row in rows] == [whole["params"]["total"], today.params]
    assert [row["flops"] for row in rows] == [whole["flops"]["forward"], today.flops.forward]
    # two rows of one name are told apart by the file
    assert [row["model"] for row in rows] == [f"{BASE} ({saved})", BASE]
    note = f"flags do not apply to saved reports: {BASE} ({saved})"
    assert note in answer(capsys, str(saved), BASE, "--batch", "2")
    assert "saved reports" not in answer(capsys, str(saved), BASE)
    for broken in (
        {"schema": "vitcost.report/1"},
        {**whole, "layers": [{}]},
        {**whole, "flops": 3},
    ):
        saved.write_text(json.dumps(broken), encoding="utf-8")
        assert "not a report in schema vitcost.report/1" in refused(capsys, str(saved))
    saved.write_text(json.dumps({**whole, "params": {"total": "many"}}), encoding="utf-8")
    assert "not a report" in refused(capsys, str(saved))


def test_nothing_to_compare() -> None:
    with pytest.raises(ConfigError, match="no model"):
        vitcost.compare()
    with pytest.raises(UnknownName, match="flops"):
        vitcost.compare(BASE, quantities=["flop"])


def test_a_time_says_of_which_card_it_is_and_what_it_rests_on() -> None:
    cards = ["rtx4090", "l4"]
    flags = {"batch": 64, "precision": "amp-bf16"}
    times = {t.gpu: t for t in vitcost.report("vit_base_patch16_224", gpu=cards, **flags).time}
    slow = times["l4"]
    assert slow.seconds > times["rtx4090"].seconds
    found = vitcost.compare("vit_base_patch16_224", gpu=cards, **flags)
    # a row a card, as it is alone
    fast, row = found.rows()
    alone = [next(vitcost.compare(BASE, gpu=gpu, **flags).rows()) for gpu in cards]
    own = [{k: v for k, v in each.items() if "relative" not in k} for each in (fast, row)]
    assert own == [
        {"gpu": gpu, **{k: v for k, v in each.items() if "relative" not in k}}
        for gpu, each in zip(cards, alone, strict=True)
    ]
    assert (fast["relative_step_time"], fast["gpu"]) == (1.0, "rtx4090")
    assert list(vitcost.compare(BASE, vary={"gpu": cards}, **flags).rows()) == [fast, row]
    # a finished report has its cards already: the slowest of them
    finished = vitcost.report(BASE, gpu=cards, **flags)
    (told_of,) = vitcost.compare(finished, quantities=["step_time"]).rows()
    assert told_of["step_time_gpu"] == "l4"
    told = {key: row[f"step_time_{key}"] for key in ("gpu", "mode", "basis", "seconds")}
    assert told == {"gpu": "l4", "mode": "infer", "basis": "of_its_kind", "seconds": slow.seconds}
    assert (row["step_time_low_seconds"], row["step_time_high_seconds"]) == (
        slow.low_seconds,
        slow.high_seconds,
    )
    assert "l4 infer, of_its_kind -40% +70%" in render(found, "markdown").replace("\\", "")
    # where no card is asked for, nothing is said of one
    assert not [
        key for key in next(vitcost.compare("vit_base_patch16_224").rows()) if "time" in key
    ]


def test_a_card_that_cannot_is_left_out_and_an_unknown_one_is_refused() -> None:
    flags = {"precision": "amp-bf16", "quantities": ["step_time"]}
    found = vitcost.compare(BASE, vary=["gpu=l4,t4", "batch=8,16"], **flags)
    assert [(row["gpu"], row["batch"]) for row in found.rows()] == [("l4", 8), ("l4", 16)]
    assert found.skipped == (("no source states a bf16 peak of t4", 2),)
    with pytest.raises(UnknownName, match="did you mean t4"):
        vitcost.compare(BASE, vary={"gpu": ["l4", "t44"]})
    with pytest.raises(ConfigError, match="gpu varies, and is also given"):
        vitcost.compare(BASE, vary="gpu=l4", gpu="t4")


def test_a_row_of_many_cards_costs_one_time_and_a_batch_one_report(tmp_path: Path) -> None:
    """Times of three cards at four batches: no batch is searched at which one turns, a batch is
    reported on once for every card that runs the same kernels, and the file of cards is read once.
    """
    own = tmp_path / "cards.toml"
    own.write_text('[gpu.a]\nlike = "l4"\n[gpu.b]\nlike = "l4"\nmemory_gb = 12\n', encoding="utf-8")
    calls: Counter[str] = Counter()

    def count(frame: Any, event: str, _: object) -> None:
        if event == "call":
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        found = vitcost.compare(
            BASE, vary=["gpu=a,b,l4", "batch=1:4:+1"], gpu_file=str(own), quantities=["params"]
        )
    finally:
        sys.setprofile(None)
    assert len(list(found.rows())) == 12
    assert {name: calls[name] for name in ("predict", "report_on", "load_cards")} == {
        "predict": 12,
        "report_on": 4,
        "load_cards": 1,
    }
    assert calls["turning_points"] == calls["_by_precision"] == 0
    for batch in (1, 4):
        (time,) = vitcost.report(BASE, batch=batch, gpu="b", gpu_file=str(own)).time
        row = next(r for r in found.rows() if (r["gpu"], r["batch"]) == ("b", batch))
        assert row["step_time_seconds"] == time.seconds


# --- times and costs


def test_costs_by_arithmetic() -> None:
    """An image more a second is better, so that the card with the most of them is 1.00."""
    names = ["images_per_second", "latency", "cost_per_million_images", "gpu_hours", "cost"]
    flags: dict[str, Any] = {"batch": 64, "precision": "fp16"}
    cards = {"l4": 0.8, "t4": 0.35}
    found = vitcost.compare(
        BASE, gpu=list(cards), price=cards, samples="1.28M", epochs=2, quantities=names, **flags
    )
    rates = []
    for row, (card, price) in zip(found.rows(), cards.items(), strict=True):
        (time,) = vitcost.report(BASE, gpu=card, **flags).time
        rates.append(time.images_per_second)
        assert (row["gpu"], row["step_time_gpu"]) == (card, card)
        assert row["images_per_second"] == time.images_per_second
        assert row["latency_seconds"] == time.seconds
        # 2 · 1,280,000 images are 40,000 steps of 64
        assert row["gpu_hours"] == 40_000 * time.seconds / 3600
        assert row["cost"] == row["gpu_hours"] * price
        million = 10**6 / time.images_per_second / 3600
        assert row["cost_per_million_images"] == million * price
    best = max(rates)
    relative = [row["relative_images_per_second"] for row in found.rows()]
    assert relative == [rate / best for rate in rates]
    # the last batch may be short, and takes as long
    (row,) = vitcost.compare(BASE, gpu="l4", samples=65, quantities=["gpu_hours"], **flags).rows()
    (time,) = vitcost.report(BASE, gpu="l4", **flags).time
    assert row["gpu_hours"] == 2 * time.seconds / 3600


def test_a_front_of_what_is_better_the_more() -> None:
    vary = {"batch": [1, 8, 64, 65]}
    pareto = ["images_per_second", "inference_memory"]
    found = vitcost.compare(BASE, vary=vary, gpu="l4", precision="fp16", pareto=pareto)
    rows = list(found.rows())
    # a larger batch takes more memory: it is on the front where it is faster
    fastest = 0.0
    for row in rows:
        assert row["pareto"] is (row["images_per_second"] > fastest)
        fastest = max(fastest, row["images_per_second"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--quantities", "cost"), "cost is known on a card only: give a gpu"),
        (("--quantities", "step_time"), "step_time is known on a card only: give a gpu"),
        (
            ("--quantities", "gpu-hours", "-g", "l4"),
            "gpu_hours needs samples, the number of images of a run",
        ),
        (
            ("--quantities", "cost_per_million_images", "-g", "l4"),
            "cost_per_million_images needs a price of l4: give price, of a card and hour",
        ),
        (("-g", "l4", "-g", "t4", "--price", "l4=1"), "needs a price of t4"),
        (
            ("--quantities", "latency", "-g", "l4", "--mode", "train"),
            "latency exists in mode infer only",
        ),
        (
            ("--quantities", "params", "--price", "2"),
            "price is used by cost_per_million_images, cost",
        ),
        (("--epochs", "3", "-g", "l4"), "epochs need samples"),
        (("-g", "l4", "--price", "t4=1"), "price of t4, which is not among the cards: l4"),
    ],
    ids=str,
)
def test_a_cost_that_lacks_something(args: tuple[str, ...], said: str, capsys: Captured) -> None:
    assert run(["compare", BASE, *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert said in err
