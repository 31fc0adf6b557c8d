"""``check``: compares the formulas with the real torch model, and gives every difference with its
reason.

torch is imported only when a check runs.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

from vitcost.check.differences import CheckResult, Difference, ModelCheck
from vitcost.config.fields import integer
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import MissingExtra, NotCovered
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import Model, Resolved, resolve

__all__ = ["CheckResult", "Difference", "ModelCheck", "check", "check_all"]

_COUNTERS = ("torch", "fvcore")
# called with the number of finished steps, the number of all steps, and the name of the next step
Progress: TypeAlias = Callable[[int, int, str], None]


# fields of a scenario that a step on the CPU can have
_SCENARIO = (
    "precision", "attention", "optimizer", "checkpointing", "freeze", "lora", "lora_layers",
)  # fmt: skip


def check(
    models: Sequence[Model],
    *,
    batch: int = 1,
    memory: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> CheckResult:
    """Compares parameters, FLOPs, shapes and saved bytes with what torch and fvcore count.

    Nothing is allocated: the models are built on the meta device. A timm name is compared with
    timm's own model if timm is installed; a timm model that the user's code builds with that model;
    everything else, and every config, with our reference implementation. ``overrides`` are fields
    of the config. Raises ``MissingExtra`` without torch, ``NotCovered`` for a model that neither
    timm nor the reference has.

    With ``memory`` it compares the memory of a training step instead, for ``precision``,
    ``attention`` (sdpa or eager), ``optimizer``, ``checkpointing``, ``freeze``, ``lora`` and
    ``lora_layers`` as in ``report``: the saved bytes and the peak, on fake tensors; the peak of a
    step that really runs on the CPU, if the predicted peak is at most 2 GiB; and on a CUDA card, if
    there is one with room for it.

    >>> check(["vit_tiny_patch16_224"], depth=1).ok
    True
    >>> check(["vit_tiny_patch16_224"], depth=1, memory=True, precision="amp-bf16").ok
    True
    """
    batch = integer("batch", batch, 1)
    flags = {name: overrides.pop(name) for name in _SCENARIO if memory and name in overrides}
    resolved = [resolve(model, **overrides) for model in models]
    _require_counters()
    from vitcost.check.witness import case_of

    for model in resolved if memory else ():
        if model.flags:
            set_flags = ", ".join(f"{flag} {value}" for flag, value in model.flags.items())
            raise NotCovered(
                f"check --memory does not cover {model.name}, a module that itself sets {set_flags}"
            )
    one, steps = _memory({"batch": batch, **flags}) if memory else _costs()
    of_trace, own_steps = _traced({"batch": batch, **flags}, memory)
    traces = [isinstance(model.config, TracedModel) for model in resolved]
    total = sum(own_steps if each else steps for each in traces)
    done = 0

    def on_step(label: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, label)
        done += 1

    # a config also has a name, but that does not prove that it is the model of that name
    asked = [model if isinstance(model, str) else "" for model in models]
    cases: list[Any] = [
        m.config if is_traced else case_of(name, _vision(m), batch, overrides)
        for name, m, is_traced in zip(asked, resolved, traces, strict=True)
    ]
    checked_models = tuple(
        (of_trace if is_traced else one)(m.name, case, on_step)
        for m, case, is_traced in zip(resolved, cases, traces, strict=True)
    )
    if progress is not None:
        progress(total, total, "")
    return CheckResult(checked_models, _versions())


def _costs() -> tuple[Callable[..., ModelCheck], int]:
    """The function that compares the costs of one model, and its number of steps."""
    from vitcost.check.against_torch import STEPS, compare

    return compare, len(STEPS)


def _memory(flags: Mapping[str, Any]) -> tuple[Callable[..., ModelCheck], int]:
    """The function that compares the memory of one model, and its number of steps."""
    from vitcost.check.step_memory import MEMORY_STEPS, compare_memory, scenario_of

    return partial(compare_memory, scenario=scenario_of(flags)), len(MEMORY_STEPS)


def _traced(flags: Mapping[str, Any], memory: bool) -> tuple[Callable[..., ModelCheck], int]:
    """The function that compares a traced model, and its number of steps."""
    from vitcost.check.against_trace import COST_STEPS, MEMORY_STEPS, compare_own
    from vitcost.check.step_memory import scenario_of

    compare = partial(compare_own, scenario=scenario_of(flags), memory=memory)
    return compare, len(MEMORY_STEPS if memory else COST_STEPS)


def check_all(
    names: Sequence[str] | None = None, *, batch: int = 1, progress: Progress | None = None
) -> CheckResult:
    """Parameters, forward FLOPs and shapes of all of timm's names, or of some, against timm.

    It runs in as many processes as there are cores; a script must call it under ``if __name__ ==
    "__main__"`` on machines that spawn processes. Raises ``NotCovered`` without timm.
    """
    batch = integer("batch", batch, 1)
    _require_counters()
    from vitcost.check.every_timm import walk
    from vitcost.check.installed import timm_missing
    from vitcost.zoo import timm

    missing = timm_missing()
    if missing:
        raise NotCovered(f"check --all compares with timm, but {missing}")
    asked = timm.names() if names is None else list(names)

    def on_done(done: int, name: str) -> None:
        if progress is not None:
            progress(done, len(asked), name)

    return CheckResult(walk(asked, batch, on_done), _versions())


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _COUNTERS}


def _vision(model: Resolved) -> ViTConfig:
    if not isinstance(model.config, ViTConfig):
        raise NotCovered(f"check has no torch model of {model.name}: it is no Vision Transformer")
    return model.config


def _require_counters() -> None:
    from importlib.util import find_spec

    for package in _COUNTERS:
        if find_spec(package) is None:
            raise MissingExtra(package, "torch", "check")
