"""``ViTConfig``: what a Vision Transformer is, in integers, validated once, at the edge."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields, replace
from typing import Annotated, Any, NamedTuple, TypeAlias

from vitcost.errors import ConfigError, UnknownName

__all__ = ["FIELDS", "Field", "ViTConfig", "configure", "parse_size"]

Pair: TypeAlias = tuple[int, int]


class Field(NamedTuple):
    """One field of the config: what it means and which integers it may hold."""

    help: str
    low: float = 0
    high: float = 10**9


def _size(help: str) -> Field:
    return Field(help, 1, 10**6)


def _rate(help: str) -> Field:
    return Field(help, 0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTConfig:
    """A Vision Transformer, field by field, in timm's names.

    Sizes are ``(height, width)``; an int means a square. ``mlp_dim`` defaults to 4 · embed_dim, or
    to ``int(embed_dim * mlp_ratio)`` where a ratio is given. Raises ``ConfigError`` with the field,
    the value and what is allowed.

    >>> ViTConfig(embed_dim=1280, depth=32, num_heads=16, patch_size=14).mlp_dim
    5120
    >>> ViTConfig(embed_dim=768, num_heads=7)
    Traceback (most recent call last):
    vitcost.errors.ConfigError: embed_dim 768 is not divisible by num_heads 7
    """

    img_size: Annotated[Pair, _size("image side, N or HxW")] = (224, 224)
    patch_size: Annotated[Pair, _size("patch side, N or HxW")] = (16, 16)
    in_chans: Annotated[int, _size("image channels")] = 3
    num_classes: Annotated[int, Field("classes of the head; 0: no head")] = 1000
    embed_dim: Annotated[int, _size("width of the residual stream")] = 768
    depth: Annotated[int, Field("number of blocks", 1, 10**5)] = 12
    num_heads: Annotated[int, _size("attention heads")] = 12
    mlp_dim: Annotated[int, _size("hidden width of the MLP")] = 0
    mlp_ratio: InitVar[float | None] = None
    qkv_bias: Annotated[bool, Field("bias of the qkv projection")] = True
    qk_scale: Annotated[float | None, Field("attention scale in place of head_dim ** -0.5")] = None
    dist_token: Annotated[bool, Field("distillation token with a second head")] = False
    representation_size: Annotated[
        int | None, _size("linear + tanh of this width before the head")
    ] = None
    patch_norm: Annotated[bool, Field("layer norm after the patch convolution")] = False
    pos_drop_rate: Annotated[float, _rate("dropout after the position embedding")] = 0.0
    proj_drop_rate: Annotated[float, _rate("dropout after projection and in the MLP")] = 0.0
    attn_drop_rate: Annotated[float, _rate("dropout of the attention weights")] = 0.0
    drop_path_rate: Annotated[float, _rate("stochastic depth of the last block")] = 0.0

    def __post_init__(self, mlp_ratio: float | None) -> None:
        if mlp_ratio is not None and not self.mlp_dim:
            if isinstance(mlp_ratio, bool) or not isinstance(mlp_ratio, int | float):
                raise ConfigError(f"mlp_ratio must be a number, got {mlp_ratio!r}")
            if not 0 < mlp_ratio <= 10**6:
                raise ConfigError(f"mlp_ratio must be above 0, got {mlp_ratio!r}")
        for name, (kind, field) in FIELDS.items():
            value = getattr(self, name)
            if name == "mlp_dim" and value == 0 and value is not False:
                ratio = 4 if mlp_ratio is None else mlp_ratio
                value = int(self.embed_dim * ratio)
            object.__setattr__(self, name, _checked(name, kind, field, value))
        self._check_shape()

    def _check_shape(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}"
            )
        for side, patch in zip(self.img_size, self.patch_size, strict=True):
            if side % patch:
                low, high = side // patch * patch, -(-side // patch) * patch
                near = f"{low} or {high}" if low else f"{high}"
                raise ConfigError(
                    f"img_size {side} is not divisible by patch_size {patch}; nearest: {near}"
                )

    @property
    def grid(self) -> Pair:
        """Patches down and across."""
        return (
            self.img_size[0] // self.patch_size[0],
            self.img_size[1] // self.patch_size[1],
        )

    @property
    def tokens(self) -> int:
        """Length of the sequence that the blocks see."""
        return self.grid[0] * self.grid[1] + 1 + self.dist_token

    @property
    def pre_logits(self) -> int:
        """Width of the layer before the head; 0 where there is none."""
        return 0 if self.dist_token else self.representation_size or 0

    def to_dict(self) -> dict[str, Any]:
        """Every field, sizes as lists."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


FIELDS: Mapping[str, tuple[Any, Field]] = {
    f.name: (
        ViTConfig.__annotations__[f.name].__origin__,
        ViTConfig.__annotations__[f.name].__metadata__[0],
    )
    for f in fields(ViTConfig)
}

_WORDS = {
    int: "an integer",
    bool: "true or false",
    float: "a number",
    Pair: "N or HxW",
    int | None: "an integer",
    float | None: "a number",
}


def _checked(name: str, kind: Any, field: Field, value: Any) -> Any:
    """The value as the field's type, or a ConfigError that says what is allowed."""
    wrong = ConfigError(f"{name} must be {_WORDS[kind]}, got {value!r}")
    if kind == Pair:
        pair = (value, value) if isinstance(value, int) else value
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise wrong
        return tuple(_checked(name, int, field, side) for side in pair)
    if value is None and kind in (int | None, float | None):
        return None
    if isinstance(value, bool) != (kind is bool):
        raise wrong
    if kind is bool:
        return value
    if not isinstance(value, int if kind in (int, int | None) else int | float):
        raise wrong
    if kind == float | None:
        return float(value)
    if kind is float:
        if not field.low <= value < field.high:
            raise ConfigError(
                f"{name} must be at least {field.low} and below {field.high}, got {value!r}"
            )
        return float(value)
    if not field.low <= value <= field.high:
        raise ConfigError(f"{name} must be between {field.low:,} and {field.high:,}, got {value:,}")
    return value


def configure(base: Mapping[str, Any] | ViTConfig, **overrides: Any) -> ViTConfig:
    """A config from fields, with others put on top; a ratio follows an overridden width.

    >>> configure({"embed_dim": 192, "num_heads": 3, "mlp_ratio": 4}, embed_dim=384).mlp_dim
    1536
    """
    for name in overrides:
        if name not in FIELDS and name != "mlp_ratio":
            raise UnknownName("field", name, [*FIELDS, "mlp_ratio"])
    if isinstance(base, ViTConfig):
        if "mlp_ratio" in overrides:
            overrides = {"mlp_dim": 0, **overrides}
        return replace(base, **overrides)
    merged = {**base, **overrides}
    if "mlp_ratio" in overrides and "mlp_dim" not in overrides:
        merged.pop("mlp_dim", None)
    return ViTConfig(**merged)


def parse_size(text: str) -> int | Pair:
    """``224`` or ``256x192`` (height x width), as typed on a command line.

    >>> parse_size("256x192")
    (256, 192)
    """
    parts = text.lower().split("x")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        raise ConfigError(f"a size is N or HxW, got {text!r}") from None
    if len(numbers) > 2:
        raise ConfigError(f"a size is N or HxW, got {text!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
