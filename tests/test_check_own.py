"""``check`` of a module that no formula describes: its trace against the module."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from traced_modules import CASES

import vitcost
from vitcost.check import check
from vitcost.cli import run
from vitcost.errors import ConfigError
from vitcost.traced import replayed
from vitcost.zoo.trace_file import trace


def of(name: str) -> Any:
    case = CASES[name]
    return vitcost.from_torch(case.make(), inputs=case.inputs, loss=case.loss)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("detector", {}),
        ("tied, shared, never called", {"optimizer": "sgd-momentum"}),
        ("its own checkpoints", {"precision": "amp-bf16"}),
        ("two towers, contrastive", {"precision": "bf16"}),
        ("video", {"checkpointing": "block", "optimizer": "adamw-foreach"}),
        ("frozen backbone", {"lora": 2, "lora_layers": "qkv,fc1"}),
        ("frozen backbone", {"attention": "eager"}),
        ("video", {"freeze": "first:1"}),
        ("detector", {"freeze": "backbone", "checkpointing": "none"}),
    ],
)
def test_a_step_that_runs_has_the_bytes_of_its_trace(name: str, flags: dict[str, Any]) -> None:
    (model,) = check([of(name)], batch=2, memory=True, **flags).models
    assert [d for d in model.differences if not d.explained_by] == []
    assert model.comparisons == {
        "saved_activations_bytes": 1, "peak_bytes_tensors": 1, "peak_bytes_allocated": 1,
    }  # fmt: skip
    assert (model.against, model.of) == ("the module itself", "trace")


@pytest.mark.parametrize("name", ["U-shaped segmenter", "one dictionary", "detector"])
def test_costs_are_those_that_torch_counts(name: str) -> None:
    (model,) = check([of(name)], batch=2).models
    assert model.ok
    assert model.comparisons.keys() == {
        "params", "trainable", "flops", "backward_flops", "saved_activations_bytes",
    }  # fmt: skip
    # every module that is called, in eval and in training
    assert model.comparisons["flops"] > 10


def test_torch_s_count_of_a_grouped_convolution_is_explained() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8))
    own = vitcost.from_torch(module, inputs="4x8x8")
    (model,) = check([own], batch=2).models
    (found,) = model.differences
    # 36 products for each of 8 · 36 outputs, whose image needs no gradient; then 9 for each of 8 ·
    # 16, twice, of which torch takes one 8 times
    stem, products = 2 * 2 * 36 * 8 * 36, 2 * 2 * 9 * 8 * 16
    assert (found.expected, found.actual) == (stem + 2 * products, stem + 9 * products)
    assert "as if it had one group" in found.explained_by
    assert model.ok
    # the formula in the batch has the same terms
    assert vitcost.explain(own, "backward_flops", batch=2).value == found.expected


def test_a_wrong_trace_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    flops = replayed.flops_of
    monkeypatch.setattr(replayed, "_KNOWN", {})
    monkeypatch.setattr(replayed, "flops_of", lambda *given: flops(*given) + 2)
    (model,) = check([of("multilayer perceptron")], batch=2).models
    assert {d.quantity for d in model.differences} == {"flops", "backward_flops"}
    assert not model.ok


def test_the_module_stays_as_it_is() -> None:
    module = CASES["multilayer perceptron"].make().eval()
    before = {key: t.clone() for key, t in module.state_dict().items()}
    check([vitcost.from_torch(module, inputs="3x16x16")], batch=2, memory=True)
    assert not module.training
    assert all(torch.equal(t, before[key]) for key, t in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def test_a_step_that_torch_refuses_is_one_that_a_trace_has_not() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    (model,) = check([vitcost.from_torch(module, inputs="4")]).models
    assert model.ok
    assert any("cannot train on one image" in reason for reason in model.left_out)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module of a user into the working directory, whose ``build`` makes a layer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, layer: str) -> None:
        code = f"from torch import nn\ndef build():\n    return {layer}\n"
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")

    return write


def test_the_command_on_a_factory(written: Callable[[str, str], None], capsys: Any) -> None:
    written("built_here", "nn.Sequential(nn.Linear(4, 3))")
    arguments = ["check", "built_here:build", "--input", "4", "--memory", "--json"]
    assert run(arguments) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["ok"]
    assert any("CUDA card" in reason for reason in model["left_out"])
    trace("built_here:build", "x.json", input="4")
    with pytest.raises(ConfigError, match="holds no module"):
        check(["x.json"])


def test_a_reason_of_several_steps_is_said_once(
    written: Callable[[str, str], None], capsys: Any
) -> None:
    written("batched_here", "nn.Conv2d(3, 8, 3)")
    assert run(["check", "batched_here:build", "--input", "2x3x8x8", "--memory"]) == 2
    message = capsys.readouterr().err
    assert message.count("the trace stopped") == 1
    assert "saved_tensors_hooks, peak of a step" in message
    # a batch that was given in --input stands behind the batch of the step
    assert "the forward got [1, 2, 3, 8, 8] at batch 1" in message
