"""A step by torch's MemTracker under a loss of its own: fake tensors, a CPU's rules or a card's."""

from typing import Any

import torch
from scaler_support import Ending
from sharded_support import HALVES, AsReal, Case, autocasts, built
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn import functional

from vitcost.check.checkpointed import checkpointed
from vitcost.check.step_witnesses import optimizer, valued
from vitcost.traced import apply_flags, card
from vitcost.traced.autocast import CARD, recomputing


def loss_of(output: Any, targets: torch.Tensor, classes: bool) -> torch.Tensor:
    """Cross entropy of class scores, one for each token where they have scores of their own; else
    the mean of features. Two outputs have one each."""
    if isinstance(output, tuple):
        first, second = (loss_of(each, targets, classes) for each in output)
        return first + second
    if not classes:
        mean: torch.Tensor = output.mean()
        return mean
    return functional.cross_entropy(output.flatten(0, -2), targets)


def tracked(case: Case) -> int:
    """The peak of the second step, everything in memory."""
    config, how = case.config, case.scenario
    device = CARD if how.platform == "cuda" else "cpu"
    if how.platform == "cuda":
        card.install()
    with torch.device("meta"):
        model = built(case).to(HALVES.get(how.precision, torch.float32))
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = checkpointed(model.to_empty(device=device).train(), how.checkpointing)
        dtype = next(model.parameters()).dtype
        shape = how.batch, config.in_chans, *config.img_size
        images = torch.empty(*shape, device=device, dtype=dtype)
        with apply_flags.attention(model, how.attention, how.platform), recomputing():
            return _second_step(model, images, case)


def _second_step(model: Any, images: torch.Tensor, case: Case) -> int:
    how, classes = case.scenario, case.config.num_classes > 0
    dense = classes and not case.config.global_pool
    vectors = how.batch * (case.config.tokens if dense else 1)
    device = images.device.type
    targets = torch.zeros(vectors if classes else 0, dtype=torch.long, device=device)
    steps = valued(optimizer(how.optimizer))(model.parameters())
    ending = Ending(how, device)

    def step() -> None:
        with autocasts(how):
            loss = loss_of(model(images), targets, classes)
        with torch.autograd.set_multithreading_enabled(device == "cpu"):
            ending.backward(loss)
        ending.step(steps)
        steps.zero_grad()

    step()
    tracker = MemTracker()
    tracker.track_external(model, steps, images, targets, *ending.lasting)
    with AsReal(), tracker:
        step()
    peak = tracker.get_tracker_snapshot("peak")
    states = [t for state in steps.state.values() for t in state.values()]
    beside = sum(t.nbytes for t in states if t.device.type != device)
    return beside + sum(n["Total"] for d, n in peak.items() if d.type == device)
