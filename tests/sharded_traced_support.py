"""Modules without a formula, fully sharded: their traces, and the same step by torch's tracker."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from sharded_support import HALVES, fake_ranks, second_step, shard
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from traced_formula import both

from vitcost import from_torch
from vitcost.check.installed import timm
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak
from vitcost.costs.memory_types import StepPeak
from vitcost.engine.workload import workload
from vitcost.traced import apply_flags as flags
from vitcost.traced import card
from vitcost.traced.autocast import CARD, recomputing
from vitcost.traced.record import Recorder
from vitcost.traced.wrapped_modules import wrapped_modules
from vitcost.zoo import resolve

SIDE = 64


class Case(NamedTuple):
    """A module by its name here, and the flags of a step."""

    name: str
    fields: dict[str, Any]
    flags: dict[str, Any]

    @property
    def scenario(self) -> Scenario:
        return Scenario(mode="train", **self.flags)

    def module(self) -> nn.Module:
        with torch.device("meta"):
            return MODULES[self.name](**self.fields)


def predicted(case: Case) -> StepPeak:
    """The trace's peak, as torch's trackers see a step: gradients are never added in place."""
    with patch.object(Recorder, "_settle", lambda self: None):
        model: Any = from_torch(case.module(), inputs=f"3x{SIDE}x{SIDE}")
        return _peak(resolve(model).config, case.scenario)


def of_formula(case: Case) -> StepPeak:
    """The peak of a name of timm, two blocks deep, by its formula."""
    return _peak(both(case.name, depth=2)[0].config, case.scenario)


def of_trace(case: Case) -> StepPeak:
    """The same by a trace of timm's own module."""
    formula, model = both(case.name, depth=2)
    shape = "x".join(map(str, (formula.config.in_chans, *formula.config.image)))
    traced: Any = from_torch(model, inputs=shape)
    return _peak(resolve(traced).config, case.scenario)


def _peak(config: Any, how: Scenario) -> StepPeak:
    run = workload(config, how)
    return step_peak(states(run, 0), run)


def tracked(case: Case) -> int:
    """The same by torch."""
    how = case.scenario
    device = CARD if how.platform == "cuda" else "cpu"
    if how.platform == "cuda":
        card.install()
    plain, half = how.policy == "none", HALVES.get(how.precision)
    with fake_ranks(how.ranks, device) as mesh:
        model: Any = case.module()
        if plain and half is not None:
            model = model.to(half)
        with torch.device("meta"):
            flags.adapt(model, how.lora, how.lora_layers)
        flags.freeze(model, how.freeze)
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = model.to_empty(device=device).train()
            if case.fields.get("tied"):
                # to_empty parts them
                model.forth.weight = model.back.weight
            flags.recompute(model, how.checkpointing)
            *layers, _ = wrapped_modules(model).values()
            shard(model, layers, mesh, how)
            images = torch.empty(
                how.batch, 3, SIDE, SIDE, device=device, dtype=half if plain else None
            )
            with flags.attention(model, how.attention, how.platform), recomputing():
                return second_step(model, images, how)


class Block(nn.Module):
    """A residual layer of a width that little divides."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.down = nn.Linear(3 * width, width)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        y: Tensor = self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
        return x + y if scale is None else x + y * scale


class Own(nn.Module):
    """Patches, layers, the mean of all tokens, and a linear layer, in several forms.

    ``frozen`` layers do not train; ``tied`` adds two linear layers that share a weight;
    ``together`` checkpoints so many layers in one region; ``scaled`` passes the layers a keyword
    argument; ``unused`` is a layer that no forward reads; ``same`` runs each layer so often.
    """

    def __init__(
        self,
        width: int = 37,
        depth: int = 3,
        frozen: int = 0,
        tied: bool = False,
        together: int = 0,
        scaled: bool = False,
        unused: bool = False,
        same: int = 1,
        reentrant: bool = False,
    ) -> None:
        super().__init__()
        self.patches = nn.Linear(3 * 8 * 8, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 11)
        self.together, self.same, self.reentrant = together, same, reentrant
        self.scale = nn.Parameter(torch.ones(1, 1, width)) if scaled else None
        if unused:
            self.aside = nn.Linear(width, width)
        if tied:
            self.back = nn.Linear(width, width, bias=False)
            self.forth = nn.Linear(width, width, bias=False)
            self.forth.weight = self.back.weight
        else:
            self.back = self.forth = nn.Identity()  # type: ignore[assignment]
        if frozen:
            self.patches.requires_grad_(False)
            for block in self.blocks[:frozen]:
                block.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        x = self.forth(self.patches(x.flatten(2)))
        for start in range(0, len(self.blocks), self.together or 1):
            group = self.blocks[start : start + (self.together or 1)]
            if self.together:
                x = checkpoint(self.run, x, group, use_reentrant=self.reentrant)
            else:
                x = self.run(x, group)
        logits: Tensor = self.head(self.back(self.norm(x.mean(1))))
        return logits

    def run(self, x: Tensor, group: Any) -> Tensor:
        for block in group:
            for _ in range(self.same):
                x = block(x) if self.scale is None else block(x, scale=self.scale)
        return x


class Encoder(nn.Module):
    """torch's own layers of a Transformer."""

    def __init__(self, width: int = 36) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        layer = nn.TransformerEncoderLayer(width, 4, 50, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 3)
        self.head = nn.Linear(width, 7)

    def forward(self, images: Tensor) -> Tensor:
        x = self.layers(self.patches(images).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(x[:, 0])
        return logits


def _timm(name: str, **fields: Any) -> Callable[..., nn.Module]:
    def build(**more: Any) -> nn.Module:
        model: nn.Module = timm().create_model(name, num_classes=10, **fields, **more)
        return model

    return build


MODULES: dict[str, Callable[..., nn.Module]] = {
    "own": Own,
    "encoder": Encoder,
    "vit": _timm("vit_tiny_patch16_224", img_size=SIDE, depth=3),
    "swin": _timm(
        "swin_tiny_patch4_window7_224", img_size=SIDE, window_size=4, embed_dim=24,
        depths=(2, 2), num_heads=(2, 3),
    ),
    "convnext": _timm("convnext_tiny", dims=(16, 24, 32, 40), depths=(1, 1, 3, 1)),
    "resnet": _timm("resnet18", layers=(2, 2, 1, 1)),
    "cait": _timm("cait_xxs24_224", img_size=SIDE, depth=2, embed_dim=48, num_heads=3),
    "xcit": _timm("xcit_nano_12_p16_224", img_size=SIDE, depth=2),
    "mixer": _timm("mixer_s32_224", img_size=SIDE),
    "pvt": _timm("pvt_v2_b0"),
}  # fmt: skip


def cases() -> Iterator[Case]:
    plain: dict[str, Any] = {"batch": 2, "optimizer": "adamw-foreach"}
    amp, bf16 = {"precision": "amp-bf16"}, {"precision": "bf16"}
    fp32_sums, half_sums = {**bf16, "policy": "reduce-fp32"}, {**bf16, "policy": "reduce-half"}
    forms: tuple[tuple[str, dict[str, Any]], ...] = (
        ("vit", {}), ("swin", {}), ("convnext", {}), ("encoder", {}), ("cait", {}), ("xcit", {}),
        ("mixer", {}), ("resnet", {}), ("pvt", {}),
        ("own", {}), ("own", {"frozen": 2}), ("own", {"tied": True}),
        ("own", {"together": 1}), ("own", {"together": 2}), ("own", {"together": 2, "frozen": 1}),
        ("own", {"scaled": True}), ("own", {"unused": True}),
        ("own", {"scaled": True, "together": 3}), ("own", {"together": 1, "reentrant": True}),
    )  # fmt: skip
    ways: tuple[dict[str, Any], ...] = (
        {"zero": 3, "ranks": 2}, {"zero": 2, "ranks": 8, **amp}, {"zero": 3, "ranks": 64, **bf16},
        {"zero": 3, "ranks": 8, **fp32_sums}, {"zero": 2, "ranks": 5, **half_sums},
        {"zero": 3, "ranks": 3, "checkpointing": "block"},
        {"zero": 2, "ranks": 64, "checkpointing": "block", "accumulate": 2, **amp},
        {"zero": 3, "ranks": 2, "platform": "cpu", "batch": 16},
        {"zero": 3, "ranks": 7, "accumulate": 2, "batch": 16},
        {"zero": 2, "ranks": 3, "precision": "amp-fp16", "grad_scaler": True},
        {"zero": 3, "ranks": 1000, "batch": 1, "optimizer": "adamw-loop"},
    )  # fmt: skip
    for i, (name, fields) in enumerate(forms):
        for j, way in enumerate(ways):
            # a region of its own is no layer of a flag
            if (i + j) % 3 == 0 and not (fields.get("together") and "checkpointing" in way):
                yield Case(name, fields, {**plain, **way})
