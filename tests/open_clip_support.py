"""Peaks of steps of open_clip's own pairs and text towers, by fake tensors and torch's MemTracker.

The loss is open_clip's: ClipLoss, or SigLipLoss where the model has a bias of its logits. A tower
alone has the mean of its features; an image tower's are those before they are projected.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from alive import Alive
from counting_support import open_clip
from open_clip import model as towers
from sharded_support import HALVES, AsReal, autocasts, fake_ranks
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from vitcost.check.step_witnesses import optimizer
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak
from vitcost.engine import live
from vitcost.engine.model import Config
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.traced import apply_flags, card
from vitcost.traced.alive import upper
from vitcost.traced.autocast import CARD, recomputing
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How
from vitcost.traced.traces import trace
from vitcost.zoo import resolve

VISION = {
    "image_size": 32, "patch_size": 8, "layers": 3, "width": 48, "head_width": 16, "mlp_ratio": 2.0,
}  # fmt: skip
TEXT = {
    "context_length": 20, "vocab_size": 101, "width": 48, "heads": 3, "layers": 3, "mlp_ratio": 2.0,
}  # fmt: skip
BOTH_WAYS = {"no_causal_mask": True, "pool_type": "last"}
# small ones of every kind
MODELS: Mapping[str, Mapping[str, Any]] = {
    "CLIP": {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": TEXT},
    # rows of the mask that the kernel of a card reads as they are
    "24 tokens": {
        "embed_dim": 40, "vision_cfg": VISION, "text_cfg": {**TEXT, "context_length": 24},
        "quick_gelu": True,
    },
    "SigLIP": {
        "embed_dim": 48, "vision_cfg": VISION, "text_cfg": {**TEXT, **BOTH_WAYS, "proj_bias": True},
        "custom_text": True, "init_logit_bias": -10.0,
    },
    "CLIPA": {"embed_dim": 40, "vision_cfg": VISION, "text_cfg": {**TEXT, **BOTH_WAYS}},
    # convolutions in front of timm's blocks: open_clip builds it at its own size
    "ViTamin": {
        "embed_dim": 40,
        "vision_cfg": {
            "timm_model_name": "vitamin_small_224", "timm_model_pretrained": False,
            "timm_pool": "", "timm_proj": "linear", "timm_drop": 0.0, "timm_drop_path": 0.1,
            "image_size": 224,
        },
        "text_cfg": TEXT, "custom_text": True,
    },
}  # fmt: skip
KEYS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_bias")


class Case(NamedTuple):
    """A model JSON of open_clip's, which of its towers, and how it trains."""

    name: str
    data: Mapping[str, Any]
    tower: str
    how: Scenario


def config_of(case: Case, folder: Path) -> Config:
    """The config that is read from a model's file."""
    path = folder / "config.json"
    path.write_text(json.dumps(case.data))
    pair: Any = resolve(str(path)).config
    return pair if case.tower == "both" else getattr(pair, case.tower)


def built(case: Case) -> nn.Module:
    """open_clip's own class, on the meta device."""
    data = case.data
    with torch.device("meta"):
        if case.tower == "text":
            given = data["embed_dim"], towers.CLIPTextCfg(**data["text_cfg"])
            text: nn.Module = towers._build_text_tower(*given, data.get("quick_gelu", False))
            return text
        kind: Any = towers.CustomTextCLIP if data.get("custom_text") else towers.CLIP
        pair: nn.Module = kind(**{key: data[key] for key in KEYS if key in data})
    if case.tower == "both":
        return pair
    visual: Any = pair.visual
    if hasattr(visual, "trunk"):
        return visual.trunk
    visual.proj = None
    return visual


def inputs(case: Case, config: Any, batch: int, **where: Any) -> tuple[torch.Tensor, ...]:
    pair = case.tower == "both"
    given = []
    if case.tower != "text":
        size = (config.vision if pair else config).img_size
        given.append(torch.zeros(batch, 3, *size, **where))
    if case.tower != "vision":
        length = (config.text if pair else config).seq_len
        ids = torch.zeros(batch, length, dtype=torch.long, device=where.get("device"))
        given.append(ids)
    return tuple(given)


def loss_of(case: Case, output: Any) -> torch.Tensor:
    if case.tower != "both":
        mean: torch.Tensor = output.mean()
        return mean
    over: dict[str, Any] = {"world_size": case.how.ranks}
    made = open_clip.loss.SigLipLoss
    if len(output) == 3:
        made, gather = open_clip.loss.ClipLoss, case.how.gather
        over["local_loss"] = gather.startswith("local")
        over["gather_with_grad"] = gather.endswith("grad")
    # the hooks that a tracker has on modules would keep gradients of their inputs
    found: torch.Tensor = made(**over).forward(*output)
    return found


def tracked(case: Case, config: Config) -> int:
    """The peak of the second step, everything in memory."""
    how = case.how
    if how.platform == "cuda":
        card.install()
    device = CARD if how.platform == "cuda" else "cpu"
    model = built(case).to(HALVES.get(how.precision, torch.float32))
    with _over(how, device), FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device=device).train()
        if how.checkpointing == "block":
            # open_clip's own way: every block of both towers
            model.set_grad_checkpointing()
            _blocks_alone(model)
        dtype = next(model.parameters()).dtype
        given = inputs(case, config, how.batch, device=device, dtype=dtype)
        sgd = optimizer(how.optimizer)(model.parameters())

        def step() -> None:
            with autocasts(how):
                loss = loss_of(case, model(*given))
            with torch.autograd.set_multithreading_enabled(how.platform == "cpu"):
                loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
            sgd.zero_grad()

        with apply_flags.attention(model, how.attention, how.platform), recomputing():
            step()
            tracker = MemTracker()
            tracker.track_external(model, sgd, *given)
            with AsReal(), tracker:
                step()
    peak = tracker.get_tracker_snapshot("peak")
    return sum(each["Total"] for place, each in peak.items() if place.type == device)


@contextmanager
def _over(how: Scenario, device: str) -> Iterator[None]:
    """The ranks of a scenario, which a card exchanges tensors with by NCCL."""
    if how.ranks == 1:
        yield
        return
    with fake_ranks(how.ranks, device), pytest.MonkeyPatch.context() as patch:
        # neighbours write into tensors that are there
        patch.setattr(dist, "batch_isend_irecv", lambda operations: [])
        if how.platform == "cuda":
            patch.setattr(dist, "get_backend", lambda group=None: dist.Backend.NCCL)
        yield


def _blocks_alone(model: nn.Module) -> None:
    """timm checkpoints the stages of a backbone too, which are no blocks of a Transformer."""
    for name, module in model.named_modules():
        part: Any = module
        if "patch_embed.backbone" in name and hasattr(part, "grad_checkpointing"):
            part.grad_checkpointing = False


def predicted(case: Case, config: Config) -> int:
    """The formulas' peak, as torch's trackers see a step; nothing has the buckets of
    DistributedDataParallel there."""
    run = workload(config, case.how)
    own = states(run, 0)
    return step_peak(own, run, in_place=False).total_bytes - own.buckets_bytes


def alive_in_eval(case: Case, config: Config) -> int:
    """The most that is alive in a forward pass in eval; of a pair without the product."""
    how = case.how
    card.install()
    model = built(case).to(HALVES.get(how.precision, torch.float32))
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device=CARD).eval()
        dtype = next(model.parameters()).dtype
        given = inputs(case, config, how.batch, device=CARD, dtype=dtype)
        alive = Alive([*given, *model.parameters(), *model.buffers()])
        kernel = apply_flags.attention(model, how.attention, how.platform)
        with kernel, alive, torch.no_grad(), autocasts(how):
            model(*given)
    return max(alive.seen)


def traced(case: Case, config: Config) -> tuple[int, int]:
    """The formulas' peak and that of a trace, weights and the batch apart."""
    how = case.how
    run = workload(config, how)
    own = live.peak(run.step(), run.sizes).peak_bytes
    asked = How(
        precision=how.precision,
        platform=how.platform,
        attention=how.attention,
        checkpointing=how.checkpointing,
    )
    model = built(case)
    given = inputs_of(model, lambda batch: inputs(case, config, batch))
    loss = Loss(lambda y: loss_of(case, y), "own")
    step = trace(model, given, (how.batch,), asked, loss).step
    assert step is not None
    return own, int(live.peak(upper(step), Sizes(b=how.batch)).peak_bytes)
