"""The activations of an MLP, a row each, for configs, layers, op kinds and readers."""

from vitcost.config.records import Record

__all__ = ["ACTIVATIONS", "Activation"]


class Activation(Record):
    """``module`` is timm's class; ``kind`` its op, empty if its library computes it by several ops;
    ``saves``: the tensor that autograd saves, ``x`` its input, ``y`` its output. ``classes`` are
    its torch modules, ``hidden_act`` its names in transformers."""

    module: str
    kind: str
    saves: str
    classes: tuple[str, ...]
    hidden_act: tuple[str, ...]


_TIMM, _TORCH = "timm.layers.activations.", "torch.nn.modules.activation."

# saved tensors: torch's derivatives.yaml; transformers' names: its activations.py, ACT2FN. A torch
# GELU is recognized by its argument ``approximate``
ACTIVATIONS = {
    "gelu": Activation("GELU", "gelu", "x", (f"{_TIMM}GELU",), ("gelu",)),
    "gelu_tanh": Activation("GELUTanh", "gelu", "x", (f"{_TIMM}GELUTanh",), ("gelu_pytorch_tanh",)),
    # x · sigmoid(1.702 · x), which timm computes by several ops
    "quick_gelu": Activation("QuickGELU", "", "", (f"{_TIMM}QuickGELU",), ("quick_gelu",)),
    # ½x · (1 + tanh(√(2/π) · (x + 0.044715 x³))), which transformers computes by several ops
    "gelu_new": Activation(
        "NewGELUActivation", "", "", ("transformers.activations.NewGELUActivation",), ("gelu_new",)
    ),
    "silu": Activation("SiLU", "silu", "x", (f"{_TORCH}SiLU",), ("silu", "swish")),
    "relu": Activation("ReLU", "relu", "y", (f"{_TORCH}ReLU",), ("relu",)),
}
