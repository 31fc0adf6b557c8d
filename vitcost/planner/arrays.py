"""Many configs held as one: their sizes as arrays, the rules that they break, and their structures.

Fields whose values are sizes become columns; every other field has one value for all rows. Rules,
structure and sizes come from the code for a single config, run on arrays.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config.fields import checked
from vitcost.config.rules import RULES
from vitcost.config.vit_config import FIELDS, ViTConfig, merged
from vitcost.engine.structure import MANY
from vitcost.errors import MissingExtra
from vitcost.zoo import Base

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.int64]

__all__ = ["Columns", "column_fields", "is_column", "load", "structures", "taken"]

# fields of sizes with which a builder only computes; it never branches on them
_SIZES = (
    "img_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads", "mlp_dim",
    "num_classes",
)  # fmt: skip


def load() -> Any:
    """numpy. Raises ``MissingExtra``, with the command that installs it, if it is missing.

    >>> load().arange(3).tolist()
    [0, 1, 2]
    """
    try:
        import numpy
    except ImportError:
        raise MissingExtra("numpy", "sweep", "a large grid") from None
    return numpy


class Columns(ViTConfig):
    """Many configs as one, with arrays in place of sizes; ``broken`` marks, for each rule, the rows
    that break it."""

    __slots__ = ("broken",)
    broken: "tuple[NDArray[np.bool_] | bool, ...]"

    def __post_init__(self, mlp_ratio: float | None, attn_pool_mlp_ratio: float | None) -> None:
        for name, (kind, field) in FIELDS.items():
            value = getattr(self, name)
            if not is_column(value) and value is not _default(name):
                object.__setattr__(self, name, checked(name, kind, field, value))
        self._settle_input()
        self._fill_widths(mlp_ratio, attn_pool_mlp_ratio)
        object.__setattr__(self, "broken", tuple(self._broken()))

    def _broken(self) -> "Iterator[NDArray[np.bool_] | bool]":
        width = FIELDS["mlp_dim"][1]
        yield (self.mlp_dim < width.low) | (self.mlp_dim > width.high)
        for broken, _ in RULES:
            yield broken(self)
        for side, patch in zip(self.features, self.patch_size, strict=True):
            yield side < patch
            if self.whole_patches:
                yield side % patch != 0


# if one of these fields is not at its default, a builder branches on the sizes listed beside it
_DECIDING: Mapping[str, set[str]] = {
    "backbone": {"img_size", "patch_size", "in_chans", "embed_dim"},
    "dynamic_img_pad": {"img_size", "patch_size"},
    "input_size": {"img_size", "patch_size"},
    "interpolate_pos_encoding": {"img_size", "patch_size"},
    "mask_ratio": {"img_size", "patch_size"},
    "num_kv_heads": {"depth", "num_heads"},
    # a packed gate needs an even width, which is checked config by config
    "mlp_layer": {"embed_dim", "mlp_dim"},
}


def column_fields(base: Base, overrides: Mapping[str, Any], vary: Mapping[str, Any]) -> set[str]:
    """The sizes that may be columns, for a base model with fields changed by ``overrides`` and
    varied by ``vary``.

    >>> from vitcost.zoo import described
    >>> base = described("vit_base_patch16_224")
    >>> "img_size" in column_fields(base, {}, {}), "mlp_ratio" in column_fields(base, {}, {})
    (True, False)
    >>> "img_size" in column_fields(base, {"mask_ratio": 0.75}, {})  # tokens are rounded one by one
    False
    """
    if not isinstance(base.base, ViTConfig | Mapping):
        return set()
    fields = merged(base.base, overrides)
    inside = set(_SIZES)
    for name, without in _DECIDING.items():
        default = _default(name)
        values = vary[name] if name in vary else (fields.get(name, default),)
        if not set(values) <= {default}:
            inside -= without
    return inside


def _default(name: str) -> Any:
    return ViTConfig.__dataclass_fields__[name].default


def structures(facts: Iterable[Any]) -> Any:
    """A number for the structure of each row, computed from the facts in which structures differ:
    an array, or one number for all rows.

    >>> import numpy
    >>> structures([numpy.array([0, 1, 1]), True]).tolist()
    [0, 1, 1]
    """
    code: Any = 0
    for value in facts:
        if is_column(value):
            # a fact is 0 or 1, or a count of layers up to MANY
            code = code * (MANY + 1) + value
    return code


def taken(value: Any, rows: Any) -> Any:
    """Some rows of a column, or of a pair of columns; a value that is no column holds for every
    row.

    >>> import numpy
    >>> depths = numpy.array([12, 24, 32])
    >>> taken(depths, [0, 2]).tolist(), taken("mlp", [0, 2])
    ([12, 32], 'mlp')
    """
    if isinstance(value, tuple):
        return tuple(taken(each, rows) for each in value)
    return value[rows] if is_column(value) else value


def is_column(value: Any) -> bool:
    """Whether a value is an array, or a pair of arrays.

    >>> import numpy
    >>> is_column(numpy.array([12, 24])), is_column((numpy.array([224]), 224)), is_column(12)
    (True, True, False)
    """
    return hasattr(value[0] if isinstance(value, tuple) and value else value, "dtype")
