"""For each type of config: its structure, the sizes of its axes, and its declared tree."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine import build as vit
from vitcost.engine import structure
from vitcost.engine.cost import defined
from vitcost.engine.ops import Size, Sizes
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered

if TYPE_CHECKING:
    from vitcost.config.text_config import ClipConfig, TextConfig
    from vitcost.engine.text_blocks import ClipStructure, TextStructure

__all__ = [
    "AnyStructure",
    "Config",
    "build",
    "built_alike",
    "columns",
    "definition",
    "sizes_of",
    "structure_of",
    "with_depth",
]

Config: TypeAlias = "ViTConfig | TextConfig | ClipConfig"
AnyStructure: TypeAlias = "Structure | TextStructure | ClipStructure"

# text models are imported when one is asked for: a report on a ViT starts without


def structure_of(c: Config, batch: int = 1, training: bool = False) -> AnyStructure:
    """The structure of a model: models with equal structures share one op list."""
    if isinstance(c, ViTConfig):
        return structure.structure_of(c, batch, training)
    from vitcost.config.text_config import TextConfig
    from vitcost.engine import text_blocks

    if isinstance(c, TextConfig):
        return text_blocks.text_structure(c, batch, training)
    _need_formula(c)
    return text_blocks.clip_structure(c, batch, training)


def sizes_of(c: Config, batch: int = 1) -> Sizes:
    """The size of every axis of a model."""
    if isinstance(c, ViTConfig):
        return structure.sizes_of(c, batch)
    from vitcost.config.text_config import TextConfig
    from vitcost.engine import text_blocks

    if isinstance(c, TextConfig):
        return text_blocks.text_sizes(c, batch)
    _need_formula(c)
    return text_blocks.clip_sizes(c, batch)


def _need_formula(c: Config) -> None:
    """Refuses a traced model where a config is needed: it can be asked only through a workload."""
    if hasattr(c, "workload"):
        raise NotCovered("this needs a formula, and the model is traced")


def build(c: AnyStructure) -> Node:
    """The declared tree of a structure."""
    if isinstance(c, Structure):
        return vit.build(c)
    from vitcost.engine import pairs, text_blocks

    return (
        text_blocks.build_text(c)
        if isinstance(c, text_blocks.TextStructure)
        else pairs.build_clip(c)
    )


def columns(config: Config, batch: int) -> tuple[Sizes, Iterator[object]]:
    """For many configs held as one, with arrays in place of sizes: the sizes of their axes, and
    every fact by which their op lists differ. Each is an array, or one value for all."""
    return sizes_of(config, batch), _flat(structure_of(config, batch, True))


def _flat(facts: tuple[object, ...]) -> Iterator[object]:
    for fact in facts:
        if isinstance(fact, tuple):
            yield from _flat(fact)
        else:
            yield fact


def definition(config: Config) -> tuple[Size, Size]:
    """Parameters and forward FLOPs of one image, from the declared list alone.

    >>> from vitcost.zoo import resolve
    >>> definition(resolve("vit_base_patch16_224").config)
    (86567656, 35127656448)
    """
    return defined(build(structure_of(config)), sizes_of(config))


def built_alike(one: Config, other: Config) -> bool:
    """Whether two configs share one declared op list, whatever their sizes."""
    return structure_of(one) == structure_of(other)


def with_depth(config: Config, depth: int) -> Config:
    """A copy of a config with another number of blocks."""
    if isinstance(config, ViTConfig):
        return configure(config, depth=depth)
    # text is imported where a model reads it
    from vitcost.config.text_config import configure_text

    return configure_text(config, "", depth=depth)
