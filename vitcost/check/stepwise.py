"""Runs a check in several steps: collects their differences, and the parts that each step leaves
out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import inf
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from vitcost.check.against_torch import told
from vitcost.check.differences import Difference, ModelCheck
from vitcost.check.step_witnesses import allocated, on_card
from vitcost.errors import NotCovered
from vitcost.units import binary_bytes

__all__ = ["LARGEST_REAL", "Found", "LeftOut", "by_allocator", "by_card", "stepwise"]

# the largest predicted peak of a step that is still run on the CPU
LARGEST_REAL = 2 * 2**30


class LeftOut(NamedTuple):
    """A part that is not compared, and the reason."""

    reason: str


Found: TypeAlias = Difference | LeftOut
_Of = TypeVar("_Of")


def stepwise(
    name: str,
    steps: Mapping[str, Callable[[_Of], Iterator[Found]]],
    of: _Of,
    on_step: Callable[[str], None],
    *,
    against: str,
    command: str = "check",
    left_out: tuple[str, ...] = (),
) -> ModelCheck:
    """Runs every step and returns the differences. A step that is not covered is listed with its
    reason. Raises ``NotCovered`` if no step is covered."""
    start, counts = perf_counter(), Counter[str]()
    differences: list[Difference] = []
    labels: dict[str, list[str]] = {}  # the labels of the steps that are left out, by reason
    for label, run in steps.items():
        on_step(f"{name}: {label}")
        try:
            for one in told(label, partial(run, of)):
                if isinstance(one, LeftOut):
                    labels.setdefault(one.reason, []).append(label)
                    continue
                counts[one.quantity] += 1
                if one.expected != one.actual:
                    differences.append(one)
        except NotCovered as reason:
            labels.setdefault(f"not covered: {reason}", []).append(label)
    reasons = [f"{', '.join(of_reason)}: {reason}" for reason, of_reason in labels.items()]
    if not counts:
        raise NotCovered(f"{command} compares nothing of {name}: {'; '.join(reasons)}")
    seconds, why = perf_counter() - start, (*left_out, *reasons)
    return ModelCheck(name, dict(counts), tuple(differences), seconds, against, why)


def by_allocator(predicted: int, step: Callable[[], tuple[Any, int]]) -> Iterator[Found]:
    """Compares with the CPU's allocator: its tensors must be equal to the byte, and other bytes are
    listed as workspace. ``step`` makes a step, and the bytes of tensors that outlive it."""
    if predicted > LARGEST_REAL:
        limit, needed = binary_bytes(LARGEST_REAL), binary_bytes(predicted)
        yield LeftOut(f"a real step needs {needed}, and is run up to {limit}")
        return
    real, lasting = step()
    storages = allocated(real)
    tensors, total = lasting + storages.tensor_bytes, lasting + storages.total_bytes
    yield Difference("", "peak_bytes_tensors", predicted, tensors)
    # a larger peak is explained only if the tensors agree and the workspace covers the difference
    explained = tensors == predicted and total - tensors <= sum(storages.others.values())
    reasons = [f"{name}, {n:,} bytes" for name, n in sorted(storages.others.items())]
    why = "; ".join(reasons) if explained else ""
    yield Difference("", "peak_bytes_allocated", predicted, total, why)


def by_card(
    predicted: int, step: Callable[[], Any], known: str, most: float = inf
) -> Iterator[Found]:
    """Compares with the allocator of a CUDA card, if there is one with enough free bytes. Up to
    ``most`` bytes above the predicted peak count as workspace and rounding; ``known`` says
    what is known of these. ``step`` makes a step."""
    if not torch.cuda.is_available():
        yield LeftOut("torch sees no CUDA card here")
        return
    free, _ = torch.cuda.mem_get_info()
    if predicted > free:
        needed = binary_bytes(predicted)
        yield LeftOut(f"a step needs {needed}, of which {binary_bytes(free)} are free")
        return
    before = torch.cuda.memory_allocated()
    actual = on_card(step()) - before
    over = actual - predicted
    why = f"workspace of kernels and rounding of blocks, {over:,} bytes: {known}"
    yield Difference("", "peak_bytes_card", predicted, actual, why if 0 < over <= most else "")
