"""Moving averages of a model: the bytes of their copies, and the temporaries of their update.

An average is a copy of the whole module, buffers included, as timm's ``ModelEmaV3`` makes it;
torch's ``AveragedModel`` also has a counter of 8 bytes.
"""

from collections.abc import Iterable
from dataclasses import replace

from vitcost.config.scenario import PRECISIONS, RECIPES
from vitcost.costs.sharding import Share
from vitcost.engine.ops import Size
from vitcost.engine.parameters import one_by_one
from vitcost.engine.workload import Workload
from vitcost.errors import NotCovered

__all__ = ["averages_bytes", "averaging_temporaries", "rounds"]

# timm 1.0.31, timm/utils/model_ema.py, _lerp_stochastic_round_bf16_: the most elements of a chunk,
# and the bytes for each: the sum in float32, and random bits in int32
_CHUNK, _CHUNK_BYTES = 2**22, 4 + 4


def averages_bytes(run: Workload, share: Share, weights: Size, masters: Size) -> Size:
    """Bytes of all averages on one rank: ``ema · (weights + buffers)``, ``weights`` are the bytes
    of the weights on that rank; a recipe with master weights averages these (``masters``, in
    bytes).

    Another ``ema_dtype`` casts the copy like ``module.to(dtype)``; copies on the host count 0
    bytes. Source: timm 1.0.31, timm/utils/model_ema.py.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.costs.memory import training
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> [training(base, Scenario(ema=1, ema_dtype=name)).ema_bytes for name in ("model", "bf16")]
    [346270624, 173135312]
    """
    scenario = run.scenario
    if not scenario.ema or scenario.ema_device == "cpu":
        return 0
    if scenario.recipe != "torch":
        e = 0 if scenario.ema_dtype == "model" else PRECISIONS[scenario.ema_dtype].param_bytes
        elements = share.states if RECIPES[scenario.recipe].master else share.weights
        return scenario.ema * (e * elements or masters or weights)
    if scenario.ema_dtype == "model":
        return scenario.ema * (weights + run.step_buffers_bytes)
    # the bytes of the same module with everything in that type
    how = replace(scenario, precision=scenario.ema_dtype, policy="none", grad_scaler=False)
    cast = run.under(how)
    copied = cast.weights_bytes
    if copied is None or scenario.zero == 3:
        copied = cast.param_bytes * share.weights
    return scenario.ema * (copied + cast.step_buffers_bytes)


def rounds(run: Workload) -> bool:
    """Whether the update of an average is rounded stochastically, as ``ModelEmaV3`` does in bf16.
    Source: timm 1.0.31, timm/utils/model_ema.py.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> tiny = resolve("vit_tiny_patch16_224").config
    >>> [rounds(workload(tiny, Scenario(ema=1, ema_dtype=name))) for name in ("bf16", "fp16")]
    [True, False]
    """
    scenario = run.scenario
    return bool(scenario.ema) and (scenario.ema_dtype, scenario.ema_device) == ("bf16", "model")


def averaging_temporaries(run: Workload) -> Size:
    """The most bytes that the update of an average allocates: 0, since ``_foreach_lerp_``,
    ``_foreach_mul_`` and ``_foreach_add_`` work in place and cast while they read; in bf16 ``8 ·
    c`` for the c elements of the largest chunk, which is rounded in float32.

    Chunks also contain float buffers, so with buffers this is an upper bound. Raises ``NotCovered``
    for sizes that are arrays or symbols. Source: timm 1.0.31, timm/utils/model_ema.py,
    ``_lerp_stochastic_round_bf16_``.

    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.engine.workload import workload
    >>> from vitcost.zoo import resolve
    >>> tiny = resolve("vit_tiny_patch16_224").config
    >>> flags = {"mode": "train", "ema": 1}
    >>> runs = [workload(tiny, Scenario(ema_dtype=name, **flags)) for name in ("fp16", "bf16")]
    >>> [averaging_temporaries(run) for run in runs]
    [0, 33518592]
    """
    if not rounds(run):
        return 0
    sizes = run.sizes
    if not all(isinstance(size, int) for size in sizes.values()):
        raise NotCovered(
            "averages in bf16 have no formula in sizes: they are rounded in chunks of tensors"
        )
    elements = [parameter.numel(sizes) for parameter in one_by_one(run.parameters(), sizes)]
    most = _largest_chunk(elements)
    if run.step_buffers_bytes:
        most = min(sum(elements) + run.step_buffers_bytes, max(_CHUNK, *elements))
    return _CHUNK_BYTES * most


def _largest_chunk(elements: Iterable[int]) -> int:
    """Sizes of consecutive tensors that together stay within a chunk; or of one tensor that is
    larger."""
    most = chunk = 0
    for n in elements:
        chunk = n if chunk and chunk + n > _CHUNK else chunk + n
        most = max(most, chunk)
    return most
