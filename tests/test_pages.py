"""Every page begins with its answer, and a page that is cut keeps it."""

import json
import sys
import types
from dataclasses import asdict, replace

import pytest
from results_support import RESULTS
from rich.cells import cell_len

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, MissingExtra, UnknownName
from vitcost.page import Column, Page, Row, Table, answered
from vitcost.pages.shaped import Shaped
from vitcost.pages.subject import of_model, of_scenario
from vitcost.render import render
from vitcost.zoo import resolve

BASE = "vit_base_patch16_224"
Captured = pytest.CaptureFixture[str]


def out(capsys: Captured, *args: str) -> list[str]:
    assert run(args) == 0
    lines: list[str] = capsys.readouterr().out.splitlines()
    return lines


def refused(capsys: Captured, *args: str) -> str:
    assert run(args) == 2
    stdout, err = capsys.readouterr()
    assert stdout == ""
    return str(err.splitlines()[-1])


# --- the answer


@pytest.mark.parametrize("name", RESULTS)
def test_every_page_has_a_title_and_a_short_answer(name: str) -> None:
    page = RESULTS[name]().page()
    assert page.title
    assert 1 <= len(page.answer) <= 3
    first = render(RESULTS[name]()).splitlines()
    assert first[0] == f"{page.title}: {page.answer[0]}"
    assert first[1 : len(page.answer)] == list(page.answer[1:])
    html = render(RESULTS[name](), "html")
    assert html.index('<p class="answer">') < html.index('<div class="tables">')
    assert "**" in render(RESULTS[name](), "markdown").partition("|")[0]


def test_a_page_without_an_answer_is_answered_by_its_deciding_row() -> None:
    columns = Column("gpu"), Column("cost", "si"), Column("source", optional=True)
    rows = Row(("l4", 7, "a")), Row(("t4", None, "b")), Row(("h100", 9, "c"), "marked")
    page = Page("Cards", tables=(Table("", columns, rows[:2]),))
    assert answered(page).answer == ("l4, cost 7",)
    assert answered(page._replace(tables=(Table("", columns, rows),))).answer == ("h100, cost 9",)
    assert answered(page._replace(tables=(Table("", columns, rows[1:2]),))).answer == ("t4",)
    assert answered(page._replace(answer=("own",))).answer == ("own",)
    assert answered(Page("nothing")).answer == ()


def test_the_two_lines_of_a_report(capsys: Captured) -> None:
    """86,567,656 parameters and 17.56 GMACs are timm's; the rest is the JSON's own."""
    lines = out(capsys, "report", BASE, "--brief")
    assert lines == [
        f"{BASE}: 224 px, batch 1, fp32",
        "86.6 M params, 17.6 GMACs (35.1 GFLOPs), inference 337.7 MiB, training 1.61 GiB "
        "(peak: optimizer step)",
    ]
    memory = vitcost.report(BASE).to_dict()["memory"]
    assert f"{memory['inference']['total_bytes'] / 2**20:.1f}" == "337.7"
    assert f"{memory['training']['peak_bytes'] / 2**30:.2f}" == "1.61"


def test_a_card_has_a_line_with_its_verdict(capsys: Captured) -> None:
    flags = ["--mode", "train", "--precision", "amp-bf16", "-b"]
    lines = out(capsys, "report", BASE, *flags, "32", "-g", "l4", "-g", "a10", "--brief")
    assert [line.partition(":")[0] for line in lines[2:]] == ["l4", "a10"]
    time = vitcost.report(BASE, mode="train", precision="amp-bf16", batch=32, gpu="l4").time[0]
    assert lines[2].endswith(f"fits, {(time.headroom_bytes or 0) / 2**30:.1f} GiB left")
    assert f"{time.images_per_second:,.0f} images/s" in lines[2]
    (line,) = out(capsys, "report", BASE, *flags, "4096", "-g", "l4", "--brief")[2:]
    assert "does not fit" in line
    assert line.endswith("missing")


def test_a_page_says_what_differs_from_the_name_and_from_the_defaults(capsys: Captured) -> None:
    flags = "--depth 13 --mlp-ratio 3 --lora 16 --freeze first:2 --ema 1 --img-size 384 --ranks 4"
    lines = out(capsys, "report", BASE, *flags.split(), "--brief")
    assert lines[0] == (
        f"{BASE} with img_size 384 (not 224), depth 13 (not 12), mlp_ratio 3.0: "
        "384 px, batch 1, fp32, freeze first:2, lora 16, ema 1, zero 0 on 4 ranks"
    )
    lead = out(capsys, "report", BASE, "--depth", "13")[2]
    assert lead.startswith("93,655,528 parameters · ")
    assert lead.endswith("changed")
    # fit and plan too
    fit = out(capsys, "fit", BASE, "--freeze", "first:2", "-g", "l4", "--brief", "--depth", "13")
    assert fit[0] == (
        f"Largest batch of {BASE} with depth 13 (not 12): 224 px, fp32, training, freeze first:2"
    )
    plan = ["plan", BASE, "--samples", "1M", "-g", "h100-sxm", "--ema", "1", "--precision", "bf16"]
    assert out(capsys, *plan, "--brief")[0].endswith(
        "batch 4,096, bf16 throughout, states included, ema 1"
    )


def test_what_is_the_models_own_is_no_difference() -> None:
    same = resolve(BASE, depth=12, num_classes=1000, img_size=224)
    assert of_model(same) == BASE
    twice = resolve(resolve(BASE, depth=13), num_classes=5)
    assert of_model(twice) == f"{BASE} with depth 13 (not 12), num_classes 5 (not 1000)"
    assert list(of_scenario(Scenario())) == ["batch 1", "fp32", "inference"]


@pytest.mark.parametrize("flag", Scenario.__dataclass_fields__)
def test_every_flag_that_is_not_the_default_is_said(flag: str) -> None:
    other = {
        "batch": 3, "mode": "train", "precision": "bf16", "attention": "eager",
        "platform": "cpu", "optimizer": "sgd", "checkpointing": "block", "freeze": "backbone",
        "lora": 2, "lora_layers": "fc1", "recipe": "zero", "layout": "nhwc", "compile": True,
        "software": "2.9", "ranks": 4, "zero": 1, "buckets": "views", "ema": 1, "accumulate": 2,
        "zero_grad": "zeros", "policy": "reduce-half", "ema_dtype": "bf16", "ema_device": "cpu",
        "optimizer_in_backward": True, "grad_scaler": True, "gather": "local",
    }  # fmt: skip
    sharded = {"ranks": 4, "zero": 2, "precision": "bf16"}
    halved = {"precision": "amp-fp16"}
    beside = {
        "zero": {"ranks": 4},
        "policy": sharded,
        "grad_scaler": halved,
        "gather": {"ranks": 4},
    }.get(flag, {})
    said = list(of_scenario(Scenario(**{flag: other[flag], **beside})))
    assert said != list(of_scenario(Scenario(**beside)))


def test_how_many_parameters_train_is_said_everywhere(capsys: Captured) -> None:
    """An adapter of rank 16 is 16·(768 + 2304) and 16·(768 + 768) in each of 12 blocks; the head,
    768·1000 + 1000, trains beside them."""
    trained = 12 * 16 * (768 + 2304 + 768 + 768) + 768_000 + 1000
    lines = out(capsys, "report", BASE, "--lora", "16")
    assert f"({trained / 1e6:.2f} M train)" in lines[1]
    assert f"{trained:,} of them train" in lines[2]
    found = vitcost.report(BASE, lora=16)
    assert found.to_dict()["params"]["trainable"] == found.trainable_params == trained


# --- a page that is cut


@pytest.mark.parametrize("name", RESULTS)
def test_brief_is_the_answer_alone(name: str) -> None:
    whole = RESULTS[name]()
    page = Shaped(whole, brief=True).page()
    assert (page.title, page.answer) == (whole.page().title, whole.page().answer)
    assert (page.lead, page.tables, page.notes) == ((), (), ())
    assert Shaped(whole, brief=True).to_dict() == whole.to_dict()
    assert list(Shaped(whole).rows()) == list(whole.rows())


def test_columns_are_those_that_are_named(capsys: Captured) -> None:
    page = Shaped(vitcost.report(BASE), columns=("params", "macs", "at the peak")).page()
    titles = {
        table.title.partition(",")[0]: [c.title for c in table.columns] for table in page.tables
    }
    assert titles == {
        "Parts": ["part", "params", "MACs"],
        "FLOPs": ["pass", "MACs"],
        "Training memory": ["part", "at the peak"],
        "Layers": ["layer", "×", "params"],
    }
    with pytest.raises(UnknownName, match="unknown column 'parms'; did you mean params"):
        Shaped(vitcost.report(BASE), columns=("parms",)).page()
    assert "unknown column 'x'" in refused(capsys, "report", BASE, "--columns", "params,x")


@pytest.mark.parametrize(
    ("levels", "there", "not_there"),
    [("0", "blocks.0–11", "  mlp"), ("1", "  mlp", "    fc1"), ("2", "    fc1", "      x")],
)
def test_levels_are_how_deep_layers_are_nested(
    levels: str, there: str, not_there: str, capsys: Captured
) -> None:
    lines = out(capsys, "report", BASE, "--levels", levels)
    rows = lines[lines.index("Layers, forward, batch of 1") :]
    assert any(line.startswith(there) for line in rows)
    assert not any(line.startswith(not_there) for line in rows)
    # what has no number of its own stays away
    assert not any("pos_drop" in line for line in rows)


def test_what_cuts_a_page_is_refused_where_there_is_none(capsys: Captured) -> None:
    for form in ("json", "csv", "github"):
        for flag in (["--brief"], ["--columns", "params"], ["--levels", "1"]):
            said = refused(capsys, "report", BASE, "--format", form, *flag)
            assert "cannot be shown in" in said or "judges nothing: add --check" in said
    said = refused(capsys, "report", BASE, "--brief", "--levels", "1")
    assert said.endswith("--brief prints no tables, so --levels has no use")
    # whoever answers with a page has the flags
    for args in (["models", "huge"], ["gpus", "h100"], ["fit", BASE, "-g", "l4"]):
        assert len(out(capsys, *args, "--brief")) <= 2
    html = "\n".join(out(capsys, "report", BASE, "--brief", "--format", "html"))
    assert "86.6 M params" in html
    assert "<table" not in html


@pytest.mark.parametrize("width", [80, 120])
def test_an_answer_fits_its_terminal(width: int) -> None:
    for name in RESULTS:
        text = render(Shaped(RESULTS[name](), brief=True), width=width)
        # a line of LaTeX is copied as it stands
        lines = (line for line in text.splitlines() if not line.startswith("&"))
        assert max(map(cell_len, lines)) <= width


# --- in Python


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_one_line_and_prints_its_page(name: str) -> None:
    result = RESULTS[name]()
    page = result.page()
    assert repr(result) == f"<{type(result).__name__} {page.title}: {'; '.join(page.answer[:2])}>"
    assert f"{result}\n" == render(result)
    # a failed assertion, a list and a debugger show the same
    assert repr([result]) == f"[{result!r}]"


def test_a_sweep_is_not_computed_to_be_shown() -> None:
    def computed(*_: object) -> None:
        raise AssertionError("a combination was computed")

    sweep = vitcost.sweep(BASE, vary=["depth=1:2000:+1"])
    assert repr(replace(sweep, progress=computed)) == "<Sweep of 2,000 combinations>"


def test_what_the_package_offers_is_what_it_lists() -> None:
    shown = {name for name in dir(vitcost) if not name.startswith("__")}
    assert shown == set(vitcost.__all__)
    assert "__version__" in dir(vitcost)


def test_paths_of_the_json_are_paths_of_python() -> None:
    report = vitcost.report(BASE, gpu="l4")
    memory = report.to_dict()["memory"]
    assert set(memory) == set(report.memory._fields)
    assert report.memory.training.peak_bytes == report.get("memory.training.peak_bytes")
    assert report.memory.inference.total_bytes == memory["inference"]["total_bytes"]
    assert report.memory.beside_tensors == memory["beside_tensors"]
    assert [row.to_dict() for row in report.memory.inference_by_precision] == memory[
        "inference_by_precision"
    ]
    assert report.get("params.total") == 86_567_656
    assert report.get("layers.0.path") == "patch_embed"
    for path, said in (
        ("params.totl", "no 'totl' there; it has total, trainable"),
        ("layers.999", "no '999' there"),
        ("tokens.x", "no 'x' there; it has nothing inside"),
        ("", "no '' there"),
    ):
        with pytest.raises(ConfigError, match=f"the JSON has no '{path}': {said}"):
            report.get(path)


def test_totals_are_one_flat_row() -> None:
    report = vitcost.report(BASE, batch=2, ema=1, gpu="l4", mode="train")
    row = report.totals()
    assert all(v is None or isinstance(v, str | int | float) for v in row.values())
    assert {flag: row[flag] for flag in Scenario.__dataclass_fields__} == asdict(report.scenario)
    data = report.to_dict()
    assert (row["model"], row["params"]) == (BASE, data["params"]["total"])
    assert row["train_memory_bytes"] == data["memory"]["training"]["peak_bytes"]
    assert row["step_time_seconds"] == data["time"][0]["seconds"]
    assert row["trainable_params"] == data["params"]["trainable"]
    # a table of models has one row each, with the same columns
    assert vitcost.report("gpt2").totals().keys() == row.keys()


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_rows_are_a_frame_in_one_call(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType(package)
    made.DataFrame = list  # type: ignore[attr-defined]
    for name in RESULTS:
        result = RESULTS[name]()
        monkeypatch.setitem(sys.modules, package, made)
        assert getattr(result, f"to_{package}")() == [dict(row) for row in result.rows()]
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=f"not installed: pip install {package}"):
            getattr(result, f"to_{package}")()


def test_json_is_whole_whatever_is_shown(capsys: Captured) -> None:
    assert (
        json.loads("\n".join(out(capsys, "report", BASE, "--json")))
        == vitcost.report(BASE).to_dict()
    )
