"""The structure of a model, apart from its sizes: the key under which an op list is built."""

from itertools import groupby

from vitcost.config.codes import Code, code_of
from vitcost.config.records import Record
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.ops import Sizes, ceil_div, smallest
from vitcost.engine.timm_classes import CLASSES, Made

__all__ = ["MANY", "Span", "Structure", "sizes_of", "structure_of"]


# a run has at least this many blocks and is counted by an axis; passes that peel layers off a run
# take fewer
MANY = 6

_NORMS = {"layernorm": "LayerNorm", "rmsnorm": "RmsNorm"}


class Span(Record):
    """Consecutive blocks with the same number of key and value heads."""

    blocks: int  # at most MANY: fewer blocks are written out one by one, more are a run
    axis: str  # the axis that counts the blocks
    # the suffix of the axes of grouped heads and their width; "": as many key and value heads as
    # query heads
    kv: str = ""


class Structure(Record):
    """The facts that a builder may branch on: the parts that a model has, but no size."""

    training: bool
    made: Made
    code: Code
    # batch and heads
    one_image: bool
    one_head: bool
    pool_one_head: bool
    # whether a head's width is no multiple of 8
    odd_head: bool
    pool_odd_head: bool
    # patches, tokens, positions
    backbone: str
    pad: bool
    patch_proj: bool
    patch_bias: bool
    patch_norm: bool
    class_token: bool
    dist_token: bool
    reg_tokens: bool
    mask_token: bool
    masked: bool
    pos_embed: str  # "" | s: of all tokens | u: of all but the registers | n: of the patches
    pos_fixed: bool
    # "" | timm | float32 | same: how positions are resampled; transformers does it in float32 or in
    # their own type
    resampled: str
    rope: str
    dynamic: bool  # position tables are made for each image, so they are not buffers
    rel_pos_bias: bool
    shared_rel_pos_bias: bool
    pre_norm: bool
    # blocks
    spans: tuple[Span, ...]
    block: str
    norm: str
    layer_scale: tuple[bool, bool]
    attn: str
    qkv_fused: bool
    qkv_bias: bool
    k_bias: bool
    qk_norm: bool
    scale_query: bool
    attn_norm: bool
    proj_bias: bool
    mlp: str
    act: str
    mlp_norm: bool
    # pool and head
    final_norm: bool
    fc_norm: bool
    pool: str
    pool_prefix: bool
    pre_logits: bool
    classes: bool
    head_bias: bool
    # dropouts, which act only in training
    head_drop: bool
    pos_drop: bool
    proj_drop: bool
    act_drop: bool
    attn_drop: bool
    drop_path: bool

    @property
    def odd_heads(self) -> tuple[tuple[str, bool], ...]:
        """The axes of head widths that are no multiple of 8; each with True if its attention has a
        single head."""
        heads = (("d", self.odd_head, self.one_head),)
        pool = (("pool_d", self.pool_odd_head, self.pool_one_head),)
        return tuple((axis, one_head) for axis, odd, one_head in heads + pool if odd)

    @property
    def prefix(self) -> bool:
        return self.class_token or self.dist_token or self.reg_tokens


# facts of a structure that are a field of the config
_OF_CONFIG = {
    "backbone": "backbone",
    "pad": "dynamic_img_pad",
    "patch_norm": "patch_norm",
    "class_token": "class_token",
    "dist_token": "dist_token",
    "mask_token": "mask_token",
    "rope": "rope_type",
    "dynamic": "dynamic_img_size",
    "rel_pos_bias": "use_rel_pos_bias",
    "shared_rel_pos_bias": "use_shared_rel_pos_bias",
    "pre_norm": "pre_norm",
    "block": "block_fn",
    "attn": "attn_layer",
    "qkv_fused": "qkv_fused",
    "qkv_bias": "qkv_bias",
    "qk_norm": "qk_norm",
    "scale_query": "scale_query",
    "attn_norm": "scale_attn_norm",
    "proj_bias": "proj_bias",
    "mlp": "mlp_layer",
    "act": "act_layer",
    "mlp_norm": "scale_mlp_norm",
    "pool": "global_pool",
    "head_bias": "head_bias",
}


def structure_of(c: ViTConfig, batch: int = 1, training: bool = False) -> Structure:
    """The structure of a config; dropouts act in training alone."""
    timm_class, code = CLASSES[c.model_class], _code(c, training)
    final_norm, fc_norm = _last_norms(c, timm_class)
    positions = c.pos_embed != "none"
    return Structure(
        **{name: getattr(c, field) for name, field in _OF_CONFIG.items()},
        training=training,
        made=timm_class,
        code=code,
        one_image=batch == 1,
        one_head=c.num_heads == 1,
        pool_one_head=(c.attn_pool_num_heads or c.num_heads) == 1,
        odd_head=c.embed_dim // c.num_heads % 8 != 0,
        pool_odd_head=c.embed_dim // (c.attn_pool_num_heads or c.num_heads) % 8 != 0,
        patch_proj=not c.feature_tokens,
        # a norm that follows makes the bias superfluous
        patch_bias=not c.pre_norm if c.patch_bias is None else c.patch_bias,
        reg_tokens=c.reg_tokens > 0 or code.empty_registers,
        masked=c.mask_ratio > 0,
        pos_embed=_positions(c) if positions else "",
        pos_fixed=c.pos_embed == "fixed",
        resampled=(c.interpolate_pos_encoding or "timm") if c.resampled else "",
        spans=tuple(
            Span(smallest(count, MANY), f"L{i}" if several else "L", _kv_name(c, heads))
            for i, (heads, count, several) in enumerate(_spans(c))
        ),
        norm=_norm(c),
        layer_scale=_layer_scale(c, timm_class),
        # the k bias of an EVA or BEiT attention is a buffer, or is not there
        k_bias=c.qkv_bias and c.attn_layer != "eva",
        final_norm=final_norm,
        fc_norm=fc_norm,
        # prr reads all tokens
        pool_prefix=c.pool_include_prefix
        or c.global_pool == "prr"
        or (timm_class.pools_prefix and c.global_pool == "map"),
        pre_logits=c.pre_logits > 0,
        classes=c.num_classes > 0,
        head_drop=training and c.drop_rate > 0,
        pos_drop=training and c.pos_drop_rate > 0 and (positions or timm_class.drops_alone),
        proj_drop=training and c.proj_drop_rate > 0,
        act_drop=training
        and (c.proj_drop_rate if c.act_drop_rate is None else c.act_drop_rate) > 0,
        attn_drop=training and c.attn_drop_rate > 0,
        drop_path=c.drop_path_rate > 0,
    )


def sizes_of(c: ViTConfig, batch: int = 1) -> Sizes:
    """The size of every axis that the layers name."""
    (H, W), (p_h, p_w) = c.image, c.patch_size
    h, a, m = c.embed_dim, c.num_heads, c.mlp_dim
    d = h // a
    g_h, g_w = c.grid
    n = g_h * g_w
    kept = c.kept_patches if c.mask_ratio else n
    # the grid of the position embedding: that of the image, unless the model resamples it
    e_h, e_w = c.table if c.input_size is not None or c.dynamic_img_pad else (g_h, g_w)
    prefix = c.class_token + c.dist_token + c.reg_tokens
    pool_a = c.attn_pool_num_heads or a
    sizes = Sizes(
        b=batch,
        c=c.in_chans,
        H=H,
        W=W,
        p_h=p_h,
        p_w=p_w,
        g_h=g_h,
        g_w=g_w,
        pad_h=g_h * p_h,
        pad_w=g_w * p_w,
        n=n,
        kept=kept,
        s=kept + prefix,
        s32=ceil_div(kept + prefix, 32) * 32,
        s8=ceil_div(kept + prefix, 8) * 8,
        s16=ceil_div(kept + prefix, 16) * 16,
        t=c.reg_tokens,
        u=n + prefix - c.reg_tokens,
        e_s=e_h * e_w + prefix,
        e_u=e_h * e_w + prefix - c.reg_tokens,
        e_n=e_h * e_w,
        pre_s=prefix,
        pre_u=prefix - c.reg_tokens,
        h=h,
        a=a,
        d=d,
        q=3 * a * d,
        d8=ceil_div(d, 8) * 8,
        d_2=d // 2,
        d_4=d // 4,
        two_d=2 * d,
        two_a=2 * a,
        two_h=2 * h,
        w=(2 * g_h - 1) * (2 * g_w - 1) + 3,
        w_n=(2 * g_h - 1) * (2 * g_w - 1),
        m=m,
        two_m=2 * m,
        q_m=3 * h + m,
        h_m=h + m,
        pool_a=pool_a,
        pool_d=h // pool_a,
        pool_d8=ceil_div(h // pool_a, 8) * 8,
        pool_m=c.attn_pool_mlp_dim,
        r=c.pre_logits,
        K=c.num_classes,
        L=c.depth,
    )
    if c.backbone:
        from vitcost.config.backbones import map_sizes

        sizes.update(map_sizes(c.backbone, c.image))
    if isinstance(c.num_kv_heads, int | tuple):
        for i, (heads, count, _) in enumerate(_spans(c)):
            name = _kv_name(c, heads)
            sizes.update({f"L{i}": count, f"a{name}": heads, f"k{name}": heads * d})
    return sizes


def _norm(c: ViTConfig) -> str:
    """The kind of norm in the blocks; some code casts its result back to the type of the input."""
    kept = code_of(c.code, c.model_class).keeps_type and c.norm_layer == "layernorm"
    return "TypedLayerNorm" if kept else _NORMS[c.norm_layer]


def _code(c: ViTConfig, training: bool) -> Code:
    """The facts of the model's code. ``nn.MultiheadAttention`` has none of timm's extras of an
    attention, whatever code asks for them; in eval it has a forward of its own if the number of
    heads is even."""
    code = code_of(c.code, c.model_class)
    extras = (
        c.attn_layer != "attn"
        or not c.qkv_fused
        or c.num_kv_heads is not None
        or c.rope_type != "none"
        or c.qk_norm
        or c.scale_attn_norm
        or c.has_relative_bias
    )
    if code.attention != "mha" or (training and not extras):
        return code
    if extras:
        return code._replace(attention="timm")
    fast = c.num_heads % 2 == 0 and c.qkv_bias
    return code._replace(attention="mha fast") if fast else code


def _spans(c: ViTConfig) -> list[tuple[int, int, bool]]:
    """Runs of blocks: key and value heads, number of blocks, and whether there are other runs."""
    if not isinstance(c.num_kv_heads, tuple):
        return [(c.num_kv_heads or c.num_heads, c.depth, False)]
    runs = [(heads, sum(1 for _ in run)) for heads, run in groupby(c.num_kv_heads)]
    return [(heads, count, len(runs) > 1) for heads, count in runs]


def _kv_name(c: ViTConfig, heads: int) -> str:
    if c.num_kv_heads is None or heads == c.num_heads:
        return ""
    return str(sorted(set(c.kv_heads)).index(heads))


def _positions(c: ViTConfig) -> str:
    """The axis of an absolute position embedding."""
    if c.no_embed_class:
        return "n"
    return "u" if c.no_embed_reg and c.reg_tokens else "s"


def _last_norms(c: ViTConfig, timm_class: Made) -> tuple[bool, bool]:
    """Whether there is a norm before the pool, and whether there is one after it."""
    fc_norm = c.global_pool in timm_class.late_norms if c.fc_norm is None else c.fc_norm
    if timm_class.two_norms:
        return (not fc_norm if c.final_norm is None else c.final_norm), fc_norm
    wanted = c.final_norm is not False
    return wanted and not fc_norm, wanted and fc_norm


def _layer_scale(c: ViTConfig, timm_class: Made) -> tuple[bool, bool]:
    """Whether layer scale multiplies the outputs of attention and MLP; a post-norm block has only
    its norms."""
    zero_is_none = not timm_class.scale_zero and "Scaling" not in c.block_fn
    absent = c.init_values is None or (c.init_values == 0 and zero_is_none)
    scaled = not absent and c.block_fn != "ResPostBlock"
    return scaled, scaled and not c.attn_only_layer_scale
