"""Modules whose kernels a trace cannot see into."""

from typing import TYPE_CHECKING

from vitcost.errors import NotCovered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["need_traceable"]

# modules that no shape function describes, by the beginning of their class's name, and why
_OPAQUE = (
    ("torch.nn.modules.rnn.LSTM", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.nn.modules.rnn.GRU", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.nn.modules.rnn.RNN", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.ao.nn.quantized.", "its weights are packed, and no parameters"),
    ("torch.nn.quantized.", "its weights are packed, and no parameters"),
    ("torch.jit.", "TorchScript hides its forward"),
)


def need_traceable(module: "nn.Module", path: str) -> None:
    """Raises ``NotCovered`` for a module whose kernels a trace cannot see into."""
    kind = type(module)
    name = f"{kind.__module__}.{kind.__qualname__}"
    for begin, reason in _OPAQUE:
        if name.startswith(begin):
            where = path or "the model itself"
            raise NotCovered(
                f"{where} is {name}, which cannot be traced: {reason}; trace the part without it"
            )
