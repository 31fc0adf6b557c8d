"""An upper bound of a training step's memory, for steps whose exact peak no rule gives.

The bound comes from a trace of the same step: the exact forward pass, the backward of every op, and
bounds for the two parts without a rule. A *loss* keeps every output, and a float32 copy of an
output in half precision, and returns one gradient in float32; its targets, and one element for each
of the output, are alive throughout. *Sharding* removes the other ranks' shares of weights,
gradients and optimizer states, and adds the tensors that a rank has gathered at one time.

``fully_shard`` on every layer and on the model keeps at one time
- of weights: the root's (outside of all layers) and their buffer, the layer that runs, the buffer
  that it was gathered in, and the buffer of the layer that is fetched ahead;
- of gradients: the root's and their buffer, the layer's, the buffer that they are reduced from, and
  the buffer of the layer before.
Stage 2 keeps every gathered weight. Source: torch 2.13,
torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py, ``AllGatherState`` and
``ReduceScatterState``.
"""

from functools import reduce

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.config.records import Record
from vitcost.config.scenario import RECIPES, Scenario
from vitcost.costs.sharding import fully_sharded, gathered, whole
from vitcost.engine.live import Peak, peak
from vitcost.engine.ops import Size, bytes_of, largest, smallest
from vitcost.engine.workload import Workload

__all__ = [
    "Gathered",
    "assumed",
    "bound_of_passes",
    "gathered_bytes",
]

# numbers of elements: weights that stage 3 may have gathered at one time, and the buffer in which
# gradients are reduced (DeepSpeed's configuration: stage3_max_live_parameters, reduce_bucket_size)
_DEEPSPEED_LIVE, _DEEPSPEED_BUCKET = 10**9, 5 * 10**8


class Gathered(Record):
    """Bytes of whole weights and gradients that a rank holds at one time beside its shards."""

    weights: Size = 0
    gradients: Size = 0


def bound_of_passes(run: Workload, gradients: Size) -> Peak:
    """An upper bound of the bytes alive at one time in the forward and the backward pass, beside
    the bytes that outlive a step; ``gradients`` are the bytes of all gradients that a rank keeps.

    Of sharded gradients there are two bounds, of which the smaller one holds: all shards and the
    gathered bytes, at every moment; and three times each gradient that was computed so far: the
    gradient, its copy in the buffer that it is reduced from, and its shard. Raises ``NotCovered``
    as ``gathered_bytes`` does.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=64, mode="train"))
    >>> exact = peak(base.step(), base.sizes).peak_bytes
    >>> 1 <= bound_of_passes(base, 4 * 86_567_656).peak_bytes / exact < 1.01
    True
    """
    scenario, sizes, gathered = run.scenario, run.sizes, gathered_bytes(run)
    # the trace lacks the tensors that an op, or its backward, gathers only for itself
    tokens = reduce(largest, (bytes_of(t, sizes) for t in run.transient), 0)
    gathered = gathered._replace(weights=gathered.weights + tokens)
    lasting = scenario.gradients_outlast
    if scenario.recipe != "torch" or scenario.zero < 2:
        top = peak(run.bounding(lasting or scenario.keeps_gradients), sizes)
        return _beside(top, gathered.weights + gathered.gradients)
    shards = 0 if lasting else gradients
    settled = peak(run.bounding(onto=True), sizes)
    settled = _beside(settled, gathered.weights + gathered.gradients + shards)
    three = peak(run.bounding(), sizes, copies=3)
    three = _beside(three, gathered.weights)
    most = smallest(settled.peak_bytes, three.peak_bytes)
    if not isinstance(most, int):
        return settled._replace(peak_bytes=most)
    return settled if settled.peak_bytes == most else three


def _beside(top: Peak, more: Size) -> Peak:
    alive = top.live._replace(temporary=top.live.temporary + more)
    return top._replace(peak_bytes=top.peak_bytes + more, live=alive)


def gathered_bytes(run: Workload) -> Gathered:
    """Bytes of whole weights and gradients that a rank has at one time beside its shards: the
    elements of ``gathered`` times the bytes of a weight, and of a gradient.

    Raises ``NotCovered`` for a scalar parameter, which ``fully_shard`` refuses. Source: torch 2.13,
    torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py; DeepSpeed's
    ``stage3_max_live_parameters`` and ``reduce_bucket_size``.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(ranks=2, zero=3))
    >>> root, layer = gathered(base.parameters(), base.sizes, 2)
    >>> gathered_bytes(base) == (4 * (root + 3 * layer), 4 * (root + 3 * layer))
    True
    """
    scenario, parameters, sizes = run.scenario, run.parameters(), run.sizes
    recipe, e = RECIPES[scenario.recipe], run.param_bytes
    weight, gradient = recipe.weights or e, recipe.gradients or e
    ranks, zero = scenario.ranks, scenario.zero
    if scenario.recipe != "torch":
        total = whole(parameters, sizes).weights
        live = smallest(total, _DEEPSPEED_LIVE) if zero > 2 else 0
        bucket = _DEEPSPEED_BUCKET if scenario.recipe == "deepspeed" and zero else 0
        return Gathered(weight * live, gradient * bucket)
    if zero < 2:
        return Gathered()
    root, layer = gathered(parameters, sizes, ranks)
    held = root + layer
    if zero == 2:
        held = ranks * fully_sharded(parameters, sizes, ranks).weights
    held = held + layer + largest(root, layer)
    # the buffers of a layer's gradients, or at the end those of the root
    trained_root, trained_layer = gathered(parameters, sizes, ranks, trained=True)
    reduced = trained_root + trained_layer + largest(trained_root, 2 * trained_layer)
    return Gathered(weight * held, gradient * reduced)


def assumed(scenario: Scenario) -> tuple[str, ...]:
    """The assumptions of the bound, in words.

    >>> assumed(Scenario())
    ('a loss that keeps each output with two float32 tensors and one gradient of its size',)
    """
    sentences = [
        "a loss that keeps each output with two float32 tensors and one gradient of its size"
    ]
    if scenario.recipe != "torch":
        sentences.append(
            f"states of recipe {scenario.recipe} from the first op to the last, and an optimizer "
            "that copies the parameters once"
        )
        if scenario.zero > 2:
            sentences.append("up to a billion weights gathered at one time")
        if scenario.recipe == "deepspeed" and scenario.zero:
            sentences.append("a buffer of 500,000,000 gradients (reduce_bucket_size)")
    elif scenario.zero > 1:
        kept = "all weights gathered" if scenario.zero == 2 else "three layers gathered"
        sentences.append(f"fully_shard on every layer and on the model: {kept}, gradients of three")
    if scenario.recipe == "torch" and OPTIMIZERS[scenario.optimizer].step == "compiled":
        sentences.append(
            "a compiled optimizer that allocates no more than its operators one by one"
        )
    return tuple(sentences)
