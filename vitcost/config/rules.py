"""Rules of a ``ViTConfig``: timm's assertions, and configs that timm's classes cannot build."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import reduce
from itertools import pairwise
from typing import Any, TypeAlias

from vitcost.config.codes import CODES, lacks

__all__ = ["RULES", "broken_rule", "divisors_near"]

# a ViTConfig, which checks these rules when it is made; in a sweep its sizes, and the answers, are
# arrays
Config: TypeAlias = Any

# the pools of each class; VisionTransformer has all of them
_POOLS = {
    "Eva": ("token", "avg", "avgmax", "max", "map", ""),
    "Beit": ("token", "avg", ""),
}


# equal blocks are computed once, and each block that differs takes a hundredth of a second
MOST_CHANGES = 100


def _changes(values: tuple[int, ...]) -> int:
    """How often a value differs from the one before it."""
    return sum(one != other for one, other in pairwise(values))


def _takes_any_image(c: Config) -> bool:
    """Whether the model takes images of any size: positions are resampled to each image, or there
    are none."""
    plain = c.pos_embed == "none" and c.rope_type == "none"
    return bool(c.dynamic_img_size or c.interpolate_pos_encoding or plain)


def _keeps_its_image(c: Config) -> bool:
    """Whether the model takes only its own image size: relative positions belong to one grid, and
    timm's BEiT has no dynamic_img_size."""
    beit = c.model_class == "Beit" and not c.interpolate_pos_encoding
    return bool(c.has_relative_bias or beit)


def _lacked(c: Config) -> Any:
    """Whether a field has a value that no argument of its library can give."""
    return _any(answer for _, answer in _lacking(c))


def _lacking(c: Config) -> Iterator[tuple[str, Any]]:
    """The fields for which its library has no argument, and whether each differs from the
    default."""
    for field in fields(c) if CODES[c.code].fields else ():
        value = getattr(c, field.name)
        if lacks(c.code, field.name, value):
            yield field.name, value != field.default


def _any(answers: Iterable[Any]) -> Any:
    """Whether one of the conditions holds; element by element for arrays."""
    return reduce(lambda one, other: one | other, answers, False)


def divisors_near(width: int, heads: int) -> str:
    """The numbers nearest to ``heads`` by which a width can be divided.

    >>> divisors_near(768, 7), divisors_near(768, 1000)
    ('6 or 8', '768')
    """
    below = max((n for n in range(1, min(heads, width) + 1) if width % n == 0), default=None)
    above = next((n for n in range(heads, width + 1) if width % n == 0), None)
    return " or ".join(str(n) for n in dict.fromkeys((below, above)) if n is not None)


# pairs: whether a config breaks the rule, and the message
RULES: tuple[tuple[Callable[[Config], Any], str], ...] = (
    (_lacked, "code {c.code} has no {lacked}; code timm has it"),
    (
        lambda c: c.embed_dim % c.num_heads != 0,
        "embed_dim {c.embed_dim} is not divisible by num_heads {c.num_heads}; nearest: {heads}",
    ),
    (
        lambda c: c.model_class in _POOLS and c.global_pool not in _POOLS[c.model_class],
        "global_pool {c.global_pool!r} does not exist in {c.model_class}",
    ),
    (
        lambda c: c.global_pool in ("token", "token_avg") and not c.class_token,
        "global_pool {c.global_pool!r} reads the class token, which class_token=False leaves out",
    ),
    (
        lambda c: c.global_pool == "map" and c.embed_dim % (c.attn_pool_num_heads or 1) != 0,
        "embed_dim {c.embed_dim} is not divisible by attn_pool_num_heads {c.attn_pool_num_heads}",
    ),
    (
        lambda c: (
            c.dist_token
            and not (
                c.global_pool == "token"
                and c.pos_embed == "learn"
                and not (c.reg_tokens or c.no_embed_class or c.fc_norm)
            )
        ),
        "dist_token needs global_pool 'token' and a learned position embedding of all tokens, "
        "and has no reg_tokens and no fc_norm",
    ),
    (
        lambda c: c.mask_ratio > 0 and (c.rope_type != "none" or c.has_relative_bias),
        "mask_ratio is for a learned position embedding alone",
    ),
    (
        lambda c: c.mask_ratio > 0 and c.kept_patches < 1,
        "mask_ratio {c.mask_ratio} leaves no patch",
    ),
    (
        lambda c: c.input_size is not None and _keeps_its_image(c),
        "input_size {c.input_size[0]}x{c.input_size[1]}: its positions are those of images of "
        "{c.img_size[0]}x{c.img_size[1]} alone; --img-size builds them anew",
    ),
    (
        lambda c: c.input_size is not None and not _takes_any_image(c),
        "input_size {c.input_size[0]}x{c.input_size[1]}: it takes images of its img_size alone, "
        "{c.img_size[0]}x{c.img_size[1]}; --dynamic-img-size has timm resample its positions to "
        "each image, --interpolate-pos-encoding same transformers, and --img-size builds them anew",
    ),
    (
        lambda c: c.interpolate_pos_encoding != "" and (c.dynamic_img_size or c.dynamic_img_pad),
        "interpolate_pos_encoding is transformers', dynamic_img_size and dynamic_img_pad timm's",
    ),
    (
        lambda c: c.input_size is not None and c.resampled and c.mask_ratio > 0,
        "mask_ratio is for images of img_size alone, got input_size {c.input_size}",
    ),
    (
        lambda c: c.interpolate_pos_encoding != "" and c.resampled and c.table[0] != c.table[1],
        "transformers resamples a square of positions alone, and img_size {c.img_size} gives "
        "{c.table}",
    ),
    (
        # a position table for whole patches has no entries for patches that padding adds
        lambda c: (
            c.dynamic_img_pad
            and not c.dynamic_img_size
            and c.remainder
            and (c.pos_embed != "none" or c.rope_type != "none" or c.has_relative_bias)
        ),
        "dynamic_img_pad needs dynamic_img_size where a patch does not divide the image",
    ),
    (
        lambda c: c.num_kv_heads is not None and len(c.kv_heads) != c.depth,
        "num_kv_heads has not one number for each of depth {c.depth} blocks: "
        "{c.num_kv_heads!r:.80}",
    ),
    (
        lambda c: isinstance(c.num_kv_heads, tuple) and _changes(c.num_kv_heads) > MOST_CHANGES,
        f"num_kv_heads changes more than {MOST_CHANGES} times from one block to the next",
    ),
    (
        lambda c: c.num_kv_heads is not None and any(c.num_heads % n for n in c.kv_heads),
        "num_heads {c.num_heads} is not divisible by num_kv_heads {c.num_kv_heads!r:.80}",
    ),
    (
        lambda c: (
            c.num_kv_heads is not None
            and set(c.kv_heads) != {c.num_heads}
            and (c.qkv_fused or c.attn_layer != "rope")
        ),
        "num_kv_heads below num_heads needs attn_layer 'rope' and qkv_fused=False",
    ),
    (
        lambda c: (
            c.rope_type != "none"
            and (c.block_fn not in ("Block", "ResPostBlock") or c.attn_layer == "diff")
        ),
        "rope_type {c.rope_type!r} is not for block_fn {c.block_fn!r}, attn_layer {c.attn_layer!r}",
    ),
    (
        lambda c: c.rope_type != "none" and c.embed_dim // c.num_heads % 4 != 0,
        "rope_type {c.rope_type!r} needs embed_dim / num_heads divisible by 4",
    ),
    (
        lambda c: (
            (c.attn_layer == "diff" or c.block_fn == "DiffParallelScalingBlock")
            and c.embed_dim // c.num_heads % 2 != 0
        ),
        "differential attention needs embed_dim / num_heads divisible by 2",
    ),
    (
        lambda c: c.attn_layer == "diff" and not c.qkv_fused,
        "differential attention needs qkv_fused",
    ),
    (
        lambda c: "Scaling" in c.block_fn and (c.scale_attn_norm or c.scale_mlp_norm),
        "{c.block_fn} has no scale_attn_norm and no scale_mlp_norm",
    ),
    (
        lambda c: (
            c.has_relative_bias
            and not (
                c.prefix_tokens == c.class_token == 1
                and c.block_fn in ("Block", "ResPostBlock")
                and c.attn_layer != "diff"
                and not c.dynamic_img_size
            )
        ),
        "a relative position bias needs a class token as the only prefix, a plain block "
        "and a fixed image",
    ),
    (
        lambda c: (
            c.model_class == "Eva"
            and c.block_fn == "ResPostBlock"
            and (c.qk_norm or c.attn_only_layer_scale or c.num_kv_heads is not None)
        ),
        "qk_norm, num_kv_heads and attn_only_layer_scale do not exist in Eva's post-norm block",
    ),
    (
        lambda c: c.backbone != "" and (c.model_class != "VisionTransformer" or c.patch_norm),
        "backbone {c.backbone!r} needs model_class VisionTransformer and has no patch_norm",
    ),
    (
        lambda c: (
            c.feature_tokens > 0 and (c.embed_dim, c.patch_size) != (c.feature_tokens, (1, 1))
        ),
        "the features of backbone {c.backbone!r} are the tokens: embed_dim {c.feature_tokens} and "
        "patch_size 1, got {c.embed_dim} and {c.patch_size}",
    ),
)


def broken_rule(c: Config) -> str:
    """The message of the first rule that a config breaks; empty if it keeps every rule.

    >>> from vitcost.config.vit_config import ViTConfig
    >>> broken_rule(ViTConfig())
    ''
    """
    for broken, message in RULES:
        if broken(c):
            lacked = next((name for name, wrong in _lacking(c) if wrong), "")
            return message.format(
                c=c,
                heads=divisors_near(c.embed_dim, c.num_heads),
                lacked=lacked and f"{lacked}, got {getattr(c, lacked)}",
            )
    return ""
