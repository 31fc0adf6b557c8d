"""Peaks of steps of text models and of pairs, against torch's MemTracker under a card's rules.

    PYTHONPATH=.:tests:tests/start python tests/bench/text_peaks.py [--only WORD]

Each line has the formulas' peak and torch's, the formulas' and a trace's, and the case; exit 1
where two differ. GPT-2 by the cross entropy of every token, towers by the mean of their features,
CLIP and SigLIP by their own contrastive losses, at a batch too whose pairs need the most.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sharded_support import autocasts
from test_text_memory import MODELS, TOKENS, Real, every_token, own_loss, transformers
from told import Numbers, told
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from vitcost.check.step_witnesses import optimizer
from vitcost.config.scenario import Scenario
from vitcost.costs.memory import states, step_peak
from vitcost.engine import live
from vitcost.engine.ops import Sizes
from vitcost.engine.workload import workload
from vitcost.traced import apply_flags, card
from vitcost.traced.alive import upper
from vitcost.traced.autocast import CARD, recomputing
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How
from vitcost.traced.traces import trace

torch.set_num_threads(1)
# it reads values, which fakes have not: whether texts are packed
transformers.masking_utils.find_packed_sequence_indices = lambda *given, **more: None


class Case(NamedTuple):
    name: str
    attention: str
    how: Scenario


def cases() -> Iterator[Case]:
    """Every model in every precision and attention, batches and checkpointing in turn."""
    number = 0
    for name in MODELS:
        for precision in ("fp32", "amp-bf16", "bf16", "amp-fp16"):
            for attention in ("eager", "sdpa"):
                for batch in (1, 3, 400):
                    number += 1
                    again = "block" if number % 3 == 0 and "dropout" not in name else "none"
                    how = Scenario(
                        batch=batch, mode="train", precision=precision, attention=attention,
                        optimizer="sgd", checkpointing=again,
                    )  # fmt: skip
                    yield Case(name, attention, how)


def inputs(real: Real, batch: int, **where: Any) -> dict[str, Any]:
    made = {"input_ids": torch.zeros(batch, TOKENS, dtype=torch.long, device=where.get("device"))}
    if real.images:
        made["pixel_values"] = torch.zeros(batch, 3, 32, 32, **where)
    return made


def tracked(real: Real, how: Scenario) -> int:
    """The peak of the second step, everything in memory."""
    card.install()
    half = {"bf16": torch.bfloat16}.get(how.precision, torch.float32)
    model = real.model.to("meta").to(half)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device=CARD).train()
        # a table that is read twice is one again
        model.tie_weights()
        apply_flags.recompute(model, how.checkpointing)
        given = inputs(real, how.batch, device=CARD, dtype=half)
        vectors = how.batch * TOKENS * (real.loss is every_token)
        targets = torch.zeros(vectors, dtype=torch.long, device=CARD)
        sgd = optimizer("sgd")(model.parameters())

        def step() -> None:
            with autocasts(how):
                loss = real.loss(model, given, targets)
            with torch.autograd.set_multithreading_enabled(False):
                loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
            sgd.zero_grad()

        with apply_flags.attention(model, how.attention, how.platform), recomputing():
            step()
            tracker = MemTracker()
            tracker.track_external(model, sgd, *given.values(), targets)
            with tracker:
                step()
    peak = tracker.get_tracker_snapshot("peak")
    return sum(each["Total"] for device, each in peak.items() if device.type == CARD)


def traced(real: Real, case: Case) -> int:
    """The peak of a trace of the model, weights and the batch apart."""
    how = case.how
    taken = "sdpa" if how.attention == "eager" else how.attention
    asked = How(precision=how.precision, attention=taken, checkpointing=how.checkpointing)

    def loss(output: Any, batch: Any) -> Any:
        if real.loss is every_token:
            ids = batch["input_ids"].flatten()
            return torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), ids)
        return output["text_embeds" if "text_embeds" in output else "pooler_output"].mean()

    own = real.loss is own_loss
    made = partial(inputs, real)
    given = inputs_of(
        real.model, lambda batch: {**made(batch), **({"return_loss": True} if own else {})}
    )
    found = trace(real.model, given, (how.batch,), asked, None if own else Loss(loss, "own")).step
    assert found is not None
    return int(live.peak(upper(found), Sizes(b=how.batch)).peak_bytes)


def numbers(case: Case) -> Numbers:
    """Of the formulas and MemTracker, and of the formulas and a trace."""
    how = case.how
    make = partial(MODELS[case.name], case.attention, Path(tempfile.mkdtemp()))
    real = make()
    run = workload(real.config, how)
    own = step_peak(states(run, 0), run, in_place=False).total_bytes, tracked(real, how)
    return [own, (live.peak(run.step(), run.sizes).peak_bytes, traced(make(), case))]


def line(case: Case) -> str:
    how = case.how
    return f"{case.name}, {how.precision}, {how.attention}, batch {how.batch}, {how.checkpointing}"


def main() -> int:
    return told((line(case), partial(numbers, case)) for case in cases())


if __name__ == "__main__":
    sys.exit(main())
