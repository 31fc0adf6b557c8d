"""Types of flags' values: text that the library checks, and words that a shell completes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from vitcost.config.fields import Field, parse

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType: TypeAlias = click.ParamType[Any]
else:
    # click's own class takes no type argument before click 8.3
    ParamType = click.ParamType

__all__ = [
    "FILE",
    "NUMBER",
    "SWITCH",
    "FieldValue",
    "FileName",
    "Gpu",
    "Listed",
    "ModelName",
    "ParamType",
    "Varied",
    "Whole",
    "Words",
]


class Words(ParamType):
    """Text that the library checks; a shell completes known words."""

    name = "text"

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = tuple(known)

    def words(self, incomplete: str) -> Iterable[str]:
        """The words that a shell offers behind ``incomplete``."""
        return self.known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        return _completed(self.words(incomplete), incomplete)


class Listed(Words):
    """A list of words separated by commas; a shell completes the last word."""

    def words(self, incomplete: str) -> Iterable[str]:
        before, comma, _ = incomplete.rpartition(",")
        return (f"{before}{comma}{word}" for word in self.known)


class Varied(Words):
    """``FIELD=VALUES``; a shell completes the name of the field."""

    def words(self, incomplete: str) -> Iterable[str]:
        from vitcost.planner.grid import VARIED

        return (f"{name}=" for name in VARIED)


class Whole(Words):
    """An integer, also in spellings for large numbers: ``1e3``, ``1_000``."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            pass
        # imported only for a number that is not a plain integer
        from vitcost.units import exact

        try:
            number = exact(value.strip())
        except ValueError:
            number = None
        if number is None or number.denominator != 1:
            self.fail(f"{value!r:.80} is not a valid integer.", param, ctx)
        return int(number)


class FieldValue(Words):
    """The value of a config field, as the config parses it."""

    def __init__(self, field: str, kind: Any, declared: Field) -> None:
        super().__init__(declared.choices)
        self.declared = field, kind, declared

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return parse(*self.declared, value)


class FileName(Words):
    """The name of a file; click's own type looks for translations of its name on the disk."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        return _completed(self.words(incomplete), incomplete) or _completed(
            [incomplete], "", "file"
        )


class ModelName(FileName):
    """The name of a model, or a path."""

    name = "model"

    def words(self, incomplete: str) -> Iterable[str]:
        from vitcost.zoo import every_name

        return every_name()


# keywords of click's options for three kinds of flags: with a file, with a number, without a value
FILE: Mapping[str, Any] = {"type": FileName(), "metavar": "FILE"}
NUMBER: Mapping[str, Any] = {"type": click.INT, "metavar": "N"}
SWITCH: Mapping[str, Any] = {"is_flag": True}


class Gpu(Words):
    """The name of a card."""

    def words(self, incomplete: str) -> Iterable[str]:
        from vitcost.hardware.specs import card_names

        return card_names()


def _completed(words: Iterable[str], start: str, kind: str = "plain") -> "list[CompletionItem]":
    # imported only for a shell's completion, never for a command
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, type=kind) for word in words if word.startswith(start)]
