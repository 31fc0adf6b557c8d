"""A model that was found by a name, in a file or in the user's code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from vitcost.engine.model import Config

__all__ = ["Base", "Resolved"]


class Resolved(NamedTuple):
    """A model that was found: its name, where its description comes from, its config; of a module,
    the flags of a scenario that it has of itself."""

    name: str
    source: str
    config: "Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})


class Base(NamedTuple):
    """A model before any field is put on top: its fields, or its whole config. ``fed`` are fields
    that its library asks for where it is fed images of another size than it is built for."""

    name: str
    source: str
    base: "Mapping[str, Any] | Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})
    fed: "Mapping[str, Any]" = MappingProxyType({})
