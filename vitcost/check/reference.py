# ruff: noqa: RET504 - a forward names every step, and a rebound name lets its tensor go
"""The Vision Transformer of a ``ViTConfig`` in torch, under timm's module paths.

This witness is torch code written from the papers, not from the engine: the two must agree. It can
be built on any device, including ``torch.device("meta")``.
"""

from dataclasses import fields
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vitcost.config.vit_config import ViTConfig
from vitcost.errors import NotCovered

__all__ = ["VisionTransformer", "beyond", "build", "scaled_dot_product_attention"]

Logits: TypeAlias = "Tensor | tuple[Tensor, Tensor]"

# fields of a config that this model reads; all others must have their defaults
_KNOWN = {
    "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads",
    "mlp_dim", "qkv_bias", "qk_scale", "scale_query", "dist_token", "representation_size",
    "patch_norm", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
}  # fmt: skip


def build(config: ViTConfig, fused: bool = False) -> nn.Module:
    """The torch model of a config, in eval mode; ``fused`` calls torch's own attention.

    Raises ``NotCovered`` with the fields that the plain Vision Transformer does not have.

    >>> with torch.device("meta"):
    ...     model = build(ViTConfig())
    >>> sum(p.numel() for p in model.parameters())
    86567656
    """
    missing = beyond(config)
    if missing:
        raise NotCovered(f"the reference model has no {', '.join(missing)}")
    return VisionTransformer(config, fused).eval()


def beyond(config: ViTConfig) -> list[str]:
    """The fields of a config that the plain Vision Transformer does not have, as ``field=value``.

    >>> beyond(ViTConfig(reg_tokens=4))
    ['reg_tokens=4']
    """
    plain = ViTConfig()
    return [
        f"{field.name}={value!r}"
        for field in fields(ViTConfig)
        if field.name not in _KNOWN
        and (value := getattr(config, field.name)) != getattr(plain, field.name)
    ]


class PatchEmbed(nn.Module):
    """A convolution whose stride is its kernel size; then the grid laid out as tokens."""

    def __init__(self, c: ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(c.in_chans, c.embed_dim, c.patch_size, stride=c.patch_size)
        self.norm = _norm(c) if c.patch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = self.norm(x)
        return x


class Attention(nn.Module):
    """Multi-head self-attention that scales the scores after the product, or the queries
    before it."""

    def __init__(self, c: ViTConfig, fused: bool) -> None:
        super().__init__()
        self.num_heads = c.num_heads
        self.fused = fused
        self.scale_query = c.scale_query
        self.scale = c.qk_scale or (c.embed_dim // c.num_heads) ** -0.5
        self.qkv = nn.Linear(c.embed_dim, 3 * c.embed_dim, bias=c.qkv_bias)
        self.attn_drop = nn.Dropout(c.attn_drop_rate)
        self.proj = nn.Linear(c.embed_dim, c.embed_dim)
        self.proj_drop = nn.Dropout(c.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        b, s, _ = x.shape
        qkv = self.qkv(x).reshape(b, s, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            rate = self.attn_drop.p if self.training else 0.0
            x = scaled_dot_product_attention(q, k, v, dropout_p=rate, scale=self.scale)
        else:
            if self.scale_query:
                q = q * self.scale
                attn = q @ k.transpose(-2, -1)
            else:
                attn = (q @ k.transpose(-2, -1)) * self.scale
            attn = attn.softmax(dim=-1)
            attn = self.attn_drop(attn)
            x = attn @ v
        x = x.transpose(1, 2).reshape(b, s, -1)
        x = self.proj(x)
        x = self.proj_drop(x)
        return x


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, c: ViTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(c.embed_dim, c.mlp_dim)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(c.proj_drop_rate)
        self.fc2 = nn.Linear(c.mlp_dim, c.embed_dim)
        self.drop2 = nn.Dropout(c.proj_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        x = self.act(x)
        x = self.drop1(x)
        x = self.fc2(x)
        x = self.drop2(x)
        return x


class DropPath(nn.Module):
    """Stochastic depth: drops the whole branch for a sample, and scales up the branches that are
    kept."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.keep = 1 - rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1))
        return x * mask.bernoulli_(self.keep).div_(self.keep)


class Block(nn.Module):
    """A pre-norm block: attention, then the MLP, each added to the residual stream."""

    def __init__(self, c: ViTConfig, drop_path: float, fused: bool) -> None:
        super().__init__()
        self.norm1 = _norm(c)
        self.attn = Attention(c, fused)
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = _norm(c)
        self.mlp = Mlp(c)
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        x = x + self.drop_path2(self.mlp(self.norm2(x)))
        return x


class VisionTransformer(nn.Module):
    """The whole model; a distilled model returns both heads in training, else their mean."""

    def __init__(self, c: ViTConfig, fused: bool = False) -> None:
        super().__init__()
        self.config = c
        tokens = c.grid[0] * c.grid[1] + 1 + c.dist_token
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, c.embed_dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, c.embed_dim)) if c.dist_token else None
        self.patch_embed = PatchEmbed(c)
        self.pos_drop = nn.Dropout(c.pos_drop_rate)
        # plain floats, since torch.linspace(...).item() cannot run on meta
        rates = [c.drop_path_rate * i / max(c.depth - 1, 1) for i in range(c.depth)]
        self.blocks = nn.Sequential(*(Block(c, rate, fused) for rate in rates))
        self.norm = _norm(c)
        width = c.embed_dim
        self.pre_logits: nn.Module = nn.Identity()
        if c.representation_size and not c.dist_token:
            width = c.representation_size
            self.pre_logits = nn.Sequential()
            self.pre_logits.add_module("fc", nn.Linear(c.embed_dim, width))
            self.pre_logits.add_module("act", nn.Tanh())
        self.head = _head(c, width)
        self.head_dist = _head(c, width) if c.dist_token else None

    def forward(self, x: Tensor) -> Logits:
        x = self.patch_embed(x)
        tokens = [t for t in (self.cls_token, self.dist_token) if t is not None]
        x = torch.cat([*(t.expand(x.shape[0], -1, -1) for t in tokens), x], dim=1)
        x = x + self.pos_embed
        x = self.pos_drop(x)
        x = self.blocks(x)
        x = self.norm(x)
        first: Tensor
        second: Tensor
        if self.head_dist is None:
            first = self.head(self.pre_logits(x[:, 0]))
            return first
        first, second = x[:, 0], x[:, 1]
        first, second = self.head(first), self.head_dist(second)
        if self.training:
            return first, second
        return (first + second) / 2


def _norm(c: ViTConfig) -> nn.LayerNorm:
    return nn.LayerNorm(c.embed_dim, eps=1e-6)


def _head(c: ViTConfig, width: int) -> nn.Module:
    return nn.Linear(width, c.num_classes) if c.num_classes else nn.Identity()
