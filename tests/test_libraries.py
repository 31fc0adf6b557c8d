"""Which tensors live in the forwards of other libraries than timm, against their own models."""

import pytest
import saved_support as support
from library_support import Make, Run, of_torchvision, on_card, on_cpu

TORCHVISION: dict[str, Make] = {
    "plain": of_torchvision(),
    "one head": of_torchvision(num_heads=1),
    "one layer": of_torchvision(num_layers=1),
    "dropout": of_torchvision(dropout=0.1),
    "attention dropout": of_torchvision(attention_dropout=0.1),
    "representation": of_torchvision(representation_size=7),
    "a wide MLP": of_torchvision(mlp_dim=200, num_layers=7),
}
CPU_RUNS = (
    Run("fp32", "sdpa", 2),
    Run("amp-bf16", "sdpa", 2),
    Run("bf16", "sdpa", 1),
    Run("bf16", "math", 3),
)
CARD_RUNS = (
    Run("fp32", "efficient", 2),
    Run("amp-bf16", "flash", 2),
    Run("amp-fp16", "math", 2),
    Run("bf16", "cudnn", 3),
    Run("fp16", "efficient", 1),
)
needs_a_fake_card = pytest.mark.skipif(
    not support.has_fake_cards(), reason="private symbols of torch 2.13 on a machine without a card"
)


@pytest.mark.parametrize("run", CPU_RUNS, ids=lambda run: "-".join(map(str, run)))
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str, run: Run) -> None:
    for found in on_cpu(TORCHVISION[name], run):
        assert found.formula == found.real, found


@needs_a_fake_card
@pytest.mark.parametrize("run", CARD_RUNS, ids=lambda run: "-".join(map(str, run)))
def test_torchvision_on_a_card(run: Run) -> None:
    for name, make in TORCHVISION.items():
        for found in on_card(make, run):
            assert found.formula == found.real, (name, found)
