"""Real models of torchvision and transformers, tiny, and what of them torch holds or has alive."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import saved_support as support
import torch
from saved_support import AMP, HALF, held_bytes, running
from timm_support import torchvision, transformers
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitcost import from_torch
from vitcost.check import steps
from vitcost.check.steps import Alive
from vitcost.config import ViTConfig
from vitcost.engine.cost import fold
from vitcost.engine.live import forward_peak, peak
from vitcost.engine.lower import lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.step import step_trace
from vitcost.engine.workload import mode_of
from vitcost.errors import NotCovered
from vitcost.scenario import Scenario
from vitcost.zoo import Resolved

__all__ = ["Compared", "Make", "Run", "of_torchvision", "of_transformers", "on_card", "on_cpu"]

# a model whose attention is given, eager or sdpa
Make = Callable[[str], nn.Module]


class Run(NamedTuple):
    """How a model is run."""

    precision: str
    attention: str
    batch: int


class Compared(NamedTuple):
    """One quantity: of the real model, and of the formula."""

    quantity: str
    real: int
    formula: int


def of_torchvision(**options: Any) -> Make:
    base = {
        "image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 3, "hidden_dim": 48,
        "mlp_dim": 96, "num_classes": 5,
    }  # fmt: skip
    vit = torchvision().models.VisionTransformer
    return lambda attention: vit(**{**base, **options})


def of_transformers(kind: str, name: str, **options: Any) -> Make:
    base = {
        "image_size": 32, "patch_size": 8, "hidden_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 3, "num_labels": 5,
    }  # fmt: skip
    base |= {"mlp_ratio": 2} if "dinov2" in kind else {"intermediate_size": 96}
    package = transformers()

    def make(attention: str) -> nn.Module:
        made = {**base, **options, "attn_implementation": attention}
        model: nn.Module = getattr(package, name)(package.AutoConfig.for_model(kind, **made))
        return model

    return make


class _Head(nn.Module):
    """A model that answers with its logits alone, of both heads in training where it has two."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> Any:
        output = self.model(x)
        if isinstance(output, torch.Tensor):
            return output
        if "cls_logits" in output and self.training:
            return output.cls_logits, output.distillation_logits
        return next((output[k] for k in ("logits", "image_embeds") if k in output), output)


def _prepared(make: Make, run: Run) -> tuple[nn.Module, ViTConfig]:
    model = make("eager" if run.attention == "eager" else "sdpa")
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    assert isinstance(found.config, ViTConfig)
    return _Head(support.prepared(model, run.precision)), found.config


def _scenario(run: Run, platform: str) -> Scenario:
    return Scenario(
        batch=run.batch, mode="train", precision=run.precision, attention=run.attention,
        platform=platform,
    )  # fmt: skip


def _formulas(config: ViTConfig, run: Run, platform: str) -> tuple[int, int]:
    """Bytes that autograd keeps, and the most that are alive in inference."""
    how = _scenario(run, platform)
    mode, sizes = mode_of(config, how), sizes_of(config, run.batch)
    saved = fold(lower(structure_of(config, run.batch, True), mode), sizes).cost.saved_bytes
    alive = forward_peak(lower(structure_of(config, run.batch), mode), sizes).peak_bytes
    return saved, alive


def on_cpu(make: Make, run: Run) -> Iterator[Compared]:
    """What a real model keeps and has alive on a CPU, and the peak of its step."""
    model, config = _prepared(make, run)
    dtype, autocast = HALF.get(run.precision, torch.float32), AMP.get(run.precision)
    x = torch.zeros(run.batch, config.in_chans, *config.img_size, dtype=dtype)
    saved, alive = _formulas(config, run, "cpu")
    with running(run.precision, run.attention):
        yield Compared("inference", steps.forward_peak(model.eval(), x, autocast), alive)
    own = [x, *model.parameters(), *model.buffers()]

    def forward() -> Any:
        with running(run.precision, run.attention):
            return model(x)

    model.train()
    yield Compared("saved", held_bytes(forward, own), saved)
    structure, mode = structure_of(config, run.batch, True), mode_of(config, _scenario(run, "cpu"))
    try:
        trace = step_trace(structure, mode, False)
    except NotCovered:
        return
    found = peak(trace, sizes_of(config, run.batch)).peak_bytes
    # a step enters autocast by itself, and a context around it would keep autocast's copies
    kernel = sdpa_kernel([SDPBackend.MATH]) if run.attention == "math" else nullcontext()
    with kernel:
        step = steps.Step(model, x, steps.optimizer("sgd"), autocast)
        yield Compared("step", max(steps.looks(step)), found)


def on_card(make: Make, run: Run) -> Iterator[Compared]:
    """The same by the rules of a card that is not there, but for the step."""
    for quantity in ("saved", "inference"):
        model, config = _prepared(make, run)
        formulas = dict(zip(("saved", "inference"), _formulas(config, run, "cuda"), strict=True))
        plain = run.attention in ("eager", "math")
        with support.fake_card(run.precision):
            model = support.move(model.train(quantity == "saved"))
            dtype = HALF.get(run.precision, torch.float32)
            shape = run.batch, config.in_chans, *config.img_size
            x = torch.empty(*shape, dtype=dtype, device="cuda")
            own = [x, *model.parameters(), *model.buffers()]
            with nullcontext() if plain else support.card_attention(run.attention):
                real = _measured(quantity, model, x, own)
        yield Compared(quantity, real, formulas[quantity])


def _measured(quantity: str, model: nn.Module, x: torch.Tensor, own: list[torch.Tensor]) -> int:
    if quantity == "saved":
        return held_bytes(lambda: model(x), own)
    alive = Alive(own)
    with alive, torch.no_grad():
        model(x)
    return max(alive.seen)
