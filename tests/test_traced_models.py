"""Commands on traced models: a factory, a module, a file."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered
from vitcost.zoo import resolve
from vitcost.zoo.trace_file import trace

CODE = """
import torch
from torch import nn

def build(width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

def asks():
    [x.item() for x in torch.linspace(0, 1, 3)]
    return build()

def fed():
    return nn.Linear(4, 5), torch.zeros(2, 4)

def square(output):
    return output.square().mean()

class Branch(nn.Module):
    def forward(self, x):
        return x * 2 if x.max().item() > 1 else x

def branch():
    return nn.Sequential(nn.Linear(3, 4), Branch())
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


def answer(capsys: Any, *arguments: str) -> Any:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_file_answers_as_the_module_does(own: str, capsys: Any) -> None:
    file = "own.json.gz"
    flags = ("--precision", "fp32,amp-bf16", "--platform", "cpu,cuda")
    assert run(["trace", f"{own}:build(width=4)", "--img-size", "16", *flags, "-o", file]) == 0
    capsys.readouterr()
    for batch in ("1", "2", "7", "64"):
        how = ("-b", batch, "--precision", "amp-bf16", "--platform", "cpu")
        fresh = answer(capsys, "report", f"{own}:build(width=4)", "--img-size", "16", *how)
        kept = answer(capsys, "report", file, *how)
        for part in ("params", "flops", "bytes_moved", "layers"):
            assert kept[part] == fresh[part]
        assert kept["memory"] == fresh["memory"]
        assert kept["model"]["basis"] == "traced"
    fit = answer(capsys, "fit", file, "--mode", "train", "-g", "t4", "--reserve", "0")["rows"][0]
    most = fit["largest_batch"]
    peaks = [vitcost.report(file, batch=b).training.peak_bytes for b in (most, most + 1)]
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert peaks[0] <= fit["capacity_bytes"] - fit["reserve_bytes"] < peaks[1]
    assert run(["report", file, "--precision", "bf16"]) == 2
    assert "has no trace under --precision bf16" in capsys.readouterr().err
    assert run(["report", file, "--img-size", "32"]) == 2
    assert "img_size cannot change" in capsys.readouterr().err


def test_states_of_an_optimizer_and_the_peak_are_written_out(own: str) -> None:
    found = vitcost.report(f"{own}:build", batch=2, img_size=16, optimizer="adamw")
    # 8 filters of 27 and a bias, 2 of each channel, 8 · 10 and 10
    params = 8 * 28 + 16 + 90
    training = found.training
    assert (found.params, training.weights_bytes) == (params, 4 * params)
    # mean, variance and a count of 8 bytes; two moments and a counter for each of six tensors
    assert training.buffers_bytes == 2 * 4 * 8 + 8
    assert training.optimizer_bytes == 2 * 4 * params + 6 * 4
    assert training.gradients_bytes == 4 * params
    parts = training.peak_parts
    assert parts is not None
    # images and targets
    assert parts.batch_bytes == 2 * 3 * 16 * 16 * 4 + 2 * 8
    assert training.peak_bytes == sum(parts)


def test_how_a_module_was_built_and_fed_is_said(own: str, capsys: Any) -> None:
    notes = answer(capsys, "report", f"{own}:asks", "--img-size", "16")["model"]["config"]["notes"]
    assert any("built on the CPU, since on the meta device it raises" in note for note in notes)
    assert "inputs: 3x16x16" in notes
    found = answer(capsys, "report", f"{own}:fed", "-b", "3")
    assert found["flops"]["forward"] == 3 * 2 * 4 * 5
    assert any(
        note.startswith("inputs that the factory returns")
        for note in found["model"]["config"]["notes"]
    )
    given = ("--input", "3x8x8", "--loss", f"{own}:square")
    notes = answer(capsys, "report", f"{own}:build", *given)["model"]["config"]["notes"]
    assert f"loss {own}:square" in notes


def test_what_cannot_be_is_refused(own: str, capsys: Any) -> None:
    for arguments, word in (
        (["report", f"{own}:branch", "--input", "3"], "aten._local_scalar_dense"),
        (["report", f"{own}:build", "--checkpointing", "selective"], "for a traced module"),
        (["report", f"{own}:build", "--attention", "flash"], "calls no scaled_dot_product"),
        (["report", f"{own}:build", "--lora", "4"], "unknown lora_layers 'qkv'"),
        (["report", f"{own}:build", "--depth", "4"], "has no field depth"),
        (["report", f"{own}:build(4)"], "keywords with literal values"),
        (["report", f"{own}:build(width=print)"], "keywords with literal values"),
        (["report", "vit_base_patch16_224", "--input", "3x8x8"], "has a formula"),
        (["fit", f"{own}:build", "--img-size", "16", "--recipe", "zero", "-g", "t4"], "recipe"),
        (["plan", f"{own}:build", "--gpu", "t4", "--images", "1e6"], ""),
        (["trace", "vit_base_patch16_224", "-o", "x.json"], "nothing to trace"),
    ):  # fmt: skip
        assert run(arguments) == 2, arguments
        assert word in capsys.readouterr().err, arguments


def test_one_image_of_a_batch_norm_has_no_step(own: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    found = vitcost.report(vitcost.from_torch(model, inputs="4"))
    data = found.to_dict()
    assert data["flops"]["forward"] == 2 * 4 * 3
    assert data["flops"]["train_step"] is None
    assert data["memory"]["training"]["saved_activations_bytes"] is None
    assert "cannot train on one image" in data["memory"]["training"]["missing"]
    with pytest.raises(NotCovered, match="cannot train on one image"):
        workload(
            resolve(vitcost.from_torch(model, inputs="4")).config, Scenario(mode="train")
        ).step()


def test_a_loss_and_inputs_of_a_module(tmp_path: Path) -> None:
    model = nn.Linear(4, 4, bias=False)
    with pytest.raises(ConfigError, match=r"a loss is package\.module:function"):
        vitcost.report(vitcost.from_torch(model, inputs="4", loss=3))
    found = vitcost.from_torch(model, inputs=lambda b: torch.zeros(b, 4), loss=lambda y: y.sum())
    assert vitcost.report(found, batch=2).flops.backward == 2 * 2 * 4 * 4
    written = trace(found, str(tmp_path / "x.json"))
    assert vitcost.report(written.path, batch=9).flops.forward == 9 * 2 * 4 * 4


def test_wrappers_are_looked_into() -> None:
    inside = nn.Linear(4, 4)
    one, two = (
        vitcost.report(vitcost.from_torch(m, inputs="4"), batch=2).to_dict()["layers"]
        for m in (nn.Sequential(inside), nn.DataParallel(nn.Sequential(inside)))
    )
    assert one == two


@pytest.mark.parametrize("model", ["resnet18", "swin_tiny_patch4_window7_224"])
@pytest.mark.filterwarnings("ignore")
def test_a_name_of_timm_without_a_formula(model: str) -> None:
    timm = pytest.importorskip("timm")
    found = vitcost.report(model, batch=2)
    with torch.device("meta"):
        own = timm.create_model(model, num_classes=1000)
    assert found.params == sum(p.numel() for p in own.parameters())
    assert found.training.peak_bytes is not None
