"""Real models that train in part: with frozen parameters, or with low-rank adapters."""

from typing import Any

from torch import Tensor, nn

from vitcost.errors import NotCovered

__all__ = ["Lora", "adapted", "frozen"]

_HEADS = ("head", "head_dist")


def frozen(model: nn.Module, how: str) -> nn.Module:
    """The same model, frozen as a scenario says: none, all, backbone, first:K or
    all-but-last:K.

    A module that is registered after the blocks also runs after them, and trains together with the
    last block.
    """
    word, _, number = how.partition(":")
    children = [name for name, _ in model.named_children()]
    behind = children[children.index("blocks") + 1 :]
    blocks: Any = model.blocks
    first = max(len(blocks) - int(number), 0) if word == "all-but-last" else int(number or 0)
    for path, parameter in model.named_parameters():
        part, _, rest = path.partition(".")
        if word in ("backbone", "all"):
            trains = word == "backbone" and part in _HEADS
        elif part == "blocks":
            trains = int(rest.partition(".")[0]) >= first
        else:
            trains = part in behind
        parameter.requires_grad_(parameter.requires_grad and (trains or word == "none"))
    return model


def adapted(model: nn.Module, rank: int, layers: str) -> nn.Module:
    """The same model with adapters on all linear layers with these names."""
    adapted_layers = [
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if name in layers.split(",") and isinstance(child, nn.Linear)
    ]
    for module, name in adapted_layers:
        if getattr(module, "q_bias", None) is not None and name == "qkv":
            raise NotCovered(
                "an adapter is not checked on a qkv layer that the model does not call"
            )
        setattr(module, name, Lora(getattr(module, name), rank))
    return model


class Lora(nn.Module):
    """A frozen linear layer and its low-rank adapter: Hu et al. 2021, arXiv 2106.09685, equation 3.

    ``y = W x + scale · B A x``
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        like: dict[str, Any] = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.base_layer = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **like)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **like)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base_layer(x) + self.lora_B(self.lora_A(x)) * 2.0
        return y
