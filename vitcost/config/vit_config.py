"""``ViTConfig``: a Vision Transformer as integers, validated once, when it is made."""

from collections.abc import Mapping
from dataclasses import InitVar, fields
from typing import Annotated, Any

from vitcost.config.activations import ACTIVATIONS
from vitcost.config.codes import CODES
from vitcost.config.fields import (
    Field,
    Pair,
    PerBlock,
    checked,
    checked_ratio,
    choice,
    declared,
    rate,
    size,
)
from vitcost.config.records import immutable
from vitcost.config.rules import broken_rule
from vitcost.errors import ConfigError

__all__ = [
    "FIELDS",
    "RATIOS",
    "Field",
    "ViTConfig",
    "configure",
    "merged",
]

# the rows of vitcost.config.backbones
_BACKBONES = (
    "resnetv2_stem", "resnetv2_26", "resnetv2_50", "resnetv2_50_s16",
    "resnet26d", "resnet50d", "resnet50d_s16", "mci",
    "vitamin_small", "vitamin_base", "vitamin_large", "vitamin_xlarge",
)  # fmt: skip


@immutable
class ViTConfig:
    """A Vision Transformer, field by field, in timm's names.

    Sizes are ``(height, width)``; an int means a square. ``mlp_dim`` is the input width of the
    MLP's last layer, after a gate if there is one; by default it is 4 · embed_dim, or the width
    that timm computes from ``mlp_ratio``. A field that is None follows a rule of timm's class
    ``model_class``. Raises ``ConfigError`` with the field, the value and what is allowed.

    >>> ViTConfig(embed_dim=1280, depth=32, num_heads=16, patch_size=14).mlp_dim
    5120
    >>> ViTConfig(embed_dim=768, num_heads=7)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: embed_dim 768 is not divisible by num_heads 7; nearest: 6 or 8
    """

    # the timm class whose rules fill the fields that are None
    model_class: Annotated[
        str, choice("the timm class it follows", "VisionTransformer", "Eva", "Beit")
    ] = "VisionTransformer"
    code: Annotated[
        str, choice("the library whose forward runs; it decides which tensors are alive", *CODES)
    ] = "timm"

    # image and patches
    img_size: Annotated[Pair, size("image side that the model is built for, N or HxW")] = (224, 224)
    input_size: Annotated[
        Pair | None,
        size("image side that the model is fed, its positions unchanged; none: img_size"),
    ] = None
    patch_size: Annotated[Pair, size("patch side, N or HxW")] = (16, 16)
    in_chans: Annotated[int, size("image channels")] = 3
    backbone: Annotated[
        str, choice("convolutional network that the patches are cut from", "", *_BACKBONES)
    ] = ""
    patch_norm: Annotated[bool, Field("norm after the patch convolution")] = False
    patch_bias: Annotated[
        bool | None, Field("bias of the patch convolution; none: without pre_norm")
    ] = None
    dynamic_img_size: Annotated[bool, Field("position embedding resampled to each image")] = False
    dynamic_img_pad: Annotated[bool, Field("pads an image to whole patches")] = False
    interpolate_pos_encoding: Annotated[
        str,
        choice(
            "positions resampled to each image as transformers does, in this type; "
            "pixels beyond the last whole patch are dropped",
            "", "float32", "same",
        ),
    ] = ""  # fmt: skip
    floor_img_size: Annotated[bool, Field("drops pixels beyond the last whole patch")] = False

    # tokens and positions
    class_token: Annotated[bool, Field("class token")] = True
    dist_token: Annotated[bool, Field("distillation token with a second head")] = False
    reg_tokens: Annotated[int, Field("register tokens", 0, 10**6)] = 0
    pos_embed: Annotated[
        str,
        choice("absolute position embedding; fixed: it does not train", "learn", "fixed", "none"),
    ] = "learn"
    no_embed_class: Annotated[bool, Field("position embedding of the patches alone")] = False
    no_embed_reg: Annotated[bool, Field("position embedding of all but the registers")] = False
    mask_token: Annotated[bool, Field("mask token, which whole images do not use")] = False
    mask_ratio: Annotated[float, rate("share of the patches that the blocks leave out")] = 0.0
    rope_type: Annotated[
        str, choice("rotary position embedding", "none", "cat", "dinov3", "mixed", "mrope")
    ] = "none"
    use_rel_pos_bias: Annotated[bool, Field("relative position bias in every block")] = False
    use_shared_rel_pos_bias: Annotated[bool, Field("relative position bias of all blocks")] = False
    pre_norm: Annotated[bool, Field("norm before the blocks")] = False

    # blocks
    embed_dim: Annotated[int, size("width of the residual stream")] = 768
    depth: Annotated[int, Field("number of blocks", 1, 10**5)] = 12
    block_fn: Annotated[
        str,
        choice(
            "how a block is wired",
            "Block",
            "ResPostBlock",
            "ParallelScalingBlock",
            "ParallelThingsBlock",
            "DiffParallelScalingBlock",
        ),
    ] = "Block"
    norm_layer: Annotated[str, choice("norm", "layernorm", "rmsnorm")] = "layernorm"
    init_values: Annotated[float | None, Field("initial layer scale; none: no layer scale")] = None
    attn_only_layer_scale: Annotated[bool, Field("no layer scale on the MLP")] = False

    # attention
    attn_layer: Annotated[
        str,
        choice(
            "attention; eva has no key bias, diff is differential", "attn", "eva", "rope", "diff"
        ),
    ] = "attn"
    num_heads: Annotated[int, size("attention heads")] = 12
    num_kv_heads: Annotated[PerBlock, size("key and value heads, N or one number a block")] = None
    qkv_bias: Annotated[bool, Field("bias of the qkv projection")] = True
    qkv_fused: Annotated[bool, Field("one projection for q, k and v")] = True
    qk_norm: Annotated[bool, Field("norm of queries and keys, by head")] = False
    qk_scale: Annotated[float | None, Field("attention scale in place of head_dim ** -0.5")] = None
    scale_query: Annotated[bool, Field("scales the queries, as timm does, not the scores")] = False
    scale_attn_norm: Annotated[bool, Field("norm before the attention's projection")] = False
    proj_bias: Annotated[bool, Field("bias of the projection and the MLP")] = True

    # MLP
    mlp_layer: Annotated[
        str, choice("MLP", "Mlp", "GluMlp", "SwiGLUPacked", "SwiGLU", "GeGluMlp")
    ] = "Mlp"
    mlp_dim: Annotated[int, size("hidden width of the MLP, behind its gate")] = 0
    mlp_ratio: InitVar[float | None] = None
    swiglu_align_to: Annotated[int, Field("rounds a width given by mlp_ratio up", 0, 10**6)] = 0
    act_layer: Annotated[str, choice("activation of the MLP", *ACTIVATIONS)] = "gelu"
    scale_mlp_norm: Annotated[bool, Field("norm before the MLP's last layer")] = False

    # pool and head
    final_norm: Annotated[bool | None, Field("norm after the blocks")] = None
    global_pool: Annotated[
        str,
        choice(
            "the tokens that the head reads",
            "token",
            "avg",
            "avgmax",
            "max",
            "token_avg",
            "map",
            "prr",
            "",
        ),
    ] = "token"
    pool_include_prefix: Annotated[bool, Field("pools the prefix tokens too")] = False
    attn_pool_num_heads: Annotated[
        int | None, size("heads of the attention pool; none: num_heads")
    ] = None
    attn_pool_mlp_dim: Annotated[int, Field("MLP width of the attention pool", 0, 10**6)] = 0
    attn_pool_mlp_ratio: InitVar[float | None] = None
    fc_norm: Annotated[bool | None, Field("the last norm behind the pool")] = None
    representation_size: Annotated[
        int | None, size("linear + tanh of this width before the head")
    ] = None
    num_classes: Annotated[int, Field("classes of the head; 0: no head")] = 1000
    head_bias: Annotated[bool, Field("bias of the head")] = True

    # dropout
    drop_rate: Annotated[float, rate("dropout before the head")] = 0.0
    pos_drop_rate: Annotated[float, rate("dropout after the position embedding")] = 0.0
    proj_drop_rate: Annotated[float, rate("dropout after projection and in the MLP")] = 0.0
    act_drop_rate: Annotated[
        float | None, rate("dropout behind the MLP's activation; none: proj_drop_rate")
    ] = None
    attn_drop_rate: Annotated[float, rate("dropout of the attention weights")] = 0.0
    drop_path_rate: Annotated[float, rate("stochastic depth of the last block")] = 0.0

    def __post_init__(self, mlp_ratio: float | None, attn_pool_mlp_ratio: float | None) -> None:
        for name, (kind, field) in FIELDS.items():
            value = getattr(self, name)
            if value is not _DEFAULTS[name]:
                object.__setattr__(self, name, checked(name, kind, field, value))
        self._fill_widths(
            checked_ratio("mlp_ratio", mlp_ratio),
            checked_ratio("attn_pool_mlp_ratio", attn_pool_mlp_ratio),
        )
        checked("mlp_dim", int, FIELDS["mlp_dim"][1], self.mlp_dim)
        self._settle_input()
        if wrong := broken_rule(self):
            raise ConfigError(wrong)
        self._check_image()

    def _settle_input(self) -> None:
        if self.input_size is not None and self.input_size == self.img_size:
            object.__setattr__(self, "input_size", None)

    def _fill_widths(self, mlp_ratio: float | None, pool_ratio: float | None) -> None:
        hidden = mlp_width = self.mlp_dim
        # a width that is an array, as in a sweep, counts as given
        if isinstance(mlp_width, int) and not mlp_width:
            hidden = mlp_width = _whole(self.embed_dim * (mlp_ratio or 4))
            if self.mlp_layer in _PACKED and "Scaling" not in self.block_fn:
                # timm's ratio counts both halves of a packed gate, except in Eva
                hidden = mlp_width if self.model_class == "Eva" else _half(mlp_width)
            if self.swiglu_align_to:
                hidden = -(-hidden // self.swiglu_align_to) * self.swiglu_align_to
            object.__setattr__(self, "mlp_dim", hidden)
        pool = 0
        if self.global_pool == "map":
            pool = _whole(self.embed_dim * pool_ratio) if pool_ratio else self.attn_pool_mlp_dim
            pool = mlp_width if isinstance(pool, int) and not pool else pool
        object.__setattr__(self, "attn_pool_mlp_dim", pool)

    def _check_image(self) -> None:
        name = "img_size" if self.input_size is None else "input_size"
        side_name = f"features of {self.backbone}, side" if self.backbone else name
        for side, patch in zip(self.features, self.patch_size, strict=True):
            if side < patch:
                raise ConfigError(f"{side_name} {side} is smaller than patch_size {patch}")
            if self.whole_patches and side % patch:
                low, high = side // patch * patch, -(-side // patch) * patch
                hint = "" if self.backbone or self.dynamic_img_size else _FLOOR
                near = f"nearest: {low} or {high}{hint}"
                raise ConfigError(
                    f"{side_name} {side} is not divisible by patch_size {patch}; {near}"
                )

    @property
    def image(self) -> Pair:
        """Height and width of the image that the model is fed."""
        return self.img_size if self.input_size is None else self.input_size

    @property
    def whole_patches(self) -> bool:
        """Whether patches must cover the image without a rest."""
        # a dynamic model may get an image of any size: timm then requires whole patches
        floor = self.floor_img_size and not (self.backbone or self.dynamic_img_size)
        return not (floor or self.dynamic_img_pad)

    @property
    def features(self) -> Pair:
        """The sides of the map from which patches are cut: the image, or the features of a
        backbone."""
        return self._features(self.image)

    def _features(self, image: Pair) -> Pair:
        if not self.backbone:
            return image
        # imported only for hybrids
        from vitcost.config.backbones import features

        return features(self.backbone, image)

    @property
    def table(self) -> Pair:
        """The grid of patches, down and across, that the positions are made for."""
        (H, W), (p_h, p_w) = self._features(self.img_size), self.patch_size
        return H // p_h, W // p_w

    @property
    def resampled(self) -> bool:
        """Whether the positions are made for another grid of patches than the image has."""
        if self.input_size is None and not self.dynamic_img_pad:
            return False
        odd = self.interpolate_pos_encoding != "" and self.image[0] != self.image[1]
        return self.pos_embed != "none" and (odd or self.grid != self.table)

    @property
    def feature_tokens(self) -> int:
        """Width of backbone features that serve as tokens directly; 0 if a convolution makes the
        tokens."""
        if not self.backbone:
            return 0
        from vitcost.config.backbones import BACKBONES

        row = BACKBONES[self.backbone]
        return 0 if row.projected else row.width

    @property
    def grid(self) -> Pair:
        """The number of patches down and across."""
        (H, W), (p_h, p_w) = self.features, self.patch_size
        if self.dynamic_img_pad:
            return -(-H // p_h), -(-W // p_w)
        return H // p_h, W // p_w

    @property
    def remainder(self) -> bool:
        """Whether pixels or features are left over after the last whole patch."""
        return any(side % patch for side, patch in zip(self.features, self.patch_size, strict=True))

    @property
    def has_relative_bias(self) -> bool:
        """Whether a bias of the distance of two tokens is added to their score."""
        return self.use_rel_pos_bias or self.use_shared_rel_pos_bias

    @property
    def prefix_tokens(self) -> int:
        """The number of class, distillation and register tokens, which stand before the patches."""
        return self.class_token + self.dist_token + self.reg_tokens

    @property
    def tokens(self) -> int:
        """The number of tokens in the sequence that the blocks read."""
        return self.kept_patches + self.prefix_tokens

    @property
    def kept_patches(self) -> int:
        """The number of patches that the blocks read."""
        patches = self.grid[0] * self.grid[1]
        return int(patches * (1 - self.mask_ratio)) if self.mask_ratio else patches

    @property
    def losses(self) -> int:
        """The number of cross entropies in its loss: one for each head."""
        return (1 + self.dist_token) * (self.num_classes > 0)

    @property
    def pre_logits(self) -> int:
        """Width of the layer before the head; 0 if there is none."""
        return 0 if self.dist_token else self.representation_size or 0

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """The number of key and value heads of each block."""
        heads = self.num_kv_heads
        return heads if isinstance(heads, tuple) else (heads or self.num_heads,) * self.depth

    def to_dict(self) -> dict[str, Any]:
        """Every field, sizes as lists."""
        values = {name: getattr(self, name) for name in FIELDS} | {"input_size": self.image}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


FIELDS: Mapping[str, tuple[Any, Field]] = declared(ViTConfig)
# may be given in place of a width, and then follow the model's width
RATIOS = {"mlp_ratio": "mlp_dim", "attn_pool_mlp_ratio": "attn_pool_mlp_dim"}

_DEFAULTS: Mapping[str, Any] = {f.name: f.default for f in fields(ViTConfig)}
_FLOOR = "; floor_img_size (--floor-img-size) drops the rest, as timm does"
_PACKED = ("GluMlp", "SwiGLUPacked")


def _whole(width: Any) -> Any:
    """A width without its fraction; for an array, element by element."""
    return int(width) if isinstance(width, int | float) else width.astype("int64")


def _half(width: int) -> int:
    if width % 2:
        raise ConfigError(f"mlp_ratio gives a width of {width}, which a gate cannot halve")
    return width // 2


def configure(base: Mapping[str, Any] | ViTConfig, **overrides: Any) -> ViTConfig:
    """A config from fields, some of them replaced; a width that is given as a ratio follows its
    base width.

    >>> configure({"embed_dim": 192, "num_heads": 3, "mlp_ratio": 4}, embed_dim=384).mlp_dim
    1536
    """
    return ViTConfig(**merged(base, overrides))


def merged(base: Mapping[str, Any] | ViTConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config after some are replaced.

    >>> merged({"depth": 12, "mlp_dim": 3072}, {"mlp_ratio": 2.0})
    {'depth': 12, 'mlp_dim': 0, 'mlp_ratio': 2.0}
    """
    for name in overrides:
        if name not in FIELDS and name not in RATIOS:
            # imported only for a message
            from vitcost.config.offers import unknown_field

            raise unknown_field(name, [*FIELDS, *RATIOS], overrides[name])
    # a replaced ratio also replaces the width that it sets
    replaced = {RATIOS[name]: 0 for name in overrides if name in RATIOS}
    if isinstance(base, ViTConfig):
        base = {name: getattr(base, name) for name in FIELDS}
    return {**base, **replaced, **overrides}
