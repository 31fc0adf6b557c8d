"""Modules whose kernels a trace cannot see into."""

from typing import TYPE_CHECKING

from vitcost.errors import NotCovered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["need_traceable"]

# one step of a recurrent network, which runs plain operators on a CPU
_CELLS = ("torch.nn.modules.rnn.LSTMCell", "torch.nn.modules.rnn.GRUCell")
_OF_CARDS = "a card has a fused kernel for it with a workspace of its own (--platform cpu has none)"

# modules that no shape function describes: the beginning of their class's name, and the reason
_OPAQUE = (
    ("torch.nn.modules.rnn.LSTM", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.nn.modules.rnn.GRU", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.nn.modules.rnn.RNNBase", "cuDNN's and oneDNN's kernels keep reserves of their own"),
    ("torch.ao.nn.quantized.", "its weights are packed, and no parameters"),
    ("torch.nn.quantized.", "its weights are packed, and no parameters"),
    ("torch.jit.", "TorchScript hides its forward"),
)


def need_traceable(module: "nn.Module", path: str) -> None:
    """Raises ``NotCovered`` for a module whose kernels a trace cannot see into.

    >>> from torch import nn
    >>> need_traceable(nn.Linear(8, 8), "head")
    >>> need_traceable(nn.LSTM(8, 8), "encoder")
    Traceback (most recent call last):
    vitcost.errors.NotCovered: encoder is torch.nn.modules.rnn.LSTM, which cannot be traced: ...
    """
    kind = type(module)
    name = f"{kind.__module__}.{kind.__qualname__}"
    for begin, reason in _OPAQUE:
        if name.startswith(begin):
            if name in _CELLS:
                if all(p.device.type == "cpu" for p in module.parameters()):
                    return
                reason = _OF_CARDS
            where = path or "the model itself"
            raise NotCovered(
                f"{where} is {name}, which cannot be traced: {reason}; trace the part without it"
            )
