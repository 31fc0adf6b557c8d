"""A fully sharded step by torch's FSDPMemTracker: fake tensors, a process group that is simulated,
and the rules of a CPU or of a card.

The second step is tracked: the first makes the optimizer's states, and lets DTensor propagate
shapes at global sizes.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from scaler_support import Ending
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from vitcost.check import reference
from vitcost.check.checkpointed import checkpointed
from vitcost.check.installed import timm
from vitcost.check.step_witnesses import cross_entropies, optimizer, valued
from vitcost.check.trainable_models import adapted, frozen
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.memory import states, step_peak
from vitcost.costs.memory_types import StepPeak
from vitcost.engine.workload import workload
from vitcost.traced import apply_flags as flags
from vitcost.traced import card
from vitcost.traced.autocast import CARD, autocast, recomputing
from vitcost.traced.corrections import as_real
from vitcost.zoo import resolve

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class AsReal(TorchDispatchMode):
    """Gives what a real kernel would where torch's shape functions differ."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return as_real(func, args, func(*args, **(kwargs or {})))


class Case(NamedTuple):
    """A model of the zoo, its fields, and the flags of a step."""

    name: str
    fields: dict[str, Any]
    flags: dict[str, Any]

    @property
    def config(self) -> ViTConfig:
        config = resolve(self.name, **self.fields).config
        assert isinstance(config, ViTConfig)
        return config

    @property
    def scenario(self) -> Scenario:
        return Scenario(mode="train", **self.flags)


def predicted(case: Case) -> StepPeak:
    """The formulas' peak, as torch's trackers see a step."""
    run = workload(case.config, case.scenario)
    return step_peak(states(run, 0), run, in_place=False)


def tracked(case: Case) -> int:
    """The same by torch."""
    config, how = case.config, case.scenario
    device = CARD if how.platform == "cuda" else "cpu"
    if how.platform == "cuda":
        card.install()
    plain = how.policy == "none"
    half = HALVES.get(how.precision)
    model: Any
    with fake_ranks(how.ranks, device) as mesh:
        with torch.device("meta"):
            model = built(case)
        if plain and half is not None:
            model = model.to(half)
        frozen(model, "backbone" if how.lora and how.freeze == "none" else how.freeze)
        if how.lora:
            with torch.device("meta"):
                adapted(model, how.lora, how.lora_layers)
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = checkpointed(model.to_empty(device=device).train(), how.checkpointing)
            shard(model, _blocks(model), mesh, how)
            images = torch.empty(
                how.batch, config.in_chans, *config.img_size, device=device,
                dtype=half if plain else None,
            )  # fmt: skip
            with flags.attention(model, how.attention, how.platform), recomputing():
                return second_step(model, images, how)


def shard(model: nn.Module, blocks: Iterable[nn.Module], mesh: Any, how: Scenario) -> None:
    """``fully_shard`` on each block and on the root, as the flags say."""
    policy = MixedPrecisionPolicy()
    if how.policy != "none":
        reduced = torch.float32 if how.policy == "reduce-fp32" else None
        half = HALVES.get(how.precision)
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=reduced)
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=how.zero == 3, mp_policy=policy)


def built(case: Case) -> nn.Module:
    """timm's own model; for selective checkpointing the reference, whose attention can be taken
    apart."""
    if case.scenario.checkpointing == "selective":
        return reference.build(case.config, case.scenario.attention != "eager")
    fields = {"num_classes": case.config.num_classes, **case.fields}
    model: Any = timm().create_model(case.name, **fields)
    if case.config.dist_token:
        # it answers with both heads, as it trains
        model.distilled_training = True
    return model


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers themselves, of groups that share a checkpointed region too."""
    blocks: Any = model.blocks
    for block in blocks:
        yield from block.blocks if hasattr(block, "blocks") else (block,)


def second_step(model: nn.Module, images: torch.Tensor, how: Scenario) -> int:
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = valued(optimizer(how.optimizer))(trained)
    targets = torch.zeros(how.batch, dtype=torch.long, device=images.device)
    ending = Ending(how, images.device.type)

    def batch() -> torch.Tensor:
        with autocasts(how):
            loss = cross_entropies(model(images), targets)
        with torch.autograd.set_multithreading_enabled(how.platform != "cuda"):
            ending.backward(loss)
        return loss

    loss = batch()
    # a buffer of momentum is made in the first, and read from the second on
    ending.step(adam)
    ending.step(adam)
    adam.zero_grad()
    del loss
    # of accumulated gradients the second batch: those of the first are there
    if how.accumulate > 1:
        batch()
    tracker = FSDPMemTracker(model, adam)
    tracker.track_inputs((images, targets, *ending.lasting))
    with AsReal(), tracker:
        loss = batch()
        ending.step(adam)
        del loss
    peak = tracker.get_tracker_snapshot("peak")
    # a card's step counters lie on the CPU, where a number that Adam reads is beside them
    counters = [t for state in adam.state.values() for t in state.values() if not t.dim()]
    away = [t for t in counters if t.device.type != images.device.type]
    beside = sum(t.nbytes for t in away)
    return beside + sum(n["Total"] for d, n in peak.items() if d.type == images.device.type)


@contextmanager
def autocasts(how: Scenario) -> Iterator[None]:
    dtype = HALVES[how.precision[4:]] if how.precision.startswith("amp") else None
    if how.platform == "cuda":
        with autocast(dtype):
            yield
        return
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        yield


@contextmanager
def fake_ranks(number: int, device: str) -> Iterator[Any]:
    """A process group that exchanges nothing; this process is its first rank."""
    dist.init_process_group("fake", rank=0, world_size=number, store=FakeStore())
    accelerator: Any = torch.accelerator
    current = accelerator.current_stream
    try:
        if device == CARD:
            _streams()
            accelerator.current_stream = _Stream
        yield init_device_mesh(device, (number,))
    finally:
        accelerator.current_stream = current
        dist.destroy_process_group()


class _Event:
    def __init__(self, *given: Any, **more: Any) -> None: ...

    def record(self, *given: Any) -> None: ...

    def wait(self, *given: Any) -> None: ...

    def synchronize(self) -> None: ...


class _Stream:
    """A stream that does nothing: a device without kernels has no order to keep."""

    device_index = stream_id = 0
    device_type = 20

    def __init__(self, *given: Any, **more: Any) -> None:
        self.device = torch.device(CARD, 0)

    def wait_stream(self, other: Any) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def record_event(self, event: Any = None) -> Any:
        return event or _Event()

    def synchronize(self) -> None: ...


def _streams() -> None:
    """Gives the card's module what ``fully_shard`` asks of a device."""
    kind: Any = type(getattr(torch, CARD))
    one = _Stream()
    kind.Stream, kind.Event = _Stream, _Event
    kind.current_stream = lambda self, *given: one
    kind.stream = lambda self, stream: nullcontext()
    kind.synchronize = kind.set_device = lambda self, *given: None
    kind.get_device_capability = lambda self, *given: (8, 0)
