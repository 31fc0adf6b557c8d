"""A model that was found by a name, in a file or in the user's code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vitcost.config.records import Record

if TYPE_CHECKING:
    from vitcost.engine.model import Config

__all__ = ["Base", "Resolved"]


class Resolved(Record):
    """A model that was found: its name, where its description comes from, its config; of a module,
    the flags of a scenario that it has of itself. ``changed`` are the fields that were put on top,
    each with its value and the model's own, where these differ."""

    name: str
    source: str
    config: "Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})
    changed: "tuple[tuple[str, Any, Any], ...]" = ()

    def as_base(self) -> "Base":
        """The model, for other fields to be put on top."""
        return Base(self.name, self.source, self.config, self.flags, changed=self.changed)

    def origins(self, name: str = "") -> list[str]:
        """Where the numbers of a kept trace are from; ``name`` is what the model is called."""
        origin = getattr(self.config, "origin", "")
        return [f"{name or self.name}: {origin}"] if origin else []


class Base(Record):
    """A model before any field is put on top: its fields, or its whole config. ``fed`` are fields
    that its library asks for where it is fed images of another size than it is built for."""

    name: str
    source: str
    base: "Mapping[str, Any] | Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})
    fed: "Mapping[str, Any]" = MappingProxyType({})
    changed: "tuple[tuple[str, Any, Any], ...]" = ()
