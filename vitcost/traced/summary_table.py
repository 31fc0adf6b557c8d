"""The table of torchsummary for a traced module: the calls that its hooks would see in a forward in
eval."""

from collections.abc import Sequence
from math import prod

from vitcost.errors import NotCovered
from vitcost.traced.batch_sizes import value
from vitcost.traced.torchsummary import TWICE, Listed, Shape, lines
from vitcost.traced.trace import Pass, Trace

__all__ = ["summarized"]


def summarized(trace: Trace, batch: int) -> tuple[str, tuple[str, ...]]:
    """The table of a traced module, and notes: torchsummary runs two images, but prints shapes of
    ``batch`` images.

    Raises ``NotCovered`` where torchsummary itself stops: at an output that is neither a tensor nor
    a list of tensors. Source: torchsummary 1.5.1.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> mlp = nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768))
    >>> text, notes = summarized(trace(mlp, inputs_of(mlp, "768"), (2, 3, 4)), 2)
    >>> text.splitlines()[3].split(), "Total params: 4,722,432" in text
    (['Linear-1', '[2,', '3072]', '2,362,368'], True)
    """
    run, traced = trace.inference, 2 if len(trace.batches) > 1 else trace.batches[0]
    rows = _table(run, traced, batch)
    params = sum(prod(weight.shape) for weight in trace.weights)
    printed = sum(row.params for row in rows)
    return "\n".join(lines(rows, _inputs(run, traced), batch)), (
        "torchsummary adds up weight and bias of every call of a module that is no Sequential: "
        f"{printed:,} parameters; the model has {params:,}.",
        TWICE,
    )


def _table(run: Pass, traced: int, batch: int) -> list[Listed]:
    """Every row of a pass at batch ``traced``: one for each call of a module, as torchsummary's
    hooks see it.

    Raises ``NotCovered`` where torchsummary itself stops: at an output that is neither a tensor nor
    a list of tensors.
    """
    modules = {module.path: module for module in run.modules}
    rows = []
    for each in run.returns:
        module = modules[run.paths[each.path]]
        if not module.hooks:
            continue
        if not each.shapes or (each.many and len({len(s) for s in each.shapes}) > 1):
            raise NotCovered(
                f"torchsummary stops at {module.path}, a {module.type}: it lists a tensor, or a "
                "list of tensors alike"
            )
        behind = [[value(side, traced) for side in shape[1:]] for shape in each.shapes]
        # torchsummary prints batch -1 for a list of tensors
        shape: Shape = [[-1, *s] for s in behind] if each.many else [batch, *behind[0]]
        trains = module.trains and module.elements > 0
        rows += [Listed(module.type, shape, module.elements, trains)] * module.hooks
    return rows


def _inputs(run: Pass, traced: int) -> Sequence[int]:
    """The sides of all inputs in a row, without the batch: torchsummary multiplies them."""
    return [value(side, traced) for array in run.inputs for side in array.shape[1:]]
