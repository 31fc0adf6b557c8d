"""From what a user types to a config: names, files and configs."""

from typing import Any, NamedTuple, TypeAlias

from vitcost.config import ViTConfig, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName

__all__ = ["Model", "Resolved", "names", "resolve"]


class Resolved(NamedTuple):
    """A model that was found: its name, where its description comes from, its config."""

    name: str
    source: str
    config: ViTConfig


Model: TypeAlias = "str | ViTConfig | Resolved"


def resolve(model: Model, **overrides: Any) -> Resolved:
    """The config behind a name, a file or a config, with any field put on top.

    Raises ``UnknownName`` with the nearest names, ``NotCovered`` for a model that exists but that
    no formula here describes, ``ConfigError`` for a field that cannot be.

    >>> resolve("vit_huge_patch14_224", num_classes=5).config.embed_dim
    1280
    """
    if isinstance(model, ViTConfig):
        return Resolved("custom", "config", configure(model, **overrides))
    if isinstance(model, Resolved):
        return model._replace(config=configure(model.config, **overrides))
    if not isinstance(model, str) or not model.strip():
        raise ConfigError(f"a model is a name, a path or a config, got {model!r}")
    source, fields = _row(model)
    return Resolved(model, source, configure(fields, **overrides))


def names() -> list[str]:
    """Every name that ``resolve`` knows, in order."""
    from vitcost.zoo import papers, plain

    return sorted({*papers.MODELS, *plain.MODELS})


def _row(name: str) -> tuple[str, dict[str, Any]]:
    from vitcost.zoo import papers, plain

    if name in papers.MODELS:
        row = papers.MODELS[name]
        return row.source, {**_row(row.base)[1], **row.fields}
    if name in plain.MODELS:
        source, fields = plain.MODELS[name]
        return source, fields
    raise UnknownName("model", name, names(), "`vitcost models` lists all")


_ = NotCovered
