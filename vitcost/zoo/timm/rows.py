"""The form of the tables: a model is a row of fields, or a variant of another row."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from vitcost.zoo.papers import Row

__all__ = [
    "BASE",
    "BETWIXT",
    "GIANT",
    "GIGANTIC",
    "HUGE",
    "LARGE",
    "MEDIUM",
    "SMALL",
    "TINY",
    "Fields",
    "Rows",
    "Tags",
    "expand",
    "of",
    "row",
]

Fields: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Mapping[str, Row]
# the tags of a model's pretrained weights, each with its number of classes
Tags: TypeAlias = Mapping[str, Mapping[str, int]]

# Dosovitskiy et al. 2021, table 1; tiny and small: Touvron et al. 2021; giant and gigantic: Zhai et
# al. 2022, table 2; medium and betwixt: timm
TINY = {"embed_dim": 192, "depth": 12, "num_heads": 3}
SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}
MEDIUM = {"embed_dim": 512, "depth": 12, "num_heads": 8}
BETWIXT = {"embed_dim": 640, "depth": 12, "num_heads": 10}
BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
LARGE = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
HUGE = {"embed_dim": 1280, "depth": 32, "num_heads": 16}
GIANT = {"embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 6144 / 1408}
GIGANTIC = {"embed_dim": 1664, "depth": 48, "num_heads": 16, "mlp_ratio": 8192 / 1664}


def row(source: str, *groups: Fields, **fields: Any) -> Row:
    """A model by its fields; groups of fields come first."""
    return of("", *groups, source=source, **fields)


def of(base: str, *groups: Fields, source: str = "", **fields: Any) -> Row:
    """A variant of another model of the same table, by the fields that differ."""
    merged = {name: value for group in (*groups, fields) for name, value in group.items()}
    return Row(base, merged, source)


def expand(rows: Rows, name: str) -> tuple[str, dict[str, Any]]:
    """The source and all the fields of a model."""
    row = rows[name]
    if not row.base:
        return row.source, dict(row.fields)
    source, fields = expand(rows, row.base)
    return row.source or source, {**fields, **row.fields}
