"""Traces a module under one scenario: runs it at the batches that are asked for, and merges the
runs."""

from collections.abc import Sequence

import torch
from torch import nn

from vitcost.errors import NotCovered
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.fake_run import Run, run
from vitcost.traced.finite import NOTE as FINITE
from vitcost.traced.inputs import Inputs
from vitcost.traced.merge import merged
from vitcost.traced.module_rows import uncounted
from vitcost.traced.operators import foreign
from vitcost.traced.pointwise import listed, without_rule
from vitcost.traced.stops import NoStep
from vitcost.traced.trace import How, Pass, Trace

__all__ = ["LINES", "PLAIN", "trace"]

# the batches of a trace: two fix a line, and the third confirms it; batch 1 often runs other
# operators
LINES = (2, 3, 4)
# a scenario without flags
PLAIN = How()


def trace(
    model: nn.Module,
    inputs: Inputs,
    batches: Sequence[int],
    how: How = PLAIN,
    loss: Loss | None = None,
    *,
    name: str = "",
    notes: Sequence[str] = (),
) -> Trace:
    """A forward in eval and a training step of a module at these batches: sizes are polynomials
    through them; a single batch gives constants. The module is left as it was.

    Raises ``NotCovered`` if a run cannot be traced, ``UnknownName`` for layers in ``how`` that the
    module does not have. If the module has no training step (it cannot train on one image, or
    nothing of it trains), the trace has the reason in its place.

    >>> head = nn.Linear(768, 1000)
    >>> from vitcost.traced.inputs import inputs_of
    >>> made = trace(head, inputs_of(head, "768"), LINES)
    >>> made.inference.sizes, made.notes  # 4 bytes of 1000 outputs an image
    (((0, 4000),), ('inputs: 768', 'loss: cross entropy of logits on class indices'))
    """
    name, criterion = name or type(model).__name__, loss or Loss()
    plain = how._replace(sharded=False, casts=False)
    first, inference = _pass(model, inputs, batches, plain, None, name)
    step, missing, weights, step_buffers = None, "", first.weights, None
    guarded = first.recorder.guarded
    try:
        last, step = _pass(model, inputs, batches, how, criterion, name)
        weights, guarded = last.weights, guarded or last.recorder.guarded
        step_buffers = None if last.buffers == first.buffers else last.buffers
    except NoStep as reason:
        missing = str(reason)
    notices = [*notes, inputs.note]
    notices += [criterion.note] if criterion.note else []
    if first.unread:
        notices.append(f"no operator reads the parameters of {', '.join(first.unread)}")
    notices += [FINITE] if guarded else []
    notices += [_wrapped(step)] if step is not None and how.sharded else []
    left_out = uncounted(inference)
    if left_out:
        notices.append(
            f"FLOPs leave out {', '.join(left_out)}, which torch's counter has no rule for"
        )
    unknown = without_rule(step or inference)
    if unknown:
        notices.append(f"pointwise work is not known: no rule for {listed(unknown)}")
    moving = {name: path for name, path in unknown.items() if foreign(name)}
    if moving:
        notices.append(f"bytes moved are not known: no rule for {listed(moving)}")
    return Trace(
        weights,
        first.buffers,
        inference,
        step,
        missing,
        tuple(notices),
        tuple(batches),
        torch.__version__.partition("+")[0],
        step_buffers,
    )


def _wrapped(step: Pass) -> str:
    """The paths of the modules that ``fully_shard`` wraps in a step."""
    paths = {step.paths[mark.path] for mark in step.marks} - {""}
    kinds = {module.type for module in step.modules if module.path in paths}
    layers = f"{len(paths)} modules of class {', '.join(kinds)}, and " if paths else ""
    return f"fully_shard wraps {layers}the model"


def _pass(
    model: nn.Module,
    inputs: Inputs,
    batches: Sequence[int],
    how: How,
    loss: Loss | None,
    name: str,
) -> tuple[Run, Pass]:
    runs = [run(model, inputs, batch, how, loss, name) for batch in batches]
    passed = merged(runs, batches)
    _obeyed(how, passed, name)
    return runs[0], passed


def _obeyed(how: How, passed: Pass, name: str) -> None:
    """Checks that a module really runs the attention kernel that was asked for."""
    if how.attention == "eager" and passed.kernels:
        raise NotCovered(
            f"{name} calls scaled_dot_product_attention itself, which attention eager cannot turn "
            "off: attention math has the same products"
        )
    if how.attention not in ("sdpa", "eager") and not passed.kernels:
        raise NotCovered(
            f"attention {how.attention} of {name}, which calls no scaled_dot_product_attention"
        )
