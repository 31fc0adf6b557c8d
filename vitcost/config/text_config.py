"""``TextConfig`` and ``ClipConfig``: transformers that read text, alone or beside an image
tower."""

from collections.abc import Mapping
from dataclasses import InitVar, replace
from typing import Annotated, Any

from vitcost.config.activations import ACTIVATIONS
from vitcost.config.fields import Field, checked, checked_ratio, choice, declared, rate, size
from vitcost.config.offers import unknown_field
from vitcost.config.records import immutable
from vitcost.config.rules import divisors_near
from vitcost.config.vit_config import FIELDS as VISION_FIELDS
from vitcost.config.vit_config import RATIOS, ViTConfig, configure
from vitcost.errors import ConfigError

__all__ = [
    "ALONE",
    "TEXT_FIELDS",
    "TOWERS",
    "ClipConfig",
    "TextConfig",
    "configure_text",
    "tower_of",
]

# open_clip's mask of later tokens is a buffer, which a bidirectional tower does not have; the
# feature of such a tower is the last token, or the token with the largest index
FAMILIES = (
    "gpt2",
    "open_clip",
    "open_clip.bidirectional",
    "open_clip.bidirectional.argmax",
    "transformers.clip",
    "transformers.siglip",
)
# the library whose forward the blocks run
_CODES = {family: family for family in FAMILIES if family.startswith("transformers")}
_CODES["gpt2"] = "transformers.gpt2"
_CODES |= {family: "open_clip" for family in FAMILIES if family.startswith("open_clip")}
# fields of both configs that are the same in a block
_OF_BLOCKS = (
    "embed_dim", "depth", "num_heads", "mlp_dim", "act_layer", "proj_drop_rate", "attn_drop_rate",
)  # fmt: skip


@immutable
class TextConfig:
    """A pre-norm text transformer with learned positions: a language model, or a text tower.

    ``head`` is ``lm``: logits over the vocabulary by the tied embedding, for every token; or
    ``projection``: one token's features times a matrix, as CLIP has it; or ``linear``: the same
    with a bias, as SigLIP has it; or ``none``: the features as they are. A report is a full forward
    over ``seq_len`` tokens (prefill).

    >>> TextConfig(embed_dim=768, depth=12, num_heads=12).mlp_dim
    3072
    """

    family: Annotated[str, choice("whose module names and buffers", *FAMILIES)] = "gpt2"
    vocab_size: Annotated[int, Field("tokens of the vocabulary", 1, 10**8)] = 50257
    context_length: Annotated[int, Field("positions that are learned", 1, 10**8)] = 1024
    seq_len: Annotated[int, Field("tokens of this forward; 0: context_length", 0, 10**8)] = 0
    embed_dim: Annotated[int, size("width of the residual stream")] = 768
    depth: Annotated[int, Field("number of blocks", 1, 10**5)] = 12
    num_heads: Annotated[int, size("attention heads")] = 12
    mlp_dim: Annotated[int, Field("hidden width of the MLP", 0, 10**6)] = 0
    mlp_ratio: InitVar[float | None] = None
    act_layer: Annotated[str, choice("activation", *ACTIVATIONS)] = "gelu"
    head: Annotated[
        str, choice("the output that is made of the tokens", "lm", "projection", "linear", "none")
    ] = "lm"
    projection_dim: Annotated[int, Field("width of the projection", 0, 10**6)] = 0
    pos_drop_rate: Annotated[float, rate("dropout after the position embedding")] = 0.0
    proj_drop_rate: Annotated[float, rate("dropout after projections")] = 0.0
    attn_drop_rate: Annotated[float, rate("dropout of the attention weights")] = 0.0

    def __post_init__(self, mlp_ratio: float | None) -> None:
        ratio = checked_ratio("mlp_ratio", mlp_ratio)
        for name, (kind, field) in TEXT_FIELDS.items():
            object.__setattr__(self, name, checked(name, kind, field, getattr(self, name)))
        if not self.mlp_dim:
            object.__setattr__(self, "mlp_dim", int(self.embed_dim * (ratio or 4)))
        if not self.seq_len:
            object.__setattr__(self, "seq_len", self.context_length)
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}; "
                f"nearest: {divisors_near(self.embed_dim, self.num_heads)}"
            )
        if self.seq_len > self.context_length:
            raise ConfigError(
                f"seq_len must be at most {self.context_length:,}, the context_length; got "
                f"{self.seq_len:,}"
            )
        if (self.head in ("lm", "none")) != (self.projection_dim == 0):
            raise ConfigError(
                f"head {self.head!r} does not go with projection_dim {self.projection_dim}"
            )

    @property
    def losses(self) -> int:
        """The number of cross entropies of its loss: a tower by itself has none."""
        return int(self.head == "lm")

    @property
    def blocks(self) -> ViTConfig:
        """The same blocks in an image model of one patch, so that the costs of a block are written
        once."""
        return ViTConfig(
            img_size=1,  # type: ignore[arg-type]
            patch_size=1,  # type: ignore[arg-type]
            code=_CODES.get(self.family, "timm"),
            qkv_fused="transformers" not in self.family,
            # GPT-2's MLP has a single dropout, after its last layer
            act_drop_rate=0.0,
            **{name: getattr(self, name) for name in _OF_BLOCKS},
        )

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in TEXT_FIELDS}


TEXT_FIELDS: Mapping[str, tuple[Any, Field]] = declared(TextConfig)


@immutable
class ClipConfig:
    """An image tower and a text tower, whose features are compared for every pair.

    ``projection_dim`` is the width of the image tower's projection, which has no bias; 0 if its
    features are compared directly, or come from its own head. ``logit_bias``: SigLIP adds one to
    the scaled logits.

    >>> text = TextConfig(family="open_clip", embed_dim=512, num_heads=8, context_length=77,
    ...                   vocab_size=49408, head="projection", projection_dim=512)
    >>> ClipConfig(vision=ViTConfig(num_classes=0), text=text, projection_dim=512).text.seq_len
    77
    """

    vision: ViTConfig
    text: TextConfig
    projection_dim: int = 0
    logit_bias: bool = False

    def __post_init__(self) -> None:
        width = self.projection_dim or self.vision.num_classes or self.vision.embed_dim
        text = self.text.projection_dim or self.text.embed_dim
        if text != width:
            raise ConfigError(
                f"the towers do not meet: image features are {width} wide, text features {text}"
            )
        if self.projection_dim and self.vision.num_classes:
            raise ConfigError("an image tower has num_classes 0 where it has a projection")

    @property
    def losses(self) -> int:
        """The number of cross entropies outside of the model: none, as its loss is part of the
        model."""
        return 0

    @property
    def attn_drop_rate(self) -> float:
        return max(self.vision.attn_drop_rate, self.text.attn_drop_rate)

    def to_dict(self) -> dict[str, Any]:
        return {
            "vision": self.vision.to_dict(),
            "text": self.text.to_dict(),
            "projection_dim": self.projection_dim,
            "logit_bias": self.logit_bias,
        }


# fields that only a tower by itself has: in a model of two, features are compared
ALONE = ("num_classes", "head_bias", "drop_rate", "representation_size", "dist_token", "mask_ratio")
TOWERS = ("vision", "text")


def tower_of(config: ClipConfig, tower: str) -> ViTConfig | TextConfig:
    """One tower of two as a model of its own, with its projection as its head.

    >>> from vitcost.zoo import resolve
    >>> tower_of(resolve("clip_vit_base_patch16").config, "vision").num_classes
    512
    """
    if tower == "text":
        return config.text
    if not config.projection_dim:
        return config.vision
    return configure(config.vision, num_classes=config.projection_dim, head_bias=False)


def configure_text(
    base: TextConfig | ClipConfig, name: str = "NAME", **overrides: Any
) -> TextConfig | ClipConfig:
    """A config with some fields replaced. In a model of two towers a field belongs to the image
    tower, or to the text tower if only that has it. ``name`` is the model's name for messages.
    Raises ``UnknownName`` for an unknown field, ``ConfigError`` for a field of a single tower.

    >>> configure_text(TextConfig(), depth=6).depth
    6
    """
    if isinstance(base, TextConfig):
        for field in overrides:
            if field not in TEXT_FIELDS and field != "mlp_ratio":
                raise unknown_field(field, [*TEXT_FIELDS, "mlp_ratio"], overrides[field])
        return replace(base, **{**_replaced(base, overrides), **overrides})
    for field in overrides:
        if field in ALONE:
            raise ConfigError(
                f"{field} is for one tower alone: {name}:vision, or --tower vision; "
                "2 towers compare their features"
            )
        if field not in VISION_FIELDS and field not in TEXT_FIELDS and field not in RATIOS:
            known = [*VISION_FIELDS, *RATIOS, *TEXT_FIELDS]
            raise unknown_field(field, known, overrides[field])
    image = {*VISION_FIELDS, *RATIOS}
    vision = {field: value for field, value in overrides.items() if field in image}
    text = {field: value for field, value in overrides.items() if field not in image}
    return replace(
        base,
        vision=configure(base.vision, **vision),
        text=replace(base.text, **{**_replaced(base.text, text), **text}),
    )


def _replaced(base: TextConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that follow from replaced ones: a width from its ratio, the tokens of a text from
    its context."""
    replaced: dict[str, Any] = {}
    if "mlp_ratio" in overrides:
        replaced["mlp_dim"] = 0
    if "context_length" in overrides and "seq_len" not in overrides:
        replaced["seq_len"] = 0
    if "embed_dim" in overrides and "mlp_dim" not in overrides:
        # a width that was four times the model's stays four times the model's
        replaced["mlp_dim"] = 0 if base.mlp_dim == 4 * base.embed_dim else base.mlp_dim
    return replaced
