"""What exists in a model, apart from how large it is: the key under which an op list is built."""

from typing import NamedTuple

from vitcost.config import ViTConfig
from vitcost.engine.ops import Sizes

__all__ = ["MANY", "Structure", "sizes_of", "structure_of"]


# from this depth on, blocks are counted by an axis; peeling splits off fewer layers than this
MANY = 6


class Structure(NamedTuple):
    """Everything that a builder may branch on; no size is in it."""

    training: bool
    one_head: bool
    merged_heads: bool  # batch and heads fold into one axis without a copy
    depth: int  # at most MANY: a shallow model is spelled out, a deep one is a run
    dist_token: bool
    patch_norm: bool
    qkv_bias: bool
    classes: bool
    pre_logits: bool
    pos_drop: bool
    proj_drop: bool
    attn_drop: bool
    drop_path: bool


def structure_of(c: ViTConfig, batch: int = 1, training: bool = False) -> Structure:
    """The structure of a config; dropouts act in training alone."""
    return Structure(
        training=training,
        one_head=c.num_heads == 1,
        merged_heads=c.num_heads == 1 or batch == 1,
        depth=min(c.depth, MANY),
        dist_token=c.dist_token,
        patch_norm=c.patch_norm,
        qkv_bias=c.qkv_bias,
        classes=c.num_classes > 0,
        pre_logits=c.pre_logits > 0,
        pos_drop=training and c.pos_drop_rate > 0,
        proj_drop=training and c.proj_drop_rate > 0,
        attn_drop=training and c.attn_drop_rate > 0,
        drop_path=c.drop_path_rate > 0,
    )


def sizes_of(c: ViTConfig, batch: int = 1) -> Sizes:
    """The size of every axis that the layers name."""
    (H, W), (p_h, p_w) = c.img_size, c.patch_size
    d = c.embed_dim // c.num_heads
    g_h, g_w = H // p_h, W // p_w
    s = g_h * g_w + 1 + c.dist_token
    return Sizes(
        b=batch,
        c=c.in_chans,
        H=H,
        W=W,
        p_h=p_h,
        p_w=p_w,
        g_h=g_h,
        g_w=g_w,
        n=g_h * g_w,
        s=s,
        s32=-(-s // 32) * 32,
        h=c.embed_dim,
        a=c.num_heads,
        d=d,
        q=3 * c.num_heads * d,
        m=c.mlp_dim,
        r=c.pre_logits,
        K=c.num_classes,
        L=c.depth,
    )
