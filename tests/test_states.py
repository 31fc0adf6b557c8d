"""Model states: torch's own optimizers on real parameters, frozen parts apart."""

import importlib

import pytest
import torch
from timm_support import timm

import vitcost
from vitcost.check import reference
from vitcost.config import ViTConfig

timm()
optim = importlib.import_module("timm.optim")
CONFIG = ViTConfig(img_size=8, patch_size=4, embed_dim=12, depth=7, num_heads=3, num_classes=5)
OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "adamw-amsgrad": lambda parameters: torch.optim.AdamW(parameters, amsgrad=True),
    "adam-amsgrad": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, fused=True),
    "adamw-foreach": lambda parameters: torch.optim.AdamW(parameters, foreach=True),
    "lion": lambda parameters: optim.Lion(parameters, foreach=False),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "sgd-momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
}


@pytest.mark.parametrize(
    ("precision", "freeze"),
    [("fp32", "none"), ("bf16", "backbone"), ("fp32", "first:3"), ("bf16", "all-but-last:2")],
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_are_torchs(name: str, precision: str, freeze: str) -> None:
    model = reference.build(CONFIG)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    kept = {"none": 0, "first:3": 3, "all-but-last:2": 5}.get(freeze)
    for path, parameter in model.named_parameters():
        top, _, rest = path.partition(".")
        if freeze == "backbone":
            parameter.requires_grad_(top == "head")
        elif kept and top != "blocks":
            # what stands before the frozen blocks is frozen, what stands behind them is not
            parameter.requires_grad_(top in ("norm", "head"))
        elif kept:
            parameter.requires_grad_(int(rest.partition(".")[0]) >= kept)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = OPTIMIZERS[name](trained)
    optimizer.step()
    states = [t for state in optimizer.state.values() for t in state.values() if t is not None]
    training = vitcost.report(
        CONFIG, optimizer=name, precision=precision, freeze=freeze, mode="train"
    ).training
    assert training.weights_bytes == sum(p.nbytes for p in model.parameters())
    assert training.gradients_bytes == sum(p.nbytes for p in trained)
    assert training.optimizer_bytes == sum(t.nbytes for t in states)
