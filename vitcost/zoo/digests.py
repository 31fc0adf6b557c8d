"""Names without a formula, answered from the digests of their traces: neither torch, timm nor
transformers is needed."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

from vitcost.engine.model import Config
from vitcost.errors import NotCovered
from vitcost.traced.classifier import with_classes
from vitcost.traced.digest import Entry, Index, Refused, index, read
from vitcost.traced.digested import DigestedModel
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo.aliases import on_the_hub
from vitcost.zoo.resolved import Resolved

__all__ = ["HUB", "TIMM", "entries", "file_of", "library", "of_hub", "of_timm", "refused"]

# tests/digest/make.py writes them
TIMM = Path(__file__).parent / "timm" / "digest.bin"
HUB = Path(__file__).parent / "hub_digest.bin"

_REASON = "no formula here describes it"


def entries() -> Mapping[str, Entry]:
    """The index entry of each name of timm, and of each id of the hub, that has a digest."""
    return {**_index(TIMM).entries, **_index(HUB).entries}


def refused() -> Mapping[str, Refused]:
    """The names in the digests that cannot be traced."""
    return {**_index(TIMM).refused, **_index(HUB).refused}


def _index(file: Path) -> Index:
    return index(str(file)) if file.exists() else Index(str(file), "", "", {}, b"", 0, {})


def library(name: str) -> str:
    """The library of a name in the digests, and that library's version."""
    timm = _index(TIMM)
    return (timm if name in {**timm.entries, **timm.refused} else _index(HUB)).library


def file_of(name: str) -> Path | None:
    """The file for a name without a formula, whether or not the file has that name.

    >>> file_of("resnet50.a1_in1k").name, file_of("vit_tiny_patch16_224")
    ('digest.bin', None)
    """
    if "/" in name:
        # a table of ids that other names do not need
        from vitcost.zoo.hub_traced import TRACED

        return HUB if on_the_hub(name) in TRACED else None
    from vitcost.zoo.timm.others import class_of

    return None if class_of(name) is None else TIMM


def of_timm(name: str) -> Resolved | None:
    """A name of timm in the digest, at its own image size; None for any other name.

    The digest also answers for ``NAME.tag`` if the tag has the image size of the bare name, and
    either its number of classes, or a model in which only the last layer depends on that number.
    Raises ``UnknownName`` for a tag that timm does not have.
    """
    if "." in name:
        return _of_tag(name)
    return _of(TIMM, name, name, "timm's", partial(_here, "of_timm", name))


def of_hub(name: str) -> Resolved | None:
    """An id of the hub in the digest, with the inputs of its processor; None for any other id."""
    return _of(HUB, name, on_the_hub(name), "transformers'", partial(_here, "of_hub", name))


def _of(
    file: Path, name: str, entry: str, whose: str, here: Callable[[], TracedModel | None]
) -> Resolved | None:
    """The model of a name, from its entry in a file; ``here`` traces the same module for scenarios
    that the file lacks. Raises ``NotCovered`` for a name that cannot be traced."""
    if entry not in _index(file).entries:
        row = _index(file).refused.get(entry)
        if row is not None:
            raise NotCovered(
                f"{name} is {whose} {row.kind} of {row.params:,} parameters and {row.macs:,} MACs "
                f"an image; its memory and its time are not known: {row.reason}"
            )
        return None
    entry_digest = read(str(file), entry)
    model = DigestedModel(name, entry_digest, _REASON, here)
    source = f"{whose} {model.kind}, traced: {_REASON}; {entry_digest.index.library}"
    # the model answers as a workload; a command that needs a formula refuses it
    return Resolved(name, source, cast("Config", model))


def _of_tag(name: str) -> Resolved | None:
    # a table of tags that bare names do not need
    from vitcost.zoo.timm.tagged import Tag, tag_of

    bare, tag = name.partition(".")[0], tag_of(name)
    untagged = of_timm(bare)
    if untagged is None:
        return None
    model = cast(DigestedModel, untagged.config)
    classes = model.digest.classes
    if tag == Tag(num_classes=classes):
        return untagged._replace(name=name)
    image, here = model.digest.entry.image[1:], partial(_here, "of_timm", name)
    same = tag.img_size in (None, image)
    ruled = with_classes(model.digest, tag.num_classes) if same else None
    other = here() if ruled is None else DigestedModel(name, ruled, _REASON, here)
    if other is not None:
        return untagged._replace(name=name, config=cast("Config", other))
    sizes = ["x".join(map(str, each)) for each in (tag.img_size or image, image)]
    raise NotCovered(
        f"{name} has {tag.num_classes:,} classes and images of {sizes[0]}, the digest of its trace "
        f"{classes:,} and {sizes[1]}: pip install 'vitcost[torch]' timm traces it"
    )


def _here(of: str, name: str) -> TracedModel | None:
    """A function that traces the module of a name on this machine, if its library is installed."""
    from vitcost.zoo import tracing

    resolved: Resolved | None = getattr(tracing, of)(name)
    return None if resolved is None else cast(TracedModel, resolved.config)
