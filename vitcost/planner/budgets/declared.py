"""Budgets as a file declares them: ``[[tool.vitcost.budget]]``, each key with its line number."""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.config.flags import FLAGS
from vitcost.config.text_config import TEXT_FIELDS
from vitcost.config.vit_config import FIELDS, RATIOS
from vitcost.costs.quantities import QUANTITIES, parse_limit
from vitcost.costs.quantity import TERMS, Amount
from vitcost.errors import ConfigError, nearest, shown
from vitcost.outside.reading import BUDGETS, parse_toml, read_text
from vitcost.units import exact
from vitcost.zoo.model_files import is_path

__all__ = [
    "BASELINE",
    "KEYS",
    "LEVELS",
    "Declared",
    "Limit",
    "Place",
    "keywords",
    "read_budgets",
]

# the spelling of a limit that comes only from the baseline
BASELINE = "baseline"
LEVELS = ("error", "warn")
# keys of a budget itself; every other key is a quantity, a flag of the scenario or a field of the
# config
KEYS = ("name", "model", "tolerance", "level")

# keys of tool.vitcost; cards are read only if a time is asked for
_TABLES = ("budget", "gpu")

# keywords for a trace of the user's module
_TRACED = ("input", "loss")
# keywords for a time
_CARDS = ("gpu", "gpu_file", "calibration", "anchor")
_FILES = ("gpu_file", "calibration")

_HEADER = re.compile(
    r"""\s*\[\[\s*(["']?)tool\1\s*\.\s*(["']?)vitcost\2\s*\.\s*(["']?)budget\3\s*\]\]"""
)
_KEY = re.compile(r"""\s*(["']?)([\w-]+)\1\s*=""")


class Place(NamedTuple):
    """The line of a key in the file; if the line is not known, the key's path."""

    file: str
    line: int | None
    key: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}" if self.line is None else f"{self.file}:{self.line}"


class Limit(NamedTuple):
    """The most that a quantity may be (the least, if more is better); None if only the baseline
    sets a limit."""

    quantity: str
    most: Amount | None
    place: Place


class Declared(NamedTuple):
    """One budget: the model, the keywords of ``report``, the terms of costs, the limits."""

    name: str
    model: str
    keywords: Mapping[str, Any]
    terms: Mapping[str, Any]  # the terms of costs: price, samples, epochs
    limits: tuple[Limit, ...]
    tolerance: Fraction
    level: str
    places: Mapping[str, Place]  # the place of each key; "" is the place of the table


def keywords() -> tuple[str, ...]:
    """The keywords of ``report`` beside the model: flags of the scenario, fields of the config, and
    the inputs and the loss of a module that is traced.

    >>> [word in keywords() for word in ("batch", "num_classes", "loss", "limit")]
    [True, True, True, False]
    """
    beside = (*_CARDS, "tower", *_TRACED)
    return tuple(dict.fromkeys((*FLAGS, *beside, *FIELDS, *RATIOS, *TEXT_FIELDS)))


def read_budgets(config: str) -> tuple[Declared, ...]:
    r"""The budgets in a file. Raises ``ConfigError`` with the file, and the line or the path of the
    key.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "pyproject.toml")
    ...     _ = file.write_text(
    ...         "[[tool.vitcost.budget]]\n"
    ...         'model = "vit_base_patch16_224"\nbatch = 8\nparams = "86.6 M"\n'
    ...     )
    ...     (declared,) = read_budgets(str(file))
    >>> declared.keywords, declared.limits[0].quantity
    ({'batch': 8}, 'params')
    """
    text = read_text(config, BUDGETS)
    data = parse_toml(config, text, BUDGETS)
    tables = _tables(config, data)
    lines = _lines(text)
    if len(lines) != len(tables):
        # budgets that are not spelled as tables have no lines: messages then name the path of a key
        lines = [{} for _ in tables]
    budgets = [_declared(config, *each) for each in enumerate(zip(tables, lines, strict=True))]
    if "gpu" in data["tool"]["vitcost"]:
        budgets = [_with_cards(config, each) for each in budgets]
    for i, each in enumerate(budgets):
        if each.name in (before.name for before in budgets[:i]):
            place = each.places.get("name", each.places[""])
            raise ConfigError(f"{place}: two budgets have the name {each.name!r}; give it a name")
    return tuple(budgets)


def _tables(config: str, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The list of tables at ``tool.vitcost.budget``."""
    tool = data.get("tool", {})
    section = tool.get("vitcost", {}) if isinstance(tool, dict) else {}
    section = section if isinstance(section, dict) else {}
    tables = section.get("budget")
    for key in section:
        if key not in _TABLES:
            raise _unknown(Place(config, None, f"tool.vitcost.{key}"), key, _TABLES)
    if tables is None:
        raise ConfigError(f"{config}: no budget: a budget is a table [[tool.vitcost.budget]]")
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ConfigError(f"{config}: tool.vitcost.budget: write it as [[tool.vitcost.budget]]")
    if not tables:
        raise ConfigError(f"{config}: tool.vitcost.budget: holds no budget")
    return tables


def _lines(text: str) -> list[dict[str, int]]:
    """The line of each budget's keys, and of its header under ``""``; tomllib does not give line
    numbers."""
    tables: list[dict[str, int]] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            inside = _HEADER.match(line) is not None
            tables += [{"": number}] if inside else []
        elif inside and (key := _KEY.match(line)):
            tables[-1].setdefault(key[2], number)
    return tables


def _declared(
    config: str, index: int, table_and_lines: tuple[dict[str, Any], dict[str, int]]
) -> Declared:
    table, lines = table_and_lines
    path = f"tool.vitcost.budget[{index}]"
    here = Place(config, lines.get(""), path)
    places = {key: Place(config, lines.get(key), f"{path}.{key}") for key in table} | {"": here}
    allowed = keywords()
    known = (*KEYS, *TERMS, *QUANTITIES, *allowed)
    for key in table:
        if key not in known:
            raise _unknown(places[key], key, known)
    if "model" not in table:
        raise ConfigError(f"{here}: model is missing")
    for key in ("name", "model"):
        if not isinstance(table.get(key, ""), str):
            raise ConfigError(f"{places[key]}: {key} must be text, got {table[key]!r:.80}")
    limits = tuple(_limit(key, table[key], places[key]) for key in table if key in QUANTITIES)
    if not limits:
        raise ConfigError(f"{here}: no limit; there are {', '.join(QUANTITIES)}")
    level = table.get("level", "error")
    if level not in LEVELS:
        raise ConfigError(f"{places['level']}: level must be error or warn, got {level!r:.80}")
    return Declared(
        table.get("name", table["model"]),
        _beside(config, table["model"]),
        {
            key: _beside(config, table[key]) if key in _FILES else table[key]
            for key in table
            if key in allowed
        },
        {key: table[key] for key in TERMS if key in table},
        limits,
        _tolerance(table.get("tolerance", 0), places.get("tolerance", here)),
        level,
        places,
    )


def _with_cards(config: str, budget: Declared) -> Declared:
    """A budget that asks for a time also knows the cards that its own file defines."""
    if "gpu" not in budget.keywords or "gpu_file" in budget.keywords:
        return budget
    return budget._replace(keywords={**budget.keywords, "gpu_file": config})


def _limit(quantity: str, value: Any, place: Place) -> Limit:
    if value == BASELINE:
        return Limit(quantity, None, place)
    try:
        return Limit(quantity, parse_limit(quantity, value), place)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _tolerance(value: Any, place: Place) -> Fraction:
    """The tolerance as a share of the baseline: 0.01, or text with a percent sign."""
    text, percent, rest = str(value).partition("%")
    try:
        share = exact(text.strip()) / (100 if percent else 1)
    except ValueError:
        share = None
    if share is None or share < 0 or rest.strip() or isinstance(value, bool):
        raise ConfigError(f"{place}: tolerance must be such as 0.01 or '1 %', got {shown(value)}")
    return share


def _beside(config: str, model: str) -> str:
    """A relative path of a model is resolved against the folder of the file that names it."""
    beside = str(Path(config).parent / model)
    return beside if is_path(beside) and ":" not in model else model


def _unknown(place: Place, key: str, known: tuple[str, ...]) -> ConfigError:
    guesses = nearest(key, known, 1)
    hint = f"did you mean {guesses[0]!r}?" if guesses else f"allowed: {', '.join(known[:20])}, …"
    return ConfigError(f"{place}: unknown key {key!r}; {hint}")
