"""Finds a card by its name, by the user's description, or by a query."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vitcost.config.fields import several
from vitcost.errors import ConfigError, UnknownName
from vitcost.hardware.cards import ALIASES, CARDS, CPUS, SOURCES, Card, Peaks
from vitcost.outside.reading import OWN_CARDS, read_toml
from vitcost.units import parse_bytes

__all__ = [
    "asked_cards",
    "card",
    "card_dict",
    "card_names",
    "load_cards",
    "matching",
    "own_card",
    "own_cards",
    "sources",
]

_VENDORS = ("nvidia-", "amd-", "google-", "geforce-", "tesla-", "quadro-", "instinct-")
# figures that are texts, not numbers
_WORDS = ("vendor", "like", "architecture")
# a compute capability of NVIDIA, or an LLVM target of AMD
_ARCHITECTURE = re.compile(r"[1-9]\d?\.\d|gfx[0-9a-f]{3,4}")
# the file in which a project may define its own cards
_PROJECT = "pyproject.toml"
# a card of which only the memory is given, such as 24GB
_SIZE = r"\d+(\.\d+)?\s*[gt]i?b"
_FIGURES = ("memory_gb", "bandwidth_gbps", "link_gbps", "power_w")


def card(name: "str | Card", users_cards: Mapping[str, Card] | None = None) -> Card:
    """The card of a name, an alias or torch's device name; the user's own cards come first.

    Raises ``UnknownName`` with the nearest names, also for a name that fits several cards.

    >>> card("NVIDIA GeForce RTX 4090").peaks.bf16, card("h100-sxm").bandwidth_gbps
    (165.2, 3350)
    >>> card("H100")
    Traceback (most recent call last):
    vitcost.errors.UnknownName: unknown gpu 'H100'; it is 3 cards, name one: h100-sxm, ...
    """
    if isinstance(name, Card):
        return name
    known = {**CARDS, **CPUS, **(users_cards or {})}
    if name in known:
        return known[name]
    key = _key(name)
    key = ALIASES.get(key, key)
    if key in known:
        return known[key]
    family = _family(key, users_cards)
    if family:
        hint = f"it is {len(family)} cards, name one: {', '.join(family)}"
        raise UnknownName("gpu", name, (), hint)
    hint = "`vitcost gpus` lists all, and tells how to describe your own"
    raise UnknownName("gpu", name, [*known, *ALIASES], hint)


def _family(name: str, users_cards: Mapping[str, Card] | None) -> list[str]:
    """The cards that share a name which belongs to none of them alone."""
    key = _key(name)
    return [row for row in {**CARDS, **CPUS, **(users_cards or {})} if row.startswith(f"{key}-")]


def card_names() -> list[str]:
    """The names of all cards: the table's, the processors' and the user's own. Errors,
    ``ConfigError`` and ``UnknownName``, are those of ``own_cards``.

    >>> "h100-sxm" in card_names(), "cpu-i9_10940x" in card_names()
    (True, True)
    """
    return [*CARDS, *CPUS, *own_cards()]


def matching(query: str = "", users_cards: Mapping[str, Card] | None = None) -> list[Card]:
    """The cards whose name, alias or vendor holds the query, in the order of the table; if the
    query is an amount of memory (``24GB``), the cards with that amount.

    >>> "rtx4090" in [row.name for row in matching("24GB")]
    True
    >>> [row.name for row in matching("h200")]
    ['h200-sxm', 'h200-nvl']
    """
    if re.fullmatch(_SIZE, query.strip(), re.IGNORECASE):
        # the sheet's number is sold as GB, and is GiB on the card
        sheet = float(query.lower().strip().rstrip("bi").rstrip("gt"))
        size = sheet * (1024 if "t" in query.lower() else 1)
        return [row for row in {**CARDS, **(users_cards or {})}.values() if row.memory_gb == size]
    key = _key(query)
    other: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        other.setdefault(name, []).append(alias)
    return [
        row
        for row in {**CARDS, **(users_cards or {})}.values()
        if any(key in text for text in (row.name, row.vendor.lower(), *other.get(row.name, ())))
    ]


def sources(row: Card) -> tuple[str, ...]:
    """The sources of a card's figures, written out.

    >>> sources(card("tpu-v5e"))
    ('https://docs.cloud.google.com/tpu/docs/{v4,v5e,v5p-training,v6e}',)
    """
    if row.name in CARDS:
        return tuple(SOURCES[key] for key in row.source.split())
    return (row.source,)


def card_dict(row: Card) -> dict[str, Any]:
    """A card as a row of JSON: flat, in base units, with the unit in the key.

    >>> card_dict(card("l4"))["memory_bytes"], card_dict(card("l4"))["bf16_flops_per_second"]
    (25769803776, 121000000000000.0)
    """
    peaks = {
        f"{kind}_{'ops' if kind == 'int8' else 'flops'}_per_second": None if v is None else v * 1e12
        for kind, v in row.peaks._asdict().items()
    }
    return {
        "gpu": row.name,
        "vendor": row.vendor,
        "architecture": row.architecture or None,
        **peaks,
        "memory_bytes": row.memory_bytes,
        "usable_bytes": row.usable_bytes,
        "bandwidth_bytes_per_second": row.bandwidth,
        "link_bytes_per_second": row.link,
        "power_watts": row.power_w,
        "year": row.year,
        "sources": list(sources(row)),
    }


def asked_cards(
    gpu: "str | Card | Iterable[str | Card]", users_cards: Mapping[str, Card] | None = None
) -> tuple[Card, ...]:
    """The cards that were asked for, each by name or as ``NAME,FIGURE=NUMBER,...``: the figures
    replace the card's own, or define a card with a new name.

    Raises ``UnknownName`` for another name or figure, ``ConfigError`` for a figure that is no
    number.

    >>> mine, capped = asked_cards(["x,bf16_tflops=100,bandwidth_gbps=900", "l4,power_w=60"])
    >>> mine.peaks.bf16, capped.name, capped.peaks.bf16
    (100.0, 'l4,power_w=60', 121)
    """
    return tuple(_asked(name, users_cards) for name in several("gpu", gpu, str, Card))


def _asked(text: "str | Card", users_cards: Mapping[str, Card] | None) -> Card:
    if isinstance(text, Card) or "," not in text:
        return card(text, users_cards) if isinstance(text, Card) else _described(text, users_cards)
    name, *words = (word.strip() for word in text.split(","))
    figures: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            raise ConfigError(f"gpu {name}: a figure is NAME=NUMBER, got {word!r}")
        figures[key] = value if key in _WORDS else _number(value)
    if "like" not in figures:
        try:
            figures["like"] = card(name, users_cards).name
        except UnknownName:
            if _family(name, users_cards):
                raise
            return own_card(name, figures)
        # if a figure differs from the known card's, the user's text is the name of a new card
        name = text
    return own_card(name, figures, users_cards=users_cards)


def _described(text: str, users_cards: Mapping[str, Card] | None) -> Card:
    """A card by its name, or by an amount of memory alone: ``24GB``, ``memory_gb=24``.

    >>> _described("24GiB", None).capacity_bytes, _described("memory_gb=24", None).memory_gb
    (25769803776, 24)
    """
    if re.fullmatch(_SIZE, text.strip(), re.IGNORECASE):
        return own_card(text, {"usable_bytes": parse_bytes(text)})
    key, equals, value = (part.strip() for part in text.partition("="))
    if equals and key in (*_FIGURES, "usable_bytes"):
        return own_card(text, {key: _number(value)})
    return card(text, users_cards)


def _number(text: str) -> "float | str":
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def own_cards(paths: "str | Iterable[str]" = ()) -> dict[str, Card]:
    r"""The user's cards from files, else from ``pyproject.toml`` if there is one. Raises
    ``ConfigError`` for a file without cards, ``UnknownName`` for a figure that no card has.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "cards.toml")
    ...     _ = file.write_text("[gpu.mine]\nlike = 'l4'\nmemory_gb = 48\n")
    ...     own_cards(str(file))["mine"].memory_gb
    48
    """
    files = several("gpu_file", paths or (), str)
    cards_by_name: dict[str, Card] = {}
    for path in files:
        cards = load_cards(path)
        if not cards:
            raise ConfigError(f"{path}: no card; a card is a table, [gpu.NAME]")
        cards_by_name.update(cards)
    return cards_by_name if files or not Path(_PROJECT).is_file() else load_cards(_PROJECT)


def own_card(
    name: str,
    figures: Mapping[str, Any],
    source: str = "given",
    users_cards: Mapping[str, Card] | None = None,
) -> Card:
    """A card that the user describes, in the table's own fields and units.

    ``fp32_tflops`` … ``int8_tflops`` are dense, ``memory_gb``, ``usable_bytes``,
    ``bandwidth_gbps``, ``link_gbps`` in one direction, ``power_w``; ``architecture`` a compute
    capability (``8.9``) or an AMD target (``gfx942``); ``like`` names a card that supplies the
    figures that are not given. With ``memory_gb`` but no ``usable_bytes``, a process may use the
    whole memory. Raises ``UnknownName`` for the name of any other figure, ``ConfigError`` for a
    wrong value.

    >>> own_card("mine", {"like": "rtx4090", "power_w": 300}).peaks.bf16
    165.2
    """
    base = card(str(figures["like"]), users_cards) if "like" in figures else Card(name, "", Peaks())
    peaks = {f"{kind}_tflops": kind for kind in Peaks._fields}
    known = [*peaks, *_FIGURES, "usable_bytes", "vendor", "year", "like", "architecture"]
    for key, value in figures.items():
        if key not in known:
            raise UnknownName(f"figure of gpu {name}", key, known, f"known: {', '.join(known)}")
        if key not in _WORDS:
            _positive(name, key, value)
        if key == "architecture" and not _ARCHITECTURE.fullmatch(str(value)):
            raise ConfigError(
                f"gpu {name}: architecture is a compute capability such as 9.0, or a target such "
                f"as gfx942, got {value!r:.80}"
            )
    numbers = {peaks[key]: float(figures[key]) for key in peaks if key in figures}
    rest = {key: figures[key] for key in known if key in figures and key not in (*peaks, "like")}
    if "architecture" in rest:
        # TOML reads the text 8.9 as a number
        rest["architecture"] = str(rest["architecture"])
    if "usable_bytes" in rest:
        rest["usable_bytes"] = int(rest["usable_bytes"])
    elif "memory_gb" in rest:
        # the source of the usable bytes is about the named card's own amount of memory, not another
        # amount
        rest["usable_bytes"] = None
    rest["like"] = base.kin if base.kin in CARDS or base.kin in CPUS else ""
    return base._replace(name=name, peaks=base.peaks._replace(**numbers), source=source, **rest)


def load_cards(path: "str | Path") -> dict[str, Card]:
    r"""The user's own cards of a TOML file: ``[gpu.NAME]``, or ``[tool.vitcost.gpu.NAME]``.

    Raises ``ConfigError`` for a file that cannot be read, or a value that is not possible,
    ``UnknownName`` for a figure that no card has.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "cards.toml")
    ...     _ = file.write_text("[gpu.mine]\nbf16_tflops = 100\nbandwidth_gbps = 900\n")
    ...     load_cards(file)["mine"].peaks.bf16
    100.0
    """
    document = read_toml(path, OWN_CARDS)
    tool = document.get("tool", {})
    ours = tool.get("vitcost", {}) if isinstance(tool, dict) else {}
    tables = document.get("gpu", ours.get("gpu", {}) if isinstance(ours, dict) else {})
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise ConfigError(f"{path}: a card is a table, [gpu.NAME]")
    cards: dict[str, Card] = {}
    for name, table in tables.items():
        cards[name] = own_card(name, table, str(path), cards)
    return cards


def _key(name: str) -> str:
    """A name in the spelling of the table: lower case, dashes, no vendor."""
    key = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    for vendor in _VENDORS:
        key = key.removeprefix(vendor)
    return key


def _positive(name: str, key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise ConfigError(f"gpu {name}: {key} must be a number above 0, got {value!r}")
