"""Every public function with every argument of every wrong type: an answer, or one message."""

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from limited import ROOT, limited

import vitcost
from vitcost import ConfigError
from vitcost.render import render

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))

from arguments import BASES, NOT_CALLED, calls, outcome

BUDGETS = '[[tool.vitcost.budget]]\nmodel = "vit_tiny_patch16_224"\nparams = "6M"\n'
ROWS = "model,gpu,img_size,batch_size,samples_per_sec\n" + "".join(
    f"vit_{name}_patch16_224,l4,224,256,{rate}\n"
    for name, rate in (("tiny", 3000), ("small", 1500), ("base", 600), ("large", 200))
)


def test_wrong_types_are_messages(tmp_path: Path) -> None:
    """A tenth of the calls in CI; ``tests/fuzz/arguments.py FOLDER`` makes them all."""
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    (tmp_path / "rows.csv").write_text(ROWS)
    saved = render(vitcost.report("vit_tiny_patch16_224"), "json")
    (tmp_path / "saved.json").write_text(saved)
    script = str(ROOT / "tests" / "fuzz" / "arguments.py")
    ran = limited(script, str(tmp_path), "10", cpu_seconds=60, memory_bytes=3 * 2**30)
    *bad, last = ran.out.splitlines()
    assert bad == [], ran.err
    assert ran.code == 0, ran.err
    assert "0 bad, 0 slow" in last
    assert int(last.split()[0]) > 1000


def test_every_public_function_is_called() -> None:
    assert {*BASES, *NOT_CALLED} == set(vitcost.__all__)
    called = {(call.function, call.argument) for call in calls()}
    for name, (args, _) in BASES.items():
        assert all((name, str(i)) in called for i in range(len(args)))
        for p in inspect.signature(getattr(vitcost, name)).parameters.values():
            if p.kind == p.KEYWORD_ONLY:
                assert (name, p.name) in called


def test_what_no_user_should_see_is_seen() -> None:
    """An error that is none of ours, and a message as long as what was given, are told."""

    def long() -> None:
        raise ConfigError("x" * 10**6)

    assert outcome(lambda: 1 / 0).startswith("ZeroDivisionError")
    assert outcome(long) == "a message of 1000000 letters"
    assert outcome(lambda: vitcost.report("nobody's")) == "refused"


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("explain", {"quantity": 3}, "quantity must be text, got 3"),
        ("explain", {"quantity": "params", "latex": 1}, "latex must be true or false, got 1"),
        ("compare", {"quantities": [1]}, "a quantity must be text, got 1"),
        ("compare", {"vary": 5}, "vary must be text, got 5"),
        ("fit", {"largest": 3}, "largest must be text, got 3"),
        ("fit", {"largest": range(10**9)}, "largest has more than 10,000 values"),
        ("sweep", {"vary": {"batch": [1]}, "pareto": 3}, "a quantity must be text, got 3"),
        ("sweep", {"vary": {"batch": [1]}, "seed": {}}, "seed must be an integer, got {}"),
        (
            "plan",
            {"samples": 9, "gpu": "l4", "pipeline_parallel": "x"},
            "pipeline_parallel must be an integer, got 'x'",
        ),
        (
            "plan",
            {"samples": 9, "gpu": "l4", "sequence_parallel": np.str_("fp32")},
            "sequence_parallel must be true or false",
        ),
        (
            "plan",
            {"samples": 9, "gpu": "l4", "epochs": 10**5000},
            "epochs must be between 1 and 1,000,000,000,000,000, got an integer of 16,610 bits",
        ),
    ],
)
def test_a_message_names_the_argument(function: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        getattr(vitcost, function)("vit_tiny_patch16_224", **given)


def test_no_file_at_all_is_a_message() -> None:
    for function in (vitcost.calibrate, vitcost.check_throughput):
        with pytest.raises(ConfigError, match=r"files must be one or several, got \[\]"):
            function([])
    with pytest.raises(ConfigError, match=r"config must be text, got \{\}"):
        vitcost.budget({})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="query must be text, got 3"):
        vitcost.gpus(3)  # type: ignore[arg-type]


def test_paths_of_pathlib_and_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    assert vitcost.budget(tmp_path / "budgets.toml").ok  # type: ignore[arg-type]
    tiny = "vit_tiny_patch16_224"
    run = {"samples": 10**6, "gpu": "l4", "gpus": 8}
    ours = {"epochs": np.int64(2), "tensor_parallel": np.int32(1), "zero": np.int8(1)}
    numpys = vitcost.plan(tiny, **run, **ours)
    plain = vitcost.plan(tiny, **run, epochs=2, tensor_parallel=1, zero=1)
    assert numpys == plain
    fitted = [vitcost.fit(tiny, gpu=gpu, require=n).found for gpu in ("l4", np.array(["l4"]))
              for n in (8, np.int64(8))]  # fmt: skip
    assert fitted.count(fitted[0]) == 4
