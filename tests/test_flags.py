"""Flags: what each is of, what a command makes of it, and that none is dropped."""

import inspect
import json
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from flags_files import written
from flags_support import (
    BASES,
    FIELD_SHOWN,
    FORM,
    FORMS,
    MODELS,
    OF,
    OWN,
    SHOWN,
    VALUES,
    Answer,
    Own,
    Unchanged,
    numbers,
    walk,
    walk_fields,
)

import vitcost
from vitcost.cli import COMMANDS, run
from vitcost.cli.options import field_options
from vitcost.config.flags import FLAGS, TRAINING
from vitcost.config.idle import FIELDS, IDLE, SCENARIO, idle
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, NotCovered, VitcostError
from vitcost.render import render

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
    "policy": ("reduce-fp32", "none"),
    "ema_dtype": ("bf16", "model"),
    "ema_device": ("cpu", "model"),
    "optimizer_in_backward": (True, False),
    "grad_scaler": (True, False),
    "gather": ("local", "all"),
}
RANKS: dict[str, dict[str, Any]] = {
    "zero": {"ranks": 4},
    "buckets": {"ranks": 4},
    "policy": {"ranks": 4, "zero": 3, "precision": "bf16"},
    "ema_dtype": {"ema": 1},
    "ema_device": {"ema": 1},
    "grad_scaler": {"precision": "amp-fp16"},
    "gather": {"ranks": 4},
}


def data(capsys: Captured, *args: str) -> dict[str, Any]:
    assert run([*args, "--json"]) in (0, 1)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def typed(flag: str, value: object) -> list[str]:
    more = [word for name, n in RANKS.get(flag, {}).items() for word in (f"--{name}", str(n))]
    values = [] if value is True else [str(value)]
    return [f"--{flag.replace('_', '-')}", *values, *more]


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
    model = OF.get(flag, TINY)
    asked = {flag: GIVEN[flag][value], **RANKS.get(flag, {})}
    found = vitcost.fit(model, gpu="l4", **asked)
    assert found.scenario.mode == "train"
    assert found.to_dict() == vitcost.fit(model, gpu="l4", mode="train", **asked).to_dict()
    if GIVEN[flag][value] is False:
        # the command line has no word for it
        return
    words = typed(flag, GIVEN[flag][value])
    assert data(capsys, "fit", model, "-g", "l4", *words) == found.to_dict()
    # beside infer it is a contradiction
    first = next((name for name in RANKS.get(flag, {}) if name in TRAINING), flag)
    with pytest.raises(
        ConfigError, match=f"{first} belongs to a training step, and mode infer has none"
    ):
        vitcost.fit(model, gpu="l4", mode="infer", **asked)
    assert f"{first} belongs to a training" in refused(
        capsys, "fit", model, "--mode", "infer", *words
    )


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
    model = OF.get(flag, TINY)
    asked = {flag: GIVEN[flag][0], **RANKS.get(flag, {})}
    words = typed(flag, GIVEN[flag][0])
    found = vitcost.report(model, gpu="l4", **asked)
    assert [found.scenario.mode, found.time[0].mode] == ["train", "train"]
    assert found.to_dict() == data(capsys, "report", model, "-g", "l4", *words)
    (row,) = vitcost.compare(model, gpu="l4", **asked).rows()
    assert row["step_time_mode"] == "train"
    assert row == data(capsys, "compare", model, "-g", "l4", *words)["rows"][0]
    # no card, no time: the training quantities are in the answer whatever the mode is
    assert vitcost.report(model, **asked).scenario.mode == "infer"
    # beside an explicit infer, too, and the page says so
    infer = vitcost.report(model, gpu="l4", mode="infer", **asked)
    assert [infer.scenario.mode, infer.time[0].mode] == ["infer", "infer"]
    assert infer.training == found.training
    said = f"flags of the training step alone, not of traffic and time: .*{flag}"
    assert re.search(said, render(infer))
    assert not re.search(said, render(found))
    beside = vitcost.compare(model, gpu="l4", mode="infer", **asked)
    assert next(beside.rows())["step_time_mode"] == "infer"
    assert re.search(
        rf"flags of training alone, which the time leaves out: (\w+, )?{flag}", render(beside)
    )


def test_a_flag_that_varies_is_given() -> None:
    found = vitcost.compare(TINY, gpu="l4", vary={"ema": [0, 1]})
    assert {row["step_time_mode"] for row in found.rows()} == {"train"}


@pytest.mark.parametrize("flag", GIVEN)
def test_budgets_and_explanations_have_the_training_quantities(
    flag: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OF.get(flag, TINY)
    asked = {flag: GIVEN[flag][0], **RANKS.get(flag, {})}
    training = vitcost.report(model, mode="train", **asked).training
    own = {"optimizer_states": training.optimizer_bytes, "gradients": training.gradients_bytes}
    limits = {name: f"{value} B" for name, value in own.items()}
    vitcost.assert_budget(model, **limits, **asked)
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**asked, **limits}.items()]
    text = "\n".join(
        ["[[tool.vitcost.budget]]", f"model = '{model}'", "gpu = 'l4'", "step_time = 1", *lines]
    )
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    checks = {check.quantity: check.value for check in vitcost.budget().checks}
    assert checks["optimizer_states"] == training.optimizer_bytes
    # the time is of the mode that is asked for
    assert checks["step_time"] == (
        vitcost.report(model, gpu="l4", mode="infer", **asked).time[0].seconds
    )


def test_the_signatures_keep_their_defaults() -> None:
    parameters = inspect.signature(vitcost.report).parameters
    for name, field in Scenario.__dataclass_fields__.items():
        own = None if name in ("precision", "optimizer") else field.default
        assert parameters[name].default == own


# --- no flag is dropped: each changes a number, or the table says why it cannot


def unexplained(base: str, models: list[str | None]) -> list[Unchanged]:
    pairs = zip(VALUES, models, strict=True)
    found = [each for flag, model in pairs if model for each in walk(base, model, flag)]
    return [each for each in found if not each.reasons]


def names(found: list[Unchanged]) -> list[str]:
    return [f"{each.base}: {each.flag} {each.value} of {each.model}" for each in found]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("base", BASES)
def test_every_flag_of_every_family(base: str, model: str) -> None:
    """Every value; a quarter of the flags for each pair of question and family, by turns: each flag
    meets each family in two questions, and each question in two families."""
    turn = list(BASES).index(base) + MODELS.index(model)
    turns = [OF.get(flag, model) if (turn + i) % 4 == 0 else None for i, flag in enumerate(VALUES)]
    assert names(unexplained(base, turns)) == []


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["saved-activations", "peak-memory"])
def test_every_flag_of_an_explanation_changes_it(quantity: str) -> None:
    plain = vitcost.explain(TINY, quantity, depth=2, batch=64)
    walked = 0
    for flag, values in VALUES.items():
        beside = {"lora": 2} if flag == "lora_layers" else {}
        beside = {"ema": 1} if flag.startswith("ema_") else beside
        # an average of a model in fp32 has that type unless it is told another
        value = {"batch": 3, "ema_dtype": "fp16"}.get(flag, values[0])
        asked = {"depth": 2, "batch": 64, **beside}
        try:
            before = vitcost.explain(TINY, quantity, **asked) if beside else plain
            found = vitcost.explain(TINY, quantity, **{**asked, flag: value})
        except ConfigError:
            # a formula without the flag says so
            continue
        walked += 1
        assert found.value != before.value, flag
    assert walked >= 8


@pytest.mark.parametrize(
    "flag",
    ["batch", "precision", "attention", "optimizer", "checkpointing", "freeze", "lora"],
)
def test_every_flag_of_a_check_of_memory_reaches_what_is_compared(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """test_check_memory.py holds each of them against torch."""
    seen: list[tuple[Any, int]] = []

    def compared(name: str, case: Any, on_step: object, *, scenario: Scenario) -> Any:
        seen.append((getattr(scenario, flag), case.shape[0]))
        return result.ModelCheck(name, {}, (), 0.0)

    result = import_module("vitcost.check.differences")
    monkeypatch.setattr(import_module("vitcost.check.step_memory"), "compare_memory", compared)
    assert run(["check", TINY, "--memory", *typed(flag, VALUES[flag][0])]) == 0
    assert seen == [(VALUES[flag][0], 2 if flag == "batch" else 1)]


# the question in which a flag matters to the plainest model
MATTERS = {
    "mode": "report with a card", "layout": "measured card", "compile": "report with a card",
    "software": "measured card", "batch": "report", "buckets": "two ranks",
    "lora_layers": "adapters", "ema_dtype": "averages", "ema_device": "averages",
}  # fmt: skip


@pytest.mark.parametrize("flag", VALUES)
def test_a_flag_that_is_dropped_is_found(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {
        "measured card": {"gpu": "rtx4090", "precision": "amp-bf16", "batch": 256},
        "two ranks": {"ranks": 2},
        "adapters": {"lora": 4},
        "averages": {"ema": 1},
    }
    question, plain = MATTERS.get(flag, "report"), BASES["report"]
    given = own[question] if question in own else BASES[question].given
    monkeypatch.setitem(BASES, "asked", plain._replace(given=given))
    of = OF.get(flag, TINY)
    kept = [each.value for each in walk("asked", of, flag)]

    def dropping(model: str, **given: Any) -> Answer:
        given.pop(flag, None)
        return plain.run(model, **given)

    lost = walk("asked", of, flag, dropping)
    assert [each.value for each in lost if each.value not in kept and not each.reasons]


def test_every_row_of_the_table_is_met_and_its_condition_known() -> None:
    assert {row.condition for row in SCENARIO if row.where is None} - set(SHOWN) == {"always"}
    assert {row.condition for row in FIELDS} == set(FIELD_SHOWN)
    commands = {command for row in IDLE for command in row.commands}
    assert commands <= set(COMMANDS)


# the parallel block is the one that most fields do not reach
PARALLEL = "vit_pwee_patch16_reg1_gap_256"


def test_every_field_changes_a_number_or_has_a_reason() -> None:
    found = [each for each in walk_fields(PARALLEL) if not each.reasons]
    assert [f"{each.field} {each.value}" for each in found] == []


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_every_family(model: str) -> None:
    found = [each for each in walk_fields(model) if not each.reasons]
    assert [f"{each.field} {each.value}" for each in found] == []


def test_a_field_that_is_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = vitcost.report
    for field in ("num_heads", "reg_tokens", "mlp_dim", "qk_norm"):

        def dropping(model: Any, _field: str = field, **given: Any) -> Any:
            given.pop(_field, None)
            return real(model, **given)

        monkeypatch.setattr(vitcost, "report", dropping)
        assert [each for each in walk_fields(TINY, [field]) if not each.reasons]
        monkeypatch.setattr(vitcost, "report", real)


@pytest.mark.parametrize("field", ["num_heads", "depth", "global_pool", "qkv_fused", "qk_norm"])
def test_every_command_has_the_model_of_the_fields(field: str) -> None:
    """Where a field reaches one command it reaches all: they read one model."""
    given = {"num_heads": 6, "depth": 3, "global_pool": "avg", "qkv_fused": False, "qk_norm": True}
    asked = {field: given[field]}
    config = vitcost.report(TINY, **asked).model.config
    assert vitcost.fit(TINY, gpu="l4", **asked).model.config == config
    run_ = {"samples": 10**6, "gpu": "l4", "gpus": 1}
    assert vitcost.plan(TINY, **run_, **asked).model.config == config
    (row,) = vitcost.compare(TINY, quantities=["params", "pointwise"], **asked).rows()
    found = vitcost.report(config)
    assert (row["params"], row["pointwise"]) == (found.params, found.flops.pointwise_forward)
    assert vitcost.explain(TINY, "pointwise", **asked).value == found.flops.pointwise_forward


# --- flags that a command has of its own


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("own", OWN, ids=lambda own: f"{own.command}-{own.flag}")
def test_a_flag_of_one_command_changes_a_number(
    own: Own, files: dict[str, str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pyproject.toml has a card there
    monkeypatch.chdir(Path(files["cards"]).parent)
    before = shlex.split(own.beside.format(**files))
    flag = f"--{own.flag.replace('_', '-')}"
    after = [*before, flag, *([own.value.format(**files)] if own.value else [])]
    if own.flag == "gpu" and "-g" in before:
        del after[before.index("-g") : before.index("-g") + 2]
    answers = [list(numbers(data(capsys, own.command, *words))) for words in (before, after)]
    known = [row for row in IDLE if own.flag in row.flags and own.command in row.commands]
    always = any(row.condition == "always" for row in known)
    assert (answers[0] == answers[1]) == always


def test_every_flag_of_every_command_is_walked() -> None:
    # fields have a walk of their own, and are among a command's options once it has read one
    fields = {param.name for param in field_options()}
    for command in COMMANDS:
        params = import_module(f"vitcost.cli.{command}_command").command.params
        flags = {param.name for param in params if isinstance(param, click.Option)}
        own = {each.flag for each in OWN if each.command == command}
        rest = flags - fields - set(VALUES) - FORM - FORMS.get(command, set())
        assert rest <= own, f"{command}: {rest - own}"


# --- what the command line and the documentation say


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("report", TINY, "--compile"), ["compile changes nothing where no card is named"]),
        (("report", TINY, "--compile", "-g", "l4"), []),
        (("compare", TINY, "--software", "2.4"), ["software changes nothing where no card"]),
        (("report", TINY, "--lora-layers", "fc1"), ["lora_layers changes nothing where lora is 0"]),
        (("report", TINY, "--lora-layers", "fc1", "--lora", "2"), []),
        (("compare", TINY, "--lora-layers", "fc1", "--vary", "lora=0,2"), []),
        (("report", TINY, "--buckets", "views"), ["buckets changes nothing where ranks is 1"]),
        (
            ("fit", TINY, "-g", "l4", "--ranks", "2"),
            ["ranks changes nothing where the mode"],
        ),
        (("fit", TINY, "-g", "l4", "--ranks", "2", "--ema", "1"), []),
        (("report", TINY, "--ema", "1"), []),
        (("report", TINY, "--ema-dtype", "bf16"), ["ema_dtype changes nothing where ema is 0"]),
        (
            ("report", TINY, "--ema", "1", "--ema-device", "cpu", "--ema-dtype", "bf16"),
            ["ema_dtype changes nothing where ema_device is cpu"],
        ),
    ],
)
def test_what_changes_nothing_is_said(
    args: tuple[str, ...], said: list[str], capsys: Captured
) -> None:
    assert run([*args]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == len(said)
    assert all(note.startswith(f"note: {start}") for note, start in zip(notes, said, strict=True))


@pytest.mark.parametrize("row", [row for row in SCENARIO if row.where], ids=lambda r: r.condition)
def test_what_is_said_is_true(row: Any) -> None:
    """A note is printed before any answer is looked at: its condition alone decides."""
    settings = {"ranks": {"ranks": 4}, "zero": {"zero": 2, "ranks": 4}, "lora": {}, "gpu": {},
                "recipe": {"recipe": "zero", "ranks": 4}, "mode": {"mode": "infer"},
                "ema": {}, "ema_device": {"ema": 1, "ema_device": "cpu"}}  # fmt: skip
    beside = {} if row.condition == "ranks is 1" else settings[row.where.flag]
    for command in set(row.commands) & {"report", "compare", "fit"}:
        trains = command == "fit" and row.flags[0] in TRAINING
        base = "fit of training" if trains else command
        given = {**BASES[base].given, **beside}
        for flag in row.flags:
            before = BASES[base].run(TINY, **given)
            after = BASES[base].run(TINY, **{**given, flag: VALUES[flag][0]})
            assert list(idle(command, {**given, flag: VALUES[flag][0]}))
            assert list(numbers(before)) == list(numbers(after))


def test_the_published_table_is_the_table() -> None:
    text = (Path(__file__).parent.parent / "vitcost" / "flags.md").read_text(encoding="utf-8")
    rows = [
        f"| {', '.join(f'`{flag}`' for flag in row.flags)} | {', '.join(row.commands)} "
        f"| {row.condition} | {row.reason} |"
        for row in IDLE
    ]
    published = [line for line in text.splitlines() if line.startswith("| `")]
    assert published == rows


# --- what no formula knows is refused


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"compile": True}, "the bytes of compiled kernels are not known"),
        ({"platform": "cpu", "gpu": "l4"}, "l4 is no processor"),
        ({"platform": "cpu"}, "the catalogue has cards alone"),
    ],
)
def test_fit_refuses_what_its_bytes_are_not_of(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(VitcostError, match=said):
        vitcost.fit(TINY, **asked)


def test_a_processor_is_the_platform_cpu() -> None:
    mine = "mine,vendor=CPU,memory_gb=64"
    (row,) = vitcost.fit(TINY, gpu=mine, mode="train", batch=8).found
    (same,) = vitcost.fit(TINY, gpu=mine, mode="train", batch=8, platform="cpu").found
    assert row == same
    assert row.largest_batch is not None
    own = vitcost.report(TINY, batch=row.largest_batch, mode="train", platform="cpu").training
    assert row.used_bytes == own.peak_bytes


def test_the_layout_of_a_backbone_is_refused() -> None:
    """Measured on a CPU with torch 2.13, r26 at batch 2: autograd keeps 246 MB in channels-last and
    221 MB in rows."""
    for asked in (vitcost.report, vitcost.fit):
        with pytest.raises(NotCovered, match=r"a convolutional backbone .* give layout nchw"):
            asked("vit_small_r26_s32_224", layout="nhwc")
