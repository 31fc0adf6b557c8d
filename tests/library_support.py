"""Real models of other libraries than timm, tiny, and what of them torch holds or has alive."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import import_module
from itertools import accumulate
from typing import Any, NamedTuple

import saved_support as support
import torch
from alive import Alive, declared_peak, forward_peak, looks
from saved_support import AMP, HALF, held_bytes, running
from timm_support import torchvision, transformers
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile

from vitcost import from_torch, report
from vitcost.check import step_witnesses
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import fold
from vitcost.engine.live import peak
from vitcost.engine.lower import lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.engine.step_trace import step_trace
from vitcost.engine.workload import mode_of
from vitcost.errors import NotCovered
from vitcost.zoo import Resolved
from vitcost.zoo.keys import Described
from vitcost.zoo.open_clip import described

__all__ = [
    "Compared", "Make", "Run", "alive_in_inference", "allocated_in_inference",
    "of_open_clip", "of_torchvision", "of_transformers", "on_card", "on_cpu",
]  # fmt: skip

# a model whose attention is given, eager or sdpa, and what is read of it
Make = Callable[[str], tuple[nn.Module, ViTConfig]]


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
    return lambda attention: _read(vit(**{**base, **options}))


def _read(model: nn.Module) -> tuple[nn.Module, ViTConfig]:
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    assert isinstance(found.config, ViTConfig)
    return model, found.config


def of_open_clip(**options: Any) -> Make:
    """The vision tower of a model JSON."""
    tower = {
        "image_size": 32, "patch_size": 8, "layers": 3, "width": 48, "head_width": 16,
        "mlp_ratio": 2.0, **options,
    }  # fmt: skip
    package = import_module("open_clip.model")

    def make(attention: str) -> tuple[nn.Module, ViTConfig]:
        model = package._build_vision_tower(5, package.CLIPVisionCfg(**tower))
        found = described({"embed_dim": 5, "vision_cfg": dict(tower)}, _no_names)
        return model, ViTConfig(**found.fields)

    return make


def _no_names(name: str) -> Described:
    raise AssertionError(name)


def of_transformers(kind: str, name: str, **options: Any) -> Make:
    base = {
        "image_size": 32, "patch_size": 8, "hidden_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 3, "num_labels": 5,
    }  # fmt: skip
    base |= {"mlp_ratio": 2} if "dinov2" in kind else {"intermediate_size": 96}
    package = transformers()

    def make(attention: str) -> tuple[nn.Module, ViTConfig]:
        made = {**base, **options, "attn_implementation": attention}
        return _read(getattr(package, name)(package.AutoConfig.for_model(kind, **made)))

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


def _mean_of_features(output: Any, targets: torch.Tensor) -> torch.Tensor:
    """The loss of a model without class scores: the mean of its pooled vector, or of its tokens."""
    pooled = output.get("pooler_output")
    return step_witnesses.means(output.last_hidden_state if pooled is None else pooled, targets)


def _prepared(make: Make, run: Run) -> tuple[nn.Module, ViTConfig]:
    model, config = make("eager" if run.attention == "eager" else "sdpa")
    return _Head(support.prepared(model, run.precision)), config


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
    tree = lower(structure_of(config, run.batch), mode)
    alive = declared_peak(tree, sizes, in_place=False).peak_bytes
    return saved, alive


def on_cpu(make: Make, run: Run) -> Iterator[Compared]:
    """What a real model keeps and has alive on a CPU, and the peak of its step."""
    model, config = _prepared(make, run)
    dtype, autocast = HALF.get(run.precision, torch.float32), AMP.get(run.precision)
    x = torch.zeros(run.batch, config.in_chans, *config.img_size, dtype=dtype)
    saved, alive = _formulas(config, run, "cpu")
    with running(run.precision, run.attention):
        yield Compared("inference", forward_peak(model.eval(), x, autocast), alive)
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
        loss = step_witnesses.cross_entropies if config.num_classes else _mean_of_features
        step = step_witnesses.Step(model, x, step_witnesses.optimizer("sgd"), autocast, loss)
        yield Compared("step", max(looks(step)), found)


def adams_states(make: Make) -> Compared:
    """Bytes of the states that AdamW has after a real step, and of the formula."""
    model, config = _prepared(make, Run("fp32", "sdpa", 2))
    x = torch.zeros(2, config.in_chans, *config.img_size)
    loss = step_witnesses.cross_entropies if config.num_classes else _mean_of_features
    step = step_witnesses.Step(model, x, step_witnesses.optimizer("adamw"), loss=loss)
    states = [t for state in step.optimizer.state.values() for t in state.values()]
    real = sum(t.numel() * t.element_size() for t in states)
    training = report(config, mode="train", batch=2, optimizer="adamw").training
    return Compared("optimizer states", real, training.optimizer_bytes)


def on_card(make: Make, run: Run) -> Iterator[Compared]:
    """The same by the rules of a card that is not there, but for the step."""
    for quantity in ("saved", "inference"):
        model, config = _prepared(make, run)
        formulas = dict(zip(("saved", "inference"), _formulas(config, run, "cuda"), strict=True))
        plain = run.attention in ("eager", "math")
        _forget_tables(model.model)
        with support.fake_card(run.precision):
            model = support.move(model.train(quantity == "saved"))
            dtype = HALF.get(run.precision, torch.float32)
            shape = run.batch, config.in_chans, *config.img_size
            x = torch.empty(*shape, dtype=dtype, device="cuda")
            own = [x, *model.parameters(), *model.buffers(), *_on_the_host(model)]
            with nullcontext() if plain else support.card_attention(run.attention):
                real = _measured(quantity, model, x, own)
        _forget_tables(model.model)
        yield Compared(quantity, real, formulas[quantity])


def _on_the_host(model: nn.Module) -> list[torch.Tensor]:
    """Indexes of relative positions, which transformers makes in the memory of the machine."""
    name = "generate_relative_position_index"
    biases: list[Any] = [each for each in model.modules() if hasattr(each, name)]
    found = [getattr(each, name)(each.window_size) for each in biases]
    assert all(index.device.type == "cpu" for index in found)
    return found


def _forget_tables(model: nn.Module) -> None:
    """Empties what transformers caches for a process: fake tensors of another card."""
    package = sys.modules[type(model).__module__]
    own = [*vars(package).values()]
    own += [f for each in own if isinstance(each, type) for f in vars(each).values()]
    for each in own:
        for cell in getattr(getattr(each, "__func__", each), "__closure__", None) or ():
            clear = getattr(cell.cell_contents, "cache_clear", None)
            if clear is not None:
                clear()


def _measured(quantity: str, model: nn.Module, x: torch.Tensor, own: list[torch.Tensor]) -> int:
    if quantity == "saved":
        return held_bytes(lambda: model(x), own)
    alive = Alive(own)
    with alive, torch.no_grad():
        model(x)
    return max(alive.seen)


def allocated_in_inference(make: Make, batch: int) -> int:
    """The most that a forward pass in fp32 allocates by the CPU's allocator, of every kind."""
    model, config = make("sdpa")
    x = torch.zeros(batch, config.in_chans, *config.img_size)
    model.eval()
    with torch.no_grad():
        model(x)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            model(x)
    results: Any = profiler.profiler
    tree = results.kineto_results.experimental_event_tree()
    changes = sorted((at, size) for root in tree for at, size in _allocations(root))
    return max(accumulate(size for _, size in changes))


def _allocations(event: Any) -> Iterator[tuple[int, int]]:
    if "Allocation" in str(event.tag):
        yield event.start_time_ns, event.extra_fields.alloc_size
    for child in event.children:
        yield from _allocations(child)


def alive_in_inference(make: Make, batch: int) -> int:
    """The same by the formula."""
    _, config = make("sdpa")
    return _formulas(config, Run("fp32", "sdpa", batch), "cpu")[1]
