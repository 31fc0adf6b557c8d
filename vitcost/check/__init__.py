"""``check``: the formulas against the real torch model, and every difference with its reason.

The only package that knows torch, and it loads it when a check runs, not before.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias

from vitcost.check.result import CheckResult, Difference, ModelCheck
from vitcost.config import ViTConfig
from vitcost.errors import ConfigError, MissingExtra, NotCovered
from vitcost.zoo import Model, Resolved, resolve

__all__ = ["CheckResult", "Difference", "ModelCheck", "check"]

# done steps, all steps, what comes next
Progress: TypeAlias = Callable[[int, int, str], None]


def check(
    models: Sequence[Model], *, batch: int = 1, progress: Progress | None = None, **overrides: Any
) -> CheckResult:
    """Compares parameters, FLOPs, shapes and saved bytes with what torch and fvcore count.

    Nothing is allocated: the models are built on the meta device. ``overrides`` are fields of the
    config. Raises ``MissingExtra`` without torch, ``NotCovered`` for a model that the reference
    implementation does not have.

    >>> check(["vit_tiny_patch16_224"], depth=1).ok
    True
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ConfigError(f"batch must be a positive integer, got {batch!r}")
    resolved = [resolve(model, **overrides) for model in models]
    for package in ("torch", "fvcore"):
        _require(package)
    from vitcost.check.compare import STEPS, Case, compare
    from vitcost.check.reference import build

    total = len(resolved) * len(STEPS)
    done = 0

    def on_step(label: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, label)
        done += 1

    cases = [Case(_vision(m), batch, build) for m in resolved]
    found = tuple(compare(m.name, c, on_step) for m, c in zip(resolved, cases, strict=True))
    if progress is not None:
        progress(total, total, "")
    return CheckResult(found, {name: version(name) for name in ("torch", "fvcore")})


def _vision(model: Resolved) -> ViTConfig:
    if not isinstance(model.config, ViTConfig):
        raise NotCovered(f"check has no torch model of {model.name}: it is no Vision Transformer")
    return model.config


def _require(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingExtra(package, "torch", "check")
