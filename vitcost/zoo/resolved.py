"""A model that was found by its name, in a file or in the user's code."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vitcost.config.records import Record

if TYPE_CHECKING:
    from vitcost.engine.model import Config

__all__ = ["Base", "Resolved"]


class Resolved(Record):
    """A model that was found: its name, the source of its description, and its config; for a module
    also the flags of a scenario that its own state sets. ``changed`` are the replaced fields whose
    value differs, each with the new value and the model's own."""

    name: str
    source: str
    config: "Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})
    changed: "tuple[tuple[str, Any, Any], ...]" = ()

    def as_base(self) -> "Base":
        """The model as a base, so that other fields can be replaced."""
        return Base(self.name, self.source, self.config, self.flags, changed=self.changed)

    def origins(self, name: str = "") -> list[str]:
        """The source of a stored trace's numbers; ``name`` is the model's name on the page."""
        origin = getattr(self.config, "origin", "")
        return [f"{name or self.name}: {origin}"] if origin else []


class Base(Record):
    """A model before any field is replaced: its fields, or its whole config. ``any_size`` are
    fields that its library needs for images of another size than the model is built for.
    """

    name: str
    source: str
    base: "Mapping[str, Any] | Config"
    flags: "Mapping[str, Any]" = MappingProxyType({})
    any_size: "Mapping[str, Any]" = MappingProxyType({})
    changed: "tuple[tuple[str, Any, Any], ...]" = ()
