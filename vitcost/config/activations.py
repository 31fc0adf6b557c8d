"""The activations of an MLP, a row each, for configs, layers, op kinds and readers."""

from vitcost.config.records import Record

__all__ = ["ACTIVATIONS", "Activation"]


class Activation(Record):
    """``module`` is timm's class; ``kind`` its op, empty where the library writes it as several
    ops; ``saves``: the tensor that autograd saves, ``x`` its input, ``y`` its output. ``classes``
    are the torch modules of it, ``hidden_act`` transformers' names.
    """

    module: str
    kind: str
    saves: str
    classes: tuple[str, ...]
    hidden_act: tuple[str, ...]


_TIMM, _TORCH = "timm.layers.activations.", "torch.nn.modules.activation."

# saved tensors: torch's derivatives.yaml; transformers' names: its activations.py, ACT2FN. A torch
# GELU is read back by what it approximates
ACTIVATIONS = {
    "gelu": Activation("GELU", "gelu", "x", (f"{_TIMM}GELU",), ("gelu",)),
    "gelu_tanh": Activation("GELUTanh", "gelu", "x", (f"{_TIMM}GELUTanh",), ("gelu_pytorch_tanh",)),
    # x · sigmoid(1.702 · x), which timm writes out
    "quick_gelu": Activation("QuickGELU", "", "", (f"{_TIMM}QuickGELU",), ("quick_gelu",)),
    # ½x · (1 + tanh(√(2/π) · (x + 0.044715 x³))), which transformers writes out
    "gelu_new": Activation(
        "NewGELUActivation", "", "", ("transformers.activations.NewGELUActivation",), ("gelu_new",)
    ),
    "silu": Activation("SiLU", "silu", "x", (f"{_TORCH}SiLU",), ("silu", "swish")),
    "relu": Activation("ReLU", "relu", "y", (f"{_TORCH}ReLU",), ("relu",)),
}
