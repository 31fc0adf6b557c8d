"""Fitting constants: the fit by construction, reading measurements, scoring, one's own."""

from pathlib import Path
from typing import Any

import pytest
from flags_files import written
from measured_support import measurements, of, write

import vitcost
from vitcost.config.numbered import torch_version
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, UnknownName
from vitcost.hardware.calibrate import (
    calibrate,
    load_calibrations,
    percentile,
    predicted,
    to_toml,
)
from vitcost.hardware.constants import CPU, GPU, Form, Prior, form_of, terms
from vitcost.hardware.least_squares import fit
from vitcost.hardware.measured_rows import Row, read
from vitcost.hardware.measurements import Measurement, measurement
from vitcost.hardware.roofline import predict
from vitcost.hardware.score import score
from vitcost.hardware.work_classes import Setup, setup_of
from vitcost.zoo import resolve

BASE = resolve("vit_base_patch16_224").config
SCENARIO = Scenario(batch=256, precision="amp-bf16")


@pytest.fixture(scope="module")
def measured() -> list[Measurement]:
    return measurements()


# the fit


def test_fit_finds_what_the_rows_were_made_of() -> None:
    truth = (0.9, 1.4, 1.1, 2.0, 0.3)
    free = Form(GPU.names, (None,) * 5, GPU.bound, 0.01)
    rows = [tuple((i * j) % 7 + 1.0 for j in (1, 2, 3, 5, 6)) for i in range(1, 12)]
    rows += [tuple(float(i == j) for j in range(5)) for i in range(5)]
    targets = [sum(x * y for x, y in zip(row, truth, strict=True)) for row in rows]
    assert fit(rows, targets, free) == pytest.approx(truth)


def test_fit_is_not_negative() -> None:
    free = Form(("x", "y"), (None, None), ("", ""), 1.0)
    # the best y is -1; without it, x is 1 in the first row and 0 in the second: half
    assert fit([(1, 0), (1, 1)], [1, 0], free) == pytest.approx((0.5, 0))


def test_fit_is_not_pulled_by_one_row() -> None:
    free = Form(("x",), (None,), ("",), 0.01)
    rows = [(1.0,)] * 9
    assert fit(rows, [1.0] * 8 + [5.0], free)[0] == pytest.approx(1, abs=0.01)
    squares = Form(("x",), (None,), ("",), 10.0)
    assert fit(rows, [1.0] * 8 + [5.0], squares)[0] == pytest.approx(13 / 9)


def test_fit_holds_a_constant_near_its_prior() -> None:
    held = Form(("x",), (Prior(2.0, 1.0),), ("",), 1.0)
    # one row says 1, the prior says 2, and both weigh the same
    assert fit([(1.0,)], [1.0], held)[0] == pytest.approx(1.5)


def test_what_a_few_rows_leave_open_stays_near_its_prior() -> None:
    # as much as one measurement with an error of 0.04, however many there are
    held = Form(("x", "y"), (Prior(3.0, 0.04, once=True), Prior(2.0, 0.04, once=True)), ("", ""), 1)
    assert fit([(1.0, 0.0)], [1.0], held) == pytest.approx(((1 + 3 * 0.0016) / 1.0016, 2.0))
    assert fit([(1.0, 0.0)] * 9, [1.0] * 9, held)[0] == pytest.approx((9 + 3 * 0.0016) / 9.0016)


# reading measurements


def test_timm_files_are_read_as_they_are(tmp_path: Path) -> None:
    infer = write(
        tmp_path / "benchmark-infer.csv",
        "model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,param_count\n"
        "vit_base_patch16_224.augreg_in1k,2787.5,91.8,256,224,86.57\n"
        "vit_base_patch16_384,,,,384,86.86\n",
    )
    (row,) = read(infer, gpu="rtx4090", torch="2.4.0", layout="nhwc")
    assert row.model == "vit_base_patch16_224"
    assert (row.batch, row.img_size, row.images_per_second) == (256, 224, 2787.5)
    assert row.setup == Setup("amp", False, False, "nhwc", "cuda", (2, 4))
    train = write(
        tmp_path / "benchmark-train.csv",
        "model,train_samples_per_sec,train_batch_size,train_img_size\n"
        "vit_base_patch16_224,400,192,224\n",
    )
    assert read(train, gpu="rtx3090")[0].scenario.mode == "train"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no row"),
        ("model,samples_per_sec\nvit_base_patch16_224,3\n", "no row"),
        ("model,samples_per_sec,batch_size\nvit_base_patch16_224,x,8\n", "x"),
        ("model,samples_per_sec,batch_size\nvit_base_patch16_224,-3,8\n", "is not possible"),
        ("model,samples_per_sec,batch_size,precision\nx,3,8,fp7\n", "fp7"),
        ("model,samples_per_sec,batch_size,torch\nx,3,8,new\n", "new"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=says):
        read(write(tmp_path / "x.csv", text), gpu="rtx4090")


def test_a_missing_file_and_a_wrong_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(UnknownName, match="torch"):
        read(tmp_path / "nowhere.csv", torhc="2.4")


# the user's own measurements


def test_calibrate_writes_what_predict_reads(tmp_path: Path, measured: list[Measurement]) -> None:
    file = of(measured, "nchw-pt240-cu124-rtx4090")
    mine = [m._replace(card=m.card._replace(name="h100-pcie")) for m in file]
    found = calibrate(mine, "mine")
    path = write(tmp_path / "mine.toml", to_toml(found))
    assert load_calibrations(path) == found
    assert found[0].rows == sum(m.kind == "plain" for m in file) == 68
    time = predict(BASE, SCENARIO, "h100-pcie", calibrations=load_calibrations(path))
    assert time.basis == "calibrated"
    assert time.software == "torch 2.4"


def test_calibrate_with_few_rows_has_the_widest_band(measured: list[Measurement]) -> None:
    few = [m for m in of(measured, "nchw-pt240-cu124-rtx4090") if m.width == 768][:3]
    (found,) = calibrate(few)
    assert found.band == 0.15
    assert found.rows == 3
    assert found.held_out is None


@pytest.mark.parametrize(
    "text", ["", "calibration = 3", "[[calibration]]\ngpu = 'x'\n", "[[calibration]]\ntorch='2'\n"]
)
def test_constants_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        load_calibrations(write(tmp_path / "x.toml", text))


MODELS = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224",
          "vit_large_patch16_224", "vit_small_patch16_384")  # fmt: skip


def synthetic(
    batches: tuple[int, ...], launch: float, models: tuple[str, ...] = MODELS
) -> list[Measurement]:
    """Steps of a card of constants 1.3, 1.6, 1.1, 1, whose kernels wait so long to be launched."""
    found = []
    for name in models:
        for batch in batches:
            scenario = Scenario(batch=batch, precision="amp-bf16", software="2.4")
            row = Row("x.csv", name, "l4", 0, batch, 1.0, setup_of(scenario), scenario)
            m = measurement(row)
            parts, _ = terms(m.work, m.sheet, m.row.setup)
            computing = sum(c * part for c, part in zip((1.3, 1.6, 1.1, 1, 0), parts, strict=True))
            seconds = max(computing, m.work.launches * launch)
            found.append(m._replace(row=row._replace(images_per_second=batch / seconds)))
    return found


@pytest.mark.parametrize("launch", [3e-6, 10e-6])
def test_steps_that_launches_bound_do_not_move_the_constants(launch: float) -> None:
    batches = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    every = synthetic(batches, launch)
    (found,) = calibrate(every)
    assert found.rows < len(every)
    large = [m for m in every if m.row.batch >= 128]
    errors = [abs(predicted(m, found.constants) / m.seconds - 1) for m in large]
    assert sum(errors) / len(errors) < 0.04
    # what most of is launches still says so, and where there is nothing else it is fitted
    assert len(calibrate(synthetic((1,), launch))[0].constants) == 5


def test_small_batches_of_ones_own_are_measured() -> None:
    large_ones = ("vit_large_patch16_224", "vit_huge_patch14_224", "vit_giant_patch14_224")
    (found,) = calibrate(synthetic((4, 8, 64), 0.0, large_ones))
    assert found.least_batch == 4
    large = resolve("vit_large_patch16_224").config
    for batch, basis in ((3, "anchored"), (4, "calibrated")):
        scenario = Scenario(batch=batch, precision="amp-bf16", software="2.4")
        time = predict(large, scenario, "l4", calibrations=[found])
        assert (batch, time.basis) == (batch, basis)
    (plain,) = calibrate(synthetic((64, 128), 0.0))
    assert plain.least_batch == 16


# scoring, on numbers made by hand


def test_score_by_hand(tmp_path: Path) -> None:
    names = ["vit_base_patch16_224", "deit_base_patch16_224", "vit_large_patch16_224"]
    rates = [predict(resolve(n).config, SCENARIO, "rtx4090").images_per_second for n in names]
    # the second is measured a fifth slower than it is predicted, the others as they are
    rates[1] *= 0.8
    lines = [f"{n},{r!r},256" for n, r in zip(names, rates, strict=True)]
    lines.append("resnet_of_mine,1000,256")
    path = write(
        tmp_path / "mine.csv", "model,samples_per_sec,batch_size\n" + "\n".join(lines) + "\n"
    )
    (file,) = score(read(path, gpu="rtx4090", torch="2.4")).files
    assert (file.rows, file.covered) == (4, 3)
    (missed,) = file.not_covered
    assert (missed.model, missed.rows) == ("resnet_of_mine", 1)
    assert "resnet_of_mine" in missed.reason
    # errors 0, 0.2, 0
    assert file.mape == pytest.approx(0.2 / 3)
    assert file.median == pytest.approx(0)
    assert file.p90 == pytest.approx(0.8 * 0.2)
    assert file.max == pytest.approx(0.2)
    # equal FLOPs, speeds a quarter apart: one pair, which a tie does not order
    assert (file.pairs, file.pairs_right) == (1, 0)
    assert file.in_band == 2
    assert file.worst[0].measurement.row.model == names[1]
    row = file.to_dict()
    wanted = [
        "file", "rows", "covered", "mape", "median", "p90", "max", "flops_mape", "pairs",
        "pairs_right", "in_band",
    ]  # fmt: skip
    assert list(row)[: len(wanted)] == wanted


def test_percentile() -> None:
    assert percentile([], 0.9) == 0
    assert percentile([3.0], 0.9) == 3
    assert percentile([4, 1, 3, 2], 0.5) == 2.5


@pytest.mark.parametrize(
    ("text", "is_"), [("2.13.0+cpu", (2, 13)), ("1.12", (1, 12)), ("2.4.0a0", (2, 4))]
)
def test_versions(text: str, is_: tuple[int, int]) -> None:
    assert torch_version(text) == is_


def test_forms() -> None:
    assert form_of(Setup("amp")) is GPU
    assert form_of(Setup("fp32", platform="cpu")) is CPU
    assert all(len(f.names) == len(f.priors) == len(f.bound) for f in (GPU, CPU))


def test_a_card_beside_its_constants_is_known_to_every_command_that_times(tmp_path: Path) -> None:
    constants = Path(written(tmp_path)["constants"])
    table = constants.read_text(encoding="utf-8").replace('gpu = "l4"', 'gpu = "mine"')
    constants.write_text(f"{table}\n[gpu.mine]\nlike = 'l4'\n", encoding="utf-8")
    own: dict[str, Any] = {"gpu": "mine", "calibration": str(constants)}
    name, amp = "vit_base_patch16_224", {"precision": "amp-bf16"}
    (time,) = vitcost.report(name, batch=256, **amp, **own).time
    assert time.basis == "calibrated"
    assert vitcost.serve(name, rate="100/s", batch=256, **amp, **own).found[0].basis == time.basis
    assert vitcost.plan(name, samples="1M", cards=1, **own).card.name == "mine"
