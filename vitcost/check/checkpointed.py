"""Real models that run parts of themselves again in the backward pass: torch's checkpoint."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitcost.check import reference
from vitcost.errors import NotCovered

__all__ = ["checkpointed"]


def checkpointed(model: nn.Module, how: str) -> nn.Module:
    """The same model, checkpointed as a scenario says: none, selective, block or every:K.

    Raises ``NotCovered`` for a model whose blocks are not one sequence, where several share a
    region, and for selective checkpointing of any attention but the reference's.
    """
    blocks: Any = model.blocks
    word, _, number = how.partition(":")
    if word == "selective":
        for block in blocks:
            if not isinstance(block.attn, reference.Attention):
                kind = type(block.attn).__qualname__
                raise NotCovered(f"selective checkpointing of a real {kind}: it is the reference's")
            block.attn = _Core(block.attn)
    elif word == "every" and int(number) > 1:
        if not isinstance(blocks, nn.Sequential):
            raise NotCovered(f"checkpointing every {number} of blocks that take more than tokens")
        model.blocks = _Groups(blocks, int(number))
    elif word in ("block", "every"):
        for block in blocks:
            block.forward = _again(block.forward)
    return model


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run


class _Core(nn.Module):
    """The reference's attention, what lies between q, k, v and its output checkpointed."""

    def __init__(self, attention: reference.Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        own = self.attention
        b, s, h = x.shape
        qkv = own.qkv(x).reshape(b, s, 3, own.num_heads, h // own.num_heads)
        y = checkpoint(self.core, *qkv.permute(2, 0, 3, 1, 4).unbind(0), use_reentrant=False)
        projected: Tensor = own.proj_drop(own.proj(y.transpose(1, 2).reshape(b, s, h)))
        return projected

    def core(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        own = self.attention
        if own.fused:
            rate = own.attn_drop.p if self.training else 0.0
            return reference.scaled_dot_product_attention(q, k, v, dropout_p=rate, scale=own.scale)
        if own.scale_query:
            scores = (q * own.scale) @ k.transpose(-2, -1)
        else:
            scores = (q @ k.transpose(-2, -1)) * own.scale
        mixed: Tensor = own.attn_drop(scores.softmax(dim=-1)) @ v
        return mixed


class _Groups(nn.Module):
    """Blocks in checkpointed groups of so many; the last may have fewer."""

    def __init__(self, blocks: Iterable[nn.Module], every: int) -> None:
        super().__init__()
        self.blocks, self.every = nn.ModuleList(blocks), every

    def forward(self, x: Tensor) -> Tensor:
        for i in range(0, len(self.blocks), self.every):
            group = nn.Sequential(*self.blocks[i : i + self.every])
            x = checkpoint(group, x, use_reentrant=False)
        return x
