"""Fully sharded steps of models that read text by torch's FSDPMemTracker: each of their blocks and
the model around them are wrapped."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sharded_support import HALVES, AsReal, autocasts, fake_ranks, shard
from timm_support import transformers as load
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker

from vitcost.check.step_witnesses import optimizer, valued
from vitcost.config.scenario import Scenario
from vitcost.traced import apply_flags, card
from vitcost.traced.autocast import CARD, recomputing

transformers = load()


def sharded(
    model: Any,
    how: Scenario,
    inputs: Callable[..., dict[str, Any]],
    loss: Callable[[Any, dict[str, Any], Tensor], Tensor],
    vectors: int,
) -> int:
    """The peak of the second step of rank 0, everything in memory; so many ``vectors`` have a
    target each."""
    device = CARD if how.platform == "cuda" else "cpu"
    if how.platform == "cuda":
        card.install()
    plain, half = how.policy == "none", HALVES.get(how.precision)
    model = model.to("meta")
    if plain and half is not None:
        model = model.to(half)
    with fake_ranks(how.ranks, device) as mesh, FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device=device).train()
        if hasattr(model, "tie_weights"):
            # a table that is read twice is one again
            model.tie_weights()
        apply_flags.recompute(model, how.checkpointing)
        shard(model, blocks(model), mesh, how)
        given = inputs(how.batch, device=device, dtype=half if plain else None)
        targets = torch.zeros(vectors, dtype=torch.long, device=device)
        kernel = apply_flags.attention(model, how.attention, how.platform)
        with kernel, recomputing(), pytest.MonkeyPatch.context() as patch:
            # it reads values, which fakes have not: whether texts are packed
            packed = "find_packed_sequence_indices"
            patch.setattr(transformers.masking_utils, packed, lambda *_, **__: None)
            return _second_step(
                model, how, lambda: loss(model, given, targets), [*given.values(), targets]
            )


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of the list of a Transformer's equal blocks."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    yield from max(lists, key=len)


def _second_step(
    model: nn.Module, how: Scenario, loss_of: Callable[[], Tensor], batch: list[Tensor]
) -> int:
    steps = valued(optimizer(how.optimizer))(model.parameters())

    def passes() -> Tensor:
        with autocasts(how):
            loss = loss_of()
        with torch.autograd.set_multithreading_enabled(how.platform != "cuda"):
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    loss = passes()
    steps.step()
    steps.step()
    steps.zero_grad()
    del loss
    tracker = FSDPMemTracker(model, steps)
    tracker.track_inputs(tuple(batch))
    with AsReal(), tracker:
        loss = passes()
        steps.step()
        del loss
    device = batch[0].device.type
    peak = tracker.get_tracker_snapshot("peak")
    counters = [t for state in steps.state.values() for t in state.values() if not t.dim()]
    beside = sum(t.nbytes for t in counters if t.device.type != device)
    return beside + sum(n["Total"] for d, n in peak.items() if d.type == device)
