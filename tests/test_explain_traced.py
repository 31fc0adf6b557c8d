"""``explain`` of a traced module: terms in the batch by module, and who holds what at the peak."""

import pytest
import torch
from torch import nn

import vitcost
from vitcost.errors import NotCovered


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.narrow(self.wide(self.norm(x)).relu())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(8, 8), nn.Linear(8, 5)
        self.layers = nn.Sequential(*(Layer() for _ in range(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.embed(x)))


def net() -> vitcost.from_torch:  # type: ignore[valid-type]
    return vitcost.from_torch(Net(), inputs="8")


def test_terms_are_modules_and_add_up() -> None:
    found = vitcost.explain(net(), "flops", batch=6)
    # a layer: 2 · 8 · 32 twice; a run of three is one term
    assert {t.name: t.formula for t in found.terms} == {
        "embed": f"{2 * 8 * 8}*b",
        "layers.0 to layers.2": f"{3 * 2 * 2 * 8 * 32}*b",
        "head": f"{2 * 8 * 5}*b",
    }
    assert found.value == sum(t.value for t in found.terms) == 6 * (128 + 3 * 1024 + 80)
    assert "trace" in found.reference
    params = vitcost.explain(net(), "params")
    assert params.value == 72 + 3 * (16 + 8 * 32 + 32 + 32 * 8 + 8) + 45
    assert not params.letters


def test_one_image_has_the_letters_where_it_runs_as_a_batch_does() -> None:
    found = vitcost.explain(net(), "saved_activations", batch=1, platform="cpu")
    whole = vitcost.report(net(), batch=1, platform="cpu").training.saved_activations_bytes
    # a layer keeps its norm's input and two statistics, the input of each product and relu's output
    layer = 4 * (8 + 2 + 8 + 32)
    assert found.terms[0].formula == f"{3 * layer}*b"
    assert found.value == whole


@pytest.mark.parametrize("quantity", ["train_memory", "inference_memory", "activations"])
def test_the_peak_is_told_by_who_holds_it(quantity: str) -> None:
    found = vitcost.explain(net(), quantity, batch=64)
    report = vitcost.report(net(), batch=64)
    whole = {
        "train_memory": report.training.peak_bytes,
        "inference_memory": report.inference.total_bytes,
        "activations": report.inference.activations_bytes,
    }[quantity]
    assert found.value == sum(t.value for t in found.terms) == whole
    held = [t.name for t in found.terms]
    if quantity == "train_memory":
        assert report.training.peak_at
        assert report.training.peak_at in found.unit
        assert "saved for layers.*" in held
    else:
        assert any(name.endswith("of layers.*") for name in held)


def test_what_a_module_has_not_is_refused() -> None:
    for quantity in ("tokens", "complexity"):
        with pytest.raises(NotCovered, match="axis s of a Transformer"):
            vitcost.explain(net(), quantity)
    with pytest.raises(NotCovered, match="no module named 'attn'"):
        vitcost.explain(net(), "attention_flops")


def test_a_module_without_a_step_has_its_forward_explained() -> None:
    """An embedding of 80 MB whose output is the input: no product, no gradient, no kernel."""

    class Idle(nn.Module):
        def __init__(self, scale: int) -> None:
            super().__init__()
            self.scale, self.table = scale, nn.Embedding(2000, 10_000, device="meta")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale if self.scale > 1 else x

    idle, busy = (vitcost.from_torch(Idle(scale), inputs="8") for scale in (1, 2))
    assert vitcost.explain(idle, "flops").value == 0
    assert vitcost.explain(idle, "params").value == 2000 * 10_000
    assert vitcost.explain(idle, "rule_of_thumb_inference").value == 2 * 2000 * 10_000
    for quantity in ("train_flops", "saved_activations"):
        with pytest.raises(NotCovered, match="no gradient reaches an output"):
            vitcost.explain(idle, quantity)
    # this model has no FLOPs that those of another way to fit could be a share of
    (row,) = vitcost.fit(busy, gpu="0.05GB").rows()
    assert row["fits"] is False
    with pytest.raises(NotCovered, match="a model that launches no kernel"):
        vitcost.report(idle, gpu="l4")
    assert vitcost.report(busy, gpu="l4").time[0].seconds > 0
