"""Checkpoints real models by torch's checkpoint, so that parts run again in the backward pass."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitcost.check import reference
from vitcost.errors import NotCovered

__all__ = ["checkpointed"]


def checkpointed(model: nn.Module, how: str) -> nn.Module:
    """The same model, checkpointed as a scenario says: none, selective, block, every:K, or the
    first or last of its blocks.

    Raises ``NotCovered`` if several blocks share a region in a model that passes each block its own
    position; and for selective checkpointing of any attention but the reference's.
    """
    blocks: Any = model.blocks
    word, _, number = how.partition(":")
    if word == "selective":
        for block in blocks:
            if not isinstance(block.attn, reference.Attention):
                kind = type(block.attn).__qualname__
                raise NotCovered(
                    f"selective checkpointing is checked on the reference's "
                    f"attention only, not on {kind}"
                )
            block.attn = _Core(block.attn)
    elif word == "every" and int(number) > 1:
        if getattr(model, "rope_mixed", False):
            raise NotCovered(
                f"checkpointing every {number} is not checked for blocks that each "
                f"get their own positions"
            )
        every = int(number)
        starts = range(0, len(blocks), every)
        groups = {f"group_{i}": _Group(blocks[i : i + every]) for i in starts}
        # the model's forward then loops over these groups, as it looped over its blocks
        model.blocks = nn.Sequential(OrderedDict(groups))
    elif word in ("block", "every", "first", "last"):
        count = int(number) if word in ("first", "last") else len(blocks)
        for block in blocks[-count:] if word == "last" else blocks[:count]:
            block.forward = partial(_again, block.forward)
    return model


def _again(forward: Callable[..., Any], x: Tensor, **outer: Any) -> Any:
    """Calls a checkpointed forward. Inputs are passed by position: autograd would keep keyword
    arguments just as well, but its hooks do not see them."""

    def run(x: Tensor, *given: Any) -> Any:
        return forward(x, **dict(zip(outer, given, strict=True)))

    return checkpoint(run, x, *outer.values(), use_reentrant=False)


class _Core(nn.Module):
    """The reference's attention with a checkpoint around the ops from q, k and v to its output."""

    def __init__(self, attention: reference.Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        attention = self.attention
        b, s, h = x.shape
        qkv = attention.qkv(x).reshape(b, s, 3, attention.num_heads, h // attention.num_heads)
        y = checkpoint(self.core, *qkv.permute(2, 0, 3, 1, 4).unbind(0), use_reentrant=False)
        projected: Tensor = attention.proj_drop(attention.proj(y.transpose(1, 2).reshape(b, s, h)))
        return projected

    def core(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        attention = self.attention
        if attention.fused:
            rate = attention.attn_drop.p if self.training else 0.0
            return reference.scaled_dot_product_attention(
                q, k, v, dropout_p=rate, scale=attention.scale
            )
        if attention.scale_query:
            scores = (q * attention.scale) @ k.transpose(-2, -1)
        else:
            scores = (q @ k.transpose(-2, -1)) * attention.scale
        mixed: Tensor = attention.attn_drop(scores.softmax(dim=-1)) @ v
        return mixed


class _Group(nn.Module):
    """Blocks that share one checkpointed region."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, **outer: Any) -> Any:
        return _again(self.each, x, **outer)

    def each(self, x: Tensor, **outer: Any) -> Tensor:
        for block in self.blocks:
            x = block(x, **outer)
        return x
