"""Files of measurements: constants fitted to them, predictions scored on them, what is refused."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.hardware.cards import CARDS
from vitcost.hardware.measured_rows import read
from vitcost.hardware.work_classes import Setup
from vitcost.render import render

DATA = Path(__file__).parent / "data"
TIMM = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv"
BASE = "vit_base_patch16_224"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def timm_file(folder: Path, name: str = TIMM, most: int | None = None) -> str:
    """A file as timm publishes it: its name, its columns, nothing else."""
    with (DATA / "throughput.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == name][:most]
    lines = ["model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size"]
    for row in rows:
        fields = ("model", "samples_per_sec", "step_time_ms", "batch_size", "img_size")
        lines.append(",".join(row[field] for field in fields))
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


@pytest.mark.parametrize(
    ("name", "setup", "gpu"),
    [
        (TIMM, Setup("amp", False, True, "nchw", "cuda", (2, 4)), "rtx4090"),
        (
            "benchmark-infer-amp-nhwc-pt113-cu117-rtx3090.csv",
            Setup("amp", False, False, "nhwc", "cuda", (1, 13), "eager"),
            "rtx3090",
        ),
        (
            "benchmark-infer-fp32-nchw-pt221-cpu-i9_10940x-dynamo.csv",
            Setup("fp32", False, True, "nchw", "cpu", (2, 2)),
            "cpu-i9_10940x",
        ),
        (
            "benchmark-train-amp-nchw-pt2100-cu130-h100-sxm.csv",
            Setup("amp", True, False, "nchw", "cuda", (2, 10)),
            "h100-sxm",
        ),
    ],
)
def test_the_name_of_a_file_of_timms_says_how_it_was_measured(
    elsewhere: Path, name: str, setup: Setup, gpu: str
) -> None:
    prefix = "train" if setup.training else "infer"
    (elsewhere / name).write_text(
        f"model,{prefix}_samples_per_sec,{prefix}_batch_size\n{BASE}.augreg_in1k,100,8\n"
    )
    (row,) = read(name)
    assert (row.model, row.gpu, row.setup) == (BASE, gpu, setup)


def test_a_line_with_both_timings_is_two_rows(elsewhere: Path) -> None:
    (elsewhere / "both.csv").write_text(
        "model,infer_samples_per_sec,infer_batch_size,train_samples_per_sec,train_batch_size\n"
        f"{BASE},2800,256,400,128\n"
    )
    rows = read("both.csv", gpu="rtx3090")
    assert [(r.scenario.mode, r.batch, r.images_per_second) for r in rows] == [
        ("infer", 256, 2800.0),
        ("train", 128, 400.0),
    ]


def test_numbers_as_a_table_tool_writes_them_under_a_reports_own_names(elsewhere: Path) -> None:
    # where a cell of a column is empty, pandas writes its integers as floats
    (elsewhere / "x.csv").write_text(
        "model,gpu,batch,img_size,images_per_second\n"
        f"{BASE},l4,256.0,384.0,300.5\nvit_small_patch16_224,l4,64,,900\n"
    )
    rows = read("x.csv")
    assert [(r.batch, r.img_size, r.images_per_second) for r in rows] == [
        (256, 384, 300.5),
        (64, 0, 900.0),
    ]


def test_a_card_without_bf16_is_scored_in_timms_half_precision(elsewhere: Path) -> None:
    """timm's --amp is autocast to float16, which a T4 and a V100 have."""
    (elsewhere / "x.csv").write_text(
        f"model,samples_per_sec,batch_size,gpu,precision\n{BASE},300,64,t4,amp\n"
        f"{BASE},900,64,v100-sxm2,amp\n{BASE},900,64,v100-sxm2,amp_bfloat16\n"
    )
    (file,) = vitcost.check_throughput("x.csv").files
    assert (file.rows, file.covered) == (3, 2)
    assert file.not_covered[0].reason.endswith("it has amp-fp16")


# calibrate


def test_a_timing_of_a_folded_module_is_left_out(elsewhere: Path) -> None:
    """Lines of timm's files: MobileOne with its branches and with one for all of them, Swin V2 with
    the 21,841 classes of a tag, SAM without classes."""
    (elsewhere / "mine.csv").write_text(
        "model,samples_per_sec,batch_size,img_size,param_count\n"
        "mobileone_s2,3859.75,1024,224,7.88\n"
        "mobileone_s2,13739.2,1024,224,7.81\n"
        "swinv2_base_window12_192,1000,1024,192,109.28\n"
        "samvit_base_patch16,26,32,1024,89.67\n"
        "resnext101_32x8d,300,256,224,194.03\n"
    )
    (scored,) = vitcost.check_throughput("mine.csv", gpu="rtx4090", precision="amp_fp16").files
    assert (scored.rows, scored.covered) == (5, 3)
    assert [(missed.model, missed.reason) for missed in scored.not_covered] == [
        (name, f"a timing of another module: {timed} M parameters, {name} has {its} M")
        for name, timed, its in [
            ("mobileone_s2", "7.81", "7.88"), ("resnext101_32x8d", "194.03", "88.79"),
        ]
    ]  # fmt: skip


def test_a_processor_is_timed_by_the_digest(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of timm's files of two processors; nothing is traced for them, which takes seconds."""

    def never(name: str) -> None:
        pytest.fail(f"{name} is traced")

    monkeypatch.setattr("vitcost.zoo.tracing.of_timm", never)
    (elsewhere / "x.csv").write_text(
        "model,gpu,precision,compile,torch,samples_per_sec,batch_size,img_size\n"
        "mobileone_s2,cpu-i9_10940x,fp32,1,2.4,113.76,1,224\n"
        "mobileone_s2,cpu-i7_12700h,fp32,1,2.4,63.39,1,224\n"
    )
    (scored,) = vitcost.check_throughput("x.csv").files
    assert scored.covered == 2
    assert scored.bases == {"spec_sheet": 2}
    assert scored.in_band == 2


def test_calibrate_prints_the_error_and_writes_what_report_reads(
    elsewhere: Path, capsys: Captured
) -> None:
    name = timm_file(elsewhere)
    # measured on a card that is called so, though the file's name says otherwise
    (elsewhere / "mine.toml").write_text("[gpu.mine]\nlike = 'rtx4090'\npower_w = 300\n")
    assert run(["calibrate", name, "-g", "mine", "--gpu-file", "mine.toml", "-o", "x.toml"]) == 0
    out = capsys.readouterr().out
    assert "held out" in out
    assert "mine" in out
    # the file has the card beside the constants
    (time,) = vitcost.report(
        BASE, batch=256, precision="amp-bf16", compile=True, gpu="mine", calibration="x.toml"
    ).time
    assert (time.basis, time.software) == ("calibrated", "torch 2.4, compiled")
    # 3,731 images a second were measured
    with (DATA / "throughput.csv").open(newline="") as file:
        (measured,) = (
            float(row["samples_per_sec"])
            for row in csv.DictReader(file)
            if (row["file"], row["model"]) == (TIMM, BASE)
        )
    assert time.images_per_second == pytest.approx(measured, rel=0.05)
    sheet = vitcost.report(BASE, batch=256, precision="amp-bf16", compile=True, gpu="mine",
                           gpu_file="mine.toml")  # fmt: skip
    assert sheet.time[0].basis == "of_its_kind"


def test_calibrate_in_one_call_equals_its_json(elsewhere: Path, capsys: Captured) -> None:
    name = timm_file(elsewhere)
    found = vitcost.calibrate(name)
    assert run(["calibrate", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))
    (row,) = found.rows()
    assert (row["gpu"], row["mode"], row["software"]) == ("rtx4090", "infer", "2.4")
    assert 0 < row["held_out"] <= 0.055
    assert found.cards == ()
    # what is shipped is what this file gives
    (shipped,) = (
        m
        for m in vitcost.gpus("rtx4090").to_dict()["rows"][0]["measured"]
        if m["compile"] and m["software"] == "2.4"
    )
    same = ("gemm", "attention", "memory", "conv", "strided", "rows", "held_out", "band")
    assert {key: row[key] for key in same} == {key: shipped[key] for key in same}


def test_a_processor_of_ones_own(elsewhere: Path) -> None:
    old = "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv"
    shutil.move(timm_file(elsewhere, old), old.replace("i9_10940x", "mine"))
    found = vitcost.calibrate(old.replace("i9_10940x", "mine"))
    (elsewhere / "cpu.toml").write_text(found.to_toml())
    (time,) = vitcost.report(BASE, compile=True, gpu="cpu-mine", calibration="cpu.toml").time
    assert (time.gpu, time.basis) == ("cpu-mine", "calibrated")


def test_one_width_leaves_nothing_to_hold_out(elsewhere: Path, capsys: Captured) -> None:
    lines = [f"vit_base_patch{p}_{s},{r},64" for p, s, r in
             ((16, 224, 900), (32, 224, 3600), (16, 384, 280))]  # fmt: skip
    (elsewhere / "few.csv").write_text("model,samples_per_sec,batch_size\n" + "\n".join(lines))
    assert run(["calibrate", "few.csv", "-g", "l4"]) == 0
    assert "all rows have one width, so that none could be held out" in capsys.readouterr().out
    (row,) = vitcost.calibrate("few.csv", gpu="l4").rows()
    assert (row["held_out"], row["band"]) == (None, 0.15)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (f"{BASE},900,64", ConfigError, "too few to fit constants.*anchor"),
        ("resnet50,900,64", NotCovered, "no row can be fitted: resnet50: .*ResNet|resnet50"),
        ("", ConfigError, "no row with a model.*it has: model, samples_per_sec, batch_size"),
    ],
)
def test_what_cannot_be_calibrated(
    elsewhere: Path, text: str, error: type[Exception], says: str
) -> None:
    (elsewhere / "x.csv").write_text(f"model,samples_per_sec,batch_size\n{text}\n")
    with pytest.raises(error, match=says):
        vitcost.calibrate("x.csv", gpu="l4")


def test_a_file_that_does_not_say_its_card(elsewhere: Path, capsys: Captured) -> None:
    (elsewhere / "x.csv").write_text(f"model,samples_per_sec,batch_size\n{BASE},900,64\n")
    for command in (["calibrate", "x.csv"], ["check", "--throughput", "x.csv"]):
        assert run(command) == 2
        assert "of which gpu?" in capsys.readouterr().err
    with pytest.raises(UnknownName, match="compile"):
        read("x.csv", gpu="l4", compile="perhaps")


# check --throughput


def test_the_score_has_the_keys_of_the_contract(elsewhere: Path, capsys: Captured) -> None:
    name = timm_file(elsewhere)
    assert run(["check", "--throughput", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"schema", "files", "mean_mape"}
    (file,) = found["files"]
    wanted = [
        "file", "rows", "covered", "mape", "median", "p90", "max", "flops_mape", "pairs",
        "pairs_right", "in_band",
    ]  # fmt: skip
    assert list(file)[: len(wanted)] == wanted
    assert file["rows"] == file["covered"] == 93
    assert 0 < file["median"] < file["mape"] < file["p90"] < file["max"] < 0.5
    assert file["mape"] < file["flops_mape"]
    assert file["in_band"] >= 0.9 * 93
    # 14 hybrids, by constants of models without a backbone
    assert file["bases"] == {"calibrated": 79, "anchored": 14}
    assert found["mean_mape"] == file["mape"]
    again = vitcost.check_throughput(name)
    assert json.loads(json.dumps(again.to_dict())) == found


def test_the_page_names_the_worst_and_what_is_not_covered(
    elsewhere: Path, capsys: Captured
) -> None:
    name = timm_file(elsewhere, most=40)
    with (elsewhere / name).open("a") as file:
        file.write("resnet50,5000,1,256,320\nresnet50,900,1,256,448\nswin_tiny_x,1,1,1,224\n")
    assert run(["check", "--throughput", name]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith(name[10:-4]))
    assert line.split()[1:3] == ["43", "40"]
    missed = out[out.index("Not covered") :]
    assert [line.split()[1:3] for line in missed.splitlines() if name in line] == [
        ["resnet50", "2"],
        ["swin_tiny_x", "1"],
    ]
    worst = out[out.index("Worst") :]
    assert "likely reason" in worst
    # most rows are of the card itself, not of the two that are not covered
    assert worst.count("rtx4090") >= 5


@pytest.mark.parametrize("form", ["markdown", "html", "csv"])
def test_every_format_has_every_file(elsewhere: Path, form: str) -> None:
    names = [timm_file(elsewhere, most=12), timm_file(elsewhere, TIMM.replace("-dynamo", ""), 12)]
    text = render(vitcost.check_throughput(names), form).replace("\\_", "_")
    for name in names:
        assert name.removeprefix("benchmark-").removesuffix(".csv") in text


def test_held_out_widths_are_harder(elsewhere: Path, capsys: Captured) -> None:
    name = timm_file(elsewhere)
    shipped = vitcost.check_throughput(name).files[0]
    held_out = vitcost.check_throughput(name, held_out=True).files[0]
    assert held_out.by_kind["plain"] > shipped.by_kind["plain"]
    assert held_out.in_band is None
    assert run(["check", "--throughput", name, "--held-out"]) == 0
    assert "constants of the other half" in capsys.readouterr().out


def test_a_card_that_nobody_measured_is_scored_by_its_sheet(elsewhere: Path) -> None:
    (elsewhere / "x.csv").write_text(
        f"model,samples_per_sec,batch_size,gpu,precision\n{BASE},9000,256,h100-sxm,amp\n"
        f"{BASE},9000,256,tpu-v7x,amp-bf16\n{BASE},9000,256,abacus,amp\n"
    )
    (file,) = vitcost.check_throughput("x.csv").files
    assert (file.rows, file.covered, dict(file.bases)) == (3, 1, {"of_its_kind": 1})
    assert file.worst[0].reason == "nothing was measured on this card in such a mode"
    reasons = " ".join(missed.reason for missed in file.not_covered)
    assert "bandwidth of tpu-v7x" in reasons
    assert "unknown gpu 'abacus'" in reasons
    assert CARDS["h100-sxm"].name == file.worst[0].measurement.card.name


@pytest.mark.parametrize(
    "args",
    [
        ["check", BASE, "--throughput", "x.csv"],
        ["check", "--all", "--throughput", "x.csv"],
        ["check", "--throughput", "x.csv", "--batch", "3"],
        ["check", BASE, "--held-out"],
        ["check", BASE, "-g", "l4"],
        ["check", "--throughput", "nowhere.csv"],
        ["calibrate"],
        ["calibrate", "nowhere.csv"],
    ],
)
def test_what_does_not_go_together(args: list[str], capsys: Captured) -> None:
    assert run(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error: " in captured.err


def test_files_are_of_one_card(elsewhere: Path, capsys: Captured) -> None:
    name = timm_file(elsewhere, most=30)
    for command in (["calibrate", name], ["check", "--throughput", name]):
        assert run([*command, "-g", "l4", "-g", "t4"]) == 2
        assert "measurements are of one card, got l4, t4" in capsys.readouterr().err


def test_neither_needs_torch_or_numpy(elsewhere: Path) -> None:
    name = timm_file(elsewhere, most=30)
    code = (
        "import sys\nfrom vitcost.cli import run\n"
        f"assert run(['check', '--throughput', {name!r}, '-o', 'x']) == 0\n"
        f"assert run(['calibrate', {name!r}, '-o', 'x.toml']) == 0\nprint(*sys.modules)"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not {"torch", "numpy", "scipy", "fvcore", "timm"} & set(out.splitlines()[-1].split())
