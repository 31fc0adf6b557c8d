"""Shell patterns over names: ``swin*``, ``vit_[bl]*_384``, ``convnext_base.*`` for tags."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from vitcost.errors import UnknownName
from vitcost.zoo import every_name
from vitcost.zoo.timm import architectures

__all__ = ["is_pattern", "matches"]

_WILD = "*?["
# endings of paths, and of factories with their arguments
_ENDS = (".json", ".toml", ".gz")


def is_pattern(model: str) -> bool:
    """Whether a model is written as a pattern over names: it has a letter that no name has.

    >>> is_pattern("swin*"), is_pattern("runs/*.json"), is_pattern("models:build(sizes=[1, 2])")
    (True, False, False)
    """
    return any(c in model for c in _WILD) and ":" not in model and not model.endswith(_ENDS)


def matches(pattern: str) -> list[str]:
    """The names that a pattern matches, in order; a pattern with a dot matches timm's tags.

    Raises ``UnknownName`` with the nearest names if there is none.

    >>> matches("swin_s*_224")[:2]
    ['swin_s3_base_224', 'swin_s3_small_224']
    >>> matches("swin_base*_384.*")[0]
    'swin_base_patch4_window12_384.ms_in22k_ft_in1k'
    """
    names = [name for name in every_name() if fnmatchcase(name, pattern)]
    if not names and "." in pattern:
        names = [name for name in _tagged(pattern) if fnmatchcase(name, pattern)]
    if names:
        return names
    plain = "".join(c for c in pattern if c not in "*?[]")
    raise UnknownName("model", pattern, every_name(), "no name matches the pattern", near=plain)


def _tagged(pattern: str) -> Iterable[str]:
    """The architectures that match the part before the dot, with each of their tags."""
    from vitcost.zoo import timm
    from vitcost.zoo.timm.tagged import tags

    bare = pattern.partition(".")[0]
    for name in architectures():
        if fnmatchcase(name, bare):
            yield from (f"{name}.{tag}" for tag in timm.tags(name) or tags(name))
