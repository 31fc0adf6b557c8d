"""The optimizers, one row each: what a step keeps, allocates and moves, and the class it is."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["OPTIMIZERS", "Optimizer"]


class Optimizer(NamedTuple):
    """State tensors that an optimizer keeps for each parameter, and counters for each tensor.

    ``step`` is how it walks over the parameters, which decides what a step allocates on the way:
    ``foreach`` all of them at once, ``loop`` one after the other, ``fused`` in one kernel. Empty:
    as torch chooses, foreach on CUDA and a loop on the CPU. ``passes`` is how many tensors of a
    parameter's size its kernels read and write. ``real`` is the class, ``options`` what it is made
    with, which ``check`` steps.
    """

    moments: int
    step_bytes: int
    step: str
    passes: int
    real: str
    options: Mapping[str, object]
    source: str

    def steps(self, platform: str) -> str:
        return self.step or ("foreach" if platform == "cuda" else "loop")


# m: m + β (g - m); v · β₂; v + g²; √v; / c; + ε; p, m, √v → p: torch/optim/adam.py, with or without
# foreach
_ADAM_PASSES = 3 + 2 + 3 + 2 + 2 + 2 + 4
# decay: p · (1 - λ)
_DECAY = 2
# p, g, m, v → p, m, v
_FUSED_PASSES = 4 + 3
# max, v → max
_AMSGRAD_PASSES = 3

_FOREACH, _LOOP, _FUSED = {"foreach": True}, {"foreach": False}, {"fused": True}
_AMSGRAD = {"amsgrad": True}


def _adam(step: str = "", options: Mapping[str, object] = {}, *, decay: bool = False) -> Optimizer:
    """Adam, or AdamW, which decays weights apart from gradients."""
    amsgrad = "amsgrad" in options
    passes = _FUSED_PASSES if step == "fused" else _ADAM_PASSES + decay * _DECAY
    name = "AdamW" if decay else "Adam"
    kept = "exp_avg, exp_avg_sq, step" + amsgrad * ", max_exp_avg_sq"
    return Optimizer(
        2 + amsgrad, 4, step, passes + amsgrad * _AMSGRAD_PASSES, f"torch.optim.{name}", options,
        f"torch.optim.{name}: {kept}",
    )  # fmt: skip


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw": _adam(decay=True),
    "adamw-foreach": _adam("foreach", _FOREACH, decay=True),
    "adamw-fused": _adam("fused", _FUSED, decay=True),
    "adamw-loop": _adam("loop", _LOOP, decay=True),
    "adamw-amsgrad": _adam("", _AMSGRAD, decay=True),
    "adam": _adam(),
    "adam-foreach": _adam("foreach", _FOREACH),
    "adam-fused": _adam("fused", _FUSED),
    "adam-loop": _adam("loop", _LOOP),
    "adam-amsgrad": _adam("", _AMSGRAD),
    "sgd": Optimizer(
        # p, g → p
        0, 0, "in place", 3, "torch.optim.SGD", {}, "torch.optim.SGD without momentum",
    ),
    "sgd-momentum": Optimizer(
        # decay: p, g → d; buffer · μ; buffer + d; Nesterov: d + μ · buffer; p, d → p
        1, 0, "in place", 3 + 2 + 3 + 3 + 3, "torch.optim.SGD", {"momentum": 0.9},
        "torch.optim.SGD: momentum_buffer",
    ),
    "lion": Optimizer(
        # decay; m, g → u; sign of u; p, u → p; m, g → m: timm/optim/lion.py
        1, 0, "sign", _DECAY + 3 + 2 + 3 + 3, "timm.optim.Lion", _LOOP,
        "Chen et al. 2023, arXiv 2302.06675; timm.optim.Lion(foreach=False): exp_avg",
    ),
}  # fmt: skip
