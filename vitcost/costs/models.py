"""``models``: the models that vitcost knows by name, each with its size and source."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from vitcost.engine.model import definition
from vitcost.engine.ops import Size
from vitcost.errors import UnknownName
from vitcost.outside.arguments import takes, text
from vitcost.render.result import Result
from vitcost.zoo import digests, names, resolve

__all__ = ["ModelRow", "Models", "matching", "models"]

_MOST_LETTERS = 1000


class ModelRow(NamedTuple):
    """A model that is known by name. MACs are for a batch of one; a text model has no image.
    ``basis`` is ``formula``, ``traced`` (from the digest of a trace), or ``counted`` if the model
    cannot be traced: then ``source`` says why."""

    name: str
    family: str
    img_size: tuple[int, int] | None
    params: Size
    macs_forward: Size
    source: str
    basis: str


@dataclass(frozen=True, slots=True)
class Models(Result):
    """The models that a query found."""

    found: tuple[ModelRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.models/1``."""
        return {"schema": "vitcost.models/1", "rows": list(self.rows())}

    def rows(self) -> Iterator[dict[str, Any]]:
        """One flat row for each model: ``pandas.DataFrame(models().rows())``."""
        for row in self.found:
            yield {**row._asdict(), "img_size": row.img_size and list(row.img_size)}


@takes(query=text)
def models(query: str = "") -> Models:
    """The models whose name contains every word of the query, or matches it as a pattern.

    Raises ``UnknownName`` with the nearest names if there is none, ``ConfigError`` for a query that
    is not a text.

    >>> [row.name for row in models("vit_huge_patch14_224").found]
    ['vit_huge_patch14_224', 'vit_huge_patch14_224_in21k']
    >>> models("vit_huge*14_224").found[0].params
    632045800
    """
    return Models(tuple(_row(name) for name in matching(query)))


def matching(query: str = "") -> list[str]:
    """The names that a query matches, without costs. Raises ``UnknownName`` if there is none.

    >>> matching("VIT_huge_patch14_224")
    ['vit_huge_patch14_224', 'vit_huge_patch14_224_in21k']
    """
    # a longer query matches no name
    patterns = [f"*{word}*" for word in query[:_MOST_LETTERS].lower().split()]
    known = sorted({*names(), *digests.entries(), *digests.refused()})
    matched = [
        name
        for name in known
        if len(query) < _MOST_LETTERS
        and all(fnmatchcase(name.lower(), pattern) for pattern in patterns)
    ]
    if not matched:
        raise UnknownName("model", query, known, "`vitcost models` lists all")
    return matched


def _row(name: str) -> ModelRow:
    family = name.replace("-", "_").partition("_")[0]
    traced, refused = digests.entries().get(name), digests.refused().get(name)
    counted = traced or refused
    if counted is not None:
        high, wide = counted.image[-2:]
        source = f"{digests.library(name)}, {counted.kind}"
        if refused and not traced:
            source += f"; memory and time are not known: {refused.reason}"
        numbers = (high, wide), counted.params, counted.macs
        return ModelRow(name, family, *numbers, source, "traced" if traced else "counted")
    model = resolve(name)
    config = model.config
    params, flops = definition(config)
    image = getattr(getattr(config, "vision", config), "img_size", None)
    return ModelRow(name, family, image, params, flops // 2, model.source, "formula")
