"""Inputs as a forward takes them, and modules that a trace sees into on one platform alone."""

from pathlib import Path

import pytest
import torch
from timm_support import timm
from torch import Tensor, nn
from traced_support import real, traced

import vitcost
from vitcost.cli import run
from vitcost.errors import NotCovered
from vitcost.traced.alive import looks
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How
from vitcost.traced.traces import trace


class OfOne(nn.Module):
    """Its only input is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.word = nn.Linear(12, 4), nn.Embedding(9, 4)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        y: Tensor = self.image(batch["image"].flatten(1)) + self.word(batch["word"]).mean(1)
        return y


class OfKeywords(OfOne):
    def forward(self, image: Tensor, word: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward({"image": image, "word": word})


def examples(batch: int = 1) -> dict[str, Tensor]:
    return {"image": torch.zeros(batch, 3, 2, 2), "word": torch.zeros(batch, 5, dtype=torch.long)}


@pytest.mark.parametrize("kind", [OfOne, OfKeywords])
def test_a_dictionary_is_one_input_or_keywords(kind: type[OfOne]) -> None:
    model = kind()
    for given in (examples(), examples, ["image=3x2x2", "word=5:int64"]):
        found = trace(model, inputs_of(model, given), (2,), How(platform="cpu"))
        # a linear layer alone multiplies matrices
        assert traced(found, 2).forward == 2 * 2 * 12 * 4
    beside = inputs_of(model, None, examples())
    assert trace(model, beside, (2,), How(platform="cpu")).step == found.step


def test_channels_are_those_of_the_first_convolution() -> None:
    with torch.device("meta"):
        for name, channels in (("volo_d1_224", 3), ("resnet18", 5), ("tresnet_m", 3)):
            model = timm().create_model(name, in_chans=channels)
            assert f": {channels}x" in inputs_of(model).note


class Steps(nn.Module):
    """A recurrent network by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(8, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 16)
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
        y: Tensor = self.head(h)
        return y


def test_a_cell_is_plain_operators_on_a_cpu_alone() -> None:
    model = Steps()
    found = trace(model, inputs_of(model, "5x8"), (2,), How(platform="cpu"))
    assert traced(found, 2) == real(Steps(), lambda batch: torch.zeros(batch, 5, 8), 2)
    assert not any("no rule" in note for note in found.notes)
    with pytest.raises(NotCovered, match=r"cell is .*LSTMCell.* a card has a fused kernel for it"):
        trace(model, inputs_of(model, "5x8"), (2,), How(platform="cuda"))


def test_a_batch_norm_in_eval_returns_no_statistics() -> None:
    """cuDNN's and the CPU's kernel give empty ones: the images and what each layer writes."""
    model = nn.Sequential(nn.Conv2d(3, 64, 1), nn.BatchNorm2d(64))
    for platform in ("cuda", "cpu"):
        found = trace(model, inputs_of(model, "3x2x2"), (2,), How(platform=platform)).inference
        # the first layer's output is the second's input
        assert max(look.total[0] for look in looks(found)) == 2 * 4 * 2 * 64 * 4


def test_a_budget_has_the_inputs_and_the_loss_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("given.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Linear(4, 2)\n"
        "def loss(output): return output.square().sum()\n"
    )
    table = '[[tool.vitcost.budget]]\nmodel = "given:build"\ninput = ["4"]\n'
    Path("budgets.toml").write_text(table + 'loss = "given:loss"\nflops = "16"\nbatch = 1\n')
    assert run(["budget", "--config", "budgets.toml"]) == 0
    Path("budgets.toml").write_text(table + 'loss = "given:loss"\nflops = "15"\nbatch = 1\n')
    assert run(["budget", "--config", "budgets.toml"]) == 1
    named = table.replace("given:build", "vit_tiny_patch16_224")
    Path("budgets.toml").write_text(named + 'flops = "3 G"\n')
    assert run(["budget", "--config", "budgets.toml"]) == 2
    assert "has no input and no loss" in capsys.readouterr().err
    assert vitcost.report("given:build", input="4").flops.forward == 2 * 4 * 2
