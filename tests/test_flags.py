"""Flags: what each is of, what a command makes of it, and that none is dropped."""

import inspect
import json
import re
from typing import Any

import pytest

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError
from vitcost.flags import FLAGS, TRAINING
from vitcost.render import render
from vitcost.scenario import Scenario

Captured = pytest.CaptureFixture[str]
TINY = "vit_tiny_patch16_224"

# each flag of training at a value that is not its default, and at its default: both are given
GIVEN: dict[str, tuple[Any, Any]] = {
    "optimizer": ("sgd", "adamw"),
    "checkpointing": ("block", "none"),
    "freeze": ("first:2", "none"),
    "recipe": ("zero", "torch"),
    "zero": (1, 0),
    "buckets": ("views", "copies"),
    "ema": (1, 0),
    "accumulate": (4, 1),
    "zero_grad": ("zeros", "none"),
}
RANKS = {"zero": {"ranks": 4}, "buckets": {"ranks": 4}}


def data(capsys: Captured, *args: str) -> dict[str, Any]:
    assert run([*args, "--json"]) in (0, 1)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def typed(flag: str, value: object) -> list[str]:
    more = [word for name, n in RANKS.get(flag, {}).items() for word in (f"--{name}", str(n))]
    return [f"--{flag.replace('_', '-')}", str(value), *more]


def refused(capsys: Captured, *args: str) -> str:
    assert run([*args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_every_flag_of_a_scenario_is_of_something() -> None:
    assert set(FLAGS) == set(Scenario.__dataclass_fields__)
    assert set(FLAGS.values()) == {"both", "training", "time"}
    # lora and ranks belong to inference and training
    assert set(GIVEN) == set(TRAINING)


# --- what a flag of training implies


@pytest.mark.parametrize("value", [0, 1], ids=["other", "default"])
@pytest.mark.parametrize("flag", GIVEN)
def test_fit_with_a_flag_of_training_is_of_training(
    flag: str, value: int, capsys: Captured
) -> None:
    asked = {flag: GIVEN[flag][value], **RANKS.get(flag, {})}
    found = vitcost.fit(TINY, gpu="l4", **asked)
    assert found.scenario.mode == "train"
    assert found.to_dict() == vitcost.fit(TINY, gpu="l4", mode="train", **asked).to_dict()
    words = typed(flag, GIVEN[flag][value])
    assert data(capsys, "fit", TINY, "-g", "l4", *words) == found.to_dict()
    # beside infer it is a contradiction
    with pytest.raises(ConfigError, match=f"{flag} is of a training step, and mode infer of none"):
        vitcost.fit(TINY, gpu="l4", mode="infer", **asked)
    assert f"{flag} is of a training" in refused(capsys, "fit", TINY, "--mode", "infer", *words)


def test_what_a_user_lost_before() -> None:
    """--ema and --optimizer beside a batch that inference holds, and training does not."""
    found = vitcost.fit(
        "vit_large_patch14_clip_224", img_size=518, batch=32, precision="bf16", optimizer="adamw",
        ema=1, gpu="rtx4090",
    )  # fmt: skip
    (row,) = found.found
    assert found.scenario.mode == "train"
    assert row.largest_batch is not None
    assert (row.fits, 15 < row.largest_batch < 25, found.ok) == (False, True, False)


@pytest.mark.parametrize("asked", [{"lora": 4}, {"ranks": 4}, {"precision": "bf16"}], ids=str)
def test_flags_of_both_imply_nothing(asked: dict[str, Any]) -> None:
    assert vitcost.fit(TINY, gpu="l4", **asked).scenario.mode == "infer"
    assert vitcost.fit(TINY, gpu="l4", mode="infer", **asked).scenario.mode == "infer"


@pytest.mark.parametrize("flag", GIVEN)
def test_report_and_compare_with_a_card_are_of_training(flag: str, capsys: Captured) -> None:
    asked = {flag: GIVEN[flag][0], **RANKS.get(flag, {})}
    words = typed(flag, GIVEN[flag][0])
    found = vitcost.report(TINY, gpu="l4", **asked)
    assert [found.scenario.mode, found.time[0].mode] == ["train", "train"]
    assert found.to_dict() == data(capsys, "report", TINY, "-g", "l4", *words)
    (row,) = vitcost.compare(TINY, gpu="l4", **asked).rows()
    assert row["step_time_mode"] == "train"
    assert row == data(capsys, "compare", TINY, "-g", "l4", *words)["rows"][0]
    # no card, no time: the training quantities are in the answer whatever the mode is
    assert vitcost.report(TINY, **asked).scenario.mode == "infer"
    # beside an explicit infer, too, and the page says so
    infer = vitcost.report(TINY, gpu="l4", mode="infer", **asked)
    assert [infer.scenario.mode, infer.time[0].mode] == ["infer", "infer"]
    assert infer.training == found.training
    said = f"of the training step alone, not of bytes moved and time: .*{flag}"
    assert re.search(said, render(infer))
    assert not re.search(said, render(found))
    beside = vitcost.compare(TINY, gpu="l4", mode="infer", **asked)
    assert next(beside.rows())["step_time_mode"] == "infer"
    assert f"of training alone, not of the time: {flag}" in render(beside)


def test_a_flag_that_varies_is_given() -> None:
    found = vitcost.compare(TINY, gpu="l4", vary={"ema": [0, 1]})
    assert {row["step_time_mode"] for row in found.rows()} == {"train"}


@pytest.mark.parametrize("flag", GIVEN)
def test_budgets_and_explanations_have_the_training_quantities(
    flag: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {flag: GIVEN[flag][0], **RANKS.get(flag, {})}
    training = vitcost.report(TINY, mode="train", **asked).training
    own = {"optimizer_states": training.optimizer_bytes, "gradients": training.gradients_bytes}
    limits = {name: f"{value} B" for name, value in own.items()}
    vitcost.assert_budget(TINY, **limits, **asked)
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**asked, **limits}.items()]
    text = "\n".join(
        ["[[tool.vitcost.budget]]", f"model = '{TINY}'", "gpu = 'l4'", "step_time = 1", *lines]
    )
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    checks = {check.quantity: check.value for check in vitcost.budget().checks}
    assert checks["optimizer_states"] == training.optimizer_bytes
    # the time is of the mode that is asked for
    assert checks["step_time"] == (
        vitcost.report(TINY, gpu="l4", mode="infer", **asked).time[0].seconds
    )


def test_the_signatures_keep_their_defaults() -> None:
    parameters = inspect.signature(vitcost.report).parameters
    for name, field in Scenario.__dataclass_fields__.items():
        own = None if name in ("precision", "optimizer") else field.default
        assert parameters[name].default == own
