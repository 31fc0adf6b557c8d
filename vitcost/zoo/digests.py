"""Names without a formula, by the digest of their traces: neither torch nor timm is needed."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from vitcost.engine.model import Config
from vitcost.errors import NotCovered
from vitcost.traced.digest import Entry, index, read
from vitcost.traced.digested import DigestedModel
from vitcost.traced.model import TracedModel
from vitcost.zoo.found import Resolved

__all__ = ["TIMM", "entries", "library", "of_timm"]

# tests/digest/make.py writes it
TIMM = Path(__file__).parent / "timm" / "digest.bin"

_REASON = "no formula here describes it"


def entries() -> Mapping[str, Entry]:
    """What the digest of timm's names says of each in short."""
    return index(str(TIMM)).entries if TIMM.exists() else {}


def library() -> str:
    """The library of the names, and its version."""
    return index(str(TIMM)).library


def of_timm(name: str) -> Resolved | None:
    """A name of timm that its digest has, at its own image size; None for another.

    ``NAME.tag`` is in the digest where it has the classes and the image of the bare name. Raises
    ``UnknownName`` for a tag that timm has not.
    """
    if "." in name:
        return _of_tag(name)
    if name not in entries():
        return None
    found = read(str(TIMM), name)
    model = DigestedModel(name, found, _REASON, partial(_traced, name))
    source = f"timm's {model.kind}, traced: {_REASON}; {found.index.library}"
    # it is asked as a workload: what needs a formula refuses it
    return Resolved(name, source, cast("Config", model))


def _of_tag(name: str) -> Resolved | None:
    # a table of tags, which a bare name has no use for
    from vitcost.zoo.timm.tagged import Tag, tag_of

    bare, tag = name.partition(".")[0], tag_of(name)
    found = of_timm(bare)
    if found is None:
        return None
    model = cast(DigestedModel, found.config)
    own = model.digest.classes
    if tag == Tag(num_classes=own):
        return found._replace(name=name)
    traced = _traced(name)
    if traced is not None:
        return found._replace(name=name, config=cast("Config", traced))
    image = model.digest.entry.image[1:]
    sizes = ["x".join(map(str, each)) for each in (tag.img_size or image, image)]
    raise NotCovered(
        f"{name} has {tag.num_classes:,} classes and images of {sizes[0]}, the digest of its trace "
        f"{own:,} and {sizes[1]}: pip install 'vitcost[torch]' timm traces it"
    )


def _traced(name: str) -> TracedModel | None:
    """The same module, traced here for what its digest does not hold."""
    from vitcost.zoo import tracing

    found = tracing.of_timm(name)
    return None if found is None else cast(TracedModel, found.config)
